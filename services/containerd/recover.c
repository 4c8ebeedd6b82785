/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/recover.h"

#include "ipc/edges/containerd-imaged.rows.h"
#include "ipc/edges/containerd-launch.rows.h"
#include "ipc/edges/containerd-sandboxd.rows.h"
#include "ipc/edges/containerd-setup.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/log.h"
#include "services/containerd/adoption.h"
#include "services/containerd/attach.h"
#include "services/containerd/exec-sync.h"
#include "services/containerd/exit.h"
#include "services/containerd/orphan.h"
#include "services/containerd/pod-end.h"
#include "services/containerd/remove.h"
#include "services/containerd/session.h"
#include "services/service.h"
#include <event2/event.h>

/* So long requests wait for containers that cannot be reached; after that their rows are believed. */
#define RECOVER_READY_USEC (UINT64_C(10) * 1000000)
#define RECOVER_IDS_MAX 65536
#define RECOVER_AGAIN_USEC UINT64_C(200000)
#define RECOVER_ASKS_MAX 25

typedef struct RecoverIds {
        char (*items)[ID_LENGTH + 1]; /* owned */
        size_t n, n_allocated;
} RecoverIds;

struct Recovery {
        Operation operation;
        Containerd *containerd; /* borrowed; owns us */
        RecoverIds rootfs, launched; /* what the hands have */
        Frame *leases_frame;    /* owned */
        const Bulkhead__ContainerdSandboxd__LeaseListResponse *leases; /* in its frame; NULL: unknown */
        unsigned n_asked; /* imaged */
        bool has_holds_left;
};

enum { RECOVER_LEASES, RECOVER_ROOTFS, RECOVER_LAUNCHED, RECOVER_CLEAN, RECOVER_HOLDS, RECOVER_N };
static const Step recover_steps[RECOVER_N];

static Recovery *recover_of(Operation *operation)
{
        return container_of(operation, Recovery, operation);
}

static int recover_ids_add(RecoverIds *ids, const char *id)
{
        if (ids->n == RECOVER_IDS_MAX || !id_is_valid(id))
                return 0;
        if (ids->n == ids->n_allocated) {
                size_t n = MAX2(ids->n_allocated * 2, (size_t)64);
                char(*items)[ID_LENGTH + 1] = realloc(ids->items, n * sizeof(*items));
                if (!items)
                        return error_origin(-ENOMEM);
                ids->items = items;
                ids->n_allocated = n;
        }
        memcpy(ids->items[ids->n++], id, ID_LENGTH + 1);
        return 0;
}

static bool recover_ids_has(const RecoverIds *ids, const char *id)
{
        for (size_t i = 0; i < ids->n; i++)
                if (str_equal(ids->items[i], id))
                        return true;
        return false;
}

static const Step *recover_leases(Operation *operation)
{
        Bulkhead__ContainerdSandboxd__LeaseListRequest request = BULKHEAD__CONTAINERD_SANDBOXD__LEASE_LIST_REQUEST__INIT;

        return operation_ask(operation, recover_of(operation)->containerd->sandboxd, ROW_CONTAINERD_SANDBOXD_LEASE_LIST,
                             &request.base, RECOVER_READY_USEC);
}

static bool recover_is_leased(const Recovery *recovery, const char *id)
{
        if (!recovery->leases)
                return true; /* as far as is known */
        for (size_t i = 0; i < recovery->leases->n_leases; i++)
                if (str_equal(recovery->leases->leases[i]->container_id, id))
                        return true;
        return false;
}

/* One that had ended, and is not known to be rid of everything: its end is gone through once more. */
static int recover_exited(Recovery *recovery)
{
        Containerd *containerd = recovery->containerd;

        for (size_t i = 0; i < containerd->containers.n; i++) {
                Container *container = containerd->containers.items[i];
                container->has_lease = recover_is_leased(recovery, container->id);
                if (container->state != CONTAINER_STATE_EXITED || container->remove || container->attach || container->exit_seen)
                        continue;
                if (!container->has_lease) {
                        container->exit_seen = container->has_ended = true;
                        continue;
                }
                int r = attach_begin(container);
                if (r < 0)
                        return fold(r);
        }
        return 0;
}

static const Step *recover_on_leases(Operation *operation, const Answer *answer)
{
        Recovery *recovery = recover_of(operation);

        if (answer->outcome) {
                log_warning("recovery: sandboxd does not say which leases there are: %s; all are taken as held", answer->text);
        } else {
                recovery->leases_frame = frame_keep(answer->frame);
                recovery->leases =
                        container_of(answer->frame->message, Bulkhead__ContainerdSandboxd__LeaseListResponse, base);
        }
        int r = recover_exited(recovery);
        return r < 0 ? operation_break(operation, fold(r)) : &recover_steps[RECOVER_ROOTFS];
}

static const Step *recover_rootfs(Operation *operation)
{
        Recovery *recovery = recover_of(operation);
        RootfsList verb = {.offset = (uint32_t)recovery->rootfs.n};

        return operation_ask_flat(operation, recovery->containerd->setup, ROW_CONTAINERD_SETUP_ROOTFS_LIST, &verb, NULL, 0,
                                  USEC_INFINITY);
}

static const Step *recover_on_rootfs(Operation *operation, const Answer *answer)
{
        Recovery *recovery = recover_of(operation);

        if (answer->outcome) {
                log_warning("recovery: containerd-setup does not list its containers: %s; leftovers stay", answer->text);
                return STEP_DONE;
        }
        const RootfsListed *listed = answer->frame->flat;
        for (uint32_t i = 0; i < MIN2(listed->n, (uint32_t)SETUP_ROOTFS_LIST_MAX); i++) {
                int r = recover_ids_add(&recovery->rootfs, listed->ids[i]);
                if (r < 0)
                        return operation_break(operation, fold(r));
        }
        return listed->more && listed->n > 0 && recovery->rootfs.n < RECOVER_IDS_MAX ? operation->step
                                                                                   : &recover_steps[RECOVER_LAUNCHED];
}

static const Step *recover_launched(Operation *operation)
{
        Recovery *recovery = recover_of(operation);
        LaunchList verb = {.offset = (uint32_t)recovery->launched.n};

        return operation_ask_flat(operation, recovery->containerd->launch, ROW_CONTAINERD_LAUNCH_LAUNCH_LIST, &verb, NULL, 0,
                                  USEC_INFINITY);
}

static const Step *recover_on_launched(Operation *operation, const Answer *answer)
{
        Recovery *recovery = recover_of(operation);

        if (answer->outcome) {
                log_warning("recovery: containerd-launch does not list its containers: %s; leftovers stay", answer->text);
                return STEP_DONE;
        }
        const LaunchListed *listed = answer->frame->flat;
        for (uint32_t i = 0; i < MIN2(listed->n, (uint32_t)LAUNCH_LIST_MAX); i++) {
                int r = recover_ids_add(&recovery->launched, listed->ids[i]);
                if (r < 0)
                        return operation_break(operation, fold(r));
        }
        return listed->more && listed->n > 0 && recovery->launched.n < RECOVER_IDS_MAX ? operation->step
                                                                                     : &recover_steps[RECOVER_CLEAN];
}

/* Made to half when its row was lost: nothing of it ever ran, and nobody was told its id. */
static int recover_remove_unknown(Containerd *containerd, const char *id, const char *pod_id, RemoveFrom from)
{
        _cleanup_(container_freep) Container *container = NULL;
        Waiters none = {0};
        const Failure unknown = {.code = GRPC_STATUS_UNAVAILABLE, .text = "unknown"};

        int r = container_new(&container, containerd, id, pod_id, "unknown", 0);
        if (r < 0)
                return fold(r);
        container->has_lease = !str_is_empty(pod_id);
        r = container_table_add(&containerd->containers, container);
        if (r)
                return r < 0 ? fold(r) : 0;
        log_warning("container %s: it has no row here; what is left of it is removed", id);
        r = remove_undo(TAKE_PTR(container), from, &none, &unknown);
        return r < 0 ? fold(r) : 0;
}

static const char *recover_pod_of(const Recovery *recovery, const char *id)
{
        for (size_t i = 0; recovery->leases && i < recovery->leases->n_leases; i++)
                if (str_equal(recovery->leases->leases[i]->container_id, id))
                        return recovery->leases->leases[i]->pod_id;
        return "";
}

/* It was launched, so it may run, and its client may know it. */
static int recover_adopt(Containerd *containerd, const char *id, const char *pod_id)
{
        Container *container = container_table_find(&containerd->containers, id);

        if (!container) {
                int r = container_new(&container, containerd, id, pod_id, "unknown", 0);
                if (r < 0)
                        return fold(r);
                container->state = CONTAINER_STATE_UNKNOWN;
                r = container_table_add(&containerd->containers, container);
                if (r) {
                        (void)container_free(container);
                        return r < 0 ? fold(r) : 0;
                }
        }
        int r = adoption_begin(container);
        return r < 0 ? fold(r) : 0;
}

/* What the hands and sandboxd have for nobody, or for something whose row cannot be read. */
static const Step *recover_clean(Operation *operation)
{
        Recovery *recovery = recover_of(operation);
        Containerd *containerd = recovery->containerd;
        int r = 0;

        for (size_t i = 0; i < recovery->rootfs.n && r == 0; i++) {
                const char *id = recovery->rootfs.items[i];
                const Container *container = container_table_find(&containerd->containers, id);
                if (container && (container->state != CONTAINER_STATE_UNKNOWN || container->remove))
                        continue;
                if (recover_ids_has(&recovery->launched, id))
                        r = recover_adopt(containerd, id, recover_pod_of(recovery, id));
                else if (!container)
                        r = recover_remove_unknown(containerd, id, recover_pod_of(recovery, id), REMOVE_FROM_LAUNCH);
        }
        for (size_t i = 0; i < recovery->launched.n && r == 0; i++) {
                const char *id = recovery->launched.items[i];
                if (!container_table_find(&containerd->containers, id) && !exec_sync_find(containerd, id) &&
                    !session_find(containerd, id) && !recover_ids_has(&recovery->rootfs, id))
                        r = orphan_adopt(containerd, id);
        }
        for (size_t i = 0; recovery->leases && i < recovery->leases->n_leases && r == 0; i++) {
                const Bulkhead__ContainerdSandboxd__LeaseReleaseRequest *lease = recovery->leases->leases[i];
                if (id_is_valid(lease->container_id) && id_is_valid(lease->pod_id) &&
                    !container_table_find(&containerd->containers, lease->container_id))
                        r = recover_remove_unknown(containerd, lease->container_id, lease->pod_id, REMOVE_FROM_LEASE);
        }
        if (r < 0)
                return operation_break(operation, fold(r));
        return store_was_replaced(containerd->store.store) ? &recover_steps[RECOVER_HOLDS] : STEP_DONE;
}

/* What had ended is forgotten with the database; imaged still holds its image and its writable layer. */
static const Step *recover_holds(Operation *operation)
{
        Bulkhead__ContainerdImaged__HoldListRequest request = BULKHEAD__CONTAINERD_IMAGED__HOLD_LIST_REQUEST__INIT;

        return operation_ask(operation, recover_of(operation)->containerd->imaged, ROW_CONTAINERD_IMAGED_HOLD_LIST, &request.base,
                             RECOVER_READY_USEC);
}

static const Step *recover_on_holds(Operation *operation, const Answer *answer)
{
        Recovery *recovery = recover_of(operation);
        Containerd *containerd = recovery->containerd;
        int r = 0;

        if (answer->outcome && recovery->n_asked++ < RECOVER_ASKS_MAX)
                return operation_sleep(operation, RECOVER_AGAIN_USEC, operation->step); /* it recovers, too */
        if (answer->outcome) {
                log_warning("recovery: imaged does not say what it holds: %s; it is asked again at the next start", answer->text);
                recovery->has_holds_left = true;
                return STEP_DONE;
        }
        const Bulkhead__ContainerdImaged__HoldListResponse *response =
                container_of(answer->frame->message, Bulkhead__ContainerdImaged__HoldListResponse, base);
        for (size_t i = 0; i < response->n_container_ids && r == 0; i++)
                if (id_is_valid(response->container_ids[i]) && !container_table_find(&containerd->containers, response->container_ids[i]))
                        r = recover_remove_unknown(containerd, response->container_ids[i], "", REMOVE_FROM_WRITABLE);
        return r < 0 ? operation_break(operation, fold(r)) : STEP_DONE;
}

static const Step recover_steps[RECOVER_N] = {
        [RECOVER_LEASES] = {.name = "leases", .run = recover_leases, .answered = recover_on_leases},
        [RECOVER_ROOTFS] = {.name = "root file systems", .run = recover_rootfs, .answered = recover_on_rootfs},
        [RECOVER_LAUNCHED] = {.name = "exit records", .run = recover_launched, .answered = recover_on_launched},
        [RECOVER_CLEAN] = {.name = "leftovers", .run = recover_clean},
        [RECOVER_HOLDS] = {.name = "holds on images", .run = recover_holds, .answered = recover_on_holds},
};

static void recover_set_ready(Containerd *containerd, const char *why)
{
        if (containerd->is_ready)
                return;
        containerd->is_ready = true;
        if (containerd->recovery_timer)
                event_free(TAKE_PTR(containerd->recovery_timer));
        log_info("ready: %zu containers, %s", containerd->containers.n, why);
        if (containerd->service)
                service_serve(containerd->service);
        containerd_tell_ready(containerd);
}

/* A lost database counts as lost until nothing is left that only the hands remember. On a full disk it is tried at the next start. */
static int recover_forget_loss(Containerd *containerd)
{
        if (!store_was_replaced(containerd->store.store))
                return 0;
        for (size_t i = 0; i < containerd->containers.n; i++)
                if (containerd->containers.items[i]->adoption || containerd->containers.items[i]->is_adopted)
                        return 0;
        int r = store_replacement_done(containerd->store.store);
        return r < 0 ? fold(r) : 0;
}

static int recover_done(Operation *operation)
{
        Recovery *recovery = recover_of(operation);
        Containerd *containerd = recovery->containerd;

        bool is_complete = !recovery->has_holds_left;
        containerd->recovery = recover_free(recovery);
        int r = is_complete ? recover_forget_loss(containerd) : 0;
        if (r == 0)
                r = pod_end_again(containerd);
        if (r == 0)
                r = recover_on_attached(containerd);
        return r < 0 ? fold(r) : 0;
}

Recovery *recover_free(Recovery *recovery)
{
        if (!recovery)
                return NULL;
        operation_end(&recovery->operation);
        (void)frame_free(recovery->leases_frame);
        free(recovery->rootfs.items);
        free(recovery->launched.items);
        free(recovery);
        return NULL;
}

int recover_on_attached(Containerd *containerd)
{
        if (containerd->is_ready || adoption_is_blind(containerd))
                return 0;
        for (size_t i = 0; i < containerd->containers.n; i++) {
                const Container *container = containerd->containers.items[i];
                if (attach_is_open(container) && container->state != CONTAINER_STATE_EXITED)
                        return 0;
        }
        recover_set_ready(containerd, "all of them are known");
        return 0;
}

static void recover_on_timer(evutil_socket_t fd, short what, void *userdata)
{
        (void)fd;
        (void)what;
        recover_set_ready(userdata, "but not all of them could be reached in time");
}

/* After a reboot nothing runs: what did not end in the row has ended with the machine. */
static int recover_rebooted(Container *container)
{
        container->stop_deadline_usec = 0;
        container->pid = 0;
        container->log_is_lost = true;
        if (container->state == CONTAINER_STATE_EXITED)
                return 0;
        int r = exit_see_unknown(container, 255, "Unknown", "the node was rebooted while it existed");
        return r < 0 ? fold(r) : 0;
}

static int recover_container(Container *container, bool is_new_boot)
{
        Waiters none = {0};
        const Failure restarted = {.code = GRPC_STATUS_UNAVAILABLE, .text = "restarted"};
        int r = 0;

        container->has_lease = true;
        if (container->state == CONTAINER_STATE_CREATING || container->is_removing)
                r = remove_undo(container, REMOVE_FROM_LAUNCH, &none, &restarted);
        else if (container->state == CONTAINER_STATE_UNKNOWN)
                r = 0;
        else if (is_new_boot)
                r = recover_rebooted(container);
        else if (container->state == CONTAINER_STATE_STARTING && container->pid == 0 && container->message)
                r = exit_see_start_error(container, container->message);
        else if (container_is_unstartable(container))
                container->log_is_lost = true;
        else if (container->state != CONTAINER_STATE_EXITED)
                r = attach_begin(container);
        return r < 0 ? fold(r) : 0;
}

int recover_begin(Containerd *containerd)
{
        const struct timeval after = {.tv_sec = RECOVER_READY_USEC / USEC_PER_SEC};

        int r = container_store_load(&containerd->store, containerd);
        if (r < 0)
                return fold(r);
        bool is_new_boot = store_is_new_boot(containerd->store.store);
        for (size_t i = 0; i < containerd->containers.n; i++) {
                r = recover_container(containerd->containers.items[i], is_new_boot);
                if (r < 0)
                        return fold(r);
        }
        containerd->recovery_timer = event_new(containerd->base, -1, 0, recover_on_timer, containerd);
        Recovery *recovery = calloc(1, sizeof(*recovery));
        if (!recovery || !containerd->recovery_timer || event_add(containerd->recovery_timer, &after) < 0) {
                free(recovery);
                return error_origin(-ENOMEM);
        }
        recovery->containerd = containerd;
        recovery->operation = (Operation){.noun = "recovery", .id = "", .base = containerd->base, .done = recover_done,
                                          .fail = containerd_fail, .fail_userdata = containerd};
        containerd->recovery = recovery;
        r = operation_run(&recovery->operation, &recover_steps[RECOVER_LEASES]);
        if (r == 0)
                r = recover_on_attached(containerd);
        return r < 0 ? fold(r) : 0;
}
