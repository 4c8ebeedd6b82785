/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One shim: the parent of one container's (or exec's) first process, and the truth about its end. */

#include "services/containerd/shim/shim-start.h"

typedef struct Shim {
        const ShimStart *start; /* borrowed; only until it is confined */
        int edge_fd;            /* to containerd; -1 when it is lost. All owned */
        int listener_fd;        /* for launch, when containerd has lost its end */
        int peer_fd;            /* containerd's end, until it is reported */
        int record_fd;          /* the exit record's file */
        int commit_fd;          /* the log's commit record; -1 for an exec */
        int stdin_fd;           /* write end; these three -1 where there is none */
        int stdout_fd, stderr_fd; /* read ends */
        int tty_fd;             /* the terminal's master */
        int pidfd;              /* of the first process */
        int kill_fd;            /* cgroup.kill; -1 for an exec */
        int events_fd;          /* memory.events; -1 for an exec, and where version 2 has no memory controller */
        int slice_fd;           /* memory.events of the slice around it, with the systemd driver only; -1 */
        int signal_fd;          /* SIGCHLD */
        int inner[3];           /* the container's own ends, until the runtime has them */
        bool has_record;        /* the id is ours: what lies in its places, too */
        bool confined;
        bool oom_killed;        /* seen in memory.events */
        int64_t slice_kills;    /* in the slice's, before the container was */
        bool quit;
        ExitRecord record;      /* as last written */
} Shim;

#define SHIM_NULL                                                                                                              \
        ((Shim){.edge_fd = -1, .listener_fd = -1, .peer_fd = -1, .record_fd = -1, .commit_fd = -1, .stdin_fd = -1,             \
                .stdout_fd = -1, .stderr_fd = -1, .tty_fd = -1, .pidfd = -1, .kill_fd = -1, .events_fd = -1, .slice_fd = -1,  \
                .signal_fd = -1, .inner = {-1, -1, -1}})

/* The one outcome of starting: the report's code and text say what. */
enum { SHIM_E_REFUSED = 1 };
int shim_refuse(ShimReport *report, uint32_t code, const char *format, ...) _printf_(3, 4);

/* shim-streams.c: the exit record (its file must be new), the streams, the sockets. */
int shim_make_record(Shim *shim, ShimReport *report);
int shim_make_streams(Shim *shim);
/* shim-runtime.c: runs the runtime until it returns; then pidfd, terminal and cgroup.kill are open. */
int shim_run_runtime(Shim *shim, ShimReport *report);
/* Takes back what a start that failed has made. */
void shim_undo(Shim *shim);

/* shim-record.c: reads the exit record's file (launch stores the time of the start there) and writes it with this state. */
int shim_write_record(Shim *shim, uint32_t state, int wait_status);
/* memory.events: how often the kernel has killed for want of memory; -1 if it cannot be read any more. */
int64_t shim_oom_kills(int events_fd);
/* Looks now: the file says that something has changed. */
void shim_see_events(Shim *shim);
/* Reaps what has ended; for the first process the record is written first. True when that one has ended now. */
bool shim_reap(Shim *shim);

/* shim-sleep.c: polls without a deadline, with as little memory mapped as can be. 0 or -errno. */
struct pollfd;
int shim_sleep(struct pollfd *fds, size_t n);

/* shim-serve.c: serves containerd until it may go. 0 or -errno. */
int shim_serve(Shim *shim);
