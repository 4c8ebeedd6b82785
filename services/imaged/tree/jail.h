/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A process that sees one tree and nothing else: a mount namespace whose root is that tree, a process namespace of its own, no
 * network (imaged-tree has none), five capabilities, a filter. Everything that looks into a hostile tree runs in one.
 *
 * Three shapes of root:
 *   tree alone:       "/" is the tree, writable; symlinks are not followed by anyone (nosymfollow), unless asked for
 *   image:            "/image" is the layers of an image as an overlay, read-only
 *   image and tree:   the same, and "/tree" */

#include "ipc/config.h"
#include "services/imaged/tree/report.h"

/* Runs in the jail: fills the report, which is sent when it returns. Return values are only for its own callers. */
typedef int (*JailFunction)(void *argument, Report *report);

typedef struct JailSpec {
        const ConfigCommon *config;   /* borrowed */
        int tree_fd;                  /* borrowed; -1: no tree */
        bool follows;                 /* the kernel follows the tree's own symlinks, within it */
        const uint8_t (*layers)[32];  /* borrowed; lowest first */
        uint32_t n_layers;            /* 0: no image */
        bool apart;                   /* each layer is also seen by itself, read-only, at /apart/<number> */
        int keep_fd;                  /* borrowed; one more fd that stays open, -1: none. All others are closed. */
        bool streams;                 /* the report comes first and the function's second part after it: see after */
        JailFunction run;
        JailFunction after; /* streams only: runs when the report was sent and said 0 */
        void *argument;     /* borrowed; the jail has a copy of its own of everything it points to */
} JailSpec;

typedef struct Jail {
        pid_t pid;     /* 0: there is none */
        int report_fd; /* owned */
} Jail;
#define JAIL_NULL ((Jail){.report_fd = -1})

/* The caller has SYS_ADMIN and the five. 0 or -errno. */
int jail_start(const JailSpec *spec, Jail *ret);
/* Waits for the report, then for the end, which is the end of everything that ran in it; at most until the deadline (absolute,
 * monotonic), then kills it. 0 with the report, safe to use, or -errno. */
int jail_finish(Jail *jail, uint64_t deadline_usec, Report *ret);
/* The two halves of it. */
int jail_read_report(Jail *jail, uint64_t deadline_usec, Report *ret);
int jail_wait(Jail *jail, uint64_t deadline_usec);
/* Kills and reaps what still runs. */
void jail_done(Jail *jail);

/* For a child that keeps at most two fds (b may be -1): closes all others, whatever their numbers. 0 or -errno. */
int jail_close_others(int a, int b);

/* start and finish. */
int jail_run(const JailSpec *spec, uint64_t timeout_usec, Report *ret);
