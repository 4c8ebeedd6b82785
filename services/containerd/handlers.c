/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/handlers.h"

#include "ipc/seal.h"
#include "lib/error.h"
#include "lib/log.h"
#include "services/containerd/adoption.h"
#include "services/containerd/containerd.h"
#include "services/containerd/checkpoint.h"
#include "services/containerd/create.h"
#include "services/containerd/exec-sync.h"
#include "services/containerd/log-link.h"
#include "services/containerd/notice.h"
#include "services/containerd/pod-end.h"
#include "services/containerd/remove.h"
#include "services/containerd/session.h"
#include "services/containerd/start.h"
#include "services/containerd/stats.h"
#include "services/containerd/status.h"
#include "services/containerd/stop.h"
#include "services/containerd/update.h"

/* Finds the container that a request names; answers if there is none. NULL: answered. */
static Container *handlers_find(Containerd *containerd, const Frame *frame, const char *id, int *ret)
{
        Container *container = NULL;
        int r = container_table_resolve(&containerd->containers, id, &container);

        *ret = 0;
        if (r == CONTAINER_TABLE_E_NOT_FOUND && adoption_is_blind(containerd)) {
                *ret = reply_fail(frame_reply_to(frame), GRPC_STATUS_UNAVAILABLE, "%s: the database of containers was broken, and the node is "
                                  "looked through for container \"%.64s\"; ask again", frame->row->name, id);
                return NULL;
        }
        if (r == CONTAINER_TABLE_E_AMBIGUOUS)
                *ret = reply_fail(frame_reply_to(frame), GRPC_STATUS_INVALID_ARGUMENT,
                                  "%s: several containers begin with \"%.64s\"; give more of the id", frame->row->name, id);
        else if (r)
                *ret = reply_fail(frame_reply_to(frame), GRPC_STATUS_NOT_FOUND, "%s: there is no container \"%.64s\"",
                                  frame->row->name, id);
        return r ? NULL : container;
}

int on_create_container(void *userdata, Frame *frame)
{
        int r = create_request(userdata, frame);

        return r < 0 ? fold(r) : 0;
}

int on_start_container(void *userdata, Frame *frame)
{
        const Runtime__V1__StartContainerRequest *request =
                container_of(frame->message, Runtime__V1__StartContainerRequest, base);
        int r = 0;
        Container *container = handlers_find(userdata, frame, request->container_id, &r);

        if (container)
                r = start_request(container, frame_reply_to(frame));
        return r < 0 ? fold(r) : 0;
}

/* Unknown is success: kubelets stop and remove what may be gone. */
int on_stop_container(void *userdata, Frame *frame)
{
        Containerd *containerd = userdata;
        const Runtime__V1__StopContainerRequest *request = container_of(frame->message, Runtime__V1__StopContainerRequest, base);
        Runtime__V1__StopContainerResponse response = RUNTIME__V1__STOP_CONTAINER_RESPONSE__INIT;
        Container *container = NULL;
        int r = container_table_resolve(&containerd->containers, request->container_id, &container);

        if (r == CONTAINER_TABLE_E_AMBIGUOUS)
                (void)handlers_find(containerd, frame, request->container_id, &r);
        else if (r)
                r = reply_send(frame_reply_to(frame), &response.base, NULL, 0);
        else
                r = stop_request(container, frame_reply_to(frame), request->timeout);
        return r < 0 ? fold(r) : 0;
}

int on_remove_container(void *userdata, Frame *frame)
{
        Containerd *containerd = userdata;
        const Runtime__V1__RemoveContainerRequest *request =
                container_of(frame->message, Runtime__V1__RemoveContainerRequest, base);
        Runtime__V1__RemoveContainerResponse response = RUNTIME__V1__REMOVE_CONTAINER_RESPONSE__INIT;
        Container *container = NULL;
        int r = container_table_resolve(&containerd->containers, request->container_id, &container);

        if (r == CONTAINER_TABLE_E_AMBIGUOUS)
                (void)handlers_find(containerd, frame, request->container_id, &r);
        else if (r)
                r = reply_send(frame_reply_to(frame), &response.base, NULL, 0);
        else
                r = remove_request(container, frame_reply_to(frame));
        return r < 0 ? fold(r) : 0;
}

int on_list_containers(void *userdata, Frame *frame)
{
        const Runtime__V1__ListContainersRequest *request = container_of(frame->message, Runtime__V1__ListContainersRequest, base);
        if (adoption_is_blind(userdata))
                return reply_fail(frame_reply_to(frame), GRPC_STATUS_UNAVAILABLE, "ListContainers: the database of containers was broken, "
                                  "and the node is looked through for them; ask again");
        int r = status_list_reply(userdata, request->filter, frame_reply_to(frame));

        return r < 0 ? fold(r) : 0;
}

int on_container_status(void *userdata, Frame *frame)
{
        const Runtime__V1__ContainerStatusRequest *request =
                container_of(frame->message, Runtime__V1__ContainerStatusRequest, base);
        int r = 0;
        Container *container = handlers_find(userdata, frame, request->container_id, &r);

        if (container)
                r = status_reply(container, request->verbose, frame_reply_to(frame));
        return r < 0 ? fold(r) : 0;
}

int on_exec_sync(void *userdata, Frame *frame)
{
        int r = exec_sync_request(userdata, frame);

        return r < 0 ? fold(r) : 0;
}

int on_exec(void *userdata, Frame *frame)
{
        int r = session_exec_request(userdata, frame);

        return r < 0 ? fold(r) : 0;
}

int on_attach(void *userdata, Frame *frame)
{
        int r = session_attach_request(userdata, frame);

        return r < 0 ? fold(r) : 0;
}

int on_reopen_container_log(void *userdata, Frame *frame)
{
        const Runtime__V1__ReopenContainerLogRequest *request =
                container_of(frame->message, Runtime__V1__ReopenContainerLogRequest, base);
        int r = 0;
        Container *container = handlers_find(userdata, frame, request->container_id, &r);

        if (container)
                r = log_reopen_request(container, frame_reply_to(frame));
        return r < 0 ? fold(r) : 0;
}

/* The container that gatewayd resolved, which is sealed; the hand looks at the seal. */
static Container *handlers_find_sealed(Containerd *containerd, const Frame *frame, const ProtobufCBinaryData *sealed, int *ret)
{
        Permit permit = {0};

        if (sealed->len == sizeof(permit))
                memcpy(&permit, sealed->data, sizeof(permit));
        permit.pod_id[ID_LENGTH] = '\0';
        return handlers_find(containerd, frame, permit.pod_id, ret);
}

int on_update_container_resources(void *userdata, Frame *frame)
{
        const Bulkhead__GatewaydContainerd__UpdateContainerResourcesCall *call =
                container_of(frame->message, Bulkhead__GatewaydContainerd__UpdateContainerResourcesCall, base);
        int r = 0;
        Container *container = handlers_find_sealed(userdata, frame, &call->permit, &r);

        if (container)
                r = update_request(container, frame);
        return r < 0 ? fold(r) : 0;
}

int on_checkpoint_container(void *userdata, Frame *frame)
{
        const Bulkhead__GatewaydContainerd__CheckpointContainerCall *call =
                container_of(frame->message, Bulkhead__GatewaydContainerd__CheckpointContainerCall, base);
        int r = 0;
        Container *container = handlers_find_sealed(userdata, frame, &call->permit, &r);

        if (container)
                r = checkpoint_request(container, frame);
        return r < 0 ? fold(r) : 0;
}

int on_container_stats(void *userdata, Frame *frame)
{
        const Runtime__V1__ContainerStatsRequest *request = container_of(frame->message, Runtime__V1__ContainerStatsRequest, base);
        int r = 0;
        Container *container = handlers_find(userdata, frame, request->container_id, &r);

        if (container)
                r = stats_reply(container, frame_reply_to(frame));
        return r < 0 ? fold(r) : 0;
}

int on_list_container_stats(void *userdata, Frame *frame)
{
        const Runtime__V1__ListContainerStatsRequest *request =
                container_of(frame->message, Runtime__V1__ListContainerStatsRequest, base);
        int r = stats_list_reply(userdata, request->filter, frame_reply_to(frame));

        return r < 0 ? fold(r) : 0;
}

int on_container_events_wanted(void *userdata, Frame *frame)
{
        notice_want(userdata, container_of(frame->message, Bulkhead__GatewaydContainerd__ContainerEventsWanted, base)->wanted);
        return 0;
}

int on_pod_statuses(void *userdata, Frame *frame)
{
        const Bulkhead__GatewaydContainerd__PodStatusesRequest *request =
                container_of(frame->message, Bulkhead__GatewaydContainerd__PodStatusesRequest, base);
        int r = status_pod_statuses_reply(userdata, request->pod_id, frame_reply_to(frame));

        return r < 0 ? fold(r) : 0;
}

int on_runtime_status(void *userdata, Frame *frame)
{
        int r = runtime_status_reply(userdata, frame_reply_to(frame));

        return r < 0 ? fold(r) : 0;
}

int on_session_open(void *userdata, Frame *frame)
{
        const Bulkhead__StreamdContainerd__SessionOpen *request =
                container_of(frame->message, Bulkhead__StreamdContainerd__SessionOpen, base);
        int r = session_open(userdata, request->token.data, request->token.len, frame_reply_to(frame));

        return r < 0 ? fold(r) : 0;
}

int on_session_resize(void *userdata, Frame *frame)
{
        const Bulkhead__StreamdContainerd__SessionResize *event =
                container_of(frame->message, Bulkhead__StreamdContainerd__SessionResize, base);
        int r = session_resize(userdata, event->session_id, event->columns, event->rows);

        return r < 0 ? fold(r) : 0;
}

int on_session_resume(void *userdata, Frame *frame)
{
        const Bulkhead__StreamdContainerd__SessionResume *event =
                container_of(frame->message, Bulkhead__StreamdContainerd__SessionResume, base);
        int r = session_resume(userdata, event->session_id, event->container_id, event->tty, event->attach);

        return r < 0 ? fold(r) : 0;
}

int on_sessions_told(void *userdata, Frame *frame)
{
        (void)frame;
        int r = session_on_told(userdata);

        return r < 0 ? fold(r) : 0;
}

int on_session_close(void *userdata, Frame *frame)
{
        const Bulkhead__StreamdContainerd__SessionClose *event =
                container_of(frame->message, Bulkhead__StreamdContainerd__SessionClose, base);
        int r = session_close(userdata, event->session_id);

        return r < 0 ? fold(r) : 0;
}

int on_pod_end(void *userdata, Frame *frame)
{
        const Bulkhead__ContainerdSandboxd__PodEndRequest *request =
                container_of(frame->message, Bulkhead__ContainerdSandboxd__PodEndRequest, base);
        int r = pod_end_request(userdata, request->pod_id, request->remove, frame_reply_to(frame));

        return r < 0 ? fold(r) : 0;
}

int on_pod_containers(void *userdata, Frame *frame)
{
        const Bulkhead__ContainerdSandboxd__PodContainersRequest *request =
                container_of(frame->message, Bulkhead__ContainerdSandboxd__PodContainersRequest, base);
        int r = status_pod_reply(userdata, request->pod_id, frame_reply_to(frame));

        return r < 0 ? fold(r) : 0;
}

int on_pod_usage(void *userdata, Frame *frame)
{
        int r = stats_pods_reply(userdata, frame);

        return r < 0 ? fold(r) : 0;
}

int on_launch_checked(void *userdata, Frame *frame)
{
        const LaunchChecked *event = frame->flat;
        Containerd *containerd = userdata;
        char id[ID_LENGTH + 1];

        (void)str_copy(id, sizeof(id), event->id);
        Container *container = container_table_find(&containerd->containers, id);
        int r = container ? create_on_checked(container) : 0;
        return r < 0 ? fold(r) : 0;
}

int on_log_failed(void *userdata, Frame *frame)
{
        const Bulkhead__ContainerdLogd__LogFailed *event =
                container_of(frame->message, Bulkhead__ContainerdLogd__LogFailed, base);

        log_warning("container %.64s: its log cannot be written: %.200s; its output waits", event->container_id, event->text);
        return 0;
}

int on_log_attach_lost(void *userdata, Frame *frame)
{
        const Bulkhead__ContainerdLogd__LogAttachLost *event =
                container_of(frame->message, Bulkhead__ContainerdLogd__LogAttachLost, base);
        int r = session_attach_lost(userdata, event->session_id);

        return r < 0 ? fold(r) : 0;
}
