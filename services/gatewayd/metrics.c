/* SPDX-License-Identifier: Apache-2.0 */

/* ListPodSandboxMetrics and its streamed twin. A node's whole list can have more elements than one message on an edge may, and so can one
 * pod's, so sandboxd tells them in pages. In the wire format a message is its parts, one behind the other, if only lists are in more than
 * one of them; so a pod's parts are collected and written as one pod when the next one begins. */

#include "ipc/cri/api.pb-c.h" /* before stdio.h: fields of CRI messages are named stdout and stderr */
#include "ipc/decode.h"
#include "ipc/edges/gatewayd-sandboxd.rows.h"
#include "lib/error.h"
#include "lib/strings.h"
#include "services/gatewayd/gatewayd.h"

#define METRICS_TIMEOUT (30 * USEC_PER_SEC)
#define METRICS_BYTES_MAX (16 * 1024 * 1024) /* what a gRPC client takes from us in one message */

#define METRICS_POD_KEY 0x0a /* field 1 of ListPodSandboxMetricsResponse, with a length: pod_metrics */

typedef struct MetricsBytes {
        uint8_t *bytes; /* owned */
        size_t n;
} MetricsBytes;

typedef struct Metrics {
        Pending pending; /* first */
        Gatewayd *gatewayd;
        GrpcCall *call;
        uint32_t request; /* 0: nothing under way */
        uint64_t deadline_usec;
        bool is_stream;
        MetricsBytes list; /* whole pods so far */
        MetricsBytes pod;  /* of the last pod; it may go on */
        char pod_id[ID_LENGTH + 1]; /* whose */
        bool has_pod;
} Metrics;

static Channel *metrics_channel(const Metrics *metrics)
{
        return service_channel(metrics->gatewayd->service, EDGE_GATEWAYD_SANDBOXD);
}

static Metrics *metrics_free(Metrics *metrics)
{
        if (metrics->request)
                channel_cancel(metrics_channel(metrics), metrics->request);
        free(metrics->list.bytes);
        free(metrics->pod.bytes);
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

static int metrics_ask(Metrics *metrics, const char *after, const char *after_container);

static int metrics_append(MetricsBytes *to, const void *bytes, size_t n)
{
        uint8_t *grown = realloc(to->bytes, to->n + n + 1);
        if (!grown)
                return error_origin(-ENOMEM);
        if (n > 0)
                memcpy(grown + to->n, bytes, n);
        to->bytes = grown;
        to->n += n;
        return 0;
}

/* The pod that was collected is whole. */
static int metrics_end_pod(Metrics *metrics)
{
        uint8_t head[1 + 10] = {METRICS_POD_KEY};
        size_t n_head = 1, rest = metrics->pod.n;

        if (!metrics->has_pod)
                return 0;
        for (; rest >= 0x80; rest >>= 7)
                head[n_head++] = (uint8_t)(rest | 0x80);
        head[n_head++] = (uint8_t)rest;
        int r = metrics_append(&metrics->list, head, n_head);
        if (r == 0)
                r = metrics_append(&metrics->list, metrics->pod.bytes, metrics->pod.n);
        metrics->pod.n = 0;
        metrics->has_pod = false;
        return r < 0 ? fold(r) : 0;
}

static int metrics_take_pod(Metrics *metrics, const Runtime__V1__PodSandboxMetrics *pod)
{
        Runtime__V1__PodSandboxMetrics part = *pod;
        _cleanup_free_ uint8_t *packed = NULL;
        size_t n = 0;
        int r = 0;

        if (metrics->has_pod && str_equal(metrics->pod_id, pod->pod_sandbox_id))
                part.pod_sandbox_id = (char *)protobuf_c_empty_string; /* it is there */
        else
                r = metrics_end_pod(metrics);
        if (r == 0)
                r = decode_pack(&part.base, &packed, &n);
        if (r == 0)
                r = metrics_append(&metrics->pod, packed, n);
        if (r < 0)
                return fold(r);
        metrics->has_pod = true;
        if (!str_copy(metrics->pod_id, sizeof(metrics->pod_id), pod->pod_sandbox_id))
                metrics->pod_id[0] = '\0'; /* no id of ours: nothing goes on with it */
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
        int r = 0;
        for (size_t i = 0; r == 0 && i < page->n_pod_metrics; i++)
                r = metrics_take_pod(metrics, page->pod_metrics[i]);
        if (r == 0 && !*page->next)
                r = metrics_end_pod(metrics);
        if (r < 0)
                return fold(r);
        if (metrics->list.n + metrics->pod.n > METRICS_BYTES_MAX)
                return fold(metrics_fail(metrics, GRPC_STATUS_RESOURCE_EXHAUSTED,
                                         "ListPodSandboxMetrics: the metrics of this node are more than 16 MiB"));
        if (*page->next)
                return fold(metrics_ask(metrics, page->next, page->next_container));
        GrpcCall *call = metrics->call;
        call->userdata = NULL;
        if (metrics->is_stream)
                r = stream_bytes(call, metrics->list.bytes, metrics->list.n);
        else
                grpc_call_reply(call, TAKE_PTR(metrics->list.bytes), metrics->list.n);
        (void)metrics_free(metrics);
        return r < 0 ? fold(r) : 0;
}

static int metrics_ask(Metrics *metrics, const char *after, const char *after_container)
{
        Bulkhead__GatewaydSandboxd__PodMetricsRequest request = BULKHEAD__GATEWAYD_SANDBOXD__POD_METRICS_REQUEST__INIT;
        request.after = (char *)after;
        request.after_container = (char *)after_container;
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
        return fold(metrics_ask(metrics, "", ""));
}

int metrics_list(Gatewayd *gatewayd, GrpcCall *call)
{
        return fold(metrics_begin(gatewayd, call, false));
}

int metrics_stream(Gatewayd *gatewayd, GrpcCall *call)
{
        return fold(metrics_begin(gatewayd, call, true));
}
