/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A gRPC server on a listening unix socket and an event loop: unary and server-streaming calls, no TLS, no compression.
 * It owns its connections and their calls, and bounds what their peers can make it hold or do. */

#include "services/gatewayd/bucket.h"
#include "services/gatewayd/budget.h"
#include "services/gatewayd/grpc-call.h"

struct event_base;

/* Callbacks return 0, or a negative errno when we failed: it is passed to on_failure. They may end any call, and must
 * not free the server. */
typedef struct GrpcHandlers {
        /* Exact match of the whole :path; NULL: UNIMPLEMENTED. */
        const GrpcMethod *(*lookup)(void *userdata, const char *path);
        /* A complete request. From here on the call is owned. */
        int (*on_call)(void *userdata, GrpcCall *call);
        /* Nobody waits for the answer any more. The owner still ends the call, now or later. */
        int (*on_cancel)(void *userdata, GrpcCall *call, GrpcCancel why);
        /* After GRPC_CALL_E_FULL. Optional when no method streams. */
        int (*on_writable)(void *userdata, GrpcCall *call);
        /* After grpc_server_drain: the last connection is gone. Optional. */
        int (*on_drained)(void *userdata);
        void (*on_failure)(void *userdata, int r);
} GrpcHandlers;

typedef struct GrpcLimits {
        size_t max_connections;
        uint32_t max_streams;     /* SETTINGS_MAX_CONCURRENT_STREAMS */
        size_t max_calls;         /* of a connection, with those that were cancelled and not ended yet */
        size_t max_calls_total;   /* the same for all connections and orphans */
        size_t max_message_bytes; /* either way */
        size_t max_header_bytes;  /* SETTINGS_MAX_HEADER_LIST_SIZE */
        size_t memory_bytes;      /* all connections: messages both ways, nghttp2, output */
        size_t connection_memory_bytes;
        size_t queue_bytes;   /* unsent messages of one stream */
        uint32_t flood_burst; /* tokens, see h2-meter.c */
        uint32_t flood_per_sec;
        uint64_t frame_usec;   /* a frame, a header block, the preface: begun to complete */
        uint64_t request_usec; /* a request: from its headers to its last byte */
        uint64_t stall_usec;   /* a reply: 64 KiB, or all that is left, must be taken within */
} GrpcLimits;

#define GRPC_LIMITS_DEFAULT                                                                                            \
        ((GrpcLimits){                                                                                                 \
                .max_connections = 64,                                                                                 \
                .max_streams = 128,                                                                                    \
                .max_calls = 256,                                                                                      \
                .max_calls_total = 2048,                                                                               \
                .max_message_bytes = GRPC_MESSAGE_BYTES_MAX,                                                           \
                .max_header_bytes = 16 * 1024,                                                                         \
                .memory_bytes = 48 * 1024 * 1024,                                                                      \
                .connection_memory_bytes = 40 * 1024 * 1024,                                                           \
                .queue_bytes = 4 * 1024 * 1024,                                                                        \
                .flood_burst = 4000,                                                                                   \
                .flood_per_sec = 400,                                                                                  \
                .frame_usec = 10 * USEC_PER_SEC,                                                                       \
                .request_usec = 30 * USEC_PER_SEC,                                                                     \
                .stall_usec = 30 * USEC_PER_SEC,                                                                       \
        })

typedef struct GrpcCounters {
        uint64_t n_accepted;
        uint64_t n_refused; /* too many connections */
        uint64_t n_calls;
        uint64_t n_violations; /* connections closed because of what the peer sent */
} GrpcCounters;

struct GrpcServer {
        struct event_base *base; /* borrowed; outlives us */
        GrpcHandlers handlers;
        GrpcLimits limits;
        void *userdata; /* borrowed; outlives us */
        int listen_fd;  /* owned; -1 once draining */
        struct event *listen_event;
        struct event *accept_retry_event; /* after EMFILE */
        struct event *tick_event;         /* armed while something can time out */
        struct event *drain_event;        /* deadline of the drain */
        List connections;                 /* H2Connection.link */
        size_t n_connections;
        List orphans; /* GrpcCall.link: the connection is gone, the owner has not ended them */
        size_t n_calls;
        Budget memory;
        bool is_draining, is_drained;
        GrpcCounters counters;
        Bucket log_bucket; /* a peer can cause log lines, but not fill the log */
        uint64_t n_unlogged;
        uint8_t read_buffer[64 * 1024];
};

/* Serves listen_fd: ownership is taken on success; -1: only what is adopted. limits: NULL for the defaults. */
int grpc_server_new(GrpcServer **ret, struct event_base *base, int listen_fd, const GrpcHandlers *handlers,
                    const GrpcLimits *limits, void *userdata);
/* Cancels every call and closes everything. Each owner ends its calls at the latest in on_cancel. */
GrpcServer *grpc_server_free(GrpcServer *server);
DEFINE_CLEANUP(GrpcServer, grpc_server_free)

/* Serves one connected socket; takes fd in any case. */
int grpc_server_adopt(GrpcServer *server, int fd);

/* Accepts nothing more, sends GOAWAY, lets the calls under way end; on_drained follows, at the latest after the
 * absolute deadline, when what is left is cut off. Owners end their streaming calls themselves. */
void grpc_server_drain(GrpcServer *server, uint64_t deadline_usec);

/* ---- for connections ---- */

/* A connection is gone. */
void grpc_server_forget(GrpcServer *server);
void grpc_server_arm_tick(GrpcServer *server);
/* Forwards a callback's result. */
void grpc_server_check(GrpcServer *server, int r);
/* Says why a connection is closed. */
void grpc_server_log(GrpcServer *server, const H2Connection *connection, const char *what);
