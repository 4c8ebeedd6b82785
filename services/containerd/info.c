/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/info.h"

#include "ipc/cgroup-path.h"
#include "ipc/edges/runtime-spec.pb-c.h"
#include "ipc/seal.h"
#include "services/containerd/containerd.h"

typedef Bulkhead__RuntimeSpec__RuntimeSpec RuntimeSpec;
typedef Bulkhead__RuntimeSpec__ProcessSpec ProcessSpec;

static void info_write_strings(JsonText *json, const char *key, char *const *strings, size_t n)
{
        json_text_open(json, key, '[');
        for (size_t i = 0; i < n; i++)
                json_text_string(json, NULL, strings[i]);
        json_text_close(json, ']');
}

static void info_write_process(JsonText *json, const ProcessSpec *process)
{
        json_text_open(json, "process", '{');
        json_text_bool(json, "terminal", process->terminal);
        json_text_open(json, "user", '{');
        json_text_unsigned(json, "uid", process->uid);
        json_text_unsigned(json, "gid", process->gid);
        json_text_open(json, "additionalGids", '[');
        for (size_t i = 0; i < process->n_additional_gids; i++)
                json_text_unsigned(json, NULL, process->additional_gids[i]);
        json_text_close(json, ']');
        json_text_close(json, '}');
        info_write_strings(json, "args", process->args, process->n_args);
        json_text_open(json, "env", '[');
        for (size_t i = 0; i < process->n_env; i++)
                json_text_bytes(json, NULL, process->env[i].data, process->env[i].len);
        json_text_close(json, ']');
        json_text_string(json, "cwd", process->cwd);
        json_text_open(json, "capabilities", '{');
        info_write_strings(json, "bounding", process->capabilities, process->n_capabilities);
        info_write_strings(json, "ambient", process->ambient_capabilities, process->n_ambient_capabilities);
        json_text_close(json, '}');
        json_text_bool(json, "noNewPrivileges", process->no_new_privileges);
        json_text_integer(json, "oomScoreAdj", process->oom_score_adj);
        json_text_string(json, "apparmorProfile", process->apparmor_profile);
        json_text_bool(json, "apparmorIfLoaded", process->apparmor_if_loaded);
        json_text_close(json, '}');
}

static void info_write_namespace(JsonText *json, const char *type, const char *path)
{
        json_text_open(json, NULL, '{');
        json_text_string(json, "type", type);
        if (path)
                json_text_string(json, "path", path);
        json_text_close(json, '}');
}

static void info_write_linux(JsonText *json, const RuntimeSpec *spec, bool systemd)
{
        char path[CGROUP_PATH_MAX] = "", pin[256];

        json_text_open(json, "linux", '{');
        json_text_open(json, "namespaces", '[');
        info_write_namespace(json, "mount", NULL);
        if (!(spec->namespaces & PERMIT_FLAG_HOST_NETWORK)) {
                (void)snprintf(pin, sizeof(pin), "/run/netns/%.200s", spec->network_pin);
                info_write_namespace(json, "network", pin);
        }
        if (!(spec->namespaces & PERMIT_FLAG_HOST_IPC))
                info_write_namespace(json, "ipc", NULL);
        if (!(spec->namespaces & PERMIT_FLAG_HOST_PID))
                info_write_namespace(json, "pid", NULL);
        json_text_close(json, ']');
        if (cgroup_path_compose(path, systemd, spec->cgroup_parent, spec->container_id))
                json_text_string(json, "cgroupsPath", path);
        json_text_message(json, "resources", spec->resources ? &spec->resources->base : NULL);
        json_text_message(json, "seccomp", spec->seccomp ? &spec->seccomp->base : NULL);
        info_write_strings(json, "maskedPaths", spec->masked_paths, spec->n_masked_paths);
        info_write_strings(json, "readonlyPaths", spec->readonly_paths, spec->n_readonly_paths);
        json_text_close(json, '}');
}

static void info_write_mounts(JsonText *json, const RuntimeSpec *spec)
{
        json_text_open(json, "mounts", '[');
        for (size_t i = 0; i < spec->n_mounts; i++) {
                const Bulkhead__RuntimeSpec__MountSpec *mount = spec->mounts[i];
                const ProtobufCEnumValue *kind =
                        protobuf_c_enum_descriptor_get_value(&bulkhead__runtime_spec__mount_spec__kind__descriptor, (int)mount->kind);
                json_text_open(json, NULL, '{');
                json_text_string(json, "destination", mount->destination);
                json_text_string(json, "type", kind ? kind->name : "");
                json_text_string(json, "source", mount->host_path);
                json_text_open(json, "options", '[');
                json_text_string(json, NULL, mount->readonly ? "ro" : "rw");
                if (mount->recursive_readonly)
                        json_text_string(json, NULL, "rro");
                json_text_close(json, ']');
                json_text_close(json, '}');
        }
        json_text_close(json, ']');
}

static void info_write_spec(JsonText *json, const Container *container)
{
        DecodeArena arena;
        ProtobufCMessage *message = NULL;

        decode_arena_init(&arena, decode_budget(container->record.n_spec));
        if (decode_message(&arena, &bulkhead__runtime_spec__runtime_spec__descriptor, container->record.spec_bytes,
                           container->record.n_spec, &message) == 0) {
                const RuntimeSpec *spec = container_of(message, RuntimeSpec, base);
                json_text_open(json, "runtimeSpec", '{');
                if (spec->process)
                        info_write_process(json, spec->process);
                json_text_open(json, "root", '{');
                json_text_bool(json, "readonly", spec->root_readonly);
                json_text_close(json, '}');
                json_text_string(json, "hostname", spec->hostname);
                info_write_mounts(json, spec);
                info_write_linux(json, spec, container->containerd->config->systemd_cgroups);
                json_text_close(json, '}');
        }
        decode_arena_done(&arena);
}

static void info_write_config(JsonText *json, const Container *container)
{
        DecodeArena arena;
        ProtobufCMessage *message = NULL;

        decode_arena_init(&arena, decode_budget(container->record.n_config));
        if (decode_message(&arena, &runtime__v1__container_config__descriptor, container->record.config_bytes,
                           container->record.n_config, &message) == 0)
                json_text_message(json, "config", message);
        decode_arena_done(&arena);
}

void info_write(const Container *container, JsonText *json)
{
        const ConfigRuntime *runtime = &container->containerd->config->runtimes[container->runtime];

        json_text_open(json, NULL, '{');
        json_text_string(json, "sandboxID", container->pod_id);
        json_text_integer(json, "pid", container->state == CONTAINER_STATE_EXITED ? 0 : container->pid);
        json_text_bool(json, "removing", container->remove != NULL);
        json_text_string(json, "snapshotKey", container->id);
        json_text_string(json, "snapshotter", "overlayfs");
        json_text_string(json, "runtimeType", runtime->handler);
        json_text_string(json, "runtimePath", runtime->path);
        json_text_bool(json, "privileged", container->record.privileged);
        if (container->record.status) {
                info_write_config(json, container);
                info_write_spec(json, container);
        }
        json_text_close(json, '}');
}
