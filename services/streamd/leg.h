/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One fd of a session on the loop: a process's end of a pipe or terminal, or a pod's socket. Bytes that it does not take at
 * once wait in a queue, which is counted in its connection. */

#include "services/streamd/connection.h"

typedef struct Leg Leg;

typedef struct LegHandlers {
        int (*on_bytes)(Leg *leg, const uint8_t *bytes, size_t n);
        /* It gives no more: an end, or an error. Its fd is open still if it may be written. */
        int (*on_eof)(Leg *leg);
        /* It takes no more: what waited is dropped or written, the fd was closed or shut down. Optional. */
        int (*on_shut)(Leg *leg);
} LegHandlers;

struct Leg {
        const LegHandlers *handlers;
        Connection *connection; /* borrowed; outlives us */
        void *owner;            /* the user's */
        int kind;               /* the user's */
        int fd;                 /* owned; -1 once it is of no use */
        bool duplex;            /* a socket: its two directions end apart */
        bool eof;               /* nothing comes any more */
        bool ending;            /* to be shut once the queue is empty */
        bool shut;
        struct event *read_event, *write_event; /* owned; write_event from the first need */
        ByteQueue queue;
};

#define LEG_NULL ((Leg){.fd = -1, .eof = true, .shut = true})

/* Takes the fd. Not reading yet. */
int leg_init(Leg *leg, Connection *connection, int fd, bool duplex, const LegHandlers *handlers, void *owner, int kind);
void leg_done(Leg *leg);

void leg_set_reading(Leg *leg, bool reading);
enum { LEG_E_DRY = 1, LEG_E_END };
/* Reads once, now, and hands on. LEG_E_DRY: there is nothing; LEG_E_END: nor will there be; on_eof was called. */
int leg_read(Leg *leg);
/* All is taken, or dropped if the leg is shut. */
int leg_write(Leg *leg, const uint8_t *bytes, size_t n);
/* No more will be written. */
int leg_end(Leg *leg);
