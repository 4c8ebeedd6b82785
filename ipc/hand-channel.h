/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A sequential hand's end of an edge: blocking, libc only. Bodies are flat; a hand on a protobuf edge decodes and packs
 * them itself, in a child. */

#include "ipc/wire.h"

typedef struct HandRequest {
        const MessageRow *row;
        WireFrame frame; /* owns payload and fds */
        volatile uint32_t
                        *answered; /* borrowed, may be NULL: set to 1 by the answer, for whoever outlives the handler */
} HandRequest;

#define HAND_REQUEST_NULL ((HandRequest){.frame = WIRE_FRAME_NULL})

/* Waits for one request or event on fd and checks it against the schema; from is the peer's side. 0, WIRE_E_EOF,
 * WIRE_E_AGAIN (nothing to do: a cancellation, which a sequential hand ignores, or nothing there), a violation (close
 * the edge) or -errno. The flat body is request->frame.payload, aligned for any type. */
int hand_receive(int fd, const EdgeSchema *schema, EdgeSide from, HandRequest *request);
void hand_request_done(HandRequest *request);

/* Answers block until sent; a brain that is gone is not an error (the next hand_receive() says WIRE_E_EOF). The reply's
 * size comes from the row. fds are borrowed. */
int hand_reply(int fd, const HandRequest *request, const void *flat, const int *fds, size_t n_fds);
/* The same for a row whose reply is a message: bytes is the packed message, n at most the row's reply-max (-EMSGSIZE
 * above it). Above 64 KiB it travels in a memory file. */
int hand_reply_packed(int fd, const HandRequest *request, const void *bytes, size_t n, const int *fds, size_t n_fds);
int hand_fail(int fd, const HandRequest *request, uint32_t code, const char *format, ...) _printf_(4, 5);
int hand_event(int fd, const MessageRow *row, const void *flat, const int *fds, size_t n_fds);
