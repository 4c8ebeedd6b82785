/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/containerd.h"

#include "lib/error.h"
#include "lib/log.h"
#include "services/containerd/exec-sync.h"
#include "services/containerd/orphan.h"
#include "services/containerd/pod-end.h"
#include "services/containerd/recover.h"
#include "services/containerd/remove.h"
#include "services/containerd/session.h"
#include "services/containerd/stats.h"
#include "services/service.h"
#include <event2/event.h>

#define CONTAINERD_PULSE_SEC 5

void containerd_fail(void *userdata, int r)
{
        Containerd *containerd = userdata;

        if (containerd->service) {
                service_fail(containerd->service, r);
                return;
        }
        containerd->result = r;
        (void)event_base_loopbreak(containerd->base);
}

int containerd_pod_changed(Containerd *containerd, const char *pod_id)
{
        int r = pod_end_look(containerd, pod_id);

        return r < 0 ? fold(r) : 0;
}

/* Rows that a full disk refused, and removals that failed although they were wanted. */
static int containerd_pulse(Containerd *containerd)
{
        int r = 0;

        for (size_t i = 0; i < containerd->containers.n && r == 0; i++) {
                Container *container = containerd->containers.items[i];
                bool is_leftover = container->state == CONTAINER_STATE_CREATING && !container->create;
                if (container->is_unwritten)
                        r = container_store_save(&containerd->store, container);
                if (r == 0 && !container->remove && (is_leftover || container->is_removing))
                        r = remove_request(container, REPLY_TO_NULL);
        }
        return r < 0 ? fold(r) : 0;
}

static void containerd_on_pulse(evutil_socket_t fd, short what, void *userdata)
{
        (void)fd;
        (void)what;
        int r = containerd_pulse(userdata);
        if (r < 0)
                containerd_fail(userdata, fold(r));
}

void containerd_pulse_soon(Containerd *containerd)
{
        const struct timeval after = {.tv_sec = CONTAINERD_PULSE_SEC};

        if (!containerd->pulse)
                containerd->pulse = event_new(containerd->base, -1, 0, containerd_on_pulse, containerd);
        if (!containerd->pulse || event_add(containerd->pulse, &after) < 0)
                containerd_fail(containerd, error_origin(-ENOMEM));
}

void containerd_tell_ready(Containerd *containerd)
{
        if (containerd->service && containerd->is_ready && containerd->runtimes.was_probed)
                service_set_state(containerd->service, ROW_STATE_READY);
}

int containerd_begin(Containerd *containerd)
{
        list_init(&containerd->pod_ends);
        list_init(&containerd->execs);
        list_init(&containerd->orphans);
        stats_look_begin(containerd);
        int r = session_table_init(containerd);
        if (r == 0)
                r = runtime_probe(containerd);
        if (r == 0)
                r = recover_begin(containerd);
        return r < 0 ? fold(r) : 0;
}

void containerd_end(Containerd *containerd)
{
        containerd->recovery = recover_free(containerd->recovery);
        if (containerd->recovery_timer)
                event_free(TAKE_PTR(containerd->recovery_timer));
        if (containerd->pulse)
                event_free(TAKE_PTR(containerd->pulse));
        runtime_done(containerd);
        session_table_done(containerd);
        if (containerd->execs.next) {
                exec_sync_free_all(containerd);
                orphan_free_all(containerd);
                pod_end_free_all(containerd);
        }
        stats_look_end(containerd);
        container_table_done(&containerd->containers);
        container_store_done(&containerd->store);
}
