/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What stands inside tar headers: numbers of the header block, and the records of a pax extended header. Pure functions. */

#include "services/imaged/tree/tar.h"

/* Values of one pax header; the pointers lead into the parsed bytes. Absent or empty: the header block's value holds. */
typedef struct TarPax {
        const char *path;
        const char *link;
        uint64_t size, uid, gid;
        int64_t mtime_sec;
        uint32_t mtime_nsec;
        bool has_size, has_uid, has_gid, has_mtime;
        bool is_sparse; /* why tar_pax_parse() refused: well-formed, but a sparse file */
        size_t n_xattrs;
        TarXattr xattrs[TAR_XATTRS_MAX];
} TarPax;

void tar_pax_reset(TarPax *pax);

/* Parses the records in bytes, which hold n bytes and a NUL, and are written to: values become strings. NULL, or what is wrong. */
const char *tar_pax_parse(TarPax *pax, char *bytes, size_t n);

/* A number field of n bytes: octal digits between spaces and NULs (none is 0), or base-256 where the first byte has 0x80. Not
 * negative. */
bool tar_number_parse(const char *field, size_t n, uint64_t *ret);
/* The same for a time, which may be negative. */
bool tar_time_parse(const char *field, size_t n, int64_t *ret);
