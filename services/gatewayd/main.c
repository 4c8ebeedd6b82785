/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc/edges/gatewayd-containerd.rows.h"
#include "ipc/edges/gatewayd-imaged.rows.h"
#include "ipc/edges/gatewayd-sandboxd.rows.h"
#include "lib/error.h"
#include "services/gatewayd/gatewayd.h"

static const ChannelHandler gatewayd_imaged_handlers[] = {EDGE_GATEWAYD_IMAGED_HANDLERS_A};
static const ChannelHandler gatewayd_sandboxd_handlers[] = {EDGE_GATEWAYD_SANDBOXD_HANDLERS_A};
static const ChannelHandler gatewayd_containerd_handlers[] = {EDGE_GATEWAYD_CONTAINERD_HANDLERS_A};

static const ServiceEdge gatewayd_edges[] = {
        {.edge = EDGE_GATEWAYD_IMAGED, .handlers = gatewayd_imaged_handlers},
        {.edge = EDGE_GATEWAYD_SANDBOXD, .handlers = gatewayd_sandboxd_handlers},
        {.edge = EDGE_GATEWAYD_CONTAINERD, .handlers = gatewayd_containerd_handlers},
};

static int gatewayd_on_call(void *userdata, GrpcCall *call)
{
        Gatewayd *gatewayd = userdata;
        const Method *method = container_of(call->method, Method, grpc);
        if (method->local)
                return fold(method->local(gatewayd, call));
        if (method->row)
                return fold(forward_call(gatewayd, method, call));
        grpc_call_fail(call, GRPC_STATUS_UNIMPLEMENTED, "this method is known and not supported by this version of bulkhead");
        return 0;
}

static int gatewayd_on_cancel(void *userdata, GrpcCall *call, GrpcCancel why)
{
        Pending *pending = call->userdata;
        if (pending)
                pending->cancel(pending);
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
                .on_failure = gatewayd_on_failure,
        };
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

static void gatewayd_release(void *context)
{
        (void)grpc_server_free(((Gatewayd *)context)->server);
}

int main(int argc, char **argv)
{
        static const ServiceSpec spec = {
                .process = PROCESS_GATEWAYD,
                .context_size = sizeof(Gatewayd),
                .edges = gatewayd_edges,
                .n_edges = ARRAY_SIZE(gatewayd_edges),
                .ready = gatewayd_ready,
                .release = gatewayd_release,
        };
        return service_main(&spec, argc, argv);
}
