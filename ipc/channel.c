/* SPDX-License-Identifier: Apache-2.0 */

#include "ipc/channel-internal.h"
#include "lib/clock.h"
#include "lib/error.h"

#include <stdio.h>

Frame *frame_keep(Frame *frame)
{
        frame->kept = true;
        return frame;
}

Frame *frame_free(Frame *frame)
{
        if (!frame)
                return NULL;
        if (frame->busy) {
                frame->kept = false;
                return NULL;
        }
        decode_arena_done(&frame->arena);
        wire_frame_done(&frame->wire);
        free(frame);
        return NULL;
}

static Frame *frame_release(Frame *frame)
{
        if (!frame)
                return NULL;
        frame->busy = false;
        return frame->kept ? NULL : frame_free(frame);
}
DEFINE_CLEANUP(Frame, frame_release)

int frame_take_fd(Frame *frame, size_t i)
{
        return wire_frame_take_fd(&frame->wire, i);
}

static EdgeSide channel_peer_side(const Channel *channel)
{
        return channel->spec.side == EDGE_SIDE_A ? EDGE_SIDE_B : EDGE_SIDE_A;
}

const char *channel_peer_name(const Channel *channel)
{
        const TopologyEdge *edge = &topology_edges[channel->spec.schema->edge];

        return topology_processes[edge->ends[channel_peer_side(channel)]].name;
}

bool channel_is_connected(const Channel *channel)
{
        return channel->fd >= 0;
}

void channel_set_state(Channel *channel, uint32_t row_state)
{
        channel->row_state = row_state;
}

uint64_t channel_violations(const Channel *channel)
{
        return channel->violations;
}

const char *channel_why(const Channel *channel)
{
        return channel->why;
}

void channel_fail(Channel *channel, int r)
{
        if (channel->failure == 0)
                channel->failure = r;
        if (channel->spec.on_failed)
                channel->spec.on_failed(channel->spec.userdata, channel, r);
        else
                (void)event_base_loopbreak(channel->base);
}

void channel_defer(Channel *channel)
{
        if (!channel->is_freed)
                event_active(channel->deferred_event, EV_TIMEOUT, 1);
}

/* The peer is gone from here on; who waits is told from the deferred event. */
void channel_drop(Channel *channel, const char *why)
{
        if (channel->fd < 0)
                return;
        (void)snprintf(channel->why, sizeof(channel->why), "%s", why);
        event_free(TAKE_PTR(channel->read_event));
        event_free(TAKE_PTR(channel->write_event));
        (void)event_del(channel->flight_event);
        channel->flight_bytes = 0;
        channel->fd = fd_close(channel->fd);
        channel->generation = 0;
        channel->tell_lost = true;
        channel_queue_lose(channel);
        channel_calls_lose(channel);
        channel_inbound_lose(channel);
        channel_defer(channel);
}

static void channel_violated(Channel *channel, const Frame *frame, int outcome)
{
        char why[sizeof(channel->why)];

        channel->violations++;
        if (frame && frame->row && outcome == WIRE_E_BODY && frame->arena.fault_type)
                (void)snprintf(why, sizeof(why), "violation by %s: %s: %s in %s%s%s", channel_peer_name(channel),
                               frame->row->name, wire_outcome_name(outcome), frame->arena.fault_type->short_name,
                               frame->arena.fault_field ? "." : "",
                               frame->arena.fault_field ? frame->arena.fault_field->name : "");
        else if (frame && frame->wire.header.magic == WIRE_MAGIC)
                (void)snprintf(why, sizeof(why), "violation by %s: %s: message %u of %s", channel_peer_name(channel),
                               wire_outcome_name(outcome), frame->wire.header.id, channel->spec.schema->name);
        else
                (void)snprintf(why, sizeof(why), "violation by %s: %s", channel_peer_name(channel),
                               wire_outcome_name(outcome));
        channel_drop(channel, why);
}

/* Everything that is due, in the order in which it happened: the peer is lost, its requests with it, ours end. */
static void channel_flush(Channel *channel)
{
        if (channel->tell_lost) {
                channel->tell_lost = false;
                channel_inbound_flush(channel);
                if (!channel->is_freed && channel->spec.on_changed)
                        channel->spec.on_changed(channel->spec.userdata, channel, false);
        }
        channel_calls_flush(channel);
}

static void channel_destroy(Channel *channel)
{
        struct event *events[] = {channel->deadline_event, channel->deferred_event, channel->flight_event};

        for (size_t i = 0; i < ARRAY_SIZE(events); i++)
                if (events[i])
                        event_free(events[i]);
        free(channel);
}

static void channel_leave(Channel *channel)
{
        if (--channel->busy == 0 && channel->is_freed)
                channel_destroy(channel);
}

static void channel_on_deferred(evutil_socket_t fd, short events, void *userdata)
{
        Channel *channel = userdata;

        (void)fd;
        (void)events;
        channel->busy++;
        channel_flush(channel);
        channel_leave(channel);
}

static int channel_dispatch(Channel *channel, Frame *frame)
{
        int r;

        frame->channel = channel;
        frame->generation = channel->generation;
        frame->request_id = frame->wire.header.request_id;
        if (frame->wire.header.flags & WIRE_FLAG_REPLY)
                return channel_on_reply(channel, frame);
        r = row_check(channel->spec.schema, channel_peer_side(channel), &frame->wire, &frame->row);
        if (r != 0)
                return r;
        if (frame->wire.header.flags & WIRE_FLAG_CANCEL)
                return channel_on_cancel(channel, frame);
        return channel_on_request(channel, frame);
}

/* Receives and dispatches one frame. False: nothing more to do in this wake-up. */
static bool channel_receive(Channel *channel, size_t *bytes)
{
        _cleanup_(frame_releasep) Frame *frame = calloc(1, sizeof(*frame));
        uint32_t generation = channel->generation;
        int r;

        if (!frame) {
                channel_fail(channel, error_origin(-ENOMEM));
                return false;
        }
        frame->busy = true;
        frame->wire = WIRE_FRAME_NULL;
        r = wire_receive(channel->fd, channel->with_fds, &frame->wire);
        if (r == WIRE_E_AGAIN)
                return false;
        if (r == WIRE_E_EOF) {
                channel_drop(channel, wire_outcome_name(r));
                return false;
        }
        if (r == 0) {
                *bytes += frame->wire.header.length;
                r = channel_dispatch(channel, frame);
        }
        if (channel->is_freed)
                return false;
        if (r < 0)
                channel_fail(channel, fold(r));
        else if (r > 0 && channel->generation == generation)
                channel_violated(channel, frame, r);
        return r == 0 && channel->generation == generation;
}

/* A peer that floods us must not keep the others waiting: the rest is for the next turn of the loop. */
static void channel_on_readable(evutil_socket_t fd, short events, void *userdata)
{
        Channel *channel = userdata;
        size_t bytes = 0;

        (void)fd;
        (void)events;
        channel->busy++;
        for (size_t n = 0; n < CHANNEL_FRAMES_PER_WAKEUP && bytes < CHANNEL_BYTES_PER_WAKEUP; n++)
                if (!channel_receive(channel, &bytes))
                        break;
        channel_flush(channel);
        channel_leave(channel);
}

static void channel_on_writable(evutil_socket_t fd, short events, void *userdata)
{
        (void)fd;
        (void)events;
        channel_queue_pump(userdata);
}

int channel_decode(const RowBody *body, Frame *frame)
{
        if (!body->type) {
                frame->flat = frame->wire.payload;
                return 0;
        }
        decode_arena_init(&frame->arena, decode_budget(frame->wire.header.length));
        return decode_message(&frame->arena, body->type, frame->wire.payload, frame->wire.header.length,
                              &frame->message) == 0
                               ? 0
                               : WIRE_E_BODY;
}

int channel_new(Channel **ret, struct event_base *base, const ChannelSpec *spec)
{
        _cleanup_(channel_freep) Channel *channel = NULL;

        for (size_t i = 0; i < spec->schema->n_rows; i++)
                if (spec->schema->rows[i].sender != spec->side && (!spec->handlers || !spec->handlers[i]))
                        return error_origin(-EINVAL);
        channel = calloc(1, sizeof(*channel));
        if (!channel)
                return error_origin(-ENOMEM);
        channel->base = base;
        channel->spec = *spec;
        channel->fd = -1;
        channel->row_state = ROW_STATE_READY;
        channel->armed_usec = USEC_INFINITY;
        channel->with_fds = edge_schema_has_fds(spec->schema, channel_peer_side(channel));
        (void)snprintf(channel->why, sizeof(channel->why), "never connected");
        for (size_t i = 0; i < CHANNEL_BUCKETS; i++) {
                list_init(&channel->calls[i]);
                list_init(&channel->inbound[i]);
        }
        list_init(&channel->ended);
        list_init(&channel->lost);
        list_init(&channel->queue);
        channel->deadline_event = event_new(base, -1, 0, channel_on_deadline, channel);
        channel->deferred_event = event_new(base, -1, 0, channel_on_deferred, channel);
        channel->flight_event = event_new(base, -1, 0, channel_on_flight, channel);
        if (!channel->deadline_event || !channel->deferred_event || !channel->flight_event)
                return error_origin(-ENOMEM);
        *ret = TAKE_PTR(channel);
        return 0;
}

Channel *channel_free(Channel *channel)
{
        if (!channel)
                return NULL;
        channel->is_freed = true;
        channel_drop(channel, "freed");
        channel_calls_free(channel);
        channel_inbound_free(channel);
        if (channel->busy > 0) {
                /* channel_leave() does the rest. */
                (void)event_del(channel->deadline_event);
                (void)event_del(channel->deferred_event);
        } else {
                channel_destroy(channel);
        }
        return NULL;
}

int channel_connect(Channel *channel, int fd, uint32_t generation)
{
        _cleanup_fd_ int owned_fd = fd;
        int r;

        if (generation <= channel->last_generation)
                return error_origin(-EPROTO);
        r = fd_set_nonblock(owned_fd, true);
        if (r < 0)
                return fold(r);
        channel->busy++;
        channel_drop(channel, "re-wired");
        channel_flush(channel);
        if (!channel->is_freed && channel->failure == 0) {
                channel->read_event =
                                event_new(channel->base, owned_fd, EV_READ | EV_PERSIST, channel_on_readable, channel);
                channel->write_event = event_new(channel->base, owned_fd, EV_WRITE, channel_on_writable, channel);
                if (!channel->read_event || !channel->write_event || event_add(channel->read_event, NULL) < 0)
                        r = error_origin(-ENOMEM);
                channel->fd = TAKE_FD(owned_fd);
                channel->generation = channel->last_generation = generation;
                if (r == 0 && channel->spec.on_changed)
                        channel->spec.on_changed(channel->spec.userdata, channel, true);
                if (r == 0)
                        channel_queue_pump(channel);
        }
        channel_leave(channel);
        return r;
}

void channel_disconnect(Channel *channel)
{
        channel_drop(channel, "disconnected");
}
