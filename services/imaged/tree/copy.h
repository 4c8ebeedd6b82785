/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Copies a directory of an image into a volume: what an image declares as VOLUME starts with what the image has there. Runs in a
 * jail that sees the image, read-only, and the container's volumes. */

#include "services/imaged/tree/report.h"

#define COPY_ENTRIES_MAX 1000000
#define COPY_BYTES_MAX (UINT64_C(16) << 30)

typedef struct CopySpec {
        uint32_t owner_id; /* added to every owner: the first host id of the pod's user namespace, or 0 */
        uint64_t n_entries, n_bytes; /* copied so far */
} CopySpec;

/* Owner (owner_id added), mode, attributes and times of from_fd, neither of them O_PATH. name is for the report. */
int copy_attributes(int from_fd, int to_fd, uint32_t owner_id, const char *name, Report *report);

/* An extended attribute that goes with a file: not overlayfs's own, nor what only the host's kernel gives away. */
bool copy_xattr_is_kept(const char *name);

/* path: as the image wrote it; resolved within the image, symlinks followed there. A path that does not exist, or is no
 * directory, leaves the volume empty. to_fd is an empty directory. 0 or REPORT_E_FAILED. The caller has umask 0. */
int copy_volume(int image_fd, const char *path, int to_fd, CopySpec *spec, Report *report);
