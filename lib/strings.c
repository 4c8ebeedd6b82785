/* SPDX-License-Identifier: Apache-2.0 */

#include "lib/strings.h"

#include <stdarg.h>
#include <stdio.h>

bool str_has_suffix(const char *s, const char *suffix)
{
        size_t n = strlen(s), n_suffix = strlen(suffix);

        return n >= n_suffix && memcmp(s + n - n_suffix, suffix, n_suffix) == 0;
}

bool str_copy(char *to, size_t size, const char *s)
{
        size_t n = strlen(s);

        if (size == 0)
                return false;
        if (n >= size) {
                to[0] = 0;
                return false;
        }
        memcpy(to, s, n + 1);
        return true;
}

char *str_printf(const char *format, ...)
{
        va_list args;
        char *s = NULL;
        int n;

        va_start(args, format);
        n = vasprintf(&s, format, args);
        va_end(args);
        return n < 0 ? NULL : s;
}

static size_t str_printable_one(char to[4], uint8_t byte)
{
        static const char digits[] = "0123456789abcdef";

        if (byte >= ' ' && byte < 0x7f && byte != '"' && byte != '\\') {
                to[0] = (char)byte;
                return 1;
        }
        to[0] = '\\';
        to[1] = 'x';
        to[2] = digits[byte >> 4];
        to[3] = digits[byte & 15];
        return 4;
}

void str_printable(char *to, size_t size, const void *bytes, size_t n)
{
        const uint8_t *from = bytes;
        size_t used = 0, total = 0;
        char one[4];

        for (size_t i = 0; i < n && total < size; i++)
                total += str_printable_one(one, from[i]);

        /* What does not fit is cut where dots still do. */
        size_t room = total < size ? size - 1 : size - 4;
        for (size_t i = 0; i < n; i++) {
                size_t length = str_printable_one(one, from[i]);

                if (used + length > room)
                        break;
                memcpy(to + used, one, length);
                used += length;
        }
        memcpy(to + used, total < size ? "" : "...", total < size ? 1 : 4);
}

size_t utf8_length(const uint8_t *s, size_t n)
{
        size_t length = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 0;

        if (length == 0 || length > n)
                return 0;
        for (size_t i = 1; i < length; i++)
                if ((s[i] & 0xc0) != 0x80)
                        return 0;
        if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
            (s[0] == 0xf4 && s[1] > 0x8f))
                return 0;
        return length;
}

void hex_encode(char *to, const uint8_t *bytes, size_t n)
{
        static const char digits[] = "0123456789abcdef";

        for (size_t i = 0; i < n; i++) {
                to[2 * i] = digits[bytes[i] >> 4];
                to[2 * i + 1] = digits[bytes[i] & 15];
        }
        to[2 * n] = 0;
}

/* -1 for anything but a lower-case digit. */
static int hex_digit(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        return -1;
}

bool hex_decode(uint8_t *bytes, size_t n, const char *hex)
{
        for (size_t i = 0; i < n; i++) {
                int high = hex_digit(hex[2 * i]);
                int low = high < 0 ? -1 : hex_digit(hex[2 * i + 1]);

                if (low < 0)
                        return false;
                bytes[i] = (uint8_t)(high << 4 | low);
        }
        return hex[2 * n] == 0;
}

bool u64_parse(const char *s, uint64_t max, uint64_t *ret)
{
        uint64_t value = 0;

        if (*s < '0' || *s > '9' || (s[0] == '0' && s[1]))
                return false;
        for (; *s; s++) {
                if (*s < '0' || *s > '9')
                        return false;
                if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
                    __builtin_add_overflow(value, (uint64_t)(*s - '0'), &value))
                        return false;
        }
        if (value > max)
                return false;
        *ret = value;
        return true;
}

bool id_is_valid(const char *id)
{
        for (size_t i = 0; i < ID_LENGTH; i++)
                if (hex_digit(id[i]) < 0)
                        return false;
        return id[ID_LENGTH] == 0;
}
