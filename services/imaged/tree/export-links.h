/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Which file of several names was told under which one first. */

#include "lib/base.h"
#include <sys/types.h>

typedef struct ExportLink {
        ino_t inode;
        char *path; /* owned; NULL: free */
} ExportLink;

typedef struct ExportLinks {
        ExportLink *rows; /* owned; open addressing */
        size_t n, n_rows; /* n_rows is a power of two */
} ExportLinks;

/* *ret_first: the path it was seen under before, borrowed; NULL: this is the first. 0 or -ENOMEM. */
int export_links_see(ExportLinks *links, ino_t inode, const char *path, const char **ret_first);
void export_links_done(ExportLinks *links);
