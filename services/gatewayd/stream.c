/* SPDX-License-Identifier: Apache-2.0 */

/* The Stream* calls: the answer of the list call of the same objects, in pieces. Requests and answers of the two agree on the wire (a
 * filter is field 1; the objects are all that is in an answer, as field 1), so any list can be streamed, and an answer is cut between two
 * objects without being decoded. */

#include "lib/error.h"
#include "services/gatewayd/chunk.h"
#include "services/gatewayd/gatewayd.h"

typedef struct Stream {
        Pending pending; /* first */
        GrpcCall *call;
        uint8_t *bytes; /* owned */
        size_t n, at;
        BudgetCharge charge;
} Stream;

static GrpcCall *stream_free(Stream *stream)
{
        GrpcCall *call = stream->call;
        call->userdata = NULL;
        budget_release(&stream->charge);
        free(stream->bytes);
        free(stream);
        return call;
}

static void stream_on_cancel(Pending *pending)
{
        grpc_call_fail(stream_free(container_of(pending, Stream, pending)), GRPC_STATUS_CANCELLED, "nobody reads any more");
}

static int stream_pump(Stream *stream)
{
        while (stream->at < stream->n) {
                size_t end = chunk_end(stream->bytes, stream->n, stream->at), n = end - stream->at;
                if (end == 0) {
                        grpc_call_fail(stream_free(stream), GRPC_STATUS_INTERNAL, "the list that was to be streamed is not a list of objects");
                        return 0;
                }
                void *chunk = malloc(MAX2(n, (size_t)1));
                if (!chunk)
                        return error_origin(-ENOMEM);
                memcpy(chunk, stream->bytes + stream->at, n);
                int r = grpc_call_send(stream->call, chunk, n);
                if (r != 0)
                        free(chunk);
                if (r == GRPC_CALL_E_FULL || r == GRPC_CALL_E_CANCELLED)
                        return 0; /* it goes on when there is room; or its end is on the way */
                if (r != 0) {
                        grpc_call_fail(stream_free(stream), GRPC_STATUS_RESOURCE_EXHAUSTED, "an object is larger than a message may be");
                        return 0;
                }
                stream->at = end;
        }
        grpc_call_finish(stream_free(stream));
        return 0;
}

static int stream_on_writable(Pending *pending)
{
        return fold(stream_pump(container_of(pending, Stream, pending)));
}

int stream_bytes(GrpcCall *call, const void *bytes, size_t n)
{
        Stream *stream = calloc(1, sizeof(*stream));
        if (!stream)
                return error_origin(-ENOMEM);
        *stream = (Stream){.pending = {.cancel = stream_on_cancel, .writable = stream_on_writable}, .call = call, .n = n};
        call->userdata = &stream->pending;
        if (!budget_charge(grpc_call_budget(call), &stream->charge, n)) {
                grpc_call_fail(stream_free(stream), GRPC_STATUS_RESOURCE_EXHAUSTED, "too many large requests and replies are under way, try again");
                return 0;
        }
        stream->bytes = malloc(MAX2(n, (size_t)1));
        if (!stream->bytes)
                return error_origin(-ENOMEM);
        if (n > 0)
                memcpy(stream->bytes, bytes, n);
        return fold(stream_pump(stream));
}

static int stream_on_list(Gatewayd *gatewayd, GrpcCall *call, Frame *frame)
{
        return fold(stream_bytes(call, frame->wire.payload, frame->wire.header.length));
}

int stream_list(Gatewayd *gatewayd, GrpcCall *call)
{
        const Method *method = container_of(call->method, Method, grpc);
        const GrpcMethod *grpc = method_lookup(gatewayd, method->list);
        const Method *list = grpc ? container_of(grpc, Method, grpc) : NULL;
        if (list && list->row)
                return fold(forward_call_then(gatewayd, list, call, stream_on_list));
        grpc_call_fail(call, GRPC_STATUS_UNIMPLEMENTED, "this method is known, but what it lists is not supported by this version of bulkhead");
        return 0;
}
