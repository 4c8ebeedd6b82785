/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/start.h"

#include "ipc/edges/containerd-launch.rows.h"
#include "ipc/edges/gatewayd-containerd.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "services/containerd/exit.h"

struct Start {
        Operation operation;
        Container *container; /* borrowed; owns us */
        Waiters waiters;
        Failure failure;
        bool is_over; /* the runtime has answered; what is left is to tell it */
};

enum { START_LAUNCH, START_N };
static const Step start_steps[START_N];

static const Step *start_launch(Operation *operation)
{
        Start *start = container_of(operation, Start, operation);
        const Container *container = start->container;
        LaunchContainer verb = {.runtime = container->runtime};

        if (container_is_in_making(container))
                return STEP_WAIT;
        if (container->pid == 0) {
                (void)failure_set(&start->failure, GRPC_STATUS_UNKNOWN, "start container %s (\"%.80s\"): OCI runtime: %s",
                                  container->id, container->name, container->message ? container->message : "no process");
                return STEP_DONE;
        }
        (void)str_copy(verb.id, sizeof(verb.id), container->id);
        return operation_ask_flat(operation, container->containerd->launch, ROW_CONTAINERD_LAUNCH_LAUNCH_START, &verb, NULL, 0,
                                  OPERATION_TIMEOUT_USEC);
}

static const Step *start_on_launch(Operation *operation, const Answer *answer)
{
        Start *start = container_of(operation, Start, operation);
        Container *container = start->container;

        if (answer->outcome) {
                (void)failure_set(&start->failure, answer->code, "start container %s (\"%.80s\"): OCI runtime: %s", container->id,
                                  container->name, answer->text);
                return STEP_DONE;
        }
        int r = container_set_state(container, CONTAINER_STATE_RUNNING, "started");
        return r < 0 ? operation_break(operation, fold(r)) : STEP_DONE;
}

static const Step start_steps[START_N] = {
        [START_LAUNCH] = {.name = "OCI runtime", .run = start_launch, .answered = start_on_launch},
};

/* After a failure the answer waits until the end is visible: whoever hears of it sees EXITED. */
static int start_done(Operation *operation)
{
        Start *start = container_of(operation, Start, operation);
        Container *container = start->container;
        Runtime__V1__StartContainerResponse response = RUNTIME__V1__START_CONTAINER_RESPONSE__INIT;
        int r;

        start->is_over = true;
        if (failure_is_set(&start->failure)) {
                r = exit_see_start_error(container, start->failure.text);
                return r < 0 ? fold(r) : 0;
        }
        r = waiters_reply(&start->waiters, &response.base);
        container->start = start_free(start);
        if (r == 0)
                r = exit_resume(container);
        return r < 0 ? fold(r) : 0;
}

Start *start_free(Start *start)
{
        if (!start)
                return NULL;
        operation_end(&start->operation);
        waiters_abandon(&start->waiters, "start container", start->operation.id);
        free(start);
        return NULL;
}

bool start_is_under_way(const Container *container)
{
        return container->start && !container->start->is_over;
}

int start_on_made(Container *container)
{
        Start *start = container->start;

        if (!start || start->is_over || !operation_is_idle(&start->operation))
                return 0;
        int r = operation_run(&start->operation, &start_steps[START_LAUNCH]);
        return r < 0 ? fold(r) : 0;
}

int start_on_exited(Container *container)
{
        Start *start = container->start;

        if (!start)
                return 0;
        int r = waiters_fail(&start->waiters, &start->failure);
        container->start = start_free(start);
        return r < 0 ? fold(r) : 0;
}

static int start_new(Container *container, Start **ret)
{
        Containerd *containerd = container->containerd;
        Start *start = calloc(1, sizeof(*start));

        if (!start)
                return error_origin(-ENOMEM);
        start->container = container;
        start->operation = (Operation){.noun = "start", .id = container->id, .base = containerd->base, .done = start_done,
                                       .fail = containerd_fail, .fail_userdata = containerd};
        container->start = start;
        *ret = start;
        return 0;
}

int start_again(Container *container)
{
        Start *start = NULL;
        int r = start_new(container, &start);

        if (r == 0)
                r = operation_run(&start->operation, &start_steps[START_LAUNCH]);
        return r < 0 ? fold(r) : 0;
}

int start_request(Container *container, ReplyTo to)
{
        Start *start = container->start;
        int r;

        if (start && !start->is_over) {
                r = waiters_add(&start->waiters, to);
                if (r == WAITERS_E_FULL)
                        r = reply_fail(to, GRPC_STATUS_RESOURCE_EXHAUSTED, "start container %s: too many calls wait for it; wait",
                                       container->id);
                return r < 0 ? fold(r) : 0;
        }
        if (container->state != CONTAINER_STATE_CREATED || container->exit_seen || container->remove || container->stop)
                return reply_fail(to, GRPC_STATUS_FAILED_PRECONDITION,
                                  "start container %s (\"%.80s\"): it is %s%s; only a created container can be started once: create "
                                  "another attempt", container->id, container->name, container_state_name(container->state),
                                  container->remove ? " and being removed" : container->stop ? " and being stopped"
                                  : container->exit_seen ? " and its process has ended" : "");
        r = start_new(container, &start);
        if (r == 0)
                r = waiters_add(&start->waiters, to);
        if (r == 0) {
                container->started_nsec = clock_realtime_nsec();
                r = container_set_state(container, CONTAINER_STATE_STARTING, "asked");
        }
        if (r == 0)
                r = operation_run(&start->operation, &start_steps[START_LAUNCH]);
        return r < 0 ? fold(r) : 0;
}
