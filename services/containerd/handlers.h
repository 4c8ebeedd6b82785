/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The handlers of containerd's edges; what they do is in the file of the noun. */

#include "ipc/edges/containerd-launch.rows.h"
#include "ipc/edges/containerd-logd.rows.h"
#include "ipc/edges/containerd-sandboxd.rows.h"
#include "ipc/edges/gatewayd-containerd.rows.h"
#include "ipc/edges/streamd-containerd.rows.h"
#include "ipc/channel.h"

EDGE_GATEWAYD_CONTAINERD_PROTOTYPES_B(void *userdata, Frame *frame)
EDGE_STREAMD_CONTAINERD_PROTOTYPES_B(void *userdata, Frame *frame)
EDGE_CONTAINERD_SANDBOXD_PROTOTYPES_A(void *userdata, Frame *frame)
EDGE_CONTAINERD_LOGD_PROTOTYPES_A(void *userdata, Frame *frame)
EDGE_CONTAINERD_LAUNCH_PROTOTYPES_A(void *userdata, Frame *frame)
