/* SPDX-License-Identifier: Apache-2.0 */

/* Requests of the peer, from their arrival until our one reply. A ReplyTo is only a name: whether somebody still waits
 * there is looked up when the answer is sent. */

#include "ipc/channel-internal.h"
#include "lib/error.h"
#include "lib/grpc-status.h"

#include <stdarg.h>
#include <stdio.h>

int channel_pack(const ProtobufCMessage *message, uint8_t *buffer, size_t size, uint8_t **ret_owned, size_t *ret_n)
{
        size_t n = protobuf_c_message_get_packed_size(message);
        int r;

        if (n > size) {
                r = decode_pack(message, ret_owned, ret_n);
                return r < 0 ? fold(r) : 0;
        }
        *ret_n = protobuf_c_message_pack(message, buffer);
        return 0;
}

static ChannelInbound *inbound_free(Channel *channel, ChannelInbound *inbound)
{
        list_remove(&inbound->by_id);
        channel->n_inbound--;
        free(inbound);
        return NULL;
}

static ChannelInbound *channel_inbound_find(Channel *channel, uint32_t request_id)
{
        const List *bucket = channel_bucket(channel->inbound, request_id);

        list_for_each(i, bucket)
        {
                ChannelInbound *inbound = container_of(i, ChannelInbound, by_id);

                if (inbound->request_id == request_id)
                        return inbound;
        }
        return NULL;
}

void channel_inbound_lose(Channel *channel)
{
        for (size_t b = 0; b < CHANNEL_BUCKETS; b++)
                list_for_each_safe(i, next, &channel->inbound[b])
                {
                        list_remove(i);
                        list_append(&channel->lost, i);
                }
}

void channel_inbound_flush(Channel *channel)
{
        while (!channel->is_freed && !list_is_empty(&channel->lost)) {
                ChannelInbound *inbound = list_first(&channel->lost, ChannelInbound, by_id);
                uint32_t request_id = inbound->request_id;

                inbound_free(channel, inbound);
                if (channel->spec.on_cancelled)
                        channel->spec.on_cancelled(channel->spec.userdata, channel, request_id);
        }
}

void channel_inbound_free(Channel *channel)
{
        channel_inbound_lose(channel);
        list_for_each_safe(i, next, &channel->lost) inbound_free(channel, container_of(i, ChannelInbound, by_id));
}

ReplyTo frame_reply_to(const Frame *frame)
{
        return (ReplyTo){
                        .channel = frame->channel,
                        .row = frame->row,
                        .generation = frame->generation,
                        .request_id = frame->request_id,
        };
}

/* NULL if nobody waits there any more. */
static ChannelInbound *reply_to_find(ReplyTo to)
{
        ChannelInbound *inbound;

        if (!to.channel || to.channel->fd < 0 || to.channel->generation != to.generation)
                return NULL;
        inbound = channel_inbound_find(to.channel, to.request_id);
        return inbound && inbound->row == to.row ? inbound : NULL;
}

static int channel_send_error(Channel *channel, const MessageRow *row, uint32_t request_id, uint32_t code,
                              const char *text)
{
        uint8_t payload[sizeof(WireError) + WIRE_ERROR_TEXT_MAX];
        size_t n = strnlen(text, WIRE_ERROR_TEXT_MAX);
        int r;

        memcpy(payload, &code, sizeof(code));
        memcpy(payload + sizeof(code), text, n);
        r = channel_send(channel, row, WIRE_FLAG_REPLY | WIRE_FLAG_ERROR, request_id, payload, sizeof(code) + n, NULL,
                         0, NULL);
        return r < 0 ? fold(r) : 0;
}

int reply_fail(ReplyTo to, uint32_t code, const char *format, ...)
{
        ChannelInbound *inbound = reply_to_find(to);
        char text[WIRE_ERROR_TEXT_MAX + 1];
        va_list args;
        int r;

        if (!inbound)
                return 0;
        if (code < GRPC_STATUS_CANCELLED || code > GRPC_STATUS_UNAUTHENTICATED)
                return error_origin(-EINVAL);
        va_start(args, format);
        r = vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        if (r < 0)
                return error_origin(-EINVAL);
        inbound_free(to.channel, inbound);
        r = channel_send_error(to.channel, to.row, to.request_id, code, text);
        return r < 0 ? fold(r) : 0;
}

int reply_send_packed(ReplyTo to, const void *packed, size_t n, const int *fds, size_t n_fds)
{
        ChannelInbound *inbound = reply_to_find(to);
        const RowBody *reply;
        int r;

        if (!inbound)
                return 0;
        reply = &to.row->reply;
        if (n_fds < reply->fds.n_min || n_fds > reply->fds.n_max || (!reply->type && n != reply->flat_size))
                return error_origin(-EINVAL);
        if (n > reply->max_length) {
                r = reply_fail(to, GRPC_STATUS_RESOURCE_EXHAUSTED,
                               "%s: the answer has %zu bytes, at most %u can be sent: ask for less", to.row->name, n,
                               reply->max_length);
                return r < 0 ? fold(r) : 0;
        }
        inbound_free(to.channel, inbound);
        r = channel_send(to.channel, to.row, WIRE_FLAG_REPLY, to.request_id, packed, n, fds, n_fds, NULL);
        return r < 0 ? fold(r) : 0;
}

int reply_send(ReplyTo to, const ProtobufCMessage *message, const int *fds, size_t n_fds)
{
        _cleanup_free_ uint8_t *owned = NULL;
        CHANNEL_BUFFER(buffer);
        size_t n = 0;
        int r;

        if (!reply_to_find(to))
                return 0;
        r = channel_pack(message, buffer, sizeof(buffer), &owned, &n);
        if (r < 0)
                return fold(r);
        r = reply_send_packed(to, owned ? owned : buffer, n, fds, n_fds);
        return r < 0 ? fold(r) : 0;
}

static int channel_event_bytes(Channel *channel, const MessageRow *row, const void *bytes, size_t n, const int *fds,
                               size_t n_fds)
{
        int r;

        if (row->kind != ROW_KIND_EVENT || row->sender != channel->spec.side || n > row->body.max_length ||
            n_fds < row->body.fds.n_min || n_fds > row->body.fds.n_max)
                return error_origin(-EINVAL);
        r = channel_send(channel, row, 0, 0, bytes, n, fds, n_fds, NULL);
        return r < 0 ? fold(r) : 0;
}

int channel_event(Channel *channel, const MessageRow *row, const ProtobufCMessage *message)
{
        _cleanup_free_ uint8_t *owned = NULL;
        CHANNEL_BUFFER(buffer);
        size_t n = 0;
        int r;

        r = channel_pack(message, buffer, sizeof(buffer), &owned, &n);
        if (r < 0)
                return fold(r);
        r = channel_event_bytes(channel, row, owned ? owned : buffer, n, NULL, 0);
        return r < 0 ? fold(r) : 0;
}

int channel_event_flat(Channel *channel, const MessageRow *row, const void *flat, const int *fds, size_t n_fds)
{
        int r = channel_event_bytes(channel, row, flat, row->body.flat_size, fds, n_fds);

        return r < 0 ? fold(r) : 0;
}

static const char *channel_state_name(uint32_t row_state)
{
        switch (row_state) {
        case ROW_STATE_RECOVERING:
                return "still recovering its state";
        case ROW_STATE_STOPPING:
                return "stopping";
        default:
                return "not in a state to do that";
        }
}

/* Why a request that is well formed is not taken: answered at once. 0: it may be handled. */
static int channel_refuse(Channel *channel, const Frame *frame, bool *ret_refused)
{
        const EdgeSchema *schema = channel->spec.schema;
        const char *own_name = topology_processes[topology_edges[schema->edge].ends[channel->spec.side]].name;
        char text[256];
        uint32_t code;
        int r;

        *ret_refused = true;
        if (!(frame->row->states & channel->row_state)) { /* check: state */
                code = GRPC_STATUS_UNAVAILABLE;
                (void)snprintf(text, sizeof(text), "%s: %s is %s: try again in a moment", frame->row->name, own_name,
                               channel_state_name(channel->row_state));
        } else if (frame->row->kind == ROW_KIND_REQUEST &&
                   channel->n_inbound >= CHANNEL_INBOUND_MAX) { /* check: inbound-max */
                code = GRPC_STATUS_RESOURCE_EXHAUSTED;
                (void)snprintf(text, sizeof(text), "%s: %s has %d requests under way: try again later",
                               frame->row->name, own_name, CHANNEL_INBOUND_MAX);
        } else {
                *ret_refused = false;
                return 0;
        }
        if (frame->row->kind == ROW_KIND_EVENT)
                return 0;
        r = channel_send_error(channel, frame->row, frame->request_id, code, text);
        return r < 0 ? fold(r) : 0;
}

int channel_on_request(Channel *channel, Frame *frame)
{
        const MessageRow *row = frame->row;
        ChannelHandler handler = channel->spec.handlers[row - channel->spec.schema->rows];
        ChannelInbound *inbound;
        bool refused = false;
        int r;

        if (row->kind == ROW_KIND_REQUEST &&
            channel_inbound_find(channel, frame->request_id)) /* check: request-id-taken */
                return WIRE_E_UNKNOWN;
        r = channel_refuse(channel, frame, &refused);
        if (r < 0 || refused)
                return r < 0 ? fold(r) : 0;
        r = channel_decode(&row->body, frame);
        if (r != 0)
                return r < 0 ? fold(r) : r;
        if (row->kind == ROW_KIND_REQUEST) {
                inbound = calloc(1, sizeof(*inbound));
                if (!inbound)
                        return error_origin(-ENOMEM);
                inbound->row = row;
                inbound->request_id = frame->request_id;
                list_append(channel_bucket(channel->inbound, inbound->request_id), &inbound->by_id);
                channel->n_inbound++;
        }
        r = handler(channel->spec.userdata, frame);
        return r < 0 ? fold(r) : r > 0 ? WIRE_E_BODY : 0;
}

int channel_on_cancel(Channel *channel, const Frame *frame)
{
        ChannelInbound *inbound = channel_inbound_find(channel, frame->request_id);
        char text[128];
        int r;

        /* Answered already: the two crossed. */
        if (!inbound)
                return 0;
        if (inbound->row != frame->row) /* check: cancel-of-other-row */
                return WIRE_E_UNKNOWN;
        inbound_free(channel, inbound);
        (void)snprintf(text, sizeof(text), "%s: cancelled by the caller", frame->row->name);
        r = channel_send_error(channel, frame->row, frame->request_id, GRPC_STATUS_CANCELLED, text);
        if (r < 0)
                return fold(r);
        if (channel->spec.on_cancelled)
                channel->spec.on_cancelled(channel->spec.userdata, channel, frame->request_id);
        return 0;
}
