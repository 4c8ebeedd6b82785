/* SPDX-License-Identifier: Apache-2.0 */

/* What is asked of the node itself: version, condition, configuration. */

#include "ipc/cri/api.pb-c.h" /* before stdio.h: fields of CRI messages are named stdout and stderr */
#include "ipc/decode.h"
#include "ipc/edges/gatewayd-containerd.rows.h"
#include "ipc/edges/gatewayd-imaged.rows.h"
#include "ipc/edges/gatewayd-sandboxd.rows.h"
#include "lib/error.h"
#include "services/gatewayd/gatewayd.h"

#include <stdio.h>

#define NODE_STATUS_TIMEOUT (2 * USEC_PER_SEC)
#define NODE_STATE_MAX 2560 /* three texts of a database's trouble */

int node_reply(GrpcCall *call, const ProtobufCMessage *message)
{
        uint8_t *packed = NULL;
        size_t n = 0;
        int r = decode_pack(message, &packed, &n);
        if (r < 0)
                return fold(r);
        grpc_call_reply(call, packed, n);
        return 0;
}

int node_version(Gatewayd *gatewayd, GrpcCall *call)
{
        Runtime__V1__VersionResponse response = RUNTIME__V1__VERSION_RESPONSE__INIT;
        response.version = (char *)"0.1.0"; /* of the kubelet's runtime API: the kubelet checks it */
        response.runtime_name = (char *)"bulkhead";
        response.runtime_version = (char *)BULKHEAD_VERSION;
        response.runtime_api_version = (char *)"v1";
        return fold(node_reply(call, &response.base));
}

int node_runtime_config(Gatewayd *gatewayd, GrpcCall *call)
{
        Runtime__V1__RuntimeConfigResponse response = RUNTIME__V1__RUNTIME_CONFIG_RESPONSE__INIT;
        Runtime__V1__LinuxRuntimeConfiguration linux_config = RUNTIME__V1__LINUX_RUNTIME_CONFIGURATION__INIT;
        linux_config.cgroup_driver = gatewayd->config->systemd_cgroups ? RUNTIME__V1__CGROUP_DRIVER__SYSTEMD : RUNTIME__V1__CGROUP_DRIVER__CGROUPFS;
        response.linux = &linux_config;
        return fold(node_reply(call, &response.base));
}

/* A Status under way: containerd, sandboxd and imaged are asked at the same time; whichever does not answer soon is reported as
 * not ready, since the kubelet must not wait. imaged only says how its database is. */
typedef struct NodeStatus {
        Pending pending; /* first */
        Gatewayd *gatewayd;
        GrpcCall *call;
        bool verbose;
        uint32_t runtime_request, network_request, image_request;
        Frame *runtime, *network, *image; /* owned; NULL: no answer */
        char runtime_trouble[256], network_trouble[256];
} NodeStatus;

static void node_status_free(NodeStatus *status)
{
        if (status->runtime_request)
                channel_cancel(service_channel(status->gatewayd->service, EDGE_GATEWAYD_CONTAINERD), status->runtime_request);
        if (status->network_request)
                channel_cancel(service_channel(status->gatewayd->service, EDGE_GATEWAYD_SANDBOXD), status->network_request);
        if (status->image_request)
                channel_cancel(service_channel(status->gatewayd->service, EDGE_GATEWAYD_IMAGED), status->image_request);
        (void)frame_free(status->runtime);
        (void)frame_free(status->network);
        (void)frame_free(status->image);
        free(status);
}

static void node_status_on_cancel(Pending *pending)
{
        NodeStatus *status = container_of(pending, NodeStatus, pending);
        GrpcCall *call = status->call;
        call->userdata = NULL;
        node_status_free(status);
        grpc_call_fail(call, GRPC_STATUS_CANCELLED, "nobody waits for the answer any more");
}

static void node_condition_init(Runtime__V1__RuntimeCondition *condition, const char *type, bool ready, const char *reason, const char *message)
{
        runtime__v1__runtime_condition__init(condition);
        condition->type = (char *)type;
        condition->status = ready;
        condition->reason = (char *)reason;
        condition->message = (char *)message;
}

/* What the databases of the three say of themselves. The node stays ready: everything that is listed can be ended, and what is
 * new works. */
static void node_fill_state(const NodeStatus *status, Runtime__V1__RuntimeCondition *condition, char *text, size_t size)
{
        const struct {
                const char *name, *trouble;
        } rows[] = {
                {"containerd", status->runtime ? container_of(status->runtime->message,
                                                              Bulkhead__GatewaydContainerd__RuntimeStatusResponse, base)->state_trouble : ""},
                {"sandboxd", status->network ? container_of(status->network->message,
                                                            Bulkhead__GatewaydSandboxd__NetworkStatusResponse, base)->state_trouble : ""},
                {"imaged", status->image ? container_of(status->image->message,
                                                        Bulkhead__GatewaydImaged__ImageStateResponse, base)->state_trouble : ""},
        };
        size_t used = 0;
        text[0] = '\0';
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
                if (*rows[i].trouble && used < size)
                        used += (size_t)snprintf(text + used, size - used, "%s%s: %s", used ? ". " : "", rows[i].name, rows[i].trouble);
        node_condition_init(condition, "StateIntact", used == 0, used ? "DatabaseTrouble" : "", text);
}

static int node_status_finish(NodeStatus *status)
{
        if (status->runtime_request || status->network_request || status->image_request)
                return 0;
        Runtime__V1__RuntimeCondition conditions[3], *condition_pointers[3] = {&conditions[0], &conditions[1], &conditions[2]};
        char state[NODE_STATE_MAX];
        Runtime__V1__RuntimeStatus runtime_status = RUNTIME__V1__RUNTIME_STATUS__INIT;
        Runtime__V1__StatusResponse response = RUNTIME__V1__STATUS_RESPONSE__INIT;
        Runtime__V1__StatusResponse__InfoEntry infos[3], *info_pointers[3] = {&infos[0], &infos[1], &infos[2]};
        response.info = info_pointers;
        node_condition_init(&conditions[0], "RuntimeReady", false, "RuntimeDaemonNotReady", status->runtime_trouble);
        node_condition_init(&conditions[1], "NetworkReady", false, "NetworkDaemonNotReady", status->network_trouble);
        if (status->runtime) {
                const Bulkhead__GatewaydContainerd__RuntimeStatusResponse *runtime =
                        container_of(status->runtime->message, Bulkhead__GatewaydContainerd__RuntimeStatusResponse, base);
                node_condition_init(&conditions[0], "RuntimeReady", runtime->ready, runtime->reason, runtime->message);
                response.n_runtime_handlers = runtime->n_handlers;
                response.runtime_handlers = runtime->handlers;
                response.features = runtime->features;
                if (status->verbose && *runtime->config_json) {
                        runtime__v1__status_response__info_entry__init(&infos[response.n_info]);
                        infos[response.n_info].key = (char *)"config";
                        infos[response.n_info++].value = runtime->config_json;
                }
        }
        if (status->network) {
                const Bulkhead__GatewaydSandboxd__NetworkStatusResponse *network =
                        container_of(status->network->message, Bulkhead__GatewaydSandboxd__NetworkStatusResponse, base);
                node_condition_init(&conditions[1], "NetworkReady", network->ready, network->reason, network->message);
                if (status->verbose && *network->cni_config_json) {
                        runtime__v1__status_response__info_entry__init(&infos[response.n_info]);
                        infos[response.n_info].key = (char *)"cniconfig";
                        infos[response.n_info++].value = network->cni_config_json;
                }
        }
        if (status->verbose) {
                runtime__v1__status_response__info_entry__init(&infos[response.n_info]);
                infos[response.n_info].key = (char *)"lastCNILoadStatus";
                infos[response.n_info++].value = conditions[1].status ? (char *)"OK" : conditions[1].message;
        }
        node_fill_state(status, &conditions[2], state, sizeof(state));
        runtime_status.n_conditions = 3;
        runtime_status.conditions = condition_pointers;
        response.status = &runtime_status;
        status->call->userdata = NULL;
        int r = node_reply(status->call, &response.base);
        node_status_free(status);
        return r < 0 ? fold(r) : 0;
}

static int node_status_on_runtime(void *userdata, const Answer *answer)
{
        NodeStatus *status = userdata;
        status->runtime_request = 0;
        if (answer->outcome == 0)
                status->runtime = frame_keep(answer->frame);
        else
                (void)snprintf(status->runtime_trouble, sizeof(status->runtime_trouble), "containerd does not answer: %.200s", answer->text);
        return fold(node_status_finish(status));
}

static int node_status_on_network(void *userdata, const Answer *answer)
{
        NodeStatus *status = userdata;
        status->network_request = 0;
        if (answer->outcome == 0)
                status->network = frame_keep(answer->frame);
        else
                (void)snprintf(status->network_trouble, sizeof(status->network_trouble), "sandboxd does not answer: %.200s", answer->text);
        return fold(node_status_finish(status));
}

static int node_status_on_image(void *userdata, const Answer *answer)
{
        NodeStatus *status = userdata;
        status->image_request = 0;
        if (answer->outcome == 0)
                status->image = frame_keep(answer->frame);
        return fold(node_status_finish(status));
}

int node_status(Gatewayd *gatewayd, GrpcCall *call)
{
        DecodeArena arena;
        decode_arena_init(&arena, DECODE_BUDGET_FLOOR);
        ProtobufCMessage *message = NULL;
        int r = decode_message(&arena, &runtime__v1__status_request__descriptor, call->request.bytes, call->request.n_bytes, &message);
        bool verbose = r == 0 && container_of(message, Runtime__V1__StatusRequest, base)->verbose;
        decode_arena_done(&arena);
        if (r > 0) {
                grpc_call_fail(call, GRPC_STATUS_INVALID_ARGUMENT, "Status: the request does not decode");
                return 0;
        }
        NodeStatus *status = calloc(1, sizeof(*status));
        if (r < 0 || !status) {
                free(status);
                return r < 0 ? fold(r) : error_origin(-ENOMEM);
        }
        *status = (NodeStatus){.pending = {.cancel = node_status_on_cancel}, .gatewayd = gatewayd, .call = call, .verbose = verbose};
        call->userdata = &status->pending;
        uint64_t deadline = clock_monotonic_usec() + NODE_STATUS_TIMEOUT;
        Bulkhead__GatewaydContainerd__RuntimeStatusRequest runtime = BULKHEAD__GATEWAYD_CONTAINERD__RUNTIME_STATUS_REQUEST__INIT;
        Bulkhead__GatewaydSandboxd__NetworkStatusRequest network = BULKHEAD__GATEWAYD_SANDBOXD__NETWORK_STATUS_REQUEST__INIT;
        Bulkhead__GatewaydImaged__ImageStateRequest image = BULKHEAD__GATEWAYD_IMAGED__IMAGE_STATE_REQUEST__INIT;
        r = channel_call(service_channel(gatewayd->service, EDGE_GATEWAYD_CONTAINERD), ROW_GATEWAYD_CONTAINERD_RUNTIME_STATUS, &runtime.base,
                         NULL, 0, deadline, node_status_on_runtime, status, &status->runtime_request);
        if (r == 0)
                r = channel_call(service_channel(gatewayd->service, EDGE_GATEWAYD_IMAGED), ROW_GATEWAYD_IMAGED_IMAGE_STATE, &image.base,
                                 NULL, 0, deadline, node_status_on_image, status, &status->image_request);
        if (r == 0)
                r = channel_call(service_channel(gatewayd->service, EDGE_GATEWAYD_SANDBOXD), ROW_GATEWAYD_SANDBOXD_NETWORK_STATUS, &network.base,
                                 NULL, 0, deadline, node_status_on_network, status, &status->network_request);
        return r < 0 ? fold(r) : 0;
}
