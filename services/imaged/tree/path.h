/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Names inside a tree: what an archive or an image wrote, brought into the one form that the rest of this folder uses: relative,
 * no empty, "." or ".." components, "" for the root. Pure functions. */

#include "lib/base.h"

#define PATH_BYTES 4096         /* with the NUL: PATH_MAX of linux/limits.h */
#define PATH_COMPONENT_MAX 255  /* NAME_MAX */
#define PATH_DEPTH_MAX 256      /* components; deeper trees are nobody's, and recursion below stays bounded */

/* Absolute names lie beneath the root, as every unpacker has it. NULL, or what is wrong with the name. */
const char *path_normalise(const char *name, char ret[PATH_BYTES]);

/* Where the last component of a normalised path begins; the path before it ends at ret_parent (its length). */
const char *path_split(const char *path, size_t *ret_parent);
