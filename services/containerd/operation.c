/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/operation.h"

#include "lib/clock.h"
#include "lib/error.h"
#include "lib/log.h"
#include <event2/event.h>

const Step operation_wait = {.name = "wait"};
const Step operation_done = {.name = "done"};
const Step operation_broken = {.name = "broken"};

const Step *operation_break(Operation *operation, int r)
{
        operation->broken = r;
        return &operation_broken;
}

int operation_run(Operation *operation, const Step *step)
{
        /* Whoever goes on does not sleep any more; an answer that ends in sleep comes here with STEP_WAIT. */
        if (operation->timer && step->run)
                (void)event_del(operation->timer);
        while (step->run) {
                if (operation->step != step) {
                        log_debug("%s %.12s: %s", operation->noun, operation->id, step->name);
                        operation->n_lost = 0;
                }
                operation->step = step;
                step = step->run(operation);
        }
        if (step == STEP_DONE)
                return operation->done(operation);
        return step == &operation_broken ? fold(operation->broken) : 0;
}

/* The channel may be one that ends with the operation, so a failure of ours goes past it. */
static int operation_on_answer(void *userdata, const Answer *answer)
{
        Operation *operation = userdata;
        void (*fail)(void *, int) = operation->fail;
        void *fail_userdata = operation->fail_userdata;
        const Step *step = operation->step, *next;

        operation->asked = NULL;
        if (answer->outcome == CHANNEL_E_LOST && !step->once && operation->n_lost++ < OPERATION_LOST_MAX) {
                log_info("%s %.12s: %s: %s; once more", operation->noun, operation->id, step->name, answer->text);
                next = step;
        } else {
                next = step->answered(operation, answer);
        }
        int r = operation_run(operation, next);
        if (r < 0)
                fail(fail_userdata, fold(r));
        return 0;
}

static uint64_t operation_deadline(uint64_t timeout_usec)
{
        return timeout_usec == USEC_INFINITY ? USEC_INFINITY : clock_monotonic_usec() + timeout_usec;
}

const Step *operation_ask_fds(Operation *operation, Channel *channel, const MessageRow *row, const ProtobufCMessage *message,
                              const int *fds, size_t n_fds, uint64_t timeout_usec)
{
        operation->asked = channel;
        int r = channel_call(channel, row, message, fds, n_fds, operation_deadline(timeout_usec), operation_on_answer, operation,
                             &operation->request_id);
        if (r < 0) {
                operation->asked = NULL;
                return operation_break(operation, fold(r));
        }
        return STEP_WAIT;
}

const Step *operation_ask(Operation *operation, Channel *channel, const MessageRow *row, const ProtobufCMessage *message,
                          uint64_t timeout_usec)
{
        return operation_ask_fds(operation, channel, row, message, NULL, 0, timeout_usec);
}

const Step *operation_ask_flat(Operation *operation, Channel *channel, const MessageRow *row, const void *flat, const int *fds,
                               size_t n_fds, uint64_t timeout_usec)
{
        operation->asked = channel;
        int r = channel_call_flat(channel, row, flat, fds, n_fds, operation_deadline(timeout_usec), operation_on_answer,
                                  operation, &operation->request_id);
        if (r < 0) {
                operation->asked = NULL;
                return operation_break(operation, fold(r));
        }
        return STEP_WAIT;
}

static void operation_on_timer(evutil_socket_t fd, short what, void *userdata)
{
        Operation *operation = userdata;
        void (*fail)(void *, int) = operation->fail;
        void *fail_userdata = operation->fail_userdata;

        (void)fd;
        (void)what;
        int r = operation_run(operation, operation->after_timer);
        if (r < 0)
                fail(fail_userdata, fold(r));
}

const Step *operation_sleep(Operation *operation, uint64_t usec, const Step *then)
{
        const struct timeval after = {.tv_sec = (time_t)(usec / USEC_PER_SEC), .tv_usec = (suseconds_t)(usec % USEC_PER_SEC)};

        if (!operation->timer)
                operation->timer = event_new(operation->base, -1, 0, operation_on_timer, operation);
        if (!operation->timer || event_add(operation->timer, &after) < 0)
                return operation_break(operation, error_origin(-ENOMEM));
        operation->after_timer = then;
        return STEP_WAIT;
}

bool operation_is_idle(const Operation *operation)
{
        return !operation->asked;
}

void operation_end(Operation *operation)
{
        if (operation->asked)
                channel_cancel(operation->asked, operation->request_id);
        operation->asked = NULL;
        if (operation->timer)
                event_free(TAKE_PTR(operation->timer));
}

int waiters_add(Waiters *waiters, ReplyTo to)
{
        if (waiters->n == WAITERS_MAX)
                return WAITERS_E_FULL;
        ReplyTo *items = realloc(waiters->items, (waiters->n + 1) * sizeof(*items));
        if (!items)
                return error_origin(-ENOMEM);
        waiters->items = items;
        items[waiters->n++] = to;
        return 0;
}

static void waiters_done(Waiters *waiters)
{
        free(TAKE_PTR(waiters->items));
        waiters->n = 0;
}

int waiters_reply(Waiters *waiters, const ProtobufCMessage *message)
{
        int r = 0;

        for (size_t i = 0; i < waiters->n && r == 0; i++)
                r = reply_send(waiters->items[i], message, NULL, 0);
        waiters_done(waiters);
        return r < 0 ? fold(r) : 0;
}

int waiters_fail(Waiters *waiters, const Failure *failure)
{
        int r = 0;

        for (size_t i = 0; i < waiters->n && r == 0; i++)
                r = reply_fail(waiters->items[i], failure->code, "%s", failure->text);
        waiters_done(waiters);
        return r < 0 ? fold(r) : 0;
}

void waiters_abandon(Waiters *waiters, const char *what, const char *id)
{
        for (size_t i = 0; i < waiters->n; i++)
                (void)reply_fail(waiters->items[i], GRPC_STATUS_UNAVAILABLE, "%s %s: given up; look what became of it, then try again",
                                 what, id);
        waiters_done(waiters);
}
