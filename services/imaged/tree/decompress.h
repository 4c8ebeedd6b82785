/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The decompressor: a process of its own, user of its own, no capability, that reads a blob and writes the bytes in it to a
 * pipe. What the blob is, its first bytes say (gzip, zstd, else it is taken as it is): all of them end in the same digest,
 * which the parent compares with what was asked for. */

#include "lib/base.h"

/* How it ended; also its exit code. */
typedef enum DecompressEnd {
        DECOMPRESS_END_DONE = 0,
        DECOMPRESS_END_READ = 10, /* the blob cannot be read */
        DECOMPRESS_END_WRITE,     /* nobody reads: the other end of the pipe is closed */
        DECOMPRESS_END_MEMORY,
        DECOMPRESS_END_TRUNCATED, /* the compressed stream ends too early */
        DECOMPRESS_END_CORRUPT,
        DECOMPRESS_END_TRAILING,  /* something that is no compressed stream follows it */
        DECOMPRESS_END_CONFINEMENT, /* its process could not be confined, and read nothing */
} DecompressEnd;

/* Reads blob_fd, a regular file, from its first byte on, whatever its offset is (others share it). */
DecompressEnd decompress_run(int blob_fd, int out_fd);

/* What the code of a decompressor's end means, for people. */
const char *decompress_end_name(int code);
