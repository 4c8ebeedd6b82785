/* SPDX-License-Identifier: Apache-2.0 */

/* ListPodSandboxMetrics and its streamed twin. A node's whole list can have more elements than one message on an edge may, so sandboxd tells the pods in
 * pages; a list of messages is the lists of its parts, one behind the other. */

#include "ipc/cri/api.pb-c.h" /* before stdio.h: fields of CRI messages are named stdout and stderr */
#include "ipc/decode.h"
#include "ipc/edges/gatewayd-sandboxd.rows.h"
#include "lib/error.h"
#include "services/gatewayd/gatewayd.h"

#define METRICS_TIMEOUT (30 * USEC_PER_SEC)
#define METRICS_BYTES_MAX (16 * 1024 * 1024) /* what a gRPC client takes from us in one message */

typedef struct Metrics {
        Pending pending; /* first */
        Gatewayd *gatewayd;
        GrpcCall *call;
        uint32_t request; /* 0: nothing under way */
        uint64_t deadline_usec;
        bool is_stream;
        uint8_t *bytes; /* owned; the pages so far */
        size_t n_bytes;
} Metrics;

static Channel *metrics_channel(const Metrics *metrics)
{
        return service_channel(metrics->gatewayd->service, EDGE_GATEWAYD_SANDBOXD);
}

static Metrics *metrics_free(Metrics *metrics)
{
        if (metrics->request)
                channel_cancel(metrics_channel(metrics), metrics->request);
        free(metrics->bytes);
        free(metrics);
        return NULL;
}

static void metrics_on_cancel(Pending *pending)
{
        Metrics *metrics = container_of(pending, Metrics, pending);
        GrpcCall *call = metrics->call;
        call->userdata = NULL;
        (void)metrics_free(metrics);
        grpc_call_fail(call, GRPC_STATUS_CANCELLED, "nobody waits for the answer any more");
}

static int metrics_fail(Metrics *metrics, uint32_t code, const char *text)
{
        GrpcCall *call = metrics->call;
        call->userdata = NULL;
        grpc_call_fail(call, (GrpcStatus)code, text);
        (void)metrics_free(metrics);
        return 0;
}

static int metrics_ask(Metrics *metrics, const char *after);

static int metrics_append(Metrics *metrics, const Bulkhead__GatewaydSandboxd__PodMetricsResponse *page)
{
        Runtime__V1__ListPodSandboxMetricsResponse part = RUNTIME__V1__LIST_POD_SANDBOX_METRICS_RESPONSE__INIT;
        _cleanup_free_ uint8_t *packed = NULL;
        size_t n = 0;

        part.n_pod_metrics = page->n_pod_metrics;
        part.pod_metrics = page->pod_metrics;
        int r = decode_pack(&part.base, &packed, &n);
        if (r < 0)
                return fold(r);
        uint8_t *grown = realloc(metrics->bytes, metrics->n_bytes + n + 1);
        if (!grown)
                return error_origin(-ENOMEM);
        if (n > 0)
                memcpy(grown + metrics->n_bytes, packed, n);
        metrics->bytes = grown;
        metrics->n_bytes += n;
        return 0;
}

static int metrics_on_page(void *userdata, const Answer *answer)
{
        Metrics *metrics = userdata;

        metrics->request = 0;
        if (answer->outcome != 0)
                return fold(metrics_fail(metrics, answer->outcome == CHANNEL_E_LOST ? GRPC_STATUS_UNAVAILABLE : answer->code, answer->text));
        const Bulkhead__GatewaydSandboxd__PodMetricsResponse *page =
                container_of(answer->frame->message, Bulkhead__GatewaydSandboxd__PodMetricsResponse, base);
        int r = metrics_append(metrics, page);
        if (r < 0)
                return fold(r);
        if (metrics->n_bytes > METRICS_BYTES_MAX)
                return fold(metrics_fail(metrics, GRPC_STATUS_RESOURCE_EXHAUSTED,
                                         "ListPodSandboxMetrics: the metrics of this node are more than 16 MiB"));
        if (*page->next)
                return fold(metrics_ask(metrics, page->next));
        GrpcCall *call = metrics->call;
        call->userdata = NULL;
        if (metrics->is_stream)
                r = stream_bytes(call, metrics->bytes, metrics->n_bytes);
        else
                grpc_call_reply(call, TAKE_PTR(metrics->bytes), metrics->n_bytes);
        (void)metrics_free(metrics);
        return r < 0 ? fold(r) : 0;
}

static int metrics_ask(Metrics *metrics, const char *after)
{
        Bulkhead__GatewaydSandboxd__PodMetricsRequest request = BULKHEAD__GATEWAYD_SANDBOXD__POD_METRICS_REQUEST__INIT;
        request.after = (char *)after;
        return fold(channel_call(metrics_channel(metrics), ROW_GATEWAYD_SANDBOXD_POD_METRICS, &request.base, NULL, 0, metrics->deadline_usec,
                                 metrics_on_page, metrics, &metrics->request));
}

static int metrics_begin(Gatewayd *gatewayd, GrpcCall *call, bool is_stream)
{
        DecodeArena arena;
        ProtobufCMessage *message = NULL;

        decode_arena_init(&arena, DECODE_BUDGET_FLOOR);
        int r = decode_message(&arena, &runtime__v1__list_pod_sandbox_metrics_request__descriptor, call->request.bytes, call->request.n_bytes,
                               &message);
        decode_arena_done(&arena);
        if (r > 0) {
                grpc_call_fail(call, GRPC_STATUS_INVALID_ARGUMENT, "ListPodSandboxMetrics: the request does not decode");
                return 0;
        }
        Metrics *metrics = r < 0 ? NULL : calloc(1, sizeof(*metrics));
        if (!metrics)
                return r < 0 ? fold(r) : error_origin(-ENOMEM);
        *metrics = (Metrics){.pending = {.cancel = metrics_on_cancel}, .gatewayd = gatewayd, .call = call, .is_stream = is_stream,
                             .deadline_usec = call->deadline_usec != USEC_INFINITY ? call->deadline_usec
                                                                                  : clock_monotonic_usec() + METRICS_TIMEOUT};
        call->userdata = &metrics->pending;
        return fold(metrics_ask(metrics, ""));
}

int metrics_list(Gatewayd *gatewayd, GrpcCall *call)
{
        return fold(metrics_begin(gatewayd, call, false));
}

int metrics_stream(Gatewayd *gatewayd, GrpcCall *call)
{
        return fold(metrics_begin(gatewayd, call, true));
}
