/* SPDX-License-Identifier: Apache-2.0 */

/* Formats: POSIX.1-2017 pax ("pax Interchange Format"), and the GNU tar manual, "Basic Tar Format". Where readers differ, this
 * one follows Go's archive/tar, which wrote nearly all layers there are: types without data ignore their size, global
 * headers are skipped, base-256 numbers are taken. */

#include "services/imaged/tree/tar.h"
#include "lib/error.h"
#include "services/imaged/tree/tar-pax.h"

#include <assert.h>

#define TAR_BUFFER_BYTES (1024 * 1024)

/* Fields of a header block: POSIX.1-2017, "ustar Interchange Format". */
typedef struct TarHeader {
        char name[100];
        char mode[8];
        char uid[8];
        char gid[8];
        char size[12];
        char mtime[12];
        char checksum[8];
        char type;
        char link[100];
        char magic[6];
        char version[2];
        char user[32];
        char group[32];
        char device_major[8];
        char device_minor[8];
        char prefix[155];
        char padding[12];
} TarHeader;
_Static_assert(sizeof(TarHeader) == TAR_BLOCK, "a header is one block");

struct TarReader {
        TarSource source;
        void *userdata;
        const char *problem;
        size_t begin, end;      /* of the bytes in buffer that are not consumed */
        bool source_ended;
        bool started;           /* a header was seen */
        uint64_t data_left;     /* of the current entry */
        unsigned padding_left;  /* after its data */
        TarEntry entry;
        TarPax pax;
        bool has_pax, has_long_path, has_long_link;
        char path[TAR_PATH_MAX + 1];
        char link[TAR_PATH_MAX + 1];
        uint8_t *buffer;   /* TAR_BUFFER_BYTES */
        uint8_t *extended; /* TAR_EXTENDED_MAX + 1: the pax header, which xattrs point into */
};

TarReader *tar_reader_new(TarSource source, void *userdata)
{
        TarReader *reader = calloc(1, sizeof(*reader));

        if (!reader)
                return NULL;
        reader->source = source;
        reader->userdata = userdata;
        reader->problem = "";
        reader->buffer = malloc(TAR_BUFFER_BYTES);
        reader->extended = malloc(TAR_EXTENDED_MAX + 1);
        if (!reader->buffer || !reader->extended)
                return tar_reader_free(reader);
        return reader;
}

TarReader *tar_reader_free(TarReader *reader)
{
        if (reader) {
                free(reader->buffer);
                free(reader->extended);
                free(reader);
        }
        return NULL;
}

const char *tar_problem(const TarReader *reader)
{
        return reader->problem;
}

static int tar_refuse(TarReader *reader, int outcome, const char *problem)
{
        reader->problem = problem;
        return outcome;
}

/* Makes at least want bytes available in one piece, fewer only at the end of the stream. */
static int tar_fill(TarReader *reader, size_t want)
{
        assert(want <= TAR_BUFFER_BYTES);
        if (reader->begin == reader->end)
                reader->begin = reader->end = 0;
        if (reader->begin + want > TAR_BUFFER_BYTES) {
                memmove(reader->buffer, reader->buffer + reader->begin, reader->end - reader->begin);
                reader->end -= reader->begin;
                reader->begin = 0;
        }
        while (reader->end - reader->begin < want && !reader->source_ended) {
                ssize_t n = reader->source(reader->userdata, reader->buffer + reader->end,
                                           TAR_BUFFER_BYTES - reader->end);

                if (n < 0)
                        return fold((int)n);
                if (n == 0)
                        reader->source_ended = true;
                reader->end += (size_t)n;
        }
        return 0;
}

static int tar_skip(TarReader *reader, uint64_t n)
{
        while (n > 0) {
                int r = tar_fill(reader, 1);
                size_t have = reader->end - reader->begin;

                if (r)
                        return r;
                if (have == 0)
                        return tar_refuse(reader, TAR_E_MALFORMED, "the archive ends inside an entry");
                have = MIN2(have, n);
                reader->begin += have;
                n -= have;
        }
        return 0;
}

/* One block, or NULL at the end of the stream. */
static int tar_block(TarReader *reader, const uint8_t **ret)
{
        int r = tar_fill(reader, TAR_BLOCK);
        size_t have = reader->end - reader->begin;

        if (r)
                return r;
        if (have < TAR_BLOCK) {
                *ret = NULL;
                return have == 0 ? 0 : tar_refuse(reader, TAR_E_MALFORMED, "the archive ends inside a header");
        }
        *ret = reader->buffer + reader->begin;
        reader->begin += TAR_BLOCK;
        return 0;
}

static bool tar_block_is_zero(const uint8_t *block)
{
        for (size_t i = 0; i < TAR_BLOCK; i++)
                if (block[i])
                        return false;
        return true;
}

static bool tar_checksum_fits(const TarHeader *header)
{
        const uint8_t *bytes = (const uint8_t *)header;
        uint64_t written = 0;
        uint32_t sum = 0;

        for (size_t i = 0; i < TAR_BLOCK; i++) {
                bool is_own = i >= offsetof(TarHeader, checksum) &&
                              i < offsetof(TarHeader, checksum) + sizeof(header->checksum);
                sum += is_own ? ' ' : bytes[i];
        }
        return tar_number_parse(header->checksum, sizeof(header->checksum), &written) && written == sum;
}

/* Reads the data of an extended header into extended, NUL-terminated. */
static int tar_read_extended(TarReader *reader, uint64_t size, size_t max)
{
        if (size > max)
                return tar_refuse(reader, TAR_E_MALFORMED, "an extended header is too large");

        size_t padded = (size_t)(size + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
        for (size_t done = 0; done < padded;) {
                int r = tar_fill(reader, 1);
                size_t have = MIN2(reader->end - reader->begin, padded - done);

                if (r)
                        return r;
                if (have == 0)
                        return tar_refuse(reader, TAR_E_MALFORMED, "the archive ends inside an extended header");
                if (done < size)
                        memcpy(reader->extended + done, reader->buffer + reader->begin, MIN2(have, size - done));
                reader->begin += have;
                done += have;
        }
        reader->extended[size] = 0;
        return 0;
}

/* A GNU long name: a string that ends in one NUL (GNU tar) or in none (others). */
static int tar_read_long_name(TarReader *reader, uint64_t size, char to[TAR_PATH_MAX + 1])
{
        int r = tar_read_extended(reader, size, TAR_PATH_MAX);

        if (r)
                return r;
        size_t n = strlen((const char *)reader->extended);
        if (n == 0 || n + 1 < size)
                return tar_refuse(reader, TAR_E_MALFORMED, "a long name is empty or has a NUL in it");
        memcpy(to, reader->extended, n + 1);
        return 0;
}

static int tar_read_pax(TarReader *reader, uint64_t size)
{
        int r = tar_read_extended(reader, size, TAR_EXTENDED_MAX);

        if (r)
                return r;
        reader->problem = tar_pax_parse(&reader->pax, (char *)reader->extended, (size_t)size);
        if (reader->problem)
                return reader->pax.is_sparse ? TAR_E_UNSUPPORTED : TAR_E_MALFORMED;
        reader->has_pax = true;
        return 0;
}

/* Extended headers that stand before an entry. 0 with ret_extended true: read one, go on with the next block. */
static int tar_read_if_extended(TarReader *reader, const TarHeader *header, uint64_t size, bool *ret_extended)
{
        char type = header->type;
        int r;

        *ret_extended = true;
        switch (type) {
        case 'x':
                if (reader->has_pax || reader->has_long_path || reader->has_long_link)
                        return tar_refuse(reader, TAR_E_MALFORMED, "two kinds of extended header for one entry, or two of one kind");
                return tar_read_pax(reader, size);
        case 'g':
                /* Defaults for all entries. Nobody writes any that matter (git archive: a comment), nobody reads them
                 * alike, so they say nothing here. */
                if (reader->has_pax || reader->has_long_path || reader->has_long_link)
                        return tar_refuse(reader, TAR_E_MALFORMED, "a global header between an extended header and its entry");
                if (size > TAR_EXTENDED_MAX)
                        return tar_refuse(reader, TAR_E_MALFORMED, "a global header is too large");
                return tar_skip(reader, (size + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK);
        case 'L':
                if (reader->has_long_path || reader->has_pax)
                        return tar_refuse(reader, TAR_E_MALFORMED, "two extended headers give one entry a name");
                r = tar_read_long_name(reader, size, reader->path);
                reader->has_long_path = r == 0;
                return r;
        case 'K':
                if (reader->has_long_link || reader->has_pax)
                        return tar_refuse(reader, TAR_E_MALFORMED, "two extended headers give one entry a link name");
                r = tar_read_long_name(reader, size, reader->link);
                reader->has_long_link = r == 0;
                return r;
        default:
                *ret_extended = false;
                return 0;
        }
}

static int tar_type_of(TarReader *reader, char type, const char *path, TarType *ret)
{
        size_t n = strlen(path);

        switch (type) {
        case 0:
                /* Before ustar a directory was a name that ends in a slash. */
                *ret = n > 0 && path[n - 1] == '/' ? TAR_TYPE_DIRECTORY : TAR_TYPE_FILE;
                return 0;
        case '0':
        case '7':
                *ret = TAR_TYPE_FILE;
                return 0;
        case '1':
                *ret = TAR_TYPE_LINK;
                return 0;
        case '2':
                *ret = TAR_TYPE_SYMLINK;
                return 0;
        case '3':
                *ret = TAR_TYPE_CHARACTER;
                return 0;
        case '4':
                *ret = TAR_TYPE_BLOCK;
                return 0;
        case '5':
                *ret = TAR_TYPE_DIRECTORY;
                return 0;
        case '6':
                *ret = TAR_TYPE_FIFO;
                return 0;
        case 'S':
                return tar_refuse(reader, TAR_E_UNSUPPORTED, "it is a sparse file");
        default:
                return tar_refuse(reader, TAR_E_UNSUPPORTED, "it has an unknown type");
        }
}

/* name and prefix of the header, unless an extended header gave a path. */
static int tar_entry_names(TarReader *reader, const TarHeader *header)
{
        /* GNU and old headers have other things where ustar has the prefix; star's prefix is shorter (schilytools, star(5)). */
        bool is_ustar = memcmp(header->magic, "ustar\0" "00", 8) == 0;
        size_t prefix_size = memcmp(header->padding + 8, "tar\0", 4) == 0 ? 131 : sizeof(header->prefix);

        if (!reader->has_long_path && !reader->pax.path) {
                size_t n_prefix = is_ustar ? strnlen(header->prefix, prefix_size) : 0;
                size_t n_name = strnlen(header->name, sizeof(header->name));

                memcpy(reader->path, header->prefix, n_prefix);
                if (n_prefix > 0)
                        reader->path[n_prefix++] = '/';
                memcpy(reader->path + n_prefix, header->name, n_name);
                reader->path[n_prefix + n_name] = 0;
        }
        if (!reader->has_long_link && !reader->pax.link) {
                size_t n = strnlen(header->link, sizeof(header->link));

                memcpy(reader->link, header->link, n);
                reader->link[n] = 0;
        }
        reader->entry.path = reader->pax.path ? reader->pax.path : reader->path;
        reader->entry.link = reader->pax.link ? reader->pax.link : reader->link;
        if (strlen(reader->entry.path) >= TAR_PATH_MAX || strlen(reader->entry.link) >= TAR_PATH_MAX)
                return tar_refuse(reader, TAR_E_MALFORMED, "its name or link name is longer than a path can be");
        return 0;
}

static int tar_entry_numbers(TarReader *reader, const TarHeader *header, uint64_t size)
{
        const TarPax *pax = &reader->pax;
        TarEntry *entry = &reader->entry;
        uint64_t mode = 0, uid = 0, gid = 0, device_major = 0, device_minor = 0;

        if (!tar_number_parse(header->mode, sizeof(header->mode), &mode))
                return tar_refuse(reader, TAR_E_MALFORMED, "its mode is not a number");
        if ((!pax->has_uid && !tar_number_parse(header->uid, sizeof(header->uid), &uid)) ||
            (!pax->has_gid && !tar_number_parse(header->gid, sizeof(header->gid), &gid)))
                return tar_refuse(reader, TAR_E_MALFORMED, "its owner is not a number");
        uid = pax->has_uid ? pax->uid : uid;
        gid = pax->has_gid ? pax->gid : gid;
        if (uid >= UINT32_MAX || gid >= UINT32_MAX)
                return tar_refuse(reader, TAR_E_MALFORMED, "its owner is out of range");
        entry->mtime_sec = pax->mtime_sec;
        entry->mtime_nsec = pax->mtime_nsec;
        if (!pax->has_mtime && !tar_time_parse(header->mtime, sizeof(header->mtime), &entry->mtime_sec))
                return tar_refuse(reader, TAR_E_MALFORMED, "its time is not a number");
        if (entry->type == TAR_TYPE_CHARACTER || entry->type == TAR_TYPE_BLOCK) {
                if (!tar_number_parse(header->device_major, sizeof(header->device_major), &device_major) ||
                    !tar_number_parse(header->device_minor, sizeof(header->device_minor), &device_minor) ||
                    device_major > UINT32_MAX || device_minor > UINT32_MAX)
                        return tar_refuse(reader, TAR_E_MALFORMED, "its device numbers are out of range");
        }
        entry->mode = (uint32_t)(mode & 07777);
        entry->uid = (uint32_t)uid;
        entry->gid = (uint32_t)gid;
        entry->device_major = (uint32_t)device_major;
        entry->device_minor = (uint32_t)device_minor;
        entry->size = entry->type == TAR_TYPE_FILE ? (pax->has_size ? pax->size : size) : 0;
        if (entry->size > INT64_MAX - TAR_BLOCK)
                return tar_refuse(reader, TAR_E_MALFORMED, "its size is out of range");
        return 0;
}

static int tar_finish_last(TarReader *reader)
{
        int r = tar_skip(reader, reader->data_left);

        if (r)
                return r;
        r = tar_skip(reader, reader->padding_left);
        if (r)
                return r;
        reader->data_left = 0;
        reader->padding_left = 0;
        reader->has_pax = reader->has_long_path = reader->has_long_link = false;
        memset(&reader->entry, 0, offsetof(TarEntry, xattrs));
        tar_pax_reset(&reader->pax);
        return 0;
}

/* Two blocks of zeros end an archive; one at the very end of the stream, or none, does too. */
static int tar_end(TarReader *reader, const uint8_t *block)
{
        int r;

        if (reader->has_pax || reader->has_long_path || reader->has_long_link)
                return tar_refuse(reader, TAR_E_MALFORMED, "the archive ends after an extended header");
        if (!block && !reader->started)
                return tar_refuse(reader, TAR_E_MALFORMED, "it has no bytes at all");
        if (block) {
                r = tar_block(reader, &block);
                if (r)
                        return r;
                if (block && !tar_block_is_zero(block))
                        return tar_refuse(reader, TAR_E_MALFORMED, "a header follows a block of zeros");
        }
        return TAR_E_END;
}

int tar_next(TarReader *reader, const TarEntry **ret)
{
        const TarHeader *header;
        bool is_extended;
        uint64_t size;
        int r;

        r = tar_finish_last(reader);
        if (r)
                return r;
        do {
                const uint8_t *block;

                r = tar_block(reader, &block);
                if (r)
                        return r;
                if (!block || tar_block_is_zero(block))
                        return tar_end(reader, block);
                reader->started = true;
                header = (const TarHeader *)block;
                if (!tar_checksum_fits(header))
                        return tar_refuse(reader, TAR_E_MALFORMED, "a header has a wrong checksum: this is not a tar archive, or a damaged one");
                if (!tar_number_parse(header->size, sizeof(header->size), &size))
                        return tar_refuse(reader, TAR_E_MALFORMED, "its size is not a number");
                r = tar_read_if_extended(reader, header, size, &is_extended);
                if (r)
                        return r;
        } while (is_extended);
        /* The header is borrowed from the buffer, which nothing refills from here on. */
        r = tar_entry_names(reader, header);
        if (r)
                return r;
        r = tar_type_of(reader, header->type, reader->entry.path, &reader->entry.type);
        if (r)
                return r;
        r = tar_entry_numbers(reader, header, size);
        if (r)
                return r;
        reader->entry.n_xattrs = reader->pax.n_xattrs;
        memcpy(reader->entry.xattrs, reader->pax.xattrs, reader->pax.n_xattrs * sizeof(TarXattr));
        reader->data_left = reader->entry.size;
        reader->padding_left = (unsigned)(-reader->entry.size % TAR_BLOCK);
        *ret = &reader->entry;
        return 0;
}

int tar_data(TarReader *reader, const uint8_t **ret, size_t *ret_n)
{
        size_t n = 0;

        if (reader->data_left > 0) {
                int r = tar_fill(reader, 1);

                if (r)
                        return r;
                n = MIN2(reader->end - reader->begin, reader->data_left);
                if (n == 0)
                        return tar_refuse(reader, TAR_E_MALFORMED, "the archive ends inside its data");
        }
        *ret = reader->buffer + reader->begin;
        *ret_n = n;
        reader->begin += n;
        reader->data_left -= n;
        return 0;
}

int tar_drain(TarReader *reader)
{
        while (!reader->source_ended) {
                int r;

                reader->begin = reader->end = 0;
                r = tar_fill(reader, 1);
                if (r)
                        return r;
        }
        return 0;
}
