/* SPDX-License-Identifier: Apache-2.0 */

/* PodSandboxStatus: the pod is sandboxd's, its containers' statuses are containerd's. With events on, kubelets take the containers from
 * here if a time stamp says that they are there, and ask for each otherwise. So a containerd that is away or hangs is not waited for: the
 * pod is answered without its containers, and for a moment it is not asked again.
 *
 * Both are asked at the same time. The time stamp is then that of the question at the latest, because a container may have changed between
 * containerd's answer and sandboxd's. Only the beginning of an id has to be made a whole one by sandboxd first. */

#include "ipc/cri/api.pb-c.h"
#include "ipc/edges/gatewayd-containerd.rows.h"
#include "ipc/edges/gatewayd-sandboxd.rows.h"
#include "lib/error.h"
#include "services/gatewayd/gatewayd.h"

#define POD_STATUS_CONTAINERS_USEC (USEC_PER_SEC / 2)
#define POD_STATUS_PAUSE_USEC (5 * USEC_PER_SEC)
#define POD_STATUS_TRIES 4

typedef struct PodStatus {
        Pending pending; /* first */
        Gatewayd *gatewayd;
        GrpcCall *call;
        Channel *sandboxd, *containerd;
        uint32_t pod_request, containers_request; /* 0: nothing under way */
        unsigned tries;
        uint8_t *packed; /* owned; the request to sandboxd */
        size_t n_packed;
        int64_t asked_nsec; /* CLOCK_REALTIME; what containerd says is no older */
        Frame *pod, *containers; /* owned; the answers */
} PodStatus;

static GrpcCall *pod_status_free(PodStatus *status)
{
        GrpcCall *call = status->call;
        call->userdata = NULL;
        if (status->pod_request)
                channel_cancel(status->sandboxd, status->pod_request);
        if (status->containers_request)
                channel_cancel(status->containerd, status->containers_request);
        (void)frame_free(status->pod);
        (void)frame_free(status->containers);
        free(status->packed);
        free(status);
        return call;
}

static void pod_status_on_cancel(Pending *pending)
{
        grpc_call_fail(pod_status_free(container_of(pending, PodStatus, pending)), GRPC_STATUS_CANCELLED,
                       "nobody waits for the answer any more");
}

static int pod_status_new(Gatewayd *gatewayd, GrpcCall *call, PodStatus **ret)
{
        PodStatus *status = calloc(1, sizeof(*status));
        if (!status)
                return error_origin(-ENOMEM);
        *status = (PodStatus){
                .pending = {.cancel = pod_status_on_cancel},
                .gatewayd = gatewayd,
                .call = call,
                .sandboxd = service_channel(gatewayd->service, EDGE_GATEWAYD_SANDBOXD),
                .containerd = service_channel(gatewayd->service, EDGE_GATEWAYD_CONTAINERD),
                .asked_nsec = INT64_MAX,
        };
        call->userdata = &status->pending;
        *ret = status;
        return 0;
}

static bool pod_status_may_ask(Gatewayd *gatewayd)
{
        return channel_is_connected(service_channel(gatewayd->service, EDGE_GATEWAYD_CONTAINERD)) &&
               clock_monotonic_usec() >= gatewayd->containers_pause_usec;
}

/* When both halves are there, or the second one will not come. */
static int pod_status_reply(PodStatus *status)
{
        if (!status->pod || status->containers_request)
                return 0;
        Runtime__V1__PodSandboxStatusResponse response = *container_of(status->pod->message, Runtime__V1__PodSandboxStatusResponse, base);
        if (status->containers) {
                const Bulkhead__GatewaydContainerd__PodStatusesResponse *containers =
                        container_of(status->containers->message, Bulkhead__GatewaydContainerd__PodStatusesResponse, base);
                response.n_containers_statuses = containers->n_statuses;
                response.containers_statuses = containers->statuses;
                response.timestamp = MIN2(response.timestamp, status->asked_nsec);
        } else {
                response.timestamp = 0;
        }
        int r = node_reply(status->call, &response.base);
        (void)pod_status_free(status);
        return r < 0 ? fold(r) : 0;
}

static int pod_status_on_containers(void *userdata, const Answer *answer)
{
        PodStatus *status = userdata;
        status->containers_request = 0;
        if (answer->outcome == 0)
                status->containers = frame_keep(answer->frame);
        if (answer->outcome == CHANNEL_E_TIMEOUT)
                status->gatewayd->containers_pause_usec = clock_monotonic_usec() + POD_STATUS_PAUSE_USEC;
        return fold(pod_status_reply(status));
}

static int pod_status_ask_containers(PodStatus *status, const char *pod_id)
{
        Bulkhead__GatewaydContainerd__PodStatusesRequest request = BULKHEAD__GATEWAYD_CONTAINERD__POD_STATUSES_REQUEST__INIT;
        request.pod_id = (char *)(uintptr_t)pod_id;
        return fold(channel_call(status->containerd, ROW_GATEWAYD_CONTAINERD_POD_STATUSES, &request.base, NULL, 0,
                                 clock_monotonic_usec() + POD_STATUS_CONTAINERS_USEC, pod_status_on_containers, status,
                                 &status->containers_request));
}

static int pod_status_ask_pod(PodStatus *status);

static int pod_status_on_pod(void *userdata, const Answer *answer)
{
        PodStatus *status = userdata;
        status->pod_request = 0;
        if (answer->outcome == CHANNEL_E_LOST && ++status->tries < POD_STATUS_TRIES)
                return fold(pod_status_ask_pod(status)); /* it is being restarted */
        if (answer->outcome != 0) {
                grpc_call_fail(pod_status_free(status), (GrpcStatus)(answer->outcome == CHANNEL_E_LOST ? GRPC_STATUS_UNAVAILABLE : answer->code),
                               answer->text);
                return 0;
        }
        status->pod = frame_keep(answer->frame);
        return fold(pod_status_reply(status));
}

static int pod_status_ask_pod(PodStatus *status)
{
        const Method *method = container_of(status->call->method, Method, grpc);
        return fold(channel_call_packed(status->sandboxd, method->row, status->packed, status->n_packed, forward_deadline(method, status->call),
                                        pod_status_on_pod, status, &status->pod_request));
}

/* The sequel of forward_call_then(): the pod is known, its containers are not. */
static int pod_status_on_answer(Gatewayd *gatewayd, GrpcCall *call, Frame *frame)
{
        const Runtime__V1__PodSandboxStatusResponse *response = container_of(frame->message, Runtime__V1__PodSandboxStatusResponse, base);
        if (!pod_status_may_ask(gatewayd)) {
                Runtime__V1__PodSandboxStatusResponse alone = *response;
                alone.timestamp = 0;
                return fold(node_reply(call, &alone.base));
        }
        PodStatus *status;
        int r = pod_status_new(gatewayd, call, &status);
        if (r < 0)
                return fold(r);
        status->pod = frame_keep(frame);
        return fold(pod_status_ask_containers(status, response->status ? response->status->id : ""));
}

int pod_status_get(Gatewayd *gatewayd, GrpcCall *call)
{
        const Method *method = container_of(call->method, Method, grpc);
        DecodeArena arena;
        ProtobufCMessage *message = NULL;
        decode_arena_init(&arena, decode_budget(call->request.n_bytes));
        int r = decode_message(&arena, method->request, call->request.bytes, call->request.n_bytes, &message);
        const char *id = r == 0 ? container_of(message, Runtime__V1__PodSandboxStatusRequest, base)->pod_sandbox_id : "";
        if (!id_is_valid(id) || !pod_status_may_ask(gatewayd)) {
                decode_arena_done(&arena);
                return fold(forward_call_then(gatewayd, method, call, pod_status_on_answer));
        }
        PodStatus *status = NULL;
        r = pod_status_new(gatewayd, call, &status);
        if (r == 0)
                r = decode_pack(message, &status->packed, &status->n_packed);
        if (r == 0) {
                grpc_call_drop_request(call);
                status->asked_nsec = clock_realtime_nsec();
                r = pod_status_ask_pod(status);
        }
        if (r == 0)
                r = pod_status_ask_containers(status, id);
        decode_arena_done(&arena);
        return r < 0 ? fold(r) : 0;
}
