/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* sandboxd -> sandboxd-setup: fixed frames. Pins:
 *   network:         /run/netns/<instance>bh-<pod id>            (also for tools such as `ip netns`)
 *   ipc, uts, user, pid: <runtime_dir>/ns/<pod id>/{ipc,uts,user,pid}
 *   beside them, {permit,request}: the RUN_POD permit and what it seals, which a brain that lost its database knows the pod by
 * Pod files: <runtime_dir>/pods/<pod id>/{resolv.conf,hostname,hosts?,shm/}. No pause process; a built-in static init holds
 * a shared PID namespace (its pid in <runtime_dir>/pods/<pod id>/init.pid, identified by the pinned namespace's inode).
 *
 * row 1 request setup_make: SetupMake -> SetupMade from A fds memfd-sealed? reply-fds pidfd?
 * row 2 request setup_remove: SetupPod -> - from A states ANY
 * row 3 request setup_list: SetupList -> SetupListed from A states ANY
 * row 4 request setup_status: SetupPod -> SetupMade from A reply-fds pidfd? states ANY
 * row 5 request setup_connect: SetupConnect -> - from A reply-fds socket states ANY
 * row 6 request setup_kept: SetupPod -> SetupKept from A reply-fds file-read? states ANY
 * row 7 request setup_lease: SetupLease -> SetupLeased from A states ANY
 * row 20 request setup_usage: SetupUsage -> CgroupFiles from A reply-fds file-read?,file-read?,file-read?,file-read?,file-read?,file-read?,file-read?,file-read?
 *
 * The pidfd is that of the init of a shared PID namespace: it becomes readable when the pod has lost it.
 */

#include "ipc/cgroup-file.h"
#include "ipc/seal.h"

#define SETUP_RESOLV_MAX 8192

/* Which namespaces are made follows from the permit's flags alone. Idempotent by pod id: what exists is kept. fd: the packed
 * RunPodSandboxRequest that the permit seals, which is kept. */
typedef struct SetupMake {
        Permit permit; /* RUN_POD */
        char hostname[256]; /* "" with the host's network: the host's name */
        char resolv_conf[SETUP_RESOLV_MAX]; /* "" : a copy of the host's */
        uint32_t n_sysctls;
        uint32_t shm_bytes; /* 0: 64 MiB */
        SealSysctl sysctls[SEAL_SYSCTLS_MAX]; /* those of the request, in its order */
} SetupMake;

typedef struct SetupMade {
        uint32_t exists;          /* setup_status: 0 if nothing of the pod is there */
        uint32_t flags;           /* PERMIT_FLAG_* in effect */
        int32_t init_pid;         /* of the shared PID namespace, else 0 */
        uint32_t init_alive;
        char network_pin[128];    /* name in /run/netns, "" with the host's network */
} SetupMade;

typedef struct SetupPod {
        char pod_id[ID_LENGTH + 1];
        char padding[3];
} SetupPod;

/* What is kept of a pod. fd: its packed RunPodSandboxRequest, if that was kept. */
typedef struct SetupKept {
        uint32_t exists; /* 0: nothing was kept */
        uint32_t padding;
        Permit permit; /* RUN_POD, as it was checked when the pod was made */
} SetupKept;

/* Does something of this container, which holds a lease on the pod, still run? Looked up beneath the cgroup parent that the pod's
 * kept permit names. NOT_FOUND: nothing was kept, so nobody can say. */
typedef struct SetupLease {
        char pod_id[ID_LENGTH + 1];
        char container_id[ID_LENGTH + 1];
        char padding[2];
} SetupLease;
typedef struct SetupLeased {
        uint32_t populated; /* its cgroup has a process */
} SetupLeased;

/* One connected TCP socket into the pod's network namespace: to 127.0.0.1, else to ::1. Non-blocking. Answered by a child, so
 * that what a pod does with the connection holds up nobody; UNAVAILABLE when nothing answered in SETUP_CONNECT_MSEC. */
typedef struct SetupConnect {
        Permit permit; /* PORT_FORWARD; names the pod, and the ports if the request did */
        uint32_t port;
        uint32_t padding;
} SetupConnect;
#define SETUP_CONNECT_MSEC 10000 /* for both addresses together */

#define SETUP_LIST_MAX 512
typedef struct SetupList {
        uint32_t offset;
} SetupList;
typedef struct SetupListed {
        uint32_t n;
        uint32_t more;
        char pods[SETUP_LIST_MAX][ID_LENGTH + 1];
} SetupListed;

/* The files that a pod's usage is read from: of the cgroup that the permit names as parent of its containers (none for a request
 * without one: that group is not the pod's alone), and the counters of its network namespace's interfaces
 * (CGROUP_FILE_NET_DEV; none with the host's network). An open one keeps the namespace: it is closed before the pod ends. */
typedef struct SetupUsage {
        Permit permit; /* RUN_POD */
} SetupUsage;
