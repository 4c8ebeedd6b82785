/* SPDX-License-Identifier: Apache-2.0 */

/* A hostile peer at the other end of a channel: each violation closes the edge, is counted, never reaches a handler,
 * and leaves nothing behind; the twin of each is that the same peer, well behaved, is served. */

#include "ipc/channel-internal.h"
#include "ipc/edges/containerd-logd.rows.h"
#include "ipc/edges/gatewayd-imaged.rows.h"
#include "lib/clock.h"
#include "lib/grpc-status.h"
#include "lib/test.h"

#include <sys/socket.h>

#define PULL ROW_ID_GATEWAYD_IMAGED_PULL_IMAGE

typedef struct Victim {
        struct event_base *base;
        Channel *channel;
        int peer_fd; /* the hostile end */
        int n_handled;
        int n_lost;
        int n_answers;
        int n_cancelled;
        int outcome;
        uint32_t code;
        int failed;
        bool answers; /* the handler answers at once */
} Victim;

static int victim_on_frame(void *userdata, Frame *frame)
{
        Victim *victim = userdata;

        victim->n_handled++;
        return victim->answers ? reply_fail(frame_reply_to(frame), GRPC_STATUS_NOT_FOUND, "no") : 0;
}

static int victim_on_answer(void *userdata, const Answer *answer)
{
        Victim *victim = userdata;

        victim->n_answers++;
        victim->outcome = answer->outcome;
        victim->code = answer->code;
        return 0;
}

static void victim_on_cancelled(void *userdata, Channel *channel, uint32_t request_id)
{
        Victim *victim = userdata;

        (void)channel;
        (void)request_id;
        victim->n_cancelled++;
}

static void victim_on_changed(void *userdata, Channel *channel, bool connected)
{
        Victim *victim = userdata;

        (void)channel;
        victim->n_lost += !connected;
}

static void victim_on_failed(void *userdata, Channel *channel, int r)
{
        Victim *victim = userdata;

        (void)channel;
        victim->failed = r;
}

#define VICTIM_ROWS_MAX 64
static const ChannelHandler victim_handlers[] = {[0 ... VICTIM_ROWS_MAX - 1] = victim_on_frame};

static void victim_init(Victim *victim, const EdgeSchema *schema, EdgeSide side)
{
        const ChannelSpec spec = {
                        .schema = schema,
                        .side = side,
                        .handlers = victim_handlers,
                        .on_cancelled = victim_on_cancelled,
                        .on_changed = victim_on_changed,
                        .on_failed = victim_on_failed,
                        .userdata = victim,
        };
        int s[2];

        assert_true(schema->n_rows <= VICTIM_ROWS_MAX);
        *victim = (Victim){.base = event_base_new(), .outcome = -1};
        assert_ok(channel_new(&victim->channel, victim->base, &spec));
        assert_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s));
        assert_ok(channel_connect(victim->channel, s[0], 1));
        victim->peer_fd = s[1];
}

static void victim_done(Victim *victim)
{
        assert_eq_int(victim->failed, 0); /* a peer's garbage is never our error */
        (void)channel_free(victim->channel);
        event_base_free(victim->base);
        (void)close(victim->peer_fd);
}

static void victim_turn(Victim *victim)
{
        for (int i = 0; i < 3; i++)
                (void)event_base_loop(victim->base, EVLOOP_NONBLOCK);
}

/* The edge is closed, as a violation, and no handler was called. */
static void victim_has_refused(Victim *victim, const char *why)
{
        victim_turn(victim);
        assert_false(channel_is_connected(victim->channel));
        assert_eq_int(channel_violations(victim->channel), 1);
        assert_eq_int(victim->n_handled, 0);
        assert_eq_int(victim->n_lost, 1);
        assert_true(strstr(channel_why(victim->channel), "violation by "));
        if (!strstr(channel_why(victim->channel), why))
                test_fail("why is '%s', not '%s'", channel_why(victim->channel), why);
        victim_done(victim);
}

static void refusal_of_requests(void)
{
        static const struct {
                uint16_t id;
                uint16_t flags;
                uint32_t request_id;
                const char *body;
                size_t n;
                const char *why;
        } cases[] = {
                        {99, 0, 1, "", 0, "no such message"},
                        {PULL, 0, 0, "", 0, "malformed"},
                        {PULL, 0, 1,
                         "\x0a\x05\x0a\x03"
                         "abc",
                         7, NULL}, /* the twin */
                        {PULL, 0, 1,
                         "\x0a\x05\x0a\x03"
                         "ab",
                         6, "not valid in PullImageRequest"},
                        {PULL, 0, 1,
                         "\x0a\x05\x0a\x03"
                         "a\xff"
                         "c",
                         7, "not valid in ImageSpec.image"},
                        {PULL, 0, 1,
                         "\x0a\x05\x0a\x03"
                         "a\0c",
                         7, "not valid in ImageSpec.image"},
                        {PULL, WIRE_FLAG_REPLY, 1, "", 0, "no such message"}, /* a reply to nothing */
                        {PULL, WIRE_FLAG_REPLY | WIRE_FLAG_ERROR, 1, "\x05\0\0\0", 4, "no such message"},
                        {PULL, WIRE_FLAG_ERROR, 1, "\x05\0\0\0", 4, "malformed"},
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                Victim victim;

                victim_init(&victim, &edge_schema_gatewayd_imaged, EDGE_SIDE_B);
                assert_ok(wire_send(victim.peer_fd, cases[i].id, cases[i].flags, cases[i].request_id, cases[i].body,
                                    cases[i].n, NULL, 0));
                if (cases[i].why) {
                        victim_has_refused(&victim, cases[i].why);
                        continue;
                }
                victim_turn(&victim);
                assert_eq_int(victim.n_handled, 1);
                assert_true(channel_is_connected(victim.channel));
                victim_done(&victim);
        }
}

static void refusal_of_an_empty_datagram(void)
{
        Victim victim;

        victim_init(&victim, &edge_schema_gatewayd_imaged, EDGE_SIDE_B);
        assert_eq_int(send(victim.peer_fd, "", 0, 0), 0);
        victim_has_refused(&victim, "malformed");
}

static void refusal_of_surplus_fds(void)
{
        Victim victim;

        victim_init(&victim, &edge_schema_gatewayd_imaged, EDGE_SIDE_B);
        assert_ok(wire_send(victim.peer_fd, PULL, 0, 1, "", 0, &victim.peer_fd, 1));
        victim_has_refused(&victim, "file descriptors");
        /* logd's peer gets no answers with fds: here there is not even a control buffer. */
        victim_init(&victim, &edge_schema_containerd_logd, EDGE_SIDE_A);
        assert_ok(wire_send(victim.peer_fd, ROW_ID_CONTAINERD_LOGD_LOG_FAILED, 0, 0, "", 0, &victim.peer_fd, 1));
        victim_has_refused(&victim, "file descriptors");
}

static void refusal_of_a_message_that_takes_too_much(void)
{
        enum { N = 3 * 1024 * 1024 };
        uint8_t *bomb = malloc(N);
        Victim victim;

        /* ImageSpec.annotations: 3 MiB of empty entries. */
        victim_init(&victim, &edge_schema_gatewayd_imaged, EDGE_SIDE_B);
        for (size_t i = 0; i < N; i += 2)
                memcpy(bomb + i, "\x12\x00", 2);
        bomb[0] = 0x0a; /* image, 3 MiB less 5 bytes long: */
        bomb[1] = 0xfb;
        bomb[2] = 0xff;
        bomb[3] = 0xbf;
        bomb[4] = 0x01;
        assert_ok(wire_send(victim.peer_fd, PULL, 0, 1, bomb, N, NULL, 0));
        free(bomb);
        victim_has_refused(&victim, "not valid in ImageSpec");
}

static void refusal_of_a_request_id_that_is_taken(void)
{
        Victim victim;

        victim_init(&victim, &edge_schema_gatewayd_imaged, EDGE_SIDE_B);
        assert_ok(wire_send(victim.peer_fd, PULL, 0, 1, "", 0, NULL, 0));
        assert_ok(wire_send(victim.peer_fd, PULL, 0, 2, "", 0, NULL, 0));
        victim_turn(&victim);
        assert_eq_int(victim.n_handled, 2);
        assert_true(channel_is_connected(victim.channel));
        victim.n_handled = 0;
        assert_ok(wire_send(victim.peer_fd, PULL, 0, 1, "", 0, NULL, 0));
        victim_turn(&victim);
        assert_eq_int(victim.n_cancelled, 2); /* both of its requests went with the edge */
        victim_has_refused(&victim, "no such message");
}

static void refusal_of_cancelling_as_another_row(void)
{
        Victim victim;

        victim_init(&victim, &edge_schema_gatewayd_imaged, EDGE_SIDE_B);
        assert_ok(wire_send(victim.peer_fd, PULL, WIRE_FLAG_CANCEL, 1, NULL, 0, NULL, 0)); /* of nothing: crossed */
        victim_turn(&victim);
        assert_true(channel_is_connected(victim.channel));
        assert_ok(wire_send(victim.peer_fd, PULL, 0, 1, "", 0, NULL, 0));
        victim_turn(&victim);
        victim.n_handled = 0;
        assert_ok(wire_send(victim.peer_fd, PULL + 1, WIRE_FLAG_CANCEL, 1, NULL, 0, NULL, 0));
        victim_has_refused(&victim, "no such message");
}

/* More requests than one peer may have under way are answered, not held. */
static void refusal_of_too_many_requests(void)
{
        WireFrame frame = WIRE_FRAME_NULL;
        Victim victim;
        uint32_t code;

        victim_init(&victim, &edge_schema_gatewayd_imaged, EDGE_SIDE_B);
        assert_ok(fd_set_nonblock(victim.peer_fd, true));
        for (uint32_t id = 1; id <= CHANNEL_INBOUND_MAX + 1;) {
                if (wire_send(victim.peer_fd, PULL, 0, id, "", 0, NULL, 0) == 0)
                        id++;
                else
                        victim_turn(&victim);
        }
        while (wire_receive(victim.peer_fd, true, &frame) == WIRE_E_AGAIN)
                victim_turn(&victim);
        assert_eq_int(frame.header.flags, WIRE_FLAG_REPLY | WIRE_FLAG_ERROR);
        assert_eq_int(frame.header.request_id, CHANNEL_INBOUND_MAX + 1);
        memcpy(&code, frame.payload, sizeof(code));
        assert_eq_int(code, GRPC_STATUS_RESOURCE_EXHAUSTED);
        wire_frame_done(&frame);
        assert_eq_int(victim.n_handled, CHANNEL_INBOUND_MAX);
        assert_eq_int(victim.channel->n_inbound, CHANNEL_INBOUND_MAX);
        assert_true(channel_is_connected(victim.channel));
        victim_done(&victim);
}

/* A victim that has asked, and whose peer has the request. */
static uint32_t victim_ask(Victim *victim)
{
        Runtime__V1__PullImageRequest request = RUNTIME__V1__PULL_IMAGE_REQUEST__INIT;
        WireFrame frame = WIRE_FRAME_NULL;
        uint32_t id = 0;

        victim_init(victim, &edge_schema_gatewayd_imaged, EDGE_SIDE_A);
        assert_ok(channel_call(victim->channel, ROW_GATEWAYD_IMAGED_PULL_IMAGE, &request.base, NULL, 0, USEC_INFINITY,
                               victim_on_answer, victim, &id));
        assert_ok(wire_receive(victim->peer_fd, true, &frame));
        assert_eq_int(frame.header.request_id, id);
        wire_frame_done(&frame);
        return id;
}

static void refusal_of_replies(void)
{
        static const struct {
                uint16_t id;
                uint16_t flags;
                int other_request;
                const char *body;
                size_t n;
                const char *why;
        } cases[] = {
                        {PULL, WIRE_FLAG_REPLY, 0, "\x0a\x01x", 3, NULL}, /* the twins */
                        {PULL, WIRE_FLAG_REPLY | WIRE_FLAG_ERROR, 0, "\x10\0\0\0x", 5, NULL},
                        {PULL, WIRE_FLAG_REPLY, 1, "", 0, "no such message"},
                        {PULL + 1, WIRE_FLAG_REPLY, 0, "", 0, "no such message"},
                        {PULL, WIRE_FLAG_REPLY, 0, "\x0a\x01\xff", 3, "not valid in PullImageResponse.image_ref"},
                        {PULL, WIRE_FLAG_REPLY | WIRE_FLAG_ERROR, 0, "\x05\0\0", 3, "wrong length"},
                        {PULL, WIRE_FLAG_REPLY | WIRE_FLAG_ERROR, 0, "", 0, "wrong length"},
                        {PULL, WIRE_FLAG_REPLY | WIRE_FLAG_ERROR, 0, "\0\0\0\0", 4, "not valid"},
                        {PULL, WIRE_FLAG_REPLY | WIRE_FLAG_ERROR, 0, "\x11\0\0\0", 4, "not valid"},
                        {PULL, 0, 0, "", 0, "no such message"}, /* a request from the side that only answers */
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                Victim victim;
                uint32_t id = victim_ask(&victim);

                assert_ok(wire_send(victim.peer_fd, cases[i].id, cases[i].flags, id + (uint32_t)cases[i].other_request,
                                    cases[i].body, cases[i].n, NULL, 0));
                victim_turn(&victim);
                assert_eq_int(victim.n_answers, 1);
                if (cases[i].why) {
                        assert_eq_int(victim.outcome, CHANNEL_E_LOST);
                        victim_has_refused(&victim, cases[i].why);
                        continue;
                }
                assert_eq_int(victim.outcome, cases[i].flags == WIRE_FLAG_REPLY ? 0 : CHANNEL_E_FAILED);
                assert_true(channel_is_connected(victim.channel));
                victim_done(&victim);
        }
}

static void refusal_of_an_error_with_fds_or_a_long_text(void)
{
        uint8_t text[sizeof(WireError) + WIRE_ERROR_TEXT_MAX + 1] = {5};
        Victim victim;
        uint32_t id;

        id = victim_ask(&victim);
        assert_ok(wire_send(victim.peer_fd, PULL, WIRE_FLAG_REPLY | WIRE_FLAG_ERROR, id, text, 8, &victim.peer_fd, 1));
        victim_has_refused(&victim, "file descriptors");
        id = victim_ask(&victim);
        assert_ok(wire_send(victim.peer_fd, PULL, WIRE_FLAG_REPLY | WIRE_FLAG_ERROR, id, text, sizeof(text), NULL, 0));
        victim_has_refused(&victim, "wrong length");
        id = victim_ask(&victim);
        assert_ok(wire_send(victim.peer_fd, PULL, WIRE_FLAG_REPLY | WIRE_FLAG_ERROR, id, text, sizeof(text) - 1, NULL,
                            0));
        victim_turn(&victim);
        assert_eq_int(victim.outcome, CHANNEL_E_FAILED);
        victim_done(&victim);
}

static void refusal_of_a_second_reply(void)
{
        Victim victim;
        uint32_t id = victim_ask(&victim);

        assert_ok(wire_send(victim.peer_fd, PULL, WIRE_FLAG_REPLY, id, "", 0, NULL, 0));
        victim_turn(&victim);
        assert_eq_int(victim.outcome, 0);
        assert_ok(wire_send(victim.peer_fd, PULL, WIRE_FLAG_REPLY, id, "", 0, NULL, 0));
        victim_turn(&victim);
        assert_eq_int(victim.n_answers, 1);
        victim_has_refused(&victim, "no such message");
}

/* A request that waits in the queue was not seen by the peer: it cannot have an answer to it. */
static void refusal_of_a_reply_to_what_was_not_sent(void)
{
        enum { CALLS = 1000 };
        Runtime__V1__PullImageRequest request = RUNTIME__V1__PULL_IMAGE_REQUEST__INIT;
        uint32_t id = 0;
        Victim victim;

        victim_init(&victim, &edge_schema_gatewayd_imaged, EDGE_SIDE_A);
        for (int i = 0; i < CALLS; i++)
                assert_ok(channel_call(victim.channel, ROW_GATEWAYD_IMAGED_PULL_IMAGE, &request.base, NULL, 0,
                                       USEC_INFINITY, victim_on_answer, &victim, &id));
        assert_true(victim.channel->n_queued > 0);
        assert_ok(wire_send(victim.peer_fd, PULL, WIRE_FLAG_REPLY, id, "", 0, NULL, 0));
        victim_turn(&victim);
        victim_has_refused(&victim, "no such message");
}

/* A cancelled request still has its one reply, which is checked like any other. */
static void refusal_of_garbage_for_a_cancelled_request(void)
{
        Victim victim;
        uint32_t id = victim_ask(&victim);

        channel_cancel(victim.channel, id);
        assert_ok(wire_send(victim.peer_fd, PULL, WIRE_FLAG_REPLY, id, "\x0a\x01\xff", 3, NULL, 0));
        victim_has_refused(&victim, "not valid in PullImageResponse.image_ref");
}

/* After a violation the edge can be wired anew and works. */
static void refusal_is_not_for_ever(void)
{
        Victim victim;
        int s[2];

        victim_init(&victim, &edge_schema_gatewayd_imaged, EDGE_SIDE_B);
        assert_ok(wire_send(victim.peer_fd, 99, 0, 1, "", 0, NULL, 0));
        victim_turn(&victim);
        assert_false(channel_is_connected(victim.channel));
        assert_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s));
        (void)close(victim.peer_fd);
        victim.peer_fd = s[1];
        assert_ok(channel_connect(victim.channel, s[0], 2));
        assert_ok(wire_send(victim.peer_fd, PULL, 0, 1, "", 0, NULL, 0));
        victim_turn(&victim);
        assert_eq_int(victim.n_handled, 1);
        victim_done(&victim);
}

int main(void)
{
        TEST_RUN(refusal_of_requests);
        TEST_RUN(refusal_of_an_empty_datagram);
        TEST_RUN(refusal_of_surplus_fds);
        TEST_RUN(refusal_of_a_message_that_takes_too_much);
        TEST_RUN(refusal_of_a_request_id_that_is_taken);
        TEST_RUN(refusal_of_cancelling_as_another_row);
        TEST_RUN(refusal_of_too_many_requests);
        TEST_RUN(refusal_of_replies);
        TEST_RUN(refusal_of_an_error_with_fds_or_a_long_text);
        TEST_RUN(refusal_of_a_second_reply);
        TEST_RUN(refusal_of_a_reply_to_what_was_not_sent);
        TEST_RUN(refusal_of_garbage_for_a_cancelled_request);
        TEST_RUN(refusal_is_not_for_ever);
        return 0;
}
