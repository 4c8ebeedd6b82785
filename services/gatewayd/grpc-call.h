/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One call: its stream on one side, the handler that answers it (its owner) on the other. The call lives until the
 * stream is closed and the owner has ended it, in either order. */

#include "lib/clock.h"
#include "lib/grpc-status.h"
#include "lib/list.h"
#include "services/gatewayd/grpc-message.h"
#include <sys/types.h>

struct event;
typedef struct GrpcCall GrpcCall;
typedef struct GrpcServer GrpcServer;
typedef struct H2Connection H2Connection;

/* Embed it in a row of the method table and get the row back with container_of. */
typedef struct GrpcMethod {
        const char *path;  /* "/package.Service/Method" */
        bool is_streaming; /* the reply is a stream of messages */
} GrpcMethod;

typedef enum GrpcCancel {
        GRPC_CANCEL_CLIENT,     /* RST_STREAM */
        GRPC_CANCEL_DISCONNECT, /* the connection is gone */
        GRPC_CANCEL_DEADLINE,   /* grpc-timeout passed; the client has been told */
        GRPC_CANCEL_STALL,      /* the client does not read its reply */
} GrpcCancel;

typedef enum GrpcCallState {
        GRPC_CALL_RECEIVING, /* headers or body */
        GRPC_CALL_WAITING,   /* the owner has it; nothing is sent */
        GRPC_CALL_STREAMING, /* messages of a stream are sent */
        GRPC_CALL_FINISHING, /* everything that will be sent is known */
        GRPC_CALL_CLOSED,
} GrpcCallState;

/* What the request's headers said. */
typedef struct GrpcHead {
        char path[256];
        bool is_post, has_te, has_type, type_is_proto, has_encoding, has_timeout, timeout_is_valid;
        bool is_oversized; /* the header list, or the path */
        bool is_repeated;  /* a header that decides something came twice */
        char encoding[32];
        uint64_t timeout_usec;
} GrpcHead;

struct GrpcCall {
        /* For the owner, to read. */
        const GrpcMethod *method; /* borrowed from the table */
        GrpcMessage request;      /* bytes and length are valid until the call is ended, dropped or cancelled */
        uint64_t deadline_usec;   /* CLOCK_MONOTONIC; USEC_INFINITY without a deadline */
        pid_t peer_pid;
        uid_t peer_uid;
        gid_t peer_gid;
        bool is_cancelled; /* what the owner still sends is thrown away */
        /* For the owner, to write. */
        void *userdata;

        /* The rest is the server's. */
        List link;                /* H2Connection.calls, or GrpcServer.orphans */
        GrpcServer *server;       /* borrowed; outlives us */
        H2Connection *connection; /* borrowed; NULL once the connection is gone */
        int32_t stream_id;
        GrpcCallState state;
        bool is_owned; /* handed over, and not ended yet */
        bool is_in_callback;
        bool is_headers_sent;
        bool is_deferred; /* nghttp2 waits for us to resume the body */
        bool wants_writable;
        GrpcHead head;
        List queue; /* GrpcChunk.link */
        size_t queued_bytes;
        uint64_t progress_usec; /* of the phase: receiving as a whole, the last 64 KiB or the start of sending */
        size_t progress_bytes;
        struct event *deadline;  /* owned; NULL without a deadline */
        const char *http_status; /* static; "200" but for requests that are no gRPC */
        GrpcStatus status;
        char *status_text;    /* owned, plain; NULL: none */
        char *status_details; /* owned, base64; NULL: none */
};

/* ---- for the owner: each call is ended exactly once, by reply, fail or finish, also after on_cancel ---- */

/* Answers a unary call. Takes bytes (from malloc; NULL when n is 0). */
void grpc_call_reply(GrpcCall *call, void *bytes, size_t n);
/* Ends any call with a status other than OK. text is plain UTF-8; messages already queued are delivered first. */
void grpc_call_fail(GrpcCall *call, GrpcStatus status, const char *text);
/* The same with a serialised google.rpc.Status for grpc-status-details-bin, at most 3 KiB (else left out). */
void grpc_call_fail_details(GrpcCall *call, GrpcStatus status, const char *text, const void *details, size_t n);

/* Queues one message of a stream. Takes bytes only when it returns 0. FULL: on_writable will say when there is room;
 * CANCELLED: nobody listens, end the call; TOO_LARGE: the message can never be sent. */
enum { GRPC_CALL_E_FULL = 1, GRPC_CALL_E_CANCELLED, GRPC_CALL_E_TOO_LARGE };
int grpc_call_send(GrpcCall *call, void *bytes, size_t n);
/* Sends the headers of a stream before its first message: the client knows that it was heard. */
void grpc_call_begin(GrpcCall *call);
/* What the client can be charged for; of a call that is not cancelled. A charge must be released when it is. */
Budget *grpc_call_budget(const GrpcCall *call);
/* Ends a stream with OK. */
void grpc_call_finish(GrpcCall *call);

/* Frees the request's bytes early, once they have been forwarded. */
void grpc_call_drop_request(GrpcCall *call);

/* ---- for the session ---- */

int grpc_call_new(GrpcCall **ret, H2Connection *connection, int32_t stream_id);
/* The stream is closed. May free the call. */
void grpc_call_close(GrpcCall *call, GrpcCancel why);
/* The connection is gone: closes the call, and keeps it elsewhere if its owner has not ended it. */
void grpc_call_orphan(GrpcCall *call);
/* Data source of the reply's body: bytes written to to, or an NGHTTP2_ERR_. */
ssize_t grpc_call_read(GrpcCall *call, uint8_t *to, size_t n, uint32_t *flags);
/* Ends the stream from our side while the owner may hold the call. */
void grpc_call_refuse(GrpcCall *call, GrpcStatus status, const char *text);
void grpc_call_refuse_http(GrpcCall *call, const char *http_status, const char *text);
/* Hands a complete request to its owner. */
void grpc_call_deliver(GrpcCall *call);
/* Tells the owner of a full queue that there is room. */
void grpc_call_check_writable(GrpcCall *call);
/* Ends what makes no progress; true if the call needs to be looked at again. */
bool grpc_call_tick(GrpcCall *call, uint64_t now_usec);

/* The deadline counts from now. */
void grpc_call_set_timeout(GrpcCall *call, uint64_t timeout_usec);

/* ---- grpc-request.c: the request side ---- */

void grpc_call_on_header(GrpcCall *call, const char *name, size_t n_name, const char *value, size_t n_value);
void grpc_call_on_headers_end(GrpcCall *call);
void grpc_call_on_data(GrpcCall *call, const uint8_t *bytes, size_t n);
void grpc_call_on_request_end(GrpcCall *call);
