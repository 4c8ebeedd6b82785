/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The skeleton of every sequential hand and spawner: libc only. Control channel on fd 3, configuration, keys, acquire,
 * confinement (where the policy row has any), then one request at a time on one edge. */

#include "ipc/config.h"
#include "ipc/hand-channel.h"
#include "ipc/seal.h"

typedef struct Hand Hand;

/* Handles one request: does it top to bottom and answers with hand_reply() or hand_fail(). 0, or a negative errno that ends
 * the process (a bug of ours); what the brain asked wrongly is answered, not returned. */
typedef int (*HandHandler)(void *context, int edge_fd, HandRequest *request);

typedef struct HandSpec {
        ProcessId process;
        EdgeId edge;
        const EdgeSchema *schema;
        const HandHandler *handlers; /* one per row of the schema */
        size_t context_size;         /* first member is `Hand *hand` */
        bool fork_per_request;       /* each request in a child of its own, which answers and exits; siblings run beside it */
        /* fork_per_request only, optional: of this row's requests so many children live at once, more are refused. For one that lives
         * on after its answer, for as long as others like. */
        const MessageRow *limited_row; /* NULL: none */
        uint32_t limited_max;
        int (*acquire)(void *context);
        int (*ready)(void *context);
        /* fork_per_request only, optional: in the child before the handler; enters the policy of the child. */
        int (*enter_child)(void *context);
        /* Optional: called in the main process after it reaped a child that is not a request's (pid, wait status). */
        void (*on_child)(void *context, int pid, int status);
} HandSpec;

int hand_main(const HandSpec *spec, int argc, char **argv);

const ConfigCommon *hand_config(const Hand *hand);
const void *hand_section(const Hand *hand, size_t size);
const uint8_t *hand_permit_key(const Hand *hand);    /* NULL if this process has none */
const uint8_t *hand_statement_key(const Hand *hand);
int hand_take_fd(Hand *hand, const char *name);

/* What was made of this permit goes, or is gone: see services/spent.h. 0 or -errno; 0, SPENT_E_USED or -errno. */
int hand_spend(const Hand *hand, const char *id);
int hand_check_spent(const Hand *hand, const char *id);
