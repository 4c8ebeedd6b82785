/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc/edges/containerd-imaged.rows.h"
#include "ipc/edges/containerd-launch.rows.h"
#include "ipc/edges/containerd-logd.rows.h"
#include "ipc/edges/containerd-sandboxd.rows.h"
#include "ipc/edges/containerd-setup.rows.h"
#include "ipc/edges/gatewayd-containerd.rows.h"
#include "ipc/edges/streamd-containerd.rows.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "services/containerd/containerd.h"
#include "services/containerd/exec-sync.h"
#include "services/containerd/handlers.h"
#include "services/containerd/log-link.h"
#include "services/containerd/notice.h"
#include "services/containerd/pod-end.h"
#include "services/containerd/session.h"
#include "services/service.h"
#include "services/store-log.h"
#include <fcntl.h>
#include <sys/utsname.h>

#define CONTAINERD_DATABASE "/state/containers.db"

static void containerd_on_cancelled(void *userdata, Channel *channel, uint32_t request_id)
{
        (void)channel;
        exec_sync_cancelled(userdata, request_id);
}

static void containerd_on_pod_cancelled(void *userdata, Channel *channel, uint32_t request_id)
{
        (void)channel;
        pod_end_cancelled(userdata, request_id);
}

static void containerd_on_session_cancelled(void *userdata, Channel *channel, uint32_t request_id)
{
        (void)channel;
        int r = session_cancelled(userdata, request_id);
        if (r < 0)
                containerd_fail(userdata, fold(r));
}

static void containerd_on_streamd(void *userdata, Channel *channel, bool connected)
{
        (void)channel;
        int r = session_on_streamd(userdata, connected);
        if (r < 0)
                containerd_fail(userdata, fold(r));
}

/* A new gatewayd says anew whether somebody listens. */
static void containerd_on_gatewayd(void *userdata, Channel *channel, bool connected)
{
        (void)channel;
        (void)connected;
        notice_want(userdata, false);
}

static void containerd_on_logd(void *userdata, Channel *channel, bool connected)
{
        (void)channel;
        int r = log_link_on_logd(userdata, connected);
        if (r < 0)
                containerd_fail(userdata, fold(r));
}

/* A node without the file has no such security module. */
static bool containerd_file_begins(const char *path, char wanted)
{
        _cleanup_free_ char *text = NULL;
        size_t n = 0;

        return fd_read_file(AT_FDCWD, path, 64, &text, &n) == 0 && n > 0 && text[0] == wanted;
}

/* What can only be seen before confinement: facts about the node. */
static int containerd_acquire(void *context)
{
        Containerd *containerd = context;
        struct utsname name;
        char *end = NULL;

        if (uname(&name) < 0)
                return error_origin(negative_errno());
        (void)str_copy(containerd->hostname, sizeof(containerd->hostname), name.nodename);
        unsigned long major = strtoul(name.release, &end, 10);
        unsigned long minor = *end == '.' ? strtoul(end + 1, NULL, 10) : 0;
        containerd->runtimes.has_mount_setattr = major > 5 || (major == 5 && minor >= 12);
        containerd->has_apparmor = containerd_file_begins("/sys/module/apparmor/parameters/enabled", 'Y');
        containerd->has_selinux = containerd_file_begins("/sys/fs/selinux/policyvers", '3');
        return 0;
}

static int containerd_ready(void *context)
{
        Containerd *containerd = context;
        Service *service = containerd->service;

        containerd->base = service_loop(service);
        containerd->common = service_config(service);
        containerd->config = service_section(service, sizeof(ConfigContainerd));
        containerd->imaged = service_channel(service, EDGE_CONTAINERD_IMAGED);
        containerd->sandboxd = service_channel(service, EDGE_CONTAINERD_SANDBOXD);
        containerd->setup = service_channel(service, EDGE_CONTAINERD_SETUP);
        containerd->launch = service_channel(service, EDGE_CONTAINERD_LAUNCH);
        containerd->gatewayd = service_channel(service, EDGE_GATEWAYD_CONTAINERD);
        containerd->logd = service_channel(service, EDGE_CONTAINERD_LOGD);
        containerd->streamd = service_channel(service, EDGE_STREAMD_CONTAINERD);
        int r = container_store_open(&containerd->store, CONTAINERD_DATABASE, containerd->common->boot_id);
        if (r > 0)
                r = store_log_refused(r, "containers");
        if (r == 0)
                r = containerd_begin(containerd);
        if (r == 0)
                store_log_opened(containerd->store.store, "containers");
        return r < 0 ? fold(r) : 0;
}

static void containerd_quiet(void *context)
{
        Containerd *containerd = context;

        store_shrink(containerd->store.store);
}

static void containerd_release(void *context)
{
        containerd_end(context);
}

int main(int argc, char **argv)
{
        static const ChannelHandler gatewayd[] = {EDGE_GATEWAYD_CONTAINERD_HANDLERS_B};
        static const ChannelHandler streamd[] = {EDGE_STREAMD_CONTAINERD_HANDLERS_B};
        static const ChannelHandler sandboxd[] = {EDGE_CONTAINERD_SANDBOXD_HANDLERS_A};
        static const ChannelHandler launch[] = {EDGE_CONTAINERD_LAUNCH_HANDLERS_A};
        static const ChannelHandler logd[] = {EDGE_CONTAINERD_LOGD_HANDLERS_A};
        static const ServiceEdge edges[] = {
                {.schema = &edge_schema_gatewayd_containerd, .handlers = gatewayd, .on_cancelled = containerd_on_cancelled,
                 .on_changed = containerd_on_gatewayd},
                {.schema = &edge_schema_streamd_containerd, .handlers = streamd, .on_cancelled = containerd_on_session_cancelled,
                 .on_changed = containerd_on_streamd},
                {.schema = &edge_schema_containerd_sandboxd, .handlers = sandboxd, .on_cancelled = containerd_on_pod_cancelled},
                {.schema = &edge_schema_containerd_imaged},
                {.schema = &edge_schema_containerd_setup},
                {.schema = &edge_schema_containerd_launch, .handlers = launch},
                {.schema = &edge_schema_containerd_logd, .handlers = logd, .on_changed = containerd_on_logd},
        };
        static const ServiceSpec spec = {
                .process = PROCESS_CONTAINERD,
                .context_size = sizeof(Containerd),
                .is_prompt = true,
                .edges = edges,
                .n_edges = ARRAY_SIZE(edges),
                .acquire = containerd_acquire,
                .ready = containerd_ready,
                .release = containerd_release,
                .quiet = containerd_quiet,
        };
        return service_main(&spec, argc, argv);
}
