/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One row per process: who it runs as and what it may do. The skeletons enter it; docs/PRIVSEP.md, the systemd units and
 * the manifest test are generated from or compared with the same rows. */

#include "ipc/config.h"
#include "ipc/topology.h"

/* Besides the processes: the children that confine themselves further than their parent. */
typedef enum PolicyId {
#define P(id, name, kind, parent) POLICY_##id,
        TOPOLOGY_PROCESSES(P)
#undef P
        POLICY_FETCH_CHILD,      /* one request of imaged-fetch: the network, no files */
        POLICY_PARSE_CHILD,      /* one document of imaged-parse: read, write, memory */
        POLICY_DECOMPRESS_CHILD, /* imaged-tree: gzip and zstd, stdin to stdout */
        POLICY_TREE_JAIL,        /* imaged-tree: one tree; its root, network and process namespaces are built by the parent */
        POLICY_RENDER_CHILD,     /* containerd-launch: permit and typed spec to config.json */
        POLICY_ARCHIVE_CHILD,    /* containerd-launch: the files of a checkpoint into its archive */
        POLICY_CNI_CHILD,        /* sandboxd-cni: conflists and plugin results */
        POLICY_N
} PolicyId;

/* Enters the row: user, groups, capabilities, securebits, no_new_privs, rlimits, namespaces and root, Landlock, seccomp, in
 * the one order that works. Rows of spawners do nearly nothing, on purpose. 0 or -errno; after a failure the caller must
 * end. Processes that link only libc use the precompiled filters of the build; see policy/. */
int policy_enter(PolicyId id, const ConfigCommon *config);

/* The same, for a row whose user is chosen by whoever started the process (the shim, TREE_JAIL: 0 is allowed there). */
int policy_enter_as(PolicyId id, const ConfigCommon *config, uint32_t uid);

/* The user (and group) of a process: user_base + process. */
static inline uint32_t policy_user(const ConfigCommon *config, ProcessId process)
{
        return config->user_base + (uint32_t)process;
}

/* The row has a state directory: <state_dir>/<process>, seen as "/state" after policy_enter(). */
bool policy_has_state(PolicyId id);
