/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A container's checkpoint: it is paused, the OCI runtime has CRIU write its processes down into a directory of root's on the disk of the
 * state, the archive is made in the directory of its location under another name, then the container runs on and the archive gets its
 * name. While <state_dir>/checkpoints/<id> is there, one is under way, and its lock says whether by somebody who lives. libc only. */

#include "ipc/config.h"
#include "services/containerd/runtime/place.h"
#include "services/containerd/runtime/runtime.h"

typedef struct Checkpoint {
        const ConfigCommon *common; /* borrowed, as is runtime */
        const Runtime *runtime;
        char id[ID_LENGTH + 1];
        char path[PLACE_PATH_MAX];  /* its directory; beneath it checkpoint and work */
        bool is_paused;
        bool is_undumped;           /* the runtime tried, and CRIU's log says why it could not */
        int lock_fd;                /* all owned; -1 */
        int to_fd;                  /* the directory of the location */
        int archive_fd;             /* for writing; nothing is in it yet */
        bool is_unnamed;            /* it has no name yet, so it goes with whoever holds it */
        char name[256], staged[256]; /* in to_fd */
        uint64_t deadline_usec;     /* CLOCK_MONOTONIC; nothing gets its name later */
        uint32_t code;              /* gRPC status and text of CHECKPOINT_E_SET */
        char text[1024];
} Checkpoint;
#define CHECKPOINT_NULL ((Checkpoint){.lock_fd = -1, .to_fd = -1, .archive_fd = -1})

enum { CHECKPOINT_E_SET = 1 }; /* code and text say why not */

/* Waits for the lock, clears away what one who was killed left, and makes the directory. 0, CHECKPOINT_E_SET or -errno. */
int checkpoint_begin(Checkpoint *checkpoint, const ConfigCommon *common, const Runtime *runtime, const char *id, uint32_t timeout_sec);
/* Finds the directory of the location, which no symbolic link is on the way to, pauses the container and has it dumped; archive_fd is
 * open then. As checkpoint_begin(). */
int checkpoint_dump(Checkpoint *checkpoint, const char *location, bool has_terminal);
/* The archive is written: the container runs on, and the archive gets its name, unless it is too late. As checkpoint_begin(). */
int checkpoint_commit(Checkpoint *checkpoint);
/* What is left is undone: the container runs on, nothing stays. */
void checkpoint_done(Checkpoint *checkpoint);

/* After somebody was killed: a container that stands still runs on. Nothing, where there is nothing, or somebody lives: then true. */
bool checkpoint_undo(const ConfigCommon *common, const Runtime *runtime, const char *id);

/* For the archive: calls back with each file and the name it has there; the fd is ours. Stops at the first negative return. 0 or -errno. */
typedef int (*CheckpointFileCallback)(void *userdata, const char *name, int fd);
int checkpoint_walk(const ConfigCommon *common, const char *id, CheckpointFileCallback callback, void *userdata);
/* CRIU's log of a dump, for reading; -1: none. The caller owns it. */
int checkpoint_open_log(const Checkpoint *checkpoint);
/* LAUNCH_CRIU_*: what is where OCI runtimes look for it. */
uint32_t checkpoint_probe_criu(void);
