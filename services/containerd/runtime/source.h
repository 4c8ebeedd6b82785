/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where a container's mounts come from: paths of the host, resolved once, and copies of what is there for those that the runtime
 * cannot mount by their path: owners to be mapped, a path that the container's root may not walk, or one that somebody could
 * exchange after it was looked at. libc only. */

#include "ipc/config.h"
#include "ipc/seal.h"
#include "services/containerd/launch/render-ask.h"

#define SOURCE_PATH_MAX 4096
#define SOURCE_MOUNTS_MAX 1024 /* what a spec can have at most */

enum {
        SOURCE_MAKE = 1 << 0,  /* a directory where nothing is: mkdir -p, 0755, as kubelets rely on */
        SOURCE_CLONE = 1 << 1, /* a copy of it and of the mounts below it at <container's>/mounts/<number>, to be mounted from there */
        SOURCE_MAP = 1 << 2,   /* the copy's owners are mapped by the pod's user namespace */
        SOURCE_SHARE = 1 << 3, /* what is mounted in the copy is mounted in the original as well */
};

/* What the mount at a path does not allow. */
enum { SOURCE_NOSUID = 1 << 0, SOURCE_NODEV = 1 << 1, SOURCE_NOEXEC = 1 << 2 };

/* Finds what is at ask->text, symbolic links followed as everywhere for host paths, and writes where it really is. What leads out of
 * ask->within is neither made nor copied. A copy follows the host's mounts and, unless it is shared, is not followed by them: its
 * end takes nothing of the host's away. 0 or -errno; -EXDEV: it leads out of it, path says where; -ESTALE: it was exchanged
 * meanwhile. */
int source_prepare(const ConfigCommon *common, const Permit *permit, const RenderAsk *ask, char path[SOURCE_PATH_MAX],
                   uint32_t *ret_restrictions);
/* Where the copy of that number is, in the container's directory. False: the path is too long. */
bool source_path(char to[SOURCE_PATH_MAX], const char *directory, const char *kind, unsigned number);
/* Takes the copies of a container away, and its image volumes: a container that is made has them in a mount namespace of its own, and
 * none may hold a volume after it. 0, also where there is none, or -errno (source-drop.c). */
int source_drop(const ConfigCommon *common, const char *id);
