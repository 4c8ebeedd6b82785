/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc/edges/containerd-sandboxd.rows.h"
#include "ipc/edges/gatewayd-sandboxd.rows.h"
#include "ipc/edges/sandboxd-cni.rows.h"
#include "ipc/edges/sandboxd-setup.rows.h"
#include "ipc/edges/streamd-sandboxd.rows.h"
#include "lib/error.h"
#include "services/sandboxd/forward.h"
#include "services/sandboxd/handlers.h"
#include "services/sandboxd/leftover.h"
#include "services/store-log.h"

static const ChannelHandler sandboxd_gatewayd_handlers[] = {EDGE_GATEWAYD_SANDBOXD_HANDLERS_B};
static const ChannelHandler sandboxd_containerd_handlers[] = {EDGE_CONTAINERD_SANDBOXD_HANDLERS_B};
static const ChannelHandler sandboxd_streamd_handlers[] = {EDGE_STREAMD_SANDBOXD_HANDLERS_B};
static const ChannelHandler sandboxd_setup_handlers[] = {EDGE_SANDBOXD_SETUP_HANDLERS_A};
static const ChannelHandler sandboxd_cni_handlers[] = {EDGE_SANDBOXD_CNI_HANDLERS_A};

static void sandboxd_on_streamd(void *userdata, Channel *channel, bool connected)
{
        (void)channel;
        forward_on_streamd(userdata, connected);
}

static void sandboxd_on_streamd_cancelled(void *userdata, Channel *channel, uint32_t request_id)
{
        (void)channel;
        forward_cancelled(userdata, request_id);
}

/* A new gatewayd says anew whether somebody listens. */
static void sandboxd_on_gatewayd(void *userdata, Channel *channel, bool connected)
{
        ((Sandboxd *)userdata)->notices_wanted = false;
}

static const ServiceEdge sandboxd_edges[] = {
        {.schema = &edge_schema_gatewayd_sandboxd, .handlers = sandboxd_gatewayd_handlers, .on_changed = sandboxd_on_gatewayd},
        {.schema = &edge_schema_containerd_sandboxd, .handlers = sandboxd_containerd_handlers},
        {.schema = &edge_schema_streamd_sandboxd, .handlers = sandboxd_streamd_handlers, .on_cancelled = sandboxd_on_streamd_cancelled,
         .on_changed = sandboxd_on_streamd},
        {.schema = &edge_schema_sandboxd_setup, .handlers = sandboxd_setup_handlers},
        {.schema = &edge_schema_sandboxd_cni, .handlers = sandboxd_cni_handlers},
};

static int sandboxd_ready(void *context)
{
        Sandboxd *sandboxd = context;
        list_init(&sandboxd->pods);
        list_init(&sandboxd->leftovers);
        int r = forward_table_new(sandboxd);
        if (r == 0)
                r = network_view_init(sandboxd);
        if (r == 0)
                r = pod_store_open(sandboxd, "/state/sandboxd.db", service_config(sandboxd->service)->boot_id);
        if (r > 0)
                r = store_log_refused(r, "pods");
        if (r == 0)
                r = pod_store_load(sandboxd);
        if (r < 0)
                return fold(r);
        store_log_opened(sandboxd->store, "pods");
        return fold(recovery_start(sandboxd));
}

static void sandboxd_quiet(void *context)
{
        store_shrink(((Sandboxd *)context)->store);
}

static void sandboxd_release(void *context)
{
        Sandboxd *sandboxd = context;
        if (!sandboxd->pods.next)
                return;
        recovery_free(sandboxd);
        leftovers_free(sandboxd);
        forward_table_free(sandboxd);
        list_for_each_safe(i, n, &sandboxd->pods)
                (void)pod_free(container_of(i, Pod, link));
        network_view_done(sandboxd);
        pod_store_close(sandboxd);
}

int main(int argc, char **argv)
{
        static const ServiceSpec spec = {
                .process = PROCESS_SANDBOXD,
                .context_size = sizeof(Sandboxd),
                .is_prompt = true,
                .edges = sandboxd_edges,
                .n_edges = ARRAY_SIZE(sandboxd_edges),
                .ready = sandboxd_ready,
                .release = sandboxd_release,
                .quiet = sandboxd_quiet,
        };
        return service_main(&spec, argc, argv);
}
