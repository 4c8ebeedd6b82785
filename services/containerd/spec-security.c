/* SPDX-License-Identifier: Apache-2.0 */

/* Capabilities, seccomp, AppArmor, SELinux, masked paths and devices. A profile that cannot be had is refused: failing open
 * has run containers unconfined before (CVE-2023-2431). */

#include "services/containerd/spec-parts.h"

#include "lib/strings.h"
#include "services/containerd/launch/apparmor.h"
#include "services/containerd/launch/capability-set.h"
#include "services/containerd/launch/path-clean.h"
#include <strings.h>

/* Kubelets and crictl still send the fields that the CRI deprecated. */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

#define SECCOMP_MODE(name) BULKHEAD__RUNTIME_SPEC__SECCOMP_SPEC__MODE__##name
#define PROFILE(name) RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__##name

typedef struct SpecProfile {
        enum { SPEC_PROFILE_UNCONFINED, SPEC_PROFILE_DEFAULT, SPEC_PROFILE_LOCALHOST, SPEC_PROFILE_UNKNOWN } mode;
        const char *name; /* borrowed; LOCALHOST: path or name */
} SpecProfile;

/* The new field wins over the deprecated one. */
static SpecProfile spec_profile_choose(const Runtime__V1__SecurityProfile *profile, const char *old)
{
        if (profile) {
                switch (profile->profile_type) {
                case PROFILE(RuntimeDefault):
                        return (SpecProfile){.mode = SPEC_PROFILE_DEFAULT};
                case PROFILE(Unconfined):
                        return (SpecProfile){.mode = SPEC_PROFILE_UNCONFINED};
                case PROFILE(Localhost):
                        return (SpecProfile){.mode = SPEC_PROFILE_LOCALHOST, .name = profile->localhost_ref};
                case _RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE_IS_INT_SIZE:
                default:
                        return (SpecProfile){.mode = SPEC_PROFILE_UNKNOWN};
                }
        }
        if (str_is_empty(old) || str_equal(old, "unconfined"))
                return (SpecProfile){.mode = SPEC_PROFILE_UNCONFINED};
        if (str_equal(old, "runtime/default") || str_equal(old, "docker/default"))
                return (SpecProfile){.mode = SPEC_PROFILE_DEFAULT};
        if (str_has_prefix(old, "localhost/"))
                return (SpecProfile){.mode = SPEC_PROFILE_LOCALHOST, .name = old + strlen("localhost/")};
        return (SpecProfile){.mode = SPEC_PROFILE_UNKNOWN};
}

static int spec_check_capability_names(const SpecInput *input, Failure *failure, const char *field, char *const *names, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                CapabilitySet set = 0;
                if (strcasecmp(names[i], "ALL") != 0 && !capability_set_add(&set, names[i]))
                        return spec_refuse(input, failure, "%s: there is no capability \"%.80s\"", field, names[i]);
        }
        return 0;
}

static int spec_check_capabilities(const SpecInput *input, Failure *failure)
{
        const Runtime__V1__Capability *asked = spec_context(input)->capabilities;

        if (!asked)
                return 0;
        int r = spec_check_capability_names(input, failure, "add_capabilities", asked->add_capabilities,
                                            asked->n_add_capabilities);
        if (r == 0)
                r = spec_check_capability_names(input, failure, "drop_capabilities", asked->drop_capabilities,
                                                asked->n_drop_capabilities);
        return r ? r : spec_check_capability_names(input, failure, "add_ambient_capabilities", asked->add_ambient_capabilities,
                                                   asked->n_add_ambient_capabilities);
}

/* The pod has to be one for it: its own namespaces and profile were made for that (as containerd has it). */
static int spec_check_privileged(const SpecInput *input, Failure *failure)
{
        const Runtime__V1__LinuxPodSandboxConfig *pod = input->pod ? input->pod->linux : NULL;

        if (!spec_context(input)->privileged || !input->pod)
                return 0;
        if (pod && pod->security_context && pod->security_context->privileged)
                return 0;
        return spec_refuse(input, failure, "privileged: its pod is not privileged; run the pod with "
                                           "linux.security_context.privileged, or the container without");
}

static int spec_check_seccomp(const SpecInput *input, Failure *failure)
{
        const Runtime__V1__LinuxContainerSecurityContext *context = spec_context(input);
        SpecProfile profile = spec_profile_choose(context->seccomp, context->seccomp_profile_path);

        if (profile.mode == SPEC_PROFILE_UNKNOWN)
                return spec_refuse(input, failure,
                                   "seccomp profile \"%.200s\" is unknown; use RuntimeDefault, Unconfined or Localhost",
                                   context->seccomp_profile_path);
        char path[PATH_CLEAN_MAX];
        if (profile.mode == SPEC_PROFILE_LOCALHOST && !path_clean(path, profile.name))
                return spec_refuse(input, failure,
                                   "seccomp profile Localhost needs the absolute path of a file, not \"%.200s\"", profile.name);
        return 0;
}

static int spec_check_apparmor(const SpecInput *input, Failure *failure)
{
        const Runtime__V1__LinuxContainerSecurityContext *context = spec_context(input);
        const char *name = "";
        ApparmorChoice choice = apparmor_choose(context, &name);

        if (choice == APPARMOR_UNKNOWN)
                return spec_refuse(input, failure,
                                   "AppArmor profile \"%.200s\" is unknown; use RuntimeDefault, Unconfined or Localhost",
                                   context->apparmor_profile);
        if (choice != APPARMOR_LOCALHOST)
                return 0;
        if (str_is_empty(name) || strlen(name) >= APPARMOR_NAME_MAX)
                return spec_refuse(input, failure, "AppArmor profile Localhost needs the name of a loaded profile");
        if (!input->has_apparmor)
                return failure_set(failure, GRPC_STATUS_FAILED_PRECONDITION,
                                   "container \"%.80s\": AppArmor profile \"%.200s\": this node has no AppArmor; remove the "
                                   "profile, or choose another node",
                                   input->request->config->metadata->name, name);
        return 0;
}

static bool spec_names_label(const Runtime__V1__SELinuxOption *options)
{
        return options && (!str_is_empty(options->user) || !str_is_empty(options->role) || !str_is_empty(options->type) ||
                           !str_is_empty(options->level));
}

/* To run without the label that was asked for would be to fail open. What a pod's says is its containers' as well. */
static int spec_check_selinux(const SpecInput *input, Failure *failure)
{
        const Runtime__V1__LinuxPodSandboxConfig *pod = input->pod ? input->pod->linux : NULL;
        const Runtime__V1__LinuxSandboxSecurityContext *of_pod = pod ? pod->security_context : NULL;

        if (!input->has_selinux ||
            (!spec_names_label(spec_context(input)->selinux_options) && !(of_pod && spec_names_label(of_pod->selinux_options))))
                return 0;
        return failure_set(failure, GRPC_STATUS_UNIMPLEMENTED,
                           "container \"%.80s\": selinux_options: this runtime sets no SELinux labels, and this node has SELinux; remove "
                           "them from the pod and its containers, or choose a node without SELinux",
                           input->request->config->metadata->name);
}

static int spec_check_devices(const SpecInput *input, Failure *failure)
{
        const Runtime__V1__ContainerConfig *config = input->request->config;
        char path[PATH_CLEAN_MAX];

        for (size_t i = 0; i < config->n_devices; i++) {
                const Runtime__V1__Device *device = config->devices[i];
                if (!path_clean(path, device->host_path) ||
                    (!str_is_empty(device->container_path) && !path_clean(path, device->container_path)))
                        return spec_refuse(input, failure, "device \"%.200s\" at \"%.200s\": give absolute paths without \"..\"",
                                           device->host_path, device->container_path);
                if (strspn(device->permissions, "rwm") != strlen(device->permissions) || strlen(device->permissions) > 3)
                        return spec_refuse(input, failure, "device %.200s: permissions \"%.20s\" are not of r, w and m",
                                           device->host_path, device->permissions);
        }
        return 0;
}

static int spec_check_paths(const SpecInput *input, Failure *failure, const char *field, char *const *paths, size_t n)
{
        char path[PATH_CLEAN_MAX];

        for (size_t i = 0; i < n; i++)
                if (!path_clean(path, paths[i]))
                        return spec_refuse(input, failure, "%s \"%.200s\" is not an absolute path without \"..\"", field, paths[i]);
        return 0;
}

int spec_check_security(const SpecInput *input, Failure *failure)
{
        const Runtime__V1__LinuxContainerSecurityContext *context = spec_context(input);

        int r = spec_check_privileged(input, failure);
        if (r == 0)
                r = spec_check_capabilities(input, failure);
        if (r == 0)
                r = spec_check_seccomp(input, failure);
        if (r == 0)
                r = spec_check_apparmor(input, failure);
        if (r == 0)
                r = spec_check_selinux(input, failure);
        if (r == 0)
                r = spec_check_devices(input, failure);
        if (r == 0)
                r = spec_check_paths(input, failure, "masked_paths", context->masked_paths, context->n_masked_paths);
        return r ? r : spec_check_paths(input, failure, "readonly_paths", context->readonly_paths, context->n_readonly_paths);
}

static char **spec_capability_names(SpecBuild *build, CapabilitySet set, size_t *ret_n)
{
        char **names = arena_array(build->arena, CAPABILITY_SET_N, sizeof(char *));
        size_t n = 0;

        for (unsigned i = 0; names && i < CAPABILITY_SET_N; i++)
                if (set & (UINT64_C(1) << i))
                        names[n++] = (char *)capability_set_name(i);
        *ret_n = n;
        return names;
}

/* The sets are containerd-launch's words too: both sides read the request with the same function. */
static int spec_build_capabilities(SpecBuild *build)
{
        const Runtime__V1__LinuxContainerSecurityContext *context = spec_context(build->input);
        ProcessSpec *process = build->spec->process;
        CapabilitySet set = context->privileged ? CAPABILITY_SET_ALL : capability_set_allowed(context->capabilities);
        CapabilitySet ambient = capability_set_allowed_ambient(context->capabilities) & set;

        process->capabilities = spec_capability_names(build, set, &process->n_capabilities);
        process->ambient_capabilities = spec_capability_names(build, ambient, &process->n_ambient_capabilities);
        return process->capabilities && process->ambient_capabilities ? 0 : spec_refuse_memory(build);
}

/* Whether the kernel has the profile containerd-launch sees, which may look. */
static void spec_build_apparmor(SpecBuild *build)
{
        ProcessSpec *process = build->spec->process;
        const char *name = "";
        ApparmorChoice choice = apparmor_choose(spec_context(build->input), &name);

        if ((choice == APPARMOR_UNSET || choice == APPARMOR_RUNTIME_DEFAULT) && build->input->has_apparmor)
                name = APPARMOR_DEFAULT;
        process->apparmor_profile = (char *)name;
        process->apparmor_if_loaded = choice == APPARMOR_UNSET && build->input->has_apparmor;
}

static int spec_build_profiles(SpecBuild *build)
{
        const Runtime__V1__LinuxContainerSecurityContext *context = spec_context(build->input);
        SpecProfile profile = spec_profile_choose(context->seccomp, context->seccomp_profile_path);
        Bulkhead__RuntimeSpec__SeccompSpec *seccomp = arena_array(build->arena, 1, sizeof(*seccomp));

        if (!seccomp)
                return spec_refuse_memory(build);
        bulkhead__runtime_spec__seccomp_spec__init(seccomp);
        build->spec->seccomp = seccomp;
        spec_build_apparmor(build);
        if (context->privileged)
                return 0;
        if (profile.mode == SPEC_PROFILE_DEFAULT) {
                seccomp->mode = SECCOMP_MODE(RUNTIME_DEFAULT);
        } else if (profile.mode == SPEC_PROFILE_LOCALHOST) {
                seccomp->mode = SECCOMP_MODE(LOCALHOST);
                seccomp->profile_path = (char *)profile.name;
        }
        return 0;
}

static int spec_build_devices(SpecBuild *build)
{
        const Runtime__V1__ContainerConfig *config = build->input->request->config;
        Bulkhead__RuntimeSpec__DeviceSpec *devices = arena_array(build->arena, config->n_devices, sizeof(*devices));

        build->spec->devices = arena_array(build->arena, config->n_devices, sizeof(devices));
        if (!devices || !build->spec->devices)
                return spec_refuse_memory(build);
        for (size_t i = 0; i < config->n_devices; i++) {
                const Runtime__V1__Device *device = config->devices[i];
                bulkhead__runtime_spec__device_spec__init(&devices[i]);
                devices[i].host_path = device->host_path;
                devices[i].container_path =
                        str_is_empty(device->container_path) ? device->host_path : device->container_path;
                devices[i].permissions = device->permissions;
                build->spec->devices[build->spec->n_devices++] = &devices[i];
        }
        return 0;
}

int spec_build_security(SpecBuild *build)
{
        const Runtime__V1__LinuxContainerSecurityContext *context = spec_context(build->input);

        int r = spec_build_capabilities(build);
        if (r == 0)
                r = spec_build_profiles(build);
        if (r == 0)
                r = spec_build_devices(build);
        if (r || context->privileged)
                return r;
        /* Exactly what the request lists: a kubelet lists the defaults itself, or none for procMount Unmasked. */
        build->spec->masked_paths = context->masked_paths;
        build->spec->n_masked_paths = context->n_masked_paths;
        build->spec->readonly_paths = context->readonly_paths;
        build->spec->n_readonly_paths = context->n_readonly_paths;
        return 0;
}
