/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Detached mounts: a copy of what is mounted at a path, perhaps with its owners mapped, and where it is put. libc only. */

#include "lib/base.h"

enum {
        MOUNT_TREE_RECURSIVE = 1 << 0, /* with what is mounted below */
        MOUNT_TREE_READONLY = 1 << 1,
        MOUNT_TREE_NOSUID = 1 << 2,
        MOUNT_TREE_NODEV = 1 << 3,
        MOUNT_TREE_SLAVE = 1 << 4, /* sees later mounts of the original; what is done to the copy stays with it */
};

/* A detached copy of the mount at path, as seen from dir_fd (path "": dir_fd itself). userns_fd: the user namespace whose map its
 * owners get, or -1. The caller owns ret. 0 or -errno; -EINVAL: a file system in it cannot be mapped (mount_setattr(2)). */
int mount_tree_clone(int dir_fd, const char *path, unsigned flags, int userns_fd, int *ret_fd);
/* Takes abilities (READONLY, NOSUID, NODEV) from a detached mount. 0 or -errno. */
int mount_tree_restrict(int tree_fd, unsigned flags);
/* Puts it onto the directory or file at path; path "": dir_fd itself. 0 or -errno. */
int mount_tree_attach(int tree_fd, int dir_fd, const char *path);

/* The user namespace that is pinned at path; symbolic links are not followed. The caller owns ret. 0 or -errno; -EINVAL: something
 * else lies there. */
int mount_tree_open_userns(const char *path, int *ret_fd);
