/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A strict reader of tar streams: ustar, pax and GNU long names.
 *
 * Own, and not libarchive's: libarchive decides by itself what format it sees (twenty of them, with decompressors and
 * character sets), allocates what headers ask for, and repairs what is wrong. Here one format is read, in memory that is fixed
 * when the reader is made; what does not fit is refused. It makes no system call but those of its source, so it is
 * fuzzed as a function, and it runs only inside a jail.
 *
 * Refused: sparse files, multi-volume and other vendor types, negative numbers (times excepted), two kinds of long
 * name on one entry, extended headers without an entry. */

#include "lib/base.h"
#include <sys/types.h>

#define TAR_BLOCK 512
#define TAR_PATH_MAX 4096            /* with the NUL: what the kernel takes */
#define TAR_EXTENDED_MAX (1024 * 1024) /* bytes of one pax header */
#define TAR_XATTRS_MAX 64
#define TAR_XATTR_NAME_MAX 255       /* XATTR_NAME_MAX of linux/limits.h */
#define TAR_XATTR_VALUE_MAX 65536    /* XATTR_SIZE_MAX */

typedef enum TarType {
        TAR_TYPE_FILE,
        TAR_TYPE_LINK,
        TAR_TYPE_SYMLINK,
        TAR_TYPE_CHARACTER,
        TAR_TYPE_BLOCK,
        TAR_TYPE_DIRECTORY,
        TAR_TYPE_FIFO,
} TarType;

/* Everything is borrowed from the reader until the next tar_next(). */
typedef struct TarXattr {
        const char *name;
        const uint8_t *value;
        size_t n_value;
} TarXattr;

typedef struct TarEntry {
        TarType type;
        const char *path; /* as written: may be empty, absolute, have "..": the caller judges */
        const char *link; /* of links and symlinks, else "" */
        uint64_t size;    /* of the data of files; 0 for all others */
        uint32_t mode;    /* 07777 */
        uint32_t uid, gid; /* at most UINT32_MAX - 1 */
        uint32_t device_major, device_minor;
        int64_t mtime_sec;
        uint32_t mtime_nsec;
        size_t n_xattrs;
        TarXattr xattrs[TAR_XATTRS_MAX];
} TarEntry;

/* Reads up to n bytes: how many, 0 at the end, or a negative errno. */
typedef ssize_t (*TarSource)(void *userdata, void *buffer, size_t n);

typedef struct TarReader TarReader;

TarReader *tar_reader_new(TarSource source, void *userdata); /* NULL when memory is out */
TarReader *tar_reader_free(TarReader *reader);
DEFINE_CLEANUP(TarReader, tar_reader_free)

enum {
        TAR_E_END = 1,     /* the archive is complete */
        TAR_E_MALFORMED,   /* tar_problem() says what is wrong */
        TAR_E_UNSUPPORTED, /* well-formed, and nothing that a layer may have */
};

/* Skips what is left of the last entry's data and reads the next header. 0, an outcome, or what the source failed with. */
int tar_next(TarReader *reader, const TarEntry **ret);
/* The next piece of the entry's data, borrowed until the next call; no bytes at its end. Outcomes: TAR_E_MALFORMED. */
int tar_data(TarReader *reader, const uint8_t **ret, size_t *ret_n);
/* After TAR_E_END: reads and drops what follows the archive, which belongs to the stream's digest. */
int tar_drain(TarReader *reader);

const char *tar_problem(const TarReader *reader);
