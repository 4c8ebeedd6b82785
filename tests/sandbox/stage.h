/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A hand on a test's stage: the test is linkd (control channel) and the brain (edge) of one hand that runs for real. */

#include "ipc/control.h"
#include "ipc/seal.h"
#include "ipc/wire.h"
#include "lib/test.h"

typedef struct StageHand {
        pid_t pid;
        int control_fd;
        int edge_fd;
        const EdgeSchema *schema;
        uint32_t last_request;
        uint32_t n_events; /* that came before answers */
} StageHand;

/* What a verb answered. */
typedef struct StageAnswer {
        uint32_t code; /* gRPC status; 0 is success */
        char text[WIRE_ERROR_TEXT_MAX + 1];
        WireFrame frame;
} StageAnswer;

/* Everything the hands of one test share: directories, the instance's name, the permit key. */
typedef struct Stage {
        ConfigCommon config;
        uint8_t key[SEAL_KEY_BYTES];
} Stage;

/* Directories in root (which exists), 0755. instance: part of names in /run/netns. */
void stage_init(Stage *stage, const char *root, const char *instance);
void stage_start(const Stage *stage, StageHand *hand, const char *program, ProcessId process, EdgeId edge,
                 const EdgeSchema *schema, const void *section, size_t n);
/* SIGTERM, and it ends well. */
void stage_stop(StageHand *hand);
void stage_kill(StageHand *hand);
uint32_t stage_send(StageHand *hand, const MessageRow *row, const void *flat, const int *fds, size_t n_fds);
/* The answer to a request; others that arrive before it are a failure of the test. */
void stage_receive(StageHand *hand, const MessageRow *row, uint32_t request_id, StageAnswer *answer);
void stage_call(StageHand *hand, const MessageRow *row, const void *flat, const int *fds, size_t n_fds,
                StageAnswer *answer);
void stage_answer_done(StageAnswer *answer);

/* A permit for a pod, sealed over the request (which may be NULL). */
void stage_permit(const Stage *stage, Permit *permit, const char *id, uint32_t flags, const void *request, size_t n);

/* What must be the same before and after: mounts, pins, interfaces, processes that are not ours, cgroups. Owned text. */
char *stage_snapshot(const Stage *stage);
void stage_assert_same(const char *before, const char *after);

/* Exit code of a shell command. */
int stage_run(const char *format, ...) _printf_(1, 2);
/* First line of what a shell command prints, in a buffer of the caller's. */
void stage_read(char *to, size_t size, const char *format, ...) _printf_(3, 4);
