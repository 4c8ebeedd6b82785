/* SPDX-License-Identifier: Apache-2.0 */
#include "services/sandboxd/cni/pod-request.h"

#include "ipc/cri/api.pb-c.h"
#include "ipc/decode.h"
#include "lib/test.h"

static const char id[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
static const uint8_t key[SEAL_KEY_BYTES] = {1, 2, 3};

/* A request, its permit, and what an honest brain asks for it. */
typedef struct Case {
        Runtime__V1__PodSandboxMetadata metadata;
        Runtime__V1__PortMapping ports[3];
        Runtime__V1__PortMapping *port_pointers[3];
        Runtime__V1__DNSConfig dns;
        Runtime__V1__PodSandboxConfig config;
        Runtime__V1__RunPodSandboxRequest request;
        char *servers[1];
        Permit permit;
        Bulkhead__Cni__PortMap map;
        Bulkhead__Cni__PortMap *map_pointers[1];
        Bulkhead__Cni__CniRequest asked;
} Case;

static void case_init(Case *c)
{
        *c = (Case){0};
        runtime__v1__pod_sandbox_metadata__init(&c->metadata);
        c->metadata.name = (char *)"web-0";
        c->metadata.namespace_ = (char *)"shop";
        c->metadata.uid = (char *)"12-34";
        for (size_t i = 0; i < 3; i++) {
                runtime__v1__port_mapping__init(&c->ports[i]);
                c->port_pointers[i] = &c->ports[i];
        }
        c->ports[0].host_port = 8080;
        c->ports[0].container_port = 80;
        c->ports[1].container_port = 81; /* no host port */
        c->ports[2].host_port = 53;
        c->ports[2].container_port = 5353;
        c->ports[2].protocol = RUNTIME__V1__PROTOCOL__UDP;
        c->ports[2].host_ip = (char *)"127.0.0.1";
        runtime__v1__dnsconfig__init(&c->dns);
        c->servers[0] = (char *)"192.0.2.53";
        c->dns.n_servers = 1;
        c->dns.servers = c->servers;
        runtime__v1__pod_sandbox_config__init(&c->config);
        c->config.metadata = &c->metadata;
        c->config.n_port_mappings = 3;
        c->config.port_mappings = c->port_pointers;
        c->config.dns_config = &c->dns;
        runtime__v1__run_pod_sandbox_request__init(&c->request);
        c->request.config = &c->config;
        bulkhead__cni__port_map__init(&c->map);
        c->map.host_port = 8080;
        c->map.container_port = 80;
        c->map.protocol = (char *)"tcp";
        c->map_pointers[0] = &c->map;
        bulkhead__cni__cni_request__init(&c->asked);
        c->asked.pod_id = (char *)(uintptr_t)id;
        c->asked.pod_name = c->metadata.name;
        c->asked.pod_namespace = c->metadata.namespace_;
        c->asked.pod_uid = c->metadata.uid;
        c->asked.n_port_mappings = 1;
        c->asked.port_mappings = c->map_pointers;
}

/* Seals the request as it is now, and asks. */
static int case_make(Case *c, PodNetwork *network, GrpcStatus *code)
{
        Refusal refusal = {0};
        uint8_t *packed;
        size_t n;
        assert_ok(decode_pack(&c->request.base, &packed, &n));
        c->permit = (Permit){.version = 1, .verb = PERMIT_VERB_RUN_POD};
        memcpy(c->permit.magic, "BHPERMIT", 8);
        memcpy(c->permit.id, id, sizeof(id));
        memcpy(c->permit.pod_id, id, sizeof(id));
        permit_seal(&c->permit, packed, n, key);
        c->asked.run_pod_request = (ProtobufCBinaryData){.data = packed, .len = n};
        int r = pod_network_make(network, &c->permit, &c->asked, &refusal);
        assert_true(r == 0 || strstr(refusal.text, id));
        *code = refusal.code;
        free(packed);
        return r;
}

static void assert_refused(Case *c, GrpcStatus expected)
{
        PodNetwork network;
        GrpcStatus code;
        assert_eq_int(case_make(c, &network, &code), 1);
        assert_eq_int(code, expected);
        pod_network_done(&network);
}

static void test_good(void)
{
        PodNetwork network;
        GrpcStatus code;
        Case c;
        case_init(&c);
        assert_ok(case_make(&c, &network, &code));
        char expected[256];
        snprintf(expected, sizeof(expected),
                 "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=%s;K8S_POD_UID=12-34", id);
        assert_eq_str(network.arguments, expected);
        char *text = json_dumps(network.runtime, JSON_COMPACT);
        assert_eq_str(text, "{\"portMappings\":[{\"hostPort\":8080,\"containerPort\":80,\"protocol\":\"tcp\"},{\"hostPort\":53,"
                            "\"containerPort\":5353,\"protocol\":\"udp\",\"hostIP\":\"127.0.0.1\"}],\"dns\":{\"servers\":["
                            "\"192.0.2.53\"]}}");
        free(text);
        pod_network_done(&network);
}

/* What a brain that was taken over could ask: each differs in one thing from what passes above. */
static void test_other_than_sealed(void)
{
        PodNetwork network;
        Refusal refusal = {0};
        Case c;

        case_init(&c);
        c.map.host_port = 22;
        assert_refused(&c, GRPC_STATUS_PERMISSION_DENIED);
        case_init(&c);
        c.map.host_ip = (char *)"192.0.2.1";
        assert_refused(&c, GRPC_STATUS_PERMISSION_DENIED);
        case_init(&c);
        c.map.protocol = (char *)"udp";
        assert_refused(&c, GRPC_STATUS_PERMISSION_DENIED);
        case_init(&c);
        c.map.container_port = 81;
        assert_refused(&c, GRPC_STATUS_PERMISSION_DENIED);
        case_init(&c);
        c.asked.pod_name = (char *)"web-1";
        assert_refused(&c, GRPC_STATUS_PERMISSION_DENIED);
        case_init(&c);
        c.asked.pod_namespace = (char *)"kube-system";
        assert_refused(&c, GRPC_STATUS_PERMISSION_DENIED);
        case_init(&c);
        c.asked.pod_uid = (char *)"0";
        assert_refused(&c, GRPC_STATUS_PERMISSION_DENIED);
        case_init(&c);
        c.asked.pod_id = (char *)"b";
        assert_refused(&c, GRPC_STATUS_PERMISSION_DENIED);

        /* Another request than the sealed one. */
        case_init(&c);
        GrpcStatus code;
        assert_ok(case_make(&c, &network, &code));
        pod_network_done(&network);
        uint8_t *packed;
        size_t n;
        c.ports[0].host_port = 22;
        c.map.host_port = 22;
        assert_ok(decode_pack(&c.request.base, &packed, &n));
        c.asked.run_pod_request = (ProtobufCBinaryData){.data = packed, .len = n};
        assert_eq_int(pod_network_make(&network, &c.permit, &c.asked, &refusal), 1);
        assert_eq_int(refusal.code, GRPC_STATUS_PERMISSION_DENIED);
        pod_network_done(&network);
        free(packed);
}

static void test_invalid(void)
{
        Case c;
        case_init(&c);
        c.metadata.name = c.asked.pod_name = (char *)"a;K8S_POD_NAMESPACE=kube-system";
        assert_refused(&c, GRPC_STATUS_INVALID_ARGUMENT);
        case_init(&c);
        char *longest = calloc(1, POD_ARGUMENTS_MAX + 1);
        memset(longest, 'a', POD_ARGUMENTS_MAX);
        c.metadata.name = c.asked.pod_name = longest;
        assert_refused(&c, GRPC_STATUS_INVALID_ARGUMENT);
        free(longest);
        case_init(&c);
        c.ports[0].host_port = 70000;
        assert_refused(&c, GRPC_STATUS_PERMISSION_DENIED); /* not the one that was asked for, to begin with */
        c.asked.n_port_mappings = 0;
        assert_refused(&c, GRPC_STATUS_INVALID_ARGUMENT);
        case_init(&c);
        c.ports[2].host_ip = (char *)"localhost";
        assert_refused(&c, GRPC_STATUS_INVALID_ARGUMENT);
        case_init(&c);
        c.ports[2].protocol = (Runtime__V1__Protocol)7;
        assert_refused(&c, GRPC_STATUS_INVALID_ARGUMENT);
        case_init(&c);
        c.config.metadata = NULL;
        assert_refused(&c, GRPC_STATUS_INVALID_ARGUMENT);
}

int main(void)
{
        TEST_RUN(test_good);
        TEST_RUN(test_other_than_sealed);
        TEST_RUN(test_invalid);
        return 0;
}
