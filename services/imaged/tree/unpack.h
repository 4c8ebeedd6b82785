/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* From a blob to a tree: a decompressor process, this process, which only counts and hashes what passes, and a jail that reads the
 * archive. Three processes, so that none both decodes and vouches for the result. */

#include "services/imaged/tree/extract.h"
#include "services/imaged/tree/jail.h"

typedef struct UnpackSpec {
        const ConfigCommon *config; /* borrowed */
        const void *sha256;         /* borrowed EVP_MD, fetched before confinement */
        int blob_fd;                /* borrowed */
        int tree_fd;                /* borrowed; an empty directory */
        uint64_t max_bytes;         /* uncompressed */
        ExtractSpec extract;
} UnpackSpec;

typedef struct UnpackResult {
        uint8_t diff_id[32]; /* of the uncompressed bytes, also when the report says failure (of those that passed) */
        Report report;       /* bytes and inodes of the tree */
} UnpackResult;

/* 0 with the report of what happened; or -errno. When it returns, the decompressor and the jail are dead and reaped. */
int unpack_run(const UnpackSpec *spec, UnpackResult *ret);
