/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/grpc-client.h"

#include "lib/error.h"
#include "lib/strings.h"

#include <assert.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#define GRPC_CLIENT_WINDOW_BYTES (1024 * 1024)
#define GRPC_CLIENT_PREFIX_BYTES 5

/* Bytes that grow at the end and are consumed at the front. */
typedef struct GrpcBuffer {
        uint8_t *bytes; /* owned */
        size_t begin, end, size;
} GrpcBuffer;

struct GrpcClient {
        int fd;                   /* owned */
        nghttp2_session *session; /* owned */
        bool is_broken;           /* the connection is of no more use */

        /* The call under way. */
        int32_t stream_id; /* 0: none */
        GrpcBuffer request;
        GrpcBuffer body;
        uint64_t deadline_usec;
        bool is_ended; /* the stream is closed, or the call is given up */
        bool has_status;
        unsigned http_status;
        GrpcStatus status;
        char *text; /* owned */
};

static bool grpc_buffer_append(GrpcBuffer *b, const void *bytes, size_t n)
{
        if (b->begin > 0) {
                memmove(b->bytes, b->bytes + b->begin, b->end - b->begin);
                b->end -= b->begin;
                b->begin = 0;
        }
        if (n > b->size - b->end) {
                size_t size = MAX2(2 * b->size, b->end + n);
                uint8_t *grown = realloc(b->bytes, size);
                if (!grown)
                        return false;
                b->bytes = grown;
                b->size = size;
        }
        if (n > 0)
                memcpy(b->bytes + b->end, bytes, n);
        b->end += n;
        return true;
}

static void grpc_buffer_done(GrpcBuffer *b)
{
        free(b->bytes);
        *b = (GrpcBuffer){0};
}

void grpc_reply_done(GrpcReply *reply)
{
        free(reply->text);
        free(reply->bytes);
        *reply = GRPC_REPLY_INIT;
}

/* ---- one call's end ---- */

/* The first reason counts. */
static void grpc_client_set_status(GrpcClient *client, GrpcStatus status, const char *text)
{
        if (client->has_status)
                return;
        client->has_status = true;
        client->status = status;
        if (!client->text)
                client->text = text ? strdup(text) : NULL;
}

static void grpc_client_break(GrpcClient *client, const char *text)
{
        client->is_broken = true;
        client->is_ended = true;
        grpc_client_set_status(client, GRPC_STATUS_UNAVAILABLE, text);
}

static void grpc_client_give_up(GrpcClient *client, GrpcStatus status, const char *text)
{
        if (client->is_ended)
                return;
        client->has_status = false; /* one that came without the end of the stream does not count */
        free(client->text);
        client->text = NULL;
        grpc_client_set_status(client, status, text);
        client->is_ended = true;
        (void)nghttp2_submit_rst_stream(client->session, NGHTTP2_FLAG_NONE, client->stream_id, NGHTTP2_CANCEL);
}

/* ---- nghttp2 ---- */

static int grpc_client_digit(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undoes percent-encoding; what is no escape stays as it is. Owned; NULL without memory. */
static char *grpc_client_decode(const char *s, size_t n)
{
        char *text = malloc(n + 1);
        size_t length = 0;

        if (!text)
                return NULL;
        for (size_t i = 0; i < n; i++) {
                int high = s[i] == '%' && i + 2 < n ? grpc_client_digit(s[i + 1]) : -1;
                int low = high >= 0 ? grpc_client_digit(s[i + 2]) : -1;
                bool is_escape = low >= 0 && (high | low) != 0; /* %00 would end the string */
                text[length++] = is_escape ? (char)(high * 16 + low) : s[i];
                i += is_escape ? 2 : 0;
        }
        text[length] = '\0';
        return text;
}

static int grpc_client_on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                                 size_t n_name, const uint8_t *value, size_t n_value, uint8_t flags, void *userdata)
{
        GrpcClient *client = userdata;
        const char *text = (const char *)value; /* nghttp2 ends names and values with a NUL */
        uint64_t n;

        if (frame->hd.stream_id != client->stream_id)
                return 0;
        if (str_equal((const char *)name, ":status") && u64_parse(text, 999, &n)) {
                client->http_status = (unsigned)n;
        } else if (str_equal((const char *)name, "grpc-status") && u64_parse(text, 999, &n)) {
                client->has_status = true;
                client->status = (GrpcStatus)n;
        } else if (str_equal((const char *)name, "grpc-message")) {
                free(client->text);
                client->text = grpc_client_decode(text, n_value);
        }
        return 0;
}

static int grpc_client_on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *bytes,
                               size_t n, void *userdata)
{
        GrpcClient *client = userdata;

        if (stream_id != client->stream_id || client->is_ended)
                return 0;
        return grpc_buffer_append(&client->body, bytes, n) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int grpc_client_on_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code, void *userdata)
{
        GrpcClient *client = userdata;
        char text[64];

        if (stream_id != client->stream_id || client->is_ended)
                return 0;
        client->is_ended = true;
        if (error_code != NGHTTP2_NO_ERROR)
                client->has_status = false; /* it did not come in one piece */
        if (client->http_status != 0 && client->http_status != 200) {
                (void)snprintf(text, sizeof(text), "the server answered with HTTP status %u", client->http_status);
                grpc_client_set_status(client, GRPC_STATUS_UNKNOWN, text);
        } else if (error_code == NGHTTP2_REFUSED_STREAM) {
                grpc_client_set_status(client, GRPC_STATUS_UNAVAILABLE, "the server is busy");
        } else {
                (void)snprintf(text, sizeof(text), "the call ended without a status (HTTP/2 code %u)", error_code);
                grpc_client_set_status(client, GRPC_STATUS_INTERNAL, text);
        }
        return 0;
}

static ssize_t grpc_client_on_read(nghttp2_session *session, int32_t stream_id, uint8_t *to, size_t n, uint32_t *flags,
                                   nghttp2_data_source *source, void *userdata)
{
        GrpcBuffer *b = source->ptr;
        size_t piece = MIN2(n, b->end - b->begin);

        memcpy(to, b->bytes + b->begin, piece);
        b->begin += piece;
        if (b->begin == b->end)
                *flags |= NGHTTP2_DATA_FLAG_EOF;
        return (ssize_t)piece;
}

static int grpc_client_start(GrpcClient *client)
{
        nghttp2_session_callbacks *callbacks = NULL;
        const nghttp2_settings_entry entries[] = {
                {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
                {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, GRPC_CLIENT_WINDOW_BYTES},
        };

        if (nghttp2_session_callbacks_new(&callbacks) < 0)
                return error_origin(-ENOMEM);
        nghttp2_session_callbacks_set_on_header_callback(callbacks, grpc_client_on_header);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, grpc_client_on_data);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, grpc_client_on_close);
        int r = nghttp2_session_client_new(&client->session, callbacks, client);
        nghttp2_session_callbacks_del(callbacks);
        if (r < 0 || nghttp2_submit_settings(client->session, NGHTTP2_FLAG_NONE, entries, ARRAY_SIZE(entries)) < 0 ||
            nghttp2_session_set_local_window_size(client->session, NGHTTP2_FLAG_NONE, 0, GRPC_CLIENT_WINDOW_BYTES) < 0)
                return error_origin(-ENOMEM);
        return 0;
}

/* ---- the socket ---- */

int grpc_client_new(GrpcClient **ret, const char *socket_path)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        _cleanup_(grpc_client_freep) GrpcClient *client = calloc(1, sizeof(*client));

        if (!client)
                return error_origin(-ENOMEM);
        client->fd = -1;
        if (!str_copy(address.sun_path, sizeof(address.sun_path), socket_path)) {
                errno = ENAMETOOLONG;
                return GRPC_CLIENT_E_UNREACHABLE;
        }
        client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (client->fd < 0)
                return error_origin(negative_errno());
        if (connect(client->fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
                return GRPC_CLIENT_E_UNREACHABLE;
        int r = grpc_client_start(client);
        if (r)
                return fold(r);
        *ret = TAKE_PTR(client);
        return 0;
}

GrpcClient *grpc_client_free(GrpcClient *client)
{
        if (!client)
                return NULL;

        int saved = errno; /* of a connect() that failed */
        nghttp2_session_del(client->session);
        grpc_buffer_done(&client->request);
        grpc_buffer_done(&client->body);
        free(client->text);
        client->fd = fd_close(client->fd);
        free(client);
        errno = saved;
        return NULL;
}

/* Milliseconds to wait for the deadline; -1: for ever; 0: it has passed. */
static int grpc_client_wait_msec(const GrpcClient *client)
{
        uint64_t now_usec = clock_monotonic_usec();

        if (client->deadline_usec == USEC_INFINITY)
                return -1;
        if (now_usec >= client->deadline_usec)
                return 0;
        return (int)MIN2((client->deadline_usec - now_usec + 999) / 1000, UINT64_C(3600000));
}

/* Sends what nghttp2 wants to send, as far as the socket takes it. True if all is sent. */
static bool grpc_client_send(GrpcClient *client, const uint8_t **rest, size_t *n_rest)
{
        for (;;) {
                if (*n_rest == 0) {
                        ssize_t n = nghttp2_session_mem_send(client->session, rest);
                        if (n < 0)
                                grpc_client_break(client, nghttp2_strerror((int)n));
                        if (n <= 0)
                                return true;
                        *n_rest = (size_t)n;
                }
                ssize_t n = send(client->fd, *rest, *n_rest, MSG_NOSIGNAL | MSG_DONTWAIT);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN)
                        return false;
                if (n < 0) {
                        /* What the server said before it hung up may still be read. */
                        *n_rest = 0;
                        return true;
                }
                *rest += n;
                *n_rest -= (size_t)n;
        }
}

static void grpc_client_receive(GrpcClient *client)
{
        uint8_t bytes[32 * 1024];
        ssize_t n = recv(client->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n <= 0) {
                grpc_client_break(client, "the server closed the connection");
                return;
        }
        ssize_t r = nghttp2_session_mem_recv(client->session, bytes, (size_t)n);
        if (r < 0)
                grpc_client_break(client, nghttp2_strerror((int)r));
        else if (!nghttp2_session_want_read(client->session) && !client->is_ended)
                grpc_client_break(client, "the server ended the connection");
}

/* One turn: sends, waits, receives. nghttp2's buffer is valid until its next use, so a send that does not fit is
 * finished here, while input is left in the socket only for as long as the server takes our bytes or closes. */
static int grpc_client_turn(GrpcClient *client)
{
        const uint8_t *rest = NULL;
        size_t n_rest = 0;
        bool is_sent = false;

        while (!is_sent) {
                is_sent = grpc_client_send(client, &rest, &n_rest);
                if (client->is_ended && is_sent)
                        return 0;

                struct pollfd poll_fd = {.fd = client->fd, .events = (short)(is_sent ? POLLIN : POLLOUT)};
                int n = poll(&poll_fd, 1, grpc_client_wait_msec(client));
                if (n < 0 && errno != EINTR)
                        return error_origin(negative_errno());
                if (n == 0) {
                        grpc_client_give_up(client, GRPC_STATUS_DEADLINE_EXCEEDED, "the call's deadline passed");
                        client->is_broken |= !is_sent; /* in the middle of a frame */
                        return 0;
                }
        }
        if (!client->is_ended)
                grpc_client_receive(client);
        return 0;
}

/* ---- calls ---- */

static nghttp2_nv grpc_client_header(const char *name, const char *value)
{
        return (nghttp2_nv){
                .name = (uint8_t *)name,
                .namelen = strlen(name),
                .value = (uint8_t *)value,
                .valuelen = strlen(value),
        };
}

/* At most 8 digits and a unit. */
static void grpc_client_timeout(char *to, size_t size, uint64_t usec)
{
        if (usec <= 99999999)
                (void)snprintf(to, size, "%uu", (unsigned)usec);
        else if (usec / 1000 <= 99999999)
                (void)snprintf(to, size, "%um", (unsigned)(usec / 1000));
        else
                (void)snprintf(to, size, "%uS", (unsigned)MIN2(usec / 1000000, UINT64_C(99999999)));
}

static void grpc_client_reset(GrpcClient *client)
{
        grpc_buffer_done(&client->request);
        grpc_buffer_done(&client->body);
        free(client->text);
        client->text = NULL;
        client->stream_id = 0;
        client->is_ended = false;
        client->has_status = false;
        client->http_status = 0;
        client->status = GRPC_STATUS_OK;
}

int grpc_client_open(GrpcClient *client, const char *path, const void *request, size_t n, uint64_t timeout_usec)
{
        nghttp2_nv nv[8];
        size_t n_nv = 0;
        char timeout[24];
        const uint8_t prefix[GRPC_CLIENT_PREFIX_BYTES] = {0, (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8),
                                                          (uint8_t)n};
        nghttp2_data_provider provider = {.source.ptr = &client->request, .read_callback = grpc_client_on_read};

        assert(client->stream_id == 0);
        grpc_client_reset(client);
        client->deadline_usec = timeout_usec == USEC_INFINITY ? USEC_INFINITY : clock_monotonic_usec() + timeout_usec;
        if (!grpc_buffer_append(&client->request, prefix, sizeof(prefix)) ||
            !grpc_buffer_append(&client->request, request, n))
                return error_origin(-ENOMEM);

        nv[n_nv++] = grpc_client_header(":method", "POST");
        nv[n_nv++] = grpc_client_header(":scheme", "http");
        nv[n_nv++] = grpc_client_header(":path", path);
        nv[n_nv++] = grpc_client_header(":authority", "localhost");
        nv[n_nv++] = grpc_client_header("content-type", "application/grpc");
        nv[n_nv++] = grpc_client_header("te", "trailers");
        if (timeout_usec != USEC_INFINITY) {
                grpc_client_timeout(timeout, sizeof(timeout), timeout_usec);
                nv[n_nv++] = grpc_client_header("grpc-timeout", timeout);
        }
        if (client->is_broken) {
                client->stream_id = -1;
                grpc_client_break(client, "the connection to the server is lost");
                return 0;
        }
        int32_t id = nghttp2_submit_request(client->session, NULL, nv, n_nv, &provider, NULL);
        if (id < 0)
                return error_origin(-ENOMEM);
        client->stream_id = id;
        return 0;
}

/* Takes one message from the body; false if there is none that is complete. */
static int grpc_client_take(GrpcClient *client, uint8_t **ret, size_t *ret_n, bool *ret_found)
{
        GrpcBuffer *b = &client->body;

        *ret_found = false;
        if (b->end - b->begin < GRPC_CLIENT_PREFIX_BYTES)
                return 0;
        const uint8_t *p = b->bytes + b->begin;
        size_t n = ((size_t)p[1] << 24) | ((size_t)p[2] << 16) | ((size_t)p[3] << 8) | p[4];
        if (p[0] != 0 || n > GRPC_MESSAGE_BYTES_MAX) {
                b->begin = b->end;
                client->is_ended = false;
                grpc_client_give_up(client, p[0] ? GRPC_STATUS_INTERNAL : GRPC_STATUS_RESOURCE_EXHAUSTED,
                                    p[0] ? "the server sent a compressed message" : "the reply is larger than 16 MiB");
                return 0;
        }
        if (b->end - b->begin - GRPC_CLIENT_PREFIX_BYTES < n)
                return 0;
        uint8_t *bytes = malloc(MAX2(n, (size_t)1));
        if (!bytes)
                return error_origin(-ENOMEM);
        memcpy(bytes, p + GRPC_CLIENT_PREFIX_BYTES, n);
        b->begin += GRPC_CLIENT_PREFIX_BYTES + n;
        *ret = bytes;
        *ret_n = n;
        *ret_found = true;
        return 0;
}

int grpc_client_next(GrpcClient *client, uint8_t **ret, size_t *ret_n)
{
        assert(client->stream_id != 0);
        for (;;) {
                bool is_found;
                int r = grpc_client_take(client, ret, ret_n, &is_found);
                if (r)
                        return fold(r);
                if (is_found)
                        return 0;
                if (client->is_ended)
                        return GRPC_CLIENT_E_END;
                r = grpc_client_turn(client);
                if (r)
                        return fold(r);
        }
}

int grpc_client_end(GrpcClient *client, GrpcReply *ret)
{
        GrpcReply reply = GRPC_REPLY_INIT;

        assert(client->stream_id != 0);
        if (!client->is_ended) {
                grpc_client_give_up(client, GRPC_STATUS_CANCELLED, "cancelled");
                int r = grpc_client_turn(client);
                if (r)
                        return fold(r);
        }
        reply.status = client->status;
        reply.text = TAKE_PTR(client->text);
        grpc_client_reset(client);
        *ret = reply;
        return 0;
}

int grpc_client_call(GrpcClient *client, const char *path, const void *request, size_t n, uint64_t timeout_usec,
                     GrpcReply *ret)
{
        _cleanup_free_ uint8_t *bytes = NULL, *extra = NULL;
        size_t n_bytes = 0, n_extra = 0;
        bool is_one = true;
        GrpcReply reply = GRPC_REPLY_INIT;

        int r = grpc_client_open(client, path, request, n, timeout_usec);
        if (r)
                return fold(r);
        r = grpc_client_next(client, &bytes, &n_bytes);
        bool has_message = r == 0;
        if (has_message) {
                r = grpc_client_next(client, &extra, &n_extra);
                is_one = r != 0;
        }
        if (r < 0)
                return fold(r);
        r = grpc_client_end(client, &reply);
        if (r)
                return fold(r);
        if (!is_one || (reply.status == GRPC_STATUS_OK && !has_message)) {
                grpc_reply_done(&reply);
                reply.status = is_one ? GRPC_STATUS_INTERNAL : GRPC_STATUS_UNIMPLEMENTED;
                reply.text = strdup(is_one ? "the reply has no message" : "the reply has more than one message");
        }
        if (reply.status == GRPC_STATUS_OK) {
                reply.bytes = TAKE_PTR(bytes);
                reply.n_bytes = n_bytes;
        }
        *ret = reply;
        return 0;
}
