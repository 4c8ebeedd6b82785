/* SPDX-License-Identifier: Apache-2.0 */
#include "services/sandboxd/init-watch.h"
#include "services/sandboxd/pod.h"

#include <assert.h>
#include <event2/event.h>

#include "lib/error.h"
#include "lib/log.h"
#include "services/sandboxd/sandboxd.h"

#define POD_REQUEST_BUDGET (32 * 1024 * 1024)
#define POD_RESULT_BUDGET (4 * 1024 * 1024)

/* The lengths keep two pods apart whose names would read the same when joined. */
/* Owned; NULL when memory is out. */
static char *pod_key(const Runtime__V1__PodSandboxMetadata *metadata)
{
        return str_printf("%zu_%zu_%s_%s_%s_%u", strlen(metadata->name), strlen(metadata->namespace_), metadata->name,
                          metadata->namespace_, metadata->uid, metadata->attempt);
}

int pod_set_request(Pod *pod, uint8_t *packed, size_t n_packed, const Permit *permit)
{
        _cleanup_free_ uint8_t *bytes = packed;
        _cleanup_free_ char *key = NULL;
        DecodeArena arena;
        uint8_t fingerprint[FINGERPRINT_BYTES];
        ProtobufCMessage *message = NULL;
        decode_arena_init(&arena, POD_REQUEST_BUDGET);
        int r = decode_message(&arena, &runtime__v1__run_pod_sandbox_request__descriptor, bytes, n_packed, &message);
        PodRequest *request = r == 0 ? container_of(message, PodRequest, base) : NULL;
        if (r > 0 || (request && (!request->config || !request->config->metadata)))
                r = POD_E_REQUEST;
        if (r == 0)
                r = fingerprint_make(message, fingerprint);
        if (r == 0) {
                key = pod_key(request->config->metadata);
                r = key ? 0 : error_origin(-ENOMEM);
        }
        if (r) {
                decode_arena_done(&arena);
                return r < 0 ? fold(r) : r;
        }
        decode_arena_done(&pod->arena);
        free(pod->packed);
        free(pod->key);
        pod->arena = arena;
        pod->request = request;
        pod->permit = *permit;
        pod->packed = TAKE_PTR(bytes);
        pod->n_packed = n_packed;
        pod->key = TAKE_PTR(key);
        memcpy(pod->fingerprint, fingerprint, sizeof(fingerprint));
        return 0;
}

int pod_new(Pod **ret, Sandboxd *sandboxd, const char *id, uint8_t *packed, size_t n_packed, const Permit *permit)
{
        _cleanup_free_ uint8_t *bytes = packed;
        _cleanup_(pod_freep) Pod *pod = calloc(1, sizeof(*pod));
        if (!pod)
                return error_origin(-ENOMEM);
        pod->sandboxd = sandboxd;
        pod->stage = "";
        pod->init_fd = -1;
        list_init(&pod->link);
        list_init(&pod->leases);
        decode_arena_init(&pod->arena, POD_REQUEST_BUDGET);
        decode_arena_init(&pod->result_arena, POD_RESULT_BUDGET);
        (void)str_copy(pod->id, sizeof(pod->id), id);
        int r = pod_set_request(pod, TAKE_PTR(bytes), n_packed, permit);
        if (r)
                return r < 0 ? fold(r) : r;
        *ret = TAKE_PTR(pod);
        return 0;
}

Pod *pod_free(Pod *pod)
{
        if (!pod)
                return NULL;
        if (pod->call)
                channel_cancel(pod->call_channel, pod->call);
        pod->stats = stats_free(pod->stats);
        if (pod->retry)
                event_free(pod->retry);
        if (pod->lease_timer)
                event_free(pod->lease_timer);
        init_unwatch(pod);
        list_for_each_safe(i, n, &pod->leases)
                (void)lease_free(container_of(i, Lease, link));
        list_remove(&pod->link);
        if (pod->successor)
                free(pod->successor->packed);
        free(pod->successor);
        free(pod->runs.items);
        free(pod->stops.items);
        free(pod->removes.items);
        decode_arena_done(&pod->arena);
        decode_arena_done(&pod->result_arena);
        free(pod->packed);
        free(pod->result_packed);
        free(pod->resources_packed);
        free(pod->key);
        free(pod);
        return NULL;
}

const char *pod_state_name(PodState state)
{
        static const char *const names[] = {"creating", "undoing", "ready", "ending", "stopped", "removing", "unknown"};
        return (unsigned)state < ARRAY_SIZE(names) ? names[state] : "unknown";
}

int pod_set_state(Pod *pod, PodState state, const char *why)
{
        /* From which states each one may be entered. */
        static const unsigned from[POD_STATE_N] = {
                [POD_STATE_UNDOING] = 1u << POD_STATE_CREATING,
                [POD_STATE_READY] = 1u << POD_STATE_CREATING,
                [POD_STATE_ENDING] = 1u << POD_STATE_READY | 1u << POD_STATE_UNKNOWN,
                [POD_STATE_STOPPED] = 1u << POD_STATE_ENDING,
                [POD_STATE_REMOVING] = 1u << POD_STATE_READY | 1u << POD_STATE_ENDING | 1u << POD_STATE_STOPPED |
                                       1u << POD_STATE_UNKNOWN,
        };
        assert(from[state] & (1u << pod->state));
        char title[256];
        log_info("pod %s (%.13s): %s -> %s: %s", pod_title(pod, title), pod->id, pod_state_name(pod->state), pod_state_name(state),
                 why);
        bool was_ready = pod->state == POD_STATE_READY;
        pod->state = state;
        if (state != POD_STATE_READY)
                pod->stats = stats_free(pod->stats); /* an open counter would keep the network namespace */
        int r = pod_store_put(pod->sandboxd, pod);
        if (r < 0)
                return fold(r);
        /* It is made and runs in one step, and is not ready as soon as its end begins. */
        int told = 0;
        if (state == POD_STATE_READY) {
                told = notice_send(pod, RUNTIME__V1__CONTAINER_EVENT_TYPE__CONTAINER_CREATED_EVENT);
                if (told == 0)
                        told = notice_send(pod, RUNTIME__V1__CONTAINER_EVENT_TYPE__CONTAINER_STARTED_EVENT);
        } else if (was_ready) {
                told = notice_send(pod, RUNTIME__V1__CONTAINER_EVENT_TYPE__CONTAINER_STOPPED_EVENT);
        }
        return told < 0 ? fold(told) : r;
}

int pod_set_result(Pod *pod, uint8_t *packed, size_t n)
{
        free(pod->result_packed);
        pod->result_packed = packed;
        pod->n_result_packed = n;
        pod->result = NULL;
        if (!packed)
                return 0;
        ProtobufCMessage *message = NULL;
        int r = decode_message(&pod->result_arena, &bulkhead__cni__cni_result__descriptor, packed, n, &message);
        if (r < 0)
                return fold(r);
        if (r > 0)
                return POD_E_REQUEST;
        pod->result = container_of(message, Bulkhead__Cni__CniResult, base);
        return 0;
}

bool pod_is_listed(const Pod *pod)
{
        return pod->state != POD_STATE_CREATING && pod->state != POD_STATE_UNDOING;
}

bool pod_has_host_network(const Pod *pod)
{
        return pod->permit.flags & PERMIT_FLAG_HOST_NETWORK;
}

const char *pod_title(const Pod *pod, char to[256])
{
        const Runtime__V1__PodSandboxMetadata *metadata = pod->request->config->metadata;
        (void)snprintf(to, 256, "%.120s/%.120s", metadata->namespace_, metadata->name);
        return to;
}

Pod *pods_find_key(Sandboxd *sandboxd, const char *key)
{
        list_for_each(i, &sandboxd->pods) {
                Pod *pod = container_of(i, Pod, link);
                if (str_equal(pod->key, key))
                        return pod;
        }
        return NULL;
}

Pod *pods_find(Sandboxd *sandboxd, const char *id)
{
        list_for_each(i, &sandboxd->pods) {
                Pod *pod = container_of(i, Pod, link);
                if (str_equal(pod->id, id))
                        return pod;
        }
        return NULL;
}

Pod *pods_resolve(Sandboxd *sandboxd, const char *id)
{
        Pod *found = NULL;
        if (str_is_empty(id))
                return NULL;
        list_for_each(i, &sandboxd->pods) {
                Pod *pod = container_of(i, Pod, link);
                if (!pod_is_listed(pod) || !str_has_prefix(pod->id, id))
                        continue;
                if (found)
                        return NULL;
                found = pod;
        }
        return found;
}

Lease *pod_find_lease(Pod *pod, const char *container_id)
{
        list_for_each(i, &pod->leases) {
                Lease *lease = container_of(i, Lease, link);
                if (str_equal(lease->container_id, container_id))
                        return lease;
        }
        return NULL;
}

int lease_new(Lease **ret, Pod *pod, const char *container_id)
{
        Lease *lease = calloc(1, sizeof(*lease));
        if (!lease)
                return error_origin(-ENOMEM);
        (void)str_copy(lease->container_id, sizeof(lease->container_id), container_id);
        list_append(&pod->leases, &lease->link);
        *ret = lease;
        return 0;
}

Lease *lease_free(Lease *lease)
{
        if (!lease)
                return NULL;
        list_remove(&lease->link);
        free(lease);
        return NULL;
}

int reply_list_add(ReplyList *list, ReplyTo to)
{
        ReplyTo *items = reallocarray(list->items, list->n + 1, sizeof(*items));
        if (!items)
                return error_origin(-ENOMEM);
        list->items = items;
        list->items[list->n++] = to;
        return 0;
}

void reply_list_send(ReplyList *list, const ProtobufCMessage *message)
{
        for (size_t i = 0; i < list->n; i++)
                (void)reply_send(list->items[i], message, NULL, 0);
        list->n = 0;
}

void reply_list_fail(ReplyList *list, const Refusal *refusal)
{
        for (size_t i = 0; i < list->n; i++)
                (void)reply_fail(list->items[i], refusal->code, "%s", refusal->text);
        list->n = 0;
}
