/* SPDX-License-Identifier: Apache-2.0 */

/* What is told to gatewayd while somebody listens to GetContainerEvents. */

#include "ipc/edges/gatewayd-sandboxd.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "services/sandboxd/handlers.h"

int on_pod_events_wanted(void *userdata, Frame *frame)
{
        Sandboxd *sandboxd = userdata;
        sandboxd->notices_wanted = container_of(frame->message, Bulkhead__GatewaydSandboxd__PodEventsWanted, base)->wanted;
        return 0;
}

int notice_send(Pod *pod, Runtime__V1__ContainerEventType type)
{
        Sandboxd *sandboxd = pod->sandboxd;
        Bulkhead__GatewaydSandboxd__PodEvent notice = BULKHEAD__GATEWAYD_SANDBOXD__POD_EVENT__INIT;
        Runtime__V1__ContainerEventResponse event = RUNTIME__V1__CONTAINER_EVENT_RESPONSE__INIT;
        Runtime__V1__PodSandboxStatus status;
        StatusScratch scratch;
        if (!sandboxd->notices_wanted)
                return 0;
        status_fill(pod, &status, &scratch);
        notice.sequence = ++sandboxd->n_notices;
        notice.pod_id = pod->id;
        notice.event = &event;
        event.container_id = pod->id;
        event.container_event_type = type;
        event.created_at = clock_realtime_nsec();
        event.pod_sandbox_status = &status;
        /* Too much to tell at once: whoever listens asks for the status. */
        if (protobuf_c_message_get_packed_size(&notice.base) > ROW_GATEWAYD_SANDBOXD_POD_EVENT->body.max_length)
                event.pod_sandbox_status = NULL;
        return fold(channel_event(service_channel(sandboxd->service, EDGE_GATEWAYD_SANDBOXD), ROW_GATEWAYD_SANDBOXD_POD_EVENT, &notice.base));
}
