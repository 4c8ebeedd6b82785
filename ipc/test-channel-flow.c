/* SPDX-License-Identifier: Apache-2.0 */

/* A peer that is not there yet, is lost, re-wired or slow; sockets and queues that are full; a channel that ends. */

#include "ipc/test-channel-pair.h"

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
        TEST_RUN(channel_waits_for_a_peer);
        TEST_RUN(channel_times_out_without_a_peer);
        TEST_RUN(channel_loses_its_peer);
        TEST_RUN(channel_is_rewired);
        TEST_RUN(channel_queues_when_the_socket_is_full);
        TEST_RUN(channel_keeps_the_unsent);
        TEST_RUN(channel_bounds_its_queue);
        TEST_RUN(channel_drops_a_peer_that_does_not_read);
        TEST_RUN(channel_waits_while_files_lie_in_the_socket);
        TEST_RUN(channel_hears_its_handlers);
        TEST_RUN(channel_is_freed_from_its_callbacks);
        TEST_RUN(channel_shares_the_loop);
        return 0;
}
