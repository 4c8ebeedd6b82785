/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What containers use, told from files of their cgroups that are kept open (containerd-setup opens them once, when the container
 * is made or found again), so that a request costs some preads and waits for nobody: eight files, and some ten more from when
 * somebody first asks for metrics. How a rate comes about without a timer: services/usage.h.
 *
 * Two things cannot be read from an open file: the size of a writable layer and the file descriptors of processes. Both are looked
 * at by hands, one container at a time, only while somebody asks for statistics, and told from memory with the time at which
 * they were seen. A look that hangs holds up other looks of its kind and nothing else. */

#include "ipc/edges/containerd-setup.h"
#include "services/containerd/containerd.h"
#include "services/usage.h"

struct Stats {
        Containerd *containerd; /* borrowed */
        UsageFiles files;
        UsageRate rate;
        uint32_t call;          /* to containerd-setup for files; 0: none */
        uint32_t first, end;    /* the files that it is about */
        bool has_metrics;       /* files that only metrics need are open too: from the first time that somebody asks for metrics */
        uint64_t opened_usec;   /* CLOCK_MONOTONIC; when it was last tried */
        UsageProcesses processes;
        int64_t processes_nsec; /* CLOCK_REALTIME; 0: never */
        uint64_t look_usec;     /* CLOCK_MONOTONIC; when the next look is due */
        uint64_t bytes, inodes; /* of the writable layer */
        int64_t measured_nsec;  /* CLOCK_REALTIME; 0: never */
        uint64_t measure_usec;  /* CLOCK_MONOTONIC; when the next measurement is due */
        uint64_t measure_interval_usec; /* grows while the layer does not change */
};

/* The container's cgroup exists: its files are opened. is_new: its writable layer is empty. 0 or -errno. */
int stats_begin(Container *container, bool is_new);
/* Nothing of it runs any more: the files are closed, what was measured stays. */
void stats_end(Container *container);
Stats *stats_free(Stats *stats);

int stats_reply(Container *container, ReplyTo to); /* 0 or -errno */
int stats_list_reply(Containerd *containerd, const Runtime__V1__ContainerStatsFilter *filter, ReplyTo to);
/* Of the containers of pods, for sandboxd. */
int stats_pods_reply(Containerd *containerd, const Frame *frame);

/* stats-look.c: somebody asks for statistics (or metrics), so what is due is looked at. 0 or -errno. */
int stats_look(Containerd *containerd, bool metrics);
void stats_look_begin(Containerd *containerd);
void stats_look_end(Containerd *containerd);
