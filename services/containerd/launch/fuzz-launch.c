/* SPDX-License-Identifier: Apache-2.0 */

/* What the confined child reads. The first byte says as what: an operator's seccomp profile; a container's config.json for an exec;
 * a container's limits for an update; a spec (as long as the second and third byte say) and the request that it is compared with. What
 * passes must hold. */

#include "lib/fuzz.h"
#include "ipc/decode.h"
#include "services/containerd/launch/render.h"
#include "services/containerd/launch/seccomp.h"
#include <assert.h>

#define FUZZ_ID "1111111111111111111111111111111111111111111111111111111111111111"
#define FUZZ_POD "2222222222222222222222222222222222222222222222222222222222222222"

static int fuzz_host_profile(void *userdata, const char *path, char **ret_text, size_t *ret_n)
{
        return -ENOENT;
}

static int fuzz_host_target(void *userdata, const char *id, int *ret_pid)
{
        *ret_pid = 2;
        return 0;
}

static int fuzz_host_devices(void *userdata, const char *path, RenderDeviceCallback callback, void *callback_userdata)
{
        RenderAnswer device = {.type = 'c', .major = 1, .minor = 3};
        (void)str_copy(device.path, sizeof(device.path), path);
        return callback(callback_userdata, &device);
}

static int fuzz_host_apparmor(void *userdata, char **ret_list, size_t *ret_n)
{
        *ret_list = strdup("bulkhead-default (enforce)\n");
        *ret_n = *ret_list ? strlen(*ret_list) : 0;
        return *ret_list ? 0 : -ENOMEM;
}

static int fuzz_host_source(void *userdata, const RenderSource *source, char real[RENDER_PATH_MAX], uint32_t *ret_restrictions)
{
        (void)str_copy(real, RENDER_PATH_MAX, source->path);
        return 0;
}

static int fuzz_host_cdi_files(void *userdata, RenderCdiCallback callback, void *callback_userdata)
{
        return 0;
}

static const RenderHost fuzz_host = {
        .profile = fuzz_host_profile,
        .apparmor = fuzz_host_apparmor,
        .target = fuzz_host_target,
        .devices = fuzz_host_devices,
        .source = fuzz_host_source,
        .cdi_files = fuzz_host_cdi_files,
};
static const ConfigCommon fuzz_common = {.state_dir = "/s", .runtime_dir = "/r"};
static const ConfigContainerd fuzz_config = {.seccomp_dir = "/p"};
static const RenderFacts fuzz_facts = {.capabilities = CAPABILITY_SET_ALL, .has_unified = true, .has_memory_swap = true,
                                         .has_hugepages = true, .has_apparmor = true};

static void fuzz_profile(const char *text, size_t n)
{
        const SeccompContext context = {.capabilities = capability_set_default(), .kernel_version = 6 << 16};
        json_t *profile = NULL;
        char why[128] = "";
        int r = seccomp_parse(text, n, &context, &profile, why, sizeof(why));
        assert(r == 0 ? json_is_string(json_object_get(profile, "defaultAction")) : why[0] != '\0');
        json_decref(profile);
}

static void fuzz_exec(const char *text, size_t n)
{
        Render render = {.common = &fuzz_common, .config = &fuzz_config, .facts = &fuzz_facts, .host = &fuzz_host};
        ProcessSpec process = BULKHEAD__RUNTIME_SPEC__PROCESS_SPEC__INIT;
        char *args[] = {(char *)(uintptr_t)"x"};
        json_t *json = NULL;
        process.args = args;
        process.n_args = 1;
        int r = render_exec(&render, &process, text, n, &json);
        assert(r == 0 ? json_array_size(json_object_get(json, "args")) == 1 : render.text[0] != '\0');
        json_decref(json);
}

static void fuzz_update(const char *text, size_t n)
{
        Render render = {.common = &fuzz_common, .config = &fuzz_config, .facts = &fuzz_facts, .host = &fuzz_host};
        Runtime__V1__LinuxContainerResources asked = RUNTIME__V1__LINUX_CONTAINER_RESOURCES__INIT;
        json_t *first = NULL, *json = NULL;
        uint32_t features = 0;
        asked.cpu_shares = 77;
        asked.memory_limit_in_bytes = 1 << 20;
        int r = render_update_first(&render, text, n, &first);
        assert(r == 0 ? json_is_object(first) : render.text[0] != '\0');
        render.text[0] = '\0';
        r = render_update(&render, &asked, text, n, &json);
        assert(r == 0 ? json_integer_value(json_object_get(json_object_get(json, "cpu"), "shares")) == 77 : render.text[0] != '\0');
        render.text[0] = '\0';
        r = render_features(&render, text, n, &features);
        assert(r == 0 || render.text[0] != '\0');
        json_decref(first);
        json_decref(json);
}

/* Not privileged by the request: then the first device rule denies, and no masked path of the request is missing. */
static void fuzz_assert(const PermitCheck *check, const json_t *json)
{
        const json_t *section = json_object_get(json, "linux");
        const json_t *rules = json_object_get(json_object_get(section, "resources"), "devices");
        assert(json_is_false(json_object_get(json_array_get(rules, 0), "allow")));
        assert(!json_object_get(json, "hooks") && !json_object_get(json, "annotations"));
        if (permit_check_context(check)->privileged)
                return;
        assert(!check->spec->privileged);
        assert(json_array_size(json_object_get(section, "maskedPaths")) >= (permit_check_context(check)->n_masked_paths > 0));
        assert(json_array_size(rules) == 1 + check->spec->n_devices);
}

static void fuzz_create(const uint8_t *data, size_t n)
{
        Permit permit = {.id = FUZZ_ID, .pod_id = FUZZ_POD};
        DecodeArena spec_arena = {0}, request_arena = {0};
        ProtobufCMessage *spec = NULL, *request = NULL;
        size_t n_spec = n >= 2 ? MIN2((size_t)(data[0] << 8 | data[1]), n - 2) : 0;
        if (n < 2)
                return;
        decode_arena_init(&spec_arena, DECODE_BUDGET_MAX);
        decode_arena_init(&request_arena, DECODE_BUDGET_MAX);
        if (decode_message(&spec_arena, &bulkhead__runtime_spec__runtime_spec__descriptor, data + 2, n_spec, &spec) == 0 &&
            decode_message(&request_arena, &runtime__v1__create_container_request__descriptor, data + 2 + n_spec, n - 2 - n_spec,
                           &request) == 0) {
                /* The seals are not what is fuzzed: ids and the parent agree. */
                RuntimeSpec *typed = (RuntimeSpec *)(void *)spec;
                typed->container_id = permit.id;
                typed->pod_id = permit.pod_id;
                typed->cgroup_parent = permit.cgroup_parent;
                Runtime__V1__CreateContainerRequest *asked = (Runtime__V1__CreateContainerRequest *)(void *)request;
                asked->pod_sandbox_id = permit.pod_id;
                if (asked->sandbox_config && asked->sandbox_config->linux)
                        asked->sandbox_config->linux->cgroup_parent = permit.cgroup_parent;
                PermitCheck check = {.permit = &permit, .request = asked, .spec = typed, .instance = "", .allow_privileged = true,
                                     .allow_host_paths = true, .has_apparmor = true};
                Render render = {.common = &fuzz_common, .config = &fuzz_config, .facts = &fuzz_facts, .host = &fuzz_host, .spec = typed};
                json_t *json = NULL;
                int r = permit_check_create(&check);
                assert(r == 0 || check.text[0]);
                if (r == 0) {
                        r = render_config(&render, &json);
                        assert(r == 0 || render.text[0]);
                        if (r == 0)
                                fuzz_assert(&check, json);
                        json_decref(json);
                }
        }
        decode_arena_done(&spec_arena);
        decode_arena_done(&request_arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        if (n == 0)
                return 0;
        switch (data[0] % 4) {
        case 0:
                fuzz_profile((const char *)data + 1, n - 1);
                break;
        case 1:
                fuzz_exec((const char *)data + 1, n - 1);
                break;
        case 2:
                fuzz_update((const char *)data + 1, n - 1);
                break;
        default:
                fuzz_create(data + 1, n - 1);
        }
        return 0;
}
