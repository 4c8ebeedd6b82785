/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/tar-header.h"

#include <stdio.h>

/* The fields of ustar: offset and length. */
enum {
        FIELD_NAME = 0,
        FIELD_MODE = 100,
        FIELD_UID = 108,
        FIELD_GID = 116,
        FIELD_SIZE = 124,
        FIELD_MTIME = 136,
        FIELD_CHECKSUM = 148,
        FIELD_TYPE = 156,
        FIELD_LINK = 157,
        FIELD_MAGIC = 257,
        FIELD_MAJOR = 329,
        FIELD_MINOR = 337,
};

/* Octal digits and a NUL; else the highest bit and the number, big-endian. */
static void tar_header_number(uint8_t *field, size_t n, uint64_t number)
{
        if (number >> (3 * (n - 1)) == 0) {
                for (size_t i = n - 1; i > 0; i--, number >>= 3)
                        field[i - 1] = (uint8_t)('0' + (number & 7));
                field[n - 1] = 0;
                return;
        }
        for (size_t i = n; i > 0; i--, number >>= 8)
                field[i - 1] = i > 1 || n <= 8 ? (uint8_t)number : 0;
        field[0] |= 0x80;
}

void tar_header_write(uint8_t block[TAR_HEADER_BYTES], const TarHeader *header)
{
        const char *link = header->link ? header->link : "";
        uint32_t sum = 0;

        memset(block, 0, TAR_HEADER_BYTES);
        memcpy(block + FIELD_NAME, header->name, MIN2(strlen(header->name), (size_t)TAR_HEADER_NAME_MAX));
        memcpy(block + FIELD_LINK, link, MIN2(strlen(link), (size_t)TAR_HEADER_NAME_MAX));
        tar_header_number(block + FIELD_MODE, 8, header->mode);
        tar_header_number(block + FIELD_UID, 8, header->uid);
        tar_header_number(block + FIELD_GID, 8, header->gid);
        tar_header_number(block + FIELD_SIZE, 12, header->size);
        tar_header_number(block + FIELD_MTIME, 12, header->mtime_sec > 0 ? (uint64_t)header->mtime_sec : 0);
        tar_header_number(block + FIELD_MAJOR, 8, header->device_major);
        tar_header_number(block + FIELD_MINOR, 8, header->device_minor);
        block[FIELD_TYPE] = (uint8_t)header->type;
        memcpy(block + FIELD_MAGIC, "ustar\00000", 8);
        memset(block + FIELD_CHECKSUM, ' ', 8);
        for (size_t i = 0; i < TAR_HEADER_BYTES; i++)
                sum += block[i];
        (void)snprintf((char *)block + FIELD_CHECKSUM, 8, "%06o", sum);
}
