/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One client: its socket, the head of its request, the owner's answer, then the bytes of its session or forward until both
 * ends are done with it. Nothing frees a connection but connection_settle(), which ends each callback of the loop. */

#include "lib/strings.h"
#include "services/streamd/handshake.h"
#include "services/streamd/streamd.h"
#include "services/streamd/tls.h"

typedef enum ConnectionState {
        CONNECTION_HEAD,      /* reading the request's head */
        CONNECTION_OPENING,   /* the owner was asked */
        CONNECTION_STREAMING, /* session or forward is there */
        CONNECTION_FLUSHING,  /* it is over; the last bytes are on their way */
        CONNECTION_ENDING,    /* all was sent; waiting for the client to close */
} ConnectionState;

typedef struct Connection {
        List link;        /* in Streamd.connections */
        Streamd *streamd; /* borrowed; outlives us */
        int fd;           /* owned */
        TlsPeer *tls;     /* owned; NULL: the client speaks as it is */
        ConnectionState state;
        bool dead;   /* connection_settle() frees it */
        bool choked; /* too much waits for the client: sources are not read */
        Handshake handshake;
        struct Opening *opening;                 /* borrowed; while OPENING */
        char pod_id[ID_LENGTH + 1];              /* whose share it counts against, from the owner's answer on; "": none yet */
        struct event *read_event, *write_event;  /* owned */
        struct event *timer;                     /* owned */
        struct event *look_timer;                /* owned; runs while the client is not read, to see it leave */
        uint64_t traffic_usec;                   /* when bytes last moved */
        ByteQueue in;                            /* the head, as far as it came */
        ByteQueue out;
        size_t n_in_waiting;     /* bytes that wait in legs */
        struct Session *session; /* owned; of exec and attach while STREAMING */
        struct Forward *forward; /* owned; of a port-forward while STREAMING */
} Connection;

/* Takes the fd. */
int connection_new(Streamd *streamd, int fd);
Connection *connection_free(Connection *connection);

/* The last act of every callback: r is what it came to. Sends what waits, reads or pauses as queues allow, frees the dead. */
void connection_settle(Connection *connection, int r);
/* The session or forward is over: it is freed, what was said is sent, the client may close. */
void connection_finish(Connection *connection);
/* The timer, from now; USEC_INFINITY: none but the idle timeout's. */
int connection_set_timer(Connection *connection, uint64_t usec);
/* To whom its verb belongs. */
EdgeId connection_edge(const Connection *connection);
Channel *connection_owner(const Connection *connection);
/* The owner's answer. Only here, and from an Opening: it settles the connection. */
void connection_on_opened(Connection *connection, const Answer *answer);
/* Frees the oldest one that nothing is served by yet, or any more, so that others can come. False: there is none. */
bool connection_make_room(Streamd *streamd);
