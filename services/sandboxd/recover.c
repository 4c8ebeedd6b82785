/* SPDX-License-Identifier: Apache-2.0 */

/* After a start. Rows are intents: what was being made is undone (its client retries), what was ending ends, what is READY is
 * looked at. What is there without a row is removed: namespaces by setup's list, attachments by the cache of sandboxd-cni; but
 * after the loss of the database, or of a row that does not even say its id, it may be in use and is listed instead. After a reboot
 * nothing is in use: what was READY ends, so that its addresses, which outlive a reboot, are given back. */

#include "ipc/edges/containerd-sandboxd.rows.h"
#include "ipc/edges/sandboxd-cni.h"
#include "ipc/edges/sandboxd-cni.rows.h"
#include "ipc/edges/sandboxd-setup.h"
#include "ipc/edges/sandboxd-setup.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/log.h"
#include "services/sandboxd/init-watch.h"
#include "services/sandboxd/leftover.h"
#include "services/sandboxd/remnant.h"

#define RECOVERY_CONTAINERS_TIMEOUT (5 * USEC_PER_SEC)

typedef struct Recovery {
        Sandboxd *sandboxd;
        Channel *call_channel;
        uint32_t call;
        uint32_t offset;
        char (*seen)[ID_LENGTH + 1]; /* owned; pods whose namespaces are there */
        size_t n_seen;
        size_t n_unwritten; /* adopted ones whose row found no room */
        bool is_adopting; /* what has no row is listed */
        char id[ID_LENGTH + 1]; /* of the pod that is asked about */
} Recovery;

void recovery_free(Sandboxd *sandboxd)
{
        Recovery *recovery = TAKE_PTR(sandboxd->recovery);
        if (!recovery)
                return;
        if (recovery->call)
                channel_cancel(recovery->call_channel, recovery->call);
        free(recovery->seen);
        free(recovery);
}

bool recovery_is_blind(const Sandboxd *sandboxd)
{
        return sandboxd->recovery && sandboxd->recovery->is_adopting;
}

static bool recovery_has_namespaces(const Recovery *recovery, const char *id)
{
        for (size_t i = 0; i < recovery->n_seen; i++)
                if (str_equal(recovery->seen[i], id))
                        return true;
        return false;
}

static int recovery_pod(Recovery *recovery, Pod *pod)
{
        bool is_new_boot = store_is_new_boot(recovery->sandboxd->store);
        bool there = !is_new_boot && recovery_has_namespaces(recovery, pod->id);
        int r = 0;
        switch (pod->state) {
        case POD_STATE_CREATING:
        case POD_STATE_UNDOING:
                (void)refusal_set(&pod->failure, GRPC_STATUS_ABORTED, "pod %.13s: its creation was interrupted and undone; try again", pod->id);
                if (pod->state == POD_STATE_CREATING)
                        r = pod_set_state(pod, POD_STATE_UNDOING, "a restart interrupted its creation");
                return r < 0 ? fold(r) : fold(run_resume_undo(pod));
        case POD_STATE_READY:
                if (there) {
                        r = stats_begin(pod);
                        if (r == 0 && pod->init_pid)
                                r = init_watch_resume(pod);
                        return r < 0 ? fold(r) : 0;
                }
                r = pod_set_state(pod, POD_STATE_ENDING, is_new_boot ? "the node was rebooted" : "its namespaces are gone");
                return r < 0 ? fold(r) : fold(end_resume(pod));
        case POD_STATE_UNKNOWN:
                if (!is_new_boot)
                        return 0;
                r = pod_set_state(pod, POD_STATE_ENDING, "the node was rebooted");
                return r < 0 ? fold(r) : fold(end_resume(pod));
        case POD_STATE_ENDING:
        case POD_STATE_REMOVING:
                return fold(end_resume(pod));
        case POD_STATE_STOPPED:
        case POD_STATE_N:
        default:
                return 0;
        }
}

static int recovery_finish(Recovery *recovery)
{
        Sandboxd *sandboxd = recovery->sandboxd;
        service_set_state(sandboxd->service, ROW_STATE_READY);
        int r = 0;
        list_for_each_safe(i, n, &sandboxd->pods) {
                r = recovery_pod(recovery, container_of(i, Pod, link));
                if (r < 0)
                        return fold(r);
        }
        bool is_complete = recovery->is_adopting && recovery->n_unwritten == 0; /* else it is done again at the next start */
        recovery_free(sandboxd);
        r = is_complete ? store_replacement_done(sandboxd->store) : 0;
        return r < 0 ? fold(r) : 0;
}

static int recovery_identify(Recovery *recovery);

static int recovery_identified(Recovery *recovery, Pod *pod)
{
        char title[256];
        pod->is_unresolved = false;
        log_warning("pod %s (%.13s): nothing more is recorded of it; it is listed as not ready and keeps its name, network and namespaces: "
                    "stop and remove it", pod_title(pod, title), pod->id);
        int r = pod_store_rewrite(recovery->sandboxd, pod);
        recovery->n_unwritten += r != 0;
        return r < 0 ? fold(r) : fold(recovery_identify(recovery));
}

/* Leases are lost with the database, too; whose containers live, containerd knows. One that has lost its own takes them again. */
static int recovery_on_containers(void *userdata, const Answer *answer)
{
        Recovery *recovery = userdata;
        Pod *pod = pods_find(recovery->sandboxd, recovery->id);
        recovery->call = 0;
        if (answer->outcome != 0) {
                log_warning("pod %.13s: containerd does not say what runs in it: %s", pod->id, answer->text);
                return fold(recovery_identified(recovery, pod));
        }
        const Bulkhead__ContainerdSandboxd__PodContainersResponse *response =
                container_of(answer->frame->message, Bulkhead__ContainerdSandboxd__PodContainersResponse, base);
        for (size_t i = 0; i < response->n_statuses; i++) {
                const Runtime__V1__ContainerStatus *status = response->statuses[i];
                Lease *lease;
                if (status->state == RUNTIME__V1__CONTAINER_STATE__CONTAINER_EXITED || !id_is_valid(status->id) ||
                    pod_find_lease(pod, status->id))
                        continue;
                int r = lease_new(&lease, pod, status->id);
                if (r == 0)
                        r = pod_store_put_lease(recovery->sandboxd, pod, lease);
                if (r < 0)
                        return fold(r);
        }
        return fold(recovery_identified(recovery, pod));
}

static int recovery_ask_containers(Recovery *recovery)
{
        Bulkhead__ContainerdSandboxd__PodContainersRequest request = BULKHEAD__CONTAINERD_SANDBOXD__POD_CONTAINERS_REQUEST__INIT;
        request.pod_id = recovery->id;
        recovery->call_channel = sandboxd_containerd(recovery->sandboxd);
        return fold(channel_call(recovery->call_channel, ROW_CONTAINERD_SANDBOXD_POD_CONTAINERS, &request.base, NULL, 0,
                                 clock_monotonic_usec() + RECOVERY_CONTAINERS_TIMEOUT, recovery_on_containers, recovery, &recovery->call));
}

static int recovery_ask_about(Recovery *recovery, const MessageRow *row, AnswerCallback callback)
{
        SetupPod verb = {0};
        (void)str_copy(verb.pod_id, sizeof(verb.pod_id), recovery->id);
        recovery->call_channel = sandboxd_setup(recovery->sandboxd);
        return fold(channel_call_flat(recovery->call_channel, row, &verb, NULL, 0, USEC_INFINITY, callback, recovery, &recovery->call));
}

static int recovery_on_status(void *userdata, const Answer *answer)
{
        Recovery *recovery = userdata;
        recovery->call = 0;
        if (answer->outcome == CHANNEL_E_LOST)
                return fold(recovery_identify(recovery));
        Pod *pod = pods_find(recovery->sandboxd, recovery->id);
        if (answer->outcome == 0)
                remnant_take_status(pod, answer->frame);
        return fold(recovery_ask_containers(recovery));
}

static int recovery_on_kept(void *userdata, const Answer *answer)
{
        Recovery *recovery = userdata;
        int r = 0;
        recovery->call = 0;
        if (answer->outcome == CHANNEL_E_LOST)
                return fold(recovery_identify(recovery));
        if (answer->outcome == 0)
                r = remnant_take_kept(pods_find(recovery->sandboxd, recovery->id), answer->frame);
        return r < 0 ? fold(r) : fold(recovery_ask_about(recovery, ROW_SANDBOXD_SETUP_SETUP_STATUS, recovery_on_status));
}

/* One pod after the other; requests wait meanwhile, so that none of them goes away. */
static int recovery_identify(Recovery *recovery)
{
        list_for_each(i, &recovery->sandboxd->pods) {
                const Pod *pod = container_of(i, Pod, link);
                if (!pod->is_unresolved)
                        continue;
                (void)str_copy(recovery->id, sizeof(recovery->id), pod->id);
                return fold(recovery_ask_about(recovery, ROW_SANDBOXD_SETUP_SETUP_KEPT, recovery_on_kept));
        }
        return fold(recovery_finish(recovery));
}

/* Of a pod that has no row. */
static int recovery_found(Recovery *recovery, LeftoverKind kind, const char *id)
{
        Pod *pod;
        return recovery->is_adopting ? fold(remnant_new(&pod, recovery->sandboxd, id, NULL))
                                     : fold(leftover_remove(recovery->sandboxd, kind, id, false));
}

static int recovery_list_networks(Recovery *recovery);
static int recovery_list_namespaces(Recovery *recovery);

static int recovery_on_networks(void *userdata, const Answer *answer)
{
        Recovery *recovery = userdata;
        Sandboxd *sandboxd = recovery->sandboxd;
        recovery->call = 0;
        if (answer->outcome != 0) {
                log_warning("the cache of networks cannot be listed yet: %s", answer->text);
                return answer->outcome == CHANNEL_E_LOST ? fold(recovery_list_networks(recovery)) : fold(recovery_list_namespaces(recovery));
        }
        const CniListed *listed = answer->frame->flat;
        for (uint32_t i = 0; i < listed->n && i < CNI_LIST_MAX; i++) {
                char id[ID_LENGTH + 1];
                memcpy(id, listed->pods[i], ID_LENGTH);
                id[ID_LENGTH] = '\0';
                const Pod *pod = id_is_valid(id) ? pods_find(sandboxd, id) : NULL;
                if (!id_is_valid(id) || (pod && pod->has_network))
                        continue;
                int r = pod ? leftover_remove(sandboxd, LEFTOVER_NETWORK, id, false) : recovery_found(recovery, LEFTOVER_NETWORK, id);
                if (r < 0)
                        return fold(r);
        }
        recovery->offset += listed->n;
        if (listed->more && listed->n)
                return fold(recovery_list_networks(recovery));
        recovery->offset = 0;
        return fold(recovery_list_namespaces(recovery));
}

static int recovery_list_networks(Recovery *recovery)
{
        CniList verb = {.offset = recovery->offset};
        recovery->call_channel = sandboxd_cni(recovery->sandboxd);
        return fold(channel_call_flat(recovery->call_channel, ROW_SANDBOXD_CNI_CNI_LIST, &verb, NULL, 0, USEC_INFINITY, recovery_on_networks,
                                      recovery, &recovery->call));
}

static int recovery_on_namespaces(void *userdata, const Answer *answer)
{
        Recovery *recovery = userdata;
        Sandboxd *sandboxd = recovery->sandboxd;
        recovery->call = 0;
        if (answer->outcome != 0) {
                log_warning("the namespaces cannot be listed yet: %s", answer->text);
                return fold(recovery_list_namespaces(recovery));
        }
        const SetupListed *listed = answer->frame->flat;
        for (uint32_t i = 0; i < listed->n && i < SETUP_LIST_MAX; i++) {
                char id[ID_LENGTH + 1];
                memcpy(id, listed->pods[i], ID_LENGTH);
                id[ID_LENGTH] = '\0';
                if (pods_find(sandboxd, id)) {
                        void *grown = reallocarray(recovery->seen, recovery->n_seen + 1, sizeof(*recovery->seen));
                        if (!grown)
                                return error_origin(-ENOMEM);
                        recovery->seen = grown;
                        memcpy(recovery->seen[recovery->n_seen++], id, sizeof(id));
                        continue;
                }
                int r = recovery_found(recovery, LEFTOVER_NAMESPACES, id);
                if (r < 0)
                        return fold(r);
        }
        recovery->offset += listed->n;
        return listed->more && listed->n ? fold(recovery_list_namespaces(recovery)) : fold(recovery_identify(recovery));
}

static int recovery_list_namespaces(Recovery *recovery)
{
        SetupList verb = {.offset = recovery->offset};
        recovery->call_channel = sandboxd_setup(recovery->sandboxd);
        return fold(channel_call_flat(recovery->call_channel, ROW_SANDBOXD_SETUP_SETUP_LIST, &verb, NULL, 0, USEC_INFINITY,
                                      recovery_on_namespaces, recovery, &recovery->call));
}

int recovery_start(Sandboxd *sandboxd)
{
        sandboxd->recovery = calloc(1, sizeof(*sandboxd->recovery));
        if (!sandboxd->recovery)
                return error_origin(-ENOMEM);
        sandboxd->recovery->sandboxd = sandboxd;
        sandboxd->recovery->is_adopting = store_was_replaced(sandboxd->store) || sandboxd->n_lost_ids > 0;
        return fold(recovery_list_networks(sandboxd->recovery));
}
