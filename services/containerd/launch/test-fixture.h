/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A request and a spec that agree, for unit tests to change one field of. */

#include "lib/test.h"
#include "services/containerd/launch/render.h"

#define MOUNT_KIND(name) BULKHEAD__RUNTIME_SPEC__MOUNT_SPEC__KIND__##name
#define SECCOMP_MODE(name) BULKHEAD__RUNTIME_SPEC__SECCOMP_SPEC__MODE__##name
#define NAMESPACE_MODE(name) RUNTIME__V1__NAMESPACE_MODE__##name
#define TEXT(s) ((char *)(uintptr_t)(s))

#define FIXTURE_ID "1111111111111111111111111111111111111111111111111111111111111111"
#define FIXTURE_POD "2222222222222222222222222222222222222222222222222222222222222222"

typedef struct Fixture {
        Permit permit;
        PermitCheck check;
        Runtime__V1__CreateContainerRequest request;
        Runtime__V1__ContainerConfig config;
        Runtime__V1__LinuxContainerConfig linux_config;
        Runtime__V1__LinuxContainerSecurityContext context;
        Runtime__V1__NamespaceOption namespaces, pod_namespaces;
        Runtime__V1__Capability capability;
        Runtime__V1__LinuxContainerResources limits;
        Runtime__V1__PodSandboxConfig pod;
        Runtime__V1__PodSandboxMetadata pod_metadata;
        Runtime__V1__LinuxPodSandboxConfig linux_pod;
        Runtime__V1__LinuxSandboxSecurityContext pod_context;
        Runtime__V1__SecurityProfile seccomp_profile, apparmor_profile;
        Runtime__V1__Int64Value user, group;
        Runtime__V1__Mount mount, *mounts[1];
        Runtime__V1__Device device, *devices[1];
        RuntimeSpec spec;
        ProcessSpec process;
        Bulkhead__RuntimeSpec__SeccompSpec seccomp;
        Bulkhead__RuntimeSpec__ResourcesSpec resources;
        MountSpec bind, proc, *spec_mounts[2];
        DeviceSpec spec_device, *spec_devices[1];
        char *args[4], *capabilities[4];
} Fixture;

static inline void fixture_init(Fixture *f)
{
        *f = (Fixture){0};
        memcpy(f->permit.id, FIXTURE_ID, sizeof(FIXTURE_ID));
        memcpy(f->permit.pod_id, FIXTURE_POD, sizeof(FIXTURE_POD));
        (void)snprintf(f->permit.cgroup_parent, sizeof(f->permit.cgroup_parent), "/kubepods/pod2");
        runtime__v1__create_container_request__init(&f->request);
        runtime__v1__container_config__init(&f->config);
        runtime__v1__linux_container_config__init(&f->linux_config);
        runtime__v1__linux_container_security_context__init(&f->context);
        runtime__v1__namespace_option__init(&f->namespaces);
        runtime__v1__namespace_option__init(&f->pod_namespaces);
        runtime__v1__capability__init(&f->capability);
        runtime__v1__linux_container_resources__init(&f->limits);
        runtime__v1__pod_sandbox_config__init(&f->pod);
        runtime__v1__linux_pod_sandbox_config__init(&f->linux_pod);
        runtime__v1__linux_sandbox_security_context__init(&f->pod_context);
        runtime__v1__security_profile__init(&f->seccomp_profile);
        runtime__v1__security_profile__init(&f->apparmor_profile);
        runtime__v1__int64_value__init(&f->user);
        runtime__v1__int64_value__init(&f->group);
        runtime__v1__mount__init(&f->mount);
        runtime__v1__device__init(&f->device);
        f->request.pod_sandbox_id = TEXT(FIXTURE_POD);
        f->request.config = &f->config;
        f->request.sandbox_config = &f->pod;
        f->pod.linux = &f->linux_pod;
        runtime__v1__pod_sandbox_metadata__init(&f->pod_metadata);
        f->pod.metadata = &f->pod_metadata;
        f->pod_metadata.uid = TEXT("uid");
        f->linux_pod.cgroup_parent = TEXT("/kubepods/pod2");
        f->linux_pod.security_context = &f->pod_context;
        f->pod_context.namespace_options = &f->pod_namespaces;
        f->config.linux = &f->linux_config;
        f->linux_config.security_context = &f->context;
        f->linux_config.resources = &f->limits;
        f->context.namespace_options = &f->namespaces;
        f->context.capabilities = &f->capability;
        f->namespaces.pid = NAMESPACE_MODE(CONTAINER);
        f->args[0] = TEXT("/bin/run");
        f->args[1] = TEXT("one");
        f->config.command = f->args;
        f->config.n_command = 1;
        f->config.args = f->args + 1;
        f->config.n_args = 1;
        f->mount.host_path = TEXT("/srv/data");
        f->mount.container_path = TEXT("/data");
        f->mounts[0] = &f->mount;
        f->config.mounts = f->mounts;
        f->config.n_mounts = 1;
        f->device.host_path = TEXT("/dev/kvm");
        f->device.container_path = TEXT("/dev/virt");
        f->device.permissions = TEXT("rw");
        f->devices[0] = &f->device;
        f->config.devices = f->devices;
        f->config.n_devices = 1;

        bulkhead__runtime_spec__runtime_spec__init(&f->spec);
        bulkhead__runtime_spec__process_spec__init(&f->process);
        bulkhead__runtime_spec__seccomp_spec__init(&f->seccomp);
        bulkhead__runtime_spec__resources_spec__init(&f->resources);
        bulkhead__runtime_spec__mount_spec__init(&f->bind);
        bulkhead__runtime_spec__mount_spec__init(&f->proc);
        bulkhead__runtime_spec__device_spec__init(&f->spec_device);
        f->spec.container_id = TEXT(FIXTURE_ID);
        f->spec.pod_id = TEXT(FIXTURE_POD);
        f->spec.process = &f->process;
        f->spec.seccomp = &f->seccomp;
        f->spec.resources = &f->resources;
        f->spec.cgroup_parent = TEXT("/kubepods/pod2");
        f->spec.network_pin = TEXT("bh-" FIXTURE_POD);
        f->process.args = f->args;
        f->process.n_args = 2;
        f->process.cwd = TEXT("/");
        f->capabilities[0] = TEXT("CAP_CHOWN");
        f->process.capabilities = f->capabilities;
        f->process.n_capabilities = 1;
        f->bind.kind = MOUNT_KIND(BIND);
        f->bind.host_path = TEXT("/srv/data");
        f->bind.destination = TEXT("/data");
        f->proc.kind = MOUNT_KIND(PROC);
        f->proc.destination = TEXT("/proc");
        f->spec_mounts[0] = &f->proc;
        f->spec_mounts[1] = &f->bind;
        f->spec.mounts = f->spec_mounts;
        f->spec.n_mounts = 2;
        f->spec_device.host_path = TEXT("/dev/kvm");
        f->spec_device.container_path = TEXT("/dev/virt");
        f->spec_device.permissions = TEXT("rw");
        f->spec_devices[0] = &f->spec_device;
        f->spec.devices = f->spec_devices;
        f->spec.n_devices = 1;
        f->check = (PermitCheck){.permit = &f->permit, .request = &f->request, .spec = &f->spec, .instance = "",
                                 .allow_privileged = true, .allow_host_paths = true};
}
