/* SPDX-License-Identifier: Apache-2.0 */

/* Runs only in the confined child. */

#include "services/sandboxd/cni/pod-request.h"
#include "ipc/cri/api.pb-c.h"
#include "ipc/decode.h"
#include <arpa/inet.h>

#define POD_PORTS_MAX 4096

/* A value of CNI_ARGS ends at ';' and its key at '='; plugins look names up in places of their own. */
static bool pod_word_is_plain(const char *word)
{
        return !word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")];
}

static int pod_network_arguments(PodNetwork *network, const char *id, const Runtime__V1__PodSandboxMetadata *metadata,
                                 Refusal *refusal)
{
        if (!pod_word_is_plain(metadata->name) || !pod_word_is_plain(metadata->namespace_) || !pod_word_is_plain(metadata->uid))
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT,
                                   "pod %s: its name, namespace or uid has characters other than letters, digits, '.', '_' and "
                                   "'-': network plugins could not be told",
                                   id);
        int n = snprintf(network->arguments, sizeof(network->arguments),
                         "IgnoreUnknown=1;K8S_POD_NAMESPACE=%s;K8S_POD_NAME=%s;K8S_POD_INFRA_CONTAINER_ID=%s;K8S_POD_UID=%s",
                         metadata->namespace_, metadata->name, id, metadata->uid);
        if (n < 0 || (size_t)n >= sizeof(network->arguments))
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT,
                                   "pod %s: its name, namespace and uid are too long for network plugins (CNI_ARGS)", id);
        return 0;
}

static const char *pod_protocol_name(Runtime__V1__Protocol protocol)
{
        switch (protocol) {
        case RUNTIME__V1__PROTOCOL__TCP:
                return "tcp";
        case RUNTIME__V1__PROTOCOL__UDP:
                return "udp";
        case RUNTIME__V1__PROTOCOL__SCTP:
                return "sctp";
        case _RUNTIME__V1__PROTOCOL_IS_INT_SIZE:
                break;
        }
        return NULL;
}

static int pod_check_port(const char *id, const Runtime__V1__PortMapping *port, Refusal *refusal)
{
        char bytes[sizeof(struct in6_addr)];
        if (port->host_port > 65535 || port->container_port < 1 || port->container_port > 65535)
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT, "pod %s: port mapping %d to %d: ports are 1 to 65535", id,
                                   port->host_port, port->container_port);
        if (!pod_protocol_name(port->protocol))
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT,
                                   "pod %s: port mapping %d: protocol %d is not TCP, UDP or SCTP", id, port->host_port,
                                   (int)port->protocol);
        if (port->host_ip[0] && inet_pton(AF_INET, port->host_ip, bytes) != 1 && inet_pton(AF_INET6, port->host_ip, bytes) != 1)
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT,
                                   "pod %s: port mapping %d: its host address is not an IP address", id, port->host_port);
        return 0;
}

/* Of a mapping without a host port there is nothing to do: it only says what the container listens on. */
static int pod_network_ports(json_t *runtime, const char *id, const Runtime__V1__PodSandboxConfig *config, Refusal *refusal)
{
        json_t *list = json_array();
        int r = 0;
        if (config->n_port_mappings > POD_PORTS_MAX)
                r = refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT, "pod %s: more than %d port mappings", id, POD_PORTS_MAX);
        for (size_t i = 0; r == 0 && i < config->n_port_mappings; i++) {
                const Runtime__V1__PortMapping *port = config->port_mappings[i];
                if (port->host_port <= 0)
                        continue;
                r = pod_check_port(id, port, refusal);
                if (r != 0)
                        break;
                json_t *item = json_pack("{s:i,s:i,s:s}", "hostPort", (int)port->host_port, "containerPort",
                                         (int)port->container_port, "protocol", pod_protocol_name(port->protocol));
                if (port->host_ip[0])
                        (void)json_object_set_new(item, "hostIP", json_string(port->host_ip));
                if (json_array_append_new(list, item) < 0)
                        r = refusal_set(refusal, GRPC_STATUS_RESOURCE_EXHAUSTED, "pod %s: out of memory", id);
        }
        if (r == 0 && json_array_size(list) > 0)
                (void)json_object_set(runtime, "portMappings", list);
        json_decref(list);
        return r;
}

static void pod_network_strings(json_t *object, const char *key, char **words, size_t n)
{
        json_t *list = json_array();
        for (size_t i = 0; i < n; i++)
                (void)json_array_append_new(list, json_string(words[i]));
        if (n > 0)
                (void)json_object_set(object, key, list);
        json_decref(list);
}

static void pod_network_dns(json_t *runtime, const Runtime__V1__DNSConfig *dns)
{
        json_t *object = json_object();
        if (dns) {
                pod_network_strings(object, "servers", dns->servers, dns->n_servers);
                pod_network_strings(object, "searches", dns->searches, dns->n_searches);
                pod_network_strings(object, "options", dns->options, dns->n_options);
        }
        if (json_object_size(object) > 0)
                (void)json_object_set(runtime, "dns", object);
        json_decref(object);
}

static bool pod_port_is_in(const Runtime__V1__PodSandboxConfig *config, const Bulkhead__Cni__PortMap *asked)
{
        for (size_t i = 0; i < config->n_port_mappings; i++) {
                const Runtime__V1__PortMapping *port = config->port_mappings[i];
                const char *protocol = pod_protocol_name(port->protocol);
                if (port->host_port > 0 && (uint32_t)port->host_port == asked->host_port &&
                    (uint32_t)port->container_port == asked->container_port && protocol && str_equal(protocol, asked->protocol) &&
                    str_equal(port->host_ip, asked->host_ip))
                        return true;
        }
        return false;
}

/* What the brain asks beside the sealed request must be what the request says. */
static int pod_network_compare(const Permit *permit, const Bulkhead__Cni__CniRequest *asked,
                               const Runtime__V1__PodSandboxConfig *config, Refusal *refusal)
{
        const Runtime__V1__PodSandboxMetadata *metadata = config->metadata;
        if (!str_equal(asked->pod_id, permit->id) || !str_equal(asked->pod_name, metadata->name) ||
            !str_equal(asked->pod_namespace, metadata->namespace_) || !str_equal(asked->pod_uid, metadata->uid))
                return refusal_set(refusal, GRPC_STATUS_PERMISSION_DENIED,
                                   "pod %s: its network was asked for under names that its request does not have", permit->id);
        for (size_t i = 0; i < asked->n_port_mappings; i++)
                if (!pod_port_is_in(config, asked->port_mappings[i]))
                        return refusal_set(refusal, GRPC_STATUS_PERMISSION_DENIED,
                                           "pod %s: host port %u was asked for, which its request does not have", permit->id,
                                           asked->port_mappings[i]->host_port);
        return 0;
}

int pod_network_make(PodNetwork *network, const Permit *permit, const Bulkhead__Cni__CniRequest *asked, Refusal *refusal)
{
        const ProtobufCBinaryData *sealed = &asked->run_pod_request;
        ProtobufCMessage *message = NULL;
        DecodeArena arena;

        *network = (PodNetwork){.runtime = json_object()};
        if (!network->runtime)
                return refusal_set(refusal, GRPC_STATUS_RESOURCE_EXHAUSTED, "pod %s: out of memory", permit->id);
        if (permit_check_request(permit, sealed->data, sealed->len) != 0)
                return refusal_set(refusal, GRPC_STATUS_PERMISSION_DENIED,
                                   "pod %s: the request beside the permit is not the one that gatewayd sealed", permit->id);
        decode_arena_init(&arena, decode_budget(sealed->len));
        int r = decode_message(&arena, &runtime__v1__run_pod_sandbox_request__descriptor, sealed->data, sealed->len, &message);
        if (r != 0) {
                r = refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT, "pod %s: its request does not decode: %s", permit->id,
                                decode_outcome_name(r));
        } else {
                const Runtime__V1__PodSandboxConfig *config =
                        container_of(message, Runtime__V1__RunPodSandboxRequest, base)->config;
                if (!config || !config->metadata)
                        r = refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT, "pod %s: its request has no metadata", permit->id);
                if (r == 0)
                        r = pod_network_compare(permit, asked, config, refusal);
                if (r == 0)
                        r = pod_network_arguments(network, permit->id, config->metadata, refusal);
                if (r == 0)
                        r = pod_network_ports(network->runtime, permit->id, config, refusal);
                if (r == 0)
                        pod_network_dns(network->runtime, config->dns_config);
        }
        decode_arena_done(&arena);
        return r;
}

void pod_network_done(PodNetwork *network)
{
        json_decref(network->runtime);
        network->runtime = NULL;
}
