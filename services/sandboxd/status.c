/* SPDX-License-Identifier: Apache-2.0 */

/* What is told of pods: from memory, never behind an operation. */

#include <jansson.h>

#include "lib/clock.h"
#include "lib/error.h"
#include "services/json-text.h"
#include "services/sandboxd/handlers.h"

static Runtime__V1__PodSandboxState status_state(const Pod *pod)
{
        return pod->state == POD_STATE_READY ? RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_READY : RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_NOTREADY;
}

static bool status_has_label(const Runtime__V1__PodSandboxConfig *config, const char *key, const char *value)
{
        bool found = false;
        /* The last of duplicate keys counts, as in every protobuf map. */
        for (size_t i = 0; i < config->n_labels; i++)
                if (str_equal(config->labels[i]->key, key))
                        found = str_equal(config->labels[i]->value, value);
        return found;
}

bool status_fits(const Pod *pod, const Runtime__V1__PodSandboxFilter *filter)
{
        if (!pod_is_listed(pod))
                return false;
        if (!filter)
                return true;
        if (*filter->id && !str_has_prefix(pod->id, filter->id))
                return false;
        if (filter->state && filter->state->state != status_state(pod))
                return false;
        for (size_t i = 0; i < filter->n_label_selector; i++)
                if (!status_has_label(pod->request->config, filter->label_selector[i]->key, filter->label_selector[i]->value))
                        return false;
        return true;
}

int on_list_pod_sandbox(void *userdata, Frame *frame)
{
        Sandboxd *sandboxd = userdata;
        const Runtime__V1__ListPodSandboxRequest *request = container_of(frame->message, Runtime__V1__ListPodSandboxRequest, base);
        size_t n = 0;
        if (recovery_is_blind(sandboxd))
                return reply_fail(frame_reply_to(frame), GRPC_STATUS_UNAVAILABLE,
                                  "ListPodSandbox: the database of pods was broken, and the node is looked through for them; ask again");
        list_for_each(i, &sandboxd->pods)
                n++;
        Runtime__V1__ListPodSandboxResponse response = RUNTIME__V1__LIST_POD_SANDBOX_RESPONSE__INIT;
        _cleanup_free_ Runtime__V1__PodSandbox *items = calloc(n + 1, sizeof(*items));
        _cleanup_free_ Runtime__V1__PodSandbox **pointers = calloc(n + 1, sizeof(*pointers));
        if (!items || !pointers)
                return error_origin(-ENOMEM);
        response.items = pointers;
        list_for_each(i, &sandboxd->pods) {
                Pod *pod = container_of(i, Pod, link);
                if (!status_fits(pod, request->filter))
                        continue;
                const Runtime__V1__PodSandboxConfig *config = pod->request->config;
                Runtime__V1__PodSandbox *item = &items[response.n_items];
                runtime__v1__pod_sandbox__init(item);
                item->id = pod->id;
                item->metadata = config->metadata;
                item->state = status_state(pod);
                item->created_at = pod->created_nsec;
                item->runtime_handler = pod->request->runtime_handler;
                /* Same shape, other type names: one map entry is a key and a value. */
                item->n_labels = config->n_labels;
                item->labels = (Runtime__V1__PodSandbox__LabelsEntry **)config->labels;
                item->n_annotations = config->n_annotations;
                item->annotations = (Runtime__V1__PodSandbox__AnnotationsEntry **)config->annotations;
                pointers[response.n_items++] = item;
        }
        return fold(reply_send(frame_reply_to(frame), &response.base, NULL, 0));
}

static json_t *status_message_json(const ProtobufCMessage *message)
{
        _cleanup_(json_text_done) JsonText text = {0};
        if (!message)
                return json_null();
        json_text_message(&text, NULL, message);
        json_t *json = json_loads(json_text_end(&text), 0, NULL);
        return json ? json : json_null();
}

/* The pod's own limits: of the last UpdatePodSandboxResources, or as it was made with. */
static void status_info_resources(const Pod *pod, json_t *info)
{
        const Runtime__V1__LinuxPodSandboxConfig *linux_config = pod->request->config->linux;
        const Runtime__V1__LinuxContainerResources *overhead = linux_config ? linux_config->overhead : NULL;
        const Runtime__V1__LinuxContainerResources *resources = linux_config ? linux_config->resources : NULL;
        DecodeArena arena;
        ProtobufCMessage *message = NULL;
        decode_arena_init(&arena, decode_budget(pod->n_resources_packed));
        if (pod->resources_packed && decode_message(&arena, &runtime__v1__update_pod_sandbox_resources_request__descriptor,
                                                    pod->resources_packed, pod->n_resources_packed, &message) == 0) {
                const Runtime__V1__UpdatePodSandboxResourcesRequest *update =
                        container_of(message, Runtime__V1__UpdatePodSandboxResourcesRequest, base);
                overhead = update->overhead ? update->overhead : overhead;
                resources = update->resources ? update->resources : resources;
        }
        (void)json_object_set_new(info, "overhead", status_message_json(overhead ? &overhead->base : NULL));
        (void)json_object_set_new(info, "resources", status_message_json(resources ? &resources->base : NULL));
        decode_arena_done(&arena);
}

/* What tools read of a pod: where its network namespace is, what the plugins answered, its handler. */
static char *status_info_json(const Pod *pod, const char *runtime_dir)
{
        char path[512];
        json_t *namespaces = json_array();
        if (*pod->network_pin) {
                (void)snprintf(path, sizeof(path), "/run/netns/%s", pod->network_pin);
                (void)json_array_append_new(namespaces, json_pack("{s:s,s:s}", "type", "network", "path", path));
        }
        static const struct {
                const char *type;
                uint32_t host_flag;
        } kinds[] = {{"ipc", PERMIT_FLAG_HOST_IPC}, {"uts", PERMIT_FLAG_HOST_NETWORK}};
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
                if (pod->permit.flags & kinds[i].host_flag)
                        continue;
                (void)snprintf(path, sizeof(path), "%s/ns/%s/%s", runtime_dir, pod->id, kinds[i].type);
                (void)json_array_append_new(namespaces, json_pack("{s:s,s:s}", "type", kinds[i].type, "path", path));
        }
        json_t *result = pod->result ? json_loads(pod->result->result_json, JSON_REJECT_DUPLICATES, NULL) : NULL;
        json_t *info = json_pack("{s:i,s:b,s:s,s:s,s:s,s:{s:{s:o}},s:o}", "pid", (int)pod->init_pid, "netNamespaceClosed",
                                 pod->state != POD_STATE_READY, "runtimeHandler", pod->request->runtime_handler, "state",
                                 pod_state_name(pod->state), "stage", pod->stage, "runtimeSpec", "linux", "namespaces", namespaces,
                                 "cniResult", result ? result : json_null());
        if (info) {
                (void)json_object_set_new(info, "config", status_message_json(&pod->request->config->base));
                status_info_resources(pod, info);
        }
        char *text = info ? json_dumps(info, JSON_COMPACT) : NULL;
        json_decref(info);
        return text;
}

void status_fill(const Pod *pod, Runtime__V1__PodSandboxStatus *ret, StatusScratch *scratch)
{
        const Runtime__V1__PodSandboxConfig *config = pod->request->config;
        const Runtime__V1__LinuxSandboxSecurityContext *security = config->linux ? config->linux->security_context : NULL;
        runtime__v1__pod_sandbox_status__init(ret);
        runtime__v1__pod_sandbox_network_status__init(&scratch->network);
        runtime__v1__namespace_option__init(&scratch->options);
        runtime__v1__namespace__init(&scratch->namespaces);
        runtime__v1__linux_pod_sandbox_status__init(&scratch->linux_status);
        ret->id = (char *)pod->id;
        ret->metadata = config->metadata;
        ret->state = status_state(pod);
        ret->created_at = pod->created_nsec;
        ret->runtime_handler = pod->request->runtime_handler;
        ret->n_labels = config->n_labels;
        ret->labels = (Runtime__V1__PodSandboxStatus__LabelsEntry **)config->labels;
        ret->n_annotations = config->n_annotations;
        ret->annotations = (Runtime__V1__PodSandboxStatus__AnnotationsEntry **)config->annotations;

        scratch->network.additional_ips = scratch->additional_pointers;
        if (pod->result && pod->state == POD_STATE_READY) {
                if (pod->result->n_ips > 0)
                        scratch->network.ip = pod->result->ips[0];
                for (size_t i = 1; i < pod->result->n_ips && i <= ARRAY_SIZE(scratch->additional); i++) {
                        runtime__v1__pod_ip__init(&scratch->additional[i - 1]);
                        scratch->additional[i - 1].ip = pod->result->ips[i];
                        scratch->additional_pointers[scratch->network.n_additional_ips++] = &scratch->additional[i - 1];
                }
        }
        ret->network = &scratch->network;
        scratch->namespaces.options = security && security->namespace_options ? security->namespace_options : &scratch->options;
        scratch->linux_status.namespaces = &scratch->namespaces;
        ret->linux = &scratch->linux_status;
}

int on_pod_sandbox_status(void *userdata, Frame *frame)
{
        Sandboxd *sandboxd = userdata;
        const Runtime__V1__PodSandboxStatusRequest *request = container_of(frame->message, Runtime__V1__PodSandboxStatusRequest, base);
        ReplyTo to = frame_reply_to(frame);
        Pod *pod = pods_resolve(sandboxd, request->pod_sandbox_id);
        if (!pod && recovery_is_blind(sandboxd))
                return reply_fail(to, GRPC_STATUS_UNAVAILABLE, "pod %.80s: the database of pods was broken, and the node is looked through "
                                  "for them; ask again", request->pod_sandbox_id);
        if (!pod)
                return reply_fail(to, GRPC_STATUS_NOT_FOUND, "pod %.80s does not exist", request->pod_sandbox_id);
        Runtime__V1__PodSandboxStatus status;
        StatusScratch scratch;
        status_fill(pod, &status, &scratch);
        Runtime__V1__PodSandboxStatusResponse response = RUNTIME__V1__POD_SANDBOX_STATUS_RESPONSE__INIT;
        response.status = &status;
        response.timestamp = clock_realtime_nsec();
        _cleanup_free_ char *json = request->verbose ? status_info_json(pod, service_config(sandboxd->service)->runtime_dir) : NULL;
        Runtime__V1__PodSandboxStatusResponse__InfoEntry info = RUNTIME__V1__POD_SANDBOX_STATUS_RESPONSE__INFO_ENTRY__INIT, *infos = &info;
        if (json) {
                info.key = (char *)"info";
                info.value = json;
                response.n_info = 1;
                response.info = &infos;
        }
        return fold(reply_send(to, &response.base, NULL, 0));
}
