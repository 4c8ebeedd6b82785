/* SPDX-License-Identifier: Apache-2.0 */
#include "services/streamd/connection.h"
#include "ipc/edges/streamd-containerd.pb-c.h"
#include "ipc/edges/streamd-containerd.rows.h"
#include "ipc/edges/streamd-sandboxd.pb-c.h"
#include "ipc/edges/streamd-sandboxd.rows.h"
#include "lib/error.h"
#include "lib/grpc-status.h"
#include "lib/log.h"
#include "services/streamd/forward.h"
#include "services/streamd/opening.h"
#include "services/streamd/session.h"
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>

/* How often a client that is not read is looked after. */
#define CONNECTION_LOOK_SECONDS 2

EdgeId connection_edge(const Connection *connection)
{
        return connection->handshake.verb == HANDSHAKE_PORT_FORWARD ? EDGE_STREAMD_SANDBOXD : EDGE_STREAMD_CONTAINERD;
}

Channel *connection_owner(const Connection *connection)
{
        return service_channel(connection->streamd->service, connection_edge(connection));
}

Connection *connection_free(Connection *connection)
{
        if (!connection)
                return NULL;

        Streamd *streamd = connection->streamd;
        struct event *events[] = {connection->read_event, connection->write_event, connection->look_timer,
                                  connection->timer};
        if (connection->opening)
                opening_leave(connection->opening);
        connection->session = session_free(connection->session);
        connection->forward = forward_free(connection->forward);
        for (size_t i = 0; i < ARRAY_SIZE(events); i++)
                if (events[i])
                        event_free(events[i]);
        connection->tls = tls_peer_free(connection->tls);
        connection->fd = fd_close(connection->fd);
        byte_queue_done(&connection->in);
        byte_queue_done(&connection->out);
        list_remove(&connection->link);
        streamd->n_connections--;
        free(connection);
        if (streamd_update_listener(streamd) < 0)
                service_fail(streamd->service, -ENOMEM);
        return NULL;
}

int connection_set_timer(Connection *connection, uint64_t usec)
{
        if (usec == USEC_INFINITY)
                usec = connection->streamd->config->idle_timeout_sec * USEC_PER_SEC;
        const struct timeval time = {.tv_sec = (time_t)(usec / USEC_PER_SEC), .tv_usec = (suseconds_t)(usec % USEC_PER_SEC)};
        return event_add(connection->timer, &time) < 0 ? error_origin(-ENOMEM) : 0;
}

void connection_finish(Connection *connection)
{
        connection->session = session_free(connection->session);
        connection->forward = forward_free(connection->forward);
        connection->state = CONNECTION_FLUSHING;
        connection->traffic_usec = clock_monotonic_usec();
        if (connection_set_timer(connection, STREAMD_FLUSH_USEC) < 0)
                connection->dead = true;
}

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
        connection_finish(connection);
        int r = byte_queue_append(&connection->out, answer, (size_t)n);
        return r ? fold(r) : 0;
}

/* 101, and then what the session or forward has to say. */
static int connection_stream(Connection *connection)
{
        char answer[HANDSHAKE_ANSWER_MAX];

        connection->state = CONNECTION_STREAMING;
        connection->traffic_usec = clock_monotonic_usec();
        int r = byte_queue_append(&connection->out, answer, handshake_write(&connection->handshake, answer));
        if (r == 0)
                r = connection->session ? session_start(connection->session) : forward_start(connection->forward);
        return r ? fold(r) : 0;
}

/* What is wrong with the URL, or passes, is told in HTTP. What is wrong with the session is told where its client looks, on the
 * error stream: there it becomes the text that a person reads. */
static int connection_answer_failed(Connection *connection, const Answer *answer)
{
        switch (answer->code) {
        case GRPC_STATUS_NOT_FOUND:
                return connection_answer(connection, "404 Not Found", "",
                                         "this URL is unknown, was used already, or has expired: ask for a new one");
        case GRPC_STATUS_RESOURCE_EXHAUSTED:
                return connection_answer(connection, "429 Too Many Requests", "Retry-After: 10\r\n", "%s", answer->text);
        case GRPC_STATUS_UNAVAILABLE:
        case GRPC_STATUS_DEADLINE_EXCEEDED:
                return connection_answer(connection, "503 Service Unavailable", "", "%s: try again", answer->text);
        default:
                break;
        }
        if (connection->handshake.verb == HANDSHAKE_PORT_FORWARD)
                return connection_answer(connection, "500 Internal Server Error", "", "%s", answer->text);
        int r = session_new_failed(connection, answer->text, &connection->session);
        return r ? fold(r) : connection_stream(connection);
}

/* Where a session's fds and a client's socket are held is here, so a pod's share is counted here: also of clients whose session is
 * over, but who take their time to read the last of it. */
static bool connection_is_within_share(const Connection *connection)
{
        size_t n = 0;

        list_for_each(i, &connection->streamd->connections)
                n += str_equal(container_of(i, Connection, link)->pod_id, connection->pod_id);
        return n <= STREAM_CLIENTS_POD_MAX; /* with this one */
}

/* The owner gave the session to us: agree with the client, and begin. */
static int connection_start(Connection *connection, Frame *frame)
{
        bool forwards = connection->handshake.verb == HANDSHAKE_PORT_FORWARD;
        const char *pod_id = forwards ? ((const Bulkhead__StreamdSandboxd__ForwardOpened *)frame->message)->pod_id
                                      : ((const Bulkhead__StreamdContainerd__SessionOpened *)frame->message)->pod_id;
        int r;

        (void)str_copy(connection->pod_id, sizeof(connection->pod_id), pod_id);
        if (!connection_is_within_share(connection)) {
                connection->pod_id[0] = '\0'; /* it is served by nothing */
                r = opening_refuse(connection->streamd, connection_edge(connection), frame);
                return r ? fold(r)
                         : connection_answer(connection, "429 Too Many Requests", "Retry-After: 10\r\n",
                                             "pod %s has %d streams open, which is a pod's share: end some of them", pod_id,
                                             STREAM_CLIENTS_POD_MAX);
        }
        r = forwards ? forward_new(connection, frame, &connection->forward) : session_new(connection, frame, &connection->session);
        if (r > 0)
                return connection_answer(connection, "500 Internal Server Error", "", "%s: the answer of %s lacks a stream",
                                         handshake_verb_name(connection->handshake.verb),
                                         channel_peer_name(connection_owner(connection)));
        return r ? fold(r) : connection_stream(connection);
}

void connection_on_opened(Connection *connection, const Answer *answer)
{
        connection->opening = NULL;
        connection->state = CONNECTION_FLUSHING; /* the request is over */
        int r = answer->outcome ? connection_answer_failed(connection, answer) : connection_start(connection, answer->frame);
        connection_settle(connection, r);
}

static int connection_open(Connection *connection)
{
        int r = opening_new(connection, &connection->opening);

        connection->state = CONNECTION_OPENING;
        /* Meanwhile the client may say nothing; if it leaves, the owner hears of it. */
        return r ? fold(r) : connection_set_timer(connection, STREAMD_OPEN_USEC);
}

static int connection_on_request(Connection *connection, const HttpHead *head)
{
        switch (handshake_read(head, &connection->handshake)) {
        case 0:
                return connection_open(connection);
        case HANDSHAKE_E_METHOD:
                return connection_answer(connection, "405 Method Not Allowed", "Allow: GET, POST\r\n",
                                         "%.32s is not a method of a stream", head->method);
        case HANDSHAKE_E_UPGRADE:
                return connection_answer(connection, "426 Upgrade Required", "Upgrade: websocket, SPDY/3.1\r\n",
                                         "a stream starts with an upgrade to WebSocket or SPDY/3.1");
        case HANDSHAKE_E_WEBSOCKET:
                return connection_answer(connection, "400 Bad Request", "Sec-WebSocket-Version: 13\r\n",
                                         "the WebSocket handshake lacks a good key, or version 13");
        case HANDSHAKE_E_PROTOCOL:
                return connection_answer(connection, "403 Forbidden", "",
                                         "no sub-protocol in common: exec and attach are v4.channel.k8s.io (SPDY/3.1) or "
                                         "v5.channel.k8s.io (WebSocket) and older, port-forward is portforward.k8s.io, "
                                         "SPDY/3.1+portforward.k8s.io or v4.channel.k8s.io (WebSocket)");
        default:
                return connection_answer(connection, "404 Not Found", "", "there is nothing here");
        }
}

static int connection_on_head(Connection *connection)
{
        ByteQueue in = connection->in;
        HttpHead head;
        int r;

        switch (http_head_parse((char *)in.bytes + in.start, byte_queue_length(&in), &head)) {
        case 0:
                /* Nothing may follow it before the upgrade is answered. */
                if (head.n_bytes < byte_queue_length(&in))
                        r = connection_answer(connection, "400 Bad Request", "", "bytes came before the upgrade was answered");
                else
                        r = connection_on_request(connection, &head);
                break;
        case HTTP_E_INCOMPLETE:
                return 0;
        case HTTP_E_TOO_LONG:
                r = connection_answer(connection, "431 Request Header Fields Too Large", "",
                                      "the head of the request is too long");
                break;
        case HTTP_E_VERSION:
                r = connection_answer(connection, "505 HTTP Version Not Supported", "", "HTTP/1.1 is spoken here");
                break;
        default:
                r = connection_answer(connection, "400 Bad Request", "", "the head of the request is malformed");
        }
        byte_queue_done(&connection->in);
        return r ? fold(r) : 0;
}

static int connection_feed(Connection *connection, uint8_t *bytes, size_t n)
{
        switch (connection->state) {
        case CONNECTION_HEAD: {
                int r = byte_queue_append(&connection->in, bytes, n);
                return r ? fold(r) : connection_on_head(connection);
        }
        case CONNECTION_OPENING:
                opening_leave(connection->opening);
                return connection_answer(connection, "400 Bad Request", "", "bytes came before the upgrade was answered");
        case CONNECTION_STREAMING:
                return connection->session ? session_feed(connection->session, bytes, n)
                                           : forward_feed(connection->forward, bytes, n);
        case CONNECTION_FLUSHING:
        case CONNECTION_ENDING:
                return 0; /* read away, so that no reset overtakes what was sent */
        }
        return 0;
}

static int connection_read(Connection *connection)
{
        uint8_t bytes[STREAMD_READ_BYTES];
        size_t room = connection->state == CONNECTION_HEAD ? HTTP_HEAD_BYTES_MAX - byte_queue_length(&connection->in)
                                                           : sizeof(bytes);
        ssize_t n = connection->tls ? tls_peer_receive(connection->tls, bytes, room)
                                    : recv(connection->fd, bytes, room, MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        if (n <= 0) {
                connection->dead = true;
                return 0;
        }
        connection->traffic_usec = clock_monotonic_usec();
        int r = connection_feed(connection, bytes, (size_t)n);
        return r ? fold(r) : 0;
}

static int connection_on_readable(Connection *connection)
{
        int r;

        /* Of a record of TLS all is taken, for the socket tells of it once. */
        do {
                r = connection_read(connection);
        } while (r == 0 && !connection->dead && connection->tls && tls_peer_has_pending(connection->tls));
        return r ? fold(r) : 0;
}

static int connection_on_timer(Connection *connection)
{
        uint64_t idle = clock_monotonic_usec() - connection->traffic_usec;
        uint64_t idle_max = connection->streamd->config->idle_timeout_sec * USEC_PER_SEC;
        int r = 0;

        switch (connection->state) {
        case CONNECTION_HEAD:
        case CONNECTION_ENDING:
                connection->dead = true;
                break;
        case CONNECTION_OPENING:
                opening_leave(connection->opening);
                r = connection_answer(connection, "503 Service Unavailable", "", "%s did not answer in %u seconds: try again",
                                      channel_peer_name(connection_owner(connection)),
                                      (unsigned)(STREAMD_OPEN_USEC / USEC_PER_SEC));
                break;
        case CONNECTION_FLUSHING:
                if (idle < STREAMD_FLUSH_USEC)
                        r = connection_set_timer(connection, STREAMD_FLUSH_USEC - idle);
                else
                        connection->dead = true;
                break;
        case CONNECTION_STREAMING:
                if (idle >= idle_max) {
                        log_info("stream: %s was idle for %u seconds: it ends",
                                 handshake_verb_name(connection->handshake.verb),
                                 connection->streamd->config->idle_timeout_sec);
                        connection_finish(connection);
                        break;
                }
                r = connection_set_timer(connection, idle_max - idle);
                if (r == 0)
                        r = connection->session ? session_on_timer(connection->session)
                                                : forward_on_timer(connection->forward);
                break;
        }
        return r ? fold(r) : 0;
}

static ssize_t connection_send(Connection *connection, const uint8_t *bytes, size_t n)
{
        return connection->tls ? tls_peer_send(connection->tls, bytes, n)
                               : send(connection->fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Sends what the socket takes; what is left waits for it to be writable. */
static int connection_flush(Connection *connection)
{
        while (byte_queue_length(&connection->out) > 0) {
                ssize_t n = connection_send(connection, byte_queue_head(&connection->out), byte_queue_length(&connection->out));
                if (n < 0 && errno == EAGAIN)
                        return event_add(connection->write_event, NULL) < 0 ? error_origin(-ENOMEM) : 0;
                if (n <= 0) {
                        connection->dead = true;
                        break;
                }
                connection->traffic_usec = clock_monotonic_usec();
                byte_queue_consume(&connection->out, (size_t)n);
        }
        return 0;
}

/* Until the socket takes no more, or there is no more. */
static int connection_advance(Connection *connection)
{
        bool more;
        int r;

        do {
                r = connection_flush(connection);
                if (r || connection->dead)
                        break;
                bool stuck = byte_queue_length(&connection->out) > 0;
                if (connection->session)
                        r = session_continue(connection->session);
                else if (connection->forward)
                        r = forward_continue(connection->forward);
                more = !stuck && byte_queue_length(&connection->out) > 0;
        } while (r == 0 && more);
        return r ? fold(r) : 0;
}

static int connection_set_look(Connection *connection)
{
        const struct timeval time = {.tv_sec = CONNECTION_LOOK_SECONDS};

        return event_add(connection->look_timer, &time) < 0 ? error_origin(-ENOMEM) : 0;
}

/* The client is not read, so its end is not seen in what it sends. (Nor is it in the state while bytes that it wrote before are still
 * at its side; keep-alive sees that, later.) */
static void connection_on_look(evutil_socket_t fd, short what, void *userdata)
{
        Connection *connection = userdata;
        struct tcp_info info = {0};
        socklen_t size = sizeof(info);

        if (getsockopt(connection->fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0 || info.tcpi_state != TCP_ESTABLISHED)
                connection->dead = true;
        connection_settle(connection, 0);
}

static int connection_update(Connection *connection)
{
        size_t n_out = byte_queue_length(&connection->out);
        bool choked = n_out >= STREAMD_OUT_HIGH || (connection->choked && n_out >= STREAMD_OUT_HIGH / 2);
        bool reads = connection->state != CONNECTION_STREAMING ||
                     (connection->n_in_waiting < STREAMD_IN_HIGH && n_out < STREAMD_OUT_MAX);

        if (connection->state == CONNECTION_FLUSHING && n_out == 0) {
                if (connection->tls)
                        tls_peer_end(connection->tls);
                (void)shutdown(connection->fd, SHUT_WR);
                connection->state = CONNECTION_ENDING;
                int r = connection_set_timer(connection, STREAMD_LINGER_USEC);
                if (r)
                        return fold(r);
        }
        if (choked != connection->choked && connection->session)
                session_set_reading(connection->session, !choked);
        if (choked != connection->choked && connection->forward)
                forward_set_reading(connection->forward, !choked);
        connection->choked = choked;
        if ((reads ? event_add(connection->read_event, NULL) : event_del(connection->read_event)) < 0 ||
            (reads && event_del(connection->look_timer) < 0))
                return error_origin(-ENOMEM);
        return reads || event_pending(connection->look_timer, EV_TIMEOUT, NULL) ? 0 : connection_set_look(connection);
}

void connection_settle(Connection *connection, int r)
{
        Service *service = connection->streamd->service;

        if (r == 0 && !connection->dead)
                r = connection_advance(connection);
        if (r == 0 && !connection->dead)
                r = connection_update(connection);
        if (r)
                service_fail(service, fold(r));
        else if (connection->dead)
                (void)connection_free(connection);
}

static void connection_on_event(evutil_socket_t fd, short what, void *userdata)
{
        Connection *connection = userdata;
        int r = 0;

        if (what & EV_READ)
                r = connection_on_readable(connection);
        else if (what & EV_TIMEOUT)
                r = connection_on_timer(connection);
        /* EV_WRITE: settling sends. */
        connection_settle(connection, r);
}

bool connection_make_room(Streamd *streamd)
{
        Connection *found = NULL;

        /* The list is in the order of their age. Whoever reads the last bytes of a session goes only if there is nobody else. */
        list_for_each(i, &streamd->connections) {
                Connection *connection = container_of(i, Connection, link);
                bool has_pod = connection->pod_id[0];
                if ((has_pod && connection->state != CONNECTION_ENDING) || connection->state == CONNECTION_OPENING)
                        continue;
                if (!found || !has_pod)
                        found = connection;
                if (!has_pod)
                        break;
        }
        if (!found)
                return false;
        log_debug("stream: %d clients are connected: the oldest that is not served is sent away", STREAM_CLIENTS_MAX);
        (void)connection_free(found);
        return true;
}

int connection_new(Streamd *streamd, int fd)
{
        struct event_base *loop = service_loop(streamd->service);
        Connection *connection = calloc(1, sizeof(*connection));
        const struct {
                int level, name, value;
        } options[] = {
                /* Keystrokes go at once. */
                {IPPROTO_TCP, TCP_NODELAY, 1},
                /* A client whose machine is gone is noticed after two minutes. */
                {SOL_SOCKET, SO_KEEPALIVE, 1},
                {IPPROTO_TCP, TCP_KEEPIDLE, 60},
                {IPPROTO_TCP, TCP_KEEPINTVL, 20},
                {IPPROTO_TCP, TCP_KEEPCNT, 3},
        };

        if (!connection) {
                (void)close(fd);
                return error_origin(-ENOMEM);
        }
        connection->streamd = streamd;
        connection->fd = fd;
        list_append(&streamd->connections, &connection->link);
        streamd->n_connections++;
        for (size_t i = 0; i < ARRAY_SIZE(options); i++) /* none is worth failing for */
                (void)setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(options[i].value));
        connection->read_event = event_new(loop, fd, EV_READ | EV_PERSIST, connection_on_event, connection);
        connection->write_event = event_new(loop, fd, EV_WRITE, connection_on_event, connection);
        connection->look_timer = event_new(loop, -1, EV_TIMEOUT, connection_on_look, connection);
        connection->timer = event_new(loop, -1, EV_TIMEOUT, connection_on_event, connection);
        if ((streamd->tls && tls_peer_new(streamd->tls, fd, &connection->tls) < 0) || !connection->read_event ||
            !connection->write_event || !connection->look_timer || !connection->timer ||
            event_add(connection->read_event, NULL) < 0 || connection_set_timer(connection, STREAMD_HEAD_USEC) < 0) {
                (void)connection_free(connection);
                return error_origin(-ENOMEM);
        }
        return 0;
}
