/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What containerd-launch starts a shim with, and what it hears once: two frames on SHIM_FD_REPORT, which is then closed; the edge
 * of ipc/edges/containerd-shim.h is all that stays. */

#include "ipc/cgroup-path.h"
#include "ipc/config.h"
#include "ipc/edges/containerd-launch.h"

#define SHIM_FD_REPORT 3 /* besides the standard streams the one fd that a shim is born with */

#define SHIM_UIDS_OFFSET 1024 /* shims' users: user_base + this + 0 to SHIM_UIDS - 1 */
#define SHIM_UIDS 64512

enum { SHIM_FRAME_START = 1, SHIM_FRAME_REPORT };

typedef struct ShimStart {
        char id[ID_LENGTH + 1];        /* of the container or exec */
        char container[ID_LENGTH + 1]; /* of an exec: where it runs; of a container: itself */
        char padding[2];
        uint32_t flags;                /* LAUNCH_FLAG_* */
        uint32_t is_exec;              /* bool */
        uint32_t systemd_cgroups;      /* bool */
        char runtime[CONFIG_PATH_MAX]; /* the OCI runtime's binary */
        char cgroup[CONFIG_PATH_MAX + CGROUP_PATH_MAX]; /* of the container, "" for an exec */
        ConfigCommon common;
} ShimStart;

/* code 0: created and the frame's fds are what launch_create or launch_exec answers with. Otherwise created.text says why, and
 * nothing of the attempt is left. */
typedef struct ShimReport {
        uint32_t code; /* gRPC status */
        LaunchCreated created;
} ShimReport;
