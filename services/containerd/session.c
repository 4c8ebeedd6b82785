/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/session.h"

#include <stdarg.h>
#include <stdio.h>

#include "ipc/edges/containerd-launch.rows.h"
#include "ipc/edges/containerd-shim.rows.h"
#include "ipc/edges/streamd-containerd.pb-c.h"
#include "ipc/edges/streamd-containerd.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/log.h"
#include "services/containerd/shim-link.h"

#define SESSION_RESIZE_USEC (UINT64_C(10) * 1000000)

static Session *session_of(Token *token)
{
        return container_of(token, Session, token);
}

static void session_on_expired(void *userdata, Token *token)
{
        Session *session = session_of(token);

        (void)userdata;
        log_debug("session %s: nobody came for it", session->id);
        (void)session_free(session);
}

int session_table_init(Containerd *containerd)
{
        list_init(&containerd->sessions);
        int r = token_table_init(&containerd->tokens, containerd->base, session_on_expired, containerd);
        return r < 0 ? fold(r) : 0;
}

void session_table_done(Containerd *containerd)
{
        while (containerd->sessions.next && !list_is_empty(&containerd->sessions))
                (void)session_free(list_first(&containerd->sessions, Session, link));
        token_table_done(&containerd->tokens);
}

Session *session_new(Containerd *containerd, SessionKind kind, const Container *container)
{
        Session *session = calloc(1, sizeof(*session));

        if (!session)
                return NULL;
        session->containerd = containerd;
        session->kind = kind;
        session->runtime = container->runtime;
        session->spec_fd = session->stdin_fd = -1;
        for (size_t i = 0; i < 2; i++)
                session->read_fds[i] = session->write_fds[i] = -1;
        (void)str_copy(session->container_id, sizeof(session->container_id), container->id);
        list_append(&containerd->sessions, &session->link);
        containerd->n_sessions++;
        return session;
}

Session *session_free(Session *session)
{
        if (!session)
                return NULL;
        Containerd *containerd = session->containerd;
        if (session->operation.base)
                operation_end(&session->operation);
        token_forget(&containerd->tokens, &session->token);
        session->shim = shim_link_free(session->shim);
        session->spec_fd = fd_close(session->spec_fd);
        session_attach_done(session);
        (void)frame_free(session->call);
        containerd->session_bytes -= session->n_call;
        containerd->n_sessions--;
        list_remove(&session->link);
        free(session);
        return NULL;
}

Session *session_find(Containerd *containerd, const char *id)
{
        list_for_each(i, &containerd->sessions) {
                Session *session = container_of(i, Session, link);
                if (str_equal(session->id, id))
                        return session;
        }
        return NULL;
}

/* Those that streamd has: what waits under its token is not open to it by its id. */
static Session *session_find_open(Containerd *containerd, const char *id)
{
        Session *session = session_find(containerd, id);

        return session && !session->token.text[0] ? session : NULL;
}

int session_check(Containerd *containerd, const char *what, const char *container_id, uint32_t flags, Container **ret,
                  Failure *failure)
{
        Container *container = NULL;

        if (!(flags & (LAUNCH_FLAG_STDIN | LAUNCH_FLAG_STDOUT | LAUNCH_FLAG_STDERR)))
                return failure_set(failure, GRPC_STATUS_INVALID_ARGUMENT,
                                   "%s: container %.64s: ask for stdin, stdout or stderr, or for several of them", what, container_id);
        if ((flags & LAUNCH_FLAG_TTY) && (flags & LAUNCH_FLAG_STDERR))
                return failure_set(failure, GRPC_STATUS_INVALID_ARGUMENT,
                                   "%s: container %.64s: a terminal has no stderr of its own; ask for tty or for stderr", what,
                                   container_id);
        int r = container_table_resolve(&containerd->containers, container_id, &container);
        if (r == CONTAINER_TABLE_E_AMBIGUOUS)
                return failure_set(failure, GRPC_STATUS_INVALID_ARGUMENT,
                                   "%s: several containers begin with \"%.64s\"; give more of the id", what, container_id);
        if (r)
                return failure_set(failure, GRPC_STATUS_NOT_FOUND, "%s: there is no container \"%.64s\"", what, container_id);
        if (container->state != CONTAINER_STATE_RUNNING || container->exit_seen)
                return failure_set(failure, GRPC_STATUS_FAILED_PRECONDITION, "%s: container %s: it is %s; start it first", what,
                                   container->id, container->exit_seen ? "exited" : container_state_name(container->state));
        if (containerd->n_sessions >= SESSIONS_MAX)
                return failure_set(failure, GRPC_STATUS_RESOURCE_EXHAUSTED,
                                   "%s: container %s: %d sessions are open or asked for already; wait", what, container->id,
                                   SESSIONS_MAX);
        *ret = container;
        return 0;
}

int session_offer(Session *session, ReplyTo to)
{
        Containerd *containerd = session->containerd;
        Runtime__V1__ExecResponse response = RUNTIME__V1__EXEC_RESPONSE__INIT;
        Runtime__V1__AttachResponse attach_response = RUNTIME__V1__ATTACH_RESPONSE__INIT;
        const char *what = session->kind == SESSION_EXEC ? "exec" : "attach";
        char url[sizeof(containerd->common->stream_url) + TOKEN_LENGTH + 16];

        int r = token_mint(&containerd->tokens, &session->token);
        if (r == TOKEN_E_FULL) {
                r = reply_fail(to, GRPC_STATUS_RESOURCE_EXHAUSTED, "%s: container %s: %d URLs wait for their clients already; use them, "
                               "or wait a minute", what, session->container_id, TOKENS_MAX);
                (void)session_free(session);
                return r < 0 ? fold(r) : 0;
        }
        if (r < 0) {
                (void)session_free(session);
                return fold(r);
        }
        (void)snprintf(url, sizeof(url), "%s/%s/%s", containerd->common->stream_url, what, session->token.text);
        response.url = attach_response.url = url;
        r = reply_send(to, session->kind == SESSION_EXEC ? &response.base : &attach_response.base, NULL, 0);
        return r < 0 ? fold(r) : 0;
}

Container *session_container(const Session *session, Failure *failure)
{
        Container *container = container_table_find(&session->containerd->containers, session->container_id);

        if (container && container->state == CONTAINER_STATE_RUNNING && !container->exit_seen)
                return container;
        (void)failure_set(failure, GRPC_STATUS_FAILED_PRECONDITION, "container %s: it has ended since this was asked for; start another",
                          session->container_id);
        return NULL;
}

int session_open(Containerd *containerd, const void *token, size_t n_token, ReplyTo to)
{
        Token *presented = token_present(&containerd->tokens, token, n_token);

        if (!presented)
                return reply_fail(to, GRPC_STATUS_NOT_FOUND, "session_open: the token is unknown, used or expired; ask for a new URL");
        Session *session = session_of(presented);
        session->to = to;
        log_debug("session %s of container %s: opening", session->id, session->container_id);
        int r = session->kind == SESSION_EXEC ? session_exec_open(session) : session_attach_open(session);
        return r < 0 ? fold(r) : 0;
}

int session_answer(Session *session, uint32_t flags, const int *fds, size_t n_fds)
{
        Bulkhead__StreamdContainerd__SessionOpened opened = BULKHEAD__STREAMD_CONTAINERD__SESSION_OPENED__INIT;

        session->is_answered = true;
        opened.session_id = session->id;
        opened.tty = flags & LAUNCH_FLAG_TTY;
        opened.stdin = flags & LAUNCH_FLAG_STDIN;
        opened.stdout = flags & LAUNCH_FLAG_STDOUT;
        opened.stderr = flags & LAUNCH_FLAG_STDERR;
        opened.attach = session->kind == SESSION_ATTACH;
        int r = reply_send(session->to, &opened.base, fds, n_fds);
        return r < 0 ? fold(r) : 0;
}

int session_answer_failed(Session *session, uint32_t code, const char *format, ...)
{
        char text[FAILURE_TEXT_MAX];
        va_list args;

        va_start(args, format);
        (void)vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        session->is_answered = true;
        int r = reply_fail(session->to, code, "%s", text);
        return r < 0 ? fold(r) : 0;
}

int session_tell_end(Containerd *containerd, const char *id, int32_t exit_code, const char *error)
{
        Bulkhead__StreamdContainerd__SessionEnded ended = BULKHEAD__STREAMD_CONTAINERD__SESSION_ENDED__INIT;

        ended.session_id = (char *)(uintptr_t)id;
        ended.exit_code = exit_code;
        ended.error = (char *)(uintptr_t)error;
        int r = channel_event(containerd->streamd, ROW_STREAMD_CONTAINERD_SESSION_ENDED, &ended.base);
        return r < 0 ? fold(r) : 0;
}

static int session_on_size(void *userdata, const Answer *answer)
{
        (void)userdata;
        if (answer->outcome)
                log_debug("a window's size did not arrive: %s", answer->text);
        return 0;
}

int session_send_size(const Session *session, ShimLink *shim)
{
        const ShimResize verb = {.columns = (uint16_t)MIN2(session->columns, (uint32_t)UINT16_MAX),
                                 .rows = (uint16_t)MIN2(session->rows, (uint32_t)UINT16_MAX)};

        if (session->columns == 0 || session->rows == 0)
                return 0;
        int r = channel_call_flat(shim->channel, ROW_CONTAINERD_SHIM_SHIM_RESIZE, &verb, NULL, 0,
                                  clock_monotonic_usec() + SESSION_RESIZE_USEC, session_on_size, NULL, NULL);
        return r < 0 ? fold(r) : 0;
}

int session_resize(Containerd *containerd, const char *id, uint32_t columns, uint32_t rows)
{
        Session *session = session_find_open(containerd, id);

        if (!session || session->is_closed || session->has_ended)
                return 0;
        session->columns = columns;
        session->rows = rows;
        ShimLink *shim = session->shim;
        if (session->kind == SESSION_ATTACH && session->flags & LAUNCH_FLAG_TTY) {
                const Container *container = container_table_find(&containerd->containers, session->container_id);
                shim = container ? container->shim : NULL;
        }
        int r = shim ? session_send_size(session, shim) : 0;
        return r < 0 ? fold(r) : 0;
}

static int session_end_client(Session *session)
{
        if (session->is_closed)
                return 0;
        session->is_closed = true;
        log_debug("session %s of container %s: its client is gone", session->id, session->container_id);
        int r = session->kind == SESSION_EXEC ? session_exec_closed(session) : session_attach_closed(session);
        return r < 0 ? fold(r) : 0;
}

int session_close(Containerd *containerd, const char *id)
{
        Session *session = session_find_open(containerd, id);
        int r = session ? session_end_client(session) : 0;

        return r < 0 ? fold(r) : 0;
}

int session_cancelled(Containerd *containerd, uint32_t request_id)
{
        list_for_each_safe(i, next, &containerd->sessions) {
                Session *session = container_of(i, Session, link);
                if (session->token.text[0] || session->is_answered || session->to.request_id != request_id)
                        continue;
                int r = session_end_client(session);
                return r < 0 ? fold(r) : 0;
        }
        return 0;
}

int session_on_streamd(Containerd *containerd, bool connected)
{
        if (connected || !containerd->sessions.next)
                return 0;
        list_for_each_safe(i, next, &containerd->sessions) {
                Session *session = container_of(i, Session, link);
                int r = session->token.text[0] ? 0 : session_end_client(session);
                if (r < 0)
                        return fold(r);
        }
        return 0;
}
