/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc/edges/streamd-containerd.pb-c.h"
#include "ipc/edges/streamd-containerd.rows.h"
#include "ipc/edges/streamd-sandboxd.pb-c.h"
#include "ipc/edges/streamd-sandboxd.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/grpc-status.h"
#include "lib/log.h"
#include "lib/strings.h"
#include "services/streamd/streamd.h"
#include <event2/event.h>
#include <stdio.h>
#include <sys/socket.h>

static const struct {
        const char *prefix;
        ConnectionVerb verb;
        const char *name;
} connection_routes[] = {
        {"/exec/", CONNECTION_VERB_EXEC, "exec"},
        {"/attach/", CONNECTION_VERB_ATTACH, "attach"},
        {"/portforward/", CONNECTION_VERB_PORT_FORWARD, "port-forward"},
};

static Channel *connection_owner(const Connection *connection)
{
        return service_channel(connection->streamd->service, connection->verb == CONNECTION_VERB_PORT_FORWARD
                                                                     ? EDGE_STREAMD_SANDBOXD
                                                                     : EDGE_STREAMD_CONTAINERD);
}

Connection *connection_free(Connection *connection)
{
        if (!connection)
                return NULL;

        Streamd *streamd = connection->streamd;
        if (connection->state == CONNECTION_STATE_OPENING)
                channel_cancel(connection_owner(connection), connection->request_id);
        if (connection->event)
                event_free(connection->event);
        connection->fd = fd_close(connection->fd);
        list_remove(&connection->link);
        streamd->n_connections--;
        free(connection);
        if (streamd_update_listener(streamd) < 0)
                service_fail(streamd->service, -ENOMEM);
        return NULL;
}

static int connection_wait(Connection *connection, uint64_t usec)
{
        const struct timeval time = {.tv_sec = (time_t)(usec / USEC_PER_SEC), .tv_usec = (suseconds_t)(usec % USEC_PER_SEC)};
        return event_add(connection->event, &time) < 0 ? error_origin(-ENOMEM) : 0;
}

/* Answers and ends. The write side is closed first and the client's bytes are read away, so that a reset does not overtake
 * the answer. Small enough for any socket buffer: a client that has filled it with nothing read gets no answer. */
static int _printf_(4, 5) connection_answer(Connection *connection, const char *status, const char *headers,
                                            const char *format, ...)
{
        char text[512], answer[1024];
        va_list arguments;

        va_start(arguments, format);
        (void)vsnprintf(text, sizeof(text), format, arguments);
        va_end(arguments);
        int n = snprintf(answer, sizeof(answer),
                         "HTTP/1.1 %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %zu\r\n%sConnection: "
                         "close\r\n\r\n%s\n",
                         status, strlen(text) + 1, headers, text);
        log_info("stream: %s: %s", status, text);
        if (send(connection->fd, answer, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) != n ||
            shutdown(connection->fd, SHUT_WR) < 0) {
                (void)connection_free(connection);
                return 0;
        }
        connection->state = CONNECTION_STATE_ENDING;
        return connection_wait(connection, STREAMD_LINGER_USEC);
}

static int connection_answer_failed(Connection *connection, const Answer *answer)
{
        switch (answer->code) {
        case GRPC_STATUS_NOT_FOUND:
                return connection_answer(connection, "404 Not Found", "",
                                         "this URL is unknown, was used already, or has expired: ask for a new one");
        case GRPC_STATUS_UNIMPLEMENTED:
                return connection_answer(connection, "501 Not Implemented", "", "%s", answer->text);
        case GRPC_STATUS_UNAVAILABLE:
        case GRPC_STATUS_DEADLINE_EXCEEDED:
                return connection_answer(connection, "503 Service Unavailable", "", "%s: try again", answer->text);
        default:
                return connection_answer(connection, "500 Internal Server Error", "", "%s", answer->text);
        }
}

/* The owner gave up a session to us: it is closed again, because no stream protocol is spoken here yet. */
static int connection_refuse_session(Connection *connection, const Frame *frame)
{
        int r;

        if (connection->verb == CONNECTION_VERB_PORT_FORWARD) {
                const Bulkhead__StreamdSandboxd__ForwardOpened *opened =
                        (const Bulkhead__StreamdSandboxd__ForwardOpened *)frame->message;
                Bulkhead__StreamdSandboxd__ForwardClose end = BULKHEAD__STREAMD_SANDBOXD__FORWARD_CLOSE__INIT;
                end.session_id = opened->session_id;
                r = channel_event(connection_owner(connection), ROW_STREAMD_SANDBOXD_FORWARD_CLOSE, &end.base);
        } else {
                const Bulkhead__StreamdContainerd__SessionOpened *opened =
                        (const Bulkhead__StreamdContainerd__SessionOpened *)frame->message;
                Bulkhead__StreamdContainerd__SessionClose end = BULKHEAD__STREAMD_CONTAINERD__SESSION_CLOSE__INIT;
                end.session_id = opened->session_id;
                r = channel_event(connection_owner(connection), ROW_STREAMD_CONTAINERD_SESSION_CLOSE, &end.base);
        }
        if (r < 0)
                return fold(r);
        return connection_answer(connection, "501 Not Implemented", "",
                                 "%s over a stream is not built yet; `crictl exec -s` runs a command and collects its "
                                 "output",
                                 connection_routes[connection->verb].name);
}

static int connection_on_opened(void *userdata, const Answer *answer)
{
        Connection *connection = userdata;

        connection->state = CONNECTION_STATE_ENDING;
        int r = answer->outcome ? connection_answer_failed(connection, answer)
                                : connection_refuse_session(connection, answer->frame);
        return r ? fold(r) : 0;
}

static int connection_open(Connection *connection, const char *token)
{
        Channel *owner = connection_owner(connection);
        uint64_t deadline_usec = clock_monotonic_usec() + STREAMD_OPEN_USEC;
        ProtobufCBinaryData bytes = {.data = (uint8_t *)(uintptr_t)token, .len = strlen(token)};
        int r;

        connection->state = CONNECTION_STATE_OPENING;
        if (connection->verb == CONNECTION_VERB_PORT_FORWARD) {
                Bulkhead__StreamdSandboxd__ForwardOpen open = BULKHEAD__STREAMD_SANDBOXD__FORWARD_OPEN__INIT;
                open.token = bytes;
                r = channel_call(owner, ROW_STREAMD_SANDBOXD_FORWARD_OPEN, &open.base, NULL, 0, deadline_usec,
                                 connection_on_opened, connection, &connection->request_id);
        } else {
                Bulkhead__StreamdContainerd__SessionOpen open = BULKHEAD__STREAMD_CONTAINERD__SESSION_OPEN__INIT;
                open.token = bytes;
                r = channel_call(owner, ROW_STREAMD_CONTAINERD_SESSION_OPEN, &open.base, NULL, 0, deadline_usec,
                                 connection_on_opened, connection, &connection->request_id);
        }
        /* Meanwhile the client may say nothing; if it leaves, the request is cancelled. */
        return r ? fold(r) : connection_wait(connection, STREAMD_OPEN_USEC + USEC_PER_SEC);
}

/* base64url, as tokens are written. */
static bool token_is_valid(const char *token)
{
        size_t n = strlen(token);

        return n > 0 && n <= STREAMD_TOKEN_MAX &&
               strspn(token, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == n;
}

static int connection_route(Connection *connection, const HttpHead *head)
{
        for (size_t i = 0; i < ARRAY_SIZE(connection_routes); i++) {
                if (!str_has_prefix(head->path, connection_routes[i].prefix))
                        continue;
                const char *token = head->path + strlen(connection_routes[i].prefix);
                if (!token_is_valid(token))
                        break;
                if (!str_equal(head->method, "GET") && !str_equal(head->method, "POST"))
                        return connection_answer(connection, "405 Method Not Allowed", "Allow: GET, POST\r\n",
                                                 "%s is not a method of a stream", head->method);
                /* Before the token is presented, which uses it up. */
                if (!http_head_has_token(head, "connection", "upgrade") || !http_head_find(head, "upgrade"))
                        return connection_answer(connection, "426 Upgrade Required", "Upgrade: websocket, SPDY/3.1\r\n",
                                                 "a stream starts with an upgrade to WebSocket or SPDY/3.1");
                connection->verb = connection_routes[i].verb;
                return connection_open(connection, token);
        }
        return connection_answer(connection, "404 Not Found", "", "there is nothing here");
}

static int connection_on_head(Connection *connection)
{
        HttpHead head;

        switch (http_head_parse(connection->bytes, connection->n_bytes, &head)) {
        case 0:
                return connection_route(connection, &head);
        case HTTP_E_INCOMPLETE:
                return connection_wait(connection, STREAMD_HEAD_USEC);
        case HTTP_E_TOO_LONG:
                return connection_answer(connection, "431 Request Header Fields Too Large", "",
                                         "the head of the request is too long");
        case HTTP_E_VERSION:
                return connection_answer(connection, "505 HTTP Version Not Supported", "", "HTTP/1.1 is spoken here");
        default:
                return connection_answer(connection, "400 Bad Request", "", "the head of the request is malformed");
        }
}

static int connection_on_bytes(Connection *connection)
{
        char away[4096];
        bool head = connection->state == CONNECTION_STATE_HEAD;
        char *to = head ? connection->bytes + connection->n_bytes : away;
        size_t room = head ? sizeof(connection->bytes) - connection->n_bytes : sizeof(away);
        ssize_t n = recv(connection->fd, to, room, MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return connection_wait(connection, STREAMD_HEAD_USEC);
        if (n <= 0) {
                (void)connection_free(connection);
                return 0;
        }
        if (head) {
                connection->n_bytes += (size_t)n;
                return connection_on_head(connection);
        }
        if (connection->state == CONNECTION_STATE_OPENING) {
                /* Nothing may follow the head before the upgrade is answered. */
                channel_cancel(connection_owner(connection), connection->request_id);
                connection->state = CONNECTION_STATE_ENDING;
                return connection_answer(connection, "400 Bad Request", "", "bytes came before the upgrade was answered");
        }
        return connection_wait(connection, STREAMD_LINGER_USEC);
}

static void connection_on_event(evutil_socket_t fd, short what, void *userdata)
{
        Connection *connection = userdata;
        Service *service = connection->streamd->service;

        if (what & EV_READ) {
                int r = connection_on_bytes(connection);
                if (r)
                        service_fail(service, fold(r));
        } else {
                (void)connection_free(connection); /* too slow */
        }
}

int connection_new(Streamd *streamd, int fd)
{
        Connection *connection = calloc(1, sizeof(*connection));

        if (!connection) {
                (void)close(fd);
                return error_origin(-ENOMEM);
        }
        connection->streamd = streamd;
        connection->fd = fd;
        list_append(&streamd->connections, &connection->link);
        streamd->n_connections++;
        connection->event = event_new(service_loop(streamd->service), fd, EV_READ, connection_on_event, connection);
        if (!connection->event || connection_wait(connection, STREAMD_HEAD_USEC) < 0) {
                (void)connection_free(connection);
                return error_origin(-ENOMEM);
        }
        return streamd_update_listener(streamd);
}
