/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/exec-sync.h"

#include "ipc/edges/containerd-launch.rows.h"
#include "ipc/edges/containerd-setup.rows.h"
#include "ipc/edges/containerd-shim.rows.h"
#include "ipc/edges/gatewayd-containerd.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "services/containerd/exec-process.h"
#include "services/containerd/shim-link.h"
#include <event2/event.h>
#include <signal.h>

/* The CRI's cap is 16 MiB per stream, but so is the largest message that a kubelet takes; so this is the cap of both together.
 * What is over it is read and thrown away, so that the command can go on. */
#define EXEC_OUTPUT_MAX ((size_t)GRPC_MESSAGE_BYTES_MAX - 4096)
#define EXEC_OUTPUT_OTHER ((size_t)256 * 1024) /* of that is the other stream's, however much the first one writes */
#define EXEC_OUTPUT_ALL_MAX ((size_t)64 * 1024 * 1024) /* of all execs together */
#define EXEC_MAX 1024
#define EXEC_READ_BYTES ((size_t)4096)
/* What the command wrote is in the pipes when it ends; this is for a child of its that is about to end, too. */
#define EXEC_DRAIN_USEC 100000
#define EXEC_DRAIN_READS 256 /* more than a pipe holds; a left-over child may write for ever */
#define EXEC_KILL_AGAIN_USEC UINT64_C(1000000)
#define EXEC_KILLS_MAX 5
#define EXEC_TIMEOUT_MAX_SEC (INT64_C(366) * 24 * 3600)

typedef struct ExecStream {
        Exec *exec;
        int fd;              /* owned; -1: at its end */
        struct event *event; /* owned */
        uint8_t *bytes;      /* owned */
        size_t n, n_allocated;
} ExecStream;

struct Exec {
        Operation operation;
        List link; /* in Containerd.execs */
        Containerd *containerd; /* borrowed */
        char id[ID_LENGTH + 1];
        char container_id[ID_LENGTH + 1];
        uint32_t runtime;
        ReplyTo to;
        bool is_answered;
        Failure failure;     /* instead of the output */
        Frame *call;         /* owned; until it is launched */
        LaunchExec verb;
        ShimLink *shim;      /* owned */
        int spec_fd;         /* owned; until it is launched */
        int pidfd;           /* owned */
        ExecStream streams[2];
        struct event *deadline, *drain; /* owned */
        bool is_started;
        bool has_exited;
        bool is_killed;      /* it shall end now */
        bool is_over_budget;
        int32_t exit_code;
        uint32_t n_kills;
};

enum { EXEC_LAUNCH, EXEC_WAIT, EXEC_KILL, EXEC_QUIT, EXEC_DELETE, EXEC_N };
static const Step exec_steps[EXEC_N];

static Exec *exec_of(Operation *operation)
{
        return container_of(operation, Exec, operation);
}

static void exec_stream_stop(ExecStream *stream)
{
        if (stream->event)
                event_free(TAKE_PTR(stream->event));
        stream->fd = fd_close(stream->fd);
}

static bool exec_is_drained(const Exec *exec)
{
        return exec->streams[0].fd < 0 && exec->streams[1].fd < 0;
}

static void exec_forget_output(Exec *exec)
{
        for (size_t i = 0; i < ARRAY_SIZE(exec->streams); i++) {
                exec_stream_stop(&exec->streams[i]);
                exec->containerd->exec_bytes -= exec->streams[i].n_allocated;
                free(TAKE_PTR(exec->streams[i].bytes));
                exec->streams[i].n = exec->streams[i].n_allocated = 0;
        }
}

/* One answer, with the output or instead of it. */
static int exec_answer(Exec *exec)
{
        Runtime__V1__ExecSyncResponse response = RUNTIME__V1__EXEC_SYNC_RESPONSE__INIT;
        int r = 0;

        if (exec->is_answered)
                return 0;
        exec->is_answered = true;
        if (!failure_is_set(&exec->failure) && exec->is_over_budget)
                (void)failure_set(&exec->failure, GRPC_STATUS_RESOURCE_EXHAUSTED,
                                  "exec in container %s: all execs together wrote more than %zu MiB; try again when others have "
                                  "ended, or write less", exec->container_id, EXEC_OUTPUT_ALL_MAX / (1024 * 1024));
        if (failure_is_set(&exec->failure)) {
                r = reply_fail(exec->to, exec->failure.code, "%s", exec->failure.text);
        } else {
                response.stdout = (ProtobufCBinaryData){.data = exec->streams[0].bytes, .len = exec->streams[0].n};
                response.stderr = (ProtobufCBinaryData){.data = exec->streams[1].bytes, .len = exec->streams[1].n};
                response.exit_code = exec->exit_code;
                r = reply_send(exec->to, &response.base, NULL, 0);
        }
        exec_forget_output(exec);
        return r < 0 ? fold(r) : 0;
}

/* How much more this stream may keep. */
static size_t exec_stream_left(const ExecStream *stream)
{
        const Exec *exec = stream->exec;
        size_t other = exec->streams[stream == &exec->streams[0]].n;
        size_t max = EXEC_OUTPUT_MAX - MAX2(other, EXEC_OUTPUT_OTHER);

        return max - MIN2(stream->n, max);
}

/* Room for what is read next; false: it is thrown away. */
static bool exec_stream_reserve(ExecStream *stream, size_t n)
{
        Exec *exec = stream->exec;

        if (exec_stream_left(stream) == 0)
                return false;
        if (stream->n_allocated - stream->n >= n)
                return true;
        size_t size = MAX2(stream->n_allocated * 2, n);
        size_t more = size - stream->n_allocated;
        if (exec->containerd->exec_bytes + more > EXEC_OUTPUT_ALL_MAX) {
                exec->is_over_budget = true;
                return false;
        }
        uint8_t *bytes = realloc(stream->bytes, size);
        if (!bytes) {
                exec->is_over_budget = true;
                return false;
        }
        stream->bytes = bytes;
        stream->n_allocated = size;
        exec->containerd->exec_bytes += more;
        return true;
}

/* Reads once. False: there is nothing more now (or never: the stream is stopped). */
static bool exec_stream_read(ExecStream *stream)
{
        uint8_t discarded[16384];
        bool is_kept = exec_stream_reserve(stream, EXEC_READ_BYTES);
        size_t room = is_kept ? MIN2(stream->n_allocated - stream->n, exec_stream_left(stream)) : sizeof(discarded);

        ssize_t n = read(stream->fd, is_kept ? stream->bytes + stream->n : discarded, room);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return false;
        if (n <= 0) {
                exec_stream_stop(stream);
                return false;
        }
        if (is_kept)
                stream->n += (size_t)n;
        return true;
}

/* Everything is there: the answer, then what is left to clear away. */
static int exec_finish(Exec *exec)
{
        if (exec->drain)
                event_free(TAKE_PTR(exec->drain));
        int r = exec_answer(exec);
        if (r == 0 && operation_is_idle(&exec->operation))
                r = operation_run(&exec->operation, &exec_steps[EXEC_QUIT]);
        return r < 0 ? fold(r) : 0;
}

static void exec_on_readable(evutil_socket_t fd, short what, void *userdata)
{
        ExecStream *stream = userdata;
        Exec *exec = stream->exec;
        Containerd *containerd = exec->containerd;
        int r = 0;

        (void)fd;
        (void)what;
        for (size_t n = 0; n < 16 && exec_stream_read(stream); n++)
                ;
        if (exec->has_exited && exec_is_drained(exec))
                r = exec_finish(exec);
        if (r < 0)
                containerd_fail(containerd, fold(r));
}

static void exec_on_drain_ended(evutil_socket_t fd, short what, void *userdata)
{
        Exec *exec = userdata;
        Containerd *containerd = exec->containerd;

        (void)fd;
        (void)what;
        for (size_t i = 0; i < ARRAY_SIZE(exec->streams); i++)
                for (size_t n = 0; n < EXEC_DRAIN_READS && exec->streams[i].fd >= 0 && exec_stream_read(&exec->streams[i]); n++)
                        ;
        int r = exec_finish(exec);
        if (r < 0)
                containerd_fail(containerd, fold(r));
}

static int exec_saw_exit(Exec *exec, int32_t exit_code)
{
        const struct timeval after = {.tv_usec = EXEC_DRAIN_USEC};

        if (exec->has_exited)
                return 0;
        exec->has_exited = true;
        exec->exit_code = exit_code;
        if (exec_is_drained(exec) || exec->is_killed)
                return exec_finish(exec);
        exec->drain = event_new(exec->containerd->base, -1, 0, exec_on_drain_ended, exec);
        return exec->drain && event_add(exec->drain, &after) == 0 ? 0 : error_origin(-ENOMEM);
}

static int exec_on_exited(void *userdata, const ExitRecord *record)
{
        int r = exec_saw_exit(userdata, record->exit_code);

        return r < 0 ? fold(r) : 0;
}

/* The shim of the exec is gone before it told the end. */
static int exec_on_lost(void *userdata)
{
        Exec *exec = userdata;

        if (exec->has_exited)
                return 0;
        (void)failure_set(&exec->failure, GRPC_STATUS_UNAVAILABLE,
                          "exec in container %s: the shim of the command is gone, and with it the exit code; run it again",
                          exec->container_id);
        int r = exec_saw_exit(exec, 255);
        return r < 0 ? fold(r) : 0;
}

/* It shall end now: for its deadline, or because nobody waits. */
static int exec_kill(Exec *exec)
{
        int r = 0;

        if (exec->is_killed || exec->has_exited)
                return 0;
        exec->is_killed = true;
        if (exec->is_started && operation_is_idle(&exec->operation))
                r = operation_run(&exec->operation, &exec_steps[EXEC_KILL]);
        return r < 0 ? fold(r) : 0;
}

static void exec_on_deadline(evutil_socket_t fd, short what, void *userdata)
{
        Exec *exec = userdata;
        Containerd *containerd = exec->containerd;

        (void)fd;
        (void)what;
        if (exec->has_exited)
                return;
        (void)failure_set(&exec->failure, GRPC_STATUS_DEADLINE_EXCEEDED,
                          "exec in container %s: the command ran longer than its timeout and was killed; give it more time or "
                          "make it faster", exec->container_id);
        int r = exec_kill(exec);
        if (r < 0)
                containerd_fail(containerd, fold(r));
}

static const Bulkhead__GatewaydContainerd__ExecSyncCall *exec_call(const Frame *frame)
{
        return container_of(frame->message, Bulkhead__GatewaydContainerd__ExecSyncCall, base);
}

static const Step *exec_launch(Operation *operation)
{
        Exec *exec = exec_of(operation);
        const ProtobufCBinaryData *request = &exec_call(exec->call)->request;
        _cleanup_fd_ int request_fd = -1;

        int r = fd_memfd_sealed("request", request->data, request->len, &request_fd);
        if (r < 0)
                return operation_break(operation, fold(r));
        return operation_ask_flat(operation, exec->containerd->launch, ROW_CONTAINERD_LAUNCH_LAUNCH_EXEC, &exec->verb,
                                  (const int[]){exec->spec_fd, request_fd}, 2, OPERATION_TIMEOUT_USEC);
}

static int exec_stream_start(ExecStream *stream, int fd)
{
        stream->fd = fd;
        int r = fd < 0 ? 0 : fd_set_nonblock(fd, true);
        if (fd < 0 || r < 0)
                return r < 0 ? fold(r) : 0;
        stream->event = event_new(stream->exec->containerd->base, fd, EV_READ | EV_PERSIST, exec_on_readable, stream);
        return stream->event && event_add(stream->event, NULL) == 0 ? 0 : error_origin(-ENOMEM);
}

/* The runtime's own words say what is wrong: a command that is not there, a directory, no permission. */
static const Step *exec_refused(Exec *exec, uint32_t code, const char *text)
{
        (void)failure_set(&exec->failure, code, "exec in container %s: OCI runtime: %s; check the command and that it exists in "
                          "the image", exec->container_id, text);
        int r = exec_answer(exec);
        return r < 0 ? operation_break(&exec->operation, fold(r)) : &exec_steps[EXEC_DELETE];
}

static const Step *exec_on_launch(Operation *operation, const Answer *answer)
{
        Exec *exec = exec_of(operation);
        const ShimLinkSpec spec = {.on_exited = exec_on_exited, .on_lost = exec_on_lost, .fail = containerd_fail, .userdata = exec,
                                   .fail_userdata = exec->containerd};

        exec->call = frame_free(exec->call);
        exec->spec_fd = fd_close(exec->spec_fd);
        if (answer->outcome)
                return exec_refused(exec, answer->code, answer->text);
        const LaunchCreated *created = answer->frame->flat;
        if (!created->started)
                return exec_refused(exec, GRPC_STATUS_FAILED_PRECONDITION, created->text);
        int r = shim_link_new(&exec->shim, exec->containerd->base, frame_take_fd(answer->frame, 0), &spec);
        exec->pidfd = frame_take_fd(answer->frame, 1);
        for (size_t i = 0; i < ARRAY_SIZE(exec->streams) && r == 0; i++)
                r = exec_stream_start(&exec->streams[i], frame_take_fd(answer->frame, 2 + i));
        if (r < 0)
                return operation_break(operation, fold(r));
        exec->is_started = true;
        return exec->is_killed ? &exec_steps[EXEC_KILL] : &exec_steps[EXEC_WAIT];
}

static const Step *exec_wait(Operation *operation)
{
        (void)operation;
        return STEP_WAIT;
}

/* The pidfd names the command and nothing else; containerd-setup sees that it is one of this container. */
static const Step *exec_kill_step(Operation *operation)
{
        Exec *exec = exec_of(operation);
        SignalSend verb = {.signal = SIGKILL};

        if (exec->has_exited)
                return &exec_steps[EXEC_QUIT];
        (void)str_copy(verb.id, sizeof(verb.id), exec->container_id);
        return operation_ask_flat(operation, exec->containerd->setup, ROW_CONTAINERD_SETUP_SIGNAL_SEND, &verb, &exec->pidfd, 1,
                                  OPERATION_TIMEOUT_USEC);
}

static const Step *exec_on_kill(Operation *operation, const Answer *answer)
{
        Exec *exec = exec_of(operation);

        if (answer->outcome)
                log_warning("exec %s: it cannot be killed: %s", exec->id, answer->text);
        if (exec->has_exited)
                return &exec_steps[EXEC_QUIT];
        if (exec->n_kills++ < EXEC_KILLS_MAX)
                return operation_sleep(operation, EXEC_KILL_AGAIN_USEC, &exec_steps[EXEC_KILL]);
        /* In uninterruptible sleep: the answer does not wait for it. */
        int r = exec_answer(exec);
        return r < 0 ? operation_break(operation, fold(r)) : STEP_WAIT;
}

static const Step *exec_quit(Operation *operation)
{
        Exec *exec = exec_of(operation);

        return operation_ask_flat(operation, exec->shim->channel, ROW_CONTAINERD_SHIM_SHIM_QUIT, NULL, NULL, 0,
                                  EXEC_KILL_AGAIN_USEC);
}

static const Step *exec_on_quit(Operation *operation, const Answer *answer)
{
        Exec *exec = exec_of(operation);

        (void)answer; /* gone already is as good */
        exec->shim = shim_link_free(exec->shim);
        return &exec_steps[EXEC_DELETE];
}

static const Step *exec_delete(Operation *operation)
{
        const Exec *exec = exec_of(operation);
        LaunchContainer verb = {.runtime = exec->runtime};

        (void)str_copy(verb.id, sizeof(verb.id), exec->id);
        return operation_ask_flat(operation, exec->containerd->launch, ROW_CONTAINERD_LAUNCH_LAUNCH_DELETE, &verb, NULL, 0,
                                  OPERATION_TIMEOUT_USEC);
}

static const Step *exec_on_delete(Operation *operation, const Answer *answer)
{
        if (answer->outcome)
                log_warning("exec %s: what it left cannot be removed: %s", operation->id, answer->text);
        return STEP_DONE;
}

static const Step exec_steps[EXEC_N] = {
        [EXEC_LAUNCH] = {.name = "OCI runtime", .run = exec_launch, .answered = exec_on_launch, .once = true},
        [EXEC_WAIT] = {.name = "run", .run = exec_wait},
        [EXEC_KILL] = {.name = "kill", .run = exec_kill_step, .answered = exec_on_kill},
        [EXEC_QUIT] = {.name = "shim", .run = exec_quit, .answered = exec_on_quit, .once = true},
        [EXEC_DELETE] = {.name = "clear away", .run = exec_delete, .answered = exec_on_delete},
};

static Exec *exec_free(Exec *exec)
{
        if (!exec)
                return NULL;
        operation_end(&exec->operation);
        exec_forget_output(exec);
        exec->shim = shim_link_free(exec->shim);
        exec->pidfd = fd_close(exec->pidfd);
        exec->spec_fd = fd_close(exec->spec_fd);
        if (exec->deadline)
                event_free(exec->deadline);
        if (exec->drain)
                event_free(exec->drain);
        (void)frame_free(exec->call);
        if (exec->link.next) {
                list_remove(&exec->link);
                exec->containerd->n_execs--;
        }
        free(exec);
        return NULL;
}
DEFINE_CLEANUP(Exec, exec_free)

static int exec_done(Operation *operation)
{
        (void)exec_free(exec_of(operation));
        return 0;
}

Exec *exec_sync_find(Containerd *containerd, const char *id)
{
        list_for_each(i, &containerd->execs) {
                Exec *exec = container_of(i, Exec, link);
                if (str_equal(exec->id, id))
                        return exec;
        }
        return NULL;
}

void exec_sync_free_all(Containerd *containerd)
{
        while (!list_is_empty(&containerd->execs))
                (void)exec_free(list_first(&containerd->execs, Exec, link));
}

void exec_sync_cancelled(Containerd *containerd, uint32_t request_id)
{
        list_for_each_safe(i, next, &containerd->execs) {
                Exec *exec = container_of(i, Exec, link);
                if (exec->to.request_id != request_id || exec->is_answered)
                        continue;
                (void)failure_set(&exec->failure, GRPC_STATUS_CANCELLED, "exec in container %s: its caller went away",
                                  exec->container_id);
                int r = exec_kill(exec);
                if (r < 0)
                        containerd_fail(containerd, fold(r));
                return;
        }
}

/* Fills the failure for what cannot be run. */
static int exec_check(Containerd *containerd, const Frame *frame, const Runtime__V1__ExecSyncRequest *request, Container **ret,
                      Failure *failure)
{
        const Bulkhead__GatewaydContainerd__ExecSyncCall *call = exec_call(frame);
        Container *container = NULL;

        if (containerd->n_execs >= EXEC_MAX)
                return failure_set(failure, GRPC_STATUS_RESOURCE_EXHAUSTED, "exec: %d commands run already; wait", EXEC_MAX);
        if (request->n_cmd == 0 || str_is_empty(request->cmd[0]))
                return failure_set(failure, GRPC_STATUS_INVALID_ARGUMENT, "exec in container %.64s: there is no command",
                                   request->container_id);
        if (container_table_resolve(&containerd->containers, request->container_id, &container) != 0)
                return failure_set(failure, GRPC_STATUS_NOT_FOUND, "exec: there is no container \"%.64s\"",
                                   request->container_id);
        if (container->is_adopted)
                return failure_set(failure, GRPC_STATUS_FAILED_PRECONDITION, "exec in container %s: what is recorded of it is lost, so "
                                   "nobody knows what a command may do in it; stop and remove it", container->id);
        if (container->state != CONTAINER_STATE_RUNNING || container->exit_seen)
                return failure_set(failure, GRPC_STATUS_FAILED_PRECONDITION, "exec in container %s: it is %s; start it first",
                                   container->id, container->exit_seen ? "exited" : container_state_name(container->state));
        if (call->permit.len != sizeof(Permit) || !id_is_valid(call->id))
                return failure_set(failure, GRPC_STATUS_INTERNAL, "exec in container %s: its permit or id is malformed",
                                   container->id);
        *ret = container;
        return 0;
}

static int exec_arm(Exec *exec, int64_t timeout_sec)
{
        const struct timeval after = {.tv_sec = (time_t)MIN2(timeout_sec, EXEC_TIMEOUT_MAX_SEC)};

        if (timeout_sec <= 0)
                return 0;
        exec->deadline = event_new(exec->containerd->base, -1, 0, exec_on_deadline, exec);
        return exec->deadline && event_add(exec->deadline, &after) == 0 ? 0 : error_origin(-ENOMEM);
}

static int exec_begin(Containerd *containerd, Frame *frame, const Runtime__V1__ExecSyncRequest *request,
                      const Container *container)
{
        const Bulkhead__GatewaydContainerd__ExecSyncCall *call = exec_call(frame);
        _cleanup_(exec_freep) Exec *exec = calloc(1, sizeof(*exec));

        if (!exec)
                return error_origin(-ENOMEM);
        exec->containerd = containerd;
        exec->runtime = container->runtime;
        exec->pidfd = exec->spec_fd = -1;
        for (size_t i = 0; i < ARRAY_SIZE(exec->streams); i++)
                exec->streams[i] = (ExecStream){.exec = exec, .fd = -1};
        (void)str_copy(exec->id, sizeof(exec->id), call->id);
        (void)str_copy(exec->container_id, sizeof(exec->container_id), container->id);
        exec->to = frame_reply_to(frame);
        exec->verb = (LaunchExec){.runtime = container->runtime, .flags = LAUNCH_FLAG_STDOUT | LAUNCH_FLAG_STDERR};
        memcpy(&exec->verb.permit, call->permit.data, sizeof(Permit));
        exec->operation = (Operation){.noun = "exec", .id = exec->id, .base = containerd->base, .done = exec_done,
                                      .fail = containerd_fail, .fail_userdata = containerd};
        list_append(&containerd->execs, &exec->link);
        containerd->n_execs++;
        int r = exec_process_pack(container, request->cmd, request->n_cmd, false, &exec->spec_fd);
        if (r == 0)
                r = exec_arm(exec, request->timeout);
        if (r < 0)
                return fold(r);
        exec->call = frame_keep(frame);
        Operation *operation = &TAKE_PTR(exec)->operation;
        r = operation_run(operation, &exec_steps[EXEC_LAUNCH]);
        return r < 0 ? fold(r) : 0;
}

static void exec_arena_donep(DecodeArena *arena)
{
        decode_arena_done(arena);
}

int exec_sync_request(Containerd *containerd, Frame *frame)
{
        const ProtobufCBinaryData *bytes = &exec_call(frame)->request;
        _cleanup_(exec_arena_donep) DecodeArena arena;
        ProtobufCMessage *message = NULL;
        Container *container = NULL;
        Failure failure = {0};

        decode_arena_init(&arena, decode_budget(bytes->len));
        int r = decode_message(&arena, &runtime__v1__exec_sync_request__descriptor, bytes->data, bytes->len, &message);
        if (r)
                return reply_fail(frame_reply_to(frame), GRPC_STATUS_INVALID_ARGUMENT, "exec: the request does not decode: %s",
                                  decode_outcome_name(r));
        const Runtime__V1__ExecSyncRequest *request = container_of(message, Runtime__V1__ExecSyncRequest, base);
        if (exec_check(containerd, frame, request, &container, &failure))
                return reply_fail(frame_reply_to(frame), failure.code, "%s", failure.text);
        r = exec_begin(containerd, frame, request, container);
        return r < 0 ? fold(r) : 0;
}
