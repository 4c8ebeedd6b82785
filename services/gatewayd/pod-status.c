/* SPDX-License-Identifier: Apache-2.0 */

/* PodSandboxStatus: the pod is sandboxd's, its containers' statuses are containerd's. With events on, kubelets take the containers from
 * here if a time stamp says that they are there, and ask for each otherwise. So a containerd that is away or hangs is not waited for: the
 * pod is answered without its containers, and for a moment it is not asked again. */

#include "ipc/cri/api.pb-c.h"
#include "ipc/edges/gatewayd-containerd.rows.h"
#include "lib/error.h"
#include "services/gatewayd/gatewayd.h"

#define POD_STATUS_CONTAINERS_USEC (USEC_PER_SEC / 2)
#define POD_STATUS_PAUSE_USEC (5 * USEC_PER_SEC)

typedef struct PodStatus {
        Pending pending; /* first */
        Gatewayd *gatewayd;
        GrpcCall *call;
        Frame *frame; /* owned; sandboxd's answer */
        Channel *containerd;
        uint32_t request_id;
} PodStatus;

static GrpcCall *pod_status_free(PodStatus *status)
{
        GrpcCall *call = status->call;
        call->userdata = NULL;
        if (status->request_id)
                channel_cancel(status->containerd, status->request_id);
        (void)frame_free(status->frame);
        free(status);
        return call;
}

static void pod_status_on_cancel(Pending *pending)
{
        grpc_call_fail(pod_status_free(container_of(pending, PodStatus, pending)), GRPC_STATUS_CANCELLED,
                       "nobody waits for the answer any more");
}

static int pod_status_on_containers(void *userdata, const Answer *answer)
{
        PodStatus *status = userdata;
        status->request_id = 0;
        Runtime__V1__PodSandboxStatusResponse response = *container_of(status->frame->message, Runtime__V1__PodSandboxStatusResponse, base);
        if (answer->outcome == 0) {
                const Bulkhead__GatewaydContainerd__PodStatusesResponse *containers =
                        container_of(answer->frame->message, Bulkhead__GatewaydContainerd__PodStatusesResponse, base);
                response.n_containers_statuses = containers->n_statuses;
                response.containers_statuses = containers->statuses;
        } else {
                response.timestamp = 0;
        }
        if (answer->outcome == CHANNEL_E_TIMEOUT)
                status->gatewayd->containers_pause_usec = clock_monotonic_usec() + POD_STATUS_PAUSE_USEC;
        status->call->userdata = NULL;
        int r = node_reply(status->call, &response.base);
        (void)frame_free(status->frame);
        free(status);
        return r < 0 ? fold(r) : 0;
}

int pod_status_on_answer(Gatewayd *gatewayd, GrpcCall *call, Frame *frame)
{
        const Runtime__V1__PodSandboxStatusResponse *response = container_of(frame->message, Runtime__V1__PodSandboxStatusResponse, base);
        Channel *containerd = service_channel(gatewayd->service, EDGE_GATEWAYD_CONTAINERD);
        if (!channel_is_connected(containerd) || clock_monotonic_usec() < gatewayd->containers_pause_usec) {
                Runtime__V1__PodSandboxStatusResponse alone = *response;
                alone.timestamp = 0;
                return fold(node_reply(call, &alone.base));
        }
        PodStatus *status = calloc(1, sizeof(*status));
        if (!status)
                return error_origin(-ENOMEM);
        *status = (PodStatus){.pending = {.cancel = pod_status_on_cancel}, .gatewayd = gatewayd, .call = call, .frame = frame_keep(frame),
                              .containerd = containerd};
        call->userdata = &status->pending;
        Bulkhead__GatewaydContainerd__PodStatusesRequest request = BULKHEAD__GATEWAYD_CONTAINERD__POD_STATUSES_REQUEST__INIT;
        request.pod_id = response->status ? response->status->id : (char *)"";
        return fold(channel_call(status->containerd, ROW_GATEWAYD_CONTAINERD_POD_STATUSES, &request.base, NULL, 0,
                                 clock_monotonic_usec() + POD_STATUS_CONTAINERS_USEC, pod_status_on_containers, status,
                                 &status->request_id));
}
