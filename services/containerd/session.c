/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/session.h"

#include <stdarg.h>
#include <stdio.h>

#include "ipc/edges/containerd-launch.rows.h"
#include "ipc/edges/streamd-containerd.pb-c.h"
#include "ipc/edges/streamd-containerd.rows.h"
#include "lib/error.h"
#include "lib/log.h"
#include "services/containerd/exec-sync.h"
#include "services/containerd/orphan.h"
#include "services/containerd/shim-link.h"
#include "services/stream-share.h"

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
        (void)str_copy(session->pod_id, sizeof(session->pod_id), container->pod_id);
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

size_t session_count_pod(const Containerd *containerd, const char *pod_id, size_t *ret_bytes)
{
        size_t n = 0, n_bytes = 0;

        list_for_each(i, &containerd->sessions) {
                const Session *session = container_of(i, Session, link);
                if (!str_equal(session->pod_id, pod_id))
                        continue;
                n++;
                n_bytes += session->n_call;
        }
        *ret_bytes = n_bytes;
        return n;
}

static int session_check_share(const Containerd *containerd, const char *what, const Container *container, Failure *failure)
{
        size_t n_bytes;

        if (session_count_pod(containerd, container->pod_id, &n_bytes) >= STREAM_SESSIONS_POD_MAX)
                return failure_set(failure, GRPC_STATUS_RESOURCE_EXHAUSTED,
                                   "%s: container %s: its pod %s has %d sessions that are open or asked for, or whose commands go on "
                                   "without a client, which is a pod's share: end some of them", what, container->id, container->pod_id,
                                   STREAM_SESSIONS_POD_MAX);
        if (containerd->n_sessions >= STREAM_SESSIONS_MAX)
                return failure_set(failure, GRPC_STATUS_RESOURCE_EXHAUSTED,
                                   "%s: container %s: all pods together have %d sessions that are open or asked for, which is the most "
                                   "there may be: wait until some have ended", what, container->id, STREAM_SESSIONS_MAX);
        return 0;
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
        if (container->is_adopted)
                return failure_set(failure, GRPC_STATUS_FAILED_PRECONDITION, "%s: container %s: what is recorded of it is lost; stop and "
                                   "remove it", what, container->id);
        if (container->state != CONTAINER_STATE_RUNNING || container->exit_seen)
                return failure_set(failure, GRPC_STATUS_FAILED_PRECONDITION, "%s: container %s: it is %s; start it first", what,
                                   container->id, container->exit_seen ? "exited" : container_state_name(container->state));
        if (session_check_share(containerd, what, container, failure))
                return FAILURE_E_SET;
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
        opened.pod_id = session->pod_id;
        opened.container_id = session->container_id;
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

int session_resize(Containerd *containerd, const char *id, uint32_t columns, uint32_t rows)
{
        Session *session = session_find_open(containerd, id);

        if (!session)
                return fold(orphan_resize(containerd, id, columns, rows));
        if (session->is_closed || session->has_ended)
                return 0;
        session->columns = columns;
        session->rows = rows;
        int r = session->kind == SESSION_ATTACH ? session_attach_tell_size(session)
                : session->shim                 ? shim_link_resize(session->shim, columns, rows)
                                                : 0;
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
        int r = session ? session_end_client(session) : orphan_close(containerd, id);

        return r < 0 ? fold(r) : 0;
}

/* Numbers of requests begin anew with each generation of the edge, so one that belongs to an older one is not meant. */
int session_cancelled(Containerd *containerd, uint32_t request_id)
{
        list_for_each_safe(i, next, &containerd->sessions) {
                Session *session = container_of(i, Session, link);
                if (session->token.text[0] || session->is_answered || session->is_closed || session->is_unsure ||
                    session->to.request_id != request_id)
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
        containerd->sessions_are_told = false;
        containerd->n_resumed = 0;
        list_for_each(i, &containerd->sessions) {
                Session *session = container_of(i, Session, link);
                session->is_unsure = !session->token.text[0];
        }
        orphan_on_streamd_lost(containerd);
        return 0;
}

/* One that nobody here knows: its command may have outlived the containerd before this one, which recovery finds out; after that
 * there is nothing to be found. An id is never taken for one of something else. */
static int session_resume_exec(Containerd *containerd, const char *id, bool tty)
{
        bool is_taken = !id_is_valid(id) || container_table_find(&containerd->containers, id) || exec_sync_find(containerd, id) ||
                        session_find(containerd, id);
        int r = 0;

        if (!is_taken && orphan_resume(containerd, id, tty))
                return 0;
        if (!is_taken && containerd->recovery && containerd->n_resumed++ < STREAM_CLIENTS_MAX) {
                r = orphan_adopt(containerd, id);
                if (r == 0)
                        (void)orphan_resume(containerd, id, tty);
        } else {
                r = session_tell_end(containerd, id, 0, "containerd knows nothing of the command any more: its exit code is unknown");
        }
        return r < 0 ? fold(r) : 0;
}

int session_resume(Containerd *containerd, const char *id, const char *container_id, bool tty, bool attach)
{
        Session *session = session_find_open(containerd, id);
        int r = 0;

        if (session && !session->is_closed)
                session->is_unsure = false;
        else if (session && session->has_ended)
                r = session_tell_end(containerd, id, session->exit_code, session->lost ? session->lost : "");
        else if (attach)
                r = session_attach_resume_client(containerd, id, container_id);
        else
                r = session_resume_exec(containerd, id, tty);
        return r < 0 ? fold(r) : 0;
}

int session_on_told(Containerd *containerd)
{
        int r = 0;

        containerd->sessions_are_told = true;
        list_for_each_safe(i, next, &containerd->sessions) {
                Session *session = container_of(i, Session, link);
                if (r == 0 && session->is_unsure)
                        r = session_end_client(session);
        }
        if (r == 0)
                r = orphan_on_told(containerd);
        return r < 0 ? fold(r) : 0;
}
