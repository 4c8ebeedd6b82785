/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* An ordinary request with its pod and image, for the tests of the spec: they change what they are about. */

#include "ipc/seal.h"
#include "lib/strings.h"
#include "lib/test.h"
#include "services/containerd/arena.h"
#include "services/containerd/spec.h"

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

#define ID64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define KIND(name) BULKHEAD__RUNTIME_SPEC__MOUNT_SPEC__KIND__##name

/* An ordinary request; tests change what they are about. */
typedef struct World {
        Runtime__V1__CreateContainerRequest request;
        Runtime__V1__ContainerConfig config;
        Runtime__V1__ContainerMetadata metadata;
        Runtime__V1__ImageSpec image_spec;
        Runtime__V1__LinuxContainerConfig linux_config;
        Runtime__V1__LinuxContainerSecurityContext context;
        Runtime__V1__LinuxContainerResources resources;
        Runtime__V1__NamespaceOption options;
        Runtime__V1__PodSandboxConfig pod;
        Runtime__V1__LinuxPodSandboxConfig pod_linux;
        Runtime__V1__LinuxSandboxSecurityContext pod_context;
        Runtime__V1__NamespaceOption pod_options;
        Runtime__V1__UserNamespace user_namespace;
        Runtime__V1__IDMapping map, *maps[1];
        ImageConfig image;
        UserLookup user;
        SpecInput input;
        DecodeArena arena;
        Failure failure;
        RuntimeSpec *spec;
} World;

static char *strings_command[] = {(char *)"/bin/true"};

static _unused_ void world_init(World *w)
{
        memset(w, 0, sizeof(*w));
        runtime__v1__create_container_request__init(&w->request);
        runtime__v1__container_config__init(&w->config);
        runtime__v1__container_metadata__init(&w->metadata);
        runtime__v1__image_spec__init(&w->image_spec);
        runtime__v1__linux_container_config__init(&w->linux_config);
        runtime__v1__linux_container_security_context__init(&w->context);
        runtime__v1__linux_container_resources__init(&w->resources);
        runtime__v1__namespace_option__init(&w->options);
        runtime__v1__pod_sandbox_config__init(&w->pod);
        runtime__v1__linux_pod_sandbox_config__init(&w->pod_linux);
        runtime__v1__linux_sandbox_security_context__init(&w->pod_context);
        bulkhead__containerd_imaged__image_config__init(&w->image);
        bulkhead__containerd_imaged__user_lookup_response__init(&w->user);
        w->metadata.name = (char *)"web";
        w->image_spec.image = (char *)"example/image:1";
        w->config.metadata = &w->metadata;
        w->config.image = &w->image_spec;
        w->config.command = strings_command;
        w->config.n_command = 1;
        w->config.linux = &w->linux_config;
        w->linux_config.security_context = &w->context;
        w->linux_config.resources = &w->resources;
        w->context.namespace_options = &w->options;
        w->options.pid = RUNTIME__V1__NAMESPACE_MODE__CONTAINER;
        w->pod.hostname = (char *)"pod-host";
        w->pod.linux = &w->pod_linux;
        w->pod_linux.security_context = &w->pod_context;
        w->request.config = &w->config;
        w->input = (SpecInput){.request = &w->request, .pod = &w->pod, .image = &w->image, .user = &w->user, .container_id = ID64,
                               .pod_id = ID64, .cgroup_parent = "/pods", .target_container = "", .network_pin = "bh-pin",
                               .node_hostname = "node", .oom_score_adj_min = -500, .user_base = 1879048192,
                               .has_recursive_readonly = true};
        decode_arena_init(&w->arena, 64 * 1024 * 1024);
}

/* The pod has a user namespace: the lease says so, and so does the request. */
static _unused_ void world_set_userns(World *w, uint32_t host_id, uint32_t length)
{
        runtime__v1__idmapping__init(&w->map);
        runtime__v1__user_namespace__init(&w->user_namespace);
        runtime__v1__namespace_option__init(&w->pod_options);
        w->map.host_id = w->input.userns_host_id = host_id;
        w->map.length = w->input.userns_length = length;
        w->maps[0] = &w->map;
        w->user_namespace.uids = w->user_namespace.gids = w->maps;
        w->user_namespace.n_uids = w->user_namespace.n_gids = 1;
        w->pod_options.userns_options = &w->user_namespace;
        w->pod_context.namespace_options = &w->pod_options;
        w->request.sandbox_config = &w->pod;
        w->input.pod_namespaces |= PERMIT_FLAG_USERNS;
}

static _unused_ void world_done(World *w)
{
        decode_arena_done(&w->arena);
}

static _unused_ void world_compose(World *w)
{
        if (spec_compose(&w->input, &w->arena, &w->spec, &w->failure) != 0)
                test_fail("refused: %u %s", w->failure.code, w->failure.text);
}

static _unused_ void world_refuse(World *w, uint32_t code, const char *word)
{
        if (spec_compose(&w->input, &w->arena, &w->spec, &w->failure) == 0)
                test_fail("not refused: %s", word);
        assert_eq_int(w->failure.code, code);
        if (!strstr(w->failure.text, word))
                test_fail("\"%s\" does not say \"%s\"", w->failure.text, word);
}

static _unused_ size_t split(char **to, char *text)
{
        size_t n = 0;

        for (char *s = text; *s; s += strcspn(s, "|") + (s[strcspn(s, "|")] == '|')) {
                to[n++] = s;
                if (!s[strcspn(s, "|")])
                        break;
        }
        for (char *s = text; *s; s++)
                if (*s == '|')
                        *s = '\0';
        return n;
}

static _unused_ const char *join(char *const *strings, size_t n, char *to, size_t size)
{
        to[0] = '\0';
        for (size_t i = 0; i < n; i++)
                (void)snprintf(to + strlen(to), size - strlen(to), "%s%s", i ? "|" : "", strings[i]);
        return to;
}
