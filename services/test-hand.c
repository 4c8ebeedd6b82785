/* SPDX-License-Identifier: Apache-2.0 */

/* The skeleton of hands, with the test in the place of linkd and of the brain: a spawner's row, because it needs no
 * privilege to enter. */

#include "ipc/control.h"
#include "ipc/edges/containerd-launch.rows.h"
#include "lib/clock.h"
#include "lib/fd.h"
#include "lib/test.h"
#include "services/hand.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* What a request asks the child to do, in the first letter of the id. */
static int on_exit_record(void *context, int edge_fd, HandRequest *request)
{
        const LaunchContainer *container = (const LaunchContainer *)(const void *)request->frame.payload;
        const LaunchExit end = {.exists = 1};

        switch (container->id[0]) {
        case 'c': /* dies */
                (void)raise(SIGKILL);
                return 0;
        case 'a': /* dies after the answer */
                (void)hand_reply(edge_fd, request, &end, NULL, 0);
                (void)raise(SIGKILL);
                return 0;
        case 'n': /* forgets to answer */
                return 0;
        case 'f': /* a bug of ours */
                return -EIO;
        case 's': /* takes long */
                (void)poll(NULL, 0, 300);
                break;
        default:
                break;
        }
        return hand_reply(edge_fd, request, &end, NULL, 0);
}

static int on_probe(void *context, int edge_fd, HandRequest *request)
{
        return hand_fail(edge_fd, request, 9, "no runtime");
}

/* Those of the other rows are NULL. */
static const HandHandler handlers[16] = {
        [ROW_ID_CONTAINERD_LAUNCH_LAUNCH_EXIT_RECORD - 1] = on_exit_record,
        [ROW_ID_CONTAINERD_LAUNCH_LAUNCH_PROBE - 1] = on_probe,
};

typedef struct Bench {
        pid_t pid;
        int control_fd;
        int edge_fd;
        uint32_t generation;
        ControlFrame frame;
} Bench;

static void bench_edge(Bench *bench)
{
        int pair[2];
        ControlEdge edge = {.edge = EDGE_CONTAINERD_LAUNCH, .side = EDGE_SIDE_B, .generation = ++bench->generation};

        assert_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
        bench->edge_fd = fd_close(bench->edge_fd);
        bench->edge_fd = pair[0];
        assert_ok(control_send(bench->control_fd, CONTROL_EDGE, &edge, NULL, 0, pair[1]));
        (void)close(pair[1]);
}

static void bench_expect(Bench *bench, ControlType type)
{
        assert_ok(control_receive(bench->control_fd, true, &bench->frame));
        assert_eq_str(control_type_name(bench->frame.type), control_type_name(type));
}

static void bench_start(Bench *bench, bool fork_per_request)
{
        int pair[2];

        assert_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
        bench->pid = fork();
        if (bench->pid == 0) {
                const HandSpec spec = {
                        .process = PROCESS_CONTAINERD_LAUNCH,
                        .edge = EDGE_CONTAINERD_LAUNCH,
                        .schema = &edge_schema_containerd_launch,
                        .handlers = handlers,
                        .context_size = sizeof(Hand *),
                        .fork_per_request = fork_per_request,
                };
                char *argv[] = {(char *)(uintptr_t)"hand", NULL};

                (void)dup2(pair[1], CONTROL_FD);
                (void)close_range(CONTROL_FD + 1, ~0U, 0);
                _exit(hand_main(&spec, 1, argv));
        }
        (void)close(pair[1]);
        bench->control_fd = pair[0];
        bench->edge_fd = -1;
        bench->generation = 0;
        bench_expect(bench, CONTROL_HELLO);
        assert_eq_int(bench->frame.hello.process, PROCESS_CONTAINERD_LAUNCH);

        const ConfigContainerd section = {.log_root = "/"};
        const ControlConfig config = {.section_size = sizeof(section)};
        assert_ok(control_send(bench->control_fd, CONTROL_CONFIG, &config, &section, sizeof(section), -1));
        assert_ok(control_send(bench->control_fd, CONTROL_GO, NULL, NULL, 0, -1));
        bench_edge(bench);
        bench_expect(bench, CONTROL_STATE);
        assert_eq_int(bench->frame.state.row_state, ROW_STATE_READY);
}

static int bench_end(Bench *bench)
{
        int status;

        bench->edge_fd = fd_close(bench->edge_fd);
        assert_eq_int(waitpid(bench->pid, &status, 0), bench->pid);
        bench->control_fd = fd_close(bench->control_fd);
        return status;
}

static void bench_stop(Bench *bench)
{
        assert_ok(control_send(bench->control_fd, CONTROL_STOP, NULL, NULL, 0, -1));
        assert_eq_int(bench_end(bench), 0);
}

static void ask(Bench *bench, uint32_t request_id, char what)
{
        LaunchContainer container = {.id = {what}};
        assert_ok(wire_send(bench->edge_fd, ROW_ID_CONTAINERD_LAUNCH_LAUNCH_EXIT_RECORD, 0, request_id, &container,
                            sizeof(container), NULL, 0));
}

/* One answer: its id and, for a refusal, the code; the text must hold the part. */
static uint32_t answered(Bench *bench, uint32_t *ret_code, const char *part)
{
        _cleanup_(wire_frame_done) WireFrame frame = WIRE_FRAME_NULL;

        assert_ok(wire_receive(bench->edge_fd, true, &frame));
        assert_true(frame.header.flags & WIRE_FLAG_REPLY);
        *ret_code = 0;
        if (frame.header.flags & WIRE_FLAG_ERROR) {
                memcpy(ret_code, frame.payload, sizeof(*ret_code));
                if (!memmem(frame.payload, frame.header.length, part, strlen(part)))
                        test_fail("\"%.*s\" does not tell of %s", (int)frame.header.length - 4, frame.payload + 4, part);
        }
        return frame.header.request_id;
}

static void assert_silent(Bench *bench)
{
        struct pollfd fd = {.fd = bench->edge_fd, .events = POLLIN};
        assert_eq_int(poll(&fd, 1, 50), 0);
}

static void test_requests_run_beside_each_other(void)
{
        Bench bench;
        uint32_t code;

        bench_start(&bench, true);
        uint64_t start_usec = clock_monotonic_usec();
        for (uint32_t i = 1; i <= 8; i++)
                ask(&bench, i, 's');
        ask(&bench, 9, 'x');
        assert_eq_int(answered(&bench, &code, ""), 9); /* not behind the slow ones */
        for (uint32_t i = 1; i <= 8; i++)
                (void)answered(&bench, &code, "");
        assert_true(clock_monotonic_usec() - start_usec < 8 * 300 * 1000);
        bench_stop(&bench);
}

static void test_a_dead_child_is_answered_for(void)
{
        Bench bench;
        uint32_t code;

        bench_start(&bench, true);
        ask(&bench, 1, 'c');
        assert_eq_int(answered(&bench, &code, "launch_exit_record: the process of containerd-launch that handled it ended without an answer (signal 9)"), 1);
        assert_eq_int(code, 13);
        ask(&bench, 2, 'n');
        assert_eq_int(answered(&bench, &code, "exit code 0"), 2);
        assert_eq_int(code, 13);
        ask(&bench, 3, 'f');
        assert_eq_int(answered(&bench, &code, "exit code 1"), 3);
        /* Exactly one answer, also from one that dies behind it. */
        ask(&bench, 4, 'a');
        assert_eq_int(answered(&bench, &code, ""), 4);
        assert_eq_int(code, 0);
        assert_silent(&bench);
        ask(&bench, 5, 'x');
        assert_eq_int(answered(&bench, &code, ""), 5);
        assert_eq_int(code, 0);
        bench_stop(&bench);
}

static void test_more_than_the_limit(void)
{
        Bench bench;
        uint32_t code;

        bench_start(&bench, true);
        for (uint32_t i = 1; i <= 80; i++)
                ask(&bench, i, 's');
        for (uint32_t i = 1; i <= 80; i++)
                (void)answered(&bench, &code, "");
        assert_silent(&bench);
        bench_stop(&bench);
}

static void test_new_edge_replaces_old(void)
{
        Bench bench;
        uint32_t code;

        bench_start(&bench, true);
        int old_fd = dup(bench.edge_fd);
        ask(&bench, 1, 's');
        bench_edge(&bench);
        ask(&bench, 2, 'x');
        assert_eq_int(answered(&bench, &code, ""), 2);
        /* What was asked on the old edge is answered there or nowhere, and never on the new one. */
        (void)poll(NULL, 0, 400);
        assert_silent(&bench);
        (void)close(old_fd);

        ControlEdge stale = {.edge = EDGE_CONTAINERD_LAUNCH, .side = EDGE_SIDE_B, .generation = 1};
        int pair[2];
        assert_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
        assert_ok(control_send(bench.control_fd, CONTROL_EDGE, &stale, NULL, 0, pair[1]));
        (void)close(pair[1]);
        ask(&bench, 3, 'x');
        assert_eq_int(answered(&bench, &code, ""), 3);
        (void)close(pair[0]);
        bench_stop(&bench);
}

static void test_a_violation_closes_the_edge(void)
{
        Bench bench;
        uint32_t code;

        bench_start(&bench, true);
        assert_eq_int(send(bench.edge_fd, "garbage", 7, 0), 7);
        bench_expect(&bench, CONTROL_EDGE_LOST);
        assert_eq_int(bench.frame.edge_lost.violation, 1);
        assert_eq_int(bench.frame.edge_lost.generation, 1);
        assert_true(recv(bench.edge_fd, &code, sizeof(code), 0) <= 0); /* the end, or a reset: it left bytes unread */

        bench_edge(&bench);
        ask(&bench, 1, 'x');
        assert_eq_int(answered(&bench, &code, ""), 1);
        (void)shutdown(bench.edge_fd, SHUT_RDWR);
        bench_expect(&bench, CONTROL_EDGE_LOST);
        assert_eq_int(bench.frame.edge_lost.violation, 0);
        bench_stop(&bench);
}

static void test_sequential(void)
{
        Bench bench;
        uint32_t code;

        const LaunchProbe probe = {0};

        bench_start(&bench, false);
        assert_ok(wire_send(bench.edge_fd, ROW_ID_CONTAINERD_LAUNCH_LAUNCH_PROBE, 0, 7, &probe, sizeof(probe), NULL, 0));
        assert_eq_int(answered(&bench, &code, "no runtime"), 7);
        assert_eq_int(code, 9);
        ask(&bench, 8, 'f'); /* a failure of ours ends the process: it is started anew */
        assert_eq_int(bench_end(&bench), 1 << 8);
}

static void test_stop_waits_for_children(void)
{
        Bench bench;
        uint32_t code;

        bench_start(&bench, true);
        ask(&bench, 1, 's');
        (void)poll(NULL, 0, 50);
        assert_ok(kill(bench.pid, SIGTERM));
        assert_eq_int(answered(&bench, &code, ""), 1);
        assert_eq_int(bench_end(&bench), 0);
}

static void test_end_of_linkd(void)
{
        Bench bench;

        bench_start(&bench, true);
        bench.control_fd = fd_close(bench.control_fd);
        assert_eq_int(bench_end(&bench), 0);
}

static void test_wrong_control(void)
{
        Bench bench;

        bench_start(&bench, true);
        assert_eq_int(send(bench.control_fd, "garbage", 7, 0), 7);
        assert_eq_int(bench_end(&bench), 1 << 8);
}

int main(void)
{
        TEST_RUN(test_requests_run_beside_each_other);
        TEST_RUN(test_a_dead_child_is_answered_for);
        TEST_RUN(test_more_than_the_limit);
        TEST_RUN(test_new_edge_replaces_old);
        TEST_RUN(test_a_violation_closes_the_edge);
        TEST_RUN(test_sequential);
        TEST_RUN(test_stop_waits_for_children);
        TEST_RUN(test_end_of_linkd);
        TEST_RUN(test_wrong_control);
        return 0;
}
