/* SPDX-License-Identifier: Apache-2.0 */

/* What holds for every row of every edge, from the schemas alone: a new message is tested by being there. */

#include "ipc/channel.h"
#include "ipc/edges/tables.h"
#include "ipc/hand-channel.h"
#include "ipc/sample.h"
#include "ipc/schemas.h"
#include "lib/grpc-status.h"
#include "lib/test.h"

#include <event2/event.h>
#include <sys/socket.h>

/* One direction of one row. */
typedef struct Case {
        const EdgeSchema *schema;
        const MessageRow *row;
        const RowBody *body;
        bool is_reply;
        EdgeSide sender;
        uint8_t *bytes; /* owned: a whole payload */
        size_t n;
} Case;

static EdgeSide side_other(EdgeSide side)
{
        return side == EDGE_SIDE_A ? EDGE_SIDE_B : EDGE_SIDE_A;
}

static uint16_t case_flags(const Case *c)
{
        return c->is_reply ? WIRE_FLAG_REPLY : 0;
}

static uint32_t case_request_id(const Case *c)
{
        return c->row->kind == ROW_KIND_REQUEST ? 7 : 0;
}

/* Sends over a socketpair, receives and checks as both kinds of receivers do. */
static int case_pass(const Case *c, const void *bytes, size_t n, const int *fds, size_t n_fds, WireFrame *frame)
{
        const MessageRow *row = c->row;
        int s[2], r;

        assert_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s));
        assert_ok(wire_send(s[0], c->row->id, case_flags(c), case_request_id(c), bytes, n, fds, n_fds));
        r = wire_receive(s[1], edge_schema_has_fds(c->schema, c->sender), frame);
        if (r == 0)
                r = c->is_reply ? row_check_body(c->body, frame) : row_check(c->schema, c->sender, frame, &row);
        assert_true(r != 0 || row == c->row);
        (void)close(s[0]);
        (void)close(s[1]);
        return r;
}

static int case_try(const Case *c, const void *bytes, size_t n, const int *fds, size_t n_fds)
{
        WireFrame frame = WIRE_FRAME_NULL;
        int r = case_pass(c, bytes, n, fds, n_fds, &frame);

        wire_frame_done(&frame);
        return r;
}

static int case_decode(const Case *c, const void *bytes, size_t n, uint8_t **ret, size_t *ret_n)
{
        ProtobufCMessage *message = NULL;
        DecodeArena arena;
        int r;

        decode_arena_init(&arena, decode_budget(n));
        r = decode_message(&arena, c->body->type, bytes, n, &message);
        if (r == 0 && ret)
                assert_ok(decode_pack(message, ret, ret_n));
        decode_arena_done(&arena);
        return r;
}

static void row_round_trip(const Case *c)
{
        for (size_t n_fds = c->body->fds.n_min; n_fds <= c->body->fds.n_max; n_fds++) {
                WireFrame frame = WIRE_FRAME_NULL;
                int fds[WIRE_FDS_MAX];
                uint8_t *packed = NULL;
                size_t n = 0;

                if (sample_fds(&c->body->fds, n_fds, fds)) {
                        assert_ok(case_pass(c, c->bytes, c->n, fds, n_fds, &frame));
                        assert_eq_int(frame.n_fds, n_fds);
                        if (c->body->type) {
                                assert_ok(case_decode(c, frame.payload, frame.header.length, &packed, &n));
                                assert_eq_mem(packed, n, c->bytes, c->n);
                        } else {
                                assert_eq_mem(frame.payload, frame.header.length, c->bytes, c->n);
                        }
                }
                free(packed);
                wire_frame_done(&frame);
                sample_fds_done(fds);
        }
}

static void row_truncated(const Case *c)
{
        size_t step = c->n > 256 ? c->n / 256 : 1;
        int fds[WIRE_FDS_MAX];

        if (!sample_fds(&c->body->fds, c->body->fds.n_min, fds))
                return;
        for (size_t n = 0; n < c->n; n += step) {
                uint8_t *exact = malloc(n);

                if (n > 0)
                        memcpy(exact, c->bytes, n);
                if (c->body->type) /* may still be a message, and is never read beyond its end */
                        assert_true(case_decode(c, exact, n, NULL, NULL) >= 0);
                else
                        assert_eq_int(case_try(c, exact, n, fds, c->body->fds.n_min), WIRE_E_LENGTH);
                free(exact);
        }
        sample_fds_done(fds);
}

static void row_too_long(const Case *c)
{
        uint8_t *bytes = calloc(1, (size_t)c->body->max_length + 1);
        int fds[WIRE_FDS_MAX];

        if (sample_fds(&c->body->fds, c->body->fds.n_min, fds) && c->body->max_length < WIRE_MEMFD_MAX) {
                int r = case_try(c, bytes, (size_t)c->body->max_length + 1, fds, c->body->fds.n_min);

                /* A direction that has no large payload and no fds does not even take the memfd. */
                assert_true(r == WIRE_E_LENGTH || (r == WIRE_E_FDS && c->body->max_length == WIRE_PAYLOAD_MAX));
        }
        sample_fds_done(fds);
        free(bytes);
}

static void row_wrong_sender(const Case *c)
{
        WireFrame frame = WIRE_FRAME_NULL;
        const MessageRow *row = NULL;

        if (c->is_reply)
                return;
        frame.header = (WireHeader){.id = c->row->id, .length = (uint32_t)c->n, .request_id = case_request_id(c)};
        assert_eq_int(row_check(c->schema, side_other(c->sender), &frame, &row), WIRE_E_UNKNOWN);
        frame.header.flags = WIRE_FLAG_REPLY;
        assert_eq_int(row_check(c->schema, c->sender, &frame, &row), WIRE_E_UNKNOWN);
        frame.header.flags = 0;
        frame.header.request_id = case_request_id(c) ? 0 : 1;
        assert_eq_int(row_check(c->schema, c->sender, &frame, &row), WIRE_E_MALFORMED);
}

static void row_wrong_fds(const Case *c)
{
        const RowFds *kinds = &c->body->fds;
        int fds[WIRE_FDS_MAX];

        if (kinds->n_min > 0) {
                (void)sample_fds(kinds, kinds->n_min - 1u, fds);
                assert_eq_int(case_try(c, c->bytes, c->n, fds, kinds->n_min - 1u), WIRE_E_FDS);
                sample_fds_done(fds);
        }
        if (kinds->n_max < WIRE_FDS_MAX) {
                if (sample_fds(kinds, kinds->n_max + 1u, fds))
                        assert_eq_int(case_try(c, c->bytes, c->n, fds, kinds->n_max + 1u), WIRE_E_FDS);
                sample_fds_done(fds);
        }
        for (size_t i = 0; i < kinds->n_max; i++) {
                if (sample_fds(kinds, i + 1 > kinds->n_min ? i + 1 : kinds->n_min, fds)) {
                        fds[i] = fd_close(fds[i]);
                        fds[i] = sample_fd_wrong();
                        assert_eq_int(case_try(c, c->bytes, c->n, fds, MAX2(i + 1, (size_t)kinds->n_min)), WIRE_E_FDS);
                }
                sample_fds_done(fds);
        }
}

typedef struct Counter {
        int n_handled;
        int failed;
} Counter;

static int counter_on_frame(void *userdata, Frame *frame)
{
        Counter *counter = userdata;

        counter->n_handled++;
        return frame->row->kind == ROW_KIND_REQUEST
                               ? reply_fail(frame_reply_to(frame), GRPC_STATUS_UNIMPLEMENTED, "handled")
                               : 0;
}

static void counter_on_failed(void *userdata, Channel *channel, int r)
{
        Counter *counter = userdata;

        (void)channel;
        counter->failed = r;
}

/* In each state of the receiver: handled where the row says so, else answered UNAVAILABLE or (events) dropped. */
static void row_states(const Case *c)
{
        static const uint32_t states[] = {ROW_STATE_RECOVERING, ROW_STATE_READY, ROW_STATE_STOPPING};
        ChannelHandler handlers[64];
        Counter counter = {0};
        const ChannelSpec spec = {
                        .schema = c->schema,
                        .side = side_other(c->sender),
                        .handlers = handlers,
                        .on_failed = counter_on_failed,
                        .userdata = &counter,
        };
        struct event_base *base = event_base_new();
        Channel *channel = NULL;
        int s[2], fds[WIRE_FDS_MAX];

        assert_true(c->schema->n_rows <= ARRAY_SIZE(handlers));
        for (size_t i = 0; i < ARRAY_SIZE(handlers); i++)
                handlers[i] = counter_on_frame;
        assert_ok(channel_new(&channel, base, &spec));
        assert_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s));
        assert_ok(channel_connect(channel, s[1], 1));
        for (size_t i = 0; sample_fds(&c->body->fds, c->body->fds.n_min, fds) && i < ARRAY_SIZE(states); i++) {
                bool legal = c->row->states & states[i];
                WireFrame frame = WIRE_FRAME_NULL;

                counter.n_handled = 0;
                channel_set_state(channel, states[i]);
                assert_ok(wire_send(s[0], c->row->id, 0, case_request_id(c), c->bytes, c->n, fds, c->body->fds.n_min));
                sample_fds_done(fds);
                (void)event_base_loop(base, EVLOOP_ONCE);
                assert_true(channel_is_connected(channel));
                assert_eq_int(counter.n_handled, legal);
                assert_eq_int(counter.failed, 0);
                if (c->row->kind == ROW_KIND_REQUEST) {
                        uint32_t code;

                        assert_ok(wire_receive(s[0], true, &frame));
                        assert_eq_int(frame.header.flags, WIRE_FLAG_REPLY | WIRE_FLAG_ERROR);
                        memcpy(&code, frame.payload, sizeof(code));
                        assert_eq_int(code, legal ? GRPC_STATUS_UNIMPLEMENTED : GRPC_STATUS_UNAVAILABLE);
                        wire_frame_done(&frame);
                }
        }
        sample_fds_done(fds);
        channel_free(channel);
        event_base_free(base);
        (void)close(s[0]);
}

/* The same frame into a hand. */
static void row_hand(const Case *c)
{
        HandRequest request = HAND_REQUEST_NULL;
        int s[2], fds[WIRE_FDS_MAX];

        if (c->body->type)
                return;
        assert_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s));
        if (sample_fds(&c->body->fds, c->body->fds.n_min, fds)) {
                assert_ok(wire_send(s[0], c->row->id, 0, case_request_id(c), c->bytes, c->n, fds, c->body->fds.n_min));
                assert_ok(hand_receive(s[1], c->schema, c->sender, &request));
                assert_true(request.row == c->row);
                assert_eq_mem(request.frame.payload, request.frame.header.length, c->bytes, c->n);
                hand_request_done(&request);
        }
        sample_fds_done(fds);
        (void)close(s[0]);
        (void)close(s[1]);
}

static void row_case(const Case *c)
{
        TestLeaks leaks = test_leaks_begin();
        char name[128];

        (void)snprintf(name, sizeof(name), "%s %s%s", c->schema->name, c->row->name, c->is_reply ? " reply" : "");
        fprintf(stderr, "# %s\n", name);
        row_round_trip(c);
        row_truncated(c);
        row_too_long(c);
        row_wrong_sender(c);
        row_wrong_fds(c);
        if (!c->is_reply) {
                row_states(c);
                row_hand(c);
        }
        test_leaks_end(name, leaks);
}

static void row_both_directions(const EdgeSchema *schema, const MessageRow *row)
{
        for (int is_reply = 0; is_reply <= (row->kind == ROW_KIND_REQUEST); is_reply++) {
                Case c = {
                                .schema = schema,
                                .row = row,
                                .body = is_reply ? &row->reply : &row->body,
                                .is_reply = is_reply,
                                .sender = is_reply ? side_other(row->sender) : row->sender,
                };

                sample_body(c.body, &c.bytes, &c.n);
                row_case(&c);
                free(c.bytes);
        }
}

/* A table is what its generator promised. */
static void row_tables_are_sound(void)
{
        bool seen[EDGE_N] = {0};

        assert_eq_int(EDGE_TABLES_N, EDGE_N);
        for (size_t e = 0; e < EDGE_TABLES_N; e++) {
                const EdgeSchema *schema = edge_tables[e];

                assert_false(seen[schema->edge]);
                seen[schema->edge] = true;
                assert_eq_str(schema->name, topology_edges[schema->edge].name);
                assert_true(edge_schema_get(schema->edge) == schema);
                for (size_t i = 0; i < schema->n_rows; i++) {
                        const MessageRow *row = &schema->rows[i];

                        assert_true(i == 0 || row->id > schema->rows[i - 1].id);
                        assert_true(edge_schema_find(schema, row->id) == row);
                        assert_true(row->states != 0);
                        assert_true(row->body.max_length <= WIRE_MEMFD_MAX);
                        assert_true(row->body.type == NULL || row->body.flat_size == 0);
                        if (row->body.type) /* the descriptor is that of the type that the schema names */
                                assert_eq_str(((const ProtobufCMessageDescriptor *)row->body.type)->name,
                                              row->body.type_name);
                        if (row->reply.type)
                                assert_eq_str(((const ProtobufCMessageDescriptor *)row->reply.type)->name,
                                              row->reply.type_name);
                }
        }
}

int main(void)
{
        size_t n_rows = 0;

        TEST_RUN(row_tables_are_sound);
        for (size_t e = 0; e < EDGE_TABLES_N; e++)
                for (size_t i = 0; i < edge_tables[e]->n_rows; i++, n_rows++)
                        row_both_directions(edge_tables[e], &edge_tables[e]->rows[i]);
        printf("ok %zu rows of %d edges\n", n_rows, EDGE_TABLES_N);
        return 0;
}
