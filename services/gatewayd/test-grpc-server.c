/* SPDX-License-Identifier: Apache-2.0 */

/* The server in this process, a nghttp2 client at the other end of a socketpair: what real clients do not do. */

#include "lib/error.h"
#include "lib/strings.h"
#include "lib/test.h"
#include "services/gatewayd/grpc-server.h"

#include <event2/event.h>
#include <nghttp2/nghttp2.h>
#include <sys/socket.h>

typedef struct Answer {
        char http_status[8], grpc_status[8], grpc_message[256], details[64];
        uint8_t body[256];
        size_t n_body;
        bool is_closed;
        uint32_t error_code;
} Answer;

typedef struct Fixture {
        struct event_base *base;
        GrpcServer *server;
        int fd;
        nghttp2_session *client;
        Answer answers[64]; /* by stream id */
        bool is_goaway, is_end;
        /* What the handlers saw. */
        GrpcCall *held[64];
        size_t n_held, n_cancelled, n_writable, n_drained;
        GrpcCancel why;
        int failure, next_result;
        bool hold_on_cancel;
} Fixture;

static const GrpcMethod test_methods[] = {{"/t.T/Echo", false}, {"/t.T/Hold", false}, {"/t.T/Stream", true}};

static const GrpcMethod *test_lookup(void *userdata, const char *path)
{
        for (size_t i = 0; i < ARRAY_SIZE(test_methods); i++)
                if (str_equal(test_methods[i].path, path))
                        return &test_methods[i];
        return NULL;
}

static int test_on_call(void *userdata, GrpcCall *call)
{
        Fixture *f = userdata;

        if (call->method == &test_methods[0]) {
                uint8_t *copy = malloc(call->request.length + 1);
                memcpy(copy, call->request.bytes, call->request.length);
                grpc_call_reply(call, copy, call->request.length);
        } else {
                f->held[f->n_held++] = call;
        }
        return f->next_result;
}

static int test_on_cancel(void *userdata, GrpcCall *call, GrpcCancel why)
{
        Fixture *f = userdata;

        f->n_cancelled++;
        f->why = why;
        assert_true(call->is_cancelled);
        if (!f->hold_on_cancel)
                grpc_call_fail(call, GRPC_STATUS_CANCELLED, NULL);
        return 0;
}

static int test_on_writable(void *userdata, GrpcCall *call)
{
        ((Fixture *)userdata)->n_writable++;
        return 0;
}

static int test_on_drained(void *userdata)
{
        ((Fixture *)userdata)->n_drained++;
        return 0;
}

static void test_on_failure(void *userdata, int r)
{
        ((Fixture *)userdata)->failure = r;
}

static int client_on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t n_name,
                            const uint8_t *value, size_t n_value, uint8_t flags, void *userdata)
{
        Answer *a = &((Fixture *)userdata)->answers[frame->hd.stream_id];
        const char *text = (const char *)value;

        if (str_equal((const char *)name, ":status"))
                (void)str_copy(a->http_status, sizeof(a->http_status), text);
        if (str_equal((const char *)name, "grpc-status"))
                (void)str_copy(a->grpc_status, sizeof(a->grpc_status), text);
        if (str_equal((const char *)name, "grpc-message"))
                (void)str_copy(a->grpc_message, sizeof(a->grpc_message), text);
        if (str_equal((const char *)name, "grpc-status-details-bin"))
                (void)str_copy(a->details, sizeof(a->details), text);
        return 0;
}

static int client_on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *bytes, size_t n,
                          void *userdata)
{
        Answer *a = &((Fixture *)userdata)->answers[stream_id];
        size_t piece = MIN2(n, sizeof(a->body) - MIN2(a->n_body, sizeof(a->body)));

        if (piece > 0)
                memcpy(a->body + a->n_body, bytes, piece);
        a->n_body += n;
        return 0;
}

static int client_on_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code, void *userdata)
{
        Answer *a = &((Fixture *)userdata)->answers[stream_id];
        a->is_closed = true;
        a->error_code = error_code;
        return 0;
}

static int client_on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *userdata)
{
        ((Fixture *)userdata)->is_goaway |= frame->hd.type == NGHTTP2_GOAWAY;
        return 0;
}

static void fixture_connect(Fixture *f)
{
        nghttp2_session_callbacks *callbacks = NULL;
        int fds[2];

        assert_ok(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds));
        f->fd = fds[0];
        assert_ok(grpc_server_adopt(f->server, fds[1]));
        assert_ok(nghttp2_session_callbacks_new(&callbacks));
        nghttp2_session_callbacks_set_on_header_callback(callbacks, client_on_header);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, client_on_data);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, client_on_close);
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, client_on_frame);
        assert_ok(nghttp2_session_client_new(&f->client, callbacks, f));
        nghttp2_session_callbacks_del(callbacks);
        assert_ok(nghttp2_submit_settings(f->client, NGHTTP2_FLAG_NONE, NULL, 0));
}

static const GrpcHandlers test_handlers = {
        .lookup = test_lookup,
        .on_call = test_on_call,
        .on_cancel = test_on_cancel,
        .on_writable = test_on_writable,
        .on_drained = test_on_drained,
        .on_failure = test_on_failure,
};

static void fixture_begin(Fixture *f, const GrpcLimits *limits)
{
        memset(f, 0, sizeof(*f));
        f->base = event_base_new();
        assert_ok(grpc_server_new(&f->server, f->base, -1, &test_handlers, limits, f));
        fixture_connect(f);
}

static void fixture_disconnect(Fixture *f)
{
        nghttp2_session_del(f->client);
        f->client = NULL;
        f->fd = fd_close(f->fd);
}

static void fixture_end(Fixture *f)
{
        fixture_disconnect(f);
        f->server = grpc_server_free(f->server);
        event_base_free(f->base);
}

/* Lets both sides talk until neither has anything to say. */
static void fixture_settle(Fixture *f)
{
        for (int quiet = 0; quiet < 3; quiet++) {
                const uint8_t *bytes;
                uint8_t buffer[65536];
                ssize_t n;

                while (f->client && (n = nghttp2_session_mem_send(f->client, &bytes)) > 0) {
                        (void)send(f->fd, bytes, (size_t)n, MSG_NOSIGNAL);
                        quiet = 0;
                }
                (void)event_base_loop(f->base, EVLOOP_NONBLOCK);
                while (f->client && (n = recv(f->fd, buffer, sizeof(buffer), MSG_DONTWAIT)) >= 0) {
                        f->is_end = n == 0;
                        if (n == 0)
                                break;
                        assert_eq_int(nghttp2_session_mem_recv(f->client, buffer, (size_t)n), n);
                        quiet = 0;
                }
        }
}

static void fixture_sleep(Fixture *f, unsigned msec)
{
        uint64_t until_usec = clock_monotonic_usec() + msec * 1000;
        while (clock_monotonic_usec() < until_usec) {
                fixture_settle(f);
                (void)usleep(2000);
        }
}

/* ---- requests ---- */

typedef struct Body {
        const char *bytes;
        size_t n, offset;
} Body;

static ssize_t body_on_read(nghttp2_session *session, int32_t stream_id, uint8_t *to, size_t n, uint32_t *flags,
                            nghttp2_data_source *source, void *userdata)
{
        Body *b = source->ptr;
        n = MIN2(n, b->n - b->offset);
        memcpy(to, b->bytes + b->offset, n);
        b->offset += n;
        if (b->offset == b->n)
                *flags |= NGHTTP2_DATA_FLAG_EOF;
        return (ssize_t)n;
}

/* Headers as "name: value" lines; what the request needs is added unless a line sets it ("name:" leaves it out). */
static int32_t client_request(Fixture *f, const char *path, const char *const *lines, const char *body, size_t n)
{
        static const char *const standard[] = {
                ":method: POST", ":scheme: http", ":path: ", ":authority: x", "content-type: application/grpc",
                "te: trailers"};
        char names[16][32], values[16][300];
        nghttp2_nv nv[16];
        size_t n_nv = 0;
        Body b = {.bytes = body, .n = n};
        nghttp2_data_provider provider = {.source.ptr = &b, .read_callback = body_on_read};

        for (size_t i = 0; i < ARRAY_SIZE(standard) + 16; i++) {
                const char *line = i < ARRAY_SIZE(standard) ? standard[i]
                                   : lines                  ? lines[i - ARRAY_SIZE(standard)]
                                                            : NULL;
                if (!line)
                        break;
                const char *colon = strchr(line + 1, ':');
                size_t length = (size_t)(colon - line);
                bool is_replaced = false;
                for (size_t k = 0; i < ARRAY_SIZE(standard) && lines && lines[k]; k++)
                        is_replaced |= strncmp(lines[k], line, length + 1) == 0;
                if (is_replaced || !colon[1])
                        continue;
                (void)snprintf(names[n_nv], sizeof(names[n_nv]), "%.*s", (int)length, line);
                (void)snprintf(values[n_nv], sizeof(values[n_nv]), "%s", i == 2 ? path : colon + 2);
                nv[n_nv] =
                        (nghttp2_nv){(uint8_t *)names[n_nv], (uint8_t *)values[n_nv], length, strlen(values[n_nv]), 0};
                n_nv++;
        }
        /* Pseudo-headers come first. */
        for (size_t i = 1; i < n_nv; i++)
                for (size_t k = i; k > 0 && nv[k].name[0] == ':' && nv[k - 1].name[0] != ':'; k--) {
                        nghttp2_nv swapped = nv[k];
                        nv[k] = nv[k - 1];
                        nv[k - 1] = swapped;
                }
        int32_t id = nghttp2_submit_request(f->client, NULL, nv, n_nv, body ? &provider : NULL, NULL);
        assert_true(id > 0 && (size_t)id < ARRAY_SIZE(f->answers));
        fixture_settle(f);
        return id;
}

#define HELLO "\0\0\0\0\5hello", 10
#define LINES(...) ((const char *const[]){__VA_ARGS__, NULL})

static void assert_refused(Fixture *f, int32_t id, const char *http_status, const char *grpc_status, const char *text)
{
        const Answer *a = &f->answers[id];
        assert_true(a->is_closed);
        assert_eq_int(a->error_code, 0);
        assert_eq_str(a->http_status, http_status);
        assert_eq_str(a->grpc_status, grpc_status);
        if (!strstr(a->grpc_message, text))
                test_fail("\"%s\" has no \"%s\"", a->grpc_message, text);
        assert_eq_int(f->n_held, 0);
}

static void test_requests(void)
{
        Fixture f;
        char path[290];
        int32_t id;

        fixture_begin(&f, NULL);
        id = client_request(&f, "/t.T/Echo", NULL, HELLO);
        assert_eq_str(f.answers[id].grpc_status, "0");
        assert_eq_mem(f.answers[id].body, f.answers[id].n_body, "\0\0\0\0\5hello", 10);
        id = client_request(&f, "/t.T/Echo", NULL, "\0\0\0\0\0", 5);
        assert_eq_mem(f.answers[id].body, f.answers[id].n_body, "\0\0\0\0\0", 5);
        id = client_request(&f, "/t.T/Echo", LINES("grpc-encoding: gzip", "grpc-timeout: 10S"), HELLO);
        assert_eq_str(f.answers[id].grpc_status, "0");

        id = client_request(&f, "/t.T/Hold", LINES(":method: GET"), NULL, 0);
        assert_refused(&f, id, "405", "13", "POST");
        id = client_request(&f, "/t.T/Hold", LINES("content-type: text/plain"), HELLO);
        assert_refused(&f, id, "415", "13", "content type");
        id = client_request(&f, "/t.T/Hold", LINES("content-type:"), HELLO);
        assert_refused(&f, id, "415", "13", "content type");
        id = client_request(&f, "/t.T/Hold", LINES("te:"), HELLO);
        assert_refused(&f, id, "200", "13", "te: trailers");
        id = client_request(&f, "/t.T/Hold", LINES("grpc-timeout: 1S", "grpc-timeout: 2S"), HELLO);
        assert_refused(&f, id, "200", "13", "repeated");
        id = client_request(&f, "/t.T/Hold", LINES("grpc-timeout: soon"), HELLO);
        assert_refused(&f, id, "200", "13", "grpc-timeout");
        id = client_request(&f, "/t.T/Hold", LINES("grpc-timeout: 0S"), HELLO);
        assert_refused(&f, id, "200", "4", "deadline");
        id = client_request(&f, "/t.T/Hol", NULL, HELLO);
        assert_refused(&f, id, "200", "12", "unknown method /t.T/Hol");
        memset(path, 'x', sizeof(path));
        path[0] = '/';
        path[sizeof(path) - 1] = '\0';
        id = client_request(&f, path, NULL, HELLO);
        assert_refused(&f, id, "200", "8", "too large");

        id = client_request(&f, "/t.T/Hold", NULL, "\1\0\0\0\5hello", 10);
        assert_refused(&f, id, "200", "13", "without a grpc-encoding");
        id = client_request(&f, "/t.T/Hold", LINES("grpc-encoding: identity"), "\1\0\0\0\5hello", 10);
        assert_refused(&f, id, "200", "13", "without a grpc-encoding");
        id = client_request(&f, "/t.T/Hold", LINES("grpc-encoding: snappy"), "\1\0\0\0\5hello", 10);
        assert_refused(&f, id, "200", "12", "snappy");
        id = client_request(&f, "/t.T/Hold", NULL, "\2\0\0\0\5hello", 10);
        assert_refused(&f, id, "200", "13", "prefix");
        id = client_request(&f, "/t.T/Hold", NULL, "\0\1\0\0\1hello", 10);
        assert_refused(&f, id, "200", "8", "larger than 16777216");
        id = client_request(&f, "/t.T/Hold", NULL, "\0\0\0\0\5hell", 9);
        assert_refused(&f, id, "200", "13", "ends within");
        id = client_request(&f, "/t.T/Hold", NULL, "\0\0\0", 3);
        assert_refused(&f, id, "200", "13", "ends within");
        id = client_request(&f, "/t.T/Hold", NULL, "\0\0\0\0\5hello!", 11);
        assert_refused(&f, id, "200", "12", "more than one");
        id = client_request(&f, "/t.T/Hold", NULL, NULL, 0);
        assert_refused(&f, id, "200", "12", "no message");
        assert_eq_int(f.server->n_calls, 0);
        assert_eq_int(f.server->counters.n_violations, 0);
        fixture_end(&f);
}

static void test_status(void)
{
        Fixture f;

        fixture_begin(&f, NULL);
        int32_t id = client_request(&f, "/t.T/Hold", NULL, HELLO);
        assert_eq_int(f.n_held, 1);
        assert_eq_mem(f.held[0]->request.bytes, f.held[0]->request.length, "hello", 5);
        assert_eq_int(f.held[0]->peer_pid, getpid());
        assert_eq_int(f.held[0]->peer_uid, getuid());
        grpc_call_fail_details(f.held[0], GRPC_STATUS_NOT_FOUND, "no pod \"x\"\n", "foobar", 6);
        fixture_settle(&f);
        assert_eq_str(f.answers[id].grpc_status, "5");
        assert_eq_str(f.answers[id].grpc_message, "no pod \"x\"%0A");
        assert_eq_str(f.answers[id].details, "Zm9vYmFy");
        assert_eq_int(f.n_cancelled, 0);
        fixture_end(&f);
}

/* The owner may end its call long after the client, the stream and the connection are gone. */
static void test_late_owner(void)
{
        Fixture f;
        GrpcLimits limits = GRPC_LIMITS_DEFAULT;

        limits.max_calls = 2;
        fixture_begin(&f, &limits);
        f.hold_on_cancel = true;
        int32_t first = client_request(&f, "/t.T/Hold", NULL, HELLO);
        (void)client_request(&f, "/t.T/Hold", NULL, HELLO);
        (void)nghttp2_submit_rst_stream(f.client, 0, first, NGHTTP2_CANCEL);
        fixture_settle(&f);
        assert_eq_int(f.n_cancelled, 1);
        assert_eq_int(f.why, GRPC_CANCEL_CLIENT);
        assert_true(!f.held[0]->request.bytes);

        /* A reset frees no place while the work goes on. */
        int32_t refused = client_request(&f, "/t.T/Hold", NULL, HELLO);
        assert_true(f.answers[refused].is_closed);
        assert_eq_int(f.answers[refused].error_code, NGHTTP2_REFUSED_STREAM);
        assert_eq_int(f.n_held, 2);
        assert_eq_int(grpc_call_send(f.held[0], NULL, 0), GRPC_CALL_E_CANCELLED);
        grpc_call_reply(f.held[0], strdup("nobody"), 6);
        (void)client_request(&f, "/t.T/Hold", NULL, HELLO);
        assert_eq_int(f.n_held, 3);

        fixture_disconnect(&f);
        fixture_settle(&f);
        assert_eq_int(f.n_cancelled, 3);
        assert_eq_int(f.why, GRPC_CANCEL_DISCONNECT);
        assert_eq_int(f.server->n_connections, 0);
        assert_eq_int(f.server->n_calls, 2);
        grpc_call_fail(f.held[1], GRPC_STATUS_INTERNAL, "nobody");
        grpc_call_finish(f.held[2]);
        assert_eq_int(f.server->n_calls, 0);
        f.fd = -1;
        fixture_end(&f);
}

static void test_deadline(void)
{
        Fixture f;

        fixture_begin(&f, NULL);
        f.hold_on_cancel = true;
        int32_t id = client_request(&f, "/t.T/Hold", LINES("grpc-timeout: 30m"), HELLO);
        assert_true(f.held[0]->deadline_usec < clock_monotonic_usec() + 30000);
        fixture_sleep(&f, 60);
        assert_eq_str(f.answers[id].grpc_status, "4");
        assert_eq_int(f.n_cancelled, 1);
        assert_eq_int(f.why, GRPC_CANCEL_DEADLINE);
        assert_eq_int(f.server->n_calls, 1);
        grpc_call_reply(f.held[0], NULL, 0);
        assert_eq_int(f.server->n_calls, 0);

        /* An answer in time. */
        id = client_request(&f, "/t.T/Hold", LINES("grpc-timeout: 30m"), HELLO);
        grpc_call_reply(f.held[1], NULL, 0);
        fixture_sleep(&f, 60);
        assert_eq_str(f.answers[id].grpc_status, "0");
        assert_eq_int(f.n_cancelled, 1);
        fixture_end(&f);
}

static void test_stream_queue(void)
{
        Fixture f;
        GrpcLimits limits = GRPC_LIMITS_DEFAULT;
        int r = 0;
        size_t n_sent = 0;

        limits.queue_bytes = 100000;
        fixture_begin(&f, &limits);
        int32_t id = client_request(&f, "/t.T/Stream", NULL, HELLO);
        /* The client's window is 64 KiB, and it is not asked: what does not fit is refused, not kept. */
        while (!r) {
                void *bytes = calloc(1, 1000);
                r = grpc_call_send(f.held[0], bytes, 1000);
                if (r)
                        free(bytes);
                else
                        n_sent++;
        }
        assert_eq_int(r, GRPC_CALL_E_FULL);
        assert_eq_int(n_sent, 100);
        assert_eq_int(grpc_call_send(f.held[0], NULL, limits.max_message_bytes + 1), GRPC_CALL_E_TOO_LARGE);
        assert_eq_int(f.n_writable, 0);
        fixture_settle(&f);
        assert_eq_int(f.n_writable, 1);
        assert_ok(grpc_call_send(f.held[0], calloc(1, 1000), 1000));
        grpc_call_finish(f.held[0]);
        fixture_settle(&f);
        assert_eq_int(f.answers[id].n_body, 101 * 1005);
        assert_eq_str(f.answers[id].grpc_status, "0");
        assert_eq_int(f.server->n_calls, 0);
        fixture_end(&f);
}

static void test_memory_limit(void)
{
        Fixture f;
        GrpcLimits limits = GRPC_LIMITS_DEFAULT;

        limits.memory_bytes = 300000;
        fixture_begin(&f, &limits);
        int32_t id = client_request(&f, "/t.T/Hold", NULL, "\0\0\4\x93\xe0hello", 10); /* 300,000 bytes follow */
        assert_refused(&f, id, "200", "8", "try again");
        id = client_request(&f, "/t.T/Hold", NULL, HELLO);
        grpc_call_reply(f.held[0], malloc(300000), 300000);
        fixture_settle(&f);
        assert_eq_str(f.answers[id].grpc_status, "8");
        id = client_request(&f, "/t.T/Echo", NULL, HELLO);
        assert_eq_str(f.answers[id].grpc_status, "0");
        fixture_end(&f);
}

/* A session that may hold less than it needs ends; the process and the other connections do not notice. */
static void test_memory_of_nghttp2(void)
{
        for (size_t limit_bytes = 0; limit_bytes < 60000; limit_bytes += 1009) {
                Fixture f;
                GrpcLimits limits = GRPC_LIMITS_DEFAULT;
                int fds[2];
                static const char input[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
                                            "\0\0\1\1\5\0\0\0\1\x83\0\0\x8\6\0\0\0\0\0"
                                            "12345678";

                memset(&f, 0, sizeof(f));
                limits.connection_memory_bytes = limit_bytes;
                f.base = event_base_new();
                assert_ok(grpc_server_new(&f.server, f.base, -1, &test_handlers, &limits, &f));
                assert_ok(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds));
                (void)grpc_server_adopt(f.server, fds[1]);
                (void)send(fds[0], input, sizeof(input) - 1, MSG_NOSIGNAL);
                for (int i = 0; i < 5; i++)
                        (void)event_base_loop(f.base, EVLOOP_NONBLOCK);
                (void)close(fds[0]);
                f.server = grpc_server_free(f.server);
                event_base_free(f.base);
        }
}

static void test_drain(void)
{
        Fixture f;

        fixture_begin(&f, NULL);
        int32_t id = client_request(&f, "/t.T/Hold", NULL, HELLO);
        grpc_server_drain(f.server, clock_monotonic_usec() + 5 * USEC_PER_SEC);
        fixture_settle(&f);
        assert_true(f.is_goaway);
        assert_eq_int(f.n_drained, 0);
        grpc_call_reply(f.held[0], NULL, 0);
        fixture_settle(&f);
        assert_eq_str(f.answers[id].grpc_status, "0");
        assert_true(f.is_end);
        assert_eq_int(f.n_drained, 1);
        fixture_end(&f);

        /* Whoever does not come to an end is cut off. */
        fixture_begin(&f, NULL);
        (void)client_request(&f, "/t.T/Hold", NULL, HELLO);
        grpc_server_drain(f.server, clock_monotonic_usec() + 30000);
        fixture_sleep(&f, 60);
        assert_true(f.is_end);
        assert_eq_int(f.n_cancelled, 1);
        assert_eq_int(f.n_drained, 1);
        fixture_end(&f);
}

static void test_failure_of_ours(void)
{
        Fixture f;

        fixture_begin(&f, NULL);
        f.next_result = -ENOSPC;
        (void)client_request(&f, "/t.T/Echo", NULL, HELLO);
        assert_eq_int(f.failure, -ENOSPC);
        fixture_end(&f);
}

int main(void)
{
        TEST_RUN(test_requests);
        TEST_RUN(test_status);
        TEST_RUN(test_late_owner);
        TEST_RUN(test_deadline);
        TEST_RUN(test_stream_queue);
        TEST_RUN(test_memory_limit);
        TEST_RUN(test_memory_of_nghttp2);
        TEST_RUN(test_drain);
        TEST_RUN(test_failure_of_ours);
        return EXIT_SUCCESS;
}
