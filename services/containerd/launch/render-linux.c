/* SPDX-License-Identifier: Apache-2.0 */
/* Runs only in the confined child. */

/* The linux section, and the whole of it. */

#include "services/containerd/launch/render.h"

#include "ipc/cgroup-path.h"
#include "services/containerd/launch/seccomp.h"

#include <stdio.h>

#define RENDER_OCI_VERSION "1.0.2" /* of config.json; what the oldest supported runtimes read */
#define SECCOMP_MODE(name) BULKHEAD__RUNTIME_SPEC__SECCOMP_SPEC__MODE__##name

static int render_namespace(json_t *namespaces, const char *type, const char *path)
{
        json_t *object = json_pack("{s:s}", "type", type);
        if (object && path)
                (void)json_object_set_new(object, "path", json_string(path));
        return json_array_append_new(namespaces, object) < 0 ? -ENOMEM : 0;
}

static int render_pin(const Render *render, json_t *namespaces, const char *type, const char *name)
{
        char path[CONFIG_PATH_MAX + ID_LENGTH + 32];
        (void)snprintf(path, sizeof(path), "%s/ns/%s/%s", render->common->runtime_dir, render->spec->pod_id, name);
        return render_namespace(namespaces, type, path);
}

static int render_pid_namespace(Render *render, json_t *namespaces)
{
        const RuntimeSpec *spec = render->spec;
        if (!str_is_empty(spec->target_container)) {
                char path[64];
                int pid = 0;
                int r = render->host->target(render->host->userdata, spec->target_container, &pid);
                if (r < 0)
                        return render_refuse(render, "target container %s does not run: %s", spec->target_container, strerror(-r));
                (void)snprintf(path, sizeof(path), "/proc/%d/ns/pid", pid);
                return render_namespace(namespaces, "pid", path);
        }
        if (spec->namespaces & PERMIT_FLAG_HOST_PID)
                return 0;
        if (spec->namespaces & PERMIT_FLAG_POD_PID)
                return render_pin(render, namespaces, "pid", "pid");
        return render_namespace(namespaces, "pid", NULL);
}

/* The pod's namespaces by their pins; its own: mount, cgroup (not privileged: it is to see the node's), mostly pid. */
static int render_namespaces(Render *render, json_t *namespaces)
{
        const RuntimeSpec *spec = render->spec;
        char path[CONFIG_NAME_MAX + ID_LENGTH + 32];
        int r = render_namespace(namespaces, "mount", NULL);
        if (r == 0 && !spec->privileged)
                r = render_namespace(namespaces, "cgroup", NULL);
        if (r == 0)
                r = render_pid_namespace(render, namespaces);
        if (r == 0 && !(spec->namespaces & PERMIT_FLAG_HOST_IPC))
                r = render_pin(render, namespaces, "ipc", "ipc");
        if (r == 0 && (render->facts->has_pod_uts || !(spec->namespaces & PERMIT_FLAG_HOST_NETWORK)))
                r = render_pin(render, namespaces, "uts", "uts");
        if (r == 0 && spec->namespaces & PERMIT_FLAG_USERNS)
                r = render_pin(render, namespaces, "user", "user");
        if (r == 0 && !(spec->namespaces & PERMIT_FLAG_HOST_NETWORK)) {
                (void)snprintf(path, sizeof(path), "/run/netns/%s", spec->network_pin);
                r = render_namespace(namespaces, "network", path);
        }
        return r;
}

typedef struct RenderDevices {
        const DeviceSpec *spec; /* NULL: every device of the host, for a privileged container */
        json_t *devices, *rules;
} RenderDevices;

/* One node of the host below spec->host_path, in the container at the same place below container_path. */
static int render_device(void *userdata, const RenderAnswer *device)
{
        const RenderDevices *to = userdata;
        char type[2] = {(char)device->type, '\0'}, path[RENDER_PATH_MAX];
        const char *at = device->path, *permissions = "rwm";
        if (!to->spec && str_equal(at, "/dev/console"))
                return 0; /* its own terminal's, if it has one */
        if (to->spec) {
                const char *base = str_is_empty(to->spec->container_path) ? to->spec->host_path : to->spec->container_path;
                if (snprintf(path, sizeof(path), "%s%s", base, device->path + strlen(to->spec->host_path)) >= (int)sizeof(path))
                        return -ENAMETOOLONG;
                at = path;
                permissions = str_is_empty(to->spec->permissions) ? "rwm" : to->spec->permissions;
        }
        json_t *node = json_pack("{s:s,s:s,s:I,s:I,s:I,s:I,s:I}", "path", at, "type", type, "major", (json_int_t)device->major,
                                 "minor", (json_int_t)device->minor, "fileMode", (json_int_t)(device->mode & 0777), "uid",
                                 (json_int_t)device->uid, "gid", (json_int_t)device->gid);
        if (json_array_append_new(to->devices, node) < 0)
                return -ENOMEM;
        if (!to->spec)
                return 0;
        return json_array_append_new(to->rules, json_pack("{s:b,s:s,s:I,s:I,s:s}", "allow", 1, "type", type, "major",
                                                          (json_int_t)device->major, "minor", (json_int_t)device->minor,
                                                          "access", permissions)) < 0 ? -ENOMEM : 0;
}

/* The list begins with denying everything, always: an empty list allows everything in some runtimes. */
static int render_devices(Render *render, json_t *devices, json_t *rules)
{
        RenderDevices to = {.devices = devices, .rules = rules};
        const RuntimeSpec *spec = render->spec;
        if (json_array_append_new(rules, json_pack("{s:b,s:s}", "allow", 0, "access", "rwm")) < 0)
                return -ENOMEM;
        if (spec->privileged) {
                int r = render->host->devices(render->host->userdata, "/dev", render_device, &to);
                if (r < 0)
                        return render_refuse(render, "devices of the host: %s", strerror(-r));
                return json_array_append_new(rules, json_pack("{s:b,s:s}", "allow", 1, "access", "rwm")) < 0 ? -ENOMEM : 0;
        }
        for (size_t i = 0; i < spec->n_devices; i++) {
                to.spec = spec->devices[i];
                if (strspn(to.spec->permissions, "rwm") != strlen(to.spec->permissions))
                        return render_refuse(render, "device %.200s: permissions \"%.20s\" are not of r, w, m", to.spec->host_path,
                                             to.spec->permissions);
                size_t before = json_array_size(devices);
                int r = render->host->devices(render->host->userdata, to.spec->host_path, render_device, &to);
                if (r < 0 || json_array_size(devices) == before)
                        return render_refuse(render, "device %.200s: %s", to.spec->host_path,
                                             r < 0 ? strerror(-r) : "there is no device node");
        }
        return 0;
}

/* No quota is -1; crun 1.8 cannot write that to a v1 hierarchy, but the largest one that a kernel takes (2^44 - 1, its max_cfs_runtime). */
int64_t render_quota(const Render *render, int64_t quota)
{
        return quota < 0 && !render->facts->has_unified ? (INT64_C(1) << 44) - 1 : quota;
}

static int render_set_integer(json_t *object, const char *key, int64_t value)
{
        return value == 0 ? 0 : json_object_set_new(object, key, json_integer(value));
}

static int render_set_string(json_t *object, const char *key, const char *value)
{
        return str_is_empty(value) ? 0 : json_object_set_new(object, key, json_string(value));
}

static int render_limits(Render *render, const Bulkhead__RuntimeSpec__ResourcesSpec *limits, json_t *resources)
{
        if (limits->n_unified > 0 && !render->facts->has_unified)
                return render_refuse(render, "unified %.80s: " RENDER_NO_UNIFIED, limits->unified[0]->key);
        json_t *cpu = json_object(), *memory = json_object(), *hugepages = json_array(), *unified = json_object();
        int r = json_object_set_new(resources, "cpu", cpu) | json_object_set_new(resources, "memory", memory) |
                json_object_set_new(resources, "hugepageLimits", hugepages);
        r |= render_set_integer(cpu, "shares", limits->cpu_shares) | render_set_integer(cpu, "quota", render_quota(render, limits->cpu_quota)) |
             render_set_integer(cpu, "period", limits->cpu_period) | render_set_string(cpu, "cpus", limits->cpuset_cpus) |
             render_set_string(cpu, "mems", limits->cpuset_mems);
        r |= render_set_integer(memory, "limit", limits->memory_limit_bytes);
        /* A node without swap accounting has no such limit to set. */
        if (render->facts->has_memory_swap)
                r |= render_set_integer(memory, "swap", limits->memory_swap_limit_bytes);
        /* A kubelet limits every size that the kernel knows, to nothing as a rule, whether or not the controller is there. */
        for (size_t i = 0; render->facts->has_hugepages && i < limits->n_hugepages && r == 0; i++)
                r = json_array_append_new(hugepages, json_pack("{s:s,s:I}", "pageSize", limits->hugepages[i]->page_size, "limit",
                                                               (json_int_t)MIN2(limits->hugepages[i]->limit_bytes,
                                                                                (uint64_t)INT64_MAX)));
        if (limits->pids_limit > 0)
                r |= json_object_set_new(resources, "pids", json_pack("{s:I}", "limit", (json_int_t)limits->pids_limit));
        for (size_t i = 0; i < limits->n_unified && r == 0; i++)
                r = json_object_set_new(unified, limits->unified[i]->key, json_string(limits->unified[i]->value));
        if (limits->n_unified > 0)
                r |= json_object_set(resources, "unified", unified);
        json_decref(unified);
        return r ? -ENOMEM : 0;
}

static int render_seccomp(Render *render, json_t **ret)
{
        const Bulkhead__RuntimeSpec__SeccompSpec *seccomp = render->spec->seccomp;
        SeccompContext context = {.kernel_version = render->facts->kernel_version};
        const ProcessSpec *process = render->spec->process;
        char why[256];
        if (render->spec->privileged || !seccomp || seccomp->mode == SECCOMP_MODE(UNCONFINED))
                return 0;
        for (size_t i = 0; i < process->n_capabilities; i++)
                (void)capability_set_add(&context.capabilities, process->capabilities[i]);
        if (seccomp->mode == SECCOMP_MODE(RUNTIME_DEFAULT)) {
                *ret = seccomp_default(&context);
                return *ret ? 0 : -ENOMEM;
        }
        if (seccomp->mode != SECCOMP_MODE(LOCALHOST) || str_is_empty(seccomp->profile_path))
                return render_refuse(render, "seccomp: a Localhost profile needs the absolute path of a file");
        _cleanup_free_ char *text = NULL;
        size_t n = 0;
        int r = render->host->profile(render->host->userdata, seccomp->profile_path, &text, &n);
        if (r < 0)
                return render_refuse(render, "seccomp profile %.300s: %s; it must be a regular file of root's that only root may write, "
                                             "beneath %s (seccomp_dir in the configuration)", seccomp->profile_path, strerror(-r),
                                     render->config->seccomp_dir);
        r = seccomp_parse(text, n, &context, ret, why, sizeof(why));
        if (r > 0)
                return render_refuse(render, "seccomp profile %.300s: %s", seccomp->profile_path, why);
        return r;
}

static int render_cgroups_path(Render *render, char to[CGROUP_PATH_MAX])
{
        const RuntimeSpec *spec = render->spec;
        const char *slice = cgroup_path_slice(spec->cgroup_parent);
        if (!render->config->systemd_cgroups) {
                if (cgroup_path_compose(to, false, spec->cgroup_parent, spec->container_id))
                        return 0;
                return render_refuse(render, "cgroup parent \"%.200s\": give an absolute path without \"..\"", spec->cgroup_parent);
        }
        /* slice:prefix:name, of which the runtime makes the scope that cgroup_path_compose() names. */
        if (!slice)
                return render_refuse(render, "cgroup parent \"%.200s\": with the systemd driver it is the name of a slice",
                                     spec->cgroup_parent);
        (void)snprintf(to, CGROUP_PATH_MAX, "%s:" CGROUP_PATH_SCOPE ":%s", slice, spec->container_id);
        return 0;
}

/* The map that the pod's user namespace was made with: one runtime reads it there, another wants it said. */
static int render_user_map(const Render *render, json_t *object)
{
        static const char *const keys[] = {"uidMappings", "gidMappings"};
        for (size_t i = 0; i < ARRAY_SIZE(keys) && render->spec->namespaces & PERMIT_FLAG_USERNS; i++)
                if (json_object_set_new(object, keys[i], json_pack("[{s:i,s:I,s:I}]", "containerID", 0, "hostID",
                                                                   (json_int_t)render->spec->userns_host_id, "size",
                                                                   (json_int_t)render->spec->userns_length)) < 0)
                        return -ENOMEM;
        return 0;
}

static int render_paths(json_t *object, const char *key, char *const *paths, size_t n)
{
        json_t *array = json_array();
        int r = json_object_set_new(object, key, array);
        for (size_t i = 0; i < n && r == 0; i++)
                r = json_array_append_new(array, json_string(paths[i]));
        return r ? -ENOMEM : 0;
}

int render_linux(Render *render, const char *propagation, json_t **ret)
{
        static const Bulkhead__RuntimeSpec__ResourcesSpec no_limits = BULKHEAD__RUNTIME_SPEC__RESOURCES_SPEC__INIT;
        const RuntimeSpec *spec = render->spec;
        char cgroups_path[CGROUP_PATH_MAX];
        int r = render_cgroups_path(render, cgroups_path);
        if (r)
                return r;
        json_t *namespaces = json_array(), *devices = json_array(), *rules = json_array(), *sysctls = json_object();
        json_t *resources = json_pack("{s:o}", "devices", rules), *seccomp = NULL;
        json_t *object = json_pack("{s:o,s:o,s:o,s:o,s:s,s:s}", "namespaces", namespaces, "devices", devices, "resources",
                                   resources, "sysctl", sysctls, "cgroupsPath", cgroups_path, "rootfsPropagation", propagation);
        r = object ? render_namespaces(render, namespaces) : -ENOMEM;
        if (r == 0)
                r = render_user_map(render, object);
        if (r == 0)
                r = render_devices(render, devices, rules);
        if (r == 0)
                r = render_limits(render, spec->resources ? spec->resources : &no_limits, resources);
        for (size_t i = 0; i < spec->n_sysctls && r == 0; i++)
                r = json_object_set_new(sysctls, spec->sysctls[i]->name, json_string(spec->sysctls[i]->value));
        if (r == 0 && !spec->privileged)
                r = render_paths(object, "maskedPaths", spec->masked_paths, spec->n_masked_paths);
        if (r == 0 && !spec->privileged)
                r = render_paths(object, "readonlyPaths", spec->readonly_paths, spec->n_readonly_paths);
        if (r == 0)
                r = render_seccomp(render, &seccomp);
        if (r == 0 && seccomp)
                r = json_object_set_new(object, "seccomp", seccomp);
        if (r) {
                json_decref(object);
                return r < 0 ? -ENOMEM : r;
        }
        *ret = object;
        return 0;
}

int render_config(Render *render, json_t **ret)
{
        json_t *process = NULL, *linux_section = NULL, *mounts = json_array();
        const char *propagation = NULL;
        int r = mounts ? render_process(render, render->spec->process, &process) : -ENOMEM;
        if (r == 0)
                r = render_mounts(render, mounts, &propagation);
        if (r == 0)
                r = render_linux(render, propagation, &linux_section);
        if (r) {
                json_decref(process);
                json_decref(mounts);
                return r;
        }
        *ret = json_pack("{s:s,s:{s:s,s:b},s:o,s:o,s:o}", "ociVersion", RENDER_OCI_VERSION, "root", "path", "rootfs", "readonly",
                         render->spec->root_readonly, "process", process, "mounts", mounts, "linux", linux_section);
        r = *ret ? render_cdi(render, *ret) : -ENOMEM;
        if (r) {
                json_decref(*ret);
                *ret = NULL;
        }
        return r;
}
