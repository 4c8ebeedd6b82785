/* SPDX-License-Identifier: Apache-2.0 */

/* Frames of control channels: linkd, which holds the keys, reads them from every daemon. */

#include "ipc/control.h"
#include "lib/fd.h"
#include "lib/test.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>

static ControlFrame frame; /* too large for a stack */

typedef struct Pair {
        int ours, theirs;
} Pair;

static Pair pair_new(void)
{
        int fds[2];
        assert_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds));
        return (Pair){fds[0], fds[1]};
}

static void pair_done(Pair *pair)
{
        pair->ours = fd_close(pair->ours);
        pair->theirs = fd_close(pair->theirs);
}

/* What comes of n bytes of a header and a body beside n_fds descriptors. A body that was not sent is no part of what is read. */
static int pair_take(Pair *pair, const ControlHeader *header, const void *body, size_t n_header, size_t n_body, size_t n_fds)
{
        struct iovec iov[] = {{(void *)(uintptr_t)header, n_header}, {(void *)(uintptr_t)body, n_body}};
        union {
                char buffer[CMSG_SPACE(3 * sizeof(int))];
                struct cmsghdr align;
        } control = {0};
        struct msghdr msg = {.msg_iov = iov, .msg_iovlen = ARRAY_SIZE(iov)};
        int fds[3] = {STDERR_FILENO, STDERR_FILENO, STDERR_FILENO};

        if (n_fds > 0) {
                msg.msg_control = control.buffer;
                msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
                struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
                c->cmsg_level = SOL_SOCKET;
                c->cmsg_type = SCM_RIGHTS;
                c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
                memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
        }
        assert_eq_int(sendmsg(pair->theirs, &msg, MSG_NOSIGNAL), (ssize_t)(n_header + n_body));
        memset(&frame, 0xa5, sizeof(frame));
        int r = control_receive(pair->ours, false, &frame);
        if (r != 0)
                assert_eq_int(frame.fd, -1);
        return r;
}

static ControlHeader header_of(ControlType type, size_t n)
{
        return (ControlHeader){.magic = CONTROL_MAGIC, .type = (uint16_t)type, .length = (uint32_t)n};
}

static int pair_take_whole(Pair *pair, ControlType type, size_t n, size_t n_fds)
{
        static const uint8_t body[CONTROL_PAYLOAD_MAX];
        ControlHeader header = header_of(type, n);
        return pair_take(pair, &header, body, sizeof(header), n, n_fds);
}

/* size, descriptors: 1 exactly one, 0 none, 2 one or none. */
static const struct {
        ControlType type;
        size_t size;
        unsigned fds;
} types[] = {
        {CONTROL_HELLO, sizeof(ControlHello), 0},
        {CONTROL_STATE, sizeof(ControlState), 0},
        {CONTROL_EDGE_LOST, sizeof(ControlEdgeLost), 0},
        {CONTROL_KEY, sizeof(ControlKey), 0},
        {CONTROL_NAMED_FD, sizeof(ControlNamedFd), 1},
        {CONTROL_GO, 0, 0},
        {CONTROL_EDGE, sizeof(ControlEdge), 1},
        {CONTROL_LOG_LEVEL, sizeof(ControlLogLevel), 0},
        {CONTROL_STOP, 0, 0},
        {CONTROL_START_MEMORY, 0, 1},
        {CONTROL_START_FILE, sizeof(ControlFile), 1},
        {CONTROL_START_FILES_END, 0, 0},
        {CONTROL_START_CHILD, sizeof(ControlChild), 2},
        {CONTROL_START_KEPT, sizeof(ControlKept), 1},
        {CONTROL_START_READY, 0, 0},
        {CONTROL_KEEP, sizeof(ControlKept), 1},
        {CONTROL_PLAN, sizeof(ControlPlan), 0},
        {CONTROL_SPAWN, sizeof(ControlRow), 0},
        {CONTROL_KILL, sizeof(ControlRow), 0},
        {CONTROL_STATUS, sizeof(ControlStatus), 0},
};

static void test_every_type(void)
{
        _cleanup_(pair_done) Pair pair = pair_new();
        assert_eq_int(ARRAY_SIZE(types) + 1, CONTROL_TYPE_N - 1); /* CONTROL_CONFIG has its own */
        for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
                size_t n = types[i].size;
                for (size_t n_fds = 0; n_fds < 4; n_fds++) {
                        bool is_good = types[i].fds == 2 ? n_fds < 2 : n_fds == types[i].fds;
                        assert_eq_int(pair_take_whole(&pair, types[i].type, n, n_fds), is_good ? 0 : CONTROL_E_MALFORMED);
                        if (is_good) {
                                assert_eq_int(frame.type, types[i].type);
                                assert_eq_int(frame.length, n);
                                assert_eq_int(frame.fd >= 0, n_fds > 0);
                                frame.fd = fd_close(frame.fd);
                        }
                }
                assert_eq_int(pair_take_whole(&pair, types[i].type, n + 1, types[i].fds & 1), CONTROL_E_MALFORMED);
                if (n > 0)
                        assert_eq_int(pair_take_whole(&pair, types[i].type, n - 1, types[i].fds & 1), CONTROL_E_MALFORMED);
                assert_true(strcmp(control_type_name(types[i].type), "?") != 0);
        }
}

static void test_headers(void)
{
        _cleanup_(pair_done) Pair pair = pair_new();
        static const uint8_t body[CONTROL_PAYLOAD_MAX + 1];
        ControlHeader good = header_of(CONTROL_STATE, sizeof(ControlState));
        ControlHeader bad[] = {good, good, good, good, good, good, good};

        bad[0].magic ^= 1;
        bad[1].padding = 1;
        bad[2].reserved = 1;
        bad[3].length++;
        bad[4].length = 0;
        bad[5].type = 0;
        bad[6].type = CONTROL_TYPE_N;
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_eq_int(pair_take(&pair, &bad[i], body, sizeof(good), sizeof(ControlState), 0), CONTROL_E_MALFORMED);
        ControlHeader unknown = header_of(0, 0);
        assert_eq_int(pair_take(&pair, &unknown, body, sizeof(good), 0, 0), CONTROL_E_MALFORMED);
        unknown.type = UINT16_MAX;
        assert_eq_int(pair_take(&pair, &unknown, body, sizeof(good), 0, 0), CONTROL_E_MALFORMED);
        /* The right length is said, and another came. */
        for (size_t n = 0; n < 2 * sizeof(ControlState); n++)
                assert_eq_int(pair_take(&pair, &good, body, sizeof(good), n, 0), n == sizeof(ControlState) ? 0 : CONTROL_E_MALFORMED);
        /* Of a header cut short only what came counts: its length would have fitted. */
        ControlHeader cut = header_of(CONTROL_GO, (size_t)-1);
        cut.length = (uint32_t)(offsetof(ControlHeader, reserved) - sizeof(cut));
        assert_eq_int(pair_take(&pair, &cut, body, offsetof(ControlHeader, reserved), 0, 0), CONTROL_E_MALFORMED);
        cut = good;
        cut.length = CONTROL_PAYLOAD_MAX;
        cut.type = CONTROL_CONFIG;
        assert_eq_int(pair_take(&pair, &cut, body, sizeof(cut), CONTROL_PAYLOAD_MAX + 1, 0), CONTROL_E_MALFORMED);
        assert_ok(pair_take(&pair, &good, body, sizeof(good), sizeof(ControlState), 0));
}

static void test_section(void)
{
        _cleanup_(pair_done) Pair pair = pair_new();
        static const uint8_t section[1000] = {1, 2, 3};
        ControlConfig config = {.section_size = sizeof(section)};

        assert_ok(control_send(pair.theirs, CONTROL_CONFIG, &config, section, sizeof(section), -1));
        assert_ok(control_receive(pair.ours, false, &frame));
        assert_eq_mem(control_section(&frame), sizeof(section), section, sizeof(section));
        config.section_size++;
        assert_ok(control_send(pair.theirs, CONTROL_CONFIG, &config, section, sizeof(section), -1));
        assert_ok(control_receive(pair.ours, false, &frame));
        assert_true(control_section(&frame) == NULL);
        /* Another type with what would be a section's size. */
        ControlPlan plan = {0};
        assert_ok(control_send(pair.theirs, CONTROL_PLAN, &plan, NULL, 0, -1));
        assert_ok(control_receive(pair.ours, false, &frame));
        frame.config.section_size = frame.length - (uint32_t)sizeof(ControlConfig);
        assert_true(control_section(&frame) == NULL);
        assert_eq_int(pair_take_whole(&pair, CONTROL_CONFIG, sizeof(ControlConfig) - 1, 0), CONTROL_E_MALFORMED);
        assert_ok(pair_take_whole(&pair, CONTROL_CONFIG, sizeof(ControlConfig), 0));
        assert_true(control_send(pair.theirs, CONTROL_GO, NULL, section, 1, -1) < 0);
        assert_true(control_send(pair.theirs, CONTROL_CONFIG, &config, section, CONTROL_PAYLOAD_MAX, -1) < 0);
}

/* A string without an end has one when it is read. */
static void test_strings(void)
{
        _cleanup_(pair_done) Pair pair = pair_new();
        ControlHello hello;
        ControlPlan plan;

        memset(&hello, 'x', sizeof(hello));
        assert_ok(control_send(pair.theirs, CONTROL_HELLO, &hello, NULL, 0, -1));
        assert_ok(control_receive(pair.ours, false, &frame));
        assert_eq_int(strnlen(frame.hello.version, sizeof(frame.hello.version)), sizeof(frame.hello.version) - 1);
        memset(&plan, 'x', sizeof(plan));
        assert_ok(control_send(pair.theirs, CONTROL_PLAN, &plan, NULL, 0, -1));
        assert_ok(control_receive(pair.ours, false, &frame));
        assert_eq_int(strnlen(frame.plan.socket_path, sizeof(frame.plan.socket_path)), sizeof(frame.plan.socket_path) - 1);
}

static void test_ends(void)
{
        _cleanup_(pair_done) Pair pair = pair_new();

        assert_eq_int(control_receive(pair.ours, false, &frame), CONTROL_E_AGAIN);
        int r = 0;
        for (size_t i = 0; i < 100000 && r == 0; i++)
                r = control_send(pair.theirs, CONTROL_GO, NULL, NULL, 0, -1);
        assert_eq_int(r, CONTROL_E_AGAIN); /* nobody reads: it never blocks */
        while ((r = control_receive(pair.ours, false, &frame)) == 0)
                ;
        assert_eq_int(r, CONTROL_E_AGAIN);
        pair.theirs = fd_close(pair.theirs);
        assert_eq_int(control_receive(pair.ours, true, &frame), CONTROL_E_EOF);
        assert_eq_int(control_send(pair.ours, CONTROL_GO, NULL, NULL, 0, -1), CONTROL_E_EOF);
}

int main(void)
{
        TEST_RUN(test_every_type);
        TEST_RUN(test_headers);
        TEST_RUN(test_section);
        TEST_RUN(test_strings);
        TEST_RUN(test_ends);
        return 0;
}
