/* SPDX-License-Identifier: Apache-2.0 */

#pragma once

/* Two ends of a real edge on one loop, for tests of channels. */

#include "ipc/channel-internal.h"
#include "ipc/edges/gatewayd-imaged.rows.h"
#include "lib/clock.h"
#include "lib/grpc-status.h"
#include "lib/test.h"

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

static inline int end_on_frame(void *userdata, Frame *frame)
{
        End *end = userdata;

        end->n_handled++;
        return end->handle ? end->handle(end, frame) : 0;
}

static const ChannelHandler end_handlers[ROWS_MAX] = {
                [0 ... ROWS_MAX - 1] = end_on_frame,
};

static inline void end_on_cancelled(void *userdata, Channel *channel, uint32_t request_id)
{
        End *end = userdata;

        assert_true(channel == end->channel);
        end->n_cancelled++;
        end->cancelled_id = request_id;
}

static inline void end_on_changed(void *userdata, Channel *channel, bool connected)
{
        End *end = userdata;

        assert_true(channel_is_connected(channel) == connected);
        if (connected)
                end->n_connected++;
        else
                end->n_lost++;
}

static inline void end_on_failed(void *userdata, Channel *channel, int r)
{
        End *end = userdata;

        (void)channel;
        end->failed = r;
}

static inline void end_init(End *end, struct event_base *base, const EdgeSchema *schema, EdgeSide side)
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

static inline void end_done(End *end)
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

static inline void pair_connect(Pair *pair)
{
        int s[2];

        assert_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s));
        pair->generation++;
        assert_ok(channel_connect(pair->a.channel, s[0], pair->generation));
        assert_ok(channel_connect(pair->b.channel, s[1], pair->generation));
}

static inline void pair_init(Pair *pair, const EdgeSchema *schema)
{
        pair->base = event_base_new();
        pair->generation = 0;
        end_init(&pair->a, pair->base, schema, EDGE_SIDE_A);
        end_init(&pair->b, pair->base, schema, EDGE_SIDE_B);
}

static inline void pair_done(Pair *pair)
{
        end_done(&pair->a);
        end_done(&pair->b);
        event_base_free(pair->base);
}

/* Turns the loop until *counter has the value; a second is more than any of this takes. */
static inline void pair_until(Pair *pair, const int *counter, int value)
{
        uint64_t end = clock_monotonic_usec() + 5 * SECOND;

        while (*counter < value) {
                if (clock_monotonic_usec() > end)
                        test_fail("counter is %d, not %d, after 5 s", *counter, value);
                (void)event_base_loop(pair->base, EVLOOP_NONBLOCK);
        }
        assert_eq_int(*counter, value);
}

static inline void pair_turn(Pair *pair)
{
        for (int i = 0; i < 5; i++)
                (void)event_base_loop(pair->base, EVLOOP_NONBLOCK);
}

static inline int end_on_answer(void *userdata, const Answer *answer)
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

static inline uint32_t end_pull(End *end, const char *image, uint64_t deadline_usec)
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

static inline int end_reply_pull(End *end, Frame *frame)
{
        const Runtime__V1__PullImageRequest *request = (const void *)frame->message;
        Runtime__V1__PullImageResponse response = RUNTIME__V1__PULL_IMAGE_RESPONSE__INIT;

        (void)end;
        response.image_ref = request->image->image;
        return reply_send(frame_reply_to(frame), &response.base, NULL, 0);
}

static inline int end_reply_never(End *end, Frame *frame)
{
        end->to = frame_reply_to(frame);
        return 0;
}
