/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A blocking gRPC client on a unix socket: one connection, one call at a time. */

#include "lib/base.h"
#include "lib/clock.h"
#include "lib/grpc-status.h"

typedef struct GrpcClient GrpcClient;

/* Connects. UNREACHABLE: nothing listens there, or we may not; errno says why. */
enum { GRPC_CLIENT_E_UNREACHABLE = 1 };
int grpc_client_new(GrpcClient **ret, const char *socket_path);
GrpcClient *grpc_client_free(GrpcClient *client);
DEFINE_CLEANUP(GrpcClient, grpc_client_free)

/* How a call ended. A connection that breaks ends it with UNAVAILABLE, what is no gRPC with UNKNOWN or INTERNAL. */
typedef struct GrpcReply {
        GrpcStatus status;
        char *text;     /* owned; NULL: none. As the server wrote it: escape it before it goes to a terminal */
        uint8_t *bytes; /* owned; the message of a unary call that ended with OK, else NULL */
        size_t n_bytes;
} GrpcReply;
#define GRPC_REPLY_INIT ((GrpcReply){0})
void grpc_reply_done(GrpcReply *reply);

/* A unary call. timeout_usec counts from now; USEC_INFINITY: none. 0: the call ended, ret says how. */
int grpc_client_call(GrpcClient *client, const char *path, const void *request, size_t n, uint64_t timeout_usec,
                     GrpcReply *ret);

/* A server-streaming call: open, then next until END, then end. The server is held up while nobody asks for the next.
 */
enum { GRPC_CLIENT_E_END = 1 };
int grpc_client_open(GrpcClient *client, const char *path, const void *request, size_t n, uint64_t timeout_usec);
/* The caller owns *ret. */
int grpc_client_next(GrpcClient *client, uint8_t **ret, size_t *ret_n);
/* Says how the call ended; before END it cancels the call. */
int grpc_client_end(GrpcClient *client, GrpcReply *ret);
