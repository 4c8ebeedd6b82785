/* SPDX-License-Identifier: Apache-2.0 */

/* A server for tests of the gRPC layer with real clients: its methods echo, stream, wait, fail and count. Requests are
 * decimal numbers and texts separated by spaces, so that clients need no protobuf.
 *
 * echo-server SOCKET [stall|frame|request|connections|flood=N]...    (times in milliseconds) */

#include "lib/error.h"
#include "lib/log.h"
#include "lib/strings.h"
#include "services/gatewayd/grpc-server.h"

#include <assert.h>
#include <event2/event.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

typedef struct EchoServer {
        struct event_base *base;
        GrpcServer *grpc;
        uint64_t n_cancelled[4]; /* by GrpcCancel */
        int failure;
} EchoServer;

typedef struct EchoMethod {
        GrpcMethod grpc;
        int (*on_call)(EchoServer *server, GrpcCall *call);
} EchoMethod;

/* What a call that is not answered at once needs: a timer, or what is left of a stream. */
typedef struct EchoWait {
        EchoServer *server;
        GrpcCall *call;
        struct event *timer;
        uint64_t n_left, n_bytes, gap_usec;
} EchoWait;

static EchoWait *echo_wait_free(EchoWait *w)
{
        if (!w)
                return NULL;
        if (w->timer)
                event_free(w->timer);
        free(w);
        return NULL;
}

/* Not strndup: with strict_string_checks the sanitizer looks for an end that the request's bytes do not have. */
static char *echo_text(const GrpcCall *call)
{
        char *text = calloc(1, call->request.length + 1);
        if (text && call->request.length > 0)
                memcpy(text, call->request.bytes, call->request.length);
        return text;
}

static void echo_parse(const GrpcCall *call, uint64_t *numbers, size_t n)
{
        _cleanup_free_ char *text = echo_text(call);
        char *at = text;

        for (size_t i = 0; i < n; i++)
                numbers[i] = at ? strtoull(at, &at, 10) : 0;
}

static int echo_on_unary(EchoServer *server, GrpcCall *call)
{
        size_t n = call->request.length;
        void *copy = malloc(MAX2(n, (size_t)1));
        if (!copy)
                return error_origin(-ENOMEM);
        memcpy(copy, call->request.bytes, n);
        grpc_call_reply(call, copy, n);
        return 0;
}

/* "SIZE": a reply of that many bytes. */
static int echo_on_blob(EchoServer *server, GrpcCall *call)
{
        uint64_t size;
        echo_parse(call, &size, 1);
        void *bytes = malloc(MAX2(size, (uint64_t)1));
        if (!bytes)
                return error_origin(-ENOMEM);
        memset(bytes, 'b', size); /* touched, so that it counts as resident */
        grpc_call_reply(call, bytes, size);
        return 0;
}

static int echo_on_fail(EchoServer *server, GrpcCall *call)
{
        _cleanup_free_ char *text = echo_text(call);
        char *at = NULL;
        unsigned long code = strtoul(text, &at, 10);
        grpc_call_fail_details(call, (GrpcStatus)code, at, text, strlen(text));
        return 0;
}

static void echo_on_timer(evutil_socket_t fd, short what, void *userdata)
{
        EchoWait *w = userdata;
        GrpcCall *call = w->call;

        call->userdata = echo_wait_free(w);
        grpc_call_reply(call, strdup("slept"), 5);
}

static int echo_wait_start(EchoServer *server, GrpcCall *call, event_callback_fn callback, EchoWait **ret)
{
        EchoWait *w = calloc(1, sizeof(*w));
        if (!w)
                return error_origin(-ENOMEM);
        w->server = server;
        w->call = call;
        w->timer = evtimer_new(server->base, callback, w);
        call->userdata = w;
        *ret = w;
        return 0;
}

static void echo_wait_arm(EchoWait *w, uint64_t usec)
{
        struct timeval tv = {.tv_sec = (time_t)(usec / USEC_PER_SEC), .tv_usec = (suseconds_t)(usec % USEC_PER_SEC)};
        (void)evtimer_add(w->timer, &tv);
}

/* "MILLISECONDS" */
static int echo_on_sleep(EchoServer *server, GrpcCall *call)
{
        EchoWait *w = NULL;
        uint64_t msec;

        echo_parse(call, &msec, 1);
        int r = echo_wait_start(server, call, echo_on_timer, &w);
        if (r)
                return fold(r);
        echo_wait_arm(w, msec * 1000);
        return 0;
}

static void echo_stream_continue(EchoWait *w)
{
        GrpcCall *call = w->call;

        while (w->n_left > 0) {
                uint8_t *bytes = malloc(MAX2(w->n_bytes, (uint64_t)1));
                assert(bytes);
                memset(bytes, (int)(w->n_left & 0xff), w->n_bytes);
                int r = grpc_call_send(call, bytes, w->n_bytes);
                if (r) {
                        free(bytes);
                        return; /* full: on_writable; cancelled: on_cancel */
                }
                w->n_left--;
                if (w->gap_usec > 0) {
                        echo_wait_arm(w, w->gap_usec);
                        return;
                }
        }
        call->userdata = echo_wait_free(w);
        grpc_call_finish(call);
}

static void echo_on_gap(evutil_socket_t fd, short what, void *userdata)
{
        echo_stream_continue(userdata);
}

/* "COUNT SIZE GAP": so many messages of that size, milliseconds apart. */
static int echo_on_stream(EchoServer *server, GrpcCall *call)
{
        EchoWait *w = NULL;
        uint64_t numbers[3];

        echo_parse(call, numbers, 3);
        int r = echo_wait_start(server, call, echo_on_gap, &w);
        if (r)
                return fold(r);
        w->n_left = numbers[0];
        w->n_bytes = numbers[1];
        w->gap_usec = numbers[2] * 1000;
        echo_stream_continue(w);
        return 0;
}

static int echo_on_stats(EchoServer *server, GrpcCall *call)
{
        const GrpcServer *g = server->grpc;
        char *text = str_printf("connections=%zu calls=%zu memory=%zu peak=%zu violations=%" PRIu64 " refused=%" PRIu64
                                " client=%" PRIu64 " disconnect=%" PRIu64 " deadline=%" PRIu64 " stall=%" PRIu64,
                                g->n_connections, g->n_calls, g->memory.used_bytes, g->memory.peak_bytes,
                                g->counters.n_violations, g->counters.n_refused, server->n_cancelled[0],
                                server->n_cancelled[1], server->n_cancelled[2], server->n_cancelled[3]);
        if (!text)
                return error_origin(-ENOMEM);
        grpc_call_reply(call, text, strlen(text));
        return 0;
}

static int echo_on_drain(EchoServer *server, GrpcCall *call)
{
        grpc_call_reply(call, NULL, 0);
        grpc_server_drain(server->grpc, clock_monotonic_usec() + 3 * USEC_PER_SEC);
        return 0;
}

static const EchoMethod echo_methods[] = {
        {{"/test.Echo/Unary", false}, echo_on_unary},  {{"/test.Echo/Blob", false}, echo_on_blob},
        {{"/test.Echo/Fail", false}, echo_on_fail},    {{"/test.Echo/Sleep", false}, echo_on_sleep},
        {{"/test.Echo/Stream", true}, echo_on_stream}, {{"/test.Echo/Stats", false}, echo_on_stats},
        {{"/test.Echo/Drain", false}, echo_on_drain},
};

static const GrpcMethod *echo_lookup(void *userdata, const char *path)
{
        for (size_t i = 0; i < ARRAY_SIZE(echo_methods); i++)
                if (str_equal(echo_methods[i].grpc.path, path))
                        return &echo_methods[i].grpc;
        return NULL;
}

static int echo_on_call(void *userdata, GrpcCall *call)
{
        int r = container_of(call->method, const EchoMethod, grpc)->on_call(userdata, call);
        return r ? fold(r) : 0;
}

static int echo_on_cancel(void *userdata, GrpcCall *call, GrpcCancel why)
{
        EchoServer *server = userdata;
        server->n_cancelled[why]++;
        call->userdata = echo_wait_free(call->userdata);
        grpc_call_fail(call, GRPC_STATUS_CANCELLED, NULL);
        return 0;
}

static int echo_on_writable(void *userdata, GrpcCall *call)
{
        echo_stream_continue(call->userdata);
        return 0;
}

static int echo_on_drained(void *userdata)
{
        EchoServer *server = userdata;
        return event_base_loopbreak(server->base);
}

static void echo_on_failure(void *userdata, int r)
{
        EchoServer *server = userdata;
        server->failure = r;
        (void)event_base_loopbreak(server->base);
}

static void echo_on_signal(evutil_socket_t signal_number, short what, void *userdata)
{
        EchoServer *server = userdata;
        (void)event_base_loopbreak(server->base);
}

static int echo_listen(const char *path)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        _cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (fd < 0 || !str_copy(address.sun_path, sizeof(address.sun_path), path))
                return -1;
        (void)unlink(path);
        if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 128) < 0)
                return -1;
        return TAKE_FD(fd);
}

static bool echo_set_limit(GrpcLimits *limits, const char *argument)
{
        const char *value = strchr(argument, '=');
        uint64_t n;

        if (!value || !u64_parse(value + 1, 1000000, &n))
                return false;
        if (str_has_prefix(argument, "stall="))
                limits->stall_usec = n * 1000;
        else if (str_has_prefix(argument, "frame="))
                limits->frame_usec = n * 1000;
        else if (str_has_prefix(argument, "request="))
                limits->request_usec = n * 1000;
        else if (str_has_prefix(argument, "connections="))
                limits->max_connections = n;
        else if (str_has_prefix(argument, "flood="))
                limits->flood_burst = (uint32_t)n;
        else
                return false;
        return true;
}

static const GrpcHandlers echo_handlers = {
        .lookup = echo_lookup,
        .on_call = echo_on_call,
        .on_cancel = echo_on_cancel,
        .on_writable = echo_on_writable,
        .on_drained = echo_on_drained,
        .on_failure = echo_on_failure,
};

int main(int argc, char **argv)
{
        EchoServer server = {0};
        GrpcLimits limits = GRPC_LIMITS_DEFAULT;

        log_init("echo-server", LOG_LEVEL_INFO);
        for (int i = 2; i < argc; i++)
                if (!echo_set_limit(&limits, argv[i])) {
                        log_error("bad argument: %s", argv[i]);
                        return EXIT_FAILURE;
                }
        int fd = argc > 1 ? echo_listen(argv[1]) : -1;
        if (fd < 0) {
                log_error("cannot listen: %s", strerror(errno));
                return EXIT_FAILURE;
        }
        server.base = event_base_new();
        if (!server.base || grpc_server_new(&server.grpc, server.base, fd, &echo_handlers, &limits, &server) < 0) {
                log_error("cannot start: %s", error_trace());
                return EXIT_FAILURE;
        }
        struct event *term = evsignal_new(server.base, SIGTERM, echo_on_signal, &server);
        if (term)
                (void)event_add(term, NULL);
        (void)puts("ready");
        (void)fflush(stdout);
        (void)event_base_dispatch(server.base);
        server.grpc = grpc_server_free(server.grpc);
        if (term)
                event_free(term);
        event_base_free(server.base);
        if (server.failure)
                log_error("failed: %s", error_trace());
        return server.failure ? EXIT_FAILURE : EXIT_SUCCESS;
}
