/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What statistics and metrics of pods have in common: both are half sandboxd's and half containerd's, which is asked. */

#include "ipc/edges/containerd-sandboxd.rows.h"
#include "services/sandboxd/sandboxd.h"
#include "services/usage.h"

#define STATS_CONTAINERD_TIMEOUT (5 * USEC_PER_SEC)

typedef Bulkhead__ContainerdSandboxd__PodUsageResponse PodUsageResponse;

/* A request that waits for what containerd tells of containers. */
typedef struct StatsCall {
        Sandboxd *sandboxd;
        Frame *frame; /* owned, kept */
        int (*answer)(struct StatsCall *call, const PodUsageResponse *containers);
        const char **pod_ids; /* owned list of borrowed ids, of metrics: pods can go meanwhile, so these are in the arena below */
        char (*ids)[ID_LENGTH + 1]; /* owned */
        size_t n_ids;
        bool more; /* metrics: pods behind the last of ids */
} StatsCall;

/* With room for n_ids ids, which the caller fills in; none of them: all pods. answer() replies; 0 or -errno. */
int stats_call_new(StatsCall **ret, Sandboxd *sandboxd, Frame *frame, size_t n_ids,
                   int (*answer)(StatsCall *call, const PodUsageResponse *containers));
/* Takes the call in any case. */
int stats_call_begin(StatsCall *call, bool metrics);
StatsCall *stats_call_free(StatsCall *call);
DEFINE_CLEANUP(StatsCall, stats_call_free)

/* What could not be opened is tried again: the hand was restarted, or the cgroup is made with the first container. */
int stats_mend(Pod *pod);
/* None of a pod in the node's network, or before its file is open. */
void stats_read_interfaces(const Pod *pod, UsageInterfaces *ret);
/* Which driver the node has is not told here, and need not be: with systemd's every parent is a slice. */
bool stats_is_slice(const Pod *pod);
