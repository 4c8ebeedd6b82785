/* SPDX-License-Identifier: Apache-2.0 */

/* One call: decoded within a budget, validated, re-encoded (what we do not know is gone), given an id and a permit where it has an
 * effect on the host, sent to the brain that the method names; its answer goes back as it came. */

#include "ipc/cri/api.pb-c.h" /* before stdio.h: fields of CRI messages are named stdout and stderr */
#include "ipc/decode.h"
#include "ipc/edges/gatewayd-containerd.rows.h"
#include "ipc/edges/gatewayd-sandboxd.rows.h"
#include "lib/error.h"
#include "lib/log.h"
#include "services/gatewayd/gatewayd.h"

#include <stdio.h>

#define FORWARD_READ_TIMEOUT (30 * USEC_PER_SEC)
#define FORWARD_CHANGE_TIMEOUT (5 * 60 * USEC_PER_SEC)

typedef struct Forward {
        Pending pending; /* first */
        Gatewayd *gatewayd;
        const Method *method;
        MethodAnswered answered; /* NULL: the answer goes back as it came */
        GrpcCall *call;
        Channel *channel;
        uint32_t request_id; /* 0: nothing under way */
        unsigned tries;
        uint64_t deadline_usec;
        uint8_t *packed; /* owned; the canonical request, then the wrapped one */
        size_t n_packed;
        Permit permit;
} Forward;

uint64_t forward_deadline(const Method *method, const GrpcCall *call)
{
        uint64_t now = clock_monotonic_usec();
        if (call->deadline_usec != USEC_INFINITY || method->deadline == DEADLINE_CLIENT)
                return call->deadline_usec;
        return now + (method->deadline == DEADLINE_READ ? FORWARD_READ_TIMEOUT : FORWARD_CHANGE_TIMEOUT);
}

static Forward *forward_free(Forward *forward)
{
        if (!forward)
                return NULL;
        if (forward->request_id)
                channel_cancel(forward->channel, forward->request_id);
        free(forward->packed);
        free(forward);
        return NULL;
}
DEFINE_CLEANUP(Forward, forward_free)

static void forward_on_cancel(Pending *pending)
{
        Forward *forward = container_of(pending, Forward, pending);
        GrpcCall *call = forward->call;
        call->userdata = NULL;
        (void)forward_free(forward);
        grpc_call_fail(call, GRPC_STATUS_CANCELLED, "nobody waits for the answer any more");
}

static int forward_fail(Forward *forward, uint32_t code, const char *text)
{
        GrpcCall *call = forward->call;
        call->userdata = NULL;
        (void)forward_free(forward);
        grpc_call_fail(call, (GrpcStatus)code, text);
        return 0;
}

static int forward_send(Forward *forward);

static int forward_on_answer(void *userdata, const Answer *answer)
{
        Forward *forward = userdata;
        forward->request_id = 0;
        if (answer->outcome == CHANNEL_E_LOST && forward->method->deadline == DEADLINE_READ && forward->tries++ < 3)
                return fold(forward_send(forward)); /* a read can be repeated: the brain is being restarted */
        if (answer->outcome == CHANNEL_E_LOST)
                return fold(forward_fail(forward, GRPC_STATUS_UNAVAILABLE,
                                         "the responsible daemon ended while it worked on this; it is being restarted: try again"));
        if (answer->outcome != 0)
                return fold(forward_fail(forward, answer->code, answer->text));
        if (forward->answered) {
                Gatewayd *gatewayd = forward->gatewayd;
                MethodAnswered answered = forward->answered;
                GrpcCall *taken = forward->call;
                taken->userdata = NULL;
                (void)forward_free(forward);
                return fold(answered(gatewayd, taken, answer->frame));
        }
        const WireFrame *wire = &answer->frame->wire;
        void *bytes = NULL;
        if (wire->header.length > 0) {
                bytes = malloc(wire->header.length);
                if (!bytes)
                        return error_origin(-ENOMEM);
                memcpy(bytes, wire->payload, wire->header.length);
        }
        GrpcCall *call = forward->call;
        call->userdata = NULL;
        (void)forward_free(forward);
        grpc_call_reply(call, bytes, wire->header.length);
        return 0;
}

static int forward_send(Forward *forward)
{
        return fold(channel_call_packed(forward->channel, forward->method->row, forward->packed, forward->n_packed,
                                        forward->deadline_usec, forward_on_answer, forward, &forward->request_id));
}

/* Every call that carries a permit has the same three fields; the request's bytes are exactly those that the permit's hash covers. */
static int forward_send_with_permit(Forward *forward)
{
        Permit *permit = &forward->permit;
        permit_seal(permit, forward->packed, forward->n_packed, service_permit_key(forward->gatewayd->service));
        Bulkhead__GatewaydSandboxd__RunPodSandboxCall wrapped = BULKHEAD__GATEWAYD_SANDBOXD__RUN_POD_SANDBOX_CALL__INIT;
        wrapped.request = (ProtobufCBinaryData){.len = forward->n_packed, .data = forward->packed};
        wrapped.id = permit->id;
        wrapped.permit = (ProtobufCBinaryData){.len = sizeof(*permit), .data = (uint8_t *)permit};
        uint8_t *packed = NULL;
        size_t n = 0;
        int r = decode_pack(&wrapped.base, &packed, &n);
        if (r < 0)
                return fold(r);
        free(forward->packed);
        forward->packed = packed;
        forward->n_packed = n;
        return fold(forward_send(forward));
}

/* The only object whose id begins so; the answer is believed only as far as the kubelet's own words go. */
static int forward_on_resolved(void *userdata, const Answer *answer)
{
        Forward *forward = userdata;
        Permit *permit = &forward->permit;
        forward->request_id = 0;
        if (answer->outcome != 0)
                return fold(forward_fail(forward, answer->outcome == CHANNEL_E_LOST ? GRPC_STATUS_UNAVAILABLE : answer->code, answer->text));
        const char *id = NULL;
        size_t n = 0;
        if (answer->frame->message->descriptor == &runtime__v1__list_pod_sandbox_response__descriptor) {
                const Runtime__V1__ListPodSandboxResponse *pods =
                        container_of(answer->frame->message, Runtime__V1__ListPodSandboxResponse, base);
                n = pods->n_items;
                id = n == 1 ? pods->items[0]->id : NULL;
        } else {
                const Runtime__V1__ListContainersResponse *containers =
                        container_of(answer->frame->message, Runtime__V1__ListContainersResponse, base);
                n = containers->n_containers;
                id = n == 1 ? containers->containers[0]->id : NULL;
        }
        char text[256];
        if (!id || !id_is_valid(id) || !str_has_prefix(id, permit->pod_id)) {
                (void)snprintf(text, sizeof(text), n > 1 ? "%.64s is the beginning of several ids; write more of it" : "%.64s does not exist",
                               permit->pod_id);
                return fold(forward_fail(forward, n > 1 ? GRPC_STATUS_INVALID_ARGUMENT : GRPC_STATUS_NOT_FOUND, text));
        }
        memcpy(permit->pod_id, id, ID_LENGTH + 1);
        return fold(forward_send_with_permit(forward));
}

static int forward_resolve(Forward *forward, bool is_pod)
{
        char *prefix = forward->permit.pod_id;
        if (is_pod) {
                Runtime__V1__ListPodSandboxRequest list = RUNTIME__V1__LIST_POD_SANDBOX_REQUEST__INIT;
                Runtime__V1__PodSandboxFilter filter = RUNTIME__V1__POD_SANDBOX_FILTER__INIT;
                filter.id = prefix;
                list.filter = &filter;
                forward->channel = service_channel(forward->gatewayd->service, EDGE_GATEWAYD_SANDBOXD);
                return fold(channel_call(forward->channel, ROW_GATEWAYD_SANDBOXD_LIST_POD_SANDBOX, &list.base, NULL, 0, forward->deadline_usec,
                                         forward_on_resolved, forward, &forward->request_id));
        }
        Runtime__V1__ListContainersRequest list = RUNTIME__V1__LIST_CONTAINERS_REQUEST__INIT;
        Runtime__V1__ContainerFilter filter = RUNTIME__V1__CONTAINER_FILTER__INIT;
        filter.id = prefix;
        list.filter = &filter;
        return fold(channel_call(forward->channel, ROW_GATEWAYD_CONTAINERD_LIST_CONTAINERS, &list.base, NULL, 0, forward->deadline_usec,
                                 forward_on_resolved, forward, &forward->request_id));
}

/* An unknown handler is refused before anything is made for the pod. */
static bool forward_handler_is_known(Forward *forward, const char *handler, char text[256])
{
        const ConfigGatewayd *config = forward->gatewayd->config;
        size_t used = (size_t)snprintf(text, 256, "RunPodSandbox: no runtime handler \"%.64s\"; this node has", handler);
        for (uint32_t i = 0; i < config->n_handlers; i++) {
                if (str_is_empty(handler) || str_equal(handler, config->handlers[i]))
                        return true;
                if (used < 256)
                        used += (size_t)snprintf(text + used, 256 - used, " %s", config->handlers[i]);
        }
        return false;
}

static int forward_permit(Forward *forward, const ProtobufCMessage *message)
{
        Permit *permit = &forward->permit;
        const char *object = "", *why = NULL;
        char text[256];
        permit->verb = forward->method->verb;
        if (facts_fill(permit, permit->verb, message, &object, &why) != 0) {
                (void)snprintf(text, sizeof(text), "%s: %s", forward->method->row->name, why);
                return fold(forward_fail(forward, GRPC_STATUS_INVALID_ARGUMENT, text));
        }
        seal_id_new(permit->id);
        if (permit->verb == PERMIT_VERB_RUN_POD) {
                const char *handler = container_of(message, Runtime__V1__RunPodSandboxRequest, base)->runtime_handler;
                if (!forward_handler_is_known(forward, handler, text))
                        return fold(forward_fail(forward, GRPC_STATUS_NOT_FOUND, text));
                memcpy(permit->pod_id, permit->id, sizeof(permit->id));
                return fold(forward_send_with_permit(forward));
        }
        if (strlen(object) > ID_LENGTH || str_is_empty(object) || strspn(object, "0123456789abcdef") != strlen(object)) {
                (void)snprintf(text, sizeof(text), "\"%.100s\" does not exist: it is not an id or the beginning of one", object);
                return fold(forward_fail(forward, GRPC_STATUS_NOT_FOUND, text));
        }
        (void)str_copy(permit->pod_id, sizeof(permit->pod_id), object);
        if (strlen(object) < ID_LENGTH)
                return fold(forward_resolve(forward, permit->verb == PERMIT_VERB_CREATE_CONTAINER || permit->verb == PERMIT_VERB_PORT_FORWARD));
        return fold(forward_send_with_permit(forward));
}

int forward_call(Gatewayd *gatewayd, const Method *method, GrpcCall *call)
{
        return fold(forward_call_then(gatewayd, method, call, NULL));
}

int forward_call_then(Gatewayd *gatewayd, const Method *method, GrpcCall *call, MethodAnswered answered)
{
        _cleanup_(forward_freep) Forward *forward = calloc(1, sizeof(*forward));
        if (!forward)
                return error_origin(-ENOMEM);
        *forward = (Forward){
                .pending = {.cancel = forward_on_cancel},
                .gatewayd = gatewayd,
                .method = method,
                .answered = answered,
                .call = call,
                .channel = service_channel(gatewayd->service, method->edge),
                .deadline_usec = forward_deadline(method, call),
        };
        DecodeArena arena;
        size_t budget = MIN2(call->request.n_bytes * DECODE_BUDGET_FACTOR + DECODE_BUDGET_FLOOR, (size_t)DECODE_BUDGET_MAX);
        decode_arena_init(&arena, budget);
        ProtobufCMessage *message = NULL;
        int r = decode_message(&arena, method->request, call->request.bytes, call->request.n_bytes, &message);
        if (r > 0) {
                char text[256];
                (void)snprintf(text, sizeof(text), "%s: the request does not decode: %s", method->grpc.path, decode_outcome_name(r));
                decode_arena_done(&arena);
                grpc_call_fail(call, GRPC_STATUS_INVALID_ARGUMENT, text);
                return 0;
        }
        if (r == 0)
                r = decode_pack(message, &forward->packed, &forward->n_packed);
        if (r == 0) {
                grpc_call_drop_request(call);
                call->userdata = &forward->pending;
                Forward *handed = TAKE_PTR(forward);
                r = method->verb ? forward_permit(handed, message) : forward_send(handed);
        }
        decode_arena_done(&arena);
        return r < 0 ? fold(r) : 0;
}
