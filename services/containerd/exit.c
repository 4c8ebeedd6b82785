/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/exit.h"

#include "ipc/edges/containerd-launch.rows.h"
#include "ipc/edges/containerd-logd.rows.h"
#include "ipc/edges/containerd-sandboxd.rows.h"
#include "ipc/edges/containerd-setup.rows.h"
#include "ipc/edges/containerd-shim.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/log.h"
#include "services/containerd/attach.h"
#include "services/containerd/log-link.h"
#include "services/containerd/remove.h"
#include "services/containerd/shim-link.h"
#include "services/containerd/session.h"
#include "services/containerd/start.h"
#include "services/containerd/stats.h"
#include "services/containerd/stop.h"
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#define EXIT_START_ERROR_CODE 128 /* as containerd says it; kubelets know it */
#define EXIT_DRAIN_MSEC 500       /* for what a left-over holder of the pipe still writes */
#define EXIT_VISIBLE_USEC (UINT64_C(3) * 1000000) /* the log may hold up the end that long, no longer */
#define EXIT_QUITS_MAX 100
#define EXIT_QUIT_AGAIN_USEC UINT64_C(20000)
#define EXIT_CLEAR_USEC (UINT64_C(5) * 1000000) /* for each of two steps, which a removal repeats */
#define EXIT_EMPTY_FIRST_USEC UINT64_C(2000)
#define EXIT_EMPTY_LAST_USEC UINT64_C(1000000)

struct Exit {
        Operation operation;
        Container *container; /* borrowed; owns us */
        bool log_is_closed;
        bool is_populated; /* something of it is still alive */
        uint32_t n_quits;  /* how often the shim was told to go */
        uint64_t empty_usec; /* how long the next look at the cgroup waits */
};

enum {
        EXIT_KILL,
        EXIT_READ,
        EXIT_LOG,
        EXIT_STATE,
        EXIT_LOG_REST,
        EXIT_QUIT,
        EXIT_EMPTY,
        EXIT_EMPTY_KILL,
        EXIT_EMPTY_READ,
        EXIT_CLEAR,
        EXIT_ROOTFS,
        EXIT_LEASE,
        EXIT_N
};
static const Step exit_steps[EXIT_N];

static Exit *exit_of(Operation *operation)
{
        return container_of(operation, Exit, operation);
}

static const Step *exit_setup_ask(Operation *operation, const MessageRow *row)
{
        const Container *container = exit_of(operation)->container;
        SetupContainer verb = {0};

        (void)str_copy(verb.id, sizeof(verb.id), container->id);
        return operation_ask_flat(operation, container->containerd->setup, row, &verb, NULL, 0, OPERATION_TIMEOUT_USEC);
}

static const Step *exit_kill(Operation *operation)
{
        return exit_setup_ask(operation, ROW_CONTAINERD_SETUP_CGROUP_KILL);
}

/* Without a cgroup to kill, the end of the PID namespace has to do: it is said in the log, and the end goes on. */
static const Step *exit_on_kill(Operation *operation, const Answer *answer)
{
        if (answer->outcome && answer->code != GRPC_STATUS_NOT_FOUND)
                log_warning("container %s: what it left behind cannot be killed: %s", operation->id, answer->text);
        return operation->step + 1;
}

static const Step *exit_read(Operation *operation)
{
        return exit_setup_ask(operation, ROW_CONTAINERD_SETUP_CGROUP_READ);
}

static const Step *exit_on_read(Operation *operation, const Answer *answer)
{
        Exit *exit = exit_of(operation);
        Container *container = exit->container;

        if (answer->outcome) {
                if (answer->code != GRPC_STATUS_NOT_FOUND)
                        log_warning("container %s: its cgroup cannot be read: %s", operation->id, answer->text);
                exit->is_populated = false;
                return operation->step + 1;
        }
        const CgroupRead *values = answer->frame->flat;
        exit->is_populated = values->exists && values->populated == 1;
        if (values->oom_kills != UINT64_MAX && values->oom_kills > 0 && container->end.exit_code != 0 && !container->end.reason)
                container->end.reason = "OOMKilled";
        return operation->step + 1;
}

static bool exit_has_log(const Exit *exit)
{
        const Container *container = exit->container;

        return !exit->log_is_closed && !container->log_is_lost && (container->log_is_open || container->shim);
}

/* Everything that was written belongs into the log before the end is told. If logd has it not (it was restarted), it gets it
 * first; exit_resume() comes back here. */
static const Step *exit_log_close(Operation *operation, uint64_t timeout_usec)
{
        Exit *exit = exit_of(operation);
        Container *container = exit->container;
        Bulkhead__ContainerdLogd__LogClose request = BULKHEAD__CONTAINERD_LOGD__LOG_CLOSE__INIT;

        if (!exit_has_log(exit))
                return operation->step + 1;
        if (!container->log_is_open) {
                int r = log_link_begin(container);
                return r < 0 ? operation_break(operation, fold(r)) : STEP_WAIT;
        }
        request.container_id = container->id;
        request.drain_msec = EXIT_DRAIN_MSEC;
        return operation_ask(operation, container->containerd->logd, ROW_CONTAINERD_LOGD_LOG_CLOSE, &request.base, timeout_usec);
}

static const Step *exit_log(Operation *operation)
{
        const Step *step = exit_log_close(operation, EXIT_VISIBLE_USEC);

        /* Waits for the log to be opened: not for long. */
        if (step == STEP_WAIT && operation_is_idle(operation))
                return operation_sleep(operation, EXIT_VISIBLE_USEC, &exit_steps[EXIT_STATE]);
        return step;
}

static const Step *exit_on_log(Operation *operation, const Answer *answer)
{
        Exit *exit = exit_of(operation);

        if (answer->outcome == 0) {
                exit->log_is_closed = true;
                exit->container->log_is_open = false;
        } else {
                log_warning("container %s: its log is not complete yet: %s", operation->id, answer->text);
        }
        return operation->step + 1;
}

static const Step *exit_state(Operation *operation)
{
        Container *container = exit_of(operation)->container;

        if (container->state == CONTAINER_STATE_EXITED)
                return operation->step + 1;
        int r = container_set_exited(container);
        if (r == 0)
                r = session_attach_container_ended(container);
        if (r == 0)
                r = start_on_exited(container);
        return r < 0 ? operation_break(operation, fold(r)) : operation->step + 1;
}

static const Step *exit_log_rest(Operation *operation)
{
        return exit_log_close(operation, OPERATION_TIMEOUT_USEC);
}

static const Step *exit_on_log_rest(Operation *operation, const Answer *answer)
{
        const Step *next = exit_on_log(operation, answer);

        /* logd is stuck: the shim keeps what it has not taken until it does. */
        return exit_of(operation)->log_is_closed || answer->outcome == CHANNEL_E_FAILED ? next : operation->step;
}

static const Step *exit_quit(Operation *operation)
{
        const Container *container = exit_of(operation)->container;

        return container->shim ? operation_ask_flat(operation, container->shim->channel, ROW_CONTAINERD_SHIM_SHIM_QUIT, NULL, NULL,
                                                    0, EXIT_VISIBLE_USEC)
                               : operation->step + 1;
}

/* It refuses as long as its child is not reaped, which is a matter of moments after the kill. */
static const Step *exit_on_quit(Operation *operation, const Answer *answer)
{
        Exit *exit = exit_of(operation);
        Container *container = exit->container;

        if (answer->outcome == CHANNEL_E_FAILED && exit->n_quits++ < EXIT_QUITS_MAX)
                return operation_sleep(operation, EXIT_QUIT_AGAIN_USEC, operation->step);
        if (answer->outcome == CHANNEL_E_FAILED)
                log_warning("container %s: its shim does not go: %s", operation->id, answer->text);
        container->shim = shim_link_free(container->shim);
        container->pidfd = fd_close(container->pidfd);
        return operation->step + 1;
}

/* A process in uninterruptible sleep dies late; until then the pod's address is not free. */
static const Step *exit_empty(Operation *operation)
{
        Exit *exit = exit_of(operation);
        uint64_t usec = exit->empty_usec;

        if (!exit->is_populated)
                return &exit_steps[EXIT_CLEAR];
        exit->empty_usec = MIN2(usec * 2, EXIT_EMPTY_LAST_USEC);
        return operation_sleep(operation, usec, &exit_steps[EXIT_EMPTY_KILL]);
}

static const Step *exit_on_empty_read(Operation *operation, const Answer *answer)
{
        (void)exit_on_read(operation, answer);
        return &exit_steps[EXIT_EMPTY];
}

/* What the runtime keeps of it, its cgroup, the mounts and the exit record: nobody needs them any more, and who removes the container
 * later need not wait for it. The row in the database says how it ended. What fails here is told when it is removed. */
static const Step *exit_clear(Operation *operation)
{
        const Container *container = exit_of(operation)->container;
        LaunchContainer verb = {.runtime = container->runtime};

        if (container->is_cleared || container->is_unwritten || container->is_adopted) /* of that only the record says how it ended */
                return STEP_DONE;
        (void)str_copy(verb.id, sizeof(verb.id), container->id);
        return operation_ask_flat(operation, container->containerd->launch, ROW_CONTAINERD_LAUNCH_LAUNCH_DELETE, &verb, NULL, 0,
                                  EXIT_CLEAR_USEC);
}

static const Step *exit_on_clear(Operation *operation, const Answer *answer)
{
        if (answer->outcome == 0)
                return operation->step + 1;
        log_warning("container %s: %s: %s; it is tried again when the container is removed", operation->id, operation->step->name,
                    answer->text);
        return STEP_DONE;
}

static const Step *exit_rootfs(Operation *operation)
{
        const Container *container = exit_of(operation)->container;
        SetupContainer verb = {0};

        (void)str_copy(verb.id, sizeof(verb.id), container->id);
        return operation_ask_flat(operation, container->containerd->setup, ROW_CONTAINERD_SETUP_ROOTFS_REMOVE, &verb, NULL, 0,
                                  EXIT_CLEAR_USEC);
}

static const Step *exit_on_rootfs(Operation *operation, const Answer *answer)
{
        if (answer->outcome)
                return exit_on_clear(operation, answer);
        exit_of(operation)->container->is_cleared = true;
        return STEP_DONE;
}

const Step *exit_lease_ask(Operation *operation, const Container *container)
{
        Bulkhead__ContainerdSandboxd__LeaseReleaseRequest request = BULKHEAD__CONTAINERD_SANDBOXD__LEASE_RELEASE_REQUEST__INIT;

        request.pod_id = (char *)container->pod_id;
        request.container_id = (char *)container->id;
        return operation_ask(operation, container->containerd->sandboxd, ROW_CONTAINERD_SANDBOXD_LEASE_RELEASE, &request.base,
                             OPERATION_TIMEOUT_USEC);
}

static const Step *exit_lease(Operation *operation)
{
        return exit_lease_ask(operation, exit_of(operation)->container);
}

static const Step *exit_on_lease(Operation *operation, const Answer *answer)
{
        if (answer->outcome == CHANNEL_E_TIMEOUT || answer->outcome == CHANNEL_E_LOST)
                return operation->step;
        if (answer->outcome)
                log_warning("container %s: its lease is not given back: %s", operation->id, answer->text);
        else
                exit_of(operation)->container->has_lease = false;
        return STEP_DONE;
}

static const Step exit_steps[EXIT_N] = {
        [EXIT_KILL] = {.name = "kill the rest", .run = exit_kill, .answered = exit_on_kill},
        [EXIT_READ] = {.name = "cgroup", .run = exit_read, .answered = exit_on_read},
        [EXIT_LOG] = {.name = "log", .run = exit_log, .answered = exit_on_log},
        [EXIT_STATE] = {.name = "state", .run = exit_state},
        [EXIT_LOG_REST] = {.name = "rest of the log", .run = exit_log_rest, .answered = exit_on_log_rest},
        [EXIT_QUIT] = {.name = "shim", .run = exit_quit, .answered = exit_on_quit, .once = true},
        [EXIT_EMPTY] = {.name = "wait for the cgroup", .run = exit_empty},
        [EXIT_EMPTY_KILL] = {.name = "kill again", .run = exit_kill, .answered = exit_on_kill},
        [EXIT_EMPTY_READ] = {.name = "cgroup again", .run = exit_read, .answered = exit_on_empty_read},
        [EXIT_CLEAR] = {.name = "OCI runtime", .run = exit_clear, .answered = exit_on_clear},
        [EXIT_ROOTFS] = {.name = "root file system", .run = exit_rootfs, .answered = exit_on_rootfs},
        [EXIT_LEASE] = {.name = "lease on the pod", .run = exit_lease, .answered = exit_on_lease},
};

/* Twice: when nothing is left, and when the lease is given back. Whoever waits for the end need not wait for sandboxd, and a
 * removal gives the lease back itself. */
static int exit_done(Operation *operation)
{
        Exit *exit = exit_of(operation);
        Container *container = exit->container;
        Containerd *containerd = container->containerd;
        char pod_id[ID_LENGTH + 1];
        int r = 0;

        (void)str_copy(pod_id, sizeof(pod_id), container->pod_id);
        if (!container->has_ended) {
                container->has_ended = true;
                stats_end(container);
                r = stop_on_ended(container);
                if (r == 0 && container->has_lease && !container->remove)
                        r = operation_run(operation, &exit_steps[EXIT_LEASE]);
                else if (r == 0 && container->remove)
                        r = remove_on_ended(container);
                else if (r == 0) {
                        container->exit = exit_free(exit);
                        r = containerd_pod_changed(containerd, pod_id);
                }
                return r < 0 ? fold(r) : 0;
        }
        container->exit = exit_free(exit);
        r = containerd_pod_changed(containerd, pod_id);
        return r < 0 ? fold(r) : 0;
}

Exit *exit_free(Exit *exit)
{
        if (!exit)
                return NULL;
        operation_end(&exit->operation);
        free(exit);
        return NULL;
}

static int exit_begin(Container *container, const Step *first)
{
        Containerd *containerd = container->containerd;
        Exit *exit = calloc(1, sizeof(*exit));

        if (!exit)
                return error_origin(-ENOMEM);
        exit->container = container;
        exit->empty_usec = EXIT_EMPTY_FIRST_USEC;
        exit->operation = (Operation){.noun = "exit", .id = container->id, .base = containerd->base, .done = exit_done,
                                      .fail = containerd_fail, .fail_userdata = containerd};
        container->exit = exit;
        int r = operation_run(&exit->operation, first);
        return r < 0 ? fold(r) : 0;
}

int exit_give_back(Container *container)
{
        if (container->exit || container->remove || !container->has_lease)
                return 0;
        int r = exit_begin(container, &exit_steps[EXIT_LEASE]);
        return r < 0 ? fold(r) : 0;
}

int exit_resume(Container *container)
{
        Exit *exit = container->exit;

        if (exit) {
                const Step *step = exit->operation.step;
                bool waits_for_log = (step == &exit_steps[EXIT_LOG] || step == &exit_steps[EXIT_LOG_REST]) &&
                                     operation_is_idle(&exit->operation);
                int r = waits_for_log ? operation_run(&exit->operation, step) : 0;
                return r < 0 ? fold(r) : 0;
        }
        if (!container->exit_seen && !container->create && container->shim && !channel_is_connected(container->shim->channel)) {
                int r = attach_begin(container); /* lost while it was made */
                return r < 0 ? fold(r) : 0;
        }
        /* While it is made, started or taken away, that goes first; it comes back here. */
        if (!container->exit_seen || container->has_ended || container->create || start_is_under_way(container) ||
            container->state == CONTAINER_STATE_CREATING || container->state == CONTAINER_STATE_UNKNOWN)
                return 0;
        int r = exit_begin(container, &exit_steps[EXIT_KILL]);
        return r < 0 ? fold(r) : 0;
}

static int exit_see_end(Container *container, const ContainerEnd *end)
{
        if (container->exit_seen)
                return 0;
        container->exit_seen = true;
        container->end = *end;
        int r = exit_resume(container);
        return r < 0 ? fold(r) : 0;
}

int exit_see(Container *container, const ExitRecord *record)
{
        ContainerEnd end = {.exit_code = record->exit_code, .finished_nsec = record->finished_nsec};

        if (end.finished_nsec <= 0)
                end.finished_nsec = clock_realtime_nsec();
        if (record->oom_killed && end.exit_code != 0)
                end.reason = "OOMKilled";
        int r = exit_see_end(container, &end);
        return r < 0 ? fold(r) : 0;
}

int exit_see_unknown(Container *container, int32_t exit_code, const char *reason, const char *message)
{
        ContainerEnd end = {.exit_code = exit_code, .finished_nsec = clock_realtime_nsec(), .reason = reason};

        (void)snprintf(end.message, sizeof(end.message), "%s", message);
        int r = exit_see_end(container, &end);
        return r < 0 ? fold(r) : 0;
}

/* Told by the runtime that could not start it, so it counts more than how the runtime's stub ended. */
int exit_see_start_error(Container *container, const char *message)
{
        ContainerEnd end = {.exit_code = EXIT_START_ERROR_CODE, .finished_nsec = clock_realtime_nsec(), .reason = "StartError"};

        (void)snprintf(end.message, sizeof(end.message), "%s", message);
        container->exit_seen = false;
        int r = exit_see_end(container, &end);
        return r < 0 ? fold(r) : 0;
}

static int exit_on_shim_exited(void *userdata, const ExitRecord *record)
{
        int r = exit_see(userdata, record);

        return r < 0 ? fold(r) : 0;
}

/* The shim is gone, or its connection: an end that was seen goes on without it, else we look. */
static int exit_on_shim_lost(void *userdata)
{
        Container *container = userdata;

        if (container->exit_seen || container->create || container->remove)
                return 0;
        int r = attach_begin(container);
        return r < 0 ? fold(r) : 0;
}

int exit_link_shim(Container *container, int fd)
{
        const ShimLinkSpec spec = {
                .on_exited = exit_on_shim_exited,
                .on_lost = exit_on_shim_lost,
                .fail = containerd_fail,
                .userdata = container,
                .fail_userdata = container->containerd,
        };
        int r = container->shim ? shim_link_reconnect(container->shim, fd)
                                : shim_link_new(&container->shim, container->containerd->base, fd, &spec);
        return r < 0 ? fold(r) : 0;
}
