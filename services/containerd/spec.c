/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/spec-parts.h"

#include "ipc/cgroup-path.h"
#include "ipc/seal.h"
#include "lib/strings.h"
#include <stdarg.h>
#include <stdio.h>

const Runtime__V1__LinuxContainerSecurityContext *spec_context(const SpecInput *input)
{
        static const Runtime__V1__LinuxContainerSecurityContext none = RUNTIME__V1__LINUX_CONTAINER_SECURITY_CONTEXT__INIT;
        const Runtime__V1__ContainerConfig *config = input->request->config;

        return config->linux && config->linux->security_context ? config->linux->security_context : &none;
}

const Runtime__V1__LinuxContainerResources *spec_resources(const SpecInput *input)
{
        static const Runtime__V1__LinuxContainerResources none = RUNTIME__V1__LINUX_CONTAINER_RESOURCES__INIT;
        const Runtime__V1__ContainerConfig *config = input->request->config;

        return config->linux && config->linux->resources ? config->linux->resources : &none;
}

const Runtime__V1__NamespaceOption *spec_namespace_options(const SpecInput *input)
{
        static const Runtime__V1__NamespaceOption none = RUNTIME__V1__NAMESPACE_OPTION__INIT;
        const Runtime__V1__LinuxContainerSecurityContext *context = spec_context(input);

        return context->namespace_options ? context->namespace_options : &none;
}

const Runtime__V1__UserNamespace *spec_userns(const SpecInput *input)
{
        const Runtime__V1__PodSandboxConfig *pod = input->request->sandbox_config;
        const Runtime__V1__LinuxSandboxSecurityContext *context = pod && pod->linux ? pod->linux->security_context : NULL;
        const Runtime__V1__UserNamespace *user = context && context->namespace_options ? context->namespace_options->userns_options : NULL;

        return user && user->mode == RUNTIME__V1__NAMESPACE_MODE__POD && user->n_uids == 1 && user->n_gids == 1 ? user : NULL;
}

int spec_refuse(const SpecInput *input, Failure *failure, const char *format, ...)
{
        const Runtime__V1__ContainerConfig *config = input->request->config;
        char why[FAILURE_TEXT_MAX - 256];
        va_list args;

        va_start(args, format);
        (void)vsnprintf(why, sizeof(why), format, args);
        va_end(args);
        return failure_set(failure, GRPC_STATUS_INVALID_ARGUMENT, "container \"%.80s\": %s",
                           config && config->metadata ? config->metadata->name : "", why);
}

int spec_refuse_memory(SpecBuild *build)
{
        return failure_set(build->failure, GRPC_STATUS_RESOURCE_EXHAUSTED,
                           "container \"%.80s\": its spec takes too much memory; make env, args or mounts smaller",
                           build->input->request->config->metadata->name);
}

static int spec_check_namespaces(const SpecInput *input, Failure *failure)
{
        const Runtime__V1__NamespaceOption *options = spec_namespace_options(input);

        switch (options->pid) {
        case RUNTIME__V1__NAMESPACE_MODE__POD:
        case RUNTIME__V1__NAMESPACE_MODE__CONTAINER:
        case RUNTIME__V1__NAMESPACE_MODE__NODE:
                break;
        case RUNTIME__V1__NAMESPACE_MODE__TARGET:
                if (str_is_empty(options->target_id))
                        return spec_refuse(input, failure, "pid namespace TARGET needs a target_id");
                break;
        case _RUNTIME__V1__NAMESPACE_MODE_IS_INT_SIZE:
        default:
                return spec_refuse(input, failure, "pid namespace mode %d is unknown", (int)options->pid);
        }
        if (options->network != RUNTIME__V1__NAMESPACE_MODE__POD && options->network != RUNTIME__V1__NAMESPACE_MODE__NODE)
                return spec_refuse(input, failure, "network namespace mode %d: only POD and NODE are possible",
                                   (int)options->network);
        if (options->ipc != RUNTIME__V1__NAMESPACE_MODE__POD && options->ipc != RUNTIME__V1__NAMESPACE_MODE__NODE)
                return spec_refuse(input, failure, "ipc namespace mode %d: only POD and NODE are possible",
                                   (int)options->ipc);

        const Runtime__V1__UserNamespace *user = options->userns_options;
        if (!user || user->mode == RUNTIME__V1__NAMESPACE_MODE__NODE)
                return 0;
        if (user->mode != RUNTIME__V1__NAMESPACE_MODE__POD)
                return spec_refuse(input, failure, "user namespace mode %d: only POD and NODE are possible", (int)user->mode);
        if (user->n_uids != 1 || user->n_gids != 1)
                return spec_refuse(input, failure, "a user namespace has exactly one mapping of uids and one of gids");
        if (user->uids[0]->container_id != 0 || user->gids[0]->container_id != 0)
                return spec_refuse(input, failure, "the mapping of a user namespace begins at container_id 0");
        return 0;
}

static bool spec_map_is_the_pods(const SpecInput *input, const Runtime__V1__UserNamespace *user)
{
        for (size_t i = 0; i < 2; i++) {
                const Runtime__V1__IDMapping *map = i == 0 ? user->uids[0] : user->gids[0];
                if (map->host_id != input->userns_host_id || map->length != input->userns_length)
                        return false;
        }
        return true;
}

/* The pod was made with one map; whoever names another means another pod. A container that names none gets the pod's. */
static int spec_check_userns(const SpecInput *input, Failure *failure)
{
        const Runtime__V1__NamespaceOption *options = spec_namespace_options(input);
        const Runtime__V1__UserNamespace *user = options->userns_options, *of_pod = spec_userns(input);
        bool has_userns = input->pod_namespaces & PERMIT_FLAG_USERNS;

        if (!input->pod)
                return 0;
        if (has_userns != (of_pod != NULL) || (of_pod && !spec_map_is_the_pods(input, of_pod)))
                return spec_refuse(input, failure, "userns_options of sandbox_config are not those that the pod was run with");
        if (user && (user->mode == RUNTIME__V1__NAMESPACE_MODE__POD) != has_userns)
                return spec_refuse(input, failure, "userns_options: the container says %s, its pod %s a user namespace; say the same",
                                   has_userns ? "NODE" : "POD", has_userns ? "has" : "was run without");
        if (user && has_userns && !spec_map_is_the_pods(input, user))
                return spec_refuse(input, failure, "userns_options: its mapping is not the pod's (%u ids from %u on)",
                                   input->userns_length, input->userns_host_id);
        if (has_userns && options->pid == RUNTIME__V1__NAMESPACE_MODE__NODE)
                return spec_refuse(input, failure, "pid namespace NODE in a pod with a user namespace: its /proc could not be mounted");
        return 0;
}

/* Something that a person can read and type; it is part of texts, and of paths that kubelets make. */
static bool spec_name_is_valid(const char *name)
{
        bool is_blank = true;

        for (const char *p = name; *p; p++) {
                if ((unsigned char)*p < 0x20 || *p == 0x7f)
                        return false;
                is_blank = is_blank && *p == ' ';
        }
        return !is_blank;
}

/* Beneath the pod's log directory, and nowhere else. */
static int spec_check_log_path(const SpecInput *input, Failure *failure)
{
        const char *path = input->request->config->log_path;

        if (*path == '/')
                return spec_refuse(input, failure, "log_path \"%.200s\" is absolute; it is relative to the pod's log_directory", path);
        for (const char *p = path; *p;) {
                size_t n = strcspn(p, "/");
                if (n == 2 && p[0] == '.' && p[1] == '.')
                        return spec_refuse(input, failure, "log_path \"%.200s\" leads out of the pod's log_directory", path);
                p += n + strspn(p + n, "/");
        }
        return 0;
}

int spec_check_request(const SpecInput *input, Failure *failure)
{
        const Runtime__V1__CreateContainerRequest *request = input->request;

        if (!request->config)
                return failure_set(failure, GRPC_STATUS_INVALID_ARGUMENT, "CreateContainer: the request has no config");
        if (!request->config->metadata || str_is_empty(request->config->metadata->name))
                return failure_set(failure, GRPC_STATUS_INVALID_ARGUMENT,
                                   "CreateContainer: config.metadata.name is missing");
        if (!spec_name_is_valid(request->config->metadata->name))
                return failure_set(failure, GRPC_STATUS_INVALID_ARGUMENT,
                                   "CreateContainer: config.metadata.name is blank or has control characters");
        if (!request->config->image || str_is_empty(request->config->image->image))
                return spec_refuse(input, failure, "config.image.image is missing");
        if (!cgroup_path_parent_is_valid(input->cgroup_parent))
                return spec_refuse(input, failure, "cgroup_parent \"%.200s\" is not an absolute path without \"..\"",
                                   input->cgroup_parent);

        int r = spec_check_log_path(input, failure);
        if (r == 0)
                r = spec_check_namespaces(input, failure);
        if (r == 0)
                r = spec_check_userns(input, failure);
        if (r == 0)
                r = spec_check_mounts(input, failure);
        if (r == 0)
                r = spec_check_security(input, failure);
        if (r == 0)
                r = spec_check_resources(input, failure);
        return r;
}

/* What is joined: never more than the pod has. The modes were checked. */
static void spec_build_namespaces(SpecBuild *build)
{
        const SpecInput *input = build->input;
        const Runtime__V1__NamespaceOption *options = spec_namespace_options(input);
        uint32_t flags = input->pod_namespaces & (PERMIT_FLAG_HOST_NETWORK | PERMIT_FLAG_HOST_IPC | PERMIT_FLAG_USERNS);

        if (options->pid == RUNTIME__V1__NAMESPACE_MODE__NODE)
                flags |= PERMIT_FLAG_HOST_PID;
        if (options->pid == RUNTIME__V1__NAMESPACE_MODE__POD)
                flags |= input->pod_namespaces & PERMIT_FLAG_POD_PID;
        build->spec->namespaces = flags;
        if (!(flags & PERMIT_FLAG_HOST_NETWORK))
                build->spec->network_pin = (char *)input->network_pin;
        if (options->pid == RUNTIME__V1__NAMESPACE_MODE__TARGET)
                build->spec->target_container = (char *)input->target_container;
        if (flags & PERMIT_FLAG_USERNS) {
                build->spec->userns_host_id = input->userns_host_id;
                build->spec->userns_length = input->userns_length;
        }
}

int spec_compose(const SpecInput *input, DecodeArena *arena, RuntimeSpec **ret, Failure *failure)
{
        SpecBuild build = {.input = input, .arena = arena, .failure = failure};

        int r = spec_check_request(input, failure);
        if (r)
                return r;
        build.spec = arena_array(arena, 1, sizeof(*build.spec));
        ProcessSpec *process = arena_array(arena, 1, sizeof(*process));
        if (!build.spec || !process)
                return spec_refuse_memory(&build);
        bulkhead__runtime_spec__runtime_spec__init(build.spec);
        bulkhead__runtime_spec__process_spec__init(process);
        build.spec->process = process;
        build.spec->container_id = (char *)input->container_id;
        build.spec->pod_id = (char *)input->pod_id;
        build.spec->cgroup_parent = (char *)input->cgroup_parent;
        build.spec->privileged = spec_context(input)->privileged;
        build.spec->root_readonly = spec_context(input)->readonly_rootfs;
        if (!(input->pod_namespaces & PERMIT_FLAG_HOST_NETWORK))
                build.spec->hostname = input->pod->hostname;
        spec_build_namespaces(&build);
        const Runtime__V1__ContainerConfig *config = input->request->config;
        build.spec->cdi_devices = arena_array(arena, config->n_cdi_devices, sizeof(char *));
        if (!build.spec->cdi_devices)
                return spec_refuse_memory(&build);
        for (; build.spec->n_cdi_devices < config->n_cdi_devices; build.spec->n_cdi_devices++)
                build.spec->cdi_devices[build.spec->n_cdi_devices] = config->cdi_devices[build.spec->n_cdi_devices]->name;

        r = spec_build_user(&build);
        if (r == 0)
                r = spec_build_process(&build);
        if (r == 0)
                r = spec_build_mounts(&build);
        if (r == 0)
                r = spec_build_security(&build);
        if (r == 0)
                r = spec_build_resources(&build);
        if (r)
                return r;
        *ret = build.spec;
        return 0;
}
