/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* containerd-setup: what one container needs of the host, verb by verb. Every verb finds its objects beneath directories that
 * root owns, by the container's id alone. */

#include "ipc/cgroup-path.h"
#include "ipc/edges/containerd-setup.h"
#include "services/cgroup-open.h"
#include "services/hand.h"

typedef struct Setup {
        Hand *hand;
        int layers_fd;     /* <state_dir>/layers */
        int writable_fd;   /* <state_dir>/writable */
        int containers_fd; /* <runtime_dir>/containers */
        int log_root_fd;
        CgroupDirs cgroups; /* the roots of the hierarchies */
        const ConfigContainerd *config; /* borrowed from the hand */
} Setup;

/* Outcomes that a verb answers with; the text says what and what to do next. */
typedef struct Refusal {
        uint32_t code; /* gRPC status, 0: none */
        char text[512];
} Refusal;

/* Fills the refusal and returns 1, the one positive outcome of the verbs below. */
int refusal_set(Refusal *refusal, uint32_t code, const char *format, ...) _printf_(3, 4);

/* request_fd: what the permit seals, to be kept; -1: it is not. */
int rootfs_prepare(Setup *setup, const RootfsPrepare *verb, int request_fd, Refusal *refusal);
int rootfs_remove(Setup *setup, const char *id, Refusal *refusal);
int rootfs_list(Setup *setup, uint32_t offset, RootfsListed *listed, Refusal *refusal);
/* The permit that rootfs_prepare() checked and kept. */
int rootfs_permit(Setup *setup, const char *id, Permit *permit, Refusal *refusal);

/* kept.c: the request, beside the permit in the container's directory, which is dir_fd. 0, 1 or -errno. */
int kept_save(int dir_fd, const Permit *permit, int request_fd, Refusal *refusal);
/* The caller owns ret_fd; -1: the request was not kept. */
int kept_open(Setup *setup, const char *id, RootfsKept *kept, int *ret_fd, Refusal *refusal);

/* idmap.c: the user namespace of the permit's pod, whose map is the permit's. The caller owns ret. */
int idmap_open(Setup *setup, const Permit *permit, int *ret_fd, Refusal *refusal);
/* The overlay of a container in a user namespace, on the directory target_fd. */
int idmap_rootfs(Setup *setup, const Permit *permit, const Statement *statement, int target_fd, Refusal *refusal);

/* Can this node do that? Tries it, with the store's own file system, and leaves nothing. */
int idmap_probe(Setup *setup, SetupProbed *probed);

/* image-volume.c: one image volume of the permit's request, at images/<index> of the container's directory. Idempotent. */
int image_volume_mount(Setup *setup, const ImageMount *verb, Refusal *refusal);

int log_file_open(Setup *setup, const char *id, int *ret_fd, Refusal *refusal);

/* The container's cgroup in every hierarchy; -ENOENT when it does not exist (any more). */
/* The path of its cgroup, below the root of the version 2 hierarchy, by the permit that was kept. */
int cgroup_find(Setup *setup, const char *id, char ret_path[CGROUP_PATH_MAX], Refusal *refusal);
int cgroup_open(Setup *setup, const char *id, CgroupDirs *ret, Refusal *refusal);
int cgroup_kill(Setup *setup, const char *id, Refusal *refusal);
/* Removes a container's cgroup that its runtime left behind, if it is empty. */
void cgroup_remove(Setup *setup, const char *id);
int cgroup_read(Setup *setup, const char *id, CgroupRead *values, Refusal *refusal);

int usage_open(Setup *setup, const UsageOpen *verb, UsageOpened *opened, int ret_fds[CGROUP_FILES_PER_FRAME], Refusal *refusal);

int signal_send(Setup *setup, const SignalSend *verb, int pidfd, Refusal *refusal);
