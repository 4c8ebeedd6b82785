/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/remove.h"

#include "ipc/edges/containerd-imaged.rows.h"
#include "ipc/edges/containerd-launch.rows.h"
#include "ipc/edges/containerd-logd.rows.h"
#include "ipc/edges/containerd-sandboxd.rows.h"
#include "ipc/edges/containerd-setup.rows.h"
#include "ipc/edges/gatewayd-containerd.rows.h"
#include "lib/error.h"
#include "lib/log.h"
#include "services/containerd/adoption.h"
#include "services/containerd/attach.h"
#include "services/containerd/checkpoint.h"
#include "services/containerd/create.h"
#include "services/containerd/exit.h"
#include "services/containerd/log-link.h"
#include "services/containerd/notice.h"
#include "services/containerd/shim-link.h"
#include "services/containerd/start.h"
#include "services/containerd/stop.h"

struct Remove {
        Operation operation;
        Container *container;  /* borrowed; owns us */
        Waiters waiters;       /* RemoveContainer */
        Waiters creators;      /* CreateContainer whose work is undone */
        Failure create_failure; /* what the creators get */
        Failure failure;       /* of the removal */
        bool is_undo;
};

enum {
        REMOVE_STOP,
        REMOVE_LOG,
        REMOVE_LAUNCH,
        REMOVE_ROOTFS,
        REMOVE_LAUNCH_AGAIN,
        REMOVE_WRITABLE,
        REMOVE_IMAGE,
        REMOVE_LEASE,
        REMOVE_ROW,
        REMOVE_N
};
static const Step remove_steps[REMOVE_N];

static const Step *remove_fail(Remove *remove, uint32_t code, const char *why)
{
        (void)failure_set(&remove->failure, code, "remove container %s (\"%.80s\"): %s: %s", remove->container->id,
                          remove->container->name, remove->operation.step->name, why);
        return STEP_DONE;
}

static const Step *remove_on_done(Operation *operation, const Answer *answer)
{
        Remove *remove = container_of(operation, Remove, operation);

        return answer->outcome ? remove_fail(remove, answer->code, answer->text) : operation->step + 1;
}

/* One that runs is stopped at once. One that was never started has nothing to say: the runtime takes it away as it is. */
static const Step *remove_stop(Operation *operation)
{
        Remove *remove = container_of(operation, Remove, operation);
        Container *container = remove->container;
        bool has_process = container->state == CONTAINER_STATE_STARTING || container->state == CONTAINER_STATE_RUNNING ||
                           container->exit_seen;

        if (container->create) /* remove_on_made() */
                return STEP_WAIT;
        if (!has_process || container->has_ended)
                return operation->step + 1;
        int r = stop_request(container, REPLY_TO_NULL, 0);
        return r < 0 ? operation_break(operation, fold(r)) : STEP_WAIT;
}

/* Whatever else is under way with it ends here. */
static const Step *remove_log(Operation *operation)
{
        Remove *remove = container_of(operation, Remove, operation);
        Container *container = remove->container;
        Bulkhead__ContainerdLogd__LogClose request = BULKHEAD__CONTAINERD_LOGD__LOG_CLOSE__INIT;

        container->start = start_free(container->start);
        container->stop = stop_free(container->stop);
        container->exit = exit_free(container->exit);
        container->attach = attach_free(container->attach);
        container->checkpoint = checkpoint_free(container->checkpoint);
        container->adoption = adoption_free(container->adoption);
        container->log_link = log_link_free(container->log_link);
        container->shim = shim_link_free(container->shim);
        container->pidfd = fd_close(container->pidfd);
        log_streams_done(&container->log_streams);
        if (!container->log_is_open)
                return operation->step + 1;
        request.container_id = container->id;
        return operation_ask(operation, container->containerd->logd, ROW_CONTAINERD_LOGD_LOG_CLOSE, &request.base,
                             OPERATION_TIMEOUT_USEC);
}

static const Step *remove_on_log(Operation *operation, const Answer *answer)
{
        if (answer->outcome == 0)
                container_of(operation, Remove, operation)->container->log_is_open = false;
        return remove_on_done(operation, answer);
}

static const Step *remove_launch(Operation *operation)
{
        Remove *remove = container_of(operation, Remove, operation);
        LaunchContainer verb = {.runtime = remove->container->runtime};

        if (remove->container->is_cleared) /* when it ended */
                return &remove_steps[REMOVE_WRITABLE];
        (void)str_copy(verb.id, sizeof(verb.id), remove->container->id);
        return operation_ask_flat(operation, remove->container->containerd->launch, ROW_CONTAINERD_LAUNCH_LAUNCH_DELETE, &verb,
                                  NULL, 0, OPERATION_TIMEOUT_USEC);
}

static const Step *remove_rootfs(Operation *operation)
{
        Remove *remove = container_of(operation, Remove, operation);
        SetupContainer verb = {0};

        (void)str_copy(verb.id, sizeof(verb.id), remove->container->id);
        return operation_ask_flat(operation, remove->container->containerd->setup, ROW_CONTAINERD_SETUP_ROOTFS_REMOVE, &verb, NULL,
                                  0, OPERATION_TIMEOUT_USEC);
}

/* A child of launch that was asked before a crash may only now have come to making the container. Without its root file system no
 * other can. */
static const Step *remove_launch_again(Operation *operation)
{
        return container_of(operation, Remove, operation)->is_undo ? remove_launch(operation) : operation->step + 1;
}

static const Step *remove_writable(Operation *operation)
{
        Remove *remove = container_of(operation, Remove, operation);
        Bulkhead__ContainerdImaged__WritableRemoveRequest request = BULKHEAD__CONTAINERD_IMAGED__WRITABLE_REMOVE_REQUEST__INIT;

        request.container_id = remove->container->id;
        return operation_ask(operation, remove->container->containerd->imaged, ROW_CONTAINERD_IMAGED_WRITABLE_REMOVE,
                             &request.base, OPERATION_TIMEOUT_USEC);
}

/* imaged releases the image with the writable layer. */
static const Step *remove_on_writable(Operation *operation, const Answer *answer)
{
        Remove *remove = container_of(operation, Remove, operation);

        return answer->outcome ? remove_fail(remove, answer->code, answer->text) : &remove_steps[REMOVE_LEASE];
}

static const Step *remove_image(Operation *operation)
{
        Remove *remove = container_of(operation, Remove, operation);
        Bulkhead__ContainerdImaged__ImageReleaseRequest request = BULKHEAD__CONTAINERD_IMAGED__IMAGE_RELEASE_REQUEST__INIT;

        request.container_id = remove->container->id;
        return operation_ask(operation, remove->container->containerd->imaged, ROW_CONTAINERD_IMAGED_IMAGE_RELEASE, &request.base,
                             OPERATION_TIMEOUT_USEC);
}

static const Step *remove_lease(Operation *operation)
{
        Remove *remove = container_of(operation, Remove, operation);

        return remove->container->has_lease ? exit_lease_ask(operation, remove->container) : operation->step + 1;
}

static const Step *remove_on_lease(Operation *operation, const Answer *answer)
{
        Remove *remove = container_of(operation, Remove, operation);

        if (answer->outcome)
                return remove_fail(remove, answer->code, answer->text);
        remove->container->has_lease = false;
        return operation->step + 1;
}

static const Step *remove_row(Operation *operation)
{
        Remove *remove = container_of(operation, Remove, operation);

        int r = container_store_remove(&remove->container->containerd->store, remove->container);
        if (r < 0)
                return operation_break(operation, fold(r));
        return r > 0 ? remove_fail(remove, GRPC_STATUS_RESOURCE_EXHAUSTED,
                                   "the disk of the runtime's state directory is full; free space and try again")
                     : STEP_DONE;
}

static const Step remove_steps[REMOVE_N] = {
        [REMOVE_STOP] = {.name = "stop", .run = remove_stop},
        [REMOVE_LOG] = {.name = "log", .run = remove_log, .answered = remove_on_log},
        [REMOVE_LAUNCH] = {.name = "OCI runtime", .run = remove_launch, .answered = remove_on_done},
        [REMOVE_ROOTFS] = {.name = "root file system", .run = remove_rootfs, .answered = remove_on_done},
        [REMOVE_LAUNCH_AGAIN] = {.name = "OCI runtime, again", .run = remove_launch_again, .answered = remove_on_done},
        [REMOVE_WRITABLE] = {.name = "writable layer", .run = remove_writable, .answered = remove_on_writable},
        [REMOVE_IMAGE] = {.name = "image", .run = remove_image, .answered = remove_on_done},
        [REMOVE_LEASE] = {.name = "lease on the pod", .run = remove_lease, .answered = remove_on_lease},
        [REMOVE_ROW] = {.name = "record", .run = remove_row},
};

static const Step *remove_first(RemoveFrom from)
{
        switch (from) {
        case REMOVE_FROM_LAUNCH:
                return &remove_steps[REMOVE_LOG];
        case REMOVE_FROM_ROOTFS:
                return &remove_steps[REMOVE_ROOTFS];
        case REMOVE_FROM_WRITABLE:
                return &remove_steps[REMOVE_WRITABLE];
        case REMOVE_FROM_IMAGE:
                return &remove_steps[REMOVE_IMAGE];
        case REMOVE_FROM_LEASE:
                return &remove_steps[REMOVE_LEASE];
        case REMOVE_FROM_ROW:
                break;
        }
        return &remove_steps[REMOVE_ROW];
}

/* The calls that waited for the name, each as if it came now. */
static int remove_let_successors(Containerd *containerd, Frame **frames, size_t n)
{
        int result = 0;

        for (size_t i = 0; i < n; i++) {
                int r = result < 0 ? 0 : create_request(containerd, frames[i]);
                if (r != CREATE_E_KEPT)
                        (void)frame_free(frames[i]);
                if (r < 0)
                        result = fold(r);
        }
        free(frames);
        return result;
}

static int remove_refuse_successors(Container *container, const Failure *failure)
{
        int result = 0;

        for (size_t i = 0; i < container->n_successors; i++) {
                int r = reply_fail(frame_reply_to(container->successors[i]), failure->code, "%s", failure->text);
                (void)frame_free(container->successors[i]);
                if (r < 0)
                        result = fold(r);
        }
        free(TAKE_PTR(container->successors));
        container->n_successors = 0;
        return result;
}

static int remove_done(Operation *operation)
{
        Remove *remove = container_of(operation, Remove, operation);
        Container *container = remove->container;
        Containerd *containerd = container->containerd;
        Runtime__V1__RemoveContainerResponse response = RUNTIME__V1__REMOVE_CONTAINER_RESPONSE__INIT;
        char pod_id[ID_LENGTH + 1];
        bool failed = failure_is_set(&remove->failure);

        (void)str_copy(pod_id, sizeof(pod_id), container->pod_id);
        int r = failed || container->state == CONTAINER_STATE_CREATING
                        ? 0 : notice_send(container, RUNTIME__V1__CONTAINER_EVENT_TYPE__CONTAINER_DELETED_EVENT);
        if (r == 0)
                r = waiters_fail(&remove->creators, &remove->create_failure);
        if (r == 0)
                r = failed ? waiters_fail(&remove->waiters, &remove->failure) : waiters_reply(&remove->waiters, &response.base);
        container->remove = NULL;
        if (r == 0 && failed) {
                log_warning("%s", remove->failure.text);
                containerd_pulse_soon(containerd);
                r = remove_refuse_successors(container, &remove->failure);
        } else if (r == 0) {
                Frame **successors = TAKE_PTR(container->successors);
                size_t n = container->n_successors;
                container->n_successors = 0;
                log_info("container %s (%s): removed", container->id, container->name);
                (void)remove_free(TAKE_PTR(remove));
                (void)container_free(container_table_remove(&containerd->containers, container));
                r = remove_let_successors(containerd, successors, n);
        }
        (void)remove_free(remove);
        if (r == 0)
                r = containerd_pod_changed(containerd, pod_id);
        return r < 0 ? fold(r) : 0;
}

Remove *remove_free(Remove *remove)
{
        if (!remove)
                return NULL;
        operation_end(&remove->operation);
        waiters_abandon(&remove->waiters, "remove container", remove->operation.id);
        waiters_abandon(&remove->creators, "create container", remove->operation.id);
        free(remove);
        return NULL;
}

/* The intent is recorded before the first effect. */
static int remove_new(Container *container, Remove **ret)
{
        Containerd *containerd = container->containerd;
        Remove *remove = calloc(1, sizeof(*remove));

        if (!remove)
                return error_origin(-ENOMEM);
        remove->container = container;
        remove->operation = (Operation){.noun = "remove", .id = container->id, .base = containerd->base, .done = remove_done,
                                        .fail = containerd_fail, .fail_userdata = containerd};
        container->remove = remove;
        *ret = remove;
        if (container->is_removing || container->state == CONTAINER_STATE_CREATING)
                return 0;
        container->is_removing = true;
        int r = container->state == CONTAINER_STATE_UNKNOWN ? 0 : container_store_save(&containerd->store, container);
        return r < 0 ? fold(r) : 0;
}

int remove_request(Container *container, ReplyTo to)
{
        Remove *remove = container->remove;
        bool is_new = !remove;
        int r = is_new ? remove_new(container, &remove) : 0;

        if (r == 0 && to.channel) {
                r = waiters_add(&remove->waiters, to);
                if (r == WAITERS_E_FULL)
                        r = reply_fail(to, GRPC_STATUS_RESOURCE_EXHAUSTED, "remove container %s: too many calls wait for it; wait",
                                       container->id);
        }
        if (r == 0 && is_new)
                r = operation_run(&remove->operation, &remove_steps[REMOVE_STOP]);
        return r < 0 ? fold(r) : 0;
}

int remove_undo(Container *container, RemoveFrom from, Waiters *waiters, const Failure *failure)
{
        Remove *remove = NULL;

        int r = remove_new(container, &remove);
        if (r < 0)
                return fold(r);
        remove->is_undo = from == REMOVE_FROM_LAUNCH;
        remove->creators = *waiters;
        remove->create_failure = *failure;
        *waiters = (Waiters){0};
        r = operation_run(&remove->operation, remove_first(from));
        return r < 0 ? fold(r) : 0;
}

int remove_on_made(Container *container)
{
        Remove *remove = container->remove;

        if (!remove || remove->operation.step != &remove_steps[REMOVE_STOP])
                return 0;
        int r = operation_run(&remove->operation, &remove_steps[REMOVE_STOP]);
        return r < 0 ? fold(r) : 0;
}

int remove_on_ended(Container *container)
{
        Remove *remove = container->remove;

        if (!remove || remove->operation.step != &remove_steps[REMOVE_STOP])
                return 0;
        int r = operation_run(&remove->operation, &remove_steps[REMOVE_LOG]);
        return r < 0 ? fold(r) : 0;
}
