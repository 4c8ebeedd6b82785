/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/tree/tar-pax.h"
#include "lib/clock.h"
#include "lib/strings.h"

#define TAR_PAX_RECORDS_MAX 512

void tar_pax_reset(TarPax *pax)
{
        memset(pax, 0, offsetof(TarPax, xattrs));
}

static bool tar_octal_parse(const char *field, size_t n, uint64_t *ret)
{
        uint64_t value = 0;
        size_t i = 0;

        while (i < n && field[i] == ' ')
                i++;
        for (; i < n && field[i] >= '0' && field[i] <= '7'; i++) {
                if (value >> 60)
                        return false;
                value = value << 3 | (uint64_t)(field[i] - '0');
        }
        for (; i < n; i++)
                if (field[i] != ' ' && field[i] != 0)
                        return false;
        *ret = value;
        return true;
}

/* Two's complement, big-endian, the topmost bit a mark (GNU tar manual, "Extensions"): 63 bits of it at most. */
static bool tar_base256_parse(const char *field, size_t n, int64_t *ret)
{
        const uint8_t *bytes = (const uint8_t *)field;
        uint8_t sign = bytes[0] & 0x40 ? 0xff : 0;
        uint64_t value = sign ? UINT64_MAX : 0;

        for (size_t i = 0; i < n; i++) {
                uint8_t byte = i == 0 ? (uint8_t)((bytes[0] & 0x7f) | (sign & 0x80)) : bytes[i];

                if (n - i > 8 ? byte != sign : n - i == 8 && (byte & 0x80) != (sign & 0x80))
                        return false;
                value = value << 8 | byte;
        }
        *ret = (int64_t)value;
        return true;
}

bool tar_number_parse(const char *field, size_t n, uint64_t *ret)
{
        int64_t value;

        if (!(field[0] & 0x80))
                return tar_octal_parse(field, n, ret);
        if (!tar_base256_parse(field, n, &value) || value < 0)
                return false;
        *ret = (uint64_t)value;
        return true;
}

bool tar_time_parse(const char *field, size_t n, int64_t *ret)
{
        uint64_t value;

        if (field[0] & 0x80)
                return tar_base256_parse(field, n, ret);
        if (!tar_octal_parse(field, n, &value) || value > INT64_MAX)
                return false;
        *ret = (int64_t)value;
        return true;
}

/* "[-]seconds[.fraction]": pax times are decimal; digits after the ninth are below what a file system keeps. */
static bool tar_pax_time(const char *value, int64_t *ret_sec, uint32_t *ret_nsec)
{
        bool is_negative = *value == '-';
        uint64_t sec = 0, nsec = 0;
        size_t n_digits = 0;

        for (value += is_negative; *value >= '0' && *value <= '9'; value++, n_digits++) {
                if (n_digits == 18)
                        return false;
                sec = sec * 10 + (uint64_t)(*value - '0');
        }
        if (n_digits == 0)
                return false;
        if (*value == '.') {
                uint64_t unit = (uint64_t)NSEC_PER_SEC / 10;

                for (value++; *value >= '0' && *value <= '9'; value++, unit /= 10)
                        nsec += unit * (uint64_t)(*value - '0');
        }
        if (*value)
                return false;
        *ret_sec = is_negative ? -(int64_t)sec : (int64_t)sec;
        if (is_negative && nsec > 0) {
                (*ret_sec)--;
                nsec = (uint64_t)NSEC_PER_SEC - nsec;
        }
        *ret_nsec = (uint32_t)nsec;
        return true;
}

static const char *tar_pax_xattr(TarPax *pax, const char *name, const char *value, size_t n)
{
        if (!*name || strlen(name) > TAR_XATTR_NAME_MAX || n > TAR_XATTR_VALUE_MAX)
                return "an extended attribute is larger than one can be";
        /* POSIX: of two records of one name the last one counts. */
        for (size_t i = 0; i < pax->n_xattrs; i++) {
                if (str_equal(pax->xattrs[i].name, name)) {
                        pax->xattrs[i] = (TarXattr){.name = name, .value = (const uint8_t *)value, .n_value = n};
                        return NULL;
                }
        }
        if (pax->n_xattrs == TAR_XATTRS_MAX)
                return "it has too many extended attributes";
        pax->xattrs[pax->n_xattrs++] = (TarXattr){.name = name, .value = (const uint8_t *)value, .n_value = n};
        return NULL;
}

static const char *tar_pax_number(const char *value, uint64_t max, uint64_t *ret, bool *ret_has)
{
        *ret_has = *value != 0;
        if (*value && !u64_parse(value, max, ret))
                return "a number in its pax header is none, or out of range";
        return NULL;
}

/* An empty value takes back what an earlier record or the header said (POSIX). */
static const char *tar_pax_record(TarPax *pax, const char *key, const char *value, size_t n)
{
        bool has_nul = strlen(value) != n;

        if (str_has_prefix(key, "SCHILY.xattr."))
                return tar_pax_xattr(pax, key + strlen("SCHILY.xattr."), value, n);
        if (str_has_prefix(key, "GNU.sparse.")) {
                pax->is_sparse = true;
                return "it is a sparse file";
        }
        if (str_equal(key, "path") || str_equal(key, "linkpath")) {
                if (has_nul)
                        return "its name in the pax header has a NUL in it";
                *(*key == 'p' ? &pax->path : &pax->link) = *value ? value : NULL;
                return NULL;
        }
        if (str_equal(key, "size"))
                return has_nul ? "its size has a NUL in it" : tar_pax_number(value, INT64_MAX, &pax->size, &pax->has_size);
        if (str_equal(key, "uid"))
                return has_nul ? "its owner has a NUL in it" : tar_pax_number(value, UINT32_MAX - 1, &pax->uid, &pax->has_uid);
        if (str_equal(key, "gid"))
                return has_nul ? "its group has a NUL in it" : tar_pax_number(value, UINT32_MAX - 1, &pax->gid, &pax->has_gid);
        if (str_equal(key, "mtime")) {
                pax->has_mtime = *value != 0;
                if (has_nul || (*value && !tar_pax_time(value, &pax->mtime_sec, &pax->mtime_nsec)))
                        return "its time in the pax header is no time";
        }
        return NULL;
}

/* A record is "<length> <key>=<value>\n", its length counted from its first digit to its newline. */
const char *tar_pax_parse(TarPax *pax, char *bytes, size_t n)
{
        size_t n_records = 0;

        for (char *at = bytes, *end = bytes + n; at < end;) {
                size_t length = 0;
                char *p = at;

                for (; p < end && *p >= '0' && *p <= '9' && p - at < 8; p++)
                        length = length * 10 + (size_t)(*p - '0');
                if (p == at || p == end || *p != ' ' || length > (size_t)(end - at) || length < (size_t)(p - at) + 4)
                        return "a record of its pax header has a wrong length";
                char *key = p + 1, *last = at + length - 1;
                char *equals = memchr(key, '=', (size_t)(last - key));
                if (*last != '\n' || !equals || equals == key || memchr(key, 0, (size_t)(equals - key)))
                        return "a record of its pax header is not of the form key=value";
                if (++n_records > TAR_PAX_RECORDS_MAX)
                        return "its pax header has too many records";
                *equals = 0;
                *last = 0;
                const char *problem = tar_pax_record(pax, key, equals + 1, (size_t)(last - equals) - 1);
                if (problem)
                        return problem;
                at += length;
        }
        return NULL;
}
