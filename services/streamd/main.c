/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc/edges/streamd-containerd.pb-c.h"
#include "ipc/edges/streamd-containerd.rows.h"
#include "ipc/edges/streamd-sandboxd.pb-c.h"
#include "ipc/edges/streamd-sandboxd.rows.h"
#include "lib/error.h"
#include "lib/log.h"
#include "lib/strings.h"
#include "services/streamd/forward.h"
#include "services/streamd/opening.h"
#include "services/streamd/session.h"
#include <event2/event.h>
#include <sys/socket.h>

static int on_session_ended(void *userdata, Frame *frame)
{
        Streamd *streamd = userdata;
        const Bulkhead__StreamdContainerd__SessionEnded *ended =
                (const Bulkhead__StreamdContainerd__SessionEnded *)frame->message;

        /* One whose client left meanwhile is not found. */
        list_for_each(i, &streamd->sessions) {
                Session *session = container_of(i, Session, link);
                if (!str_equal(session->id, ended->session_id))
                        continue;
                Connection *connection = session->connection;
                connection_settle(connection, session_on_ended(session, ended->exit_code, ended->error));
                break;
        }
        return 0;
}

static int on_forward_ended(void *userdata, Frame *frame)
{
        Streamd *streamd = userdata;
        const Bulkhead__StreamdSandboxd__ForwardEnded *ended = (const Bulkhead__StreamdSandboxd__ForwardEnded *)frame->message;

        list_for_each(i, &streamd->forwards) {
                Forward *forward = container_of(i, Forward, link);
                if (!str_equal(forward->id, ended->session_id))
                        continue;
                Connection *connection = forward->connection;
                connection_settle(connection, forward_on_ended(forward, ended->error));
                break;
        }
        return 0;
}

/* The owner hears of every session that it may know: it may be one that was started anew. */
static void streamd_on_containerd(void *userdata, Channel *channel, bool connected)
{
        Bulkhead__StreamdContainerd__SessionsTold told = BULKHEAD__STREAMD_CONTAINERD__SESSIONS_TOLD__INIT;
        Streamd *streamd = userdata;
        int r = 0;

        if (!streamd->listener_event)
                return;
        list_for_each_safe(i, next, &streamd->sessions) {
                Session *session = container_of(i, Session, link);
                if (connected) {
                        r = r ? r : session_resume(session);
                } else {
                        session_on_owner_lost(session);
                        connection_settle(session->connection, 0);
                }
        }
        if (connected && r == 0)
                r = channel_event(channel, ROW_STREAMD_CONTAINERD_SESSIONS_TOLD, &told.base);
        if (r < 0)
                service_fail(streamd->service, fold(r));
}

static void streamd_on_sandboxd(void *userdata, Channel *channel, bool connected)
{
        Bulkhead__StreamdSandboxd__ForwardsTold told = BULKHEAD__STREAMD_SANDBOXD__FORWARDS_TOLD__INIT;
        Streamd *streamd = userdata;
        int r = 0;

        if (!connected || !streamd->listener_event)
                return;
        list_for_each(i, &streamd->forwards)
                r = r ? r : forward_resume(container_of(i, Forward, link));
        if (r == 0)
                r = channel_event(channel, ROW_STREAMD_SANDBOXD_FORWARDS_TOLD, &told.base);
        if (r < 0)
                service_fail(streamd->service, fold(r));
}

static const ChannelHandler streamd_containerd_handlers[] = {EDGE_STREAMD_CONTAINERD_HANDLERS_A};
static const ChannelHandler streamd_sandboxd_handlers[] = {EDGE_STREAMD_SANDBOXD_HANDLERS_A};

static const ServiceEdge streamd_edges[] = {
        {.schema = &edge_schema_streamd_containerd, .handlers = streamd_containerd_handlers, .on_changed = streamd_on_containerd},
        {.schema = &edge_schema_streamd_sandboxd, .handlers = streamd_sandboxd_handlers, .on_changed = streamd_on_sandboxd},
};

static void streamd_on_listener(evutil_socket_t fd, short what, void *userdata)
{
        Streamd *streamd = userdata;

        /* When all that are here are served, the others wait in the backlog until one of them ends. */
        if (streamd->n_connections >= STREAM_CLIENTS_MAX && !connection_make_room(streamd)) {
                (void)event_del(streamd->listener_event);
                return;
        }
        int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        /* A client that left again is its own affair, as is a shortage of fds that passes. */
        if (client < 0)
                return;
        int r = connection_new(streamd, client);
        if (r)
                service_fail(streamd->service, fold(r));
}

int streamd_update_listener(Streamd *streamd)
{
        if (!streamd->listener_event)
                return 0;
        return event_add(streamd->listener_event, NULL) < 0 ? error_origin(-ENOMEM) : 0;
}

/* The library is loaded while memory may still become executable. */
static int streamd_acquire(void *context)
{
        Streamd *streamd = context;

        streamd->config = service_section(streamd->service, sizeof(*streamd->config));
        int r = streamd->config->tls ? tls_server_load(&streamd->tls) : 0;
        return r ? fold(r) : 0;
}

static int streamd_configure_tls(Streamd *streamd)
{
        _cleanup_fd_ int certificate_fd = service_take_fd(streamd->service, "tls-cert");
        _cleanup_fd_ int key_fd = service_take_fd(streamd->service, "tls-key");
        int r = streamd->tls ? tls_server_configure(streamd->tls, certificate_fd, key_fd) : 0;

        return r ? fold(r) : 0;
}

static int streamd_ready(void *context)
{
        Streamd *streamd = context;

        list_init(&streamd->connections);
        list_init(&streamd->sessions);
        list_init(&streamd->forwards);
        list_init(&streamd->openings);
        int r = streamd_configure_tls(streamd);
        if (r)
                return fold(r);
        streamd->listener_fd = service_take_fd(streamd->service, "stream");
        if (streamd->listener_fd < 0)
                return error_origin(-EBADF);
        streamd->listener_event = event_new(service_loop(streamd->service), streamd->listener_fd, EV_READ | EV_PERSIST,
                                            streamd_on_listener, streamd);
        if (!streamd->listener_event)
                return error_origin(-ENOMEM);
        r = streamd_update_listener(streamd);
        if (r)
                return fold(r);
        service_set_state(streamd->service, ROW_STATE_READY);
        return 0;
}

/* A reload may have opened the files anew; what else is configured is looked at where it is used. */
static int streamd_reload(void *context)
{
        Streamd *streamd = context;
        _cleanup_fd_ int certificate_fd = service_take_fd(streamd->service, "tls-cert");
        _cleanup_fd_ int key_fd = service_take_fd(streamd->service, "tls-key");

        if (!streamd->tls || certificate_fd < 0 || key_fd < 0)
                return 0;
        int r = tls_server_configure(streamd->tls, certificate_fd, key_fd);
        if (r == 0)
                log_info("stream: the certificate and its key were read anew: clients that come from now on get them");
        else if (r == -EINVAL)
                log_error("stream: the certificate and the key of before stay in use: correct the files and reload, for a streamd that is "
                          "started anew could not use them");
        return r == 0 || r == -EINVAL ? 0 : fold(r);
}

static void streamd_release(void *context)
{
        Streamd *streamd = context;

        if (!streamd->listener_event) {
                streamd->tls = tls_server_free(streamd->tls);
                return;
        }
        event_free(streamd->listener_event);
        streamd->listener_event = NULL;
        streamd->listener_fd = fd_close(streamd->listener_fd);
        list_for_each_safe(i, next, &streamd->connections)
                (void)connection_free(container_of(i, Connection, link));
        openings_free(streamd);
        streamd->tls = tls_server_free(streamd->tls);
}

int main(int argc, char **argv)
{
        static const ServiceSpec spec = {
                .process = PROCESS_STREAMD,
                .context_size = sizeof(Streamd),
                .edges = streamd_edges,
                .n_edges = ARRAY_SIZE(streamd_edges),
                .acquire = streamd_acquire,
                .ready = streamd_ready,
                .release = streamd_release,
                .reload = streamd_reload,
        };
        return service_main(&spec, argc, argv);
}
