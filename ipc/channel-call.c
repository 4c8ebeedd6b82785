/* SPDX-License-Identifier: Apache-2.0 */

/* Requests of ours. Each gets exactly one reply on the wire, also after it was cancelled or its deadline passed: until
 * then its id stays taken, so that a late reply is told from a reply to nothing, which is a violation. */

#include "ipc/channel-internal.h"
#include "ipc/decode-scan.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/grpc-status.h"
#include "lib/strings.h"

#include <stdio.h>

static ChannelCall *call_free(ChannelCall *call)
{
        if (!call)
                return NULL;
        list_remove(&call->by_id);
        list_remove(&call->ended);
        free(call->text);
        free(call);
        return NULL;
}
DEFINE_CLEANUP(ChannelCall, call_free)

static ChannelCall *channel_call_find(Channel *channel, uint32_t request_id)
{
        const List *bucket = channel_bucket(channel->calls, request_id);

        list_for_each(i, bucket)
        {
                ChannelCall *call = container_of(i, ChannelCall, by_id);

                if (call->request_id == request_id)
                        return call;
        }
        return NULL;
}

static uint32_t channel_next_request_id(Channel *channel)
{
        do
                channel->last_request_id++;
        while (channel->last_request_id == 0 || channel_call_find(channel, channel->last_request_id));
        return channel->last_request_id;
}

/* Its callback is due, from the deferred event at the latest. A call that still awaits its reply keeps its id. text is
 * owned by the call from here on and may be NULL. */
static void channel_call_end(Channel *channel, ChannelCall *call, int outcome, uint32_t code, char *text)
{
        call->outcome = outcome;
        call->code = code;
        call->text = text;
        list_append(&channel->ended, &call->ended);
        if (call->state != CALL_STATE_ABANDONED) {
                list_remove(&call->by_id);
                call->state = CALL_STATE_ENDED;
        }
        channel_defer(channel);
}

/* The one reply of an abandoned call is there, or will never come. */
static void channel_call_settle(ChannelCall *call)
{
        list_remove(&call->by_id);
        call->state = CALL_STATE_ENDED;
        if (!call->callback)
                call_free(call);
}

void channel_calls_lose(Channel *channel)
{
        for (size_t b = 0; b < CHANNEL_BUCKETS; b++)
                list_for_each_safe(i, next, &channel->calls[b])
                {
                        ChannelCall *call = container_of(i, ChannelCall, by_id);

                        if (call->state == CALL_STATE_SENT)
                                channel_call_end(channel, call, CHANNEL_E_LOST, GRPC_STATUS_UNAVAILABLE, NULL);
                        else if (call->state == CALL_STATE_ABANDONED)
                                channel_call_settle(call);
                }
}

void channel_calls_free(Channel *channel)
{
        for (size_t b = 0; b < CHANNEL_BUCKETS; b++)
                list_for_each_safe(i, next, &channel->calls[b])
                {
                        ChannelCall *call = container_of(i, ChannelCall, by_id);

                        if (call->out)
                                channel_out_free(channel, call->out);
                        call_free(call);
                }
        list_for_each_safe(i, next, &channel->ended) call_free(container_of(i, ChannelCall, ended));
}

static const char *channel_call_text(const Channel *channel, const ChannelCall *call, char *buffer, size_t size)
{
        if (call->text)
                return call->text;
        if (call->code == GRPC_STATUS_CANCELLED)
                (void)snprintf(buffer, size, "%s: it was withdrawn before %s was asked", call->row->name, channel_peer_name(channel));
        else if (call->outcome == CHANNEL_E_LOST)
                (void)snprintf(buffer, size,
                               "%s: the connection to %s was lost (%s), whether it was done is unknown: look, then try "
                               "again",
                               call->row->name, channel_peer_name(channel), channel->why);
        else
                (void)snprintf(buffer, size, "%s: %s did not answer in time: look what was done, then try again",
                               call->row->name, channel_peer_name(channel));
        return buffer;
}

/* call is in no list, and ours: its callback may free the channel and everything in it. */
static void channel_call_tell(Channel *channel, const ChannelCall *call)
{
        char buffer[384];
        const Answer answer = {
                        .outcome = call->outcome,
                        .code = call->code,
                        .text = channel_call_text(channel, call, buffer, sizeof(buffer)),
        };
        int r = call->callback(call->userdata, &answer);

        /* For a positive outcome there is no peer to blame. */
        if (r < 0)
                channel_fail(channel, fold(r));
}

void channel_calls_flush(Channel *channel)
{
        while (!channel->is_freed && !list_is_empty(&channel->ended)) {
                ChannelCall *call = list_first(&channel->ended, ChannelCall, ended);
                ChannelCall told = *call;

                /* One that still awaits its reply is freed by that; meanwhile nobody waits for it. */
                list_remove(&call->ended);
                call->callback = NULL;
                call->text = NULL;
                if (call->state == CALL_STATE_ENDED)
                        call_free(call);
                channel_call_tell(channel, &told);
                free(told.text);
        }
}

static void channel_arm_deadline(Channel *channel, uint64_t deadline_usec)
{
        uint64_t now = clock_monotonic_usec();
        uint64_t left = deadline_usec > now ? deadline_usec - now : 0;
        const struct timeval after = {
                        .tv_sec = (time_t)(left / USEC_PER_SEC),
                        .tv_usec = (suseconds_t)(left % USEC_PER_SEC),
        };

        channel->armed_usec = deadline_usec;
        if (event_add(channel->deadline_event, &after) < 0)
                channel_fail(channel, error_origin(-ENOMEM));
}

/* Tells the peer that nobody waits; its one reply is still to come. May drop the peer. */
static void channel_send_cancel(Channel *channel, const ChannelCall *call)
{
        if (channel_send(channel, call->row, WIRE_FLAG_CANCEL, call->request_id, NULL, 0, NULL, 0, NULL) < 0)
                channel_drop(channel, "no memory to cancel a request");
}

void channel_on_deadline(evutil_socket_t fd, short events, void *userdata)
{
        Channel *channel = userdata;
        uint64_t now = clock_monotonic_usec(), next_usec = USEC_INFINITY;

        (void)fd;
        (void)events;
        channel->armed_usec = USEC_INFINITY;
        for (size_t b = 0; b < CHANNEL_BUCKETS; b++)
                list_for_each_safe(i, next, &channel->calls[b])
                {
                        ChannelCall *call = container_of(i, ChannelCall, by_id);

                        if (call->state == CALL_STATE_ABANDONED)
                                continue;
                        if (call->deadline_usec > now) {
                                next_usec = MIN2(next_usec, call->deadline_usec);
                                continue;
                        }
                        if (call->state == CALL_STATE_SENT) {
                                call->state = CALL_STATE_ABANDONED;
                                call->cancel_due = true;
                        } else {
                                (void)channel_out_free(channel, call->out);
                        }
                        channel_call_end(channel, call, CHANNEL_E_TIMEOUT, GRPC_STATUS_DEADLINE_EXCEEDED, NULL);
                }
        /* Only now: a send may drop the peer, which changes the buckets but frees nothing that is in this list. */
        list_for_each(i, &channel->ended)
        {
                ChannelCall *call = container_of(i, ChannelCall, ended);

                if (call->cancel_due)
                        channel_send_cancel(channel, call);
                call->cancel_due = false;
        }
        if (next_usec != USEC_INFINITY)
                channel_arm_deadline(channel, next_usec);
}

static int channel_call_bytes(Channel *channel, const MessageRow *row, const void *bytes, size_t n, const int *fds,
                              size_t n_fds, uint64_t deadline_usec, AnswerCallback callback, void *userdata,
                              uint32_t *ret_request)
{
        _cleanup_(call_freep) ChannelCall *call = NULL;
        ChannelCall *started;
        char *text = NULL;
        int r;

        if (row->kind != ROW_KIND_REQUEST || row->sender != channel->spec.side || n_fds < row->body.fds.n_min ||
            n_fds > row->body.fds.n_max || (!row->body.type && n != row->body.flat_size))
                return error_origin(-EINVAL);
        call = calloc(1, sizeof(*call));
        if (!call)
                return error_origin(-ENOMEM);
        call->row = row;
        call->request_id = channel_next_request_id(channel);
        call->deadline_usec = deadline_usec;
        call->callback = callback;
        call->userdata = userdata;
        call->state = CALL_STATE_QUEUED;
        list_append(channel_bucket(channel->calls, call->request_id), &call->by_id);
        if (n > row->body.max_length) {
                text = str_printf("%s: the request has %zu bytes, %s takes at most %u: make it smaller", row->name, n,
                                  channel_peer_name(channel), row->body.max_length);
                r = CHANNEL_E_FULL;
        } else {
                r = channel_send(channel, row, 0, call->request_id, bytes, n, fds, n_fds, call);
                if (r == CHANNEL_E_FULL)
                        text = str_printf("%s: too much is waiting for %s already: try again later", row->name,
                                          channel_peer_name(channel));
        }
        if (r < 0)
                return fold(r);
        if (r == CHANNEL_E_FULL && !text)
                return error_origin(-ENOMEM);
        started = TAKE_PTR(call);
        if (ret_request)
                *ret_request = started->request_id;
        if (r == CHANNEL_E_FULL)
                channel_call_end(channel, started, CHANNEL_E_FAILED, GRPC_STATUS_RESOURCE_EXHAUSTED, text);
        else if (deadline_usec < channel->armed_usec)
                channel_arm_deadline(channel, deadline_usec);
        return 0;
}

int channel_call(Channel *channel, const MessageRow *row, const ProtobufCMessage *message, const int *fds, size_t n_fds,
                 uint64_t deadline_usec, AnswerCallback callback, void *userdata, uint32_t *ret_request)
{
        _cleanup_free_ uint8_t *owned = NULL;
        CHANNEL_BUFFER(buffer);
        size_t n = 0;
        int r;

        r = channel_pack(message, buffer, sizeof(buffer), &owned, &n);
        if (r < 0)
                return fold(r);
        r = channel_call_bytes(channel, row, owned ? owned : buffer, n, fds, n_fds, deadline_usec, callback, userdata,
                               ret_request);
        return r < 0 ? fold(r) : 0;
}

int channel_call_flat(Channel *channel, const MessageRow *row, const void *flat, const int *fds, size_t n_fds,
                      uint64_t deadline_usec, AnswerCallback callback, void *userdata, uint32_t *ret_request)
{
        int r = channel_call_bytes(channel, row, flat, row->body.flat_size, fds, n_fds, deadline_usec, callback,
                                   userdata, ret_request);
        return r < 0 ? fold(r) : 0;
}

int channel_call_packed(Channel *channel, const MessageRow *row, const void *packed, size_t n, uint64_t deadline_usec,
                        AnswerCallback callback, void *userdata, uint32_t *ret_request)
{
        int r = channel_call_bytes(channel, row, packed, n, NULL, 0, deadline_usec, callback, userdata, ret_request);

        return r < 0 ? fold(r) : 0;
}

void channel_cancel(Channel *channel, uint32_t request_id)
{
        ChannelCall *call = channel_call_find(channel, request_id);

        if (!call) {
                list_for_each(i, &channel->ended)
                {
                        ChannelCall *ended = container_of(i, ChannelCall, ended);

                        if (ended->request_id == request_id) {
                                call_free(ended);
                                return;
                        }
                }
                return;
        }
        call->callback = NULL;
        list_remove(&call->ended);
        switch (call->state) {
        case CALL_STATE_QUEUED:
                (void)channel_out_free(channel, call->out);
                call_free(call);
                break;
        case CALL_STATE_SENT:
                call->state = CALL_STATE_ABANDONED;
                channel_send_cancel(channel, call);
                break;
        case CALL_STATE_ABANDONED:
        case CALL_STATE_ENDED:
                break;
        }
}

void channel_withdraw(Channel *channel, uint32_t request_id)
{
        ChannelCall *call = channel_call_find(channel, request_id);

        if (!call) /* its callback is due already */
                return;
        call->deadline_usec = USEC_INFINITY;
        if (call->state == CALL_STATE_QUEUED) {
                (void)channel_out_free(channel, call->out);
                channel_call_end(channel, call, CHANNEL_E_FAILED, GRPC_STATUS_CANCELLED, NULL);
        } else if (call->state == CALL_STATE_SENT) {
                channel_send_cancel(channel, call);
        }
}

/* Texts come from hands that quote foreign programs: control characters and what is no UTF-8 become '?'. */
static void channel_make_printable(uint8_t *s, size_t n)
{
        bool is_text = decode_text_is_valid(s, n);

        for (size_t i = 0; i < n; i++)
                if ((s[i] < 0x20 && s[i] != '\n' && s[i] != '\t') || s[i] == 0x7f || (s[i] >= 0x80 && !is_text))
                        s[i] = '?';
}

/* The payload of an error reply; wire_receive() put a NUL behind it. */
static int channel_read_error(Frame *frame, Answer *ret)
{
        size_t n = frame->wire.header.length;
        uint32_t code;

        if (n < sizeof(code)) /* check: error-short */
                return WIRE_E_LENGTH;
        if (n > sizeof(code) + WIRE_ERROR_TEXT_MAX) /* check: error-long */
                return WIRE_E_LENGTH;
        if (frame->wire.n_fds > 0) /* check: error-fds */
                return WIRE_E_FDS;
        memcpy(&code, frame->wire.payload, sizeof(code));
        if (code < GRPC_STATUS_CANCELLED || code > GRPC_STATUS_UNAUTHENTICATED) /* check: error-code */
                return WIRE_E_BODY;
        channel_make_printable(frame->wire.payload + sizeof(code), n - sizeof(code));
        *ret = (Answer){
                        .outcome = CHANNEL_E_FAILED,
                        .code = code,
                        .text = (const char *)frame->wire.payload + sizeof(code),
        };
        return 0;
}

int channel_on_reply(Channel *channel, Frame *frame)
{
        ChannelCall *call = channel_call_find(channel, frame->request_id);
        Answer answer = {.text = "", .frame = frame};
        AnswerCallback callback;
        void *userdata;
        int r;

        if (!call) /* check: reply-to-nothing */
                return WIRE_E_UNKNOWN;
        if (call->state == CALL_STATE_QUEUED) /* check: reply-to-unsent */
                return WIRE_E_UNKNOWN;
        if (frame->wire.header.id != call->row->id) /* check: reply-of-other-row */
                return WIRE_E_UNKNOWN;
        frame->row = call->row;
        if (frame->wire.header.flags & WIRE_FLAG_ERROR)
                r = channel_read_error(frame, &answer);
        else
                r = row_check_body(&call->row->reply, &frame->wire);
        if (r == 0 && answer.outcome == 0)
                r = channel_decode(&call->row->reply, frame);
        if (r != 0)
                return r < 0 ? fold(r) : r;
        if (call->state == CALL_STATE_ABANDONED) {
                channel_call_settle(call);
                return 0;
        }
        callback = call->callback;
        userdata = call->userdata;
        call_free(call);
        r = callback(userdata, &answer);
        return r < 0 ? fold(r) : r > 0 ? WIRE_E_BODY : 0;
}
