/* SPDX-License-Identifier: Apache-2.0 */
#include "services/sandboxd/handlers.h"

#include "ipc/edges/gatewayd-sandboxd.pb-c.h"
#include "lib/error.h"
#include "lib/log.h"

/* A second request for a key that exists: the same configuration joins or is done already, another one waits for the older
 * attempt to be undone, or is told what is in its way. */
static int handlers_run_again(Pod *pod, const Pod *asked, const Bulkhead__GatewaydSandboxd__RunPodSandboxCall *call, const Permit *permit,
                              ReplyTo to)
{
        char title[256];
        bool same = memcmp(pod->fingerprint, asked->fingerprint, FINGERPRINT_BYTES) == 0;
        if (same && pod->state == POD_STATE_CREATING && !pod->successor)
                return fold(reply_list_add(&pod->runs, to));
        if (same && pod->state == POD_STATE_READY) {
                Runtime__V1__RunPodSandboxResponse response = RUNTIME__V1__RUN_POD_SANDBOX_RESPONSE__INIT;
                response.pod_sandbox_id = pod->id;
                return fold(reply_send(to, &response.base, NULL, 0));
        }
        if (pod_is_listed(pod))
                return fold(reply_fail(to, GRPC_STATUS_ALREADY_EXISTS,
                                       "pod %s exists as %.13s (%s) with this name, uid and attempt; stop and remove it, or use another attempt",
                                       pod_title(pod, title), pod->id, pod_state_name(pod->state)));
        if (pod->successor) {
                (void)reply_fail(pod->successor->to, GRPC_STATUS_ABORTED, "pod %s: a later RunPodSandbox took the place of this one",
                                 pod_title(pod, title));
                free(pod->successor->packed);
                free(TAKE_PTR(pod->successor));
        }
        PodSuccessor *successor = calloc(1, sizeof(*successor));
        uint8_t *packed = malloc(call->request.len ? call->request.len : 1);
        if (!successor || !packed) {
                free(successor);
                free(packed);
                return error_origin(-ENOMEM);
        }
        memcpy(packed, call->request.data, call->request.len);
        *successor = (PodSuccessor){.packed = packed, .n_packed = call->request.len, .permit = *permit, .to = to};
        (void)str_copy(successor->id, sizeof(successor->id), call->id);
        pod->successor = successor;
        return 0;
}

int on_run_pod_sandbox(void *userdata, Frame *frame)
{
        Sandboxd *sandboxd = userdata;
        const Bulkhead__GatewaydSandboxd__RunPodSandboxCall *call =
                container_of(frame->message, Bulkhead__GatewaydSandboxd__RunPodSandboxCall, base);
        ReplyTo to = frame_reply_to(frame);
        if (!id_is_valid(call->id) || call->permit.len != sizeof(Permit))
                return reply_fail(to, GRPC_STATUS_INTERNAL, "RunPodSandbox: the call came without an id or permit");
        Permit permit;
        memcpy(&permit, call->permit.data, sizeof(permit));
        uint8_t *packed = malloc(call->request.len ? call->request.len : 1);
        if (!packed)
                return error_origin(-ENOMEM);
        memcpy(packed, call->request.data, call->request.len);
        _cleanup_(pod_freep) Pod *pod = NULL;
        int r = pod_new(&pod, sandboxd, call->id, packed, call->request.len, &permit);
        if (r < 0)
                return fold(r);
        if (r > 0)
                return reply_fail(to, GRPC_STATUS_INVALID_ARGUMENT, "RunPodSandbox: the request has no config with metadata");
        char title[256];
        Refusal refusal = {0};
        if (run_check(pod->request, &permit, &refusal))
                return reply_fail(to, refusal.code, "pod %s: %s", pod_title(pod, title), refusal.text);
        Pod *old = pods_find_key(sandboxd, pod->key);
        if (old)
                return fold(handlers_run_again(old, pod, call, &permit, to));
        r = reply_list_add(&pod->runs, to);
        if (r < 0)
                return fold(r);
        return fold(run_start(TAKE_PTR(pod)));
}

int on_stop_pod_sandbox(void *userdata, Frame *frame)
{
        const Runtime__V1__StopPodSandboxRequest *request = container_of(frame->message, Runtime__V1__StopPodSandboxRequest, base);
        Pod *pod = pods_resolve(userdata, request->pod_sandbox_id);
        if (pod)
                return fold(end_stop(pod, frame_reply_to(frame)));
        Runtime__V1__StopPodSandboxResponse response = RUNTIME__V1__STOP_POD_SANDBOX_RESPONSE__INIT;
        return fold(reply_send(frame_reply_to(frame), &response.base, NULL, 0)); /* unknown is stopped */
}

int on_remove_pod_sandbox(void *userdata, Frame *frame)
{
        const Runtime__V1__RemovePodSandboxRequest *request = container_of(frame->message, Runtime__V1__RemovePodSandboxRequest, base);
        Pod *pod = pods_resolve(userdata, request->pod_sandbox_id);
        if (pod)
                return fold(end_remove(pod, frame_reply_to(frame)));
        Runtime__V1__RemovePodSandboxResponse response = RUNTIME__V1__REMOVE_POD_SANDBOX_RESPONSE__INIT;
        return fold(reply_send(frame_reply_to(frame), &response.base, NULL, 0)); /* unknown is removed */
}

int on_network_status(void *userdata, Frame *frame)
{
        return fold(network_view_answer(userdata, frame_reply_to(frame)));
}

/* The pod CIDR is the CNI plugins' affair: the kubelet's message is taken and changes nothing (as CRI-O does). */
int on_update_runtime_config(void *userdata, Frame *frame)
{
        const Runtime__V1__UpdateRuntimeConfigRequest *request = container_of(frame->message, Runtime__V1__UpdateRuntimeConfigRequest, base);
        const Runtime__V1__NetworkConfig *network = request->runtime_config ? request->runtime_config->network_config : NULL;
        if (network && *network->pod_cidr)
                log_info("the pod CIDR is %.200s, says the kubelet; the CNI configuration decides", network->pod_cidr);
        Runtime__V1__UpdateRuntimeConfigResponse response = RUNTIME__V1__UPDATE_RUNTIME_CONFIG_RESPONSE__INIT;
        return fold(reply_send(frame_reply_to(frame), &response.base, NULL, 0));
}

/* The kubelet has changed the pod's cgroup itself (it made it, cgroup_parent names it) before it says so here; for runtimes that keep a
 * machine around a pod there is something to do. Here it is remembered and shown. */
int on_update_pod_sandbox_resources(void *userdata, Frame *frame)
{
        const Runtime__V1__UpdatePodSandboxResourcesRequest *request =
                container_of(frame->message, Runtime__V1__UpdatePodSandboxResourcesRequest, base);
        ReplyTo to = frame_reply_to(frame);
        Pod *pod = pods_resolve(userdata, request->pod_sandbox_id);
        if (!pod)
                return reply_fail(to, GRPC_STATUS_NOT_FOUND, "UpdatePodSandboxResources: pod %.80s does not exist", request->pod_sandbox_id);
        char title[256];
        if (pod->state != POD_STATE_READY)
                return reply_fail(to, GRPC_STATUS_FAILED_PRECONDITION, "UpdatePodSandboxResources: pod %s (%.13s) is %s; only a ready one has "
                                  "resources", pod_title(pod, title), pod->id, pod_state_name(pod->state));
        uint8_t *packed = NULL, *before = pod->resources_packed;
        size_t n = 0, n_before = pod->n_resources_packed;
        int r = decode_pack(&request->base, &packed, &n);
        if (r < 0)
                return fold(r);
        pod->resources_packed = packed;
        pod->n_resources_packed = n;
        r = pod_store_put(pod->sandboxd, pod);
        if (r != 0) {
                pod->resources_packed = before;
                pod->n_resources_packed = n_before;
                free(packed);
                return r < 0 ? fold(r) : reply_fail(to, GRPC_STATUS_RESOURCE_EXHAUSTED, "UpdatePodSandboxResources: pod %s: the disk of the "
                                                    "state directory is full; free space", pod_title(pod, title));
        }
        free(before);
        Runtime__V1__UpdatePodSandboxResourcesResponse response = RUNTIME__V1__UPDATE_POD_SANDBOX_RESOURCES_RESPONSE__INIT;
        return fold(reply_send(to, &response.base, NULL, 0));
}
