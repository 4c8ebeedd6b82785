/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The OCI runtimes of this node: which handler is which, whether it is there and what it can. */

#include "ipc/channel.h"
#include "ipc/config.h"
#include "services/containerd/operation.h"

typedef struct Containerd Containerd;

typedef struct RuntimeState {
        bool is_probed;
        bool is_present;
        char version[256]; /* the first line of --version; not present: why */
        bool has_features;      /* it says so itself; else it is known by its version */
        uint32_t features;      /* LAUNCH_FEATURE_* */
        uint32_t criu;          /* LAUNCH_CRIU_* */
        bool has_recursive_readonly;
        bool has_userns; /* joins a pinned user namespace */
} RuntimeState;

typedef struct RuntimeTable {
        Operation operation;
        Containerd *containerd; /* borrowed; contains us */
        RuntimeState states[CONFIG_RUNTIMES_MAX];
        uint32_t row;           /* that is probed now */
        bool is_probing;
        bool was_probed;        /* every runtime has been looked at once, or one of them takes too long */
        struct event *patience; /* owned; until then */
        uint64_t probed_usec;   /* when the last round ended */
        bool has_mount_setattr; /* Linux 5.12 */
        bool is_setup_probed;
        bool has_userns;        /* containerd-setup made a root file system with mapped owners */
} RuntimeTable;

/* Asks containerd-launch about all of them. 0 or -errno. */
int runtime_probe(Containerd *containerd);
void runtime_done(Containerd *containerd);
/* The row of a handler ("" is the first one), -1 if there is none. */
int runtime_find(const Containerd *containerd, const char *handler);
bool runtime_has_recursive_readonly(const Containerd *containerd, uint32_t row);
/* The runtime joins user namespaces that others made, and the node can make what it then needs. */
bool runtime_has_userns(const Containerd *containerd, uint32_t row);
/* A version line of a runtime that is known to join user namespaces by their path. */
bool runtime_version_has_userns(const char *version);
/* A version line such as "crun version 1.8.1": the runtime is known to mount recursively read-only. */
bool runtime_version_has_recursive_readonly(const char *version);

/* The container half of CRI Status, from memory. 0 or -errno. */
int runtime_status_reply(Containerd *containerd, ReplyTo to);
