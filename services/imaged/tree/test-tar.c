/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/test.h"
#include "services/imaged/tree/tar-pax.h"
#include "services/imaged/tree/tar.h"

/* An archive in the making, byte for byte. */
typedef struct Archive {
        uint8_t *bytes;
        size_t n;
        size_t at;    /* read so far */
        size_t piece; /* most that one read gives */
} Archive;

static void archive_add(Archive *archive, const void *bytes, size_t n)
{
        archive->bytes = realloc(archive->bytes, archive->n + n + 1);
        assert_true(archive->bytes);
        memcpy(archive->bytes + archive->n, bytes, n);
        archive->n += n;
}

static void archive_pad(Archive *archive)
{
        static const char zeros[TAR_BLOCK];

        archive_add(archive, zeros, -archive->n % TAR_BLOCK);
}

typedef struct Field {
        size_t offset, n;
        const char *bytes;
} Field;

/* Offsets as in POSIX: name 0, mode 100, uid 108, gid 116, size 124, mtime 136, checksum 148, type 156, link 157, magic 257,
 * devices 329 and 337, prefix 345. */
static void archive_header(Archive *archive, const char *name, char type, size_t size, const Field *fields, size_t n_fields)
{
        char block[TAR_BLOCK] = {0};
        unsigned sum = 0;

        memcpy(block, name, MIN2(strlen(name), 100));
        memcpy(block + 100, "0000644", 8);
        memcpy(block + 108, "0000000", 8);
        memcpy(block + 116, "0000000", 8);
        (void)snprintf(block + 124, 12, "%011zo", size);
        memcpy(block + 136, "00000000144", 12);
        block[156] = type;
        memcpy(block + 257, "ustar\0" "00", 8);
        memset(block + 148, ' ', 8);
        for (size_t i = 0; i < n_fields; i++)
                memcpy(block + fields[i].offset, fields[i].bytes, fields[i].n);
        for (size_t i = 0; i < TAR_BLOCK; i++)
                sum += (uint8_t)block[i];
        if (block[148] == ' ')
                (void)snprintf(block + 148, 8, "%06o", sum & 0777777);
        archive_add(archive, block, sizeof(block));
}

static void archive_file(Archive *archive, const char *name, const char *data)
{
        archive_header(archive, name, '0', strlen(data), NULL, 0);
        archive_add(archive, data, strlen(data));
        archive_pad(archive);
}

static void archive_extended(Archive *archive, char type, const void *bytes, size_t n)
{
        archive_header(archive, "x", type, n, NULL, 0);
        archive_add(archive, bytes, n);
        archive_pad(archive);
}

static void archive_end(Archive *archive)
{
        static const char zeros[2 * TAR_BLOCK];

        archive_add(archive, zeros, sizeof(zeros));
}

static ssize_t archive_source(void *userdata, void *buffer, size_t n)
{
        Archive *archive = userdata;

        n = MIN2(MIN2(n, archive->n - archive->at), archive->piece ? archive->piece : SIZE_MAX);
        if (n > 0)
                memcpy(buffer, archive->bytes + archive->at, n);
        archive->at += n;
        return (ssize_t)n;
}

/* The outcome of reading the archive to its end or to a refusal; frees it. */
static int archive_read(Archive *archive, char *ret_problem, size_t size)
{
        _cleanup_(tar_reader_freep) TarReader *reader = tar_reader_new(archive_source, archive);
        const TarEntry *entry;
        int r;

        assert_true(reader);
        do {
                const uint8_t *bytes;
                size_t n;

                r = tar_next(reader, &entry);
                while (r == 0 && (r = tar_data(reader, &bytes, &n)) == 0 && n > 0)
                        ;
        } while (r == 0);
        (void)snprintf(ret_problem, size, "%s", tar_problem(reader));
        free(archive->bytes);
        *archive = (Archive){0};
        return r;
}

#define assert_refused(archive, outcome, text)                                                                         \
        do {                                                                                                           \
                char problem_[256];                                                                                    \
                assert_eq_int(archive_read((archive), problem_, sizeof(problem_)), (outcome));                         \
                if (!strstr(problem_, (text)))                                                                         \
                        test_fail("the problem is \"%s\"", problem_);                                                  \
        } while (0)

static void tar_reads_what_is_there(void)
{
        for (size_t piece = 1; piece < 3000; piece = piece * 3 + 1) {
                Archive archive = {.piece = piece};
                const TarEntry *entry;
                const uint8_t *bytes;
                size_t n;

                archive_file(&archive, "a/b", "hello");
                archive_header(&archive, "l", '2', 0, (Field[]){{157, 7, "target"}}, 1);
                archive_header(&archive, "old/", 0, 0, NULL, 0);
                archive_header(&archive, "p", '0', 0, (Field[]){{345, 4, "pre"}}, 1);
                archive_header(&archive, "device", '3', 0, (Field[]){{329, 8, "0000001"}, {337, 8, "0000003"}}, 2);
                archive_header(&archive, "directory-with-size", '5', 5000, NULL, 0);
                archive_file(&archive, "skipped", "not looked at");
                archive_file(&archive, "last", "");
                archive_end(&archive);
                archive_add(&archive, "trailing", 8);
                _cleanup_(tar_reader_freep) TarReader *reader = tar_reader_new(archive_source, &archive);
                assert_ok(tar_next(reader, &entry));
                assert_eq_str(entry->path, "a/b");
                assert_eq_int(entry->type, TAR_TYPE_FILE);
                assert_eq_int(entry->size, 5);
                assert_eq_int(entry->mode, 0644);
                assert_eq_int(entry->mtime_sec, 100);
                char content[6] = "";
                for (size_t at = 0; at < 5; at += n) {
                        assert_ok(tar_data(reader, &bytes, &n));
                        assert_true(n > 0 && at + n <= 5);
                        memcpy(content + at, bytes, n);
                }
                assert_eq_str(content, "hello");
                assert_ok(tar_data(reader, &bytes, &n));
                assert_eq_int(n, 0);
                assert_ok(tar_next(reader, &entry));
                assert_eq_int(entry->type, TAR_TYPE_SYMLINK);
                assert_eq_str(entry->link, "target");
                assert_ok(tar_next(reader, &entry));
                assert_eq_int(entry->type, TAR_TYPE_DIRECTORY);
                assert_ok(tar_next(reader, &entry));
                assert_eq_str(entry->path, "pre/p");
                assert_ok(tar_next(reader, &entry));
                assert_eq_int(entry->type, TAR_TYPE_CHARACTER);
                assert_eq_int(entry->device_major * 10 + entry->device_minor, 13);
                assert_ok(tar_next(reader, &entry));
                assert_eq_int(entry->size, 0);
                assert_ok(tar_next(reader, &entry));
                assert_eq_str(entry->path, "skipped");
                assert_ok(tar_next(reader, &entry));
                assert_eq_str(entry->path, "last");
                assert_eq_int(tar_next(reader, &entry), TAR_E_END);
                assert_ok(tar_drain(reader));
                assert_eq_int(archive.at, archive.n);
                free(archive.bytes);
        }
}

static void tar_reads_extended_headers(void)
{
        Archive archive = {0};
        const TarEntry *entry;
        char long_name[151];

        memset(long_name, 'n', 150);
        long_name[150] = 0;
        archive_extended(&archive, 'g', "12 path=bad\n", 12);
        char records[256];
        size_t n = 0;
        n += (size_t)snprintf(records, sizeof(records), "12 path=a/b\n20 linkpath=to/here\n6 x=y\n15 mtime=12.25\n14 uid=400000\n10 gid=77\n");
        memcpy(records + n, "27 SCHILY.xattr.user.a=b\0c\n", 27);
        n += 27;
        memcpy(records + n, "26 SCHILY.xattr.user.a=de\n", 26);
        n += 26;
        archive_extended(&archive, 'x', records, n);
        archive_header(&archive, "short", '2', 0, (Field[]){{157, 6, "short"}}, 1);
        archive_file(&archive, "plain", "x");
        archive_extended(&archive, 'L', long_name, 151);
        archive_extended(&archive, 'K', long_name, 150);
        archive_header(&archive, "cut", '1', 0, (Field[]){{257, 8, "ustar  "}, {345, 5, "ctime"}}, 2);
        archive_extended(&archive, 'x', "19 size=3\n9 path=q\n", 0);
        archive_file(&archive, "after", "y");
        archive_end(&archive);
        _cleanup_(tar_reader_freep) TarReader *reader = tar_reader_new(archive_source, &archive);
        assert_ok(tar_next(reader, &entry));
        assert_eq_str(entry->path, "a/b");
        assert_eq_str(entry->link, "to/here");
        assert_eq_int(entry->mtime_sec, 12);
        assert_eq_int(entry->mtime_nsec, 250000000);
        assert_eq_int(entry->uid, 400000);
        assert_eq_int(entry->gid, 77);
        assert_eq_int(entry->n_xattrs, 1);
        assert_eq_str(entry->xattrs[0].name, "user.a");
        assert_eq_mem(entry->xattrs[0].value, entry->xattrs[0].n_value, "de", 2);
        assert_ok(tar_next(reader, &entry));
        assert_eq_str(entry->path, "plain");
        assert_eq_int(entry->n_xattrs, 0);
        assert_eq_int(entry->uid, 0);
        assert_ok(tar_next(reader, &entry));
        assert_eq_str(entry->path, long_name);
        assert_eq_str(entry->link, long_name);
        assert_ok(tar_next(reader, &entry));
        assert_eq_str(entry->path, "after");
        assert_eq_int(tar_next(reader, &entry), TAR_E_END);
        free(archive.bytes);
}

static void tar_refuses_broken_archives(void)
{
        Archive archive = {0};

        assert_refused(&archive, TAR_E_MALFORMED, "no bytes at all");
        archive_add(&archive, "short", 5);
        assert_refused(&archive, TAR_E_MALFORMED, "ends inside a header");
        archive_file(&archive, "x", "hello");
        archive.n -= 510;
        assert_refused(&archive, TAR_E_MALFORMED, "ends inside its data");
        archive_file(&archive, "x", "hello");
        archive.n -= 100;
        assert_refused(&archive, TAR_E_MALFORMED, "ends inside an entry");
        archive_header(&archive, "x", '0', 0, (Field[]){{148, 8, "0000001"}}, 1);
        assert_refused(&archive, TAR_E_MALFORMED, "wrong checksum");
        archive_file(&archive, "x", "");
        archive_end(&archive);
        archive.n -= 512;
        archive_file(&archive, "y", "");
        assert_refused(&archive, TAR_E_MALFORMED, "follows a block of zeros");
        archive_file(&archive, "x", "");
        archive_end(&archive);
        archive.n -= 512;
        assert_refused(&archive, TAR_E_END, "");
        archive_file(&archive, "x", "");
        assert_refused(&archive, TAR_E_END, "");
}

static void tar_refuses_broken_entries(void)
{
        static const struct {
                char type;
                Field field;
                int outcome;
                const char *problem;
        } cases[] = {
                {'0', {124, 4, "zzzz"}, TAR_E_MALFORMED, "size is not a number"},
                {'0', {124, 12, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"}, TAR_E_MALFORMED, "size is not a number"},
                {'0', {124, 12, "\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"}, TAR_E_MALFORMED, "size is out of range"},
                {'0', {124, 12, "\x80\0\0\1\0\0\0\0\0\0\0\0"}, TAR_E_MALFORMED, "size is not a number"},
                {'0', {100, 8, "00008\0\0"}, TAR_E_MALFORMED, "mode is not a number"},
                {'0', {100, 8, "\xff\xff\xff\xff\xff\xff\xff\xff"}, TAR_E_MALFORMED, "mode is not a number"},
                {'0', {108, 8, "-000001"}, TAR_E_MALFORMED, "owner is not a number"},
                {'0', {116, 3, "0 0"}, TAR_E_MALFORMED, "owner is not a number"},
                {'0', {108, 8, "\x80\0\0\0\xff\xff\xff\xff"}, TAR_E_MALFORMED, "owner is out of range"},
                {'0', {116, 8, "\x80\0\0\1\0\0\0\0"}, TAR_E_MALFORMED, "owner is out of range"},
                {'0', {136, 3, "9x"}, TAR_E_MALFORMED, "time is not a number"},
                {'3', {329, 8, "\x80\0\0\1\0\0\0\0"}, TAR_E_MALFORMED, "device numbers"},
                {'4', {337, 8, "\xff\xff\xff\xff\xff\xff\xff\xff"}, TAR_E_MALFORMED, "device numbers"},
                {'S', {157, 1, ""}, TAR_E_UNSUPPORTED, "sparse"},
                {'Q', {157, 1, ""}, TAR_E_UNSUPPORTED, "unknown type"},
                {'V', {157, 1, ""}, TAR_E_UNSUPPORTED, "unknown type"},
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                Archive archive = {0};

                archive_header(&archive, "x", cases[i].type, 0, &cases[i].field, 1);
                archive_end(&archive);
                assert_refused(&archive, cases[i].outcome, cases[i].problem);
        }
}

static void tar_refuses_broken_extended_headers(void)
{
        static const struct {
                const char *records;
                size_t n;
                int outcome;
                const char *problem;
        } cases[] = {
                {"99 path=x\n", 10, TAR_E_MALFORMED, "wrong length"},
                {"0 path=xy\n", 10, TAR_E_MALFORMED, "wrong length"},
                {"path=x\n", 7, TAR_E_MALFORMED, "wrong length"},
                {"3 =\n", 4, TAR_E_MALFORMED, "wrong length"},
                {"4294967306 a=b\n", 15, TAR_E_MALFORMED, "wrong length"},
                {"9 path=xy", 9, TAR_E_MALFORMED, "key=value"},
                {"9 pathxy\n", 9, TAR_E_MALFORMED, "key=value"},
                {"6 =ab\n", 6, TAR_E_MALFORMED, "key=value"},
                {"8 pa\0h=\n", 8, TAR_E_MALFORMED, "key=value"},
                {"12 path=a\0b\n", 12, TAR_E_MALFORMED, "NUL"},
                {"16 linkpath=a\0b\n", 16, TAR_E_MALFORMED, "NUL"},
                {"10 size=-1\n", 11, TAR_E_MALFORMED, "key=value"}, /* its length ends before its newline */
                {"11 size=-1\n", 11, TAR_E_MALFORMED, "number"},
                {"11 size=0x\n", 11, TAR_E_MALFORMED, "number"},
                {"28 size=9999999999999999999\n", 28, TAR_E_MALFORMED, "number"},
                {"18 uid=4294967295\n", 18, TAR_E_MALFORMED, "number"},
                {"18 gid=4294967295\n", 18, TAR_E_MALFORMED, "number"},
                {"11 mtime=x\n", 11, TAR_E_MALFORMED, "no time"},
                {"12 mtime=1x\n", 12, TAR_E_MALFORMED, "no time"},
                {"30 mtime=1000000000000000000.\n", 30, TAR_E_MALFORMED, "no time"},
                {"22 GNU.sparse.major=1\n", 22, TAR_E_UNSUPPORTED, "sparse"},
                {"17 SCHILY.xattr.=\n", 18, TAR_E_MALFORMED, "key=value"},
                {"18 SCHILY.xattr.=\n", 18, TAR_E_MALFORMED, "attribute"},
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                Archive archive = {0};

                archive_extended(&archive, 'x', cases[i].records, cases[i].n);
                archive_file(&archive, "x", "");
                assert_refused(&archive, cases[i].outcome, cases[i].problem);
        }
}

static void tar_refuses_ambiguous_extended_headers(void)
{
        static const char pairs[][2] = {{'x', 'x'}, {'x', 'L'}, {'L', 'x'}, {'L', 'L'}, {'K', 'K'}, {'x', 'K'}, {'K', 'x'}, {'x', 'g'}, {'L', 'g'}};

        for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
                Archive archive = {0};

                for (size_t j = 0; j < 2; j++)
                        archive_extended(&archive, pairs[i][j], "9 path=x\n", 9);
                archive_file(&archive, "y", "");
                assert_refused(&archive, TAR_E_MALFORMED, "extended header");
        }
        for (size_t i = 0; i < 3; i++) {
                Archive archive = {0};

                archive_extended(&archive, "xLK"[i], "9 path=x\n", 9);
                archive_end(&archive);
                assert_refused(&archive, TAR_E_MALFORMED, "ends after an extended header");
        }
        Archive archive = {0};
        archive_extended(&archive, 'L', "a\0b\0", 4);
        archive_file(&archive, "y", "");
        assert_refused(&archive, TAR_E_MALFORMED, "has a NUL");
        archive_extended(&archive, 'L', "\0", 1);
        archive_file(&archive, "y", "");
        assert_refused(&archive, TAR_E_MALFORMED, "empty");
        archive_header(&archive, "x", 'x', TAR_EXTENDED_MAX + 1, NULL, 0);
        assert_refused(&archive, TAR_E_MALFORMED, "too large");
        archive_header(&archive, "x", 'g', TAR_EXTENDED_MAX + 1, NULL, 0);
        assert_refused(&archive, TAR_E_MALFORMED, "too large");
        archive_header(&archive, "x", 'L', TAR_PATH_MAX + 1, NULL, 0);
        assert_refused(&archive, TAR_E_MALFORMED, "too large");
        archive_header(&archive, "x", 'x', 5000, NULL, 0);
        archive_add(&archive, "9 path=x\n", 9);
        assert_refused(&archive, TAR_E_MALFORMED, "ends inside an extended header");
}

static void tar_bounds_names_and_attributes(void)
{
        char record[TAR_PATH_MAX + 64];
        Archive archive = {0};

        for (size_t n = TAR_PATH_MAX - 1; n <= TAR_PATH_MAX; n++) {
                int length = snprintf(record, sizeof(record), "%zu path=", n + 11);
                memset(record + length, 'n', n);
                record[(size_t)length + n] = '\n';
                archive_extended(&archive, 'x', record, n + 11);
                archive_file(&archive, "x", "");
                assert_refused(&archive, n < TAR_PATH_MAX ? TAR_E_END : TAR_E_MALFORMED, n < TAR_PATH_MAX ? "" : "longer than a path");
        }
        for (unsigned n = TAR_XATTRS_MAX; n <= TAR_XATTRS_MAX + 1; n++) {
                char many[(TAR_XATTRS_MAX + 1) * 32];
                size_t used = 0;

                for (unsigned i = 0; i < n; i++)
                        used += (size_t)snprintf(many + used, sizeof(many) - used, "26 SCHILY.xattr.user.%02u=x\n", i);
                archive_extended(&archive, 'x', many, used);
                archive_file(&archive, "x", "");
                assert_refused(&archive, n == TAR_XATTRS_MAX ? TAR_E_END : TAR_E_MALFORMED, n == TAR_XATTRS_MAX ? "" : "too many");
        }
        char many[600 * 6 + 1];
        for (unsigned i = 0; i < 600; i++)
                memcpy(many + 6 * (size_t)i, "6 a=b\n", 6);
        archive_extended(&archive, 'x', many, (size_t)600 * 6);
        archive_file(&archive, "x", "");
        assert_refused(&archive, TAR_E_MALFORMED, "too many records");
}

static void tar_parses_numbers(void)
{
        uint64_t value;
        int64_t time;

        assert_true(tar_number_parse("0000644", 8, &value) && value == 0644);
        assert_true(tar_number_parse("   644 ", 8, &value) && value == 0644);
        assert_true(tar_number_parse("\0\0\0\0\0\0\0", 8, &value) && value == 0);
        assert_true(tar_number_parse("77777777", 8, &value) && value == 077777777);
        assert_true(tar_number_parse("\x80\0\0\0\0\0\1\0", 8, &value) && value == 256);
        assert_false(tar_number_parse("64 4", 4, &value));
        assert_false(tar_number_parse("8", 1, &value));
        assert_false(tar_number_parse("+1", 2, &value));
        assert_false(tar_number_parse("777777777777777777777777", 24, &value));
        assert_true(tar_time_parse("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", 12, &time) && time == -2);
        assert_false(tar_time_parse("\xff\xfe\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12, &time));
        assert_false(tar_time_parse("\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff", 12, &time));
        assert_true(tar_time_parse("00000000144", 12, &time) && time == 100);
}

int main(void)
{
        TEST_RUN(tar_reads_what_is_there);
        TEST_RUN(tar_reads_extended_headers);
        TEST_RUN(tar_refuses_broken_archives);
        TEST_RUN(tar_refuses_broken_entries);
        TEST_RUN(tar_refuses_broken_extended_headers);
        TEST_RUN(tar_refuses_ambiguous_extended_headers);
        TEST_RUN(tar_bounds_names_and_attributes);
        TEST_RUN(tar_parses_numbers);
        return 0;
}
