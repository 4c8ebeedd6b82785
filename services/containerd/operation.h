/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What takes time: a chain of named steps. A step does one thing, then names the next one, or waits for an answer, for a
 * moment, or for whoever resumes the operation. Each step can be repeated, unless it says `once`: a lost edge repeats it. */

#include "ipc/channel.h"
#include "services/containerd/failure.h"

struct event;
struct event_base;
typedef struct Operation Operation;
typedef struct Step Step;

struct Step {
        const char *name; /* in logs and in error texts: the stage */
        const Step *(*run)(Operation *operation);
        /* For a step that asked somebody. An outcome other than 0 is the step's to handle. */
        const Step *(*answered)(Operation *operation, const Answer *answer);
        bool once; /* a second time would not be the same: not repeated when the edge was lost */
};

extern const Step operation_wait, operation_done, operation_broken;
#define STEP_WAIT (&operation_wait)
#define STEP_DONE (&operation_done)

struct Operation {
        const char *noun;   /* "create": for logs */
        const char *id;     /* borrowed: of the container or exec */
        struct event_base *base; /* borrowed */
        const Step *step;
        /* Called once, after STEP_DONE; may free the operation. Returns like a handler. */
        int (*done)(Operation *operation);
        /* A failure of ours in an answer or a timer: ends the service. */
        void (*fail)(void *userdata, int r);
        void *fail_userdata; /* borrowed */

        Channel *asked; /* of the call under way */
        uint32_t request_id;
        uint32_t n_lost; /* how often the step's edge was lost */
        struct event *timer; /* owned */
        const Step *after_timer;
        int broken;
};

#define OPERATION_TIMEOUT_USEC (UINT64_C(120) * 1000000) /* of one call, if nothing says otherwise */
#define OPERATION_LOST_MAX 20

/* From within a step: carries a failure of ours to whoever runs the operation. */
const Step *operation_break(Operation *operation, int r);
/* From within a step: asks, and waits for the answer, at most that long (USEC_INFINITY: for ever). fds are borrowed. */
const Step *operation_ask(Operation *operation, Channel *channel, const MessageRow *row, const ProtobufCMessage *message,
                          uint64_t timeout_usec);
const Step *operation_ask_fds(Operation *operation, Channel *channel, const MessageRow *row, const ProtobufCMessage *message,
                              const int *fds, size_t n_fds, uint64_t timeout_usec);
const Step *operation_ask_flat(Operation *operation, Channel *channel, const MessageRow *row, const void *flat, const int *fds,
                               size_t n_fds, uint64_t timeout_usec);
/* From within a step: goes on with `then` after that time, unless it is resumed before. */
const Step *operation_sleep(Operation *operation, uint64_t usec, const Step *then);

/* Runs the operation from that step until it waits or is done. Not from within a step. 0 or -errno. */
int operation_run(Operation *operation, const Step *step);
/* It waits for whoever resumes it (not for an answer). */
bool operation_is_idle(const Operation *operation);
/* Cancels call and timer; afterwards the operation can be freed. */
void operation_end(Operation *operation);

/* Those who wait for one result. */
typedef struct Waiters {
        ReplyTo *items; /* owned */
        size_t n;
} Waiters;
#define WAITERS_MAX 256
enum { WAITERS_E_FULL = 1 };
int waiters_add(Waiters *waiters, ReplyTo to);
/* Answers all of them, and forgets them. */
int waiters_reply(Waiters *waiters, const ProtobufCMessage *message);
int waiters_fail(Waiters *waiters, const Failure *failure);
/* Answers those that are left with UNAVAILABLE: what they wait for was given up. */
void waiters_abandon(Waiters *waiters, const char *what, const char *id);
