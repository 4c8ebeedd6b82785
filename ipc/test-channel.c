/* SPDX-License-Identifier: Apache-2.0 */

/* Two ends of real edges on one loop: requests, answers, events, fds, cancellation, deadlines, the loss of a peer,
 * re-wiring, full sockets. What a hostile peer can send is in test-channel-refusals.c. */

#include "ipc/channel-internal.h"
#include "ipc/edges/containerd-logd.rows.h"
#include "ipc/edges/containerd-shim.rows.h"
#include "ipc/edges/gatewayd-imaged.rows.h"
#include "ipc/edges/streamd-containerd.rows.h"
#include "lib/clock.h"
#include "lib/grpc-status.h"
#include "lib/test.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define ROWS_MAX 16
#define SECOND USEC_PER_SEC

typedef struct End {
        struct event_base *base;
        Channel *channel;
        int (*handle)(struct End *end, Frame *frame);
        int n_handled;
        int n_cancelled;
        int n_connected;
        int n_lost;
        int n_answers;
        int failed;
        uint32_t cancelled_id;
        ReplyTo to;
        Frame *frame;
        /* Of the last answer: */
        int outcome;
        uint32_t code;
        char text[512];
        size_t n_bytes;
        int fd;
        int callback_result;
        bool free_in_callback;
} End;

static int end_on_frame(void *userdata, Frame *frame)
{
        End *end = userdata;

        end->n_handled++;
        return end->handle ? end->handle(end, frame) : 0;
}

static const ChannelHandler end_handlers[ROWS_MAX] = {
                end_on_frame, end_on_frame, end_on_frame, end_on_frame,
                end_on_frame, end_on_frame, end_on_frame, end_on_frame,
};

static void end_on_cancelled(void *userdata, Channel *channel, uint32_t request_id)
{
        End *end = userdata;

        assert_true(channel == end->channel);
        end->n_cancelled++;
        end->cancelled_id = request_id;
}

static void end_on_changed(void *userdata, Channel *channel, bool connected)
{
        End *end = userdata;

        assert_true(channel_is_connected(channel) == connected);
        if (connected)
                end->n_connected++;
        else
                end->n_lost++;
}

static void end_on_failed(void *userdata, Channel *channel, int r)
{
        End *end = userdata;

        (void)channel;
        end->failed = r;
}

static void end_init(End *end, struct event_base *base, const EdgeSchema *schema, EdgeSide side)
{
        const ChannelSpec spec = {
                        .schema = schema,
                        .side = side,
                        .handlers = end_handlers,
                        .on_cancelled = end_on_cancelled,
                        .on_changed = end_on_changed,
                        .on_failed = end_on_failed,
                        .userdata = end,
        };

        *end = (End){.base = base, .fd = -1, .outcome = -1};
        assert_ok(channel_new(&end->channel, base, &spec));
}

static void end_done(End *end)
{
        end->channel = channel_free(end->channel);
        end->frame = frame_free(end->frame);
        end->fd = fd_close(end->fd);
}

typedef struct Pair {
        struct event_base *base;
        End a, b;
        uint32_t generation;
} Pair;

static void pair_connect(Pair *pair)
{
        int s[2];

        assert_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s));
        pair->generation++;
        assert_ok(channel_connect(pair->a.channel, s[0], pair->generation));
        assert_ok(channel_connect(pair->b.channel, s[1], pair->generation));
}

static void pair_init(Pair *pair, const EdgeSchema *schema)
{
        pair->base = event_base_new();
        pair->generation = 0;
        end_init(&pair->a, pair->base, schema, EDGE_SIDE_A);
        end_init(&pair->b, pair->base, schema, EDGE_SIDE_B);
}

static void pair_done(Pair *pair)
{
        end_done(&pair->a);
        end_done(&pair->b);
        event_base_free(pair->base);
}

/* Turns the loop until *counter has the value; a second is more than any of this takes. */
static void pair_until(Pair *pair, const int *counter, int value)
{
        uint64_t end = clock_monotonic_usec() + 5 * SECOND;

        while (*counter < value) {
                if (clock_monotonic_usec() > end)
                        test_fail("counter is %d, not %d, after 5 s", *counter, value);
                (void)event_base_loop(pair->base, EVLOOP_NONBLOCK);
        }
        assert_eq_int(*counter, value);
}

static void pair_turn(Pair *pair)
{
        for (int i = 0; i < 5; i++)
                (void)event_base_loop(pair->base, EVLOOP_NONBLOCK);
}

static int end_on_answer(void *userdata, const Answer *answer)
{
        End *end = userdata;

        end->n_answers++;
        end->outcome = answer->outcome;
        end->code = answer->code;
        (void)snprintf(end->text, sizeof(end->text), "%s", answer->text);
        assert_true((answer->frame != NULL) == (answer->outcome == 0));
        if (answer->frame) {
                end->n_bytes = answer->frame->wire.header.length;
                fd_closep(&end->fd);
                end->fd = frame_take_fd(answer->frame, 0);
        }
        if (end->free_in_callback)
                end->channel = channel_free(end->channel);
        return end->callback_result;
}

static uint32_t end_pull(End *end, const char *image, uint64_t deadline_usec)
{
        Runtime__V1__ImageSpec spec = RUNTIME__V1__IMAGE_SPEC__INIT;
        Runtime__V1__PullImageRequest request = RUNTIME__V1__PULL_IMAGE_REQUEST__INIT;
        uint32_t id = 0;

        spec.image = (char *)(uintptr_t)image;
        request.image = &spec;
        assert_ok(channel_call(end->channel, ROW_GATEWAYD_IMAGED_PULL_IMAGE, &request.base, NULL, 0, deadline_usec,
                               end_on_answer, end, &id));
        assert_true(id != 0);
        return id;
}

static int end_reply_pull(End *end, Frame *frame)
{
        const Runtime__V1__PullImageRequest *request = (const void *)frame->message;
        Runtime__V1__PullImageResponse response = RUNTIME__V1__PULL_IMAGE_RESPONSE__INIT;

        (void)end;
        response.image_ref = request->image->image;
        return reply_send(frame_reply_to(frame), &response.base, NULL, 0);
}

static int end_reply_never(End *end, Frame *frame)
{
        end->to = frame_reply_to(frame);
        return 0;
}

static void channel_round_trip(void)
{
        Pair pair;

        pair_init(&pair, &edge_schema_gatewayd_imaged);
        pair_connect(&pair);
        assert_eq_int(pair.a.n_connected, 1);
        pair.b.handle = end_reply_pull;
        for (int i = 1; i <= 100; i++) {
                end_pull(&pair.a, "busybox", USEC_INFINITY);
                assert_eq_int(pair.a.n_answers, i - 1); /* never from inside the call */
                pair_until(&pair, &pair.a.n_answers, i);
                assert_eq_int(pair.a.outcome, 0);
                assert_eq_int(pair.a.n_bytes, 2 + strlen("busybox"));
        }
        assert_eq_int(pair.b.channel->n_inbound, 0);
        pair_done(&pair);
}

static int end_fail(End *end, Frame *frame)
{
        (void)end;
        return reply_fail(frame_reply_to(frame), GRPC_STATUS_NOT_FOUND, "image %s: not \x01 there: \xff pull it", "x");
}

static void channel_fails_with_code_and_text(void)
{
        Pair pair;

        pair_init(&pair, &edge_schema_gatewayd_imaged);
        pair_connect(&pair);
        pair.b.handle = end_fail;
        end_pull(&pair.a, "x", USEC_INFINITY);
        pair_until(&pair, &pair.a.n_answers, 1);
        assert_eq_int(pair.a.outcome, CHANNEL_E_FAILED);
        assert_eq_int(pair.a.code, GRPC_STATUS_NOT_FOUND);
        /* What is no text is made one; the edge stays. */
        assert_eq_str(pair.a.text, "image x: not ? there: ? pull it");
        assert_true(channel_is_connected(pair.a.channel));
        pair_done(&pair);
}

static int end_reply_twice(End *end, Frame *frame)
{
        Runtime__V1__PullImageResponse response = RUNTIME__V1__PULL_IMAGE_RESPONSE__INIT;

        (void)end;
        assert_ok(reply_send(frame_reply_to(frame), &response.base, NULL, 0));
        assert_ok(reply_send(frame_reply_to(frame), &response.base, NULL, 0));
        return reply_fail(frame_reply_to(frame), GRPC_STATUS_INTERNAL, "a third");
}

static void channel_answers_once(void)
{
        Pair pair;

        pair_init(&pair, &edge_schema_gatewayd_imaged);
        pair_connect(&pair);
        pair.b.handle = end_reply_twice;
        for (int i = 1; i <= 3; i++) {
                end_pull(&pair.a, "x", USEC_INFINITY);
                pair_until(&pair, &pair.a.n_answers, i);
        }
        assert_true(channel_is_connected(pair.a.channel)); /* a second reply would have been a violation */
        pair_done(&pair);
}

static void channel_waits_for_a_peer(void)
{
        Pair pair;

        pair_init(&pair, &edge_schema_gatewayd_imaged);
        pair.b.handle = end_reply_pull;
        end_pull(&pair.a, "early", USEC_INFINITY);
        end_pull(&pair.a, "early", USEC_INFINITY);
        pair_turn(&pair);
        assert_eq_int(pair.a.n_answers, 0);
        pair_connect(&pair);
        pair_until(&pair, &pair.a.n_answers, 2);
        assert_eq_int(pair.a.outcome, 0);
        pair_done(&pair);
}

static void channel_times_out_without_a_peer(void)
{
        Pair pair;

        pair_init(&pair, &edge_schema_gatewayd_imaged);
        end_pull(&pair.a, "x", clock_monotonic_usec() + 20000);
        pair_until(&pair, &pair.a.n_answers, 1);
        assert_eq_int(pair.a.outcome, CHANNEL_E_TIMEOUT);
        assert_eq_int(pair.a.code, GRPC_STATUS_DEADLINE_EXCEEDED);
        pair.b.handle = end_reply_pull;
        pair_connect(&pair);
        pair_turn(&pair);
        assert_eq_int(pair.b.n_handled, 0); /* nobody waits: never sent */
        pair_done(&pair);
}

static void channel_times_out_and_cancels(void)
{
        Pair pair;
        uint32_t id;

        pair_init(&pair, &edge_schema_gatewayd_imaged);
        pair_connect(&pair);
        pair.b.handle = end_reply_never;
        id = end_pull(&pair.a, "x", clock_monotonic_usec() + 20000);
        end_pull(&pair.a, "y", clock_monotonic_usec() + 40000);
        end_pull(&pair.a, "z", USEC_INFINITY);
        pair_until(&pair, &pair.a.n_answers, 1);
        assert_eq_int(pair.a.outcome, CHANNEL_E_TIMEOUT);
        pair_until(&pair, &pair.b.n_cancelled, 1);
        assert_eq_int(pair.b.cancelled_id, id);
        pair_until(&pair, &pair.a.n_answers, 2);
        pair_until(&pair, &pair.b.n_cancelled, 2);
        assert_eq_int(pair.b.channel->n_inbound, 1);
        pair_turn(&pair);
        /* Cancelled requests are settled by the peer's one reply: nothing stays behind. */
        for (uint32_t i = id; i < id + 2; i++)
                assert_true(list_is_empty(channel_bucket(pair.a.channel->calls, i)));
        assert_true(channel_is_connected(pair.a.channel));
        pair_done(&pair);
}

static void channel_cancel_crosses_the_reply(void)
{
        Pair pair;
        uint32_t id;

        pair_init(&pair, &edge_schema_gatewayd_imaged);
        pair_connect(&pair);
        pair.b.handle = end_reply_never;
        id = end_pull(&pair.a, "x", USEC_INFINITY);
        pair_until(&pair, &pair.b.n_handled, 1);
        /* The reply is on its way when the caller gives up. */
        assert_ok(reply_fail(pair.b.to, GRPC_STATUS_INTERNAL, "late"));
        channel_cancel(pair.a.channel, id);
        pair_turn(&pair);
        assert_eq_int(pair.a.n_answers, 0);
        assert_eq_int(pair.b.n_cancelled, 0);
        assert_true(list_is_empty(channel_bucket(pair.a.channel->calls, id)));
        assert_true(channel_is_connected(pair.a.channel));
        assert_true(channel_is_connected(pair.b.channel));
        pair_done(&pair);
}

static void channel_cancelled_request_takes_no_answer(void)
{
        Pair pair;
        uint32_t id;

        pair_init(&pair, &edge_schema_gatewayd_imaged);
        pair_connect(&pair);
        pair.b.handle = end_reply_never;
        id = end_pull(&pair.a, "x", USEC_INFINITY);
        pair_until(&pair, &pair.b.n_handled, 1);
        channel_cancel(pair.a.channel, id);
        channel_cancel(pair.a.channel, id);
        channel_cancel(pair.a.channel, 4711);
        pair_until(&pair, &pair.b.n_cancelled, 1);
        assert_ok(reply_fail(pair.b.to, GRPC_STATUS_INTERNAL, "vanishes"));
        pair_turn(&pair);
        assert_eq_int(pair.a.n_answers, 0);
        assert_true(channel_is_connected(pair.a.channel));
        /* And one that was never sent. */
        channel_disconnect(pair.a.channel);
        id = end_pull(&pair.a, "x", USEC_INFINITY);
        channel_cancel(pair.a.channel, id);
        assert_eq_int(pair.a.channel->n_queued, 0);
        pair_done(&pair);
}

static void channel_loses_its_peer(void)
{
        Pair pair;

        pair_init(&pair, &edge_schema_gatewayd_imaged);
        pair_connect(&pair);
        pair.b.handle = end_reply_never;
        end_pull(&pair.a, "x", USEC_INFINITY);
        pair_until(&pair, &pair.b.n_handled, 1);
        channel_disconnect(pair.b.channel);
        pair_until(&pair, &pair.a.n_answers, 1);
        assert_eq_int(pair.a.outcome, CHANNEL_E_LOST);
        assert_eq_int(pair.a.code, GRPC_STATUS_UNAVAILABLE);
        assert_true(strstr(pair.a.text, "imaged"));
        assert_eq_str(channel_why(pair.a.channel), "closed by the peer");
        assert_eq_int(pair.a.n_lost, 1);
        assert_eq_int(pair.b.n_lost, 1);
        assert_eq_int(pair.b.n_cancelled, 1);
        assert_eq_int(channel_violations(pair.a.channel), 0);
        /* The old generation's request is not answered over the new one. */
        pair_connect(&pair);
        assert_ok(reply_fail(pair.b.to, GRPC_STATUS_INTERNAL, "vanishes"));
        pair_turn(&pair);
        assert_eq_int(pair.a.n_answers, 1);
        assert_true(channel_is_connected(pair.a.channel));
        pair_done(&pair);
}

static void channel_is_rewired(void)
{
        Pair pair;
        int s[2];

        pair_init(&pair, &edge_schema_gatewayd_imaged);
        pair_connect(&pair);
        pair.b.handle = end_reply_never;
        end_pull(&pair.a, "x", USEC_INFINITY);
        pair_connect(&pair); /* the old one ends before the new one is used */
        assert_eq_int(pair.a.n_answers, 1);
        assert_eq_int(pair.a.outcome, CHANNEL_E_LOST);
        assert_eq_int(pair.a.n_lost, 1);
        assert_eq_int(pair.a.n_connected, 2);
        pair.b.handle = end_reply_pull;
        end_pull(&pair.a, "y", USEC_INFINITY);
        pair_until(&pair, &pair.a.n_answers, 2);
        assert_eq_int(pair.a.outcome, 0);
        assert_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s));
        assert_eq_int(channel_connect(pair.a.channel, s[0], pair.generation), -EPROTO); /* not newer */
        (void)close(s[1]);
        pair_done(&pair);
}

static void channel_carries_large_messages(void)
{
        Runtime__V1__Image image = RUNTIME__V1__IMAGE__INIT, *images[64];
        Runtime__V1__ListImagesResponse response = RUNTIME__V1__LIST_IMAGES_RESPONSE__INIT;
        Runtime__V1__ListImagesRequest request = RUNTIME__V1__LIST_IMAGES_REQUEST__INIT;
        char *big = malloc(200001);
        Pair pair;

        memset(big, 'x', 200000);
        big[200000] = 0;
        image.id = big;
        for (size_t i = 0; i < ARRAY_SIZE(images); i++)
                images[i] = &image;
        response.images = images;
        pair_init(&pair, &edge_schema_gatewayd_imaged);
        pair_connect(&pair);
        pair.b.handle = end_reply_never;
        for (size_t n = 1; n <= ARRAY_SIZE(images); n *= 8) {
                int before = pair.a.n_answers;

                assert_ok(channel_call(pair.a.channel, ROW_GATEWAYD_IMAGED_LIST_IMAGES, &request.base, NULL, 0,
                                       USEC_INFINITY, end_on_answer, &pair.a, NULL));
                pair_until(&pair, &pair.b.n_handled, before + 1);
                response.n_images = n;
                assert_ok(reply_send(pair.b.to, &response.base, NULL, 0));
                pair_until(&pair, &pair.a.n_answers, before + 1);
                assert_eq_int(pair.a.outcome, 0);
                assert_eq_int(pair.a.n_bytes, protobuf_c_message_get_packed_size(&response.base));
        }
        free(big);
        pair_done(&pair);
}

static void channel_refuses_to_send_too_much(void)
{
        char *big = malloc(5 * 1024 * 1024);
        Runtime__V1__PullImageResponse response = RUNTIME__V1__PULL_IMAGE_RESPONSE__INIT;
        Pair pair;

        memset(big, 'x', 5 * 1024 * 1024 - 1);
        big[5 * 1024 * 1024 - 1] = 0;
        pair_init(&pair, &edge_schema_gatewayd_imaged);
        pair_connect(&pair);
        end_pull(&pair.a, big, USEC_INFINITY);
        assert_eq_int(pair.a.n_answers, 0);
        pair_until(&pair, &pair.a.n_answers, 1);
        assert_eq_int(pair.a.outcome, CHANNEL_E_FAILED);
        assert_eq_int(pair.a.code, GRPC_STATUS_RESOURCE_EXHAUSTED);
        /* An answer that its row does not allow becomes an error reply. */
        pair.b.handle = end_reply_never;
        end_pull(&pair.a, "x", USEC_INFINITY);
        pair_until(&pair, &pair.b.n_handled, 1);
        response.image_ref = big;
        assert_ok(reply_send(pair.b.to, &response.base, NULL, 0));
        pair_until(&pair, &pair.a.n_answers, 2);
        assert_eq_int(pair.a.code, GRPC_STATUS_RESOURCE_EXHAUSTED);
        assert_true(strstr(pair.a.text, "pull_image"));
        free(big);
        pair_done(&pair);
}

static int end_keep_fds(End *end, Frame *frame)
{
        Bulkhead__ContainerdLogd__LogReopened response = BULKHEAD__CONTAINERD_LOGD__LOG_REOPENED__INIT;

        assert_eq_int(frame_take_fd(frame, 1), -1);
        fd_closep(&end->fd);
        end->fd = frame_take_fd(frame, 0);
        assert_eq_int(frame_take_fd(frame, 0), -1);
        return reply_send(frame_reply_to(frame), &response.base, NULL, 0);
}

static void channel_passes_fds(void)
{
        Bulkhead__ContainerdLogd__LogReopen request = BULKHEAD__CONTAINERD_LOGD__LOG_REOPEN__INIT;
        int file = memfd_create("file", MFD_CLOEXEC);
        Pair pair;

        pair_init(&pair, &edge_schema_containerd_logd);
        pair.b.handle = end_keep_fds;
        /* Queued before there is a peer: the fd is ours again as soon as the call returns. */
        assert_ok(channel_call(pair.a.channel, ROW_CONTAINERD_LOGD_LOG_REOPEN, &request.base, &file, 1, USEC_INFINITY,
                               end_on_answer, &pair.a, NULL));
        (void)close(file);
        pair_connect(&pair);
        pair_until(&pair, &pair.a.n_answers, 1);
        assert_eq_int(pair.a.outcome, 0);
        assert_true(pair.b.fd >= 0);
        assert_eq_int(fcntl(pair.b.fd, F_GETFD), FD_CLOEXEC);
        assert_ok(fd_write_full(pair.b.fd, "x", 1));
        /* fds that the handler leaves are closed: TEST_RUN counts. */
        pair.b.handle = NULL;
        assert_ok(channel_call(pair.a.channel, ROW_CONTAINERD_LOGD_LOG_REOPEN, &request.base, &pair.b.fd, 1,
                               USEC_INFINITY, end_on_answer, &pair.a, NULL));
        pair_until(&pair, &pair.b.n_handled, 2);
        assert_eq_int(channel_call(pair.a.channel, ROW_CONTAINERD_LOGD_LOG_REOPEN, &request.base, NULL, 0,
                                   USEC_INFINITY, end_on_answer, &pair.a, NULL),
                      -EINVAL);
        pair_done(&pair);
}

static int end_keep_frame(End *end, Frame *frame)
{
        end->frame = frame_free(end->frame);
        end->frame = frame_keep(frame);
        return 0;
}

static void channel_sends_events_both_ways(void)
{
        Bulkhead__StreamdContainerd__SessionResize resize = BULKHEAD__STREAMD_CONTAINERD__SESSION_RESIZE__INIT;
        Bulkhead__StreamdContainerd__SessionEnded ended = BULKHEAD__STREAMD_CONTAINERD__SESSION_ENDED__INIT;
        const Bulkhead__StreamdContainerd__SessionResize *got;
        Pair pair;

        pair_init(&pair, &edge_schema_streamd_containerd);
        assert_ok(channel_event(pair.a.channel, ROW_STREAMD_CONTAINERD_SESSION_RESIZE, &resize.base)); /* lost */
        pair_connect(&pair);
        pair.b.handle = end_keep_frame;
        resize.columns = 80;
        assert_ok(channel_event(pair.a.channel, ROW_STREAMD_CONTAINERD_SESSION_RESIZE, &resize.base));
        assert_ok(channel_event(pair.b.channel, ROW_STREAMD_CONTAINERD_SESSION_ENDED, &ended.base));
        pair_until(&pair, &pair.b.n_handled, 1);
        pair_until(&pair, &pair.a.n_handled, 1);
        got = (const void *)pair.b.frame->message; /* outlives the handler */
        assert_eq_int(got->columns, 80);
        assert_eq_int(channel_event(pair.a.channel, ROW_STREAMD_CONTAINERD_SESSION_ENDED, &ended.base), -EINVAL);
        pair_done(&pair);
}

static int end_reply_status(End *end, Frame *frame)
{
        const ShimStatus status = {.confined = 1};

        (void)end;
        return reply_send_packed(frame_reply_to(frame), &status, sizeof(status), NULL, 0);
}

static int end_on_status(void *userdata, const Answer *answer)
{
        End *end = userdata;
        const ShimStatus *status = answer->frame ? answer->frame->flat : NULL;

        end->n_answers++;
        end->code = status ? status->confined : 99;
        return 0;
}

static void channel_speaks_flat(void)
{
        const ExitRecord record = {.exit_code = 3};
        Pair pair;

        pair_init(&pair, &edge_schema_containerd_shim);
        pair_connect(&pair);
        pair.b.handle = end_reply_status;
        assert_ok(channel_call_flat(pair.a.channel, ROW_CONTAINERD_SHIM_SHIM_STATUS, NULL, NULL, 0, USEC_INFINITY,
                                    end_on_status, &pair.a, NULL));
        pair_until(&pair, &pair.a.n_answers, 1);
        assert_eq_int(pair.a.code, 1);
        pair.a.handle = end_keep_frame;
        assert_ok(channel_event_flat(pair.b.channel, ROW_CONTAINERD_SHIM_SHIM_EXITED, &record, NULL, 0));
        pair_until(&pair, &pair.a.n_handled, 1);
        assert_eq_int(((const ExitRecord *)pair.a.frame->flat)->exit_code, 3);
        pair_done(&pair);
}

static void channel_refuses_in_another_state(void)
{
        Bulkhead__StreamdContainerd__SessionClose event = BULKHEAD__STREAMD_CONTAINERD__SESSION_CLOSE__INIT;
        Pair pair;

        pair_init(&pair, &edge_schema_gatewayd_imaged);
        pair_connect(&pair);
        pair.b.handle = end_reply_pull;
        channel_set_state(pair.b.channel, ROW_STATE_RECOVERING);
        end_pull(&pair.a, "x", USEC_INFINITY);
        pair_until(&pair, &pair.a.n_answers, 1);
        assert_eq_int(pair.a.code, GRPC_STATUS_UNAVAILABLE);
        assert_true(strstr(pair.a.text, "recovering"));
        assert_eq_int(pair.b.n_handled, 0);
        channel_set_state(pair.b.channel, ROW_STATE_READY);
        end_pull(&pair.a, "x", USEC_INFINITY);
        pair_until(&pair, &pair.a.n_answers, 2);
        assert_eq_int(pair.a.outcome, 0);
        pair_done(&pair);

        pair_init(&pair, &edge_schema_streamd_containerd);
        pair_connect(&pair);
        channel_set_state(pair.b.channel, ROW_STATE_STOPPING);
        assert_ok(channel_event(pair.a.channel, ROW_STREAMD_CONTAINERD_SESSION_CLOSE, &event.base));
        pair_turn(&pair);
        assert_eq_int(pair.b.n_handled, 0);
        assert_true(channel_is_connected(pair.b.channel));
        pair_done(&pair);
}

static void channel_queues_when_the_socket_is_full(void)
{
        enum { CALLS = 3000 };
        char text[1000];
        Pair pair;

        memset(text, 'x', sizeof(text) - 1);
        text[sizeof(text) - 1] = 0;
        pair_init(&pair, &edge_schema_gatewayd_imaged);
        pair_connect(&pair);
        pair.b.handle = end_reply_pull;
        for (int i = 0; i < CALLS; i++)
                end_pull(&pair.a, text, USEC_INFINITY);
        assert_true(pair.a.channel->n_queued > 0);
        pair_until(&pair, &pair.a.n_answers, CALLS);
        assert_eq_int(pair.a.outcome, 0);
        assert_eq_int(pair.a.channel->n_queued, 0);
        assert_eq_int(pair.a.channel->queued_bytes, 0);
        pair_done(&pair);
}

/* What was not sent yet when the peer is lost goes to the next one; what was sent is lost. */
static void channel_keeps_the_unsent(void)
{
        enum { CALLS = 2000 };
        int queued, sent;
        char text[1000];
        Pair pair;

        memset(text, 'x', sizeof(text) - 1);
        text[sizeof(text) - 1] = 0;
        pair_init(&pair, &edge_schema_gatewayd_imaged);
        pair_connect(&pair);
        for (int i = 0; i < CALLS; i++)
                end_pull(&pair.a, text, USEC_INFINITY);
        queued = (int)pair.a.channel->n_queued;
        sent = CALLS - queued;
        assert_true(queued > 0 && sent > 0);
        pair.b.handle = end_reply_pull;
        pair_connect(&pair);
        assert_eq_int(pair.a.n_answers, sent);
        assert_eq_int(pair.a.outcome, CHANNEL_E_LOST);
        pair_until(&pair, &pair.a.n_answers, CALLS);
        assert_eq_int(pair.a.outcome, 0);
        assert_eq_int(pair.b.n_handled, queued);
        pair_done(&pair);
}

static void channel_bounds_its_queue(void)
{
        enum { CALLS = CHANNEL_QUEUE_FRAMES_MAX + 10 };
        Pair pair;

        pair_init(&pair, &edge_schema_gatewayd_imaged);
        for (int i = 0; i < CALLS; i++)
                end_pull(&pair.a, "x", USEC_INFINITY);
        assert_eq_int(pair.a.n_answers, 0);
        pair_until(&pair, &pair.a.n_answers, 10);
        assert_eq_int(pair.a.outcome, CHANNEL_E_FAILED);
        assert_eq_int(pair.a.code, GRPC_STATUS_RESOURCE_EXHAUSTED);
        pair_done(&pair);
}

static void channel_drops_a_peer_that_does_not_read(void)
{
        enum { CALLS = 200 };
        char *big = malloc(1024 * 1024);
        Runtime__V1__ListImagesRequest request = RUNTIME__V1__LIST_IMAGES_REQUEST__INIT;
        ReplyTo to;
        Pair pair;
        int s[2];

        memset(big, 0, 1024 * 1024);
        pair_init(&pair, &edge_schema_gatewayd_imaged);
        pair.b.handle = end_reply_never;
        assert_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s));
        assert_ok(channel_connect(pair.b.channel, s[1], 1));
        for (int i = 1; i <= CALLS && channel_is_connected(pair.b.channel); i++) {
                uint8_t packed[64];
                size_t n = protobuf_c_message_pack(&request.base, packed);

                assert_ok(wire_send(s[0], ROW_ID_GATEWAYD_IMAGED_LIST_IMAGES, 0, (uint32_t)i, packed, n, NULL, 0));
                pair_until(&pair, &pair.b.n_handled, i);
                to = pair.b.to;
                assert_ok(reply_send_packed(to, big, 1024 * 1024, NULL, 0));
        }
        assert_false(channel_is_connected(pair.b.channel));
        assert_eq_str(channel_why(pair.b.channel), "the peer does not read");
        assert_eq_int(pair.b.channel->queued_bytes, 0);
        (void)close(s[0]);
        free(big);
        pair_done(&pair);
}

/* A memory file is a small datagram: the socket alone would take gigabytes of them. */
static void channel_waits_while_files_lie_in_the_socket(void)
{
        enum { CALLS = 100, BYTES = 1024 * 1024 };
        char *big = calloc(1, BYTES);
        WireFrame frame = WIRE_FRAME_NULL;
        Pair pair;
        int s[2], n_received = 0;

        pair_init(&pair, &edge_schema_gatewayd_imaged);
        pair.b.handle = end_reply_never;
        assert_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s));
        assert_ok(channel_connect(pair.b.channel, s[1], 1));
        for (int i = 1; i <= CALLS; i++) {
                assert_ok(wire_send(s[0], ROW_ID_GATEWAYD_IMAGED_LIST_IMAGES, 0, (uint32_t)i, NULL, 0, NULL, 0));
                pair_until(&pair, &pair.b.n_handled, i);
                assert_ok(reply_send_packed(pair.b.to, big, BYTES, NULL, 0));
        }
        assert_eq_int(pair.b.channel->n_queued, CALLS - CHANNEL_FLIGHT_BYTES_MAX / BYTES);
        assert_ok(fd_set_nonblock(s[0], true));
        while (n_received < CALLS) {
                int r = wire_receive(s[0], true, &frame);

                if (r == WIRE_E_AGAIN) {
                        (void)event_base_loop(pair.base, EVLOOP_ONCE);
                        continue;
                }
                assert_ok(r);
                assert_eq_int(frame.header.request_id, ++n_received);
                assert_eq_int(frame.header.length, BYTES);
                wire_frame_done(&frame);
        }
        (void)close(s[0]);
        free(big);
        pair_done(&pair);
}

static int end_break(End *end, Frame *frame)
{
        (void)frame;
        return end->callback_result;
}

static void channel_hears_its_handlers(void)
{
        Pair pair;

        pair_init(&pair, &edge_schema_gatewayd_imaged);
        pair_connect(&pair);
        pair.b.handle = end_break;
        pair.b.callback_result = -ENOSPC;
        end_pull(&pair.a, "x", USEC_INFINITY);
        pair_until(&pair, &pair.b.n_handled, 1);
        assert_eq_int(pair.b.failed, -ENOSPC);
        pair_done(&pair);

        pair_init(&pair, &edge_schema_gatewayd_imaged);
        pair_connect(&pair);
        pair.b.handle = end_break;
        pair.b.callback_result = 1;
        end_pull(&pair.a, "x", USEC_INFINITY);
        pair_until(&pair, &pair.a.n_answers, 1);
        assert_eq_int(pair.a.outcome, CHANNEL_E_LOST);
        assert_eq_int(channel_violations(pair.b.channel), 1);
        assert_eq_int(pair.b.failed, 0);
        pair_done(&pair);

        /* The same for answers. */
        pair_init(&pair, &edge_schema_gatewayd_imaged);
        pair_connect(&pair);
        pair.b.handle = end_reply_pull;
        pair.a.callback_result = -ENOSPC;
        end_pull(&pair.a, "x", USEC_INFINITY);
        pair_until(&pair, &pair.a.n_answers, 1);
        assert_eq_int(pair.a.failed, -ENOSPC);
        pair.a.callback_result = 1;
        end_pull(&pair.a, "x", USEC_INFINITY);
        pair_until(&pair, &pair.a.n_answers, 2);
        assert_eq_int(channel_violations(pair.a.channel), 1);
        pair_done(&pair);
}

static int end_free_self(End *end, Frame *frame)
{
        (void)frame;
        end->channel = channel_free(end->channel);
        return 0;
}

static void channel_is_freed_from_its_callbacks(void)
{
        Pair pair;

        pair_init(&pair, &edge_schema_gatewayd_imaged);
        pair_connect(&pair);
        pair.b.handle = end_reply_pull;
        pair.a.free_in_callback = true;
        end_pull(&pair.a, "x", USEC_INFINITY);
        end_pull(&pair.a, "y", USEC_INFINITY); /* its callback never comes */
        pair_until(&pair, &pair.a.n_answers, 1);
        pair_turn(&pair);
        pair_done(&pair);

        pair_init(&pair, &edge_schema_gatewayd_imaged);
        pair_connect(&pair);
        pair.b.handle = end_free_self;
        end_pull(&pair.a, "x", USEC_INFINITY);
        end_pull(&pair.a, "y", USEC_INFINITY);
        pair_until(&pair, &pair.a.n_answers, 2);
        assert_eq_int(pair.a.outcome, CHANNEL_E_LOST);
        pair_done(&pair);

        /* From the deferred event, with another call due and one abandoned. */
        pair_init(&pair, &edge_schema_gatewayd_imaged);
        pair_connect(&pair);
        pair.b.handle = end_reply_never;
        pair.a.free_in_callback = true;
        end_pull(&pair.a, "x", clock_monotonic_usec() + 1);
        end_pull(&pair.a, "y", clock_monotonic_usec() + 1);
        pair_until(&pair, &pair.a.n_answers, 1);
        pair_turn(&pair);
        assert_eq_int(pair.a.n_answers, 1);
        pair_done(&pair);
}

static void channel_needs_a_handler_for_every_row(void)
{
        const ChannelHandler partial[ROWS_MAX] = {end_on_frame};
        ChannelSpec spec = {.schema = &edge_schema_gatewayd_imaged, .side = EDGE_SIDE_B, .handlers = partial};
        struct event_base *base = event_base_new();
        Channel *channel = NULL;

        assert_eq_int(channel_new(&channel, base, &spec), -EINVAL);
        spec.handlers = NULL;
        assert_eq_int(channel_new(&channel, base, &spec), -EINVAL);
        spec.side = EDGE_SIDE_A;
        assert_ok(channel_new(&channel, base, &spec));
        channel_free(channel);
        event_base_free(base);
}

/* One peer that floods does not keep another waiting for longer than its share of one turn of the loop. */
static void channel_shares_the_loop(void)
{
        Pair pair;

        pair_init(&pair, &edge_schema_gatewayd_imaged);
        pair_connect(&pair);
        pair.b.handle = end_reply_never;
        for (int i = 0; i < 100; i++)
                end_pull(&pair.a, "x", USEC_INFINITY);
        (void)event_base_loop(pair.base, EVLOOP_NONBLOCK | EVLOOP_ONCE);
        assert_eq_int(pair.b.n_handled, CHANNEL_FRAMES_PER_WAKEUP);
        pair_until(&pair, &pair.b.n_handled, 100);
        pair_done(&pair);
}

int main(void)
{
        TEST_RUN(channel_round_trip);
        TEST_RUN(channel_fails_with_code_and_text);
        TEST_RUN(channel_answers_once);
        TEST_RUN(channel_waits_for_a_peer);
        TEST_RUN(channel_times_out_without_a_peer);
        TEST_RUN(channel_times_out_and_cancels);
        TEST_RUN(channel_cancel_crosses_the_reply);
        TEST_RUN(channel_cancelled_request_takes_no_answer);
        TEST_RUN(channel_loses_its_peer);
        TEST_RUN(channel_is_rewired);
        TEST_RUN(channel_carries_large_messages);
        TEST_RUN(channel_refuses_to_send_too_much);
        TEST_RUN(channel_passes_fds);
        TEST_RUN(channel_sends_events_both_ways);
        TEST_RUN(channel_speaks_flat);
        TEST_RUN(channel_refuses_in_another_state);
        TEST_RUN(channel_queues_when_the_socket_is_full);
        TEST_RUN(channel_keeps_the_unsent);
        TEST_RUN(channel_bounds_its_queue);
        TEST_RUN(channel_drops_a_peer_that_does_not_read);
        TEST_RUN(channel_waits_while_files_lie_in_the_socket);
        TEST_RUN(channel_hears_its_handlers);
        TEST_RUN(channel_is_freed_from_its_callbacks);
        TEST_RUN(channel_needs_a_handler_for_every_row);
        TEST_RUN(channel_shares_the_loop);
        return 0;
}
