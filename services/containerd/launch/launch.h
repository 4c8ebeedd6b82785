/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* containerd-launch: a spawner. It starts OCI runtimes and shims, unconfined, because whatever confined it would be inherited by
 * containers for ever; so it decodes nothing. What must be decoded is, in a child that has confined itself first. */

#include "ipc/edges/containerd-launch.h"
#include "services/hand.h"

typedef struct Launch {
        Hand *hand;
        const ConfigCommon *common;     /* borrowed from the hand */
        const ConfigContainerd *config; /* borrowed from the hand */
        int cgroup_fd;                  /* where each shim gets a cgroup; -1 without a v2 hierarchy */
        uint64_t *n_refused;            /* requests that asked for more than their permit; shared with the children */
} Launch;

/* Why a verb did not do what it was asked. */
typedef struct Verdict {
        uint32_t code; /* gRPC status */
        char text[1200];
} Verdict;

/* Fills the verdict and returns 1, the one positive outcome of the functions below. They return 0, that, or -errno. */
int verdict_set(Verdict *verdict, uint32_t code, const char *format, ...) _printf_(3, 4);

typedef enum RenderKind {
        RENDER_KIND_CREATE, /* config.json, from a spec */
        RENDER_KIND_EXEC,   /* process.json, from a spec and the container's config.json */
        RENDER_KIND_LIMITS, /* limits.json, from the container's config.json */
        RENDER_KIND_UPDATE, /* limits.json, from the one before it and the request */
        RENDER_KIND_FEATURES, /* no document: what the runtime says of its features is read; needs no permit */
        RENDER_KIND_CHECKPOINT, /* no document: where the request has the archive */
        RENDER_KIND_ARCHIVE, /* the archive, from the spec, the files of the dump and the stream */
        RENDER_KIND_WHY, /* no document: CRIU's log (container_fd) of a dump that failed is read; needs no permit */
} RenderKind;

/* What is rendered, and from what; fds that the kind does not need are -1. */
typedef struct RenderJob {
        const Permit *permit;
        RenderKind kind;
        uint32_t flags; /* LAUNCH_FLAG_* */
        int spec_fd, request_fd, container_fd;
        int stream_fd, result_fd; /* of ARCHIVE: what the container changed; where it is written */
        uint64_t deadline_usec; /* CLOCK_MONOTONIC; of ARCHIVE, where the container stands still for it; 0: none */
        char *ret_location;     /* borrowed, RENDER_PATH_MAX; of CHECKPOINT */
        uint32_t *ret_features; /* borrowed; of FEATURES */
} RenderJob;

/* render-parent.c: writes the document that the confined child renders to path; NULL: to the job's result_fd. */
int render_run(const Launch *launch, const RenderJob *job, const char *path, Verdict *verdict);
/* render-child.c: all that decodes. */
_Noreturn void render_child(const Launch *launch, const RenderJob *job, int ask_fd, int result_fd);
