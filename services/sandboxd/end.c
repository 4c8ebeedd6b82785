/* SPDX-License-Identifier: Apache-2.0 */

/* The end of a pod: no new lease, containers end, then the network, then the namespaces. An address is given back only when
 * nothing can use it any more. What fails is said to whoever waits, and goes on with the next request or restart; a network
 * whose DEL goes on failing stops holding up the pod and is deleted in the background. */

#include <event2/event.h>

#include "ipc/edges/containerd-sandboxd.pb-c.h"
#include "ipc/edges/containerd-sandboxd.rows.h"
#include "ipc/edges/sandboxd-setup.h"
#include "ipc/edges/sandboxd-setup.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/log.h"
#include "services/sandboxd/forward.h"
#include "services/sandboxd/init-watch.h"
#include "services/sandboxd/leftover.h"
#include "services/sandboxd/network.h"

#define END_SETUP_TIMEOUT (60 * USEC_PER_SEC)
#define END_LEASE_PAUSE_USEC 100000
#define END_LEASE_LOOKS 50 /* five seconds */
#define END_NETWORK_TRIES 3 /* then the pod goes on, and its attachment is deleted later */

static int end_containers(Pod *pod);

static bool end_is_idle(const Pod *pod)
{
        return !*pod->stage;
}

/* This round ends without the end: who waits is told, and may ask again. */
static int end_fail(Pod *pod, uint32_t code, const char *text)
{
        char title[256];
        (void)refusal_set(&pod->failure, code, "pod %s: %s: %s; it will be tried again when it is asked again", pod_title(pod, title),
                          pod->stage, text);
        log_warning("%s", pod->failure.text);
        pod->stage = "";
        reply_list_fail(&pod->stops, &pod->failure);
        reply_list_fail(&pod->removes, &pod->failure);
        return 0;
}

static void end_reply_stops(Pod *pod)
{
        Runtime__V1__StopPodSandboxResponse stopped = RUNTIME__V1__STOP_POD_SANDBOX_RESPONSE__INIT;
        reply_list_send(&pod->stops, &stopped.base);
}

static int end_finish(Pod *pod)
{
        pod->stage = "";
        pod->tries = 0;
        pod->init_pid = 0;
        init_unwatch(pod);
        int r;
        if (pod->state == POD_STATE_ENDING) {
                pod->network_pin[0] = '\0';
                r = pod_set_state(pod, POD_STATE_STOPPED, "containers, network and namespaces have ended");
                end_reply_stops(pod);
                return r < 0 ? fold(r) : 0;
        }
        if (!pod->containers_removed)
                return fold(end_containers(pod));
        r = pod_store_delete(pod->sandboxd, pod);
        if (r < 0)
                return fold(r);
        char title[256];
        log_info("pod %s (%.13s) was removed", pod_title(pod, title), pod->id);
        r = notice_send(pod, RUNTIME__V1__CONTAINER_EVENT_TYPE__CONTAINER_DELETED_EVENT);
        if (r < 0)
                return fold(r);
        end_reply_stops(pod);
        Runtime__V1__RemovePodSandboxResponse removed = RUNTIME__V1__REMOVE_POD_SANDBOX_RESPONSE__INIT;
        reply_list_send(&pod->removes, &removed.base);
        (void)pod_free(pod);
        return 0;
}

static int end_on_namespaces(void *userdata, const Answer *answer)
{
        Pod *pod = userdata;
        pod->call = 0;
        if (answer->outcome != 0)
                return fold(end_fail(pod, answer->code, answer->text));
        return fold(end_finish(pod));
}

static int end_namespaces(Pod *pod)
{
        SetupPod verb = {0};
        if (leftover_has_network(pod->sandboxd, pod->id))
                return fold(end_finish(pod)); /* they go with its network */
        pod->stage = "removing its namespaces";
        (void)str_copy(verb.pod_id, sizeof(verb.pod_id), pod->id);
        pod->call_channel = sandboxd_setup(pod->sandboxd);
        return fold(channel_call_flat(pod->call_channel, ROW_SANDBOXD_SETUP_SETUP_REMOVE, &verb, NULL, 0,
                                      clock_monotonic_usec() + END_SETUP_TIMEOUT, end_on_namespaces, pod, &pod->call));
}

static int end_on_network(void *userdata, const Answer *answer)
{
        Pod *pod = userdata;
        pod->call = 0;
        if (answer->outcome != 0 && ++pod->tries < END_NETWORK_TRIES)
                return fold(end_fail(pod, answer->code, answer->text));
        int r = 0;
        if (answer->outcome != 0) {
                /* sandboxd-cni keeps the attachment in its cache until a DEL succeeds, and the plugin keeps the address. */
                log_error("pod %.13s: its network could not be deleted %u times; the pod goes on, the attachment is deleted later: %s",
                          pod->id, pod->tries, answer->text);
                r = leftover_remove(pod->sandboxd, LEFTOVER_NETWORK, pod->id, true);
        }
        pod->has_network = false;
        if (r == 0)
                r = pod_store_put(pod->sandboxd, pod);
        return r < 0 ? fold(r) : fold(end_namespaces(pod));
}

static int end_network(Pod *pod)
{
        int r = forward_end_pod(pod->sandboxd, pod->id);
        if (r < 0)
                return fold(r);
        if (!pod->has_network)
                return fold(end_namespaces(pod));
        pod->stage = "deleting its network";
        return fold(network_delete(pod, end_on_network));
}

static int end_leases(Pod *pod);

static void end_on_lease_timer(evutil_socket_t fd, short what, void *userdata)
{
        Pod *pod = userdata;
        Service *service = pod->sandboxd->service;
        /* Once in a while containerd is told again: the one that answered too early may be gone, and the next one does not know. */
        int r = pod->lease_looks < END_LEASE_LOOKS ? end_leases(pod) : end_containers(pod);
        if (r < 0)
                service_fail(service, fold(r));
}

/* Something of a container that containerd says has ended still runs. The address stays the pod's as long as that is so, however
 * long; who waits for the end is told what it waits for, and may ask again. */
static int end_wait_for_lease(Pod *pod, const Lease *lease)
{
        struct timeval pause = {.tv_usec = END_LEASE_PAUSE_USEC};
        char title[256];
        if (++pod->lease_looks >= END_LEASE_LOOKS) {
                (void)refusal_set(&pod->failure, GRPC_STATUS_UNAVAILABLE, "pod %s: container %s holds a lease on it and still has processes, "
                                  "though it was said to have ended; the pod keeps its network until it has. It is tried again by itself; "
                                  "kill the container's processes if that does not help", pod_title(pod, title), lease->container_id);
                log_error("%s", pod->failure.text);
                reply_list_fail(&pod->stops, &pod->failure);
                reply_list_fail(&pod->removes, &pod->failure);
                pause = (struct timeval){.tv_sec = 1};
        }
        if (!pod->lease_timer)
                pod->lease_timer = event_new(service_loop(pod->sandboxd->service), -1, 0, end_on_lease_timer, pod);
        return !pod->lease_timer || event_add(pod->lease_timer, &pause) < 0 ? error_origin(-ENOMEM) : 0;
}

static int end_on_lease(void *userdata, const Answer *answer)
{
        Pod *pod = userdata;
        Lease *lease = pod_find_lease(pod, pod->lease_asked);
        pod->call = 0;
        if (!lease)
                return fold(end_leases(pod)); /* it was released meanwhile */
        if (answer->outcome != 0 && answer->code != GRPC_STATUS_NOT_FOUND)
                return answer->outcome == CHANNEL_E_LOST ? fold(end_leases(pod)) : fold(end_fail(pod, answer->code, answer->text));
        const SetupLeased *leased = answer->outcome == 0 ? answer->frame->flat : NULL;
        if (leased && leased->populated)
                return fold(end_wait_for_lease(pod, lease));
        log_warning("pod %.13s: container %s has not given back its lease; %s", pod->id, lease->container_id,
                    leased ? "nothing of it runs" : "nobody can say whether something of it runs");
        int r = pod_store_delete_lease(pod->sandboxd, lease->container_id);
        if (r < 0)
                return fold(r);
        (void)lease_free(lease);
        return fold(end_leases(pod));
}

/* containerd has answered; but an address is not given back on one brain's word alone. Usually no lease is left. */
static int end_leases(Pod *pod)
{
        const Lease *lease = list_first(&pod->leases, Lease, link);
        SetupLease verb = {0};
        if (!lease)
                return fold(end_network(pod));
        pod->stage = "looking at its leases";
        (void)str_copy(verb.pod_id, sizeof(verb.pod_id), pod->id);
        (void)str_copy(verb.container_id, sizeof(verb.container_id), lease->container_id);
        (void)str_copy(pod->lease_asked, sizeof(pod->lease_asked), lease->container_id);
        pod->call_channel = sandboxd_setup(pod->sandboxd);
        return fold(channel_call_flat(pod->call_channel, ROW_SANDBOXD_SETUP_SETUP_LEASE, &verb, NULL, 0,
                                      clock_monotonic_usec() + END_SETUP_TIMEOUT, end_on_lease, pod, &pod->call));
}

static int end_on_containers(void *userdata, const Answer *answer)
{
        Pod *pod = userdata;
        pod->call = 0;
        if (answer->outcome == CHANNEL_E_LOST)
                return fold(end_containers(pod)); /* containerd is being restarted: it is asked again when it is back */
        if (answer->outcome != 0)
                return fold(end_fail(pod, answer->code, answer->text));
        if (pod->state == POD_STATE_REMOVING)
                pod->containers_removed = true;
        pod->lease_looks = 0;
        return fold(end_leases(pod));
}

static int end_containers(Pod *pod)
{
        Bulkhead__ContainerdSandboxd__PodEndRequest request = BULKHEAD__CONTAINERD_SANDBOXD__POD_END_REQUEST__INIT;
        request.pod_id = pod->id;
        request.remove = pod->state == POD_STATE_REMOVING;
        pod->stage = request.remove ? "removing its containers" : "stopping its containers";
        pod->call_channel = sandboxd_containerd(pod->sandboxd);
        return fold(channel_call(pod->call_channel, ROW_CONTAINERD_SANDBOXD_POD_END, &request.base, NULL, 0, USEC_INFINITY,
                                 end_on_containers, pod, &pod->call));
}

int end_resume(Pod *pod)
{
        return end_is_idle(pod) ? fold(end_containers(pod)) : 0;
}

int end_stop(Pod *pod, ReplyTo to)
{
        int r = reply_list_add(&pod->stops, to);
        if (r < 0)
                return fold(r);
        if (pod->state == POD_STATE_STOPPED) {
                end_reply_stops(pod);
                return 0;
        }
        if (pod->state == POD_STATE_READY || pod->state == POD_STATE_UNKNOWN) {
                r = pod_set_state(pod, POD_STATE_ENDING, "StopPodSandbox");
                if (r < 0)
                        return fold(r);
        }
        return fold(end_resume(pod));
}

int end_remove(Pod *pod, ReplyTo to)
{
        int r = reply_list_add(&pod->removes, to);
        if (r < 0)
                return fold(r);
        if (pod->state != POD_STATE_REMOVING) {
                r = pod_set_state(pod, POD_STATE_REMOVING, "RemovePodSandbox");
                if (r < 0)
                        return fold(r);
        }
        return fold(end_resume(pod));
}
