/* SPDX-License-Identifier: Apache-2.0 */

/* Fuzz target: the input is what a client writes to its socket, to a real server in this process. Bit 0 of the first
 * byte: the preface and empty SETTINGS go ahead of it; bit 1: the client does not read; the bits above cut the input
 * into writes. Built without libFuzzer (fuzz-grpc-replay) it runs the files that it is given. */

#include "lib/fuzz.h"
#include "lib/strings.h"
#include "services/gatewayd/grpc-server.h"

#include <assert.h>
#include <event2/event.h>
#include <sys/socket.h>

/* How the owner behaves. */
typedef enum FuzzMode { FUZZ_ECHO, FUZZ_LATER, FUZZ_STREAM, FUZZ_HOLD } FuzzMode;

typedef struct FuzzMethod {
        GrpcMethod grpc;
        FuzzMode mode;
} FuzzMethod;

typedef struct Fuzz {
        GrpcCall *held[64];
        size_t n_held;
} Fuzz;

static const FuzzMethod fuzz_methods[] = {
        {{"/test.Echo/Unary", false}, FUZZ_ECHO},
        {{"/test.Echo/Sleep", false}, FUZZ_LATER},
        {{"/test.Echo/Stream", true}, FUZZ_STREAM},
        {{"/test.Echo/Blob", false}, FUZZ_HOLD},
};

static const GrpcMethod *fuzz_lookup(void *userdata, const char *path)
{
        for (size_t i = 0; i < ARRAY_SIZE(fuzz_methods); i++)
                if (str_equal(fuzz_methods[i].grpc.path, path))
                        return &fuzz_methods[i].grpc;
        return NULL;
}

static void fuzz_echo(GrpcCall *call)
{
        size_t n = call->request.length;
        void *copy = malloc(n + 1);

        assert(copy);
        if (n > 0)
                memcpy(copy, call->request.bytes, n); /* AddressSanitizer sees that all of it is there */
        grpc_call_reply(call, copy, n);
}

static void fuzz_stream(GrpcCall *call)
{
        for (int i = 0; i < 5; i++) {
                void *bytes = calloc(1, 3000);
                if (grpc_call_send(call, bytes, 3000))
                        free(bytes);
        }
        grpc_call_finish(call);
}

static int fuzz_on_call(void *userdata, GrpcCall *call)
{
        Fuzz *fuzz = userdata;
        FuzzMode mode = container_of(call->method, const FuzzMethod, grpc)->mode;

        assert(grpc_message_is_complete(&call->request));
        if (mode == FUZZ_ECHO || fuzz->n_held == ARRAY_SIZE(fuzz->held))
                fuzz_echo(call);
        else if (mode == FUZZ_STREAM)
                fuzz_stream(call);
        else
                fuzz->held[fuzz->n_held++] = call;
        return 0;
}

/* Some end their call at once, some keep it until it suits them. */
static int fuzz_on_cancel(void *userdata, GrpcCall *call, GrpcCancel why)
{
        Fuzz *fuzz = userdata;

        if (container_of(call->method, const FuzzMethod, grpc)->mode == FUZZ_HOLD)
                return 0;
        for (size_t i = 0; i < fuzz->n_held; i++)
                if (fuzz->held[i] == call)
                        fuzz->held[i] = fuzz->held[--fuzz->n_held];
        grpc_call_fail(call, GRPC_STATUS_CANCELLED, NULL);
        return 0;
}

static void fuzz_answer(Fuzz *fuzz, FuzzMode mode)
{
        for (size_t i = 0; i < fuzz->n_held; i++) {
                GrpcCall *call = fuzz->held[i];
                if (container_of(call->method, const FuzzMethod, grpc)->mode != mode)
                        continue;
                fuzz->held[i--] = fuzz->held[--fuzz->n_held];
                grpc_call_fail_details(call, GRPC_STATUS_NOT_FOUND, "100% not \xc3\xa4 found\n", "details", 7);
        }
}

static void fuzz_on_failure(void *userdata, int r)
{
        abort();
}

static const GrpcHandlers fuzz_handlers = {
        .lookup = fuzz_lookup,
        .on_call = fuzz_on_call,
        .on_cancel = fuzz_on_cancel,
        .on_failure = fuzz_on_failure,
};

static void fuzz_turn(struct event_base *base, Fuzz *fuzz, int fd, bool reads)
{
        uint8_t buffer[65536];

        (void)event_base_loop(base, EVLOOP_NONBLOCK);
        fuzz_answer(fuzz, FUZZ_LATER);
        (void)event_base_loop(base, EVLOOP_NONBLOCK);
        while (reads && recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT) > 0)
                (void)event_base_loop(base, EVLOOP_NONBLOCK);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        static const char hello[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
        Fuzz fuzz = {0};
        GrpcServer *server = NULL;
        GrpcLimits limits = GRPC_LIMITS_DEFAULT;
        int fds[2];

        if (n < 1)
                return 0;
        uint8_t options = *bytes++;
        n--;
        size_t step = options < 4 ? MAX2(n, (size_t)1) : (size_t)(options >> 2) * 7;
        limits.max_message_bytes = 100000;
        limits.connection_memory_bytes = 300000;
        limits.queue_bytes = 8000;

        struct event_base *base = event_base_new();
        assert(base);
        if (grpc_server_new(&server, base, -1, &fuzz_handlers, &limits, &fuzz) < 0 ||
            socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
                abort();
        (void)grpc_server_adopt(server, fds[1]);
        if (options & 1)
                (void)send(fds[0], hello, sizeof(hello) - 1, MSG_NOSIGNAL);
        for (size_t i = 0; i < n; i += step) {
                if (send(fds[0], bytes + i, MIN2(step, n - i), MSG_NOSIGNAL) < 0)
                        break;
                fuzz_turn(base, &fuzz, fds[0], !(options & 2));
        }
        fuzz_turn(base, &fuzz, fds[0], true);
        (void)close(fds[0]);
        fuzz_turn(base, &fuzz, fds[0], false);
        assert(server->n_connections == 0);
        fuzz_answer(&fuzz, FUZZ_HOLD);
        server = grpc_server_free(server); /* asserts that nothing is left */
        event_base_free(base);
        return 0;
}
