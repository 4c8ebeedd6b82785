/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The server's side of one WebSocket (RFC 6455): messages in pieces as they come, pings answered, closing. Bytes in by
 * websocket_session_feed(), bytes out into a queue; no socket, no clock. */

#include "services/streamd/byte-queue.h"
#include "services/streamd/websocket-frame.h"

typedef struct WebsocketHandlers {
        /* A part of a message, in order: first and last say where it stands. n may be 0. */
        int (*on_part)(void *userdata, bool first, bool last, uint8_t *bytes, size_t n);
} WebsocketHandlers;

typedef struct WebsocketSession {
        const WebsocketHandlers *handlers;
        void *userdata;
        ByteQueue *out; /* borrowed */
        uint8_t head_bytes[WEBSOCKET_HEAD_BYTES_MAX];
        size_t n_head; /* of them, so far */
        bool in_frame; /* the head below is complete, its payload is not */
        WebsocketHead head;
        uint64_t n_seen; /* of the payload */
        bool in_message; /* a message is under way, between or in its frames */
        bool started;    /* its first part was handed on */
        bool closed;     /* we said Close */
        bool broken;     /* after a violation, or the client's Close, nothing means anything */
        uint8_t control[WEBSOCKET_CONTROL_BYTES_MAX];
} WebsocketSession;

/* The client said Close; it was answered. */
enum { WEBSOCKET_E_GOODBYE = 3 };

void websocket_session_init(WebsocketSession *session, const WebsocketHandlers *handlers, void *userdata, ByteQueue *out);

/* Everything is taken; the bytes are changed. WEBSOCKET_E_VIOLATION (a Close that says so is in the queue),
 * WEBSOCKET_E_GOODBYE, negative errno, or what a handler returned: positive is a violation too. */
int websocket_session_feed(WebsocketSession *session, uint8_t *bytes, size_t n);

/* One message. Nothing after a Close. */
int websocket_session_send(WebsocketSession *session, uint8_t opcode, const void *bytes, size_t n);
/* Idempotent. */
int websocket_session_close(WebsocketSession *session, uint16_t reason);
