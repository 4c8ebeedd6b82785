/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A sequential hand's end of an edge: blocking, flat bodies, libc only. */

#include "ipc/wire.h"

typedef struct HandRequest {
        const MessageRow *row;
        WireFrame frame; /* owns payload and fds */
        volatile uint32_t *answered; /* borrowed, may be NULL: set to 1 by the answer, for whoever outlives the handler */
} HandRequest;

#define HAND_REQUEST_NULL ((HandRequest){.frame = WIRE_FRAME_NULL})

/* Waits for one request or event on fd and checks it against the schema; from is the peer's side. 0, WIRE_E_EOF, a
 * violation (close the edge) or -errno. */
int hand_receive(int fd, const EdgeSchema *schema, EdgeSide from, HandRequest *request);
void hand_request_done(HandRequest *request);

int hand_reply(int fd, const HandRequest *request, const void *flat, const int *fds, size_t n_fds);
int hand_fail(int fd, const HandRequest *request, uint32_t code, const char *format, ...) _printf_(4, 5);
