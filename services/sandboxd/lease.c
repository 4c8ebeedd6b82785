/* SPDX-License-Identifier: Apache-2.0 */

/* A container's lease on its pod: while one is held, the pod's namespaces and address stay. */

#include "ipc/edges/containerd-sandboxd.pb-c.h"
#include "lib/error.h"
#include "services/sandboxd/handlers.h"

int on_lease_take(void *userdata, Frame *frame)
{
        Sandboxd *sandboxd = userdata;
        const Bulkhead__ContainerdSandboxd__LeaseTakeRequest *request =
                container_of(frame->message, Bulkhead__ContainerdSandboxd__LeaseTakeRequest, base);
        ReplyTo to = frame_reply_to(frame);
        char title[256];
        if (!id_is_valid(request->container_id))
                return reply_fail(to, GRPC_STATUS_INVALID_ARGUMENT, "lease_take: \"%.80s\" is not a container id", request->container_id);
        Pod *pod = pods_resolve(sandboxd, request->pod_id);
        if (!pod)
                return reply_fail(to, GRPC_STATUS_NOT_FOUND, "pod %.80s does not exist; run it first", request->pod_id);
        Lease *lease = pod_find_lease(pod, request->container_id);
        if (pod->state != POD_STATE_READY && !lease && !request->exists)
                return reply_fail(to, GRPC_STATUS_FAILED_PRECONDITION, "pod %s (%.13s) is %s and takes no container", pod_title(pod, title),
                                  pod->id, pod_state_name(pod->state));
        if (!lease) {
                int r = lease_new(&lease, pod, request->container_id);
                if (r < 0)
                        return fold(r);
                r = pod_store_put_lease(sandboxd, pod, lease);
                if (r) {
                        (void)lease_free(lease);
                        return r < 0 ? fold(r)
                                     : reply_fail(to, GRPC_STATUS_RESOURCE_EXHAUSTED, "pod %s: no space left to record a container; free space",
                                                  pod_title(pod, title));
                }
        }
        Bulkhead__ContainerdSandboxd__LeaseTakeResponse response = BULKHEAD__CONTAINERD_SANDBOXD__LEASE_TAKE_RESPONSE__INIT;
        response.pod_id = pod->id;
        response.config = pod->request->config;
        response.runtime_handler = pod->request->runtime_handler;
        response.host_namespaces = pod->permit.flags &
                                   (PERMIT_FLAG_HOST_NETWORK | PERMIT_FLAG_HOST_IPC | PERMIT_FLAG_HOST_PID | PERMIT_FLAG_POD_PID | PERMIT_FLAG_USERNS);
        response.userns_host_id = pod->permit.userns_host_id;
        response.userns_length = pod->permit.userns_length;
        response.network_namespace = pod->network_pin;
        response.ready = pod->state == POD_STATE_READY;
        return fold(reply_send(to, &response.base, NULL, 0));
}

int on_lease_release(void *userdata, Frame *frame)
{
        Sandboxd *sandboxd = userdata;
        const Bulkhead__ContainerdSandboxd__LeaseReleaseRequest *request =
                container_of(frame->message, Bulkhead__ContainerdSandboxd__LeaseReleaseRequest, base);
        list_for_each(i, &sandboxd->pods) {
                Lease *lease = pod_find_lease(container_of(i, Pod, link), request->container_id);
                if (!lease)
                        continue;
                int r = pod_store_delete_lease(sandboxd, request->container_id);
                if (r < 0)
                        return fold(r);
                (void)lease_free(lease);
                break;
        }
        Bulkhead__ContainerdSandboxd__LeaseReleaseResponse response = BULKHEAD__CONTAINERD_SANDBOXD__LEASE_RELEASE_RESPONSE__INIT;
        return fold(reply_send(frame_reply_to(frame), &response.base, NULL, 0));
}

int on_lease_list(void *userdata, Frame *frame)
{
        Sandboxd *sandboxd = userdata;
        size_t n = 0;
        list_for_each(i, &sandboxd->pods)
                list_for_each(k, &container_of(i, Pod, link)->leases)
                        n++;
        Bulkhead__ContainerdSandboxd__LeaseListResponse response = BULKHEAD__CONTAINERD_SANDBOXD__LEASE_LIST_RESPONSE__INIT;
        _cleanup_free_ Bulkhead__ContainerdSandboxd__LeaseReleaseRequest *items = calloc(n + 1, sizeof(*items));
        _cleanup_free_ Bulkhead__ContainerdSandboxd__LeaseReleaseRequest **pointers = calloc(n + 1, sizeof(*pointers));
        if (!items || !pointers)
                return error_origin(-ENOMEM);
        response.leases = pointers;
        list_for_each(i, &sandboxd->pods) {
                Pod *pod = container_of(i, Pod, link);
                list_for_each(k, &pod->leases) {
                        Bulkhead__ContainerdSandboxd__LeaseReleaseRequest *item = &items[response.n_leases];
                        bulkhead__containerd_sandboxd__lease_release_request__init(item);
                        item->pod_id = pod->id;
                        item->container_id = container_of(k, Lease, link)->container_id;
                        pointers[response.n_leases++] = item;
                }
        }
        return fold(reply_send(frame_reply_to(frame), &response.base, NULL, 0));
}
