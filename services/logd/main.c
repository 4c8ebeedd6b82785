/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc/edges/containerd-logd.pb-c.h"
#include "ipc/edges/containerd-logd.rows.h"
#include "lib/error.h"
#include "lib/log.h"
#include "services/logd/logd.h"

static const ChannelHandler logd_containerd_handlers[] = {EDGE_CONTAINERD_LOGD_HANDLERS_B};

static const ServiceEdge logd_edges[] = {
        {.schema = &edge_schema_containerd_logd, .handlers = logd_containerd_handlers},
};

static void logd_on_blocked(void *userdata, Log *log)
{
        Logd *logd = userdata;
        Bulkhead__ContainerdLogd__LogFailed failed = BULKHEAD__CONTAINERD_LOGD__LOG_FAILED__INIT;
        failed.container_id = log->id;
        failed.text = strerror(log->journal.blocked_by);
        log_warning("log of container %s takes nothing (%s); the container is held back until it does", log->id, failed.text);
        (void)channel_event(service_channel(logd->service, EDGE_CONTAINERD_LOGD), ROW_CONTAINERD_LOGD_LOG_FAILED,
                            &failed.base);
}

static void logd_on_tap_lost(void *userdata, const Tap *tap)
{
        Logd *logd = userdata;
        Bulkhead__ContainerdLogd__LogAttachLost lost = BULKHEAD__CONTAINERD_LOGD__LOG_ATTACH_LOST__INIT;
        lost.container_id = (char *)(uintptr_t)tap->container_id;
        lost.session_id = (char *)(uintptr_t)tap->session_id;
        log_warning("container %s: a client that is attached reads too slowly and is let go", tap->container_id);
        (void)channel_event(service_channel(logd->service, EDGE_CONTAINERD_LOGD), ROW_CONTAINERD_LOGD_LOG_ATTACH_LOST, &lost.base);
}

static int logd_ready(void *context)
{
        Logd *logd = context;
        int r = log_table_init(&logd->logs, service_loop(logd->service));
        if (r < 0)
                return fold(r);
        logd->logs.on_blocked = logd_on_blocked;
        logd->logs.userdata = logd;
        tap_table_init(&logd->logs.taps, service_loop(logd->service), logd_on_tap_lost, logd);
        service_set_state(logd->service, ROW_STATE_READY);
        return 0;
}

static void logd_release(void *context)
{
        log_table_done(&((Logd *)context)->logs);
}

int main(int argc, char **argv)
{
        static const ServiceSpec spec = {
                .process = PROCESS_LOGD,
                .context_size = sizeof(Logd),
                .edges = logd_edges,
                .n_edges = ARRAY_SIZE(logd_edges),
                .ready = logd_ready,
                .release = logd_release,
        };
        return service_main(&spec, argc, argv);
}
