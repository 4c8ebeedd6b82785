/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A brain's end of one edge on its event loop: receives, checks against rows, decodes within a budget, dispatches to
 * handlers, keeps requests under way, answers. Survives the peer: when linkd re-wires the edge, the old generation is
 * dropped (its requests end with CHANNEL_E_LOST) before the new one is used. */

#include "ipc/decode.h"
#include "ipc/wire.h"
#include "lib/list.h"

struct event_base;
typedef struct Channel Channel;
typedef struct Frame Frame;

/* Handler of one row. The message in the frame is valid and lives until the handler returns (unless frame_keep()). 0:
 * handled (answered now, or later through frame_reply_to()); negative: we failed, the loop ends; positive: the peer
 * broke the protocol, the edge is dropped. */
typedef int (*ChannelHandler)(void *userdata, Frame *frame);

struct Frame {
        Channel *channel;
        const MessageRow *row;
        uint32_t request_id;
        uint32_t generation; /* of the peer that sent it */
        union {
                ProtobufCMessage *message; /* in the frame's arena */
                const void *flat;
        };
        DecodeArena arena;
        WireFrame wire; /* the bytes as received: wire.payload, wire.header.length */
        bool kept;
        bool busy; /* its handler or callback is running: frame_free() takes effect when that returns */
};

/* The frame outlives the handler or answer callback: the caller owns it and ends it with frame_free(), which may also
 * come before that returns. */
Frame *frame_keep(Frame *frame);
Frame *frame_free(Frame *frame);
DEFINE_CLEANUP(Frame, frame_free)

/* Takes the i-th fd, or -1. The caller owns it. */
int frame_take_fd(Frame *frame, size_t i);

/* Where an answer goes; a small value, valid for ever: answers to a lost generation or a cancelled request vanish. */
typedef struct ReplyTo {
        Channel *channel; /* borrowed; channels live as long as the service */
        const MessageRow *row;
        uint32_t generation;
        uint32_t request_id;
} ReplyTo;
#define REPLY_TO_NULL ((ReplyTo){0})
ReplyTo frame_reply_to(const Frame *frame);

/* fds are borrowed (duplicated by the kernel on send). Failure to send is not the caller's: the edge is dropped. An
 * answer that is larger than its row allows is replaced by an error reply. */
int reply_send(ReplyTo to, const ProtobufCMessage *message, const int *fds, size_t n_fds);
int reply_send_packed(ReplyTo to, const void *packed, size_t n, const int *fds, size_t n_fds); /* or a flat body */
/* code: gRPC status. The text names the object, the stage and what to do next. */
int reply_fail(ReplyTo to, uint32_t code, const char *format, ...) _printf_(3, 4);

/* The requester went away (RST_STREAM, deadline, lost edge): called with the ReplyTo's request id. Optional. */
typedef void (*ChannelCancelled)(void *userdata, Channel *channel, uint32_t request_id);
/* The edge has a peer again (generation > 0), or lost it (channel_why() says how). Optional. */
typedef void (*ChannelChanged)(void *userdata, Channel *channel, bool connected);
/* A handler, an answer callback or the channel itself failed with a negative errno: the service ends. Without it the
 * loop is broken off. */
typedef void (*ChannelFailed)(void *userdata, Channel *channel, int r);

typedef struct ChannelSpec {
        const EdgeSchema *schema;
        EdgeSide side;                  /* ours */
        const ChannelHandler *handlers; /* one per row of the schema, NULL where we are the sender */
        ChannelCancelled on_cancelled;
        ChannelChanged on_changed;
        ChannelFailed on_failed;
        void *userdata;
} ChannelSpec;

/* READY and without a peer. -EINVAL if a row that we receive has no handler. */
int channel_new(Channel **ret, struct event_base *base, const ChannelSpec *spec);
/* May be called from the channel's own callbacks. Calls under way end without a callback. */
Channel *channel_free(Channel *channel);
DEFINE_CLEANUP(Channel, channel_free)

/* Installs the fd (ownership taken) as a new generation. generation must be larger than the last one. */
int channel_connect(Channel *channel, int fd, uint32_t generation);
void channel_disconnect(Channel *channel);
bool channel_is_connected(const Channel *channel);
void channel_set_state(Channel *channel, uint32_t row_state);
/* Violations seen from peers since the start; for metrics. */
uint64_t channel_violations(const Channel *channel);
/* How the last peer was lost, for logs: "closed by the peer", or the violation and its message. Never NULL. */
const char *channel_why(const Channel *channel);
/* The process at the other end. */
const char *channel_peer_name(const Channel *channel);

/* Result of a request. outcome 0: message/flat and fds are there. CHANNEL_E_FAILED: code and text say why.
 * CHANNEL_E_LOST: the peer died or was re-wired, whether it acted is unknown. CHANNEL_E_TIMEOUT: the deadline passed
 * (the peer was told to cancel). */
enum { CHANNEL_E_FAILED = 1, CHANNEL_E_LOST, CHANNEL_E_TIMEOUT };
typedef struct Answer {
        int outcome;
        uint32_t code;    /* gRPC status, for FAILED (for LOST 14, for TIMEOUT 4) */
        const char *text; /* never NULL */
        Frame *frame;     /* NULL unless outcome is 0 */
} Answer;
/* Returns like a handler. The answer lives until the callback returns. */
typedef int (*AnswerCallback)(void *userdata, const Answer *answer);

/* Sends a request. deadline_usec: absolute monotonic, USEC_INFINITY for none. While the edge has no peer the request
 * waits for one until its deadline; so does one that was not sent yet when the peer was lost. Too large a message or
 * too long a queue is a FAILED answer with RESOURCE_EXHAUSTED. fds are borrowed. Exactly one callback follows, never
 * from inside this call. ret_request (may be NULL) is for channel_cancel(), after which no callback comes. */
int channel_call(Channel *channel, const MessageRow *row, const ProtobufCMessage *message, const int *fds, size_t n_fds,
                 uint64_t deadline_usec, AnswerCallback callback, void *userdata, uint32_t *ret_request);
int channel_call_flat(Channel *channel, const MessageRow *row, const void *flat, const int *fds, size_t n_fds,
                      uint64_t deadline_usec, AnswerCallback callback, void *userdata, uint32_t *ret_request);
int channel_call_packed(Channel *channel, const MessageRow *row, const void *packed, size_t n, uint64_t deadline_usec,
                        AnswerCallback callback, void *userdata, uint32_t *ret_request);
void channel_cancel(Channel *channel, uint32_t request_id);
/* For a request whose answer must be undone if it was made: the peer is told as by channel_cancel(), and its deadline counts no more,
 * but the callback still comes: with the answer where the two crossed, else with CHANNEL_E_FAILED (CANCELLED) or CHANNEL_E_LOST. */
void channel_withdraw(Channel *channel, uint32_t request_id);
/* Events are lost while there is no peer. */
int channel_event(Channel *channel, const MessageRow *row, const ProtobufCMessage *message);
int channel_event_flat(Channel *channel, const MessageRow *row, const void *flat, const int *fds, size_t n_fds);
