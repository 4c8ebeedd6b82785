/* SPDX-License-Identifier: Apache-2.0 */
#include "services/sandboxd/network.h"

#include <event2/event.h>
#include <sys/stat.h>

#include "ipc/edges/gatewayd-sandboxd.pb-c.h"
#include "ipc/edges/sandboxd-cni.h"
#include "ipc/edges/sandboxd-cni.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/log.h"

#define NETWORK_RUN_TIMEOUT (300 * USEC_PER_SEC) /* sandboxd-cni has a shorter one for each plugin */
#define NETWORK_FRESH (2 * USEC_PER_SEC)
#define NETWORK_ASK_TIMEOUT (1 * USEC_PER_SEC)
#define NETWORK_RESULT_MAX (1024 * 1024)

static int network_request(const Pod *pod, bool add, int *ret_fd)
{
        const Runtime__V1__PodSandboxConfig *config = pod->request->config;
        Bulkhead__Cni__CniRequest request = BULKHEAD__CNI__CNI_REQUEST__INIT;
        request.pod_id = (char *)pod->id;
        request.pod_name = config->metadata->name;
        request.pod_namespace = config->metadata->namespace_;
        request.pod_uid = config->metadata->uid;
        request.cgroup_parent = config->linux ? config->linux->cgroup_parent : (char *)"";
        if (add)
                request.run_pod_request = (ProtobufCBinaryData){.len = pod->n_packed, .data = pod->packed};
        if (config->dns_config) {
                request.n_dns_servers = config->dns_config->n_servers;
                request.dns_servers = config->dns_config->servers;
                request.n_dns_searches = config->dns_config->n_searches;
                request.dns_searches = config->dns_config->searches;
                request.n_dns_options = config->dns_config->n_options;
                request.dns_options = config->dns_config->options;
        }
        static const char *const protocols[] = {"tcp", "udp", "sctp"};
        _cleanup_free_ Bulkhead__Cni__PortMap *maps = calloc(config->n_port_mappings + 1, sizeof(*maps));
        _cleanup_free_ Bulkhead__Cni__PortMap **pointers = calloc(config->n_port_mappings + 1, sizeof(*pointers));
        if (!maps || !pointers)
                return error_origin(-ENOMEM);
        request.port_mappings = pointers;
        for (size_t i = 0; i < config->n_port_mappings; i++) {
                const Runtime__V1__PortMapping *mapping = config->port_mappings[i];
                if (mapping->host_port <= 0)
                        continue; /* only a declaration */
                Bulkhead__Cni__PortMap *map = &maps[request.n_port_mappings];
                bulkhead__cni__port_map__init(map);
                map->host_port = (uint32_t)mapping->host_port;
                map->container_port = (uint32_t)mapping->container_port;
                map->protocol = (char *)protocols[(unsigned)mapping->protocol < ARRAY_SIZE(protocols) ? mapping->protocol : 0];
                map->host_ip = mapping->host_ip;
                pointers[request.n_port_mappings++] = map;
        }
        _cleanup_free_ uint8_t *packed = NULL;
        size_t n = 0;
        int r = decode_pack(&request.base, &packed, &n);
        return r < 0 ? fold(r) : fold(fd_memfd_sealed("cni-request", packed, n, ret_fd));
}

static int network_run(Pod *pod, uint32_t verb_id, AnswerCallback callback)
{
        CniRun verb = {.verb = verb_id, .permit = pod->permit};
        (void)str_copy(verb.pod_id, sizeof(verb.pod_id), pod->id);
        (void)str_copy(verb.network_pin, sizeof(verb.network_pin), pod->network_pin);
        _cleanup_fd_ int fd = -1;
        int r = network_request(pod, verb_id == CNI_VERB_ADD, &fd);
        if (r < 0)
                return fold(r);
        pod->call_channel = sandboxd_cni(pod->sandboxd);
        return fold(channel_call_flat(pod->call_channel, ROW_SANDBOXD_CNI_CNI_RUN, &verb, &fd, 1,
                                      clock_monotonic_usec() + NETWORK_RUN_TIMEOUT, callback, pod, &pod->call));
}

int network_add(Pod *pod, AnswerCallback callback)
{
        return fold(network_run(pod, CNI_VERB_ADD, callback));
}

int network_delete(Pod *pod, AnswerCallback callback)
{
        return fold(network_run(pod, CNI_VERB_DEL, callback));
}

/* Reads a sealed memfd that came with a frame into owned bytes; 1 if there is none that can be read. */
static int network_read_memfd(Frame *frame, uint8_t **ret, size_t *ret_n)
{
        _cleanup_fd_ int fd = frame_take_fd(frame, 0);
        struct stat st;
        if (fd < 0 || fstat(fd, &st) < 0 || st.st_size <= 0 || st.st_size > NETWORK_RESULT_MAX)
                return 1;
        _cleanup_free_ uint8_t *bytes = malloc((size_t)st.st_size);
        if (!bytes)
                return error_origin(-ENOMEM);
        if (fd_pread_full(fd, bytes, (size_t)st.st_size, 0) < 0)
                return 1;
        *ret = TAKE_PTR(bytes);
        *ret_n = (size_t)st.st_size;
        return 0;
}

int network_take_result(Pod *pod, Frame *frame)
{
        uint8_t *packed = NULL;
        size_t n = 0;
        int r = network_read_memfd(frame, &packed, &n);
        if (r)
                return r < 0 ? fold(r) : POD_E_REQUEST;
        r = pod_set_result(pod, packed, n);
        return r < 0 ? fold(r) : r;
}

/* What was last heard, and who waits to hear it. */
typedef struct NetworkView {
        const Sandboxd *sandboxd; /* owns us */
        uint64_t heard_usec; /* 0: never */
        DecodeArena arena;
        Bulkhead__Cni__CniStatus *status; /* in the arena; NULL: unknown */
        uint32_t call;
        ReplyList waiting;
} NetworkView;

int network_view_init(Sandboxd *sandboxd)
{
        sandboxd->network = calloc(1, sizeof(*sandboxd->network));
        if (!sandboxd->network)
                return error_origin(-ENOMEM);
        sandboxd->network->sandboxd = sandboxd;
        decode_arena_init(&sandboxd->network->arena, NETWORK_RESULT_MAX);
        return 0;
}

void network_view_done(Sandboxd *sandboxd)
{
        NetworkView *view = TAKE_PTR(sandboxd->network);
        if (!view)
                return;
        decode_arena_done(&view->arena);
        free(view->waiting.items);
        free(view);
}

static void network_view_reply(NetworkView *view, const char *trouble)
{
        char state_trouble[STORE_TROUBLE_MAX];
        Bulkhead__GatewaydSandboxd__NetworkStatusResponse response = BULKHEAD__GATEWAYD_SANDBOXD__NETWORK_STATUS_RESPONSE__INIT;
        if (view->status) {
                response.ready = view->status->ready;
                response.reason = view->status->reason;
                response.message = view->status->message;
                response.cni_config_json = view->status->config_json;
        } else {
                response.reason = (char *)"NetworkPluginNotReady";
                response.message = (char *)trouble;
        }
        if (store_trouble(view->sandboxd->store, state_trouble))
                response.state_trouble = state_trouble;
        reply_list_send(&view->waiting, &response.base);
}

static int network_view_on_status(void *userdata, const Answer *answer)
{
        NetworkView *view = userdata;
        view->call = 0;
        if (answer->outcome == 0) {
                _cleanup_free_ uint8_t *packed = NULL;
                size_t n = 0;
                int r = network_read_memfd(answer->frame, &packed, &n);
                if (r < 0)
                        return fold(r);
                decode_arena_done(&view->arena);
                decode_arena_init(&view->arena, NETWORK_RESULT_MAX);
                view->status = NULL;
                ProtobufCMessage *message = NULL;
                if (r == 0 && decode_message(&view->arena, &bulkhead__cni__cni_status__descriptor, packed, n, &message) == 0)
                        view->status = container_of(message, Bulkhead__Cni__CniStatus, base);
                view->heard_usec = clock_monotonic_usec();
        }
        network_view_reply(view, answer->outcome ? answer->text : "the state of the CNI configuration cannot be read");
        return 0;
}

int network_view_answer(Sandboxd *sandboxd, ReplyTo to)
{
        NetworkView *view = sandboxd->network;
        int r = reply_list_add(&view->waiting, to);
        if (r < 0)
                return fold(r);
        uint64_t now = clock_monotonic_usec();
        if (view->heard_usec && now - view->heard_usec < NETWORK_FRESH) {
                network_view_reply(view, "");
                return 0;
        }
        if (view->call)
                return 0;
        return fold(channel_call_flat(sandboxd_cni(sandboxd), ROW_SANDBOXD_CNI_CNI_STATUS, NULL, NULL, 0, now + NETWORK_ASK_TIMEOUT,
                                      network_view_on_status, view, &view->call));
}
