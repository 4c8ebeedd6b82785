/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The server's side of one SPDY/3.1 connection: streams that the client opens. Bytes in by spdy_session_feed(), bytes out
 * into a queue; no socket, no clock.
 *
 * Flow control is what the peers of this world do (moby/spdystream neither sends WINDOW_UPDATE nor obeys it): we give every
 * window back as soon as its bytes were handed on, and send without asking; what bounds both directions is that we stop
 * reading from the socket, and from the process, while their bytes cannot be passed on. */

#include "lib/list.h"
#include "services/streamd/byte-queue.h"
#include "services/streamd/spdy-frame.h"
#include "services/streamd/spdy-headers.h"

typedef struct SpdyStream {
        List link; /* in SpdySession.streams */
        uint32_t id;
        bool in_ended;  /* the client said FIN */
        bool out_ended; /* we did */
        uint32_t n_credit; /* bytes received that no window update has given back yet */
        int kind;       /* the user's */
        void *owner;    /* the user's */
} SpdyStream;

typedef struct SpdyHandlers {
        /* A new stream: 0 accepts it (kind and owner are set), SPDY_E_REFUSED resets it. Its reply is not sent yet, so
         * nothing else may be sent from here. */
        int (*on_stream)(void *userdata, SpdyStream *stream, const SpdyHeaders *headers);
        int (*on_data)(void *userdata, SpdyStream *stream, const uint8_t *bytes, size_t n);
        /* No more data comes. reset: neither can any be sent, and the stream is gone after this call. */
        int (*on_end)(void *userdata, SpdyStream *stream, bool reset);
} SpdyHandlers;

typedef struct SpdySession {
        const SpdyHandlers *handlers;
        void *userdata;
        ByteQueue *out; /* borrowed */
        bool in_websocket; /* each frame is a binary message of a WebSocket */
        size_t n_streams_max;
        List streams; /* SpdyStream.link */
        size_t n_streams;
        uint32_t last_id;
        bool broken;  /* after a violation nothing means anything */
        bool replied; /* the stream of our header blocks has begun */
        uint32_t n_credit;
        SpdyInflater inflater;
        uint8_t head_bytes[SPDY_HEAD_BYTES];
        size_t n_head; /* of them, so far */
        SpdyHead head; /* valid when n_head is full */
        uint32_t n_body_left;
        ByteQueue control; /* the body of a control frame, as far as it came */
} SpdySession;

/* Positive outcomes besides SPDY_E_VIOLATION. */
enum { SPDY_E_REFUSED = 2, SPDY_E_GOODBYE };

void spdy_session_init(SpdySession *session, const SpdyHandlers *handlers, void *userdata, ByteQueue *out,
                       size_t n_streams_max);
/* Safe on a zeroed session. Streams vanish without a call. */
void spdy_session_done(SpdySession *session);

/* Everything is taken. SPDY_E_VIOLATION: the client broke the protocol, the connection is to be closed; SPDY_E_GOODBYE: it
 * sent GOAWAY. Negative errno, also of handlers. */
int spdy_session_feed(SpdySession *session, const uint8_t *bytes, size_t n);

/* Nothing is sent on a stream that ended. n is at most 2^24-1. After fin the stream may be gone. */
int spdy_stream_send(SpdySession *session, SpdyStream *stream, const void *bytes, size_t n, bool fin);
int spdy_stream_reset(SpdySession *session, SpdyStream *stream, uint32_t status);
