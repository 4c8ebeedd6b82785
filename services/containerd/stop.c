/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/stop.h"

#include "ipc/edges/containerd-setup.rows.h"
#include "ipc/edges/gatewayd-containerd.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/log.h"
#include "services/containerd/attach.h"
#include "services/containerd/exit.h"

#define STOP_KILL_AGAIN_USEC (UINT64_C(5) * 1000000)
#define STOP_ATTACH_USEC UINT64_C(20000)
#define STOP_TIMEOUT_MAX_SEC (INT64_C(366) * 24 * 3600)

struct Stop {
        Operation operation;
        Container *container; /* borrowed; owns us */
        Waiters waiters;
};

enum { STOP_SIGNAL, STOP_GRACE, STOP_KILL, STOP_N };
static const Step stop_steps[STOP_N];

static bool stop_is_due(const Container *container)
{
        return container->stop_deadline_usec <= clock_monotonic_usec();
}

/* One that was not started would not understand a signal; without a pidfd (its shim is lost) there is none. */
static const Step *stop_signal(Operation *operation)
{
        Container *container = container_of(operation, Stop, operation)->container;
        SignalSend verb = {.signal = container->record.stop_signal};

        if (container_is_in_making(container))
                return STEP_WAIT;
        if (container_is_unstartable(container)) { /* there is nothing to signal */
                int r = exit_see_start_error(container, container->message);
                return r < 0 ? operation_break(operation, fold(r)) : STEP_WAIT;
        }
        if (!stop_is_due(container) && container->pidfd < 0 && attach_is_open(container))
                return operation_sleep(operation, STOP_ATTACH_USEC, operation->step); /* its shim is being asked for it */
        if (stop_is_due(container) || container->state != CONTAINER_STATE_RUNNING || container->pidfd < 0)
                return &stop_steps[STOP_KILL];
        (void)str_copy(verb.id, sizeof(verb.id), container->id);
        return operation_ask_flat(operation, container->containerd->setup, ROW_CONTAINERD_SETUP_SIGNAL_SEND, &verb,
                                  &container->pidfd, 1, OPERATION_TIMEOUT_USEC);
}

static const Step *stop_on_signal(Operation *operation, const Answer *answer)
{
        const Stop *stop = container_of(operation, Stop, operation);

        if (answer->outcome)
                log_warning("container %s: signal %d was not delivered: %s; it is killed at the deadline", operation->id,
                            stop->container->record.stop_signal, answer->text);
        return &stop_steps[STOP_GRACE];
}

static const Step *stop_grace(Operation *operation)
{
        const Container *container = container_of(operation, Stop, operation)->container;
        uint64_t now = clock_monotonic_usec();

        if (container->exit_seen)
                return STEP_WAIT;
        return container->stop_deadline_usec <= now
                       ? &stop_steps[STOP_KILL]
                       : operation_sleep(operation, container->stop_deadline_usec - now, &stop_steps[STOP_GRACE]);
}

static const Step *stop_kill(Operation *operation)
{
        const Container *container = container_of(operation, Stop, operation)->container;
        SetupContainer verb = {0};

        if (container->exit_seen)
                return STEP_WAIT;
        (void)str_copy(verb.id, sizeof(verb.id), container->id);
        return operation_ask_flat(operation, container->containerd->setup, ROW_CONTAINERD_SETUP_CGROUP_KILL, &verb, NULL, 0,
                                  OPERATION_TIMEOUT_USEC);
}

/* Again, for a process that another one of the container's made while it was killed, or that cannot be killed yet. */
static const Step *stop_on_kill(Operation *operation, const Answer *answer)
{
        if (answer->outcome)
                log_warning("container %s: it cannot be killed: %s", operation->id, answer->text);
        return operation_sleep(operation, STOP_KILL_AGAIN_USEC, &stop_steps[STOP_KILL]);
}

static const Step stop_steps[STOP_N] = {
        [STOP_SIGNAL] = {.name = "signal", .run = stop_signal, .answered = stop_on_signal},
        [STOP_GRACE] = {.name = "grace period", .run = stop_grace},
        [STOP_KILL] = {.name = "kill", .run = stop_kill, .answered = stop_on_kill},
};

static int stop_done(Operation *operation)
{
        (void)operation; /* it ends with the container, in stop_on_ended() */
        return 0;
}

Stop *stop_free(Stop *stop)
{
        if (!stop)
                return NULL;
        operation_end(&stop->operation);
        waiters_abandon(&stop->waiters, "stop container", stop->operation.id);
        free(stop);
        return NULL;
}

int stop_on_ended(Container *container)
{
        Runtime__V1__StopContainerResponse response = RUNTIME__V1__STOP_CONTAINER_RESPONSE__INIT;
        int r = 0;

        if (container->stop) {
                r = waiters_reply(&container->stop->waiters, &response.base);
                container->stop = stop_free(container->stop);
        }
        return r < 0 ? fold(r) : 0;
}

static int stop_new(Container *container)
{
        Containerd *containerd = container->containerd;
        Stop *stop = calloc(1, sizeof(*stop));

        if (!stop)
                return error_origin(-ENOMEM);
        stop->container = container;
        stop->operation = (Operation){.noun = "stop", .id = container->id, .base = containerd->base, .done = stop_done,
                                      .fail = containerd_fail, .fail_userdata = containerd};
        container->stop = stop;
        return 0;
}

int stop_again(Container *container)
{
        int r = container->stop ? 0 : stop_new(container);

        if (r == 0)
                r = operation_run(&container->stop->operation, &stop_steps[STOP_SIGNAL]);
        return r < 0 ? fold(r) : 0;
}

int stop_on_made(Container *container)
{
        Stop *stop = container->stop;

        if (!stop || stop->operation.step != &stop_steps[STOP_SIGNAL] || !operation_is_idle(&stop->operation))
                return 0;
        int r = operation_run(&stop->operation, &stop_steps[STOP_SIGNAL]);
        return r < 0 ? fold(r) : 0;
}

static uint64_t stop_deadline(int64_t timeout_sec)
{
        int64_t sec = MIN2(MAX2(timeout_sec, INT64_C(0)), STOP_TIMEOUT_MAX_SEC);

        return clock_monotonic_usec() + (uint64_t)sec * USEC_PER_SEC;
}

/* A stop under way that is to end sooner. */
static int stop_shorten(Stop *stop)
{
        int r = 0;

        if (stop->operation.step == &stop_steps[STOP_GRACE] && !stop->container->exit_seen)
                r = operation_run(&stop->operation, &stop_steps[STOP_GRACE]);
        return r < 0 ? fold(r) : 0;
}

int stop_request(Container *container, ReplyTo to, int64_t timeout_sec)
{
        Runtime__V1__StopContainerResponse response = RUNTIME__V1__STOP_CONTAINER_RESPONSE__INIT;
        uint64_t deadline_usec = stop_deadline(timeout_sec);
        bool is_new = !container->stop;
        int r = 0;

        if (container->adoption && to.channel)
                return reply_fail(to, GRPC_STATUS_UNAVAILABLE, "stop container %s: what there is of it is still looked for; ask again",
                                  container->id);
        if (container->has_ended || container->state == CONTAINER_STATE_UNKNOWN) {
                r = to.channel ? reply_send(to, &response.base, NULL, 0) : 0;
                return r < 0 ? fold(r) : 0;
        }
        if (is_new)
                r = stop_new(container);
        if (r == 0 && to.channel) {
                r = waiters_add(&container->stop->waiters, to);
                if (r == WAITERS_E_FULL)
                        r = reply_fail(to, GRPC_STATUS_RESOURCE_EXHAUSTED, "stop container %s: too many calls wait for it; wait",
                                       container->id);
        }
        if (r == 0 && (container->stop_deadline_usec == 0 || deadline_usec < container->stop_deadline_usec)) {
                container->stop_deadline_usec = deadline_usec;
                r = container_store_save(&container->containerd->store, container);
                if (r == 0 && !is_new)
                        r = stop_shorten(container->stop);
        }
        if (r == 0 && is_new)
                r = operation_run(&container->stop->operation, &stop_steps[STOP_SIGNAL]);
        return r < 0 ? fold(r) : 0;
}
