/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What of the host a container's request may name, found by path: device nodes, an operator's files. libc only. */

#include "lib/base.h"
#include <sys/stat.h>

#define HOST_PATH_MAX 4096

/* Where an O_PATH fd leads, as the kernel writes it. 0 or -errno; with directory not "", -EXDEV: that is not directory, or beneath
 * where that leads. */
int host_real_path(int fd, const char *directory, char to[HOST_PATH_MAX]);

/* Opens for reading the regular file at the absolute path, symbolic links followed, that lies in the end beneath directory. 0 or
 * -errno; -EXDEV: it lies elsewhere; -EINVAL: not a regular file, or not absolute. Whose it is, is for the caller to judge. */
int host_open_profile(const char *directory, const char *path, int *ret_fd);

/* Calls back for each file (.json, .yaml, .yml) of the directories in which CDI files lie, opened for reading; the fd is ours. A
 * directory that does not exist has none. 0 or -errno; stops at the first negative return. */
typedef int (*HostFileCallback)(void *userdata, const char *path, uint32_t priority, int fd);
int host_walk_cdi(HostFileCallback callback, void *userdata);

/* Calls back for each device node at path or below it, on that file system: pts, shm and mqueue of /dev are others. Stops at the
 * first negative return. */
typedef int (*HostDeviceCallback)(void *userdata, const char *path, const struct stat *st);
int host_walk_devices(char *path, HostDeviceCallback callback, void *userdata);
