/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* linkd-start: starts the fixed table of programs, starts again what dies, keeps what must outlive linkd. Root and
 * unconfined, because what it starts must not inherit anything; so it decides nothing and parses nothing. */

#include "ipc/control.h"

#define START_BACKOFF_MIN_USEC (100 * 1000)
#define START_BACKOFF_MAX_USEC (10 * 1000 * 1000)
#define START_STABLE_USEC (30 * 1000 * 1000) /* lived that long: the next restart is immediate again */
#define START_STOP_USEC (10 * 1000 * 1000)   /* then what has not ended is killed */
#define START_KEPT_MAX 6
#define START_MEMORY_BYTES (256 * 1024)

typedef struct StartChild {
        pid_t pid;            /* 0: down */
        int channel_fd;       /* owned: a duplicate of linkd's end, so that its restart is invisible; for linkd: ours */
        uint32_t incarnation; /* counts starts */
        uint64_t started_usec;
        uint64_t backoff_usec;
        uint64_t due_usec;    /* start again then; 0: not wanted, or running */
} StartChild;

typedef struct StartKept {
        ControlKept name;
        int fd; /* owned */
} StartKept;

typedef struct Start {
        char **argv;                   /* borrowed; goes to linkd as it is */
        const char *config;            /* borrowed; NULL for the default path */
        char own_dir[CONFIG_PATH_MAX]; /* where linkd's program is; the plan says where the others are */
        int signal_fd;                 /* owned */
        int memory_fd;                 /* owned: keys and generations, linkd's to read and write */
        int ready_fd;                  /* owned: told once when all are ready, -1 if nobody waits */
        bool reload;
        bool planned;
        bool stopping;
        ControlPlan plan;
        StartKept kept[START_KEPT_MAX];
        size_t n_kept;
        StartChild children[PROCESS_N];
        ControlFrame frame;
} Start;

/* Forks and executes a row; a program that is missing is tried again later. 0 (see pid) or -errno. */
int start_child(Start *start, ProcessId process);
void start_child_ended(Start *start, ProcessId process, int status);
/* All daemons, in an order in which none loses the hand it works with; never shims or containers. */
void start_stop_all(Start *start);
