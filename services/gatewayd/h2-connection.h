/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One client: its socket and what waits to be written to it (h2-connection.c), its nghttp2 session (h2-session.c). */

#include "services/gatewayd/grpc-server.h"
#include "services/gatewayd/h2-meter.h"
#include <nghttp2/nghttp2.h>

/* Output waits in our memory up to here; beyond, nghttp2 is not asked for more and nothing more is read. */
#define H2_OUTPUT_BYTES_MAX (64 * 1024)

struct H2Connection {
        List link;          /* GrpcServer.connections, the one that was idle longest first */
        GrpcServer *server; /* borrowed; outlives us */
        int fd;             /* owned */
        pid_t peer_pid;     /* SO_PEERCRED; pids are reused: for the log only */
        uid_t peer_uid;
        gid_t peer_gid;
        nghttp2_session *session; /* owned */
        H2Meter meter;
        Budget memory;
        List calls; /* GrpcCall.link */
        size_t n_calls;
        List *cursor; /* of the walk through calls that is under way: a call that is freed moves it on */
        struct event *read_event;
        struct event *write_event;
        struct event *flush_event; /* activated by hand: there is something to send */

        uint8_t *output; /* owned; NULL while nothing waits */
        size_t output_begin, output_end, output_size;
        uint8_t *stash; /* owned: input that was read before the output filled up; NULL: none */
        size_t n_stash;
        BudgetCharge buffers; /* of output and stash */

        size_t header_bytes;   /* of the header block that is being read */
        uint64_t partial_usec; /* since when a frame is incomplete; 0: it is not */
        uint64_t output_usec;  /* when the peer last took some output */
        uint64_t active_usec;
        const char *fault; /* static: why the connection must be closed; NULL: it need not */
        bool is_gone;      /* the peer has closed the socket */
        bool is_dying;     /* in the destructor */
        bool is_goaway_final;
};

#define H2_CONNECTION_INIT ((H2Connection){.fd = -1})

/* Takes fd in any case. */
int h2_connection_new(H2Connection **ret, GrpcServer *server, int fd);
/* Cancels its calls and removes it from the server. */
H2Connection *h2_connection_free(H2Connection *c);
DEFINE_CLEANUP(H2Connection, h2_connection_free)

/* Sends what there is to send, soon. Safe anywhere. */
void h2_connection_kick(H2Connection *c);
/* Resets one stream. Safe anywhere. */
void h2_connection_reset(H2Connection *c, int32_t stream_id, uint32_t error_code);
/* Closes the connection soon because of what the peer did. Safe anywhere; the first reason counts. */
void h2_connection_fault(H2Connection *c, const char *fault);
/* Ends what makes no progress; may free the connection. Sets *ret_busy if it needs to be looked at again. */
void h2_connection_tick(H2Connection *c, uint64_t now_usec, bool *ret_busy);
/* GOAWAY. */
void h2_connection_drain(H2Connection *c);

/* ---- h2-session.c ---- */

int h2_session_new(H2Connection *c);
/* Feeds one piece of a frame. Sets c->fault if the connection must be closed. */
void h2_session_feed(H2Connection *c, const uint8_t *bytes, size_t n);
/* Final GOAWAY: names the last stream that will be answered. */
void h2_session_say_goodbye(H2Connection *c);
