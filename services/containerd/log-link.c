/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/log-link.h"

#include "ipc/edges/containerd-logd.rows.h"
#include "ipc/edges/containerd-setup.rows.h"
#include "ipc/edges/containerd-shim.rows.h"
#include "ipc/edges/gatewayd-containerd.rows.h"
#include "lib/error.h"
#include "lib/log.h"
#include "services/containerd/exit.h"
#include "services/containerd/session.h"
#include "services/containerd/shim-link.h"

#define LOG_LINK_AGAIN_USEC (UINT64_C(5) * 1000000)

struct LogLink {
        Operation operation;
        Container *container; /* borrowed; owns us */
        int file_fd;          /* owned */
};

enum { LINK_STREAMS, LINK_FILE, LINK_OPEN, LINK_N };
static const Step log_link_steps[LINK_N];

void log_streams_done(LogStreams *streams)
{
        streams->commit_fd = fd_close(streams->commit_fd);
        for (size_t i = 0; i < ARRAY_SIZE(streams->fds); i++)
                streams->fds[i] = fd_close(streams->fds[i]);
}

const Step *log_file_ask(Operation *operation, const Container *container)
{
        SetupContainer verb = {0};

        (void)str_copy(verb.id, sizeof(verb.id), container->id);
        return operation_ask_flat(operation, container->containerd->setup, ROW_CONTAINERD_SETUP_LOG_FILE_OPEN, &verb, NULL, 0,
                                  OPERATION_TIMEOUT_USEC);
}

const Step *log_open_ask(Operation *operation, Container *container, int file_fd)
{
        Bulkhead__ContainerdLogd__LogOpen request = BULKHEAD__CONTAINERD_LOGD__LOG_OPEN__INIT;
        const LogStreams *streams = &container->log_streams;
        const MessageRow *row = ROW_CONTAINERD_LOGD_LOG_DISCARD;
        int fds[4];
        size_t n = 0;

        if (file_fd >= 0) {
                row = streams->tty ? ROW_CONTAINERD_LOGD_LOG_OPEN_TTY : ROW_CONTAINERD_LOGD_LOG_OPEN;
                fds[n++] = file_fd;
                fds[n++] = streams->commit_fd;
        }
        for (size_t i = 0; i < ARRAY_SIZE(streams->fds); i++)
                if (streams->fds[i] >= 0)
                        fds[n++] = streams->fds[i];
        request.container_id = container->id;
        return operation_ask_fds(operation, container->containerd->logd, row, &request.base, fds, n, OPERATION_TIMEOUT_USEC);
}

static bool log_link_has_file(const Container *container)
{
        return container->record.status && !str_is_empty(container->record.status->log_path);
}

/* Later again, for the container must not be held back for ever; after its end there is nothing to hold back. */
static const Step *log_link_fail(LogLink *link, const Answer *answer)
{
        Container *container = link->container;

        log_warning("container %s: its log cannot be handed to logd: %s: %s", container->id, link->operation.step->name,
                    answer->text);
        log_streams_done(&container->log_streams);
        if (container->exit_seen) {
                container->log_is_lost = true;
                return STEP_DONE;
        }
        return operation_sleep(&link->operation, LOG_LINK_AGAIN_USEC, &log_link_steps[LINK_STREAMS]);
}

static const Step *log_link_streams(Operation *operation)
{
        LogLink *link = container_of(operation, LogLink, operation);
        Container *container = link->container;

        if (container->log_streams.fds[0] >= 0)
                return &log_link_steps[LINK_FILE];
        if (!container->shim) {
                container->log_is_lost = true;
                return STEP_DONE;
        }
        return operation_ask_flat(operation, container->shim->channel, ROW_CONTAINERD_SHIM_SHIM_STREAMS, NULL, NULL, 0,
                                  OPERATION_TIMEOUT_USEC);
}

static const Step *log_link_on_streams(Operation *operation, const Answer *answer)
{
        LogLink *link = container_of(operation, LogLink, operation);
        Container *container = link->container;

        if (answer->outcome)
                return log_link_fail(link, answer);
        const ShimStreams *held = answer->frame->flat;
        LogStreams streams = LOG_STREAMS_NULL;
        streams.tty = held->tty;
        if (held->n_fds >= 2) {
                streams.commit_fd = frame_take_fd(answer->frame, 0);
                streams.fds[0] = frame_take_fd(answer->frame, 1);
                streams.fds[1] = streams.tty ? -1 : frame_take_fd(answer->frame, 2);
        }
        if (streams.fds[0] < 0) {
                log_streams_done(&streams);
                container->log_is_lost = true; /* released already: it was complete */
                return STEP_DONE;
        }
        container->log_streams = streams;
        return &log_link_steps[LINK_FILE];
}

static const Step *log_link_file(Operation *operation)
{
        LogLink *link = container_of(operation, LogLink, operation);

        link->file_fd = fd_close(link->file_fd);
        return log_link_has_file(link->container) ? log_file_ask(operation, link->container) : &log_link_steps[LINK_OPEN];
}

static const Step *log_link_on_file(Operation *operation, const Answer *answer)
{
        LogLink *link = container_of(operation, LogLink, operation);

        if (answer->outcome)
                return log_link_fail(link, answer);
        link->file_fd = frame_take_fd(answer->frame, 0);
        return &log_link_steps[LINK_OPEN];
}

static const Step *log_link_open(Operation *operation)
{
        LogLink *link = container_of(operation, LogLink, operation);

        return log_open_ask(operation, link->container, link->file_fd);
}

static const Step *log_link_on_open(Operation *operation, const Answer *answer)
{
        LogLink *link = container_of(operation, LogLink, operation);

        if (answer->outcome)
                return log_link_fail(link, answer);
        link->container->log_is_open = true;
        log_streams_done(&link->container->log_streams);
        return STEP_DONE;
}

static const Step log_link_steps[LINK_N] = {
        [LINK_STREAMS] = {.name = "streams", .run = log_link_streams, .answered = log_link_on_streams},
        [LINK_FILE] = {.name = "file", .run = log_link_file, .answered = log_link_on_file},
        [LINK_OPEN] = {.name = "open", .run = log_link_open, .answered = log_link_on_open},
};

static int log_link_done(Operation *operation)
{
        LogLink *link = container_of(operation, LogLink, operation);
        Container *container = link->container;

        container->log_link = log_link_free(link);
        int r = container->log_is_open ? session_attach_resume(container) : 0;
        if (r == 0)
                r = exit_resume(container);
        return r < 0 ? fold(r) : 0;
}

LogLink *log_link_free(LogLink *link)
{
        if (!link)
                return NULL;
        operation_end(&link->operation);
        link->file_fd = fd_close(link->file_fd);
        free(link);
        return NULL;
}

int log_link_begin(Container *container)
{
        Containerd *containerd = container->containerd;

        if (container->log_link || container->log_is_open || container->log_is_lost || container->create)
                return 0;
        LogLink *link = calloc(1, sizeof(*link));
        if (!link)
                return error_origin(-ENOMEM);
        link->file_fd = -1;
        link->container = container;
        link->operation = (Operation){.noun = "log", .id = container->id, .base = containerd->base, .done = log_link_done,
                                      .fail = containerd_fail, .fail_userdata = containerd};
        container->log_link = link;
        int r = operation_run(&link->operation, &log_link_steps[LINK_STREAMS]);
        return r < 0 ? fold(r) : 0;
}

int log_link_on_logd(Containerd *containerd, bool connected)
{
        for (size_t i = 0; i < containerd->containers.n; i++) {
                Container *container = containerd->containers.items[i];
                if (!connected) {
                        container->log_is_open = false;
                } else if (container->shim) {
                        int r = log_link_begin(container);
                        if (r < 0)
                                return fold(r);
                }
        }
        return 0;
}

/* One at a time: a second call for the same container waits for a turn of its own, for the file may have been renamed again
 * since the first one opened it. */
struct LogReopen {
        Operation operation;
        Container *container;  /* borrowed; owns us */
        Waiters waiters, next; /* of this turn, of the turn after it */
        Failure failure;
        int file_fd; /* owned */
};

enum { REOPEN_FILE, REOPEN_LOG, REOPEN_N };
static const Step log_reopen_steps[REOPEN_N];

static const Step *log_reopen_fail(LogReopen *reopen, const Answer *answer)
{
        (void)failure_set(&reopen->failure, answer->code, "reopen the log of container %s: %s: %s", reopen->container->id,
                          reopen->operation.step->name, answer->text);
        return STEP_DONE;
}

static const Step *log_reopen_file(Operation *operation)
{
        return log_file_ask(operation, container_of(operation, LogReopen, operation)->container);
}

static const Step *log_reopen_on_file(Operation *operation, const Answer *answer)
{
        LogReopen *reopen = container_of(operation, LogReopen, operation);

        if (answer->outcome)
                return log_reopen_fail(reopen, answer);
        reopen->file_fd = frame_take_fd(answer->frame, 0);
        return &log_reopen_steps[REOPEN_LOG];
}

static const Step *log_reopen_log(Operation *operation)
{
        LogReopen *reopen = container_of(operation, LogReopen, operation);
        Bulkhead__ContainerdLogd__LogReopen request = BULKHEAD__CONTAINERD_LOGD__LOG_REOPEN__INIT;

        request.container_id = reopen->container->id;
        return operation_ask_fds(operation, reopen->container->containerd->logd, ROW_CONTAINERD_LOGD_LOG_REOPEN, &request.base,
                                 &reopen->file_fd, 1, OPERATION_TIMEOUT_USEC);
}

static const Step *log_reopen_on_log(Operation *operation, const Answer *answer)
{
        LogReopen *reopen = container_of(operation, LogReopen, operation);

        return answer->outcome ? log_reopen_fail(reopen, answer) : STEP_DONE;
}

static const Step log_reopen_steps[REOPEN_N] = {
        [REOPEN_FILE] = {.name = "log file", .run = log_reopen_file, .answered = log_reopen_on_file},
        [REOPEN_LOG] = {.name = "log", .run = log_reopen_log, .answered = log_reopen_on_log},
};

static int log_reopen_done(Operation *operation)
{
        LogReopen *reopen = container_of(operation, LogReopen, operation);
        Runtime__V1__ReopenContainerLogResponse response = RUNTIME__V1__REOPEN_CONTAINER_LOG_RESPONSE__INIT;

        reopen->file_fd = fd_close(reopen->file_fd);
        int r = failure_is_set(&reopen->failure) ? waiters_fail(&reopen->waiters, &reopen->failure)
                                                 : waiters_reply(&reopen->waiters, &response.base);
        if (r < 0)
                return fold(r);
        if (reopen->next.n == 0) {
                reopen->container->log_reopen = log_reopen_free(reopen);
                return 0;
        }
        reopen->waiters = reopen->next;
        reopen->next = (Waiters){0};
        reopen->failure = (Failure){0};
        r = operation_run(operation, &log_reopen_steps[REOPEN_FILE]);
        return r < 0 ? fold(r) : 0;
}

LogReopen *log_reopen_free(LogReopen *reopen)
{
        if (!reopen)
                return NULL;
        operation_end(&reopen->operation);
        waiters_abandon(&reopen->waiters, "reopen the log of container", reopen->operation.id);
        waiters_abandon(&reopen->next, "reopen the log of container", reopen->operation.id);
        reopen->file_fd = fd_close(reopen->file_fd);
        free(reopen);
        return NULL;
}

int log_reopen_request(Container *container, ReplyTo to)
{
        Containerd *containerd = container->containerd;
        int r;

        if (container->state != CONTAINER_STATE_RUNNING || container->exit_seen)
                return reply_fail(to, GRPC_STATUS_FAILED_PRECONDITION,
                                  "reopen the log of container %s: it is not running (%s); its log is complete", container->id,
                                  container_state_name(container->state));
        if (!log_link_has_file(container))
                return reply_fail(to, GRPC_STATUS_FAILED_PRECONDITION,
                                  "reopen the log of container %s: it was created without a log path", container->id);
        if (container->log_reopen) {
                r = waiters_add(&container->log_reopen->next, to);
                if (r == WAITERS_E_FULL)
                        r = reply_fail(to, GRPC_STATUS_RESOURCE_EXHAUSTED, "reopen the log of container %s: too many calls wait",
                                       container->id);
                return r < 0 ? fold(r) : 0;
        }
        LogReopen *reopen = calloc(1, sizeof(*reopen));
        if (!reopen)
                return error_origin(-ENOMEM);
        reopen->file_fd = -1;
        reopen->container = container;
        reopen->operation = (Operation){.noun = "log-reopen", .id = container->id, .base = containerd->base,
                                        .done = log_reopen_done, .fail = containerd_fail, .fail_userdata = containerd};
        container->log_reopen = reopen;
        r = waiters_add(&reopen->waiters, to);
        if (r == 0)
                r = operation_run(&reopen->operation, &log_reopen_steps[REOPEN_FILE]);
        return r < 0 ? fold(r) : 0;
}
