/* SPDX-License-Identifier: Apache-2.0 */

/* The request side of a call: headers, one message, end. Whatever is wrong with them ends in a status for this call,
 * the connection goes on. The codes are those of the gRPC project's statuscodes.md and compression.md. */

#include "lib/strings.h"
#include "services/gatewayd/grpc-server.h"
#include "services/gatewayd/grpc-text.h"
#include "services/gatewayd/h2-connection.h"

#include <stdio.h>

typedef struct GrpcHeader {
        const char *name;
        size_t n_name;
        void (*on_value)(GrpcHead *head, const char *value, size_t n);
} GrpcHeader;

static void grpc_head_on_method(GrpcHead *head, const char *value, size_t n)
{
        head->is_post = n == 4 && memcmp(value, "POST", 4) == 0;
}

static void grpc_head_on_path(GrpcHead *head, const char *value, size_t n)
{
        if (n >= sizeof(head->path)) {
                head->is_oversized = true;
                return;
        }
        memcpy(head->path, value, n);
        head->path[n] = '\0';
}

static void grpc_head_on_te(GrpcHead *head, const char *value, size_t n)
{
        head->has_te = n == 8 && memcmp(value, "trailers", 8) == 0;
}

static void grpc_head_on_content_type(GrpcHead *head, const char *value, size_t n)
{
        head->is_repeated |= head->has_type;
        head->has_type = true;
        head->type_is_proto = grpc_content_type_is_proto(value, n);
}

static void grpc_head_on_encoding(GrpcHead *head, const char *value, size_t n)
{
        head->is_repeated |= head->has_encoding;
        head->has_encoding = true;
        /* Only "identity" matters; the rest is for the error text. */
        n = MIN2(n, sizeof(head->encoding) - 1);
        memcpy(head->encoding, value, n);
        head->encoding[n] = '\0';
}

static void grpc_head_on_timeout(GrpcHead *head, const char *value, size_t n)
{
        head->is_repeated |= head->has_timeout;
        head->has_timeout = true;
        head->timeout_is_valid = grpc_timeout_parse(value, n, &head->timeout_usec);
}

#define GRPC_HEADER(name, on_value)                                                                                    \
        {                                                                                                              \
                name, sizeof(name) - 1, on_value                                                                       \
        }
static const GrpcHeader grpc_headers[] = {
        GRPC_HEADER(":method", grpc_head_on_method),
        GRPC_HEADER(":path", grpc_head_on_path),
        GRPC_HEADER("te", grpc_head_on_te),
        GRPC_HEADER("content-type", grpc_head_on_content_type),
        GRPC_HEADER("grpc-encoding", grpc_head_on_encoding),
        GRPC_HEADER("grpc-timeout", grpc_head_on_timeout),
};

void grpc_call_on_header(GrpcCall *call, const char *name, size_t n_name, const char *value, size_t n_value)
{
        if (call->state != GRPC_CALL_RECEIVING || call->method)
                return; /* refused already, or a trailer: a request's trailers mean nothing in gRPC */
        for (size_t i = 0; i < ARRAY_SIZE(grpc_headers); i++)
                if (n_name == grpc_headers[i].n_name && memcmp(name, grpc_headers[i].name, n_name) == 0) {
                        grpc_headers[i].on_value(&call->head, value, n_value);
                        break;
                }
}

void grpc_call_on_headers_end(GrpcCall *call)
{
        GrpcServer *server = call->server;
        const GrpcHead *head = &call->head;

        if (head->is_oversized)
                return grpc_call_refuse(call, GRPC_STATUS_RESOURCE_EXHAUSTED, "the request's headers are too large");
        if (!head->is_post)
                return grpc_call_refuse_http(call, "405", "gRPC requests use POST");
        if (!head->type_is_proto)
                return grpc_call_refuse_http(call, "415", "the content type is not application/grpc");
        if (!head->has_te)
                return grpc_call_refuse(call, GRPC_STATUS_INTERNAL, "the request does not say te: trailers");
        if (head->is_repeated)
                return grpc_call_refuse(call, GRPC_STATUS_INTERNAL, "a header that may come once is repeated");
        if (head->has_timeout && !head->timeout_is_valid)
                return grpc_call_refuse(call, GRPC_STATUS_INTERNAL, "grpc-timeout is malformed");

        call->method = server->handlers.lookup(server->userdata, head->path);
        if (!call->method) {
                _cleanup_free_ char *text = str_printf("unknown method %s", head->path);
                return grpc_call_refuse(call, GRPC_STATUS_UNIMPLEMENTED, text ? text : "unknown method");
        }
        /* Also while we drain: until the client has seen our first GOAWAY it may rightly begin calls; nghttp2 ignores those that come
         * after the final one (RFC 9113, 6.8). */
        if (head->has_timeout)
                grpc_call_set_timeout(call, head->timeout_usec);
}

static void grpc_call_refuse_message(GrpcCall *call, int outcome)
{
        const GrpcLimits *limits = &call->server->limits;
        const GrpcHead *head = &call->head;
        char text[160];

        switch (outcome) {
        case GRPC_MESSAGE_E_COMPRESSED:
                if (!head->has_encoding || str_equal(head->encoding, "identity"))
                        return grpc_call_refuse(call, GRPC_STATUS_INTERNAL,
                                                "the compressed flag is set without a grpc-encoding");
                (void)snprintf(text, sizeof(text), "grpc-encoding %s is not supported, use identity", head->encoding);
                return grpc_call_refuse(call, GRPC_STATUS_UNIMPLEMENTED, text);
        case GRPC_MESSAGE_E_TOO_LARGE:
                (void)snprintf(text, sizeof(text), "the request is larger than %zu bytes", limits->max_message_bytes);
                return grpc_call_refuse(call, GRPC_STATUS_RESOURCE_EXHAUSTED, text);
        case GRPC_MESSAGE_E_BUDGET:
                return grpc_call_refuse(call, GRPC_STATUS_RESOURCE_EXHAUSTED,
                                        "too many large requests and replies are under way, try again");
        case GRPC_MESSAGE_E_EXTRA:
                return grpc_call_refuse(call, GRPC_STATUS_UNIMPLEMENTED, "the request has more than one message");
        default:
                return grpc_call_refuse(call, GRPC_STATUS_INTERNAL, "the message's prefix is malformed");
        }
}

void grpc_call_on_data(GrpcCall *call, const uint8_t *bytes, size_t n)
{
        if (call->state != GRPC_CALL_RECEIVING)
                return;
        int r = grpc_message_feed(&call->request, bytes, n, call->server->limits.max_message_bytes,
                                  &call->connection->memory);
        if (r)
                grpc_call_refuse_message(call, r);
}

void grpc_call_on_request_end(GrpcCall *call)
{
        if (call->state != GRPC_CALL_RECEIVING)
                return;
        if (call->request.n_prefix == 0)
                return grpc_call_refuse(call, GRPC_STATUS_UNIMPLEMENTED, "the request has no message");
        if (!grpc_message_is_complete(&call->request))
                return grpc_call_refuse(call, GRPC_STATUS_INTERNAL, "the request ends within its message");
        grpc_call_deliver(call);
}
