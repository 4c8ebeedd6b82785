/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The brain of containers: what exists, in which state, and what is under way. Its hands act (containerd-setup,
 * containerd-launch, a shim per container); imaged knows images, sandboxd knows pods, logd writes logs. */

#include "ipc/channel.h"
#include "ipc/config.h"
#include "services/containerd/container-store.h"
#include "services/containerd/container-table.h"
#include "services/containerd/runtime-table.h"
#include "services/token-table.h"

typedef struct Service Service;
typedef struct Recovery Recovery;

#define CONTAINERD_HOSTNAME_MAX 65

/* Something that is looked at, one container at a time; see stats.h. */
typedef struct StatsLook {
        uint32_t call;           /* under way; 0: none */
        char id[ID_LENGTH + 1];  /* about this container */
        uint64_t wanted_usec;    /* CLOCK_MONOTONIC; when somebody last asked for statistics */
} StatsLook;

/* The one that writable layers are on; UINT64_MAX: not known yet. */
typedef struct Filesystem {
        uint64_t bytes, inodes, inodes_free;
} Filesystem;

typedef struct Containerd {
        Service *service; /* NULL in tests */
        struct event_base *base;         /* borrowed */
        const ConfigCommon *common;      /* borrowed */
        const ConfigContainerd *config;  /* borrowed */
        Channel *imaged, *sandboxd, *setup, *launch, *logd, *streamd; /* borrowed */
        Channel *gatewayd;       /* borrowed; NULL in tests */
        bool notices_wanted;     /* somebody listens to events */
        uint64_t n_notices;
        ContainerTable containers;
        ContainerStore store;
        RuntimeTable runtimes;
        List pod_ends; /* PodEnd.link */
        List execs;    /* Exec.link */
        size_t n_execs;
        TokenTable tokens;      /* Session.token */
        List sessions;          /* Session.link */
        size_t n_sessions;
        size_t session_bytes;   /* of requests that wait under their tokens */
        bool sessions_are_told; /* streamd has said which sessions it still has */
        size_t n_resumed;       /* of those, what became of which had to be looked up */
        struct event *pulse; /* owned; what a full disk or a failed removal left undone is tried again */
        size_t exec_bytes;      /* of output that execs hold */
        Recovery *recovery;     /* owned; while it is under way */
        struct event *recovery_timer; /* owned; until it is ready */
        bool is_ready;
        List orphans; /* Orphan.link */
        char hostname[CONTAINERD_HOSTNAME_MAX]; /* the node's */
        StatsLook measure, processes;
        bool wants_metrics; /* somebody has asked for metrics or their descriptors */
        Filesystem filesystem;
        bool has_apparmor, has_selinux;
        int result; /* of the loop, in tests */
} Containerd;

/* Ends the service; for callbacks of libevent, which return nothing. userdata is the Containerd. */
void containerd_fail(void *userdata, int r);

/* base, config, channels and store are set. Loads, recovers, serves. 0 or -errno. */
int containerd_begin(Containerd *containerd);
void containerd_end(Containerd *containerd);

/* linkd is told that we are ready when both is so: what was is known again, and every runtime has said what it is (or has not for too
 * long). Work is taken before: who asks only for what is there need not wait for runtimes. */
void containerd_tell_ready(Containerd *containerd);

/* Something could not be done now (a full disk, a removal that failed): it is tried again soon. */
void containerd_pulse_soon(Containerd *containerd);

/* Something about this pod's containers changed: whoever waits for that looks again. 0 or -errno. */
int containerd_pod_changed(Containerd *containerd, const char *pod_id);
