/* SPDX-License-Identifier: Apache-2.0 */

/* The table of methods. The lookup is exact on the whole path; there is no default. */

#include "ipc/cri/api.pb-c.h"
#include "ipc/edges/gatewayd-containerd.rows.h"
#include "ipc/edges/gatewayd-imaged.rows.h"
#include "ipc/edges/gatewayd-sandboxd.rows.h"
#include "services/gatewayd/gatewayd.h"

#define RUNTIME "/runtime.v1.RuntimeService/"
#define IMAGE "/runtime.v1.ImageService/"
#define ADMIN "/bulkhead.v1.Admin/"

#define TO(service, method, type, to_edge, to_row, class, permit)                                                      \
        {.grpc = {.path = service #method}, .request = &type##__descriptor, .edge = EDGE_GATEWAYD_##to_edge,           \
         .row = ROW_GATEWAYD_##to_edge##_##to_row, .deadline = DEADLINE_##class, .verb = permit}
#define HERE(service, method, type, function)                                                                          \
        {.grpc = {.path = service #method}, .request = &type##__descriptor, .deadline = DEADLINE_READ, .local = function}
#define STREAM(service, method, of)                                                                                    \
        {.grpc = {.path = service #method, .is_streaming = true}, .deadline = DEADLINE_READ, .local = stream_list, .list = service #of}
#define LATER(service, method) {.grpc = {.path = service #method}}

static const Method method_rows[] = {
        HERE(RUNTIME, Version, runtime__v1__version_request, node_version),
        HERE(RUNTIME, Status, runtime__v1__status_request, node_status),
        HERE(RUNTIME, RuntimeConfig, runtime__v1__runtime_config_request, node_runtime_config),
        TO(RUNTIME, RunPodSandbox, runtime__v1__run_pod_sandbox_request, SANDBOXD, RUN_POD_SANDBOX, CHANGE, PERMIT_VERB_RUN_POD),
        TO(RUNTIME, StopPodSandbox, runtime__v1__stop_pod_sandbox_request, SANDBOXD, STOP_POD_SANDBOX, CLIENT, 0),
        TO(RUNTIME, RemovePodSandbox, runtime__v1__remove_pod_sandbox_request, SANDBOXD, REMOVE_POD_SANDBOX, CLIENT, 0),
        {.grpc = {.path = RUNTIME "PodSandboxStatus"}, .request = &runtime__v1__pod_sandbox_status_request__descriptor,
         .edge = EDGE_GATEWAYD_SANDBOXD, .row = ROW_GATEWAYD_SANDBOXD_POD_SANDBOX_STATUS, .deadline = DEADLINE_READ,
         .local = pod_status_get},
        TO(RUNTIME, ListPodSandbox, runtime__v1__list_pod_sandbox_request, SANDBOXD, LIST_POD_SANDBOX, READ, 0),
        TO(RUNTIME, UpdatePodSandboxResources, runtime__v1__update_pod_sandbox_resources_request, SANDBOXD, UPDATE_POD_SANDBOX_RESOURCES,
           CHANGE, 0),
        TO(RUNTIME, CreateContainer, runtime__v1__create_container_request, CONTAINERD, CREATE_CONTAINER, CHANGE, PERMIT_VERB_CREATE_CONTAINER),
        TO(RUNTIME, StartContainer, runtime__v1__start_container_request, CONTAINERD, START_CONTAINER, CHANGE, 0),
        TO(RUNTIME, StopContainer, runtime__v1__stop_container_request, CONTAINERD, STOP_CONTAINER, CLIENT, 0),
        TO(RUNTIME, RemoveContainer, runtime__v1__remove_container_request, CONTAINERD, REMOVE_CONTAINER, CLIENT, 0),
        TO(RUNTIME, ListContainers, runtime__v1__list_containers_request, CONTAINERD, LIST_CONTAINERS, READ, 0),
        TO(RUNTIME, ContainerStatus, runtime__v1__container_status_request, CONTAINERD, CONTAINER_STATUS, READ, 0),
        TO(RUNTIME, UpdateContainerResources, runtime__v1__update_container_resources_request, CONTAINERD, UPDATE_CONTAINER_RESOURCES, CHANGE,
           PERMIT_VERB_UPDATE),
        TO(RUNTIME, CheckpointContainer, runtime__v1__checkpoint_container_request, CONTAINERD, CHECKPOINT_CONTAINER, CLIENT, PERMIT_VERB_CHECKPOINT),
        TO(RUNTIME, ReopenContainerLog, runtime__v1__reopen_container_log_request, CONTAINERD, REOPEN_CONTAINER_LOG, CHANGE, 0),
        TO(RUNTIME, ExecSync, runtime__v1__exec_sync_request, CONTAINERD, EXEC_SYNC, CLIENT, PERMIT_VERB_EXEC),
        TO(RUNTIME, Exec, runtime__v1__exec_request, CONTAINERD, EXEC, CHANGE, PERMIT_VERB_EXEC),
        TO(RUNTIME, Attach, runtime__v1__attach_request, CONTAINERD, ATTACH, CHANGE, 0),
        TO(RUNTIME, PortForward, runtime__v1__port_forward_request, SANDBOXD, PORT_FORWARD, CHANGE, PERMIT_VERB_PORT_FORWARD),
        TO(RUNTIME, ContainerStats, runtime__v1__container_stats_request, CONTAINERD, CONTAINER_STATS, READ, 0),
        TO(RUNTIME, ListContainerStats, runtime__v1__list_container_stats_request, CONTAINERD, LIST_CONTAINER_STATS, READ, 0),
        TO(RUNTIME, PodSandboxStats, runtime__v1__pod_sandbox_stats_request, SANDBOXD, POD_SANDBOX_STATS, READ, 0),
        TO(RUNTIME, ListPodSandboxStats, runtime__v1__list_pod_sandbox_stats_request, SANDBOXD, LIST_POD_SANDBOX_STATS, READ, 0),
        TO(RUNTIME, ListMetricDescriptors, runtime__v1__list_metric_descriptors_request, SANDBOXD, LIST_METRIC_DESCRIPTORS, READ, 0),
        HERE(RUNTIME, ListPodSandboxMetrics, runtime__v1__list_pod_sandbox_metrics_request, metrics_list),
        TO(RUNTIME, UpdateRuntimeConfig, runtime__v1__update_runtime_config_request, SANDBOXD, UPDATE_RUNTIME_CONFIG, CHANGE, 0),
        TO(IMAGE, ListImages, runtime__v1__list_images_request, IMAGED, LIST_IMAGES, READ, 0),
        TO(IMAGE, ImageStatus, runtime__v1__image_status_request, IMAGED, IMAGE_STATUS, READ, 0),
        TO(IMAGE, PullImage, runtime__v1__pull_image_request, IMAGED, PULL_IMAGE, CLIENT, 0),
        TO(IMAGE, RemoveImage, runtime__v1__remove_image_request, IMAGED, REMOVE_IMAGE, CHANGE, 0),
        TO(IMAGE, ImageFsInfo, runtime__v1__image_fs_info_request, IMAGED, IMAGE_FS_INFO, READ, 0),
        TO(ADMIN, ImportImage, bulkhead__gatewayd_imaged__import_image_request, IMAGED, IMPORT_IMAGE, CLIENT, 0),
        TO(ADMIN, PullProgress, bulkhead__gatewayd_imaged__pull_progress_request, IMAGED, PULL_PROGRESS, READ, 0),
        LATER(RUNTIME, CheckpointPod),
        LATER(RUNTIME, RestorePod),
        {.grpc = {.path = RUNTIME "GetContainerEvents", .is_streaming = true}, .local = events_subscribe},
        STREAM(RUNTIME, StreamPodSandboxes, ListPodSandbox),
        STREAM(RUNTIME, StreamContainers, ListContainers),
        STREAM(RUNTIME, StreamContainerStats, ListContainerStats),
        STREAM(RUNTIME, StreamPodSandboxStats, ListPodSandboxStats),
        {.grpc = {.path = RUNTIME "StreamPodSandboxMetrics", .is_streaming = true}, .local = metrics_stream},
        STREAM(IMAGE, StreamImages, ListImages),
};

const GrpcMethod *method_lookup(void *userdata, const char *path)
{
        for (size_t i = 0; i < ARRAY_SIZE(method_rows); i++)
                if (strcmp(method_rows[i].grpc.path, path) == 0)
                        return &method_rows[i].grpc;
        return NULL;
}
