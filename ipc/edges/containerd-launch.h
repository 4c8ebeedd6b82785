/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* containerd -> containerd-launch: fixed frames; the typed spec and the sealed request travel in sealed memfds that only the
 * confined render child decodes (runtime-spec.proto). Every request runs in a child of its own.
 *   bundle:  <runtime_dir>/containers/<id>/{config.json,pid}   runtime state: <runtime_dir>/oci/
 *   exits:   <runtime_dir>/exits/<id>  preallocated, O_EXCL, on tmpfs (struct ExitRecord of containerd-shim.h)
 *   shims:   <runtime_dir>/shims/<id>.sock  listening socket that the shim inherits
 *   checkpoints: <state_dir>/checkpoints/<id>/  a container's images, while they are put into their archive
 *
 * row 1 request launch_create: LaunchCreate -> LaunchCreated from A fds memfd-sealed,memfd-sealed reply-fds socket,pidfd,memfd-shared,any,any?,any?
 * row 2 request launch_start: LaunchContainer -> - from A
 * row 3 request launch_exec: LaunchExec -> LaunchCreated from A fds memfd-sealed,memfd-sealed reply-fds socket,pidfd?,any?,any?,any?
 * row 4 request launch_delete: LaunchContainer -> - from A states ANY
 * row 5 request launch_reconnect: LaunchContainer -> LaunchReconnected from A reply-fds socket? states ANY
 * row 6 request launch_list: LaunchList -> LaunchListed from A states ANY
 * row 7 request launch_probe: LaunchProbe -> LaunchProbed from A states ANY
 * row 8 request launch_exit_record: LaunchContainer -> LaunchExit from A states ANY
 * row 9 request launch_update: LaunchUpdate -> - from A fds memfd-sealed
 * row 10 event launch_checked: LaunchChecked from B
 * row 11 request launch_checkpoint: LaunchCheckpoint -> - from A fds memfd-sealed,memfd-sealed,socket
 */

#include "ipc/edges/containerd-shim.h"
#include "ipc/seal.h"

enum {
        LAUNCH_FLAG_TTY = 1 << 0,
        LAUNCH_FLAG_STDIN = 1 << 1, /* else /dev/null */
        LAUNCH_FLAG_STDOUT = 1 << 2,
        LAUNCH_FLAG_STDERR = 1 << 3,
};

/* fds: packed bulkhead.runtime_spec.RuntimeSpec, packed runtime.v1.CreateContainerRequest (what the permit seals).
 * Reply fds: connected shim socket, pidfd of the container's first process, commit memfd of the log, then with TTY the
 * pty's master, else stdout's and stderr's read ends; with STDIN the write end of stdin last (not with TTY). */
typedef struct LaunchCreate {
        Permit permit; /* CREATE_CONTAINER */
        uint32_t runtime; /* row of ConfigContainerd.runtimes */
        uint32_t flags;
} LaunchCreate;

typedef struct LaunchCreated {
        int32_t pid;      /* of the first process, in the suite's PID namespace */
        uint32_t started; /* exec: 0 when the runtime could not start it; text then says why */
        char text[1024];  /* the runtime's last words, made printable */
} LaunchCreated;

/* Before the reply to launch_create: it was checked and rendered, and the runtime is at it. */
typedef struct LaunchChecked {
        char id[ID_LENGTH + 1];
        char padding[3];
} LaunchChecked;

typedef struct LaunchContainer {
        char id[ID_LENGTH + 1]; /* container or exec */
        char padding[3];
        uint32_t runtime;
} LaunchContainer;

/* fds: packed bulkhead.runtime_spec.ProcessSpec, packed ExecSyncRequest or ExecRequest (permit: id = exec, pod_id =
 * container). Reply fds: shim socket, pidfd, then by flags: TTY master | stdout, stderr read ends; stdin's write end last. */
typedef struct LaunchExec {
        Permit permit; /* EXEC */
        uint32_t runtime;
        uint32_t flags;
} LaunchExec;

/* fd: packed runtime.v1.UpdateContainerResourcesRequest. All of its limits are in force afterwards, or none; what it does not say
 * stays. */
typedef struct LaunchUpdate {
        Permit permit; /* UPDATE: id = the update, pod_id = container */
        uint32_t runtime;
        uint32_t padding;
} LaunchUpdate;

/* fds: packed bulkhead.runtime_spec.CheckpointSpec, packed runtime.v1.CheckpointContainerRequest, and imaged's stream of what the container
 * changed in its root file system (ipc/tree-stream.h). The container stands still meanwhile and runs on afterwards. The archive is
 * at the request's location when this is answered, whole, or nothing is. */
typedef struct LaunchCheckpoint {
        Permit permit; /* CHECKPOINT: id = the checkpoint, pod_id = container */
        uint32_t runtime;
        uint32_t flags;       /* LAUNCH_FLAG_TTY */
        uint32_t timeout_sec; /* after that much time nothing is put there any more */
        uint32_t padding;
} LaunchCheckpoint;
#define LAUNCH_CHECKPOINT_SEC_MAX 600

typedef struct LaunchReconnected {
        uint32_t alive; /* 0: no shim listens there any more */
} LaunchReconnected;

typedef struct LaunchExit {
        uint32_t exists;
        uint32_t in_checkpoint; /* somebody who lives works on its checkpoint */
        ExitRecord record;
} LaunchExit;

#define LAUNCH_LIST_MAX 512
typedef struct LaunchList {
        uint32_t offset;
} LaunchList;
/* Containers and execs with an exit record file (finished or not). */
typedef struct LaunchListed {
        uint32_t n;
        uint32_t more;
        char ids[LAUNCH_LIST_MAX][ID_LENGTH + 1];
} LaunchListed;

enum {
        LAUNCH_FEATURE_RECURSIVE_READONLY = 1 << 0, /* the mount option rro */
        LAUNCH_FEATURE_IDMAP = 1 << 1,              /* idmapped mounts */
        LAUNCH_FEATURE_CHECKPOINT = 1 << 2,
};

enum {
        LAUNCH_CRIU_PROGRAM = 1 << 0, /* what OCI runtimes checkpoint with */
        LAUNCH_CRIU_LIBRARY = 1 << 1, /* by which crun speaks to it */
};

typedef struct LaunchProbe {
        uint32_t runtime;
} LaunchProbe;
typedef struct LaunchProbed {
        uint32_t present; /* executable, root-owned */
        uint32_t has_features; /* it says what it can: the next one counts */
        uint32_t features;     /* LAUNCH_FEATURE_* */
        uint32_t criu;         /* LAUNCH_CRIU_* that are installed */
        char version[256]; /* first line of --version */
} LaunchProbed;
