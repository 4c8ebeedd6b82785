/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of the channel share. channel.c: life of a channel and dispatch of what comes in. channel-call.c:
 * requests of ours. channel-reply.c: requests of the peer. channel-queue.c: what goes out.
 *
 * Callbacks into the service are made from three places only: the read event, the deferred event and channel_connect().
 * What ends elsewhere (a send that fails inside channel_call()) is put on a list and told from the deferred event, so
 * no callback ever comes from inside a call of the service. */

#include "ipc/channel.h"

#include <event2/event.h>

#define CHANNEL_BUCKETS 32
#define CHANNEL_FRAMES_PER_WAKEUP 32
#define CHANNEL_BYTES_PER_WAKEUP (1024 * 1024)
#define CHANNEL_INBOUND_MAX 4096                   /* requests of the peer that we have not answered */
#define CHANNEL_QUEUE_BYTES_MAX (64 * 1024 * 1024) /* what a peer that does not read makes us hold */
#define CHANNEL_QUEUE_FRAMES_MAX 16384
#define CHANNEL_FLIGHT_BYTES_MAX (64 * 1024 * 1024) /* in memory files that lie in the peer's socket */
#define CHANNEL_FLIGHT_RETRY_USEC 2000

typedef enum CallState {
        CALL_STATE_QUEUED,    /* not sent: survives the loss of a peer */
        CALL_STATE_SENT,      /* the peer may act on it */
        CALL_STATE_ABANDONED, /* cancelled or timed out; its one reply is still to come */
        CALL_STATE_ENDED,     /* in no bucket any more */
} CallState;

/* A request of ours, from channel_call() until its one reply (or the loss of the peer). */
typedef struct ChannelCall {
        List by_id; /* link in Channel.calls */
        List ended; /* link in Channel.ended while its callback is due */
        const MessageRow *row;
        struct ChannelOut *out; /* borrowed: its frame in the queue while QUEUED */
        uint32_t request_id;
        CallState state;
        bool cancel_due;
        uint64_t deadline_usec;
        AnswerCallback callback; /* NULL once called or cancelled */
        void *userdata;
        int outcome; /* for the callback that is due */
        uint32_t code;
        char *text; /* owned, may be NULL */
} ChannelCall;

/* A request of the peer that waits for our answer. */
typedef struct ChannelInbound {
        List by_id; /* link in Channel.inbound, or in Channel.lost */
        const MessageRow *row;
        uint32_t request_id;
} ChannelInbound;

/* A frame that the socket did not take yet. */
typedef struct ChannelOut {
        List link;         /* link in Channel.queue */
        ChannelCall *call; /* borrowed; NULL unless it is a request */
        WireHeader header;
        uint8_t *payload;          /* owned; NULL if it is in fds[0] */
        int fds[WIRE_FDS_MAX + 1]; /* owned */
        size_t n_fds;
} ChannelOut;

struct Channel {
        struct event_base *base; /* borrowed; outlives us */
        ChannelSpec spec;
        struct event *read_event;     /* owned; NULL without a peer */
        struct event *write_event;    /* owned; NULL without a peer */
        struct event *deadline_event; /* owned */
        struct event *deferred_event; /* owned */
        struct event *flight_event;   /* owned */
        int fd;                       /* owned; -1 without a peer */
        uint32_t generation;          /* of the peer that is there; 0 without one */
        uint32_t last_generation;
        uint32_t row_state;
        bool with_fds;  /* the peer's frames may carry fds */
        bool tell_lost; /* on_changed(false) is due */
        bool is_freed;  /* channel_free() came from a callback of ours */
        unsigned busy;  /* callbacks under way */
        int failure;    /* first negative result of a callback */
        uint64_t violations;
        uint64_t armed_usec; /* of deadline_event; USEC_INFINITY: not armed */
        uint32_t last_request_id;
        List calls[CHANNEL_BUCKETS];   /* ChannelCall.by_id */
        List inbound[CHANNEL_BUCKETS]; /* ChannelInbound.by_id */
        List ended;                    /* ChannelCall.ended */
        List lost;                     /* ChannelInbound.by_id whose cancellation is due */
        List queue;                    /* ChannelOut.link */
        size_t n_inbound;
        size_t n_queued;
        size_t queued_bytes;
        size_t flight_bytes; /* sent in memory files since the peer's socket was last seen empty */
        char why[160];
};

static inline List *channel_bucket(List *buckets, uint32_t request_id)
{
        return &buckets[request_id % CHANNEL_BUCKETS];
}

/* channel.c */
void channel_drop(Channel *channel, const char *why);
void channel_defer(Channel *channel);
void channel_fail(Channel *channel, int r);

/* channel-queue.c */
enum { CHANNEL_E_FULL = 1 };
/* Sends now or queues. call is NULL unless the frame is a request; then CHANNEL_E_FULL or a negative errno leave it
 * unsent. For other frames a failure to send drops the peer and is success. */
int channel_send(Channel *channel, const MessageRow *row, uint16_t flags, uint32_t request_id, const void *payload,
                 size_t n, const int *fds, size_t n_fds, ChannelCall *call);
void channel_queue_pump(Channel *channel);
void channel_on_flight(evutil_socket_t fd, short events, void *userdata);
/* Forgets what was meant for the peer that is lost; requests stay. */
void channel_queue_lose(Channel *channel);
ChannelOut *channel_out_free(Channel *channel, ChannelOut *out);

/* channel-call.c */
int channel_on_reply(Channel *channel, Frame *frame);
void channel_calls_lose(Channel *channel);
void channel_calls_free(Channel *channel);
/* Makes the callbacks that are due. */
void channel_calls_flush(Channel *channel);
void channel_on_deadline(evutil_socket_t fd, short events, void *userdata);

/* channel-reply.c */
int channel_on_request(Channel *channel, Frame *frame);
int channel_on_cancel(Channel *channel, const Frame *frame);
void channel_inbound_lose(Channel *channel);
void channel_inbound_flush(Channel *channel);
void channel_inbound_free(Channel *channel);
#define CHANNEL_BUFFER_BYTES 2048
/* Not filled with zeros as other variables of this build are: it is on the path of every frame. */
#define CHANNEL_BUFFER(name) __attribute__((uninitialized)) uint8_t name[CHANNEL_BUFFER_BYTES]
/* Packs into the stack's buffer if it fits, else into an owned one. */
int channel_pack(const ProtobufCMessage *message, uint8_t *buffer, size_t size, uint8_t **ret_owned, size_t *ret_n);
/* Decodes the body of a frame that row_check_body() has passed. 0, a WIRE_E_ outcome. */
int channel_decode(const RowBody *body, Frame *frame);
