/* SPDX-License-Identifier: Apache-2.0 */

/* One hostile side of any edge against the real receiver of the other: frames with made-up headers, bodies and fds go
 * through a socketpair into a channel (with handlers that read every field, take some fds and answer) or, at a hand's
 * end, into hand_receive(). FUZZ_EDGE names the edge, FUZZ_SIDE (A or B) the side that receives.
 *
 * Besides what the sanitizers see: no fd is left behind, the arena stays within its limit, and nothing a peer sends is
 * ever a failure of ours.
 *
 * An input is a row of frames: row, header bits, fd plan, length (two bytes), body. The mutator makes some of them from
 * the schema, so that no seeds need to be kept. FUZZ_REPLAY: a main that runs all edges for a moment, without
 * libFuzzer. */

#include "ipc/channel.h"
#include "ipc/edges/tables.h"
#include "ipc/field.h"
#include "ipc/hand-channel.h"
#include "ipc/sample.h"
#include "lib/clock.h"
#include "lib/grpc-status.h"

#include <assert.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define FUZZ_FRAMES_MAX 16
#define FUZZ_FRAME_HEADER 5
#define FUZZ_ROWS_MAX 64

/* The second byte of a frame. */
enum {
        FUZZ_BIT_REQUEST_ID = 3 << 0, /* 0 to 3 */
        FUZZ_BIT_REPLY = 1 << 2,
        FUZZ_BIT_ERROR = 1 << 3,
        FUZZ_BIT_CANCEL = 1 << 4,
        FUZZ_BIT_MEMFD = 1 << 5,  /* the body, repeated until it is large, in a memory file */
        FUZZ_BIT_MAGIC = 1 << 6,  /* wrong */
        FUZZ_BIT_LENGTH = 1 << 7, /* wrong */
};

/* The third byte, modulo. */
enum {
        FUZZ_FDS_RIGHT,
        FUZZ_FDS_ALL,
        FUZZ_FDS_NONE,
        FUZZ_FDS_FEWER,
        FUZZ_FDS_MORE,
        FUZZ_FDS_FIFOS,
        FUZZ_FDS_DIRECTORIES,
        FUZZ_FDS_UNSEALED,
        FUZZ_FDS_N
};

typedef struct Fuzz {
        const EdgeSchema *schema;
        EdgeSide side; /* that receives */
        Channel *channel;
        int peer_fd;
        ReplyTo later;
        unsigned n_seen;
} Fuzz;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

static volatile uint8_t fuzz_sink;

static void fuzz_touch(const void *bytes, size_t n)
{
        for (size_t i = 0; i < n; i++)
                fuzz_sink ^= ((const uint8_t *)bytes)[i];
}

static void fuzz_touch_message(const ProtobufCMessage *message);

static void fuzz_touch_value(const ProtobufCFieldDescriptor *field, const void *value)
{
        if (field->type == PROTOBUF_C_TYPE_STRING) {
                fuzz_touch(*(char *const *)value, strlen(*(char *const *)value) + 1);
        } else if (field->type == PROTOBUF_C_TYPE_BYTES) {
                fuzz_touch(((const ProtobufCBinaryData *)value)->data, ((const ProtobufCBinaryData *)value)->len);
        } else if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
                if (*(ProtobufCMessage *const *)value)
                        fuzz_touch_message(*(ProtobufCMessage *const *)value);
        } else {
                fuzz_touch(value, 4);
        }
}

/* Reads everything a handler could, and asserts what it may rely on. */
static void fuzz_touch_message(const ProtobufCMessage *message)
{
        const uint8_t *base = (const uint8_t *)message;

        assert(message->n_unknown_fields == 0);
        for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
                const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
                const void *value = base + field->offset;
                const void *quantifier = base + field->quantifier_offset;

                if (field->label == PROTOBUF_C_LABEL_REPEATED) {
                        size_t n = *(const size_t *)quantifier;

                        assert(n <= DECODE_ELEMENTS_MAX);
                        for (size_t k = 0; k < n; k++)
                                fuzz_touch_value(field, *(const uint8_t *const *)value + k * field_size(field));
                } else if (!(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) ||
                           *(const uint32_t *)quantifier == field->id) {
                        fuzz_touch_value(field, value);
                }
        }
}

static void fuzz_touch_frame(const RowBody *body, Frame *frame)
{
        assert(frame->arena.used_bytes <= decode_budget(frame->wire.header.length));
        if (body->type)
                fuzz_touch_message(frame->message);
        else
                fuzz_touch(frame->flat, body->flat_size);
        (void)fd_close(frame_take_fd(frame, 0)); /* the others are the frame's to close */
}

static int fuzz_on_frame(void *userdata, Frame *frame)
{
        Fuzz *fuzz = userdata;
        uint8_t *bytes = NULL;
        int fds[WIRE_FDS_MAX], r = 0;
        size_t n = 0;

        fuzz_touch_frame(&frame->row->body, frame);
        if (frame->row->kind == ROW_KIND_EVENT)
                return 0;
        switch (fuzz->n_seen++ % 3) {
        case 0:
                sample_body(&frame->row->reply, &bytes, &n);
                if (sample_fds(&frame->row->reply.fds, frame->row->reply.fds.n_min, fds))
                        r = reply_send_packed(frame_reply_to(frame), bytes, n, fds, frame->row->reply.fds.n_min);
                sample_fds_done(fds);
                free(bytes);
                return r;
        case 1:
                return reply_fail(frame_reply_to(frame), GRPC_STATUS_NOT_FOUND, "%s", frame->row->name);
        default:
                fuzz->later = frame_reply_to(frame);
                return 0;
        }
}

static int fuzz_on_answer(void *userdata, const Answer *answer)
{
        const MessageRow *row = userdata;

        fuzz_touch(answer->text, strlen(answer->text) + 1);
        if (answer->frame)
                fuzz_touch_frame(&row->reply, answer->frame);
        return 0;
}

static void fuzz_on_failed(void *userdata, Channel *channel, int r)
{
        (void)userdata;
        (void)channel;
        (void)r;
        abort();
}

/* A request of ours of each row, so that there is something to answer. Ids count from 1. */
static void fuzz_ask(Fuzz *fuzz)
{
        for (size_t i = 0; i < fuzz->schema->n_rows; i++) {
                const MessageRow *row = &fuzz->schema->rows[i];
                uint8_t *flat = calloc(1, row->body.flat_size + 1);
                int fds[WIRE_FDS_MAX];

                if (row->sender == fuzz->side && row->kind == ROW_KIND_REQUEST &&
                    sample_fds(&row->body.fds, row->body.fds.n_min, fds)) {
                        DecodeArena arena;

                        decode_arena_init(&arena, DECODE_BUDGET_MAX);
                        if (row->body.type)
                                assert(channel_call(fuzz->channel, row, sample_message(&arena, row->body.type, 0), fds,
                                                    row->body.fds.n_min, USEC_INFINITY, fuzz_on_answer,
                                                    (void *)(uintptr_t)row, NULL) == 0);
                        else
                                assert(channel_call_flat(fuzz->channel, row, flat, fds, row->body.fds.n_min,
                                                         USEC_INFINITY, fuzz_on_answer, (void *)(uintptr_t)row,
                                                         NULL) == 0);
                        decode_arena_done(&arena);
                        sample_fds_done(fds);
                }
                free(flat);
        }
}

static int fuzz_memfd(const uint8_t *body, size_t n, size_t *ret_length, bool sealed)
{
        size_t length = 0;
        int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);

        for (; n > 0 && length <= WIRE_PAYLOAD_MAX; length += n)
                assert(write(fd, body, n) == (ssize_t)n);
        if (sealed)
                assert(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == 0);
        *ret_length = length;
        return fd;
}

/* The fds of a plan; returns how many. */
static size_t fuzz_fds(const RowFds *kinds, unsigned plan, int fds[WIRE_FDS_MAX])
{
        size_t n = plan == FUZZ_FDS_NONE    ? 0
                   : plan == FUZZ_FDS_FEWER ? MAX2(kinds->n_min, 1) - 1u
                   : plan == FUZZ_FDS_MORE  ? MIN2(kinds->n_max + 1u, WIRE_FDS_MAX)
                   : plan == FUZZ_FDS_RIGHT ? kinds->n_min
                                            : kinds->n_max;

        (void)sample_fds(kinds, n, fds);
        for (size_t i = 0; i < n; i++) {
                if (plan < FUZZ_FDS_FIFOS && fds[i] >= 0)
                        continue;
                fds[i] = fd_close(fds[i]);
                fds[i] = plan == FUZZ_FDS_FIFOS      ? sample_fd(FD_KIND_PIPE_READ)
                         : plan == FUZZ_FDS_UNSEALED ? sample_fd(FD_KIND_FILE_READ)
                                                     : sample_fd_wrong();
        }
        return n;
}

static void fuzz_send(int fd, const WireHeader *header, const uint8_t *body, size_t n, const int *fds, size_t n_fds)
{
        union {
                char buffer[CMSG_SPACE((WIRE_FDS_MAX + 1) * sizeof(int))];
                struct cmsghdr align;
        } control = {0};
        struct iovec parts[] = {
                        {.iov_base = (void *)(uintptr_t)header, .iov_len = sizeof(*header)},
                        {.iov_base = (void *)(uintptr_t)body, .iov_len = n},
        };
        struct msghdr msg = {.msg_iov = parts, .msg_iovlen = 2};

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
        (void)sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void fuzz_send_frame(const Fuzz *fuzz, const uint8_t *head, const uint8_t *body, size_t n)
{
        const MessageRow *row = &fuzz->schema->rows[head[0] % fuzz->schema->n_rows];
        const RowBody *direction = head[1] & FUZZ_BIT_REPLY ? &row->reply : &row->body;
        unsigned plan = head[2] % FUZZ_FDS_N;
        WireHeader header = {
                        .magic = head[1] & FUZZ_BIT_MAGIC ? 0 : WIRE_MAGIC,
                        .id = head[0] >= 250 ? head[0] : row->id,
                        .flags = (uint16_t)((head[1] & FUZZ_BIT_REPLY ? WIRE_FLAG_REPLY : 0) |
                                            (head[1] & FUZZ_BIT_ERROR ? WIRE_FLAG_ERROR : 0) |
                                            (head[1] & FUZZ_BIT_CANCEL ? WIRE_FLAG_CANCEL : 0)),
                        .length = (uint32_t)n,
                        .request_id = head[1] & FUZZ_BIT_REQUEST_ID,
        };
        int fds[WIRE_FDS_MAX + 1] = {-1};
        size_t n_fds = fuzz_fds(&direction->fds, plan, fds + 1), length = n;

        if (header.flags & WIRE_FLAG_REPLY)
                header.request_id += head[0]; /* ours were given out row by row */
        if (head[1] & FUZZ_BIT_MEMFD) {
                fds[0] = fuzz_memfd(body, n, &length, plan != FUZZ_FDS_UNSEALED);
                header.flags |= WIRE_FLAG_MEMFD;
                header.length = (uint32_t)length;
                n = 0;
        }
        if (head[1] & FUZZ_BIT_LENGTH)
                header.length += head[0] & 1 ? 1u : UINT32_MAX;
        fuzz_send(fuzz->peer_fd, &header, body, n, fds[0] >= 0 ? fds : fds + 1, n_fds + (fds[0] >= 0));
        fds[0] = fd_close(fds[0]);
        sample_fds_done(fds + 1);
}

/* What the receiver sent back is read, so that its queue does not fill. */
static void fuzz_drain(const Fuzz *fuzz)
{
        WireFrame frame = WIRE_FRAME_NULL;
        int r;

        do {
                r = wire_receive(fuzz->peer_fd, true, &frame);
                assert(r == 0 || r == WIRE_E_AGAIN || r == WIRE_E_EOF);
                wire_frame_done(&frame);
        } while (r == 0);
}

static void fuzz_hand(const Fuzz *fuzz, int fd)
{
        EdgeSide from = fuzz->side == EDGE_SIDE_A ? EDGE_SIDE_B : EDGE_SIDE_A;
        HandRequest request = HAND_REQUEST_NULL;
        int r, fds[WIRE_FDS_MAX];

        while ((r = hand_receive(fd, fuzz->schema, from, &request)) == 0) {
                const MessageRow *row = request.row;
                uint8_t *flat = calloc(1, row->reply.flat_size + 1);

                assert(request.frame.header.length == row->body.flat_size);
                fuzz_touch(request.frame.payload, request.frame.header.length);
                if (row->kind == ROW_KIND_REQUEST && sample_fds(&row->reply.fds, row->reply.fds.n_min, fds)) {
                        assert(hand_reply(fd, &request, flat, fds, row->reply.fds.n_min) == 0);
                        sample_fds_done(fds);
                }
                free(flat);
                hand_request_done(&request);
                fuzz_drain(fuzz);
        }
        assert(r > 0);
}

/* Calls step for each frame of the input. */
static void fuzz_frames(Fuzz *fuzz, const uint8_t *data, size_t size, struct event_base *base, int hand_fd)
{
        for (size_t i = 0; i < FUZZ_FRAMES_MAX && size >= FUZZ_FRAME_HEADER; i++) {
                size_t n = data[3] | (size_t)data[4] << 8;

                n = MIN2(n, size - FUZZ_FRAME_HEADER);
                fuzz_send_frame(fuzz, data, data + FUZZ_FRAME_HEADER, n);
                data += FUZZ_FRAME_HEADER + n;
                size -= FUZZ_FRAME_HEADER + n;
                if (hand_fd >= 0) {
                        fuzz_hand(fuzz, hand_fd);
                        continue;
                }
                (void)event_base_loop(base, EVLOOP_NONBLOCK);
                (void)event_base_loop(base, EVLOOP_NONBLOCK);
                if (i % 4 == 3 && fuzz->later.channel)
                        (void)reply_fail(fuzz->later, GRPC_STATUS_ABORTED, "later");
                fuzz_drain(fuzz);
        }
}

static int fuzz_lowest_fd(void)
{
        int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);

        (void)close(fd);
        return fd;
}

static void fuzz_run(const EdgeSchema *schema, EdgeSide side, const uint8_t *data, size_t size)
{
        ChannelHandler handlers[FUZZ_ROWS_MAX];
        Fuzz fuzz = {.schema = schema, .side = side};
        const ChannelSpec spec = {
                        .schema = schema,
                        .side = side,
                        .handlers = handlers,
                        .on_failed = fuzz_on_failed,
                        .userdata = &fuzz,
        };
        /* A hand's end is where flat frames are received that a brain sends. */
        bool is_hand = !schema->rows[0].body.type && !schema->rows[0].reply.type && side == EDGE_SIDE_B;
        int s[2], lowest = fuzz_lowest_fd();
        struct event_base *base;

        assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, s) == 0);
        fuzz.peer_fd = s[0];
        if (is_hand) {
                fuzz_frames(&fuzz, data, size, NULL, s[1]);
                (void)close(s[1]);
        } else {
                assert(schema->n_rows <= FUZZ_ROWS_MAX);
                for (size_t i = 0; i < FUZZ_ROWS_MAX; i++)
                        handlers[i] = fuzz_on_frame;
                base = event_base_new();
                assert(channel_new(&fuzz.channel, base, &spec) == 0);
                assert(channel_connect(fuzz.channel, s[1], 1) == 0);
                fuzz_ask(&fuzz);
                fuzz_drain(&fuzz);
                fuzz_frames(&fuzz, data, size, base, -1);
                (void)channel_free(fuzz.channel);
                event_base_free(base);
        }
        (void)close(s[0]);
        assert(fuzz_lowest_fd() == lowest);
}

/* A whole frame of some row, as the edge's other side sends it. 0 if it does not fit. */
static size_t fuzz_make_frame(const EdgeSchema *schema, EdgeSide side, unsigned seed, uint8_t *data, size_t max_size)
{
        size_t index = seed % schema->n_rows, n = 0;
        const MessageRow *row = &schema->rows[index];
        bool is_reply = row->sender == side;
        uint8_t *bytes = NULL;

        sample_body(is_reply ? &row->reply : &row->body, &bytes, &n);
        if (n > UINT16_MAX || n + FUZZ_FRAME_HEADER > max_size)
                n = 0;
        if (max_size >= FUZZ_FRAME_HEADER) {
                data[0] = (uint8_t)index;
                data[1] = (uint8_t)((is_reply ? FUZZ_BIT_REPLY : 0) | (row->kind == ROW_KIND_REQUEST ? 1 : 0));
                data[2] = seed >> 8 & 1 ? FUZZ_FDS_ALL : FUZZ_FDS_RIGHT;
                data[3] = (uint8_t)n;
                data[4] = (uint8_t)(n >> 8);
                memcpy(data + FUZZ_FRAME_HEADER, bytes, n);
                n += FUZZ_FRAME_HEADER;
        }
        free(bytes);
        return max_size >= FUZZ_FRAME_HEADER ? n : 0;
}

static void fuzz_chosen(const EdgeSchema **ret_schema, EdgeSide *ret_side)
{
        const char *edge = getenv("FUZZ_EDGE"), *side = getenv("FUZZ_SIDE");

        *ret_side = side && side[0] == 'B' ? EDGE_SIDE_B : EDGE_SIDE_A;
        for (size_t i = 0; i < EDGE_TABLES_N; i++)
                if (edge && strcmp(edge_tables[i]->name, edge) == 0) {
                        *ret_schema = edge_tables[i];
                        return;
                }
        fprintf(stderr, "FUZZ_EDGE must name an edge, FUZZ_SIDE be A or B\n");
        exit(2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        const EdgeSchema *schema;
        EdgeSide side;

        fuzz_chosen(&schema, &side);
        fuzz_run(schema, side, data, size);
        return 0;
}

#ifdef FUZZ_REPLAY

/* Whole frames of every row, and each of them with single bytes changed. */
int main(void)
{
        uint8_t data[16384];
        size_t n_runs = 0;

        for (size_t e = 0; e < EDGE_TABLES_N; e++)
                for (unsigned seed = 0; seed < 2 * edge_tables[e]->n_rows; seed++) {
                        EdgeSide side = seed & 1 ? EDGE_SIDE_A : EDGE_SIDE_B;
                        size_t n = fuzz_make_frame(edge_tables[e], side, seed / 2, data, sizeof(data));

                        fuzz_run(edge_tables[e], side, data, n);
                        for (size_t i = 0; i < n; i += 1 + n / 16, n_runs++) {
                                data[i] ^= (uint8_t)(1u << i % 8);
                                fuzz_run(edge_tables[e], side, data, n);
                                data[i] ^= (uint8_t)(1u << i % 8);
                        }
                }
        printf("ok %zu runs\n", n_runs);
        return 0;
}

#else

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
        const EdgeSchema *schema;
        EdgeSide side;

        if (seed % 8 != 0 && size > FUZZ_FRAME_HEADER)
                return LLVMFuzzerMutate(data, size, max_size);
        fuzz_chosen(&schema, &side);
        /* Behind what is there, or instead of it. */
        if (seed / 8 % 2 == 0 || size + FUZZ_FRAME_HEADER > max_size)
                size = 0;
        size += fuzz_make_frame(schema, side, seed / 16, data + size, max_size - size);
        return size;
}

#endif
