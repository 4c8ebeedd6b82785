/* SPDX-License-Identifier: Apache-2.0 */

/* The CLI's client against the demo server: test-client PATH-OF-ECHO-SERVER. */

#include "cli/grpc-client.h"
#include "lib/strings.h"
#include "lib/test.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static char *client_echo_server; /* argv[1] */

typedef struct Fixture {
        pid_t pid;
        char directory[32];
        char *socket_path;
        GrpcClient *client;
        bool is_ending; /* a second SIGTERM could come when its handler is gone already */
} Fixture;

static Fixture fixture_begin(void)
{
        Fixture f = {.directory = "/tmp/test-client.XXXXXX"};
        int ready[2];
        char byte;

        assert_true(mkdtemp(f.directory));
        f.socket_path = str_printf("%s/socket", f.directory);
        assert_ok(pipe(ready));
        f.pid = fork();
        if (f.pid == 0) {
                (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails aborts */
                (void)dup2(ready[1], STDOUT_FILENO);
                (void)close(ready[0]);
                (void)close(ready[1]);
                (void)execl(client_echo_server, client_echo_server, f.socket_path, (char *)NULL);
                _exit(127);
        }
        (void)close(ready[1]);
        assert_eq_int(read(ready[0], &byte, 1), 1);
        (void)close(ready[0]);
        assert_ok(grpc_client_new(&f.client, f.socket_path));
        return f;
}

static void fixture_end(Fixture *f)
{
        int status;

        f->client = grpc_client_free(f->client);
        if (!f->is_ending)
                (void)kill(f->pid, SIGTERM);
        (void)waitpid(f->pid, &status, 0);
        assert_eq_int(status, 0);
        (void)unlink(f->socket_path);
        (void)rmdir(f->directory);
        free(f->socket_path);
}

static GrpcReply client_call(Fixture *f, const char *path, const char *request, uint64_t timeout_usec)
{
        GrpcReply reply = GRPC_REPLY_INIT;
        assert_ok(grpc_client_call(f->client, path, request, strlen(request), timeout_usec, &reply));
        return reply;
}

static void test_unary(void)
{
        Fixture f = fixture_begin();
        const size_t sizes[] = {0, 1, 16384, 65535, 1024 * 1024 + 1, 16 * 1024 * 1024};

        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
                _cleanup_free_ uint8_t *request = malloc(sizes[i] + 1);
                GrpcReply reply = GRPC_REPLY_INIT;

                for (size_t k = 0; k < sizes[i]; k++)
                        request[k] = (uint8_t)(k * 7 + k / 1000);
                assert_ok(grpc_client_call(f.client, "/test.Echo/Unary", request, sizes[i], USEC_INFINITY, &reply));
                assert_eq_int(reply.status, GRPC_STATUS_OK);
                assert_eq_mem(reply.bytes, reply.n_bytes, request, sizes[i]);
                grpc_reply_done(&reply);
        }
        fixture_end(&f);
}

static void test_status(void)
{
        Fixture f = fixture_begin();

        GrpcReply reply = client_call(&f, "/test.Echo/Fail", "5 no pod \xc3\xa4: 100% gone\n", USEC_INFINITY);
        assert_eq_int(reply.status, GRPC_STATUS_NOT_FOUND);
        assert_eq_str(reply.text, " no pod \xc3\xa4: 100% gone\n");
        assert_true(!reply.bytes);
        grpc_reply_done(&reply);

        reply = client_call(&f, "/test.Echo/None", "", USEC_INFINITY);
        assert_eq_int(reply.status, GRPC_STATUS_UNIMPLEMENTED);
        assert_eq_str(reply.text, "unknown method /test.Echo/None");
        grpc_reply_done(&reply);

        reply = client_call(&f, "/test.Echo/Blob", "16777217", USEC_INFINITY);
        assert_eq_int(reply.status, GRPC_STATUS_RESOURCE_EXHAUSTED);
        grpc_reply_done(&reply);
        fixture_end(&f);
}

static void test_deadline(void)
{
        Fixture f = fixture_begin();
        uint64_t began_usec = clock_monotonic_usec();

        GrpcReply reply = client_call(&f, "/test.Echo/Sleep", "20000", 200000);
        assert_eq_int(reply.status, GRPC_STATUS_DEADLINE_EXCEEDED);
        grpc_reply_done(&reply);
        assert_true(clock_monotonic_usec() - began_usec < 5 * USEC_PER_SEC);

        /* The connection is good for more. */
        reply = client_call(&f, "/test.Echo/Sleep", "20", 10 * USEC_PER_SEC);
        assert_eq_int(reply.status, GRPC_STATUS_OK);
        assert_eq_mem(reply.bytes, reply.n_bytes, "slept", 5);
        grpc_reply_done(&reply);

        /* A server that is stopped does not hold us up. */
        (void)kill(f.pid, SIGSTOP);
        reply = client_call(&f, "/test.Echo/Unary", "", 200000);
        assert_eq_int(reply.status, GRPC_STATUS_DEADLINE_EXCEEDED);
        grpc_reply_done(&reply);
        (void)kill(f.pid, SIGCONT);
        fixture_end(&f);
}

static void test_stream(void)
{
        Fixture f = fixture_begin();
        GrpcReply reply = GRPC_REPLY_INIT;
        size_t n_messages = 0;
        int r;

        assert_ok(grpc_client_open(f.client, "/test.Echo/Stream", "500 3000", 8, USEC_INFINITY));
        for (;;) {
                _cleanup_free_ uint8_t *bytes = NULL;
                size_t n;
                r = grpc_client_next(f.client, &bytes, &n);
                if (r)
                        break;
                assert_eq_int(n, 3000);
                assert_eq_int(bytes[2999], (500 - n_messages) & 0xff);
                n_messages++;
        }
        assert_eq_int(r, GRPC_CLIENT_E_END);
        assert_eq_int(n_messages, 500);
        assert_ok(grpc_client_end(f.client, &reply));
        assert_eq_int(reply.status, GRPC_STATUS_OK);
        grpc_reply_done(&reply);

        /* Leaving early cancels, and the next call works. */
        _cleanup_free_ uint8_t *bytes = NULL;
        size_t n;
        assert_ok(grpc_client_open(f.client, "/test.Echo/Stream", "1000000 3000", 12, USEC_INFINITY));
        assert_ok(grpc_client_next(f.client, &bytes, &n));
        assert_ok(grpc_client_end(f.client, &reply));
        assert_eq_int(reply.status, GRPC_STATUS_CANCELLED);
        grpc_reply_done(&reply);
        reply = client_call(&f, "/test.Echo/Unary", "next", USEC_INFINITY);
        assert_eq_mem(reply.bytes, reply.n_bytes, "next", 4);
        grpc_reply_done(&reply);

        /* A stream is no reply of a unary call. */
        reply = client_call(&f, "/test.Echo/Stream", "3 10", USEC_INFINITY);
        assert_eq_int(reply.status, GRPC_STATUS_UNIMPLEMENTED);
        grpc_reply_done(&reply);
        reply = client_call(&f, "/test.Echo/Stream", "0", USEC_INFINITY);
        assert_eq_int(reply.status, GRPC_STATUS_INTERNAL);
        grpc_reply_done(&reply);
        fixture_end(&f);
}

static void test_lost_server(void)
{
        Fixture f = fixture_begin();
        GrpcReply reply = GRPC_REPLY_INIT;

        assert_ok(grpc_client_open(f.client, "/test.Echo/Sleep", "20000", 5, USEC_INFINITY));
        (void)kill(f.pid, SIGTERM);
        f.is_ending = true;
        uint8_t *bytes = NULL;
        size_t n;
        assert_eq_int(grpc_client_next(f.client, &bytes, &n), GRPC_CLIENT_E_END);
        assert_ok(grpc_client_end(f.client, &reply));
        assert_eq_int(reply.status, GRPC_STATUS_UNAVAILABLE);
        grpc_reply_done(&reply);
        reply = client_call(&f, "/test.Echo/Unary", "", USEC_INFINITY);
        assert_eq_int(reply.status, GRPC_STATUS_UNAVAILABLE);
        grpc_reply_done(&reply);
        fixture_end(&f);
}

static void test_unreachable(void)
{
        GrpcClient *client = NULL;
        char path[300];

        assert_eq_int(grpc_client_new(&client, "/tmp/no-such-directory/socket"), GRPC_CLIENT_E_UNREACHABLE);
        assert_eq_int(errno, ENOENT);
        memset(path, 'x', sizeof(path) - 1);
        path[sizeof(path) - 1] = '\0';
        assert_eq_int(grpc_client_new(&client, path), GRPC_CLIENT_E_UNREACHABLE);
        assert_eq_int(errno, ENAMETOOLONG);
}

int main(int argc, char **argv)
{
        if (argc < 2)
                test_skip("no demo server given");
        client_echo_server = argv[1];
        TEST_RUN(test_unary);
        TEST_RUN(test_status);
        TEST_RUN(test_deadline);
        TEST_RUN(test_stream);
        TEST_RUN(test_lost_server);
        TEST_RUN(test_unreachable);
        return EXIT_SUCCESS;
}
