/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* containerd -> containerd-setup: fixed frames. A container's root-owned directory is <runtime_dir>/containers/<id>/ (0700):
 *   rootfs/   the overlay (lower: <state_dir>/layers/<digest>, upper: <state_dir>/writable/<id>/upper)
 *   permit    the sealed CREATE_CONTAINER permit, kept for later verbs
 *   request   the request that it seals: what a brain that lost its database knows the container by
 *   config.json, pid, runtime state: containerd-launch's
 *
 * row 1 request rootfs_prepare: RootfsPrepare -> - from A fds memfd-sealed? reply-fds file-write?
 * row 2 request rootfs_remove: SetupContainer -> - from A states ANY
 * row 3 request log_file_open: SetupContainer -> - from A reply-fds file-write
 * row 4 request signal_send: SignalSend -> - from A fds pidfd
 * row 5 request cgroup_kill: SetupContainer -> - from A
 * row 6 request cgroup_read: SetupContainer -> CgroupRead from A
 * row 7 request rootfs_list: RootfsList -> RootfsListed from A states ANY
 * row 8 request setup_probe: - -> SetupProbed from A states ANY
 * row 9 request image_mount: ImageMount -> - from A
 * row 10 request rootfs_kept: SetupContainer -> RootfsKept from A reply-fds file-read? states ANY
 * row 20 request usage_open: UsageOpen -> UsageOpened from A reply-fds file-read?,file-read?,file-read?,file-read?,file-read?,file-read?,file-read?,file-read?
 */

#include "ipc/cgroup-file.h"
#include "ipc/seal.h"

typedef struct SetupContainer {
        char id[ID_LENGTH + 1];
        char padding[3];
} SetupContainer;

/* Only layers that the statement names, for the image that the permit names. Refuses a rootfs whose /dev, /proc or /sys is
 * not a real directory. Idempotent. fd: the packed CreateContainerRequest that the permit seals, which is kept. Reply fd: the log,
 * as of log_file_open, if the permit names one. */
typedef struct RootfsPrepare {
        Permit permit;       /* CREATE_CONTAINER */
        Statement statement;
        uint32_t padding; /* a Permit holds 64-bit words */
} RootfsPrepare;

/* Mounts the index-th image volume of the request at images/<index> of the container's directory, after rootfs_prepare. The
 * statement is that of its image. */
typedef struct ImageMount {
        Permit permit; /* CREATE_CONTAINER */
        uint32_t index, n_volumes;
        SealVolume volumes[SEAL_VOLUMES_MAX]; /* all of the request's, as the permit seals them */
        Statement statement;
} ImageMount;

/* The process must be in the container's cgroup. */
typedef struct SignalSend {
        char id[ID_LENGTH + 1];
        char padding[3];
        int32_t signal;
} SignalSend;

/* From the container's cgroup (v2; values UINT64_MAX where the controller is absent). */
typedef struct CgroupRead {
        uint64_t populated;      /* 0: no process left */
        uint64_t exists;
        uint64_t oom_kills;      /* memory.events oom_kill */
        uint64_t memory_bytes, memory_inactive_file_bytes, memory_anon_bytes, page_faults, major_page_faults;
        uint64_t swap_bytes;
        uint64_t cpu_usec;
        uint64_t pids;
} CgroupRead;

#define SETUP_ROOTFS_LIST_MAX 512
typedef struct RootfsList {
        uint32_t offset;
} RootfsList;
typedef struct RootfsListed {
        uint32_t n;
        uint32_t more;
        char ids[SETUP_ROOTFS_LIST_MAX][ID_LENGTH + 1];
} RootfsListed;

/* What is kept of a container. fd: its packed CreateContainerRequest, if that was kept. NOT_FOUND: there is none. */
typedef struct RootfsKept {
        Permit permit; /* CREATE_CONTAINER, as it was checked when the container was made */
} RootfsKept;

/* What the kernel and the file system of the store can, tried out. */
typedef struct SetupProbed {
        uint32_t has_userns; /* a root file system with mapped owners can be made */
        char why[252];       /* else: what failed */
} SetupProbed;

/* The files that usage is read from, of this container's cgroup alone, from `first` on and before `end`: asked again with `next`
 * until that is CGROUP_FILE_N. With look: a look at its processes too. */
typedef struct UsageOpen {
        char id[ID_LENGTH + 1];
        char padding[3];
        uint32_t first, end; /* CgroupFile */
        uint32_t look;       /* bool */
} UsageOpen;

/* Of the processes directly in the cgroup, at most USAGE_PROCESSES_MAX of them. */
#define USAGE_PROCESSES_MAX 1024
#define USAGE_DESCRIPTORS_MAX 65536
typedef struct UsageProcesses {
        uint64_t n_processes;
        uint64_t n_fds;     /* open file descriptors of all of them; ends at USAGE_DESCRIPTORS_MAX */
        uint64_t n_sockets; /* those that are sockets */
        uint64_t soft_open_files; /* RLIMIT_NOFILE of the first; UINT64_MAX: unlimited, or there is none */
} UsageProcesses;

typedef struct UsageOpened {
        CgroupFiles files;
        UsageProcesses processes;
} UsageOpened;
