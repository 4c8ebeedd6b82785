/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The directory that an entry of an archive is in: opened, made where the archive left it out, and kept open for the next
 * entry, which most often is its neighbour.
 *
 * Within a layer a parent may be a symlink to a directory of the same layer ("lib" → "usr/lib": layers that were not made by
 * comparing trees have such names). It is followed here, component by component and beneath the root, because the jail's
 * root forbids the kernel to follow any (nosymfollow). A link to anything else ends the layer: what it points to in another
 * layer or in the container is not known here. */

#include "services/imaged/tree/path.h"

typedef struct Parent {
        int root_fd; /* borrowed; outlives us */
        int fd;      /* owned O_PATH; -1: none is open */
        size_t n_path;
        char path[PATH_BYTES]; /* of fd, as entries name it */
        const char *problem;
        uint64_t n_made; /* directories that had no entry when they were needed */
} Parent;

#define PARENT_INIT(fd_) ((Parent){.root_fd = (fd_), .fd = -1, .problem = ""})

void parent_done(Parent *parent);
/* What is open may have been replaced. */
void parent_forget(Parent *parent);

enum { PARENT_E_REFUSED = 1 };
/* The directory at the first n_path bytes of path, which is normalised; ret_fd is borrowed until the next call. make: missing
 * ones are made (0755, root's, marked implicit). 0, PARENT_E_REFUSED with problem set, or a negative errno. */
int parent_open(Parent *parent, const char *path, size_t n_path, bool make, int *ret_fd);
