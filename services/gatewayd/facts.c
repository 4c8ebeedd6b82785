/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc/cri/api.pb-c.h"
#include "services/gatewayd/gatewayd.h"

#include <stdio.h>

static uint32_t facts_namespaces(const Runtime__V1__NamespaceOption *options)
{
        Runtime__V1__NamespaceOption none = RUNTIME__V1__NAMESPACE_OPTION__INIT;
        uint32_t flags = 0;
        if (!options)
                options = &none;
        if (options->network == RUNTIME__V1__NAMESPACE_MODE__NODE)
                flags |= PERMIT_FLAG_HOST_NETWORK;
        if (options->ipc == RUNTIME__V1__NAMESPACE_MODE__NODE)
                flags |= PERMIT_FLAG_HOST_IPC;
        if (options->pid == RUNTIME__V1__NAMESPACE_MODE__NODE)
                flags |= PERMIT_FLAG_HOST_PID;
        if (options->pid == RUNTIME__V1__NAMESPACE_MODE__POD)
                flags |= PERMIT_FLAG_POD_PID;
        return flags;
}

/* Only a mapping that can be honoured is sealed; what is wrong with another one is sandboxd's to say. */
static void facts_set_userns(Permit *permit, const Runtime__V1__NamespaceOption *options)
{
        const Runtime__V1__UserNamespace *userns = options ? options->userns_options : NULL;
        if (!userns || userns->mode != RUNTIME__V1__NAMESPACE_MODE__POD || userns->n_uids != 1 || userns->n_gids != 1)
                return;
        const Runtime__V1__IDMapping *uids = userns->uids[0], *gids = userns->gids[0];
        if (uids->host_id != gids->host_id || uids->container_id != gids->container_id || uids->length != gids->length)
                return;
        permit->flags |= PERMIT_FLAG_USERNS;
        permit->userns_host_id = uids->host_id;
        permit->userns_container_id = uids->container_id;
        permit->userns_length = uids->length;
}

static int facts_fill_pod(Permit *permit, const Runtime__V1__PodSandboxConfig *config, const char **ret_why)
{
        const Runtime__V1__LinuxPodSandboxConfig *linux_config = config ? config->linux : NULL;
        const Runtime__V1__LinuxSandboxSecurityContext *security = linux_config ? linux_config->security_context : NULL;
        const Runtime__V1__NamespaceOption *options = security ? security->namespace_options : NULL;
        permit->flags |= facts_namespaces(options);
        if (security && security->privileged)
                permit->flags |= PERMIT_FLAG_PRIVILEGED;
        facts_set_userns(permit, options);
        if (linux_config && !str_copy(permit->cgroup_parent, sizeof(permit->cgroup_parent), linux_config->cgroup_parent)) {
                *ret_why = "cgroup_parent is longer than 511 bytes";
                return 1;
        }
        return 0;
}

/* The sysctls, for a hand that sets them and cannot read the request. */
static int facts_set_sysctls(Permit *permit, const Runtime__V1__LinuxPodSandboxConfig *linux_config, const char **ret_why)
{
        SealSysctl sysctls[SEAL_SYSCTLS_MAX] = {0};
        size_t n = linux_config ? linux_config->n_sysctls : 0;
        if (n > SEAL_SYSCTLS_MAX) {
                *ret_why = "it has more than 30 sysctls";
                return 1;
        }
        for (size_t i = 0; i < n; i++)
                if (!str_copy(sysctls[i].name, sizeof(sysctls[i].name), linux_config->sysctls[i]->key) ||
                    !str_copy(sysctls[i].value, sizeof(sysctls[i].value), linux_config->sysctls[i]->value)) {
                        *ret_why = "a sysctl's name is longer than 127 bytes, or its value than 255";
                        return 1;
                }
        permit_set_pod_sysctls(permit, sysctls, n);
        return 0;
}

/* The image volumes, for a hand that mounts them and cannot read the request. */
static int facts_set_volumes(Permit *permit, const Runtime__V1__ContainerConfig *config, const char **ret_why)
{
        _Static_assert(SEAL_VOLUMES_MAX == 16, "the text below says so");
        SealVolume volumes[SEAL_VOLUMES_MAX];
        size_t n = 0;
        for (size_t i = 0; i < config->n_mounts; i++) {
                const Runtime__V1__Mount *mount = config->mounts[i];
                if (!mount->image || str_is_empty(mount->image->image))
                        continue;
                if (n == SEAL_VOLUMES_MAX) {
                        *ret_why = "more than 16 image volumes";
                        return 1;
                }
                volumes[n] = (SealVolume){0};
                if (!str_copy(volumes[n].image, sizeof(volumes[n].image), mount->image->image) ||
                    !str_copy(volumes[n].sub_path, sizeof(volumes[n].sub_path), mount->image_sub_path)) {
                        *ret_why = "an image volume's image or image_sub_path is longer than 511 bytes";
                        return 1;
                }
                n++;
        }
        permit_set_volumes(permit, volumes, n);
        return 0;
}

static int facts_fill_container(Permit *permit, const Runtime__V1__CreateContainerRequest *request, const char **ret_why)
{
        const Runtime__V1__ContainerConfig *config = request->config;
        if (!config || !config->metadata || !config->image || str_is_empty(config->image->image)) {
                *ret_why = "config, its metadata and its image are needed";
                return 1;
        }
        if (!request->sandbox_config) {
                *ret_why = "sandbox_config is needed: it is what the pod was run with";
                return 1;
        }
        int r = facts_fill_pod(permit, request->sandbox_config, ret_why);
        if (r)
                return r;
        const Runtime__V1__LinuxContainerSecurityContext *security = config->linux ? config->linux->security_context : NULL;
        permit->flags &= ~(uint32_t)(PERMIT_FLAG_PRIVILEGED | PERMIT_FLAG_HOST_PID | PERMIT_FLAG_POD_PID);
        permit->flags |= facts_namespaces(security ? security->namespace_options : NULL) & (PERMIT_FLAG_HOST_PID | PERMIT_FLAG_POD_PID);
        if (security && security->privileged)
                permit->flags |= PERMIT_FLAG_PRIVILEGED;
        if (security && security->readonly_rootfs)
                permit->flags |= PERMIT_FLAG_READONLY_ROOT;
        if (config->tty)
                permit->flags |= PERMIT_FLAG_TTY;
        if (!str_copy(permit->image, sizeof(permit->image), config->image->image)) {
                *ret_why = "image is longer than 511 bytes";
                return 1;
        }
        int volumes = facts_set_volumes(permit, config, ret_why);
        if (volumes)
                return volumes;
        const char *directory = request->sandbox_config->log_directory;
        if (str_is_empty(directory) || str_is_empty(config->log_path))
                return 0;
        int n = snprintf(permit->log_path, sizeof(permit->log_path), "%s/%s", directory, config->log_path);
        if (n < 0 || (size_t)n >= sizeof(permit->log_path) || *directory != '/') {
                *ret_why = "log_directory must be absolute, and with log_path shorter than 511 bytes";
                return 1;
        }
        return 0;
}

/* What sandboxd-setup may connect to. Nothing named is any port, as in the peers. */
static int facts_fill_ports(Permit *permit, const Runtime__V1__PortForwardRequest *request, const char **ret_why)
{
        if (request->n_port >= SEAL_PORTS_MAX) {
                *ret_why = "more than 255 ports; ask in several calls";
                return 1;
        }
        for (size_t i = 0; i < request->n_port; i++) {
                if (request->port[i] <= 0 || request->port[i] > UINT16_MAX) {
                        *ret_why = "a port is not between 1 and 65535";
                        return 1;
                }
                permit->ports[i] = (uint16_t)request->port[i];
        }
        return 0;
}

int facts_fill(Permit *permit, uint32_t verb, const ProtobufCMessage *request, const char **ret_object, const char **ret_why)
{
        *ret_object = "";
        if (request->descriptor == &runtime__v1__run_pod_sandbox_request__descriptor) {
                const Runtime__V1__PodSandboxConfig *config = container_of(request, Runtime__V1__RunPodSandboxRequest, base)->config;
                int r = facts_fill_pod(permit, config, ret_why);
                return r ? r : facts_set_sysctls(permit, config ? config->linux : NULL, ret_why);
        }
        if (request->descriptor == &runtime__v1__create_container_request__descriptor) {
                *ret_object = container_of(request, Runtime__V1__CreateContainerRequest, base)->pod_sandbox_id;
                return facts_fill_container(permit, container_of(request, Runtime__V1__CreateContainerRequest, base), ret_why);
        }
        if (request->descriptor == &runtime__v1__exec_request__descriptor) {
                const Runtime__V1__ExecRequest *exec = container_of(request, Runtime__V1__ExecRequest, base);
                *ret_object = exec->container_id;
                permit->flags |= exec->tty ? PERMIT_FLAG_TTY : 0;
        } else if (request->descriptor == &runtime__v1__exec_sync_request__descriptor) {
                *ret_object = container_of(request, Runtime__V1__ExecSyncRequest, base)->container_id;
        } else if (request->descriptor == &runtime__v1__port_forward_request__descriptor) {
                *ret_object = container_of(request, Runtime__V1__PortForwardRequest, base)->pod_sandbox_id;
                return facts_fill_ports(permit, container_of(request, Runtime__V1__PortForwardRequest, base), ret_why);
        } else if (request->descriptor == &runtime__v1__update_container_resources_request__descriptor) {
                *ret_object = container_of(request, Runtime__V1__UpdateContainerResourcesRequest, base)->container_id;
        } else if (request->descriptor == &runtime__v1__checkpoint_container_request__descriptor) {
                *ret_object = container_of(request, Runtime__V1__CheckpointContainerRequest, base)->container_id;
        }
        return 0;
}
