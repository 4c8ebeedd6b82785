/* SPDX-License-Identifier: Apache-2.0 */

/* Every refusal of a frame and of a row, and a hand's end of an edge. */

#include "ipc/edges/containerd-logd.rows.h"
#include "ipc/edges/containerd-setup.rows.h"
#include "ipc/edges/containerd-shim.rows.h"
#include "ipc/edges/gatewayd-imaged.rows.h"
#include "ipc/hand-channel.h"
#include "lib/test.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define SEALS_FIXED (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static void wire_pair(int s[2])
{
        assert_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s));
}

static void wire_unpair(int s[2])
{
        (void)close(s[0]);
        (void)close(s[1]);
}

/* A datagram of any bytes and any fds. */
static void wire_send_raw(int fd, const void *bytes, size_t n, const int *fds, size_t n_fds)
{
        union {
                char buffer[CMSG_SPACE(64 * sizeof(int))];
                struct cmsghdr align;
        } control = {0};
        struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = n};
        struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};

        if (n_fds > 0) {
                struct cmsghdr *c;

                msg.msg_control = &control;
                msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
                c = CMSG_FIRSTHDR(&msg);
                c->cmsg_level = SOL_SOCKET;
                c->cmsg_type = SCM_RIGHTS;
                c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
                memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
        }
        assert_eq_int(sendmsg(fd, &msg, MSG_NOSIGNAL), n);
}

typedef struct Datagram {
        WireHeader header;
        uint8_t payload[64];
} Datagram;

static const Datagram datagram_good = {
                .header = {.magic = WIRE_MAGIC, .id = 1, .length = 4, .request_id = 7},
                .payload = "abcd",
};

/* What receiving the datagram answers; its payload has n bytes. */
static int wire_try(const Datagram *d, size_t n, const int *fds, size_t n_fds)
{
        WireFrame frame = WIRE_FRAME_NULL;
        int s[2], r;

        wire_pair(s);
        wire_send_raw(s[0], d, sizeof(d->header) + n, fds, n_fds);
        r = wire_receive(s[1], true, &frame);
        if (r != 0)
                assert_true(frame.payload == NULL && frame.n_fds == 0);
        wire_frame_done(&frame);
        wire_unpair(s);
        return r;
}

static void wire_header_is_checked(void)
{
        Datagram d = datagram_good;

        assert_eq_int(wire_try(&d, 4, NULL, 0), 0);
        d.header.magic ^= 1;
        assert_eq_int(wire_try(&d, 4, NULL, 0), WIRE_E_MALFORMED);
        for (int bit = 4; bit < 16; bit++) {
                d = datagram_good;
                d.header.flags = (uint16_t)(1 << bit);
                assert_eq_int(wire_try(&d, 4, NULL, 0), WIRE_E_MALFORMED);
        }
        d = datagram_good;
        assert_eq_int(wire_try(&d, 3, NULL, 0), WIRE_E_MALFORMED); /* truncated */
        assert_eq_int(wire_try(&d, 5, NULL, 0), WIRE_E_MALFORMED); /* trailing */
        assert_eq_int(wire_try(&d, 0, NULL, 0), WIRE_E_MALFORMED);
        d.header.length = WIRE_PAYLOAD_MAX + 1;
        assert_eq_int(wire_try(&d, 4, NULL, 0), WIRE_E_LENGTH);
        d.header.length = UINT32_MAX;
        assert_eq_int(wire_try(&d, 4, NULL, 0), WIRE_E_LENGTH);
}

static void wire_flags_are_checked(void)
{
        Datagram d = datagram_good;

        d.header.flags = WIRE_FLAG_ERROR;
        assert_eq_int(wire_try(&d, 4, NULL, 0), WIRE_E_MALFORMED);
        d.header.flags = WIRE_FLAG_ERROR | WIRE_FLAG_REPLY;
        assert_eq_int(wire_try(&d, 4, NULL, 0), 0);
        d.header.flags = WIRE_FLAG_REPLY;
        assert_eq_int(wire_try(&d, 4, NULL, 0), 0);
        d.header.request_id = 0;
        assert_eq_int(wire_try(&d, 4, NULL, 0), WIRE_E_MALFORMED);
        d.header.flags = WIRE_FLAG_CANCEL;
        d.header.length = 0;
        assert_eq_int(wire_try(&d, 0, NULL, 0), WIRE_E_MALFORMED);
        d.header.request_id = 7;
        assert_eq_int(wire_try(&d, 0, NULL, 0), 0);
        d.header.length = 4;
        assert_eq_int(wire_try(&d, 4, NULL, 0), WIRE_E_LENGTH);
        d.header.length = 0;
        d.header.flags = WIRE_FLAG_CANCEL | WIRE_FLAG_REPLY;
        assert_eq_int(wire_try(&d, 0, NULL, 0), WIRE_E_MALFORMED);
        d.header.flags = WIRE_FLAG_CANCEL | WIRE_FLAG_ERROR;
        assert_eq_int(wire_try(&d, 0, NULL, 0), WIRE_E_MALFORMED);
}

/* Exact-size heap copies: a read beyond the datagram is seen by the sanitizer. */
static void wire_short_datagrams_are_refused(void)
{
        for (size_t n = 1; n < sizeof(WireHeader) + 4; n++) {
                WireFrame frame = WIRE_FRAME_NULL;
                uint8_t *exact = malloc(n);
                int s[2];

                memcpy(exact, &datagram_good, n);
                wire_pair(s);
                wire_send_raw(s[0], exact, n, NULL, 0);
                assert_eq_int(wire_receive(s[1], false, &frame), WIRE_E_MALFORMED);
                wire_unpair(s);
                free(exact);
        }
}

static void wire_empty_datagram_is_no_end(void)
{
        WireFrame frame = WIRE_FRAME_NULL;
        int s[2];

        wire_pair(s);
        assert_ok(fd_set_nonblock(s[1], true));
        assert_eq_int(wire_receive(s[1], true, &frame), WIRE_E_AGAIN);
        wire_send_raw(s[0], "", 0, NULL, 0);
        assert_eq_int(wire_receive(s[1], true, &frame), WIRE_E_MALFORMED);
        wire_unpair(s);
        wire_pair(s);
        (void)close(s[0]);
        assert_eq_int(wire_receive(s[1], true, &frame), WIRE_E_EOF);
        assert_eq_int(wire_send(s[1], 1, 0, 1, NULL, 0, NULL, 0), WIRE_E_EOF);
        (void)close(s[1]);
}

static void wire_peer_that_left_unread_bytes_has_ended(void)
{
        WireFrame frame = WIRE_FRAME_NULL;
        int s[2];

        wire_pair(s);
        assert_ok(wire_send(s[1], 1, 0, 1, "x", 1, NULL, 0));
        (void)close(s[0]);
        assert_eq_int(wire_receive(s[1], true, &frame), WIRE_E_EOF);
        (void)close(s[1]);
}

static void wire_fds_are_counted(void)
{
        int fds[WIRE_FDS_MAX + 12];
        WireFrame frame = WIRE_FRAME_NULL;
        Datagram d = datagram_good;
        int s[2];

        for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
                fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        assert_eq_int(wire_try(&d, 4, fds, WIRE_FDS_MAX), 0);
        for (size_t n = WIRE_FDS_MAX + 1; n <= ARRAY_SIZE(fds); n++)
                assert_eq_int(wire_try(&d, 4, fds, n), WIRE_E_FDS);
        /* Where a direction carries none, not one is installed. */
        wire_pair(s);
        wire_send_raw(s[0], &d, sizeof(d.header) + 4, fds, 1);
        assert_eq_int(wire_receive(s[1], false, &frame), WIRE_E_FDS);
        wire_unpair(s);
        /* Taken ones are the caller's. */
        wire_pair(s);
        assert_ok(wire_send(s[0], 1, 0, 1, "x", 1, fds, 3));
        assert_ok(wire_receive(s[1], true, &frame));
        assert_eq_int(frame.n_fds, 3);
        fds[0] = fd_close(fds[0]);
        fds[0] = wire_frame_take_fd(&frame, 1);
        assert_eq_int(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
        assert_eq_int(wire_frame_take_fd(&frame, 1), -1);
        assert_eq_int(wire_frame_take_fd(&frame, 3), -1);
        wire_frame_done(&frame);
        assert_true(fcntl(fds[0], F_GETFD) >= 0);
        wire_unpair(s);
        for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
                (void)close(fds[i]);
}

static int wire_memfd(size_t n, int seals, unsigned flags)
{
        int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);

        if (fd < 0)
                return -1;
        assert_ok(ftruncate(fd, (off_t)n));
        if (seals)
                assert_ok(fcntl(fd, F_ADD_SEALS, seals));
        return fd;
}

static int wire_try_memfd(size_t length, int fd)
{
        const Datagram d = {
                        .header =
                                        {
                                                        .magic = WIRE_MAGIC,
                                                        .id = 1,
                                                        .flags = WIRE_FLAG_MEMFD,
                                                        .length = (uint32_t)length,
                                                        .request_id = 1,
                                        },
        };

        return wire_try(&d, 0, &fd, fd >= 0 ? 1 : 0);
}

static void wire_memfds_are_checked(void)
{
        enum { N = WIRE_PAYLOAD_MAX + 1 };
        Datagram d = datagram_good;
        char path[] = "/tmp/bulkhead-test-wire-XXXXXX";
        int fd = wire_memfd(N, SEALS_FIXED, 0), other;

        assert_eq_int(wire_try_memfd(N, fd), 0);
        assert_eq_int(wire_try_memfd(N + 1, fd), WIRE_E_MEMFD); /* shorter than it says */
        assert_eq_int(wire_try_memfd(WIRE_PAYLOAD_MAX, fd), WIRE_E_LENGTH);
        assert_eq_int(wire_try_memfd(WIRE_MEMFD_MAX + 1, fd), WIRE_E_LENGTH);
        assert_eq_int(wire_try_memfd(UINT32_MAX, fd), WIRE_E_LENGTH);
        assert_eq_int(wire_try_memfd(N, -1), WIRE_E_FDS);
        d.header.flags = WIRE_FLAG_MEMFD;
        d.header.length = N;
        assert_eq_int(wire_try(&d, 4, &fd, 1), WIRE_E_MALFORMED); /* in both places */
        d.header.flags = WIRE_FLAG_MEMFD | WIRE_FLAG_REPLY | WIRE_FLAG_ERROR;
        assert_eq_int(wire_try(&d, 0, &fd, 1), WIRE_E_MALFORMED);
        (void)close(fd);
        fd = wire_memfd(N + 1, SEALS_FIXED, 0);
        assert_eq_int(wire_try_memfd(N, fd), WIRE_E_MEMFD); /* longer than it says */
        (void)close(fd);
        for (int missing = 1; missing <= F_SEAL_WRITE; missing <<= 1) {
                fd = wire_memfd(N, SEALS_FIXED & ~missing, 0);
                assert_eq_int(wire_try_memfd(N, fd), WIRE_E_MEMFD);
                (void)close(fd);
        }
        fd = mkostemp(path, O_CLOEXEC);
        assert_ok(ftruncate(fd, N));
        assert_eq_int(wire_try_memfd(N, fd), WIRE_E_MEMFD);
        other = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_eq_int(wire_try_memfd(N, other), WIRE_E_MEMFD);
        (void)close(other);
        (void)close(fd);
        assert_ok(unlink(path));
        fd = wire_memfd(2 * 1024 * 1024, SEALS_FIXED, MFD_HUGETLB);
        if (fd >= 0)
                assert_eq_int(wire_try_memfd(2 * 1024 * 1024, fd), WIRE_E_MEMFD);
        else
                printf("skipped: no hugetlb memfd here: %s\n", strerror(errno));
        (void)fd_close(fd);
}

static void wire_round_trip_of_all_sizes(void)
{
        static const size_t sizes[] = {0, 1, 4095, WIRE_PAYLOAD_MAX, WIRE_PAYLOAD_MAX + 1, WIRE_MEMFD_MAX};
        uint8_t *bytes = malloc(WIRE_MEMFD_MAX + 1);
        int file = open("/dev/null", O_RDONLY | O_CLOEXEC);

        for (size_t i = 0; i <= WIRE_MEMFD_MAX; i++)
                bytes[i] = (uint8_t)(i * 7);
        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
                WireFrame frame = WIRE_FRAME_NULL;
                int s[2];

                wire_pair(s);
                assert_ok(wire_send(s[0], 9, 0, 3, bytes, sizes[i], &file, 1));
                assert_ok(wire_receive(s[1], true, &frame));
                assert_eq_int(frame.header.id, 9);
                assert_eq_int(frame.header.request_id, 3);
                assert_eq_mem(frame.payload, frame.header.length, bytes, sizes[i]);
                assert_eq_int(frame.n_fds, 1);
                wire_frame_done(&frame);
                wire_unpair(s);
        }
        assert_eq_int(wire_send(0, 1, 0, 1, bytes, WIRE_MEMFD_MAX + 1, NULL, 0), -EMSGSIZE);
        assert_eq_int(wire_send(0, 1, 0, 1, bytes, 1, &file, WIRE_FDS_MAX + 1), -EMSGSIZE);
        (void)close(file);
        free(bytes);
}

static void wire_full_socket_answers_again(void)
{
        uint8_t bytes[8192] = {0};
        int s[2], r;

        wire_pair(s);
        assert_ok(fd_set_nonblock(s[0], true));
        for (int i = 0; i < 10000; i++) {
                r = wire_send(s[0], 1, 0, 1, bytes, sizeof(bytes), NULL, 0);
                if (r != 0)
                        break;
        }
        assert_eq_int(r, WIRE_E_AGAIN);
        wire_unpair(s);
}

/* What the row check answers to a frame on an edge. */
static int row_try(const EdgeSchema *schema, EdgeSide from, WireFrame *frame)
{
        const MessageRow *row = NULL;
        int r = row_check(schema, from, frame, &row);

        assert_true((r == 0) == (row != NULL));
        return r;
}

static void row_is_checked(void)
{
        WireFrame f = WIRE_FRAME_NULL;

        f.header = (WireHeader){
                        .id = ROW_ID_CONTAINERD_SHIM_SHIM_RELEASE, .request_id = 1, .length = sizeof(ShimRelease)};
        assert_ok(row_try(&edge_schema_containerd_shim, EDGE_SIDE_A, &f));
        assert_eq_int(row_try(&edge_schema_containerd_shim, EDGE_SIDE_B, &f), WIRE_E_UNKNOWN);
        f.header.id = 0;
        assert_eq_int(row_try(&edge_schema_containerd_shim, EDGE_SIDE_A, &f), WIRE_E_UNKNOWN);
        f.header.id = 8;
        assert_eq_int(row_try(&edge_schema_containerd_shim, EDGE_SIDE_A, &f), WIRE_E_UNKNOWN);
        f.header.id = ROW_ID_CONTAINERD_SHIM_SHIM_RELEASE;
        f.header.flags = WIRE_FLAG_REPLY;
        assert_eq_int(row_try(&edge_schema_containerd_shim, EDGE_SIDE_A, &f), WIRE_E_UNKNOWN);
        f.header.flags = 0;
        f.header.request_id = 0;
        assert_eq_int(row_try(&edge_schema_containerd_shim, EDGE_SIDE_A, &f), WIRE_E_MALFORMED);
        f.header.request_id = 1;
        f.header.length--;
        assert_eq_int(row_try(&edge_schema_containerd_shim, EDGE_SIDE_A, &f), WIRE_E_LENGTH);
        f.header.length += 2;
        assert_eq_int(row_try(&edge_schema_containerd_shim, EDGE_SIDE_A, &f), WIRE_E_LENGTH);
        f.header = (WireHeader){.id = ROW_ID_CONTAINERD_SHIM_SHIM_EXITED, .length = sizeof(ExitRecord)};
        assert_ok(row_try(&edge_schema_containerd_shim, EDGE_SIDE_B, &f));
        f.header.request_id = 1;
        assert_eq_int(row_try(&edge_schema_containerd_shim, EDGE_SIDE_B, &f), WIRE_E_MALFORMED);
        f.header = (WireHeader){.id = ROW_ID_GATEWAYD_IMAGED_LIST_IMAGES, .request_id = 1, .length = 64 * 1024};
        assert_ok(row_try(&edge_schema_gatewayd_imaged, EDGE_SIDE_A, &f));
        f.header.length++;
        assert_eq_int(row_try(&edge_schema_gatewayd_imaged, EDGE_SIDE_A, &f), WIRE_E_LENGTH);
}

static void row_cancel_has_no_fds(void)
{
        WireFrame f = WIRE_FRAME_NULL;

        f.header = (WireHeader){.id = ROW_ID_CONTAINERD_SHIM_SHIM_RELEASE, .request_id = 1, .flags = WIRE_FLAG_CANCEL};
        assert_ok(row_try(&edge_schema_containerd_shim, EDGE_SIDE_A, &f));
        f.fds[f.n_fds++] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        assert_eq_int(row_try(&edge_schema_containerd_shim, EDGE_SIDE_A, &f), WIRE_E_FDS);
        wire_frame_done(&f);
        f.header = (WireHeader){.id = ROW_ID_CONTAINERD_SHIM_SHIM_EXITED, .request_id = 1, .flags = WIRE_FLAG_CANCEL};
        assert_eq_int(row_try(&edge_schema_containerd_shim, EDGE_SIDE_B, &f), WIRE_E_MALFORMED);
}

static void row_is_found_where_ids_have_gaps(void)
{
        static const MessageRow rows[] = {{.id = 2}, {.id = 3}, {.id = 7}, {.id = 900}};
        const EdgeSchema schema = {.rows = rows, .n_rows = ARRAY_SIZE(rows)};
        size_t n = 0;

        for (uint16_t id = 0; id < 1000; id++) {
                const MessageRow *row = edge_schema_find(&schema, id);

                if (row) {
                        assert_eq_int(row->id, id);
                        n++;
                }
        }
        assert_eq_int(n, ARRAY_SIZE(rows));
}

static void row_directions_without_fds_are_known(void)
{
        assert_true(edge_schema_has_fds(&edge_schema_gatewayd_imaged, EDGE_SIDE_A));  /* 4M requests */
        assert_true(edge_schema_has_fds(&edge_schema_gatewayd_imaged, EDGE_SIDE_B));  /* 16M replies */
        assert_true(edge_schema_has_fds(&edge_schema_containerd_logd, EDGE_SIDE_A));  /* fds of log_open */
        assert_false(edge_schema_has_fds(&edge_schema_containerd_logd, EDGE_SIDE_B)); /* small answers */
        assert_false(edge_schema_has_fds(&edge_schema_containerd_shim, EDGE_SIDE_A));
        assert_true(edge_schema_has_fds(&edge_schema_containerd_shim, EDGE_SIDE_B));
}

static void hand_receives_and_answers(void)
{
        HandRequest request = HAND_REQUEST_NULL;
        WireFrame frame = WIRE_FRAME_NULL;
        const ShimRelease release = {.streams = SHIM_STREAM_STDIN};
        const ExitRecord record = {.exit_code = 3};
        volatile uint32_t answered = 0;
        uint32_t code;
        int s[2];

        wire_pair(s);
        assert_ok(wire_send(s[0], ROW_ID_CONTAINERD_SHIM_SHIM_RELEASE, 0, 5, &release, sizeof(release), NULL, 0));
        assert_ok(hand_receive(s[1], &edge_schema_containerd_shim, EDGE_SIDE_A, &request));
        assert_true(request.row == ROW_CONTAINERD_SHIM_SHIM_RELEASE);
        assert_eq_int(((const ShimRelease *)(const void *)request.frame.payload)->streams, SHIM_STREAM_STDIN);
        request.answered = &answered;
        assert_eq_int(hand_reply(s[1], &request, NULL, s, 1), -EINVAL); /* the row has no reply fds */
        assert_eq_int(answered, 0);
        assert_ok(hand_reply(s[1], &request, NULL, NULL, 0));
        assert_eq_int(answered, 1);
        assert_ok(wire_receive(s[0], true, &frame));
        assert_eq_int(frame.header.flags, WIRE_FLAG_REPLY);
        assert_eq_int(frame.header.request_id, 5);
        assert_eq_int(frame.header.length, 0);
        wire_frame_done(&frame);

        answered = 0;
        assert_ok(hand_fail(s[1], &request, 5, "%05000d", 0));
        assert_eq_int(answered, 1);
        assert_ok(wire_receive(s[0], true, &frame));
        assert_eq_int(frame.header.flags, WIRE_FLAG_REPLY | WIRE_FLAG_ERROR);
        assert_eq_int(frame.header.length, sizeof(code) + WIRE_ERROR_TEXT_MAX);
        memcpy(&code, frame.payload, sizeof(code));
        assert_eq_int(code, 5);
        wire_frame_done(&frame);

        assert_ok(hand_event(s[1], ROW_CONTAINERD_SHIM_SHIM_EXITED, &record, NULL, 0));
        assert_eq_int(hand_event(s[1], ROW_CONTAINERD_SHIM_SHIM_STATUS, &record, NULL, 0), -EINVAL);
        assert_ok(wire_receive(s[0], true, &frame));
        assert_eq_mem(frame.payload, frame.header.length, &record, sizeof(record));
        wire_frame_done(&frame);
        hand_request_done(&request);
        wire_unpair(s);
}

static void hand_refuses_like_everybody(void)
{
        HandRequest request = HAND_REQUEST_NULL;
        int s[2];

        wire_pair(s);
        assert_ok(wire_send(s[0], ROW_ID_CONTAINERD_SHIM_SHIM_RELEASE, 0, 5, "x", 1, NULL, 0));
        assert_eq_int(hand_receive(s[1], &edge_schema_containerd_shim, EDGE_SIDE_A, &request), WIRE_E_LENGTH);
        assert_ok(wire_send(s[0], ROW_ID_CONTAINERD_SHIM_SHIM_RELEASE, WIRE_FLAG_REPLY, 5, "abcd", 4, NULL, 0));
        assert_eq_int(hand_receive(s[1], &edge_schema_containerd_shim, EDGE_SIDE_A, &request), WIRE_E_UNKNOWN);
        /* This direction carries none: the fd is never installed. */
        assert_ok(wire_send(s[0], ROW_ID_CONTAINERD_SHIM_SHIM_RELEASE, 0, 5, "abcd", 4, s, 1));
        assert_eq_int(hand_receive(s[1], &edge_schema_containerd_shim, EDGE_SIDE_A, &request), WIRE_E_FDS);
        assert_ok(wire_send(s[0], ROW_ID_CONTAINERD_SHIM_SHIM_RELEASE, WIRE_FLAG_CANCEL, 5, NULL, 0, NULL, 0));
        assert_eq_int(hand_receive(s[1], &edge_schema_containerd_shim, EDGE_SIDE_A, &request), WIRE_E_AGAIN);
        (void)close(s[0]);
        assert_eq_int(hand_receive(s[1], &edge_schema_containerd_shim, EDGE_SIDE_A, &request), WIRE_E_EOF);
        (void)close(s[1]);
        assert_true(request.row == NULL);
}

static void hand_outlives_its_brain(void)
{
        HandRequest request = HAND_REQUEST_NULL;
        int s[2];

        wire_pair(s);
        assert_ok(wire_send(s[0], ROW_ID_CONTAINERD_SHIM_SHIM_STATUS, 0, 5, NULL, 0, NULL, 0));
        assert_ok(hand_receive(s[1], &edge_schema_containerd_shim, EDGE_SIDE_A, &request));
        (void)close(s[0]);
        assert_ok(hand_reply(s[1], &request, &(ShimStatus){0}, NULL, 0));
        assert_ok(hand_fail(s[1], &request, 5, "gone"));
        hand_request_done(&request);
        (void)close(s[1]);
}

int main(void)
{
        TEST_RUN(wire_header_is_checked);
        TEST_RUN(wire_flags_are_checked);
        TEST_RUN(wire_short_datagrams_are_refused);
        TEST_RUN(wire_empty_datagram_is_no_end);
        TEST_RUN(wire_peer_that_left_unread_bytes_has_ended);
        TEST_RUN(wire_fds_are_counted);
        TEST_RUN(wire_memfds_are_checked);
        TEST_RUN(wire_round_trip_of_all_sizes);
        TEST_RUN(wire_full_socket_answers_again);
        TEST_RUN(row_is_checked);
        TEST_RUN(row_cancel_has_no_fds);
        TEST_RUN(row_is_found_where_ids_have_gaps);
        TEST_RUN(row_directions_without_fds_are_known);
        TEST_RUN(hand_receives_and_answers);
        TEST_RUN(hand_refuses_like_everybody);
        TEST_RUN(hand_outlives_its_brain);
        return 0;
}
