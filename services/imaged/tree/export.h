/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a container changed in its root file system, told as ipc/tree-stream.h says: a tar archive of the upper layer without its whiteouts,
 * and the paths that those hide. Runs in a jail: /tree is the upper layer, /image the image. */

#include "services/imaged/tree/report.h"

/* More than this is nobody's root file system, and holes are told as zeros. */
#define EXPORT_BYTES_MAX (UINT64_C(64) << 30)
#define EXPORT_ENTRIES_MAX 4000000

typedef struct ExportSpec {
        int tree_fd, image_fd; /* borrowed directories */
        int to_fd;             /* borrowed; the stream's socket */
        uint32_t owner_id;     /* taken off from owners */
} ExportSpec;

/* Waits for the reader's byte, then tells. The last packet says how it ended; what is returned is for tests: 0, or REPORT_E_FAILED. */
int export_tell(const ExportSpec *spec);
