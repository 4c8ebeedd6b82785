/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc/edges/gatewayd-containerd.rows.h"
#include "ipc/edges/gatewayd-imaged.rows.h"
#include "ipc/edges/gatewayd-sandboxd.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "services/gatewayd/gatewayd.h"
#include <stdio.h>

#define GATEWAYD_DRAIN_USEC (5 * USEC_PER_SEC)

static const ChannelHandler gatewayd_imaged_handlers[] = {EDGE_GATEWAYD_IMAGED_HANDLERS_A};
static const ChannelHandler gatewayd_sandboxd_handlers[] = {EDGE_GATEWAYD_SANDBOXD_HANDLERS_A};
static const ChannelHandler gatewayd_containerd_handlers[] = {EDGE_GATEWAYD_CONTAINERD_HANDLERS_A};

/* Calls under way end by themselves when a brain is gone; whoever listens to events must hear of it. */
static void gatewayd_on_changed(Gatewayd *gatewayd, EdgeId edge, bool connected)
{
        int r = gatewayd->server ? events_on_changed(gatewayd, edge, connected) : 0;
        if (r < 0)
                service_fail(gatewayd->service, fold(r));
}

static void gatewayd_on_containerd(void *userdata, Channel *channel, bool connected)
{
        gatewayd_on_changed(userdata, EDGE_GATEWAYD_CONTAINERD, connected);
}

static void gatewayd_on_sandboxd(void *userdata, Channel *channel, bool connected)
{
        gatewayd_on_changed(userdata, EDGE_GATEWAYD_SANDBOXD, connected);
}

static const ServiceEdge gatewayd_edges[] = {
        {.schema = &edge_schema_gatewayd_imaged, .handlers = gatewayd_imaged_handlers},
        {.schema = &edge_schema_gatewayd_sandboxd, .handlers = gatewayd_sandboxd_handlers, .on_changed = gatewayd_on_sandboxd},
        {.schema = &edge_schema_gatewayd_containerd, .handlers = gatewayd_containerd_handlers, .on_changed = gatewayd_on_containerd},
};

static int gatewayd_on_call(void *userdata, GrpcCall *call)
{
        Gatewayd *gatewayd = userdata;
        const Method *method = container_of(call->method, Method, grpc);
        if (method->local)
                return fold(method->local(gatewayd, call));
        if (method->row)
                return fold(forward_call(gatewayd, method, call));
        char text[320];
        (void)snprintf(text, sizeof(text), "%s is known, but not supported by this version of bulkhead; docs/CRI.md says what is", method->grpc.path);
        grpc_call_fail(call, GRPC_STATUS_UNIMPLEMENTED, text);
        return 0;
}

static int gatewayd_on_cancel(void *userdata, GrpcCall *call, GrpcCancel why)
{
        Pending *pending = call->userdata;
        if (pending)
                pending->cancel(pending);
        return 0;
}

static int gatewayd_on_writable(void *userdata, GrpcCall *call)
{
        Pending *pending = call->userdata;
        return pending && pending->writable ? fold(pending->writable(pending)) : 0;
}

static int gatewayd_on_drained(void *userdata)
{
        service_stopped(((Gatewayd *)userdata)->service);
        return 0;
}

static void gatewayd_on_failure(void *userdata, int r)
{
        service_fail(((Gatewayd *)userdata)->service, fold(r));
}

static int gatewayd_ready(void *context)
{
        Gatewayd *gatewayd = context;
        gatewayd->config = service_section(gatewayd->service, sizeof(ConfigGatewayd));
        static const GrpcHandlers handlers = {
                .lookup = method_lookup,
                .on_call = gatewayd_on_call,
                .on_cancel = gatewayd_on_cancel,
                .on_writable = gatewayd_on_writable,
                .on_drained = gatewayd_on_drained,
                .on_failure = gatewayd_on_failure,
        };
        events_init(&gatewayd->events);
        GrpcLimits limits = GRPC_LIMITS_DEFAULT;
        if (gatewayd->config->max_connections)
                limits.max_connections = gatewayd->config->max_connections;
        if (gatewayd->config->max_streams)
                limits.max_streams = gatewayd->config->max_streams;
        int r = grpc_server_new(&gatewayd->server, service_loop(gatewayd->service), service_take_fd(gatewayd->service, "cri"), &handlers,
                                &limits, gatewayd);
        if (r < 0)
                return fold(r);
        service_set_state(gatewayd->service, ROW_STATE_READY);
        return 0;
}

/* Clients are told that no new call will be taken, and the calls under way may end; linkd-start and systemd wait longer than this. */
static int gatewayd_stop(void *context)
{
        Gatewayd *gatewayd = context;
        events_stop(gatewayd);
        grpc_server_drain(gatewayd->server, clock_monotonic_usec() + GATEWAYD_DRAIN_USEC);
        return SERVICE_E_LATER;
}

static void gatewayd_release(void *context)
{
        Gatewayd *gatewayd = context;
        (void)grpc_server_free(gatewayd->server);
        events_done(&gatewayd->events);
}

int main(int argc, char **argv)
{
        static const ServiceSpec spec = {
                .process = PROCESS_GATEWAYD,
                .context_size = sizeof(Gatewayd),
                .is_prompt = true,
                .edges = gatewayd_edges,
                .n_edges = ARRAY_SIZE(gatewayd_edges),
                .ready = gatewayd_ready,
                .release = gatewayd_release,
                .stop = gatewayd_stop,
        };
        return service_main(&spec, argc, argv);
}
