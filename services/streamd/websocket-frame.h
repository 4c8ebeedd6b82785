/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Frames of WebSocket (RFC 6455, 5.2), the server's side: heads of what a client sends, heads of what we send. */

#include "lib/base.h"

/* Of a client: 2, up to 8 of extended length, 4 of mask. */
#define WEBSOCKET_HEAD_BYTES_MAX 14
#define WEBSOCKET_CONTROL_BYTES_MAX 125

enum {
        WEBSOCKET_CONTINUATION = 0,
        WEBSOCKET_TEXT = 1,
        WEBSOCKET_BINARY = 2,
        WEBSOCKET_CLOSE = 8,
        WEBSOCKET_PING = 9,
        WEBSOCKET_PONG = 10,
};

/* Reasons of a Close frame (7.4.1). */
enum {
        WEBSOCKET_CLOSE_NORMAL = 1000,
        WEBSOCKET_CLOSE_PROTOCOL = 1002,
        WEBSOCKET_CLOSE_DATA = 1003,
        WEBSOCKET_CLOSE_TOO_BIG = 1009,
};

typedef struct WebsocketHead {
        bool fin;
        uint8_t opcode;
        uint64_t length;
        uint8_t mask[4];
        size_t n_bytes; /* of the head */
} WebsocketHead;

enum { WEBSOCKET_E_INCOMPLETE = 1, WEBSOCKET_E_VIOLATION };

/* The head that starts at bytes. WEBSOCKET_E_VIOLATION: reserved bits or opcodes, no mask, a length that is not minimal, a
 * control frame that is long or in pieces. */
int websocket_head_parse(const uint8_t *bytes, size_t n, WebsocketHead *ret);
/* at: how much of the frame's payload came before these bytes. */
void websocket_unmask(const WebsocketHead *head, uint64_t at, uint8_t *bytes, size_t n);
/* A whole frame's head, unmasked; returns its length, at most 10. */
size_t websocket_write_head(uint8_t *to, uint8_t opcode, size_t n);
