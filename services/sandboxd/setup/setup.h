/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* sandboxd-setup: the namespaces and files of one pod, by the pod's id and its permit alone. */

#include "ipc/edges/sandboxd-setup.h"
#include "services/cgroup-open.h"
#include "services/hand.h"
#include "services/sandboxd/refusal.h"
#include "services/stream-share.h"

#define SETUP_NETNS_DIR "/run/netns" /* where iproute2 and the CNI world look */
#define SETUP_PATH_MAX 512

typedef struct Setup {
        Hand *hand;
        struct SetupChild { /* children of connect.c; pid 0: free */
                int pid;
                char pod_id[ID_LENGTH + 1];
        } children[STREAM_CHILDREN_MAX];
        CgroupDirs cgroups; /* the roots of the hierarchies */
        const ConfigContainerd *config; /* borrowed from the hand */
} Setup;

/* pods.c: what a pod's directory remembers, and what is there. */

typedef struct PodRecord {
        char magic[8]; /* "BHPOD1" */
        uint32_t flags; /* PERMIT_FLAG_* */
        uint32_t userns_host_id, userns_length;
} PodRecord;

typedef enum PodPath {
        POD_PATH_FILES,    /* <runtime_dir>/pods/<id>: a tmpfs with resolv.conf, hostname, shm/ and the record */
        POD_PATH_SHM,
        POD_PATH_PINS,     /* <runtime_dir>/ns/<id> */
        POD_PATH_USER,
        POD_PATH_IPC,
        POD_PATH_UTS,
        POD_PATH_PID,
        POD_PATH_NETWORK,  /* SETUP_NETNS_DIR/<instance>bh-<id> */
        POD_PATH_N,
} PodPath;

/* Does a pod with these PERMIT_FLAG_* flags have a namespace of that kind, and which CLONE_NEW* is it? */
bool pod_has_pin(uint32_t flags, PodPath which);
int pod_pin_type(PodPath which);

/* id is valid (checked by the caller). -ENAMETOOLONG is a configuration that linkd should have refused. */
int pod_path(const Setup *setup, const char *id, PodPath which, char ret[SETUP_PATH_MAX]);
/* Directories that all pods share, and SETUP_NETNS_DIR as a shared mount. */
int pod_prepare_host(const Setup *setup);
/* Writes the record: the pod is complete. */
int pod_commit(const Setup *setup, const char *id, const PodRecord *record);
/* Fills made; ret_pidfd is the init's where the pod has one (-1 else). exists is 0 unless everything that the record
 * promises is there. */
int pod_status(const Setup *setup, const char *id, SetupMade *made, int *ret_pidfd);
/* It was made whole, from a permit that was checked. */
bool pod_is_made(const Setup *setup, const char *id);
/* Ends the init, removes pins, mounts and directories, whatever of them is there. 0 also if nothing was. */
int pod_remove(const Setup *setup, const char *id, Refusal *refusal);
int pod_list(const Setup *setup, uint32_t offset, SetupListed *listed);

/* connect.c: setup_connect. connect_ended: of any child of the hand's that is not a request's. */
int on_setup_connect(void *context, int edge_fd, HandRequest *request);
void connect_ended(void *context, int pid, int status);

/* files.c */
int files_make(const Setup *setup, const SetupMake *make);
/* The name that the pod's processes see: written once the UTS namespace has it. */
int files_write_hostname(const Setup *setup, const SetupMake *make, const char *hostname);

/* namespaces.c: makes, fills and pins the namespaces that the permit's flags ask for. hostname receives the name in
 * effect. */
int namespaces_make(const Setup *setup, const SetupMake *make, char hostname[65], Refusal *refusal);

/* init.c: the first process of a shared PID namespace; never returns. go_fd: nothing has to be read from it for the init
 * to stay; end of file means that the maker died, and so does the init. */
_Noreturn void init_run(const char *root_path, uint32_t id_in_namespace, int go_fd);
/* Finds it through the pinned namespace: no process id is remembered, so none can be somebody else's by now.
 * ret_pidfd -1: there is none (any more). */
int init_find(const char *pin_path, int *ret_pidfd);
/* SIGKILL and the end of it. */
int init_kill(const char *pin_path);
int init_pid(int pidfd, int32_t *ret_pid);

/* kept.c: what a pod is known by without a database. Keeps the permit and the request in request_fd, which it must seal: 0, or 1 and
 * a refusal. */
int kept_save(const Setup *setup, const Permit *permit, int request_fd, Refusal *refusal);
/* The caller owns ret_fd; -1 and !exists: nothing was kept. */
int kept_open(const Setup *setup, const char *pod_id, SetupKept *kept, int *ret_fd);
int kept_look_at_lease(const Setup *setup, const SetupLease *verb, SetupLeased *leased, Refusal *refusal);
void kept_forget(const Setup *setup, const char *pod_id);

/* usage.c: opens what a pod's usage is read from; the caller owns the fds. 0, or 1 and a refusal. */
int usage_open(const Setup *setup, const SetupUsage *verb, CgroupFiles *ret, int ret_fds[CGROUP_FILES_PER_FRAME], Refusal *refusal);
