/* SPDX-License-Identifier: Apache-2.0 */

/* Attach: what the container writes comes through pipes that logd writes to beside the log; what the client writes goes straight
 * into the container's stdin, or its terminal, whose end the shim has kept for that. Several clients may be attached; a container's
 * life does not depend on any. With stdin_once the first one that writes gets the only end there is: when it closes it, or goes,
 * the container reads the end of its input. */

#include "services/containerd/session.h"

#include <fcntl.h>
#include <sys/random.h>

#include "ipc/edges/containerd-launch.rows.h"
#include "ipc/edges/containerd-logd.rows.h"
#include "ipc/edges/containerd-shim.rows.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "services/containerd/shim-link.h"
#include "services/stream-share.h"

#define SESSION_PIPE_BYTES (1024 * 1024)
#define SESSION_LOGD_USEC UINT64_C(100000) /* between looks whether logd has the log again */
#define SESSION_LOGD_WAITS 100

enum {
        SESSION_ATTACH_CLIENT,
        SESSION_ATTACH_STREAMS,
        SESSION_ATTACH_LOG,
        SESSION_ATTACH_HAND_OVER,
        SESSION_ATTACH_RELEASE,
        SESSION_ATTACH_WAIT,
        SESSION_ATTACH_N
};
static const Step session_attach_steps[SESSION_ATTACH_N];

static Session *session_attach_of(Operation *operation)
{
        return container_of(operation, Session, operation);
}

void session_attach_done(Session *session)
{
        session->stdin_fd = fd_close(session->stdin_fd);
        for (size_t i = 0; i < 2; i++) {
                session->read_fds[i] = fd_close(session->read_fds[i]);
                session->write_fds[i] = fd_close(session->write_fds[i]);
        }
}

/* It cannot be opened: answered, and over. */
static const Step *session_attach_fail(Session *session, uint32_t code, const char *why)
{
        int r = session_answer_failed(session, code, "attach: container %s: %s: %s", session->container_id,
                                      session->operation.step ? session->operation.step->name : "start", why);

        return r < 0 ? operation_break(&session->operation, fold(r)) : STEP_DONE;
}

static Container *session_attach_container(Session *session, const Step **ret_failed)
{
        Failure failure = {0};
        Container *container = session_container(session, &failure);

        if (!container)
                *ret_failed = session_attach_fail(session, failure.code, failure.text);
        return container;
}

static const Step *session_attach_streams(Operation *operation)
{
        Session *session = session_attach_of(operation);
        const Step *failed = NULL;
        const Container *container = session_attach_container(session, &failed);

        if (!container)
                return failed;
        if (!(session->flags & LAUNCH_FLAG_STDIN))
                return &session_attach_steps[SESSION_ATTACH_LOG];
        if (!container->shim || !channel_is_connected(container->shim->channel))
                return session_attach_fail(session, GRPC_STATUS_UNAVAILABLE,
                                           "its shim, which has its stdin, is not connected; attach without stdin, or try again");
        return operation_ask_flat(operation, container->shim->channel, ROW_CONTAINERD_SHIM_SHIM_STREAMS, NULL, NULL, 0,
                                  OPERATION_TIMEOUT_USEC);
}

/* The commit record, then the terminal, or stdout, stderr and, if it is open still, stdin. */
static const Step *session_attach_on_streams(Operation *operation, const Answer *answer)
{
        Session *session = session_attach_of(operation);

        if (answer->outcome)
                return session_attach_fail(session, answer->code, answer->text);
        const ShimStreams *held = answer->frame->flat;
        size_t at = held->tty ? 1 : 3;
        session->stdin_fd = held->n_fds == at + 1 ? frame_take_fd(answer->frame, at) : -1;
        if (session->stdin_fd < 0)
                session->flags &= ~(uint32_t)LAUNCH_FLAG_STDIN; /* closed after its first client */
        if (session->stdin_fd < 0 || held->tty)
                session->stdin_once = false;
        return &session_attach_steps[SESSION_ATTACH_LOG];
}

static int session_attach_pipe(Session *session, size_t i)
{
        int pair[2];

        if (session->write_fds[i] >= 0)
                return 0;
        if (pipe2(pair, O_CLOEXEC | O_NONBLOCK) < 0)
                return error_origin(negative_errno());
        /* Refused beyond a user's share: then it stays what it is. */
        (void)fcntl(pair[1], F_SETPIPE_SZ, SESSION_PIPE_BYTES);
        session->read_fds[i] = pair[0];
        session->write_fds[i] = pair[1];
        return 0;
}

/* Also when logd was started anew, with the same pipes. */
static const Step *session_attach_log(Operation *operation)
{
        Session *session = session_attach_of(operation);
        Bulkhead__ContainerdLogd__LogAttach request = BULKHEAD__CONTAINERD_LOGD__LOG_ATTACH__INIT;
        const Container *container = container_table_find(&session->containerd->containers, session->container_id);
        int fds[2], r = 0;
        size_t n = 0;

        request.container_id = session->container_id;
        request.session_id = session->id;
        request.stdout = session->flags & LAUNCH_FLAG_STDOUT;
        request.stderr = session->flags & LAUNCH_FLAG_STDERR;
        if (!request.stdout && !request.stderr)
                return &session_attach_steps[SESSION_ATTACH_HAND_OVER];
        if (container && !container->log_is_open && !container->log_is_lost && session->n_waits++ < SESSION_LOGD_WAITS)
                return operation_sleep(operation, SESSION_LOGD_USEC, operation->step);
        if (request.stdout)
                r = session_attach_pipe(session, 0);
        if (r == 0 && request.stderr)
                r = session_attach_pipe(session, 1);
        if (r < 0)
                return operation_break(operation, fold(r));
        for (size_t i = 0; i < 2; i++)
                if (session->write_fds[i] >= 0)
                        fds[n++] = session->write_fds[i];
        return operation_ask_fds(operation, session->containerd->logd, ROW_CONTAINERD_LOGD_LOG_ATTACH, &request.base, fds, n,
                                 OPERATION_TIMEOUT_USEC);
}

static const Step *session_attach_on_log(Operation *operation, const Answer *answer)
{
        Session *session = session_attach_of(operation);

        if (!answer->outcome)
                return &session_attach_steps[SESSION_ATTACH_HAND_OVER];
        if (!session->is_answered)
                return session_attach_fail(session, answer->code, answer->text);
        log_warning("session %s: container %s: what it writes cannot be had any more: %s", operation->id, session->container_id,
                    answer->text);
        int r = session_tell_end(session->containerd, session->id, 0, answer->text);
        return r < 0 ? operation_break(operation, fold(r)) : STEP_DONE;
}

static const Step *session_attach_hand_over(Operation *operation)
{
        Session *session = session_attach_of(operation);
        const int all[] = {session->stdin_fd, session->read_fds[0], session->read_fds[1]};
        int fds[3], r = 0;
        size_t n = 0;

        session->n_waits = 0;
        if (session->is_answered)
                return &session_attach_steps[SESSION_ATTACH_WAIT];
        for (size_t i = 0; i < ARRAY_SIZE(all) && r == 0; i++) {
                if (all[i] < 0)
                        continue;
                fds[n++] = all[i];
                r = fd_set_nonblock(all[i], true);
        }
        if (r == 0)
                r = session_answer(session, session->flags, fds, n);
        session->stdin_fd = fd_close(session->stdin_fd);
        for (size_t i = 0; i < 2; i++)
                session->read_fds[i] = fd_close(session->read_fds[i]);
        return r < 0 ? operation_break(operation, fold(r)) : &session_attach_steps[SESSION_ATTACH_RELEASE];
}

static const Step *session_attach_release(Operation *operation)
{
        Session *session = session_attach_of(operation);
        static const ShimRelease verb = {.streams = SHIM_STREAM_STDIN};
        const Container *container = container_table_find(&session->containerd->containers, session->container_id);

        if (!session->stdin_once || !container || !container->shim)
                return &session_attach_steps[SESSION_ATTACH_WAIT];
        session->stdin_once = false;
        return operation_ask_flat(operation, container->shim->channel, ROW_CONTAINERD_SHIM_SHIM_RELEASE, &verb, NULL, 0,
                                  OPERATION_TIMEOUT_USEC);
}

static const Step *session_attach_on_release(Operation *operation, const Answer *answer)
{
        if (answer->outcome)
                log_warning("session %s: the shim keeps the container's stdin: %s", operation->id, answer->text);
        return &session_attach_steps[SESSION_ATTACH_WAIT];
}

/* streamd says that it has this attachment: it is believed if logd has it for the same container. */
static const Step *session_attach_client(Operation *operation)
{
        const Session *session = session_attach_of(operation);
        Bulkhead__ContainerdLogd__LogAttachment request = BULKHEAD__CONTAINERD_LOGD__LOG_ATTACHMENT__INIT;

        request.container_id = (char *)(uintptr_t)session->container_id;
        request.session_id = (char *)(uintptr_t)session->id;
        return operation_ask(operation, session->containerd->logd, ROW_CONTAINERD_LOGD_LOG_ATTACHMENT, &request.base,
                             OPERATION_TIMEOUT_USEC);
}

static const Step *session_attach_on_client(Operation *operation, const Answer *answer)
{
        Session *session = session_attach_of(operation);
        const Container *container = container_table_find(&session->containerd->containers, session->container_id);

        if (answer->outcome || !container) {
                /* logd was started anew after containerd; or it never had it, and streamd sees the end of the pipes. */
                int r = !session->flags ? 0 : session_tell_end(session->containerd, session->id, 0, "containerd and then logd were "
                                                               "restarted, and with them the pipes are gone: attach again");
                return r < 0 ? operation_break(operation, fold(r)) : STEP_DONE;
        }
        const Bulkhead__ContainerdLogd__LogAttachmentFound *found =
                container_of(answer->frame->message, Bulkhead__ContainerdLogd__LogAttachmentFound, base);
        session->flags = (container->record.tty ? LAUNCH_FLAG_TTY : 0) | (found->stdout ? LAUNCH_FLAG_STDOUT : 0) |
                         (found->stderr ? LAUNCH_FLAG_STDERR : 0);
        int r = session_attach_tell_size(session);
        return r < 0 ? operation_break(operation, fold(r)) : &session_attach_steps[SESSION_ATTACH_WAIT];
}

static const Step *session_attach_wait(Operation *operation)
{
        return session_attach_of(operation)->is_closed ? STEP_DONE : STEP_WAIT;
}

static const Step session_attach_steps[SESSION_ATTACH_N] = {
        [SESSION_ATTACH_CLIENT] = {.name = "client", .run = session_attach_client, .answered = session_attach_on_client},
        [SESSION_ATTACH_STREAMS] = {.name = "stdin", .run = session_attach_streams, .answered = session_attach_on_streams, .once = true},
        [SESSION_ATTACH_LOG] = {.name = "output", .run = session_attach_log, .answered = session_attach_on_log},
        [SESSION_ATTACH_HAND_OVER] = {.name = "streams", .run = session_attach_hand_over},
        [SESSION_ATTACH_RELEASE] = {.name = "stdin's only end", .run = session_attach_release, .answered = session_attach_on_release,
                                    .once = true},
        [SESSION_ATTACH_WAIT] = {.name = "attached", .run = session_attach_wait},
};

/* logd closes its ends with ours, but when the container has ended: then it does by itself, when everything is written. */
static int session_attach_detach(const Session *session)
{
        Bulkhead__ContainerdLogd__LogDetach event = BULKHEAD__CONTAINERD_LOGD__LOG_DETACH__INIT;

        event.container_id = (char *)(uintptr_t)session->container_id;
        event.session_id = (char *)(uintptr_t)session->id;
        int r = channel_event(session->containerd->logd, ROW_CONTAINERD_LOGD_LOG_DETACH, &event.base);
        return r < 0 ? fold(r) : 0;
}

static int session_attach_finished(Operation *operation)
{
        Session *session = session_attach_of(operation);
        int r = session_attach_detach(session);

        (void)session_free(session);
        return r < 0 ? fold(r) : 0;
}

int session_attach_closed(Session *session)
{
        int r = operation_is_idle(&session->operation)
                        ? operation_run(&session->operation, &session_attach_steps[SESSION_ATTACH_WAIT]) : 0;

        return r < 0 ? fold(r) : 0;
}

/* After a restart the shim is there a moment later than the client: session_attach_resume() comes again. */
int session_attach_tell_size(const Session *session)
{
        const Container *container = container_table_find(&session->containerd->containers, session->container_id);

        if (!(session->flags & LAUNCH_FLAG_TTY) || !container || !container->shim)
                return 0;
        int r = shim_link_resize(container->shim, session->columns, session->rows);
        return r < 0 ? fold(r) : 0;
}

int session_attach_resume(const Container *container)
{
        list_for_each_safe(i, next, &container->containerd->sessions) {
                Session *session = container_of(i, Session, link);
                if (session->kind != SESSION_ATTACH || session->token.text[0] ||
                    !str_equal(session->container_id, container->id) || !operation_is_idle(&session->operation))
                        continue;
                int r = session_attach_tell_size(session);
                if (r == 0)
                        r = operation_run(&session->operation,
                                          &session_attach_steps[session->is_resumed ? SESSION_ATTACH_CLIENT : SESSION_ATTACH_LOG]);
                if (r < 0)
                        return fold(r);
        }
        return 0;
}

int session_attach_container_ended(const Container *container)
{
        Containerd *containerd = container->containerd;

        list_for_each_safe(i, next, &containerd->sessions) {
                Session *session = container_of(i, Session, link);
                int r = 0;
                if (session->kind != SESSION_ATTACH || session->token.text[0] || !str_equal(session->container_id, container->id))
                        continue;
                /* The container's exit code is in its status; an attachment has none. */
                if (session->is_answered && !session->is_closed)
                        r = session_tell_end(containerd, session->id, 0, "");
                else if (!session->is_answered)
                        r = session_answer_failed(session, GRPC_STATUS_FAILED_PRECONDITION, "attach: container %s has ended meanwhile",
                                                  container->id);
                (void)session_free(session);
                if (r < 0)
                        return fold(r);
        }
        return 0;
}

int session_attach_lost(Containerd *containerd, const char *id)
{
        Session *session = session_find(containerd, id);

        if (!session || session->kind != SESSION_ATTACH || session->token.text[0])
                return 0;
        int r = session_tell_end(containerd, id, 0, "the client read more slowly than the container wrote, and was let go; its "
                                 "output is in the log");
        (void)session_free(session);
        return r < 0 ? fold(r) : 0;
}

static int session_attach_begin(Session *session, const Step *step)
{
        session->operation = (Operation){.noun = "session", .id = session->id, .base = session->containerd->base,
                                         .done = session_attach_finished, .fail = containerd_fail, .fail_userdata = session->containerd};
        int r = operation_run(&session->operation, step);
        return r < 0 ? fold(r) : 0;
}

int session_attach_open(Session *session)
{
        int r = session_attach_begin(session, &session_attach_steps[SESSION_ATTACH_STREAMS]);

        return r < 0 ? fold(r) : 0;
}

int session_attach_resume_client(Containerd *containerd, const char *id, const char *container_id)
{
        const Container *container = container_table_find(&containerd->containers, container_id);
        size_t n_bytes;
        int r;

        if (!id_is_valid(id) || session_find(containerd, id))
                return 0;
        if (!container || container->exit_seen || container->state != CONTAINER_STATE_RUNNING) {
                r = session_tell_end(containerd, id, 0, ""); /* with its output */
                return r < 0 ? fold(r) : 0;
        }
        if (containerd->n_sessions >= STREAM_SESSIONS_MAX ||
            session_count_pod(containerd, container->pod_id, &n_bytes) >= STREAM_SESSIONS_POD_MAX)
                return 0; /* as if logd did not have it */
        Session *session = session_new(containerd, SESSION_ATTACH, container);
        if (!session)
                return error_origin(-ENOMEM);
        (void)str_copy(session->id, sizeof(session->id), id);
        session->is_answered = session->is_resumed = true;
        r = session_attach_begin(session, &session_attach_steps[SESSION_ATTACH_CLIENT]);
        return r < 0 ? fold(r) : 0;
}

/* What of the request the container has: its stdin if it was made with one, one output stream if it has a terminal. */
static uint32_t session_attach_flags(const Container *container, uint32_t flags, bool *ret_stdin_once)
{
        DecodeArena arena;
        ProtobufCMessage *message = NULL;
        const ContainerRecord *record = &container->record;
        bool has_stdin = false;

        decode_arena_init(&arena, decode_budget(record->n_config));
        if (decode_message(&arena, &runtime__v1__container_config__descriptor, record->config_bytes, record->n_config, &message) == 0) {
                const Runtime__V1__ContainerConfig *config = container_of(message, Runtime__V1__ContainerConfig, base);
                has_stdin = config->stdin;
                *ret_stdin_once = config->stdin_once;
        }
        decode_arena_done(&arena);
        flags &= ~(uint32_t)LAUNCH_FLAG_TTY;
        if (!has_stdin)
                flags &= ~(uint32_t)LAUNCH_FLAG_STDIN;
        if (record->tty)
                flags = (flags & ~(uint32_t)LAUNCH_FLAG_STDERR) | LAUNCH_FLAG_TTY;
        return flags;
}

int session_attach_request(Containerd *containerd, Frame *frame)
{
        const Runtime__V1__AttachRequest *request = container_of(frame->message, Runtime__V1__AttachRequest, base);
        uint32_t flags = (request->tty ? LAUNCH_FLAG_TTY : 0) | (request->stdin ? LAUNCH_FLAG_STDIN : 0) |
                         (request->stdout ? LAUNCH_FLAG_STDOUT : 0) | (request->stderr ? LAUNCH_FLAG_STDERR : 0);
        uint8_t id[ID_LENGTH / 2];
        Container *container = NULL;
        Failure failure = {0};

        if (session_check(containerd, "attach", request->container_id, flags, &container, &failure))
                return reply_fail(frame_reply_to(frame), failure.code, "%s", failure.text);
        if (getrandom(id, sizeof(id), 0) != (ssize_t)sizeof(id))
                return error_origin(-EIO);
        Session *session = session_new(containerd, SESSION_ATTACH, container);
        if (!session)
                return error_origin(-ENOMEM);
        hex_encode(session->id, id, sizeof(id));
        session->flags = session_attach_flags(container, flags, &session->stdin_once);
        int r = session_offer(session, frame_reply_to(frame));
        return r < 0 ? fold(r) : 0;
}
