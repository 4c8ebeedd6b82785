/* SPDX-License-Identifier: Apache-2.0 */
#include "services/sandboxd/init-watch.h"

#include "ipc/edges/sandboxd-setup.h"
#include "ipc/edges/sandboxd-setup.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "lib/log.h"
#include <event2/event.h>

static int init_watch_lost(Pod *pod)
{
        init_unwatch(pod);
        if (pod->state != POD_STATE_READY)
                return 0;
        int r = pod_set_state(pod, POD_STATE_ENDING, "the init of its shared PID namespace has ended, and with it every process of the pod");
        return r < 0 ? fold(r) : fold(end_resume(pod));
}

static void init_watch_on_end(evutil_socket_t fd, short what, void *userdata)
{
        Pod *pod = userdata;
        Service *service = pod->sandboxd->service;
        int r = init_watch_lost(pod);

        if (r < 0)
                service_fail(service, fold(r));
}

int init_watch(Pod *pod, int pidfd)
{
        init_unwatch(pod);
        if (pidfd < 0)
                return 0;
        pod->init_fd = pidfd;
        pod->init_event = event_new(service_loop(pod->sandboxd->service), pidfd, EV_READ, init_watch_on_end, pod);
        return !pod->init_event || event_add(pod->init_event, NULL) < 0 ? error_origin(-ENOMEM) : 0;
}

static int init_watch_on_status(void *userdata, const Answer *answer)
{
        Pod *pod = userdata;

        pod->init_call = 0;
        if (answer->outcome == CHANNEL_E_LOST)
                return fold(init_watch_resume(pod)); /* sandboxd-setup is being restarted */
        if (answer->outcome != 0) {
                log_warning("pod %.13s: the init of its PID namespace cannot be watched: %s", pod->id, answer->text);
                return 0;
        }
        const SetupMade *made = answer->frame->flat;
        if (!made->init_alive)
                return fold(init_watch_lost(pod));
        return fold(init_watch(pod, frame_take_fd(answer->frame, 0)));
}

int init_watch_resume(Pod *pod)
{
        SetupPod verb = {0};

        (void)str_copy(verb.pod_id, sizeof(verb.pod_id), pod->id);
        return fold(channel_call_flat(sandboxd_setup(pod->sandboxd), ROW_SANDBOXD_SETUP_SETUP_STATUS, &verb, NULL, 0, USEC_INFINITY,
                                      init_watch_on_status, pod, &pod->init_call));
}

void init_unwatch(Pod *pod)
{
        if (pod->init_call)
                channel_cancel(sandboxd_setup(pod->sandboxd), pod->init_call);
        pod->init_call = 0;
        if (pod->init_event)
                event_free(pod->init_event);
        pod->init_event = NULL;
        pod->init_fd = fd_close(pod->init_fd);
}
