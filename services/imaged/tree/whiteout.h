/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How a layer says "gone" (OCI image-spec, layer.md, "Whiteouts") and how overlayfs says it (the kernel's
 * Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories"). The opaque mark is user.overlay.opaque: the jail may
 * set it without CAP_SYS_ADMIN, which trusted.* needs. So every overlay over layers must be mounted with `userxattr`. */

#include "lib/base.h"
#include <sys/stat.h>

#define WHITEOUT_PREFIX ".wh."
#define WHITEOUT_META_PREFIX ".wh..wh." /* the opaque mark below, and what aufs kept for itself */
#define WHITEOUT_OPAQUE ".wh..wh..opq"
#define WHITEOUT_XATTR "user.overlay.opaque"

/* A directory that the layer passes through without an entry for it: its mode and owner are not said by this layer, but by the
 * next lower one that has it (see stack.h). The mark is in overlayfs's own namespace, so containers never see it. */
#define WHITEOUT_IMPLICIT_XATTR "user.overlay.bulkhead.implicit"
int whiteout_mark_implicit(int dir_fd);
int whiteout_unmark_implicit(int dir_fd);
int whiteout_is_implicit(int dir_fd); /* 1, 0 or -errno */

/* 0 or -errno. */
int whiteout_make(int dir_fd, const char *name);
int whiteout_make_opaque(int dir_fd); /* not O_PATH */
bool whiteout_is(const struct stat *st);
/* 1: the directory is opaque; 0: not; or -errno. */
int whiteout_is_opaque(int dir_fd);
