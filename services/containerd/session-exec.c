/* SPDX-License-Identifier: Apache-2.0 */

/* A streaming exec: a process with a shim of its own, whose streams streamd gets. The shim keeps a terminal, to tell it its size;
 * of pipes it keeps nothing, so that closing them is closing them. When the client goes, the terminal hangs up and pipes break, as
 * they do when a shell's window is closed; a process that does not care goes on, and is cleared away after its end. */

#include "services/containerd/session.h"

#include "ipc/edges/containerd-launch.rows.h"
#include "ipc/edges/containerd-shim.rows.h"
#include "ipc/edges/gatewayd-containerd.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "services/containerd/exec-process.h"
#include "services/containerd/shim-link.h"
#include "services/stream-share.h"

#define SESSION_QUIT_USEC UINT64_C(1000000)

enum { SESSION_EXEC_LAUNCH, SESSION_EXEC_RELEASE, SESSION_EXEC_WAIT, SESSION_EXEC_HANG_UP, SESSION_EXEC_QUIT, SESSION_EXEC_DELETE, SESSION_EXEC_N };
static const Step session_exec_steps[SESSION_EXEC_N];

static Session *session_exec_of(Operation *operation)
{
        return container_of(operation, Session, operation);
}

static const Bulkhead__GatewaydContainerd__ExecCall *session_exec_call(const Frame *frame)
{
        return container_of(frame->message, Bulkhead__GatewaydContainerd__ExecCall, base);
}

/* The request was decoded before it was kept, so it does so again. */
static int session_exec_decode(const Frame *frame, DecodeArena *arena, const Runtime__V1__ExecRequest **ret)
{
        const ProtobufCBinaryData *bytes = &session_exec_call(frame)->request;
        ProtobufCMessage *message = NULL;

        decode_arena_init(arena, decode_budget(bytes->len));
        int r = decode_message(arena, &runtime__v1__exec_request__descriptor, bytes->data, bytes->len, &message);
        if (r == 0)
                *ret = container_of(message, Runtime__V1__ExecRequest, base);
        return r;
}

static void session_exec_arena_donep(DecodeArena *arena)
{
        decode_arena_done(arena);
}

/* What comes next when nothing is under way. */
static const Step *session_exec_next(const Session *session)
{
        if (session->has_exited)
                return &session_exec_steps[SESSION_EXEC_QUIT];
        if (session->is_closed && !session->is_hung_up)
                return &session_exec_steps[SESSION_EXEC_HANG_UP];
        return &session_exec_steps[SESSION_EXEC_WAIT];
}

static int session_exec_go_on(Session *session)
{
        int r = session->shim && operation_is_idle(&session->operation)
                        ? operation_run(&session->operation, session_exec_next(session)) : 0;

        return r < 0 ? fold(r) : 0;
}

static int session_exec_saw_exit(Session *session, int32_t exit_code)
{
        if (session->has_exited)
                return 0;
        session->has_exited = true;
        session->exit_code = exit_code;
        int r = 0;
        if (session->is_answered && !session->is_closed) {
                session->has_ended = true;
                r = session_tell_end(session->containerd, session->id, exit_code, session->lost ? session->lost : "");
        }
        if (r == 0)
                r = session_exec_go_on(session);
        return r < 0 ? fold(r) : 0;
}

static int session_exec_on_exited(void *userdata, const ExitRecord *record)
{
        int r = session_exec_saw_exit(userdata, record->exit_code);

        return r < 0 ? fold(r) : 0;
}

static int session_exec_on_lost(void *userdata)
{
        Session *session = userdata;

        if (session->has_exited)
                return 0;
        session->lost = "the shim of the command is gone, and with it the exit code; run it again";
        int r = session_exec_saw_exit(session, 255);
        return r < 0 ? fold(r) : 0;
}

static const Step *session_exec_launch(Operation *operation)
{
        Session *session = session_exec_of(operation);
        const Bulkhead__GatewaydContainerd__ExecCall *call = session_exec_call(session->call);
        LaunchExec verb = {.runtime = session->runtime, .flags = session->flags};
        _cleanup_fd_ int request_fd = -1;

        memcpy(&verb.permit, call->permit.data, sizeof(Permit));
        int r = fd_memfd_sealed("request", call->request.data, call->request.len, &request_fd);
        if (r < 0)
                return operation_break(operation, fold(r));
        return operation_ask_flat(operation, session->containerd->launch, ROW_CONTAINERD_LAUNCH_LAUNCH_EXEC, &verb,
                                  (const int[]){session->spec_fd, request_fd}, 2, OPERATION_TIMEOUT_USEC);
}

static const Step *session_exec_refused(Session *session, uint32_t code, const char *text)
{
        int r = session_answer_failed(session, code, "exec in container %s: OCI runtime: %s; check the command and that it exists in the "
                                      "image", session->container_id, text);
        return r < 0 ? operation_break(&session->operation, fold(r)) : &session_exec_steps[SESSION_EXEC_DELETE];
}

/* The streams in the order of the reply: launch has them as terminal, or stdout, stderr, stdin. */
static int session_exec_hand_over(Session *session, const Frame *frame)
{
        const int *from = frame->wire.fds + 2;
        size_t n_from = frame->wire.n_fds > 2 ? frame->wire.n_fds - 2 : 0, n = 0, at = 0;
        uint32_t flags = session->flags;
        int fds[3];

        if (flags & LAUNCH_FLAG_TTY) {
                flags &= n_from > 0 ? UINT32_MAX : LAUNCH_FLAG_TTY;
                if (flags & LAUNCH_FLAG_STDIN)
                        fds[n++] = from[0];
                if (flags & LAUNCH_FLAG_STDOUT)
                        fds[n++] = from[0];
        } else {
                size_t n_output = !!(flags & LAUNCH_FLAG_STDOUT) + !!(flags & LAUNCH_FLAG_STDERR);
                size_t n_wanted = n_output + !!(flags & LAUNCH_FLAG_STDIN);
                if (n_from != n_wanted)
                        return error_origin(-EPROTO);
                if (flags & LAUNCH_FLAG_STDIN)
                        fds[n++] = from[n_output];
                while (at < n_output)
                        fds[n++] = from[at++];
        }
        int r = 0;
        for (size_t i = 0; i < n && r == 0; i++)
                r = fd_set_nonblock(fds[i], true);
        if (r == 0)
                r = session_answer(session, flags, fds, n);
        return r < 0 ? fold(r) : 0;
}

static const Step *session_exec_on_launch(Operation *operation, const Answer *answer)
{
        Session *session = session_exec_of(operation);
        const ShimLinkSpec spec = {.on_exited = session_exec_on_exited, .on_lost = session_exec_on_lost, .fail = containerd_fail,
                                   .userdata = session, .fail_userdata = session->containerd};

        session->call = frame_free(session->call);
        session->containerd->session_bytes -= session->n_call;
        session->n_call = 0;
        session->spec_fd = fd_close(session->spec_fd);
        if (answer->outcome)
                return session_exec_refused(session, answer->code, answer->text);
        const LaunchCreated *created = answer->frame->flat;
        if (!created->started)
                return session_exec_refused(session, GRPC_STATUS_FAILED_PRECONDITION, created->text);
        int r = session_exec_hand_over(session, answer->frame);
        if (r == 0)
                r = shim_link_new(&session->shim, session->containerd->base, frame_take_fd(answer->frame, 0), &spec);
        if (r == 0 && session->flags & LAUNCH_FLAG_TTY)
                r = shim_link_resize(session->shim, session->columns, session->rows);
        if (r < 0)
                return operation_break(operation, fold(r));
        bool keeps = session->flags & LAUNCH_FLAG_TTY; /* the terminal */
        return keeps ? session_exec_next(session) : &session_exec_steps[SESSION_EXEC_RELEASE];
}

static const Step *session_exec_release(Operation *operation)
{
        static const ShimRelease verb = {.streams = SHIM_STREAM_STDIN | SHIM_STREAM_OUTPUT};

        return operation_ask_flat(operation, session_exec_of(operation)->shim->channel, ROW_CONTAINERD_SHIM_SHIM_RELEASE, &verb,
                                  NULL, 0, OPERATION_TIMEOUT_USEC);
}

static const Step *session_exec_on_release(Operation *operation, const Answer *answer)
{
        Session *session = session_exec_of(operation);

        if (answer->outcome)
                log_debug("session %s: its shim keeps the streams: %s", session->id, answer->text);
        session->is_hung_up = true;
        return session_exec_next(session);
}

static const Step *session_exec_wait(Operation *operation)
{
        (void)operation;
        return STEP_WAIT;
}

static const Step *session_exec_quit(Operation *operation)
{
        Session *session = session_exec_of(operation);

        if (channel_is_connected(session->shim->channel))
                return operation_ask_flat(operation, session->shim->channel, ROW_CONTAINERD_SHIM_SHIM_QUIT, NULL, NULL, 0,
                                          SESSION_QUIT_USEC);
        session->shim = shim_link_free(session->shim);
        return &session_exec_steps[SESSION_EXEC_DELETE];
}

static const Step *session_exec_on_quit(Operation *operation, const Answer *answer)
{
        Session *session = session_exec_of(operation);

        (void)answer; /* gone already is as good */
        session->shim = shim_link_free(session->shim);
        return &session_exec_steps[SESSION_EXEC_DELETE];
}

static const Step *session_exec_delete(Operation *operation)
{
        const Session *session = session_exec_of(operation);
        LaunchContainer verb = {.runtime = session->runtime};

        (void)str_copy(verb.id, sizeof(verb.id), session->id);
        return operation_ask_flat(operation, session->containerd->launch, ROW_CONTAINERD_LAUNCH_LAUNCH_DELETE, &verb, NULL, 0,
                                  OPERATION_TIMEOUT_USEC);
}

static const Step *session_exec_on_delete(Operation *operation, const Answer *answer)
{
        if (answer->outcome)
                log_warning("exec %s: what it left cannot be removed: %s", operation->id, answer->text);
        return STEP_DONE;
}

static const Step session_exec_steps[SESSION_EXEC_N] = {
        [SESSION_EXEC_LAUNCH] = {.name = "OCI runtime", .run = session_exec_launch, .answered = session_exec_on_launch, .once = true},
        [SESSION_EXEC_RELEASE] = {.name = "streams", .run = session_exec_release, .answered = session_exec_on_release, .once = true},
        [SESSION_EXEC_WAIT] = {.name = "run", .run = session_exec_wait},
        [SESSION_EXEC_HANG_UP] = {.name = "hang up", .run = session_exec_release, .answered = session_exec_on_release, .once = true},
        [SESSION_EXEC_QUIT] = {.name = "shim", .run = session_exec_quit, .answered = session_exec_on_quit, .once = true},
        [SESSION_EXEC_DELETE] = {.name = "clear away", .run = session_exec_delete, .answered = session_exec_on_delete},
};

static int session_exec_done(Operation *operation)
{
        (void)session_free(session_exec_of(operation));
        return 0;
}

int session_exec_open(Session *session)
{
        _cleanup_(session_exec_arena_donep) DecodeArena arena = {0};
        const Runtime__V1__ExecRequest *request = NULL;
        Failure failure = {0};
        Container *container = session_container(session, &failure);
        int r;

        if (!container) {
                r = session_answer_failed(session, failure.code, "exec: %s", failure.text);
                (void)session_free(session);
                return r < 0 ? fold(r) : 0;
        }
        r = session_exec_decode(session->call, &arena, &request);
        if (r == 0)
                r = exec_process_pack(container, request->cmd, request->n_cmd, request->tty, &session->spec_fd);
        if (r) {
                (void)session_free(session);
                return r < 0 ? fold(r) : error_origin(-EBADMSG);
        }
        session->operation = (Operation){.noun = "session", .id = session->id, .base = session->containerd->base,
                                         .done = session_exec_done, .fail = containerd_fail, .fail_userdata = session->containerd};
        r = operation_run(&session->operation, &session_exec_steps[SESSION_EXEC_LAUNCH]);
        return r < 0 ? fold(r) : 0;
}

int session_exec_closed(Session *session)
{
        int r = session_exec_go_on(session);

        return r < 0 ? fold(r) : 0;
}

static int session_exec_check(Containerd *containerd, const Frame *frame, const Runtime__V1__ExecRequest *request, uint32_t flags,
                              Container **ret, Failure *failure)
{
        const Bulkhead__GatewaydContainerd__ExecCall *call = session_exec_call(frame);

        if (request->n_cmd == 0 || str_is_empty(request->cmd[0]))
                return failure_set(failure, GRPC_STATUS_INVALID_ARGUMENT, "exec: container %.64s: there is no command",
                                   request->container_id);
        if (session_check(containerd, "exec", request->container_id, flags, ret, failure))
                return FAILURE_E_SET;
        if (call->permit.len != sizeof(Permit) || !id_is_valid(call->id) || session_find(containerd, call->id))
                return failure_set(failure, GRPC_STATUS_INTERNAL, "exec: container %s: its permit or id is malformed", (*ret)->id);
        size_t n_bytes;
        (void)session_count_pod(containerd, (*ret)->pod_id, &n_bytes);
        if (n_bytes + call->request.len > STREAM_REQUESTS_POD_BYTES_MAX ||
            containerd->session_bytes + call->request.len > STREAM_REQUESTS_BYTES_MAX)
                return failure_set(failure, GRPC_STATUS_RESOURCE_EXHAUSTED, "exec: container %s: the requests that wait for their clients "
                                   "are larger than %zu MiB of its pod, or than %zu MiB of all pods together: use their URLs, or wait a "
                                   "minute", (*ret)->id, STREAM_REQUESTS_POD_BYTES_MAX / (1024 * 1024),
                                   STREAM_REQUESTS_BYTES_MAX / (1024 * 1024));
        return 0;
}

int session_exec_request(Containerd *containerd, Frame *frame)
{
        _cleanup_(session_exec_arena_donep) DecodeArena arena;
        const Runtime__V1__ExecRequest *request = NULL;
        Container *container = NULL;
        Failure failure = {0};

        int r = session_exec_decode(frame, &arena, &request);
        if (r)
                return r < 0 ? fold(r) : reply_fail(frame_reply_to(frame), GRPC_STATUS_INVALID_ARGUMENT,
                                                    "exec: the request does not decode: %s", decode_outcome_name(r));
        uint32_t flags = (request->tty ? LAUNCH_FLAG_TTY : 0) | (request->stdin ? LAUNCH_FLAG_STDIN : 0) |
                         (request->stdout ? LAUNCH_FLAG_STDOUT : 0) | (request->stderr ? LAUNCH_FLAG_STDERR : 0);
        if (session_exec_check(containerd, frame, request, flags, &container, &failure))
                return reply_fail(frame_reply_to(frame), failure.code, "%s", failure.text);
        Session *session = session_new(containerd, SESSION_EXEC, container);
        if (!session)
                return error_origin(-ENOMEM);
        (void)str_copy(session->id, sizeof(session->id), session_exec_call(frame)->id);
        session->flags = flags;
        session->n_call = session_exec_call(frame)->request.len;
        containerd->session_bytes += session->n_call;
        session->call = frame_keep(frame);
        r = session_offer(session, frame_reply_to(session->call));
        return r < 0 ? fold(r) : 0;
}
