/* SPDX-License-Identifier: Apache-2.0 */

/* After a start. Rows are intents: what was being made is undone (its client retries), what was ending ends, what is READY is
 * looked at. What is there without a row is removed: namespaces by setup's list, attachments by the cache of sandboxd-cni. */

#include "ipc/edges/sandboxd-cni.h"
#include "ipc/edges/sandboxd-cni.rows.h"
#include "ipc/edges/sandboxd-setup.h"
#include "ipc/edges/sandboxd-setup.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/log.h"
#include "services/sandboxd/init-watch.h"
#include "services/sandboxd/leftover.h"

typedef struct Recovery {
        Sandboxd *sandboxd;
        Channel *call_channel;
        uint32_t call;
        uint32_t offset;
        char (*seen)[ID_LENGTH + 1]; /* owned; pods whose namespaces are there */
        size_t n_seen;
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

static bool recovery_has_namespaces(const Recovery *recovery, const char *id)
{
        for (size_t i = 0; i < recovery->n_seen; i++)
                if (str_equal(recovery->seen[i], id))
                        return true;
        return false;
}

static int recovery_pod(Recovery *recovery, Pod *pod)
{
        bool there = recovery_has_namespaces(recovery, pod->id);
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
                /* A reboot, or somebody removed its pins: what ran in it is gone. */
                r = pod_set_state(pod, POD_STATE_ENDING, "its namespaces are gone");
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
        list_for_each_safe(i, n, &sandboxd->pods) {
                int r = recovery_pod(recovery, container_of(i, Pod, link));
                if (r < 0)
                        return fold(r);
        }
        recovery_free(sandboxd);
        return 0;
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
                int r = leftover_remove(sandboxd, LEFTOVER_NETWORK, id, false);
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
                int r = leftover_remove(sandboxd, LEFTOVER_NAMESPACES, id, false);
                if (r < 0)
                        return fold(r);
        }
        recovery->offset += listed->n;
        return listed->more && listed->n ? fold(recovery_list_namespaces(recovery)) : fold(recovery_finish(recovery));
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
        return fold(recovery_list_networks(sandboxd->recovery));
}
