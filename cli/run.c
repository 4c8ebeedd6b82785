/* SPDX-License-Identifier: Apache-2.0 */

/* `bulkhead run`: a pod with one container, for a person to look around. The kubelet does the same with more to say. */

#include <stdio.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "lib/strings.h"

#define RUN_LOG_ROOT "/var/log/pods"
#define RUN_NAMESPACE "default"

typedef struct RunOptions {
        const char *name, *handler, *image;
        char **command;
        size_t n_command;
        bool host_network;
} RunOptions;

static bool run_parse(RunOptions *options, int argc, char **argv)
{
        int i = 1;
        for (; i < argc && argv[i][0] == '-'; i++) {
                if (str_equal(argv[i], "--name") && i + 1 < argc)
                        options->name = argv[++i];
                else if (str_equal(argv[i], "--runtime") && i + 1 < argc)
                        options->handler = argv[++i];
                else if (str_equal(argv[i], "--host-network"))
                        options->host_network = true;
                else
                        return false;
        }
        if (i >= argc)
                return false;
        options->image = argv[i++];
        if (i < argc && str_equal(argv[i], "--"))
                i++;
        options->command = argv + i;
        options->n_command = (size_t)(argc - i);
        return true;
}

/* The image as it is here; pulled when it is not. */
static bool run_need_image(Cli *cli, const char *image)
{
        Runtime__V1__ImageStatusRequest status = RUNTIME__V1__IMAGE_STATUS_REQUEST__INIT;
        Runtime__V1__ImageSpec spec = RUNTIME__V1__IMAGE_SPEC__INIT;
        spec.image = (char *)image;
        status.image = &spec;
        ProtobufCMessage *message;
        if (!cli_call(cli, CLI_IMAGE("ImageStatus"), &status.base, &runtime__v1__image_status_response__descriptor, CLI_TIMEOUT, &message))
                return false;
        if (container_of(message, Runtime__V1__ImageStatusResponse, base)->image)
                return true;
        char *argv[] = {"pull", (char *)image, NULL};
        return images_pull(cli, 2, argv) == 0;
}

int run_pod(Cli *cli, int argc, char **argv)
{
        char unique[32], uid[64], log_directory[512];
        (void)snprintf(unique, sizeof(unique), "run-%llx", (unsigned long long)clock_realtime_nsec() >> 16);
        RunOptions options = {.name = unique, .handler = ""};
        if (!run_parse(&options, argc, argv))
                return 2;
        if (!run_need_image(cli, options.image))
                return 1;
        (void)snprintf(uid, sizeof(uid), "%llx", (unsigned long long)clock_realtime_nsec());
        (void)snprintf(log_directory, sizeof(log_directory), "%s/%s_%.200s_%s",
                       getenv("BULKHEAD_LOG_ROOT") ? getenv("BULKHEAD_LOG_ROOT") : RUN_LOG_ROOT, RUN_NAMESPACE, options.name, uid);

        Runtime__V1__PodSandboxMetadata pod_metadata = RUNTIME__V1__POD_SANDBOX_METADATA__INIT;
        pod_metadata.name = (char *)options.name;
        pod_metadata.uid = uid;
        pod_metadata.namespace_ = RUN_NAMESPACE;
        Runtime__V1__NamespaceOption namespaces = RUNTIME__V1__NAMESPACE_OPTION__INIT;
        namespaces.pid = RUNTIME__V1__NAMESPACE_MODE__CONTAINER;
        if (options.host_network)
                namespaces.network = RUNTIME__V1__NAMESPACE_MODE__NODE;
        Runtime__V1__LinuxSandboxSecurityContext security = RUNTIME__V1__LINUX_SANDBOX_SECURITY_CONTEXT__INIT;
        security.namespace_options = &namespaces;
        Runtime__V1__LinuxPodSandboxConfig linux_config = RUNTIME__V1__LINUX_POD_SANDBOX_CONFIG__INIT;
        linux_config.security_context = &security;
        Runtime__V1__PodSandboxConfig pod = RUNTIME__V1__POD_SANDBOX_CONFIG__INIT;
        pod.metadata = &pod_metadata;
        pod.hostname = options.host_network ? "" : (char *)options.name;
        pod.log_directory = log_directory;
        pod.linux = &linux_config;
        Runtime__V1__RunPodSandboxRequest run = RUNTIME__V1__RUN_POD_SANDBOX_REQUEST__INIT;
        run.config = &pod;
        run.runtime_handler = (char *)options.handler;
        ProtobufCMessage *message;
        if (!cli_call(cli, CLI_RUNTIME("RunPodSandbox"), &run.base, &runtime__v1__run_pod_sandbox_response__descriptor, CLI_TIMEOUT, &message))
                return 1;
        char *pod_id = container_of(message, Runtime__V1__RunPodSandboxResponse, base)->pod_sandbox_id;

        Runtime__V1__ContainerMetadata metadata = RUNTIME__V1__CONTAINER_METADATA__INIT;
        metadata.name = (char *)options.name;
        Runtime__V1__ImageSpec spec = RUNTIME__V1__IMAGE_SPEC__INIT;
        spec.image = (char *)options.image;
        Runtime__V1__LinuxContainerSecurityContext container_security = RUNTIME__V1__LINUX_CONTAINER_SECURITY_CONTEXT__INIT;
        container_security.namespace_options = &namespaces;
        Runtime__V1__SecurityProfile seccomp = RUNTIME__V1__SECURITY_PROFILE__INIT; /* RuntimeDefault */
        container_security.seccomp = &seccomp;
        Runtime__V1__LinuxContainerConfig container_linux = RUNTIME__V1__LINUX_CONTAINER_CONFIG__INIT;
        container_linux.security_context = &container_security;
        Runtime__V1__ContainerConfig config = RUNTIME__V1__CONTAINER_CONFIG__INIT;
        config.metadata = &metadata;
        config.image = &spec;
        config.n_command = options.n_command;
        config.command = options.command;
        config.log_path = "0.log";
        config.linux = &container_linux;
        Runtime__V1__CreateContainerRequest create = RUNTIME__V1__CREATE_CONTAINER_REQUEST__INIT;
        create.pod_sandbox_id = pod_id;
        create.config = &config;
        create.sandbox_config = &pod;
        char *remove_argv[] = {"rmp", "-f", pod_id, NULL};
        if (!cli_call(cli, CLI_RUNTIME("CreateContainer"), &create.base, &runtime__v1__create_container_response__descriptor, CLI_TIMEOUT, &message)) {
                (void)pods_remove(cli, 3, remove_argv);
                return 1;
        }
        Runtime__V1__StartContainerRequest start = RUNTIME__V1__START_CONTAINER_REQUEST__INIT;
        start.container_id = container_of(message, Runtime__V1__CreateContainerResponse, base)->container_id;
        if (!cli_call(cli, CLI_RUNTIME("StartContainer"), &start.base, &runtime__v1__start_container_response__descriptor, CLI_TIMEOUT, &message)) {
                (void)pods_remove(cli, 3, remove_argv);
                return 1;
        }
        if (cli->json)
                printf("{\"pod\": \"%s\", \"container\": \"%s\"}\n", pod_id, start.container_id);
        else
                printf("pod       %s\ncontainer %s\n", pod_id, start.container_id);
        return 0;
}
