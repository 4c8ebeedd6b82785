/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Applies the entries of an archive to an empty directory. Runs in a jail whose root is that directory: what a hostile name could
 * reach is the layer itself. All the same no path is ever given to the kernel to resolve freely, and modes, owners, times and
 * attributes are set through descriptors of what was just made. */

#include "services/imaged/tree/report.h"
#include "services/imaged/tree/tar.h"

typedef struct ExtractSpec {
        uint64_t max_entries;
        uint64_t max_bytes; /* of the data of all files together */
        /* An archive of files for us, not a layer: no owners, modes, attributes or whiteouts. */
        bool is_plain;
} ExtractSpec;

/* 0 with is_opaque set in the report, or REPORT_E_FAILED. The caller has umask 0. root_fd is not O_PATH. */
int extract_archive(int root_fd, TarReader *reader, const ExtractSpec *spec, Report *report);
