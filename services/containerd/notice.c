/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/notice.h"

#include "ipc/edges/gatewayd-containerd.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "services/containerd/status.h"

void notice_want(Containerd *containerd, bool wanted)
{
        containerd->notices_wanted = wanted;
}

int notice_send(const Container *container, Runtime__V1__ContainerEventType type)
{
        Containerd *containerd = container->containerd;
        Bulkhead__GatewaydContainerd__ContainerEvent notice = BULKHEAD__GATEWAYD_CONTAINERD__CONTAINER_EVENT__INIT;
        Runtime__V1__ContainerEventResponse event = RUNTIME__V1__CONTAINER_EVENT_RESPONSE__INIT;
        StatusRows rows;

        if (!containerd->gatewayd || !containerd->notices_wanted)
                return 0;
        int r = status_rows_init(&rows, containerd, container->pod_id,
                                 type == RUNTIME__V1__CONTAINER_EVENT_TYPE__CONTAINER_DELETED_EVENT ? container : NULL);
        if (r < 0)
                return fold(r);
        notice.sequence = ++containerd->n_notices;
        notice.pod_id = (char *)container->pod_id;
        notice.event = &event;
        event.container_id = (char *)container->id;
        event.container_event_type = type;
        event.created_at = clock_realtime_nsec();
        event.n_containers_statuses = rows.n;
        event.containers_statuses = rows.items;
        /* Too much to tell at once: whoever listens asks for the statuses. */
        if (protobuf_c_message_get_packed_size(&notice.base) > ROW_GATEWAYD_CONTAINERD_CONTAINER_EVENT->body.max_length)
                event.n_containers_statuses = 0;
        r = channel_event(containerd->gatewayd, ROW_GATEWAYD_CONTAINERD_CONTAINER_EVENT, &notice.base);
        status_rows_done(&rows);
        return r < 0 ? fold(r) : 0;
}
