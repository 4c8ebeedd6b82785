/* SPDX-License-Identifier: Apache-2.0 */
#include "services/streamd/forward.h"
#include "ipc/edges/streamd-sandboxd.pb-c.h"
#include "ipc/edges/streamd-sandboxd.rows.h"
#include "lib/error.h"
#include "lib/log.h"
#include "lib/strings.h"
#include <stdio.h>

#define FORWARD_REQUEST_ID_MAX 64
#define FORWARD_CONNECT_USEC (30 * USEC_PER_SEC)

enum { FORWARD_DATA, FORWARD_ERROR };

/* The pair owns its streams: when it ends, each is ended or reset. */
typedef struct Pair {
        List link; /* in Forward.pairs */
        Forward *forward; /* borrowed; owns us */
        char request_id[FORWARD_REQUEST_ID_MAX];
        uint16_t port;
        SpdyStream *streams[2]; /* FORWARD_DATA, FORWARD_ERROR; NULL: not there yet, or gone */
        uint64_t since_usec; /* it was created; after the pod's end: the client sent something */
        uint32_t call_id; /* forward_connect under way, if connecting */
        bool connecting;
        bool connected;
        size_t index;    /* of its port, where the forward has channels */
        bool is_counted; /* in Streamd.n_pairs */
        bool is_refused; /* there are too many */
        bool data_ended; /* the client sends no more, also before there is a socket */
        Leg leg;
        ByteQueue early; /* what the client sent before there was a socket; counted as waiting */
} Pair;

static Pair *pair_free(Pair *pair)
{
        Forward *forward = pair->forward;

        if (pair->connecting)
                channel_cancel(connection_owner(forward->connection), pair->call_id);
        leg_done(&pair->leg);
        forward->connection->n_in_waiting -= byte_queue_length(&pair->early);
        byte_queue_done(&pair->early);
        list_remove(&pair->link);
        forward->connection->streamd->n_pairs -= pair->is_counted;
        free(pair);
        return NULL;
}

/* FIN on the stream; the pair forgets it if that was its last use. */
static int pair_end_stream(Pair *pair, int kind)
{
        SpdyStream *stream = pair->streams[kind];

        if (!stream || stream->out_ended)
                return 0;
        if (kind == FORWARD_ERROR)
                stream->owner = NULL; /* what may still come on it means nothing */
        if (kind == FORWARD_ERROR || stream->in_ended)
                pair->streams[kind] = NULL;
        int r = spdy_stream_send(&pair->forward->spdy, stream, NULL, 0, true);
        return r ? fold(r) : 0;
}

/* Both directions are over, or one cannot go on. */
static int pair_end(Pair *pair)
{
        SpdyStream *data;
        int r = pair_end_stream(pair, FORWARD_DATA);

        if (r == 0)
                r = pair_end_stream(pair, FORWARD_ERROR);
        data = pair->streams[FORWARD_DATA];
        if (r == 0 && data) /* the client would go on sending */
                r = spdy_stream_reset(&pair->forward->spdy, data, SPDY_STATUS_CANCEL);
        (void)pair_free(pair);
        return r ? fold(r) : 0;
}

/* As kubelet's server does: the text on the error stream, then both are reset, so that the client may try anew. */
static int _printf_(2, 3) pair_fail(Pair *pair, const char *format, ...)
{
        SpdySession *spdy = &pair->forward->spdy;
        SpdyStream *error = pair->streams[FORWARD_ERROR], *data = pair->streams[FORWARD_DATA];
        char text[512];
        va_list arguments;
        int r = 0;

        va_start(arguments, format);
        (void)vsnprintf(text, sizeof(text), format, arguments);
        va_end(arguments);
        log_info("port-forward %s: %s", pair->forward->id, text);
        if (pair->forward->has_channels)
                r = port_channels_send(&pair->forward->channels, pair->index, true, text, strlen(text));
        if (error) {
                error->owner = NULL;
                r = spdy_stream_send(spdy, error, text, strlen(text), true);
        }
        if (r == 0 && data)
                r = spdy_stream_reset(spdy, data, SPDY_STATUS_CANCEL);
        (void)pair_free(pair);
        return r ? fold(r) : 0;
}

static int pair_on_socket_bytes(Leg *leg, const uint8_t *bytes, size_t n)
{
        Pair *pair = leg->owner;
        SpdyStream *data = pair->streams[FORWARD_DATA];
        int r = pair->forward->has_channels ? port_channels_send(&pair->forward->channels, pair->index, false, bytes, n)
                : data                      ? spdy_stream_send(&pair->forward->spdy, data, bytes, n, false)
                                            : 0;

        return r ? fold(r) : 0;
}

/* The pod said all: the client is told, also that there was no error, which old clients wait for before they end. */
static int pair_on_socket_end(Leg *leg)
{
        Pair *pair = leg->owner;
        int r = pair_end_stream(pair, FORWARD_DATA);

        if (r == 0)
                r = pair_end_stream(pair, FORWARD_ERROR);
        if (r)
                return fold(r);
        pair->since_usec = clock_monotonic_usec();
        return 0; /* forward_continue() ends the pair: here its leg is in use */
}

static const LegHandlers pair_leg_handlers = {.on_bytes = pair_on_socket_bytes, .on_eof = pair_on_socket_end};

static int pair_on_connected(void *userdata, const Answer *answer)
{
        Pair *pair = userdata;
        Connection *connection = pair->forward->connection;
        int r = 0;

        pair->connecting = false;
        int fd = answer->outcome ? -1 : frame_take_fd(answer->frame, 0);
        if (fd < 0) {
                r = pair_fail(pair, "error forwarding port %u: %s", pair->port,
                              answer->outcome ? answer->text : "sandboxd sent no socket");
                connection_settle(connection, r);
                return 0;
        }
        pair->connected = true;
        r = leg_init(&pair->leg, connection, fd, true, &pair_leg_handlers, pair, 0);
        if (r == 0 && byte_queue_length(&pair->early) > 0) {
                ByteQueue early = pair->early;
                pair->early = BYTE_QUEUE_NULL;
                connection->n_in_waiting -= byte_queue_length(&early);
                r = leg_write(&pair->leg, byte_queue_head(&early), byte_queue_length(&early));
                byte_queue_done(&early);
        }
        if (r == 0 && pair->data_ended)
                r = leg_end(&pair->leg);
        if (r == 0)
                leg_set_reading(&pair->leg, !connection->choked);
        connection_settle(connection, r);
        return 0;
}

/* What is bounded is the sockets: those of all, and of one pod. */
static bool pair_count(Pair *pair)
{
        Streamd *streamd = pair->forward->connection->streamd;
        size_t n = 0;

        list_for_each(i, &streamd->forwards) {
                const Forward *other = container_of(i, Forward, link);
                if (!str_equal(other->connection->pod_id, pair->forward->connection->pod_id))
                        continue;
                list_for_each(j, &other->pairs)
                        n += container_of(j, Pair, link)->is_counted;
        }
        if (streamd->n_pairs >= STREAM_PAIRS_MAX || n >= STREAM_PAIRS_POD_MAX)
                return false;
        streamd->n_pairs++;
        pair->is_counted = true;
        return true;
}

static int pair_connect(Pair *pair)
{
        Bulkhead__StreamdSandboxd__ForwardConnect connect = BULKHEAD__STREAMD_SANDBOXD__FORWARD_CONNECT__INIT;

        if (!pair_count(pair)) {
                pair->is_refused = true; /* forward_continue() says so: here its streams are not answered yet */
                return 0;
        }
        connect.session_id = pair->forward->id;
        connect.port = pair->port;
        pair->connecting = true;
        int r = channel_call(connection_owner(pair->forward->connection), ROW_STREAMD_SANDBOXD_FORWARD_CONNECT, &connect.base,
                             NULL, 0, clock_monotonic_usec() + FORWARD_CONNECT_USEC, pair_on_connected, pair, &pair->call_id);
        return r ? fold(r) : 0;
}

static Pair *forward_find(Forward *forward, const char *request_id)
{
        list_for_each(i, &forward->pairs) {
                Pair *pair = container_of(i, Pair, link);
                if (str_equal(pair->request_id, request_id))
                        return pair;
        }
        return NULL;
}

static int forward_add_pair(Forward *forward, const char *request_id, uint16_t port, Pair **ret)
{
        Pair *pair = calloc(1, sizeof(*pair));
        if (!pair)
                return error_origin(-ENOMEM);
        pair->forward = forward;
        (void)str_copy(pair->request_id, sizeof(pair->request_id), request_id);
        pair->port = port;
        pair->since_usec = clock_monotonic_usec();
        pair->leg = LEG_NULL;
        list_append(&forward->pairs, &pair->link);
        *ret = pair;
        return 0;
}

/* Old clients give no request id, but open error and data stream one after the other. */
static bool forward_read_request_id(const SpdyStream *stream, const SpdyHeaders *headers, int kind, char *to, size_t size)
{
        const char *id = spdy_headers_find(headers, "requestid");

        if (id)
                return *id && str_copy(to, size, id);
        uint32_t first = kind == FORWARD_ERROR ? stream->id : stream->id - 2;
        return (size_t)snprintf(to, size, "%u", first) < size;
}

static int forward_on_stream(void *userdata, SpdyStream *stream, const SpdyHeaders *headers)
{
        Forward *forward = userdata;
        const char *type = spdy_headers_find(headers, "streamtype"), *port_text = spdy_headers_find(headers, "port");
        char request_id[FORWARD_REQUEST_ID_MAX];
        uint64_t port;

        int kind = str_equal(type, "data") ? FORWARD_DATA : FORWARD_ERROR;
        if ((kind == FORWARD_ERROR && !str_equal(type, "error")) || !port_text || !u64_parse(port_text, UINT16_MAX, &port) ||
            port == 0 || !forward_read_request_id(stream, headers, kind, request_id, sizeof(request_id)))
                return SPDY_E_REFUSED;
        Pair *pair = forward_find(forward, request_id);
        if (!pair) {
                int r = forward_add_pair(forward, request_id, (uint16_t)port, &pair);
                if (r)
                        return r < 0 ? fold(r) : r;
        } else if (pair->streams[kind] || pair->connecting || pair->connected || pair->port != port) {
                return SPDY_E_REFUSED;
        }
        stream->kind = kind;
        stream->owner = pair;
        pair->streams[kind] = stream;
        if (!pair->streams[FORWARD_DATA] || !pair->streams[FORWARD_ERROR])
                return 0;
        int r = pair_connect(pair);
        return r ? fold(r) : 0;
}

/* For the pod. */
static int pair_write(Pair *pair, const uint8_t *bytes, size_t n)
{
        int r;

        if (pair->connected) {
                if (pair->leg.eof)
                        pair->since_usec = clock_monotonic_usec();
                r = leg_write(&pair->leg, bytes, n);
        } else {
                r = byte_queue_append(&pair->early, bytes, n);
                if (r == 0)
                        pair->forward->connection->n_in_waiting += n;
        }
        return r ? fold(r) : 0;
}

static int forward_on_data(void *userdata, SpdyStream *stream, const uint8_t *bytes, size_t n)
{
        Pair *pair = stream->owner;
        int r = stream->kind == FORWARD_DATA && pair ? pair_write(pair, bytes, n) : 0;

        return r ? fold(r) : 0;
}

/* A channel whose connection is over has no end that the client would know of. */
static int forward_on_channel(void *userdata, size_t port_index, const uint8_t *bytes, size_t n)
{
        Forward *forward = userdata;
        int r = 0;

        list_for_each(i, &forward->pairs) {
                Pair *pair = container_of(i, Pair, link);
                if (pair->index == port_index)
                        r = r ? r : pair_write(pair, bytes, n);
        }
        return r ? fold(r) : 0;
}

static int forward_on_end(void *userdata, SpdyStream *stream, bool reset)
{
        Pair *pair = stream->owner;
        int r = 0;

        if (!pair)
                return 0;
        if (reset)
                pair->streams[stream->kind] = NULL;
        if (stream->kind != FORWARD_DATA) {
                /* Its client writes no errors. Reset before the pair was complete: it never will be. */
                if (reset && !pair->connecting && !pair->connected)
                        pair->since_usec = 0;
                return 0;
        }
        pair->data_ended = true;
        if (stream->out_ended)
                pair->streams[FORWARD_DATA] = NULL; /* it goes after this call */
        if (pair->connected)
                r = leg_end(&pair->leg);
        if (reset)
                r = r ? r : pair_end(pair);
        return r ? fold(r) : 0;
}

static const SpdyHandlers forward_spdy_handlers = {
        .on_stream = forward_on_stream,
        .on_data = forward_on_data,
        .on_end = forward_on_end,
};

static int forward_on_part(void *userdata, bool first, bool last, uint8_t *bytes, size_t n)
{
        Forward *forward = userdata;
        int r = spdy_session_feed(&forward->spdy, bytes, n); /* a byte stream: where messages end means nothing */

        if (r < 0)
                return fold(r);
        return r == 0 ? 0 : r == SPDY_E_GOODBYE ? (int)WEBSOCKET_E_GOODBYE : (int)WEBSOCKET_E_VIOLATION;
}

static const WebsocketHandlers forward_websocket_handlers = {.on_part = forward_on_part};

int forward_new(Connection *connection, Frame *frame, Forward **ret)
{
        const Bulkhead__StreamdSandboxd__ForwardOpened *opened =
                (const Bulkhead__StreamdSandboxd__ForwardOpened *)frame->message;
        Forward *forward = calloc(1, sizeof(*forward));

        if (!forward)
                return error_origin(-ENOMEM);
        forward->id = strdup(opened->session_id);
        if (!forward->id) {
                free(forward);
                return error_origin(-ENOMEM);
        }
        forward->connection = connection;
        list_append(&connection->streamd->forwards, &forward->link);
        list_init(&forward->pairs);
        forward->has_channels = connection->handshake.protocol != NULL;
        forward->n_ports = opened->n_ports;
        for (size_t i = 0; i < MIN2(opened->n_ports, (size_t)PORT_CHANNELS_PORTS_MAX); i++)
                forward->ports[i] = opened->ports[i];
        spdy_session_init(&forward->spdy, &forward_spdy_handlers, forward, &connection->out, FORWARD_STREAMS_MAX);
        if (connection->handshake.medium == MUX_MEDIUM_WEBSOCKET) {
                forward->spdy.in_websocket = true;
                websocket_session_init(&forward->websocket, &forward_websocket_handlers, forward, &connection->out);
        }
        *ret = forward;
        return 0;
}

Forward *forward_free(Forward *forward)
{
        if (!forward)
                return NULL;

        Bulkhead__StreamdSandboxd__ForwardClose close = BULKHEAD__STREAMD_SANDBOXD__FORWARD_CLOSE__INIT;
        close.session_id = forward->id;
        int r = channel_event(connection_owner(forward->connection), ROW_STREAMD_SANDBOXD_FORWARD_CLOSE, &close.base);
        if (r < 0)
                service_fail(forward->connection->streamd->service, fold(r));
        list_for_each_safe(i, next, &forward->pairs)
                (void)pair_free(container_of(i, Pair, link));
        spdy_session_done(&forward->spdy);
        list_remove(&forward->link);
        free(forward->id);
        free(forward);
        return NULL;
}

/* For what comes first: pairs that are not complete, or the end of an idle one. */
static int forward_set_timer(Forward *forward)
{
        Connection *connection = forward->connection;
        uint64_t idle_end_usec = connection->traffic_usec + connection->streamd->config->idle_timeout_sec * USEC_PER_SEC;
        uint64_t now_usec = clock_monotonic_usec();
        int r = connection_set_timer(connection, MIN2(STREAMD_CREATION_USEC, idle_end_usec - MIN2(now_usec, idle_end_usec)));

        return r ? fold(r) : 0;
}

/* The WebSocket ends with the last of its connections. Frees the forward. */
static int forward_end_channels(Forward *forward, uint16_t reason)
{
        int r = websocket_session_close(&forward->channels.websocket, reason);

        if (r)
                return fold(r);
        connection_finish(forward->connection);
        return 0;
}

/* All of their connections are made at once. */
static int forward_start_channels(Forward *forward)
{
        bool is_too_many = forward->n_ports > PORT_CHANNELS_PORTS_MAX;
        size_t n = is_too_many ? 0 : forward->n_ports;
        int r = port_channels_init(&forward->channels, forward->ports, n, forward->connection->handshake.protocol->base64,
                                   forward_on_channel, forward, &forward->connection->out);

        for (size_t i = 0; i < n && r == 0; i++) {
                Pair *pair = NULL;
                r = forward_add_pair(forward, "", (uint16_t)forward->ports[i], &pair);
                if (r == 0) {
                        pair->index = i;
                        r = pair_connect(pair);
                }
        }
        if (r == 0 && is_too_many) {
                log_info("port-forward %s: the request names %zu ports, channels there are for %d", forward->id, forward->n_ports,
                         PORT_CHANNELS_PORTS_MAX);
                return forward_end_channels(forward, WEBSOCKET_CLOSE_TOO_BIG);
        }
        return r ? fold(r) : 0;
}

int forward_start(Forward *forward)
{
        int r = forward_set_timer(forward);

        if (r == 0 && forward->has_channels)
                r = forward_start_channels(forward);
        return r ? fold(r) : 0;
}

int forward_feed(Forward *forward, uint8_t *bytes, size_t n)
{
        bool websocket = forward->connection->handshake.medium == MUX_MEDIUM_WEBSOCKET;
        int r = forward->has_channels ? port_channels_feed(&forward->channels, bytes, n)
                : websocket           ? websocket_session_feed(&forward->websocket, bytes, n)
                                      : spdy_session_feed(&forward->spdy, bytes, n);

        if (r < 0)
                return fold(r);
        if (r > 0) {
                if (r != (websocket ? (int)WEBSOCKET_E_GOODBYE : (int)SPDY_E_GOODBYE))
                        log_info("port-forward %s: the client broke the protocol", forward->id);
                connection_finish(forward->connection);
        }
        return 0;
}

void forward_set_reading(Forward *forward, bool reading)
{
        list_for_each(i, &forward->pairs)
                leg_set_reading(&container_of(i, Pair, link)->leg, reading);
}

int forward_continue(Forward *forward)
{
        int r = 0;

        list_for_each_safe(i, next, &forward->pairs) {
                Pair *pair = container_of(i, Pair, link);
                if (r == 0 && pair->is_refused)
                        r = pair_fail(pair, "error forwarding port %u: pod %s has %d connections, or all pods together %d, which is the "
                                            "most there may be: end some of them",
                                      pair->port, forward->connection->pod_id, STREAM_PAIRS_POD_MAX, STREAM_PAIRS_MAX);
                else if (r == 0 && !pair->connecting && !pair->connected && pair->since_usec == 0)
                        r = pair_fail(pair, "port %u: the client gave request %s up", pair->port, pair->request_id);
                else if (pair->connected && pair->leg.eof && (pair->leg.shut || forward->has_channels))
                        r = r ? r : pair_end(pair);
        }
        if (r == 0 && forward->has_channels && list_is_empty(&forward->pairs))
                r = forward_end_channels(forward, WEBSOCKET_CLOSE_NORMAL);
        return r ? fold(r) : 0;
}

int forward_resume(const Forward *forward)
{
        Bulkhead__StreamdSandboxd__ForwardResume message = BULKHEAD__STREAMD_SANDBOXD__FORWARD_RESUME__INIT;

        message.session_id = forward->id;
        message.pod_id = forward->connection->pod_id;
        int r = channel_event(connection_owner(forward->connection), ROW_STREAMD_SANDBOXD_FORWARD_RESUME, &message.base);
        return r < 0 ? fold(r) : 0;
}

int forward_on_ended(Forward *forward, const char *error)
{
        int r = 0;

        list_for_each_safe(i, next, &forward->pairs)
                r = r ? r : pair_fail(container_of(i, Pair, link), "%s", error);
        if (r)
                return fold(r);
        connection_finish(forward->connection);
        return 0;
}

int forward_on_timer(Forward *forward)
{
        uint64_t now_usec = clock_monotonic_usec();
        int r = 0;

        list_for_each_safe(i, next, &forward->pairs) {
                Pair *pair = container_of(i, Pair, link);
                if (r || pair->connecting || now_usec - pair->since_usec < STREAMD_CREATION_USEC)
                        continue;
                if (!pair->connected)
                        r = pair_fail(pair, "port %u: the client has not opened both streams of request %s in time", pair->port,
                                      pair->request_id);
                else if (pair->leg.eof)
                        r = pair_end(pair);
        }
        return r ? fold(r) : forward_set_timer(forward);
}
