/* SPDX-License-Identifier: Apache-2.0 */

/* Requests, answers, events, fds, cancellation, deadlines and states over two ends of real edges. What happens when a
 * peer is lost or slow is in test-channel-flow.c, what a hostile one can send in test-channel-refusals.c. */

#include "ipc/edges/containerd-logd.rows.h"
#include "ipc/edges/containerd-shim.rows.h"
#include "ipc/edges/streamd-containerd.rows.h"
#include "ipc/test-channel-pair.h"

#include <fcntl.h>
#include <sys/mman.h>

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

static void channel_times_out_and_cancels(void)
{
        Pair pair;
        uint32_t id;

        pair_init(&pair, &edge_schema_gatewayd_imaged);
        pair_connect(&pair);
        pair.b.handle = end_reply_never;
        id = end_pull(&pair.a, "x", clock_monotonic_usec() + 20000);
        end_pull(&pair.a, "y", clock_monotonic_usec() + SECOND); /* after the first, however busy the machine is */
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

/* Whoever withdraws hears what became of it: whichever of the two was first, and if it was never asked. */
static void channel_withdrawn_request_has_its_callback(void)
{
        Pair pair;
        uint32_t id;

        pair_init(&pair, &edge_schema_gatewayd_imaged);
        pair_connect(&pair);
        pair.b.handle = end_reply_never;
        id = end_pull(&pair.a, "x", clock_monotonic_usec() + 60 * SECOND);
        pair_until(&pair, &pair.b.n_handled, 1);
        assert_ok(reply_fail(pair.b.to, GRPC_STATUS_INTERNAL, "crossed"));
        channel_withdraw(pair.a.channel, id);
        pair_until(&pair, &pair.a.n_answers, 1);
        assert_eq_str(pair.a.text, "crossed");
        assert_eq_int(pair.b.n_cancelled, 0);
        id = end_pull(&pair.a, "y", clock_monotonic_usec() + 60 * SECOND);
        pair_until(&pair, &pair.b.n_handled, 2);
        channel_withdraw(pair.a.channel, id);
        assert_true(list_first(channel_bucket(pair.a.channel->calls, id), ChannelCall, by_id)->deadline_usec == USEC_INFINITY);
        channel_withdraw(pair.a.channel, 4711);
        pair_until(&pair, &pair.a.n_answers, 2);
        assert_eq_int(pair.a.code, GRPC_STATUS_CANCELLED);
        assert_eq_int(pair.b.n_cancelled, 1);
        channel_disconnect(pair.a.channel);
        id = end_pull(&pair.a, "z", USEC_INFINITY);
        channel_withdraw(pair.a.channel, id);
        assert_eq_int(pair.a.channel->n_queued, 0);
        pair_until(&pair, &pair.a.n_answers, 3);
        assert_eq_int(pair.a.code, GRPC_STATUS_CANCELLED);
        assert_true(strstr(pair.a.text, "before imaged was asked"));
        assert_true(list_is_empty(channel_bucket(pair.a.channel->calls, id)));
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

static int end_keep_and_free_frame(End *end, Frame *frame)
{
        (void)end;
        (void)frame_free(frame_keep(frame));
        assert_false(frame->kept);
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
        /* Given up before the handler returns: it is still there until then (a sanitizer sees it if not), and gone after. */
        pair.b.handle = end_keep_and_free_frame;
        assert_ok(channel_event(pair.a.channel, ROW_STREAMD_CONTAINERD_SESSION_RESIZE, &resize.base));
        pair_until(&pair, &pair.b.n_handled, 2);
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
        Bulkhead__StreamdContainerd__SessionEnded event = BULKHEAD__STREAMD_CONTAINERD__SESSION_ENDED__INIT;
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
        channel_set_state(pair.a.channel, ROW_STATE_STOPPING);
        assert_ok(channel_event(pair.b.channel, ROW_STREAMD_CONTAINERD_SESSION_ENDED, &event.base));
        pair_turn(&pair);
        assert_eq_int(pair.a.n_handled, 0);
        assert_true(channel_is_connected(pair.a.channel));
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

int main(void)
{
        TEST_RUN(channel_round_trip);
        TEST_RUN(channel_fails_with_code_and_text);
        TEST_RUN(channel_answers_once);
        TEST_RUN(channel_times_out_and_cancels);
        TEST_RUN(channel_cancel_crosses_the_reply);
        TEST_RUN(channel_cancelled_request_takes_no_answer);
        TEST_RUN(channel_withdrawn_request_has_its_callback);
        TEST_RUN(channel_carries_large_messages);
        TEST_RUN(channel_refuses_to_send_too_much);
        TEST_RUN(channel_passes_fds);
        TEST_RUN(channel_sends_events_both_ways);
        TEST_RUN(channel_speaks_flat);
        TEST_RUN(channel_refuses_in_another_state);
        TEST_RUN(channel_needs_a_handler_for_every_row);
        return 0;
}
