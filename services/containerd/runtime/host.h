/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What of the host a container's request may name, found by path: device nodes, an operator's files. libc only. */

#include "lib/base.h"
#include <sys/stat.h>

/* Opens path beneath directory (absolute within it, or relative to it) for reading, by no symbolic link. 0 or -errno; -EPERM: it
 * lies elsewhere. */
int host_open_beneath(const char *directory, const char *path, int *ret_fd);

/* Calls back for each device node at path or below it, on that file system: pts, shm and mqueue of /dev are others. Stops at the
 * first negative return. */
typedef int (*HostDeviceCallback)(void *userdata, const char *path, const struct stat *st);
int host_walk_devices(char *path, HostDeviceCallback callback, void *userdata);
