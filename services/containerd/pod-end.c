/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/pod-end.h"

#include "ipc/edges/containerd-sandboxd.rows.h"
#include "lib/error.h"
#include "services/containerd/adoption.h"
#include "services/containerd/create.h"
#include "services/containerd/exit.h"
#include "services/containerd/remove.h"
#include "services/containerd/stop.h"

typedef struct PodEnd {
        List link; /* in Containerd.pod_ends */
        char pod_id[ID_LENGTH + 1];
        bool remove, is_seen;
        ReplyTo to;
} PodEnd;

static PodEnd *pod_end_free(PodEnd *end)
{
        list_remove(&end->link);
        free(end);
        return NULL;
}

void pod_end_free_all(Containerd *containerd)
{
        while (!list_is_empty(&containerd->pod_ends))
                (void)pod_end_free(list_first(&containerd->pod_ends, PodEnd, link));
}

void pod_end_cancelled(Containerd *containerd, uint32_t request_id)
{
        list_for_each_safe(i, next, &containerd->pod_ends) {
                PodEnd *end = container_of(i, PodEnd, link);
                if (end->to.request_id == request_id)
                        (void)pod_end_free(end);
        }
}

/* It holds the pod: because it may still run, or because it has to be removed. */
static bool pod_end_is_held_by(const PodEnd *end, const Container *container)
{
        bool may_run = !container->has_ended && (container->state == CONTAINER_STATE_STARTING || container->state == CONTAINER_STATE_RUNNING ||
                                                 (container->state == CONTAINER_STATE_CREATED && !container_is_unstartable(container)));

        /* A lease that sandboxd has lost does not make a process end. */
        return str_equal(container->pod_id, end->pod_id) && (end->remove || container->has_lease || container->create || may_run);
}

static int pod_end_begin(const PodEnd *end, Container *container)
{
        int r = 0;

        if (container->create && create_is_open(container->create))
                create_cancel(container->create, GRPC_STATUS_ABORTED, "the pod is ending");
        else if (container->adoption)
                r = 0; /* it comes back when it is known what it is */
        else if (end->remove || container->state == CONTAINER_STATE_CREATING || container->state == CONTAINER_STATE_UNKNOWN)
                /* One whose row cannot be read may run, and cannot be stopped but by taking it away. */
                r = container->remove ? 0 : remove_request(container, REPLY_TO_NULL);
        else if (container->has_ended)
                r = exit_give_back(container);
        else
                r = stop_request(container, REPLY_TO_NULL, 0);
        return r < 0 ? fold(r) : 0;
}

int pod_end_look(Containerd *containerd, const char *pod_id)
{
        Bulkhead__ContainerdSandboxd__PodEndResponse response = BULKHEAD__CONTAINERD_SANDBOXD__POD_END_RESPONSE__INIT;

        if (adoption_is_pending(containerd))
                return 0; /* pod_end_again() follows */
        list_for_each_safe(i, next, &containerd->pod_ends) {
                PodEnd *end = container_of(i, PodEnd, link);
                bool is_held = false;
                if (!str_equal(end->pod_id, pod_id))
                        continue;
                for (size_t k = 0; k < containerd->containers.n && !is_held; k++)
                        is_held = pod_end_is_held_by(end, containerd->containers.items[k]);
                if (is_held)
                        continue;
                int r = reply_send(end->to, &response.base, NULL, 0);
                (void)pod_end_free(end);
                if (r < 0)
                        return fold(r);
        }
        return 0;
}

/* Begins to end what holds the pod. */
static int pod_end_press(const PodEnd *end, Containerd *containerd)
{
        int r = 0;

        for (size_t i = 0; i < containerd->containers.n && r == 0; i++)
                if (pod_end_is_held_by(end, containerd->containers.items[i]))
                        r = pod_end_begin(end, containerd->containers.items[i]);
        return r < 0 ? fold(r) : 0;
}

static PodEnd *pod_end_next(Containerd *containerd)
{
        list_for_each(i, &containerd->pod_ends) {
                PodEnd *end = container_of(i, PodEnd, link);
                if (!end->is_seen)
                        return end;
        }
        return NULL;
}

/* Ends come and go while each of them is looked at. */
int pod_end_again(Containerd *containerd)
{
        PodEnd *end;
        int r = 0;

        if (adoption_is_pending(containerd))
                return 0;
        list_for_each(i, &containerd->pod_ends)
                container_of(i, PodEnd, link)->is_seen = false;
        while (r == 0 && (end = pod_end_next(containerd))) {
                char pod_id[ID_LENGTH + 1];
                (void)str_copy(pod_id, sizeof(pod_id), end->pod_id);
                end->is_seen = true;
                r = pod_end_press(end, containerd);
                if (r == 0)
                        r = pod_end_look(containerd, pod_id);
        }
        return r < 0 ? fold(r) : 0;
}

int pod_end_request(Containerd *containerd, const char *pod_id, bool remove, ReplyTo to)
{
        PodEnd *end = calloc(1, sizeof(*end));
        int r;

        if (!end)
                return error_origin(-ENOMEM);
        (void)str_copy(end->pod_id, sizeof(end->pod_id), pod_id);
        end->remove = remove;
        end->to = to;
        list_append(&containerd->pod_ends, &end->link);
        r = pod_end_press(end, containerd);
        if (r == 0)
                r = pod_end_look(containerd, pod_id);
        return r < 0 ? fold(r) : 0;
}
