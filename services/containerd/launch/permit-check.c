/* SPDX-License-Identifier: Apache-2.0 */
/* Runs only in the confined child. */

#include "services/containerd/launch/permit-check.h"

#include "ipc/config.h"
#include "lib/strings.h"
#include "services/containerd/launch/apparmor.h"
#include "services/containerd/launch/capability-set.h"

#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

/* Fields that the CRI deprecated and that kubelets and crictl still send. */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

typedef Bulkhead__RuntimeSpec__SeccompSpec__Mode SeccompMode;
#define SECCOMP_MODE(name) BULKHEAD__RUNTIME_SPEC__SECCOMP_SPEC__MODE__##name

int permit_check_refuse(PermitCheck *check, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        (void)vsnprintf(check->text, sizeof(check->text), format, args);
        va_end(args);
        return PERMIT_CHECK_E_REFUSED;
}

const Runtime__V1__LinuxContainerSecurityContext *permit_check_context(const PermitCheck *check)
{
        static const Runtime__V1__LinuxContainerSecurityContext none = RUNTIME__V1__LINUX_CONTAINER_SECURITY_CONTEXT__INIT;
        const Runtime__V1__ContainerConfig *config = check->request->config;
        return config->linux && config->linux->security_context ? config->linux->security_context : &none;
}

static const Runtime__V1__LinuxContainerResources *permit_check_resources_of(const PermitCheck *check)
{
        static const Runtime__V1__LinuxContainerResources none = RUNTIME__V1__LINUX_CONTAINER_RESOURCES__INIT;
        const Runtime__V1__ContainerConfig *config = check->request->config;
        return config->linux && config->linux->resources ? config->linux->resources : &none;
}

static const Runtime__V1__LinuxPodSandboxConfig *permit_check_pod(const PermitCheck *check)
{
        static const Runtime__V1__LinuxPodSandboxConfig none = RUNTIME__V1__LINUX_POD_SANDBOX_CONFIG__INIT;
        const Runtime__V1__PodSandboxConfig *pod = check->request->sandbox_config;
        return pod && pod->linux ? pod->linux : &none;
}

bool permit_check_is_privileged(const PermitCheck *check)
{
        return permit_check_context(check)->privileged && check->allow_privileged;
}

static int permit_check_identity(PermitCheck *check)
{
        const RuntimeSpec *spec = check->spec;
        const Permit *permit = check->permit;
        if (!str_equal(spec->container_id, permit->id))
                return permit_check_refuse(check, "container_id %s: the permit is for %s", spec->container_id, permit->id);
        if (!str_equal(spec->pod_id, permit->pod_id))
                return permit_check_refuse(check, "pod_id %s: the permit is for pod %s", spec->pod_id, permit->pod_id);
        if (str_is_empty(check->request->pod_sandbox_id) ||
            !str_has_prefix(permit->pod_id, check->request->pod_sandbox_id))
                return permit_check_refuse(check, "pod_sandbox_id %s: the permit is for pod %s",
                                           check->request->pod_sandbox_id, permit->pod_id);
        const char *parent = permit_check_pod(check)->cgroup_parent;
        if (!str_equal(spec->cgroup_parent, parent) || !str_equal(permit->cgroup_parent, parent))
                return permit_check_refuse(check, "cgroup_parent \"%s\": the request says \"%s\", the permit \"%s\"",
                                           spec->cgroup_parent, parent, permit->cgroup_parent);
        if (spec->privileged && !permit_check_context(check)->privileged)
                return permit_check_refuse(check, "privileged: the request does not say so");
        if (spec->privileged && !check->allow_privileged)
                return permit_check_refuse(check, "privileged: this node's policy allows no privileged containers "
                                                  "(policy.allow_privileged in its configuration)");
        if (!spec->root_readonly && permit_check_context(check)->readonly_rootfs)
                return permit_check_refuse(check, "root_readonly false: the request says readonly_rootfs");
        return 0;
}

static bool permit_check_lists_equal(char *const *a, size_t n_a, char *const *b, size_t n_b)
{
        if (n_a != n_b)
                return false;
        for (size_t i = 0; i < n_a; i++)
                if (!str_equal(a[i], b[i]))
                        return false;
        return true;
}

/* What the request's command and args leave open is the image's: its entrypoint before args, or everything. */
static int permit_check_command(PermitCheck *check)
{
        const Runtime__V1__ContainerConfig *config = check->request->config;
        const ProcessSpec *process = check->spec->process;
        size_t n_head = 0;
        if (config->n_command > 0) {
                n_head = config->n_command;
                if (process->n_args < n_head ||
                    !permit_check_lists_equal(process->args, n_head, config->command, config->n_command))
                        return permit_check_refuse(check, "args: they do not begin with the request's command");
        } else if (config->n_args > 0) {
                n_head = process->n_args >= config->n_args ? process->n_args - config->n_args : 0;
        } else {
                return 0;
        }
        if (!permit_check_lists_equal(process->args + n_head, process->n_args - n_head, config->args, config->n_args))
                return permit_check_refuse(check, "args: they do not end with the request's args");
        return 0;
}

static bool permit_check_group_is_listed(const Runtime__V1__LinuxContainerSecurityContext *context, uint32_t gid)
{
        for (size_t i = 0; i < context->n_supplemental_groups; i++)
                if (context->supplemental_groups[i] == (int64_t)gid)
                        return true;
        return false;
}

static int permit_check_user(PermitCheck *check)
{
        const Runtime__V1__LinuxContainerSecurityContext *context = permit_check_context(check);
        const ProcessSpec *process = check->spec->process;
        if (context->run_as_user && context->run_as_user->value != (int64_t)process->uid)
                return permit_check_refuse(check, "uid %u: the request says run_as_user %lld", process->uid,
                                           (long long)context->run_as_user->value);
        if (context->run_as_group && context->run_as_group->value != (int64_t)process->gid)
                return permit_check_refuse(check, "gid %u: the request says run_as_group %lld", process->gid,
                                           (long long)context->run_as_group->value);
        /* With the policy Merge the image's /etc/group adds to them. */
        if (context->supplemental_groups_policy == RUNTIME__V1__SUPPLEMENTAL_GROUPS_POLICY__Strict)
                for (size_t i = 0; i < process->n_additional_gids; i++)
                        if (process->additional_gids[i] != process->gid &&
                            !permit_check_group_is_listed(context, process->additional_gids[i]))
                                return permit_check_refuse(check,
                                                           "additional_gids %u: not among the request's supplemental_groups, "
                                                           "whose policy is Strict", process->additional_gids[i]);
        return 0;
}

static int permit_check_capabilities(PermitCheck *check)
{
        const Runtime__V1__Capability *request = permit_check_context(check)->capabilities;
        const ProcessSpec *process = check->spec->process;
        CapabilitySet allowed = permit_check_is_privileged(check) ? CAPABILITY_SET_ALL : capability_set_allowed(request);
        CapabilitySet ambient = capability_set_allowed_ambient(request);
        CapabilitySet asked = 0;
        for (size_t i = 0; i < process->n_capabilities; i++) {
                CapabilitySet one = 0;
                if (!capability_set_add(&one, process->capabilities[i]) || (one & ~allowed) != 0)
                        return permit_check_refuse(check, "capabilities %s: the request does not add it",
                                                   process->capabilities[i]);
                asked |= one;
        }
        for (size_t i = 0; i < process->n_ambient_capabilities; i++) {
                CapabilitySet one = 0;
                if (!capability_set_add(&one, process->ambient_capabilities[i]) || (one & ~(ambient & asked)) != 0)
                        return permit_check_refuse(check, "ambient_capabilities %s: the request does not add it",
                                                   process->ambient_capabilities[i]);
        }
        return 0;
}

static int permit_check_process(PermitCheck *check)
{
        const Runtime__V1__LinuxContainerSecurityContext *context = permit_check_context(check);
        const ProcessSpec *process = check->spec->process;
        if (!process)
                return permit_check_refuse(check, "process: missing");
        if (process->n_args == 0)
                return permit_check_refuse(check, "args: neither the request nor the image says what to run; give a command");
        if (context->no_new_privs && !process->no_new_privileges)
                return permit_check_refuse(check, "no_new_privileges false: the request says no_new_privs");
        if (process->terminal != check->request->config->tty)
                return permit_check_refuse(check, "terminal %d: the request says tty %d", process->terminal,
                                           check->request->config->tty);
        int64_t oom_score_adj = process->has_oom_score_adj ? process->oom_score_adj : 0;
        if (oom_score_adj < permit_check_resources_of(check)->oom_score_adj)
                return permit_check_refuse(check, "oom_score_adj %lld: the request says %lld", (long long)oom_score_adj,
                                           (long long)permit_check_resources_of(check)->oom_score_adj);
        int r = permit_check_command(check);
        if (r == 0)
                r = permit_check_user(check);
        return r ? r : permit_check_capabilities(check);
}

/* Network, ipc and user namespaces are the pod's, whose configuration is part of the request: crictl repeats them in the
 * container's, or does not. */
static int permit_check_namespaces(PermitCheck *check)
{
        static const Runtime__V1__NamespaceOption none = RUNTIME__V1__NAMESPACE_OPTION__INIT;
        const Runtime__V1__LinuxSandboxSecurityContext *pod_context = permit_check_pod(check)->security_context;
        const Runtime__V1__NamespaceOption *options = permit_check_context(check)->namespace_options;
        const Runtime__V1__NamespaceOption *pod = pod_context ? pod_context->namespace_options : NULL;
        const RuntimeSpec *spec = check->spec;
        options = options ? options : &none;
        pod = pod ? pod : &none;
        const Runtime__V1__UserNamespace *user = options->userns_options ? options->userns_options : pod->userns_options;
        const struct {
                uint32_t flag;
                const char *name;
                bool allowed;
        } flags[] = {
                {PERMIT_FLAG_HOST_NETWORK, "the host's network", options->network == RUNTIME__V1__NAMESPACE_MODE__NODE ||
                                                                  pod->network == RUNTIME__V1__NAMESPACE_MODE__NODE},
                {PERMIT_FLAG_HOST_IPC, "the host's ipc", options->ipc == RUNTIME__V1__NAMESPACE_MODE__NODE ||
                                                                  pod->ipc == RUNTIME__V1__NAMESPACE_MODE__NODE},
                {PERMIT_FLAG_HOST_PID, "the host's pid", options->pid == RUNTIME__V1__NAMESPACE_MODE__NODE},
                {PERMIT_FLAG_POD_PID, "the pod's pid", options->pid == RUNTIME__V1__NAMESPACE_MODE__POD},
                {PERMIT_FLAG_USERNS, "the pod's user", user && user->mode == RUNTIME__V1__NAMESPACE_MODE__POD},
        };
        uint32_t known = 0;
        for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
                known |= flags[i].flag;
                if ((spec->namespaces & flags[i].flag) && !flags[i].allowed)
                        return permit_check_refuse(check, "namespaces: %s namespace, which the request does not name",
                                                   flags[i].name);
        }
        if (spec->namespaces & ~known)
                return permit_check_refuse(check, "namespaces %#x: unknown flags", spec->namespaces);

        if (!str_is_empty(spec->target_container) &&
            (options->pid != RUNTIME__V1__NAMESPACE_MODE__TARGET || str_is_empty(options->target_id) ||
             !id_is_valid(spec->target_container) || !str_has_prefix(spec->target_container, options->target_id)))
                return permit_check_refuse(check, "target_container %.64s: the request names \"%s\"", spec->target_container,
                                           options->target_id);
        if (!str_is_empty(spec->network_pin)) {
                char pin[CONFIG_NAME_MAX + ID_LENGTH + 8];
                (void)snprintf(pin, sizeof(pin), "%sbh-%s", check->instance, check->permit->pod_id);
                if (!str_equal(spec->network_pin, pin))
                        return permit_check_refuse(check, "network_pin %.160s: the pod's is %s", spec->network_pin, pin);
        } else if (!(spec->namespaces & PERMIT_FLAG_HOST_NETWORK)) {
                return permit_check_refuse(check, "network_pin: missing, and the request does not name the host's network");
        }

        if (user && user->mode == RUNTIME__V1__NAMESPACE_MODE__POD) {
                if (!(spec->namespaces & PERMIT_FLAG_USERNS))
                        return permit_check_refuse(check, "namespaces: no user namespace, but the request names one");
                if (user->n_uids != 1 || user->uids[0]->host_id != spec->userns_host_id ||
                    user->uids[0]->length != spec->userns_length || user->uids[0]->container_id != 0)
                        return permit_check_refuse(check, "userns_host_id %u, userns_length %u: not the request's mapping",
                                                   spec->userns_host_id, spec->userns_length);
        }
        return 0;
}

bool permit_check_seccomp_of(const Runtime__V1__LinuxContainerSecurityContext *context, SeccompMode *ret_mode,
                             const char **ret_path)
{
        const char *old = context->seccomp_profile_path;
        *ret_path = "";
        *ret_mode = SECCOMP_MODE(UNCONFINED);
        if (context->seccomp) {
                switch (context->seccomp->profile_type) {
                case RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__RuntimeDefault:
                        *ret_mode = SECCOMP_MODE(RUNTIME_DEFAULT);
                        return true;
                case RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__Unconfined:
                        return true;
                case RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__Localhost:
                        *ret_mode = SECCOMP_MODE(LOCALHOST);
                        *ret_path = context->seccomp->localhost_ref;
                        return true;
                case _RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE_IS_INT_SIZE:
                default:
                        return false;
                }
        }
        if (str_is_empty(old) || str_equal(old, "unconfined"))
                return true;
        if (str_equal(old, "runtime/default") || str_equal(old, "docker/default")) {
                *ret_mode = SECCOMP_MODE(RUNTIME_DEFAULT);
                return true;
        }
        if (!str_has_prefix(old, "localhost/"))
                return false;
        *ret_mode = SECCOMP_MODE(LOCALHOST);
        *ret_path = old + strlen("localhost/");
        return true;
}

static int permit_check_seccomp(PermitCheck *check)
{
        static const char *const names[] = {"Unconfined", "RuntimeDefault", "Localhost"};
        const Bulkhead__RuntimeSpec__SeccompSpec *seccomp = check->spec->seccomp;
        SeccompMode asked = seccomp ? seccomp->mode : SECCOMP_MODE(UNCONFINED), requested;
        const char *path = NULL;
        if (permit_check_is_privileged(check))
                return 0;
        if (!permit_check_seccomp_of(permit_check_context(check), &requested, &path))
                return permit_check_refuse(check, "seccomp: the request's profile type or seccomp_profile_path \"%.200s\" is "
                                                  "unknown; use RuntimeDefault, Unconfined or Localhost",
                                           permit_check_context(check)->seccomp_profile_path);
        if ((unsigned)asked >= ARRAY_SIZE(names))
                return permit_check_refuse(check, "seccomp mode %d: unknown", (int)asked);
        if (requested == SECCOMP_MODE(UNCONFINED))
                return 0;
        if (asked != requested)
                return permit_check_refuse(check, "seccomp %s: the request says %s", names[asked], names[requested]);
        if (asked == SECCOMP_MODE(LOCALHOST) && !str_equal(seccomp->profile_path, path))
                return permit_check_refuse(check, "seccomp profile_path \"%s\": the request says \"%s\"", seccomp->profile_path,
                                           path);
        return 0;
}

/* Stricter than Unconfined is whatever there is. Which name stands for the runtime's default the kernel decides: "" without AppArmor. */
static int permit_check_apparmor(PermitCheck *check)
{
        const ProcessSpec *process = check->spec->process;
        const char *asked = process->apparmor_profile, *name = "";
        ApparmorChoice choice = apparmor_choose(permit_check_context(check), &name);
        switch (choice) {
        case APPARMOR_UNCONFINED:
                return 0;
        case APPARMOR_UNSET:
        case APPARMOR_RUNTIME_DEFAULT:
                name = check->has_apparmor ? APPARMOR_DEFAULT : "";
                break;
        case APPARMOR_LOCALHOST:
                if (str_is_empty(name))
                        return permit_check_refuse(check, "apparmor: the request names no profile");
                break;
        case APPARMOR_UNKNOWN:
                return permit_check_refuse(check, "apparmor: the request's profile type or apparmor_profile \"%.200s\" is unknown; use "
                                                  "RuntimeDefault, Unconfined or Localhost", permit_check_context(check)->apparmor_profile);
        }
        if (!str_equal(asked, name))
                return permit_check_refuse(check, "apparmor_profile \"%s\": the request says %s\"%s\"", asked,
                                           choice == APPARMOR_LOCALHOST ? "" : "the runtime's default, ", name);
        if (process->apparmor_if_loaded && choice != APPARMOR_UNSET)
                return permit_check_refuse(check, "apparmor_if_loaded: the request asks for \"%s\"", name);
        return 0;
}

/* Fewer masks than the request gave would show what it hides; more are harmless. */
static int permit_check_paths(PermitCheck *check, const char *field, char *const *wanted, size_t n_wanted, char *const *asked,
                              size_t n_asked)
{
        for (size_t i = 0; i < n_wanted; i++) {
                bool found = false;
                for (size_t k = 0; k < n_asked && !found; k++)
                        found = str_equal(wanted[i], asked[k]);
                if (!found)
                        return permit_check_refuse(check, "%s: without \"%s\", which the request lists", field, wanted[i]);
        }
        return 0;
}

/* A sysctl counts only where the pod has the namespace that it belongs to: otherwise it is the host's. */
static int permit_check_sysctls(PermitCheck *check)
{
        const Runtime__V1__LinuxPodSandboxConfig *pod = permit_check_pod(check);
        const RuntimeSpec *spec = check->spec;
        for (size_t i = 0; i < spec->n_sysctls; i++) {
                const char *name = spec->sysctls[i]->name;
                bool found = false;
                for (size_t k = 0; k < pod->n_sysctls && !found; k++)
                        found = str_equal(name, pod->sysctls[k]->key) &&
                                str_equal(spec->sysctls[i]->value, pod->sysctls[k]->value);
                if (!found)
                        return permit_check_refuse(check, "sysctls %s=%s: not in the pod's request", name,
                                                   spec->sysctls[i]->value);
                bool is_net = str_has_prefix(name, "net.");
                bool is_ipc = str_has_prefix(name, "kernel.shm") || str_has_prefix(name, "kernel.msg") ||
                              str_has_prefix(name, "kernel.sem") || str_has_prefix(name, "fs.mqueue.");
                if (strchr(name, '/') || strstr(name, "..") || (!is_net && !is_ipc))
                        return permit_check_refuse(check, "sysctls %s: it belongs to no namespace of a pod", name);
                if (spec->namespaces & (is_net ? PERMIT_FLAG_HOST_NETWORK : PERMIT_FLAG_HOST_IPC))
                        return permit_check_refuse(check, "sysctls %s: the pod shares that namespace with the host", name);
        }
        return 0;
}

static int permit_check_devices(PermitCheck *check)
{
        const Runtime__V1__ContainerConfig *config = check->request->config;
        if (permit_check_is_privileged(check))
                return 0;
        for (size_t i = 0; i < check->spec->n_devices; i++) {
                const DeviceSpec *asked = check->spec->devices[i];
                bool found = false;
                for (size_t k = 0; k < config->n_devices && !found; k++) {
                        const Runtime__V1__Device *device = config->devices[k];
                        const char *path = str_is_empty(device->container_path) ? device->host_path : device->container_path;
                        found = str_equal(asked->host_path, device->host_path) &&
                                (str_is_empty(asked->container_path) || str_equal(asked->container_path, path)) &&
                                strspn(asked->permissions, device->permissions) == strlen(asked->permissions);
                }
                if (!found)
                        return permit_check_refuse(check, "devices %s at \"%s\" with \"%s\": not in the request",
                                                   asked->host_path, asked->container_path, asked->permissions);
        }
        return 0;
}

static int permit_check_cdi(PermitCheck *check)
{
        const Runtime__V1__ContainerConfig *config = check->request->config;
        for (size_t i = 0; i < check->spec->n_cdi_devices; i++) {
                bool found = false;
                for (size_t k = 0; k < config->n_cdi_devices && !found; k++)
                        found = str_equal(check->spec->cdi_devices[i], config->cdi_devices[k]->name);
                if (!found)
                        return permit_check_refuse(check, "cdi_devices %.200s: not in the request", check->spec->cdi_devices[i]);
        }
        return 0;
}

/* A file of the unified hierarchy is named, never a path. */
static bool permit_check_unified_key_is_valid(const char *key)
{
        return *key && strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789_.") == strlen(key) && key[0] != '.' &&
               strchr(key, '.') && !strstr(key, "..") && !str_has_prefix(key, "cgroup.");
}

static int permit_check_resources(PermitCheck *check)
{
        static const Bulkhead__RuntimeSpec__ResourcesSpec none = BULKHEAD__RUNTIME_SPEC__RESOURCES_SPEC__INIT;
        const Bulkhead__RuntimeSpec__ResourcesSpec *asked = check->spec->resources ? check->spec->resources : &none;
        const Runtime__V1__LinuxContainerResources *request = permit_check_resources_of(check);
        const struct {
                const char *name;
                int64_t asked, requested;
        } numbers[] = {
                {"cpu_period", asked->cpu_period, request->cpu_period},
                {"cpu_quota", asked->cpu_quota, request->cpu_quota},
                {"cpu_shares", asked->cpu_shares, request->cpu_shares},
                {"memory_limit_bytes", asked->memory_limit_bytes, request->memory_limit_in_bytes},
                {"memory_swap_limit_bytes", asked->memory_swap_limit_bytes, request->memory_swap_limit_in_bytes},
        };
        for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
                if (numbers[i].asked != numbers[i].requested)
                        return permit_check_refuse(check, "resources %s %lld: the request says %lld", numbers[i].name,
                                                   (long long)numbers[i].asked, (long long)numbers[i].requested);
        if (!str_equal(asked->cpuset_cpus, request->cpuset_cpus) || !str_equal(asked->cpuset_mems, request->cpuset_mems))
                return permit_check_refuse(check, "resources cpuset \"%s\", \"%s\": the request says \"%s\", \"%s\"",
                                           asked->cpuset_cpus, asked->cpuset_mems, request->cpuset_cpus, request->cpuset_mems);
        if (asked->n_hugepages != request->n_hugepage_limits)
                return permit_check_refuse(check, "resources hugepages: the request limits %zu sizes, not %zu",
                                           request->n_hugepage_limits, asked->n_hugepages);
        for (size_t i = 0; i < asked->n_hugepages; i++)
                if (!str_equal(asked->hugepages[i]->page_size, request->hugepage_limits[i]->page_size) ||
                    asked->hugepages[i]->limit_bytes != request->hugepage_limits[i]->limit)
                        return permit_check_refuse(check, "resources hugepages %s: not the request's limit",
                                                   asked->hugepages[i]->page_size);
        if (asked->n_unified != request->n_unified)
                return permit_check_refuse(check, "resources unified: the request sets %zu files, not %zu", request->n_unified,
                                           asked->n_unified);
        for (size_t i = 0; i < asked->n_unified; i++) {
                bool found = false;
                for (size_t k = 0; k < request->n_unified && !found; k++)
                        found = str_equal(asked->unified[i]->key, request->unified[k]->key) &&
                                str_equal(asked->unified[i]->value, request->unified[k]->value);
                if (!found || !permit_check_unified_key_is_valid(asked->unified[i]->key))
                        return permit_check_refuse(check, "resources unified %s=%s: not in the request, or not a controller's file",
                                                   asked->unified[i]->key, asked->unified[i]->value);
        }
        return 0;
}

int permit_check_create(PermitCheck *check)
{
        if (!check->request->config)
                return permit_check_refuse(check, "config: the request has none");
        int r = permit_check_identity(check);
        if (r == 0)
                r = permit_check_process(check);
        if (r == 0)
                r = permit_check_namespaces(check);
        if (r == 0)
                r = permit_check_mounts(check);
        if (r == 0)
                r = permit_check_devices(check);
        if (r == 0)
                r = permit_check_cdi(check);
        if (r == 0)
                r = permit_check_seccomp(check);
        if (r == 0)
                r = permit_check_apparmor(check);
        if (r == 0)
                r = permit_check_sysctls(check);
        if (r == 0)
                r = permit_check_resources(check);
        if (r || permit_check_is_privileged(check))
                return r;
        const Runtime__V1__LinuxContainerSecurityContext *context = permit_check_context(check);
        r = permit_check_paths(check, "masked_paths", context->masked_paths, context->n_masked_paths, check->spec->masked_paths,
                               check->spec->n_masked_paths);
        return r ? r : permit_check_paths(check, "readonly_paths", context->readonly_paths, context->n_readonly_paths,
                                          check->spec->readonly_paths, check->spec->n_readonly_paths);
}
