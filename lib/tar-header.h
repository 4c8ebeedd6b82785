/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The header block of an entry of a tar archive: ustar (POSIX.1-2017, pax), with numbers that do not fit written in base 256 as GNU tar
 * and Go do. What is longer than the fields of ustar goes into a pax header before it, which is the caller's to write. */

#include "lib/base.h"

#define TAR_HEADER_BYTES 512
#define TAR_HEADER_NAME_MAX 100 /* bytes of name and of link that need no pax header */

typedef struct TarHeader {
        char type;        /* '0' file, '1' hard link, '2' symlink, '3' and '4' devices, '5' directory, '6' FIFO, 'x' pax */
        const char *name; /* borrowed, like link: cut where they do not fit */
        const char *link; /* "" or NULL: none */
        uint64_t size;    /* of the data that follows */
        uint32_t mode;    /* 07777 */
        uint32_t uid, gid;
        uint32_t device_major, device_minor;
        int64_t mtime_sec;
} TarHeader;

void tar_header_write(uint8_t block[TAR_HEADER_BYTES], const TarHeader *header);
/* How many bytes of zeros follow data of that size. */
static inline size_t tar_header_padding(uint64_t size)
{
        return (size_t)(-size % TAR_HEADER_BYTES);
}
