/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where a container's mounts come from: paths of the host, resolved once, and copies of what is there for those that the runtime
 * cannot mount by their path (owners to be mapped, or a path that the container's root may not walk). libc only. */

#include "ipc/config.h"
#include "ipc/seal.h"

#define SOURCE_PATH_MAX 4096

enum {
        SOURCE_MAKE = 1 << 0,  /* a directory where nothing is: mkdir -p, 0755, as kubelets rely on */
        SOURCE_CLONE = 1 << 1, /* a copy of it and of the mounts below it at <container's>/mounts/<number>, to be mounted from there */
        SOURCE_MAP = 1 << 2,   /* the copy's owners are mapped by the pod's user namespace */
};

/* What the mount at a path does not allow. */
enum { SOURCE_NOSUID = 1 << 0, SOURCE_NODEV = 1 << 1, SOURCE_NOEXEC = 1 << 2 };

/* Finds what is at path, symbolic links followed as everywhere for host paths, and writes where it really is. A copy follows the
 * host's mounts and is not followed by them: its end takes nothing of the host's away. 0 or -errno; -ESTALE: it was exchanged
 * meanwhile. */
int source_prepare(const ConfigCommon *common, const Permit *permit, char path[SOURCE_PATH_MAX], uint32_t flags, uint32_t number,
                   uint32_t *ret_restrictions);
/* Takes the copies of a container away, and its image volumes: a container that is made has them in a mount namespace of its own, and none may hold a volume after it.
 * 0, also where there is none, or -errno. */
int source_drop(const ConfigCommon *common, const char *id);
