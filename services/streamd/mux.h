/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The streams of one exec or attach over one connection, whatever it is spoken in: SPDY/3.1 streams that the client opens,
 * or channels of a WebSocket, told apart by the first byte of each message. Bytes in by mux_feed(), bytes out into a queue;
 * no socket, no clock. Sub-protocols as in k8s.io/cri-streaming (remotecommand) and k8s.io/streaming (wsstream). */

#include "services/streamd/base64.h"
#include "services/streamd/spdy-session.h"
#include "services/streamd/websocket-session.h"

/* The numbers are those of WebSocket channels. */
typedef enum MuxStream { MUX_STDIN, MUX_STDOUT, MUX_STDERR, MUX_ERROR, MUX_RESIZE, MUX_STREAMS_N } MuxStream;

typedef enum MuxMedium { MUX_MEDIUM_SPDY, MUX_MEDIUM_WEBSOCKET } MuxMedium;

typedef struct MuxProtocol {
        const char *name; /* the sub-protocol as it is negotiated */
        MuxMedium medium;
        uint8_t version; /* from 3 on SPDY tells the size of a terminal, from 4 on the status is JSON, 5 half-closes */
        bool base64;
} MuxProtocol;

typedef struct MuxHandlers {
        /* For MUX_STDIN and MUX_RESIZE. */
        int (*on_bytes)(void *userdata, MuxStream stream, const uint8_t *bytes, size_t n);
        /* The client closed its side of MUX_STDIN. */
        int (*on_stdin_end)(void *userdata);
} MuxHandlers;

typedef struct Mux {
        const MuxProtocol *protocol;
        const MuxHandlers *handlers;
        void *userdata;
        SpdySession spdy;
        SpdyStream *streams[MUX_STREAMS_N]; /* owned by spdy; NULL: not opened yet, or gone */
        bool opened[MUX_STREAMS_N];         /* the client has opened it, ever */
        bool missing[MUX_STREAMS_N];        /* it must, before the session can begin */
        bool finished;
        ByteQueue status; /* waits for MUX_ERROR, after mux_finish() */
        WebsocketSession websocket;
        int channel; /* of the message under way; MUX_CHANNEL_* */
        Base64Decoder base64;
} Mux;

/* Positive outcomes of mux_feed(). */
enum { MUX_E_VIOLATION = 1, MUX_E_GOODBYE };

/* The session reads or writes these, so a client of SPDY must open them first. Others it may open as well, for it knows what it
 * asked for and not what there is: they are answered, and what comes on them is dropped by the handlers. */
void mux_init(Mux *mux, const MuxProtocol *protocol, const MuxHandlers *handlers, void *userdata, ByteQueue *out, bool has_stdin,
              bool has_stdout, bool has_stderr);
void mux_done(Mux *mux);
/* All streams are there, so the session may begin. */
bool mux_is_ready(const Mux *mux);
/* Everything is taken; the bytes are changed. */
int mux_feed(Mux *mux, uint8_t *bytes, size_t n);
/* What the client has closed is dropped. */
int mux_send(Mux *mux, MuxStream stream, const uint8_t *bytes, size_t n);
/* No more comes of MUX_STDOUT or MUX_STDERR. */
int mux_end(Mux *mux, MuxStream stream);
/* The status, and the end of all streams, also of those that a client of SPDY has yet to open: it would wait for the answer. */
int mux_finish(Mux *mux, const char *status, size_t n);
/* Whether the client was sent all of that which it can be sent by now. */
bool mux_is_finished(const Mux *mux);
