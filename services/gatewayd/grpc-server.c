/* SPDX-License-Identifier: Apache-2.0 */

/* The listener and what all connections share. */

#include "services/gatewayd/grpc-server.h"

#include "lib/error.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "services/gatewayd/h2-connection.h"

#include <assert.h>
#include <event2/event.h>
#include <sys/socket.h>

#define GRPC_ACCEPT_ROUNDS 16
#define GRPC_EVICT_USEC USEC_PER_SEC
#define GRPC_LOG_BURST 20
#define GRPC_LOG_PER_SEC 1

static struct timeval grpc_server_timeval(uint64_t usec)
{
        return (struct timeval){
                .tv_sec = (time_t)(usec / USEC_PER_SEC),
                .tv_usec = (suseconds_t)(usec % USEC_PER_SEC),
        };
}

void grpc_server_check(GrpcServer *server, int r)
{
        if (r < 0)
                server->handlers.on_failure(server->userdata, fold(r));
}

void grpc_server_log(GrpcServer *server, const H2Connection *c, const char *what)
{
        if (!bucket_take(&server->log_bucket, 1, clock_monotonic_usec())) {
                server->n_unlogged++;
                return;
        }
        if (server->n_unlogged > 0)
                log_warning("CRI clients caused %llu more lines that were not logged",
                            (unsigned long long)server->n_unlogged);
        server->n_unlogged = 0;
        log_warning("CRI client pid=%d uid=%u: connection closed: %s", (int)c->peer_pid, (unsigned)c->peer_uid, what);
}

/* ---- time ---- */

static uint64_t grpc_server_tick_usec(const GrpcServer *server)
{
        const GrpcLimits *l = &server->limits;
        uint64_t shortest = MIN2(l->frame_usec, MIN2(l->request_usec, l->stall_usec));
        return MAX2(MIN2(shortest / 4, USEC_PER_SEC), UINT64_C(20000));
}

/* The tick runs only while something can time out: an idle server never wakes up. */
void grpc_server_arm_tick(GrpcServer *server)
{
        if (event_pending(server->tick_event, EV_TIMEOUT, NULL))
                return;
        struct timeval tv = grpc_server_timeval(grpc_server_tick_usec(server));
        (void)event_add(server->tick_event, &tv);
}

static void grpc_server_on_tick(evutil_socket_t fd, short what, void *userdata)
{
        GrpcServer *server = userdata;
        uint64_t now_usec = clock_monotonic_usec();
        bool is_busy = false;

        /* Ticks mark and kick, they free nothing. */
        list_for_each(i, &server->connections)
                h2_connection_tick(container_of(i, H2Connection, link), now_usec, &is_busy);
        if (is_busy)
                grpc_server_arm_tick(server);
}

/* ---- connections ---- */

/* Makes room by closing the connection that was idle longest; clients reconnect by themselves. */
static bool grpc_server_evict(GrpcServer *server)
{
        uint64_t now_usec = clock_monotonic_usec();
        H2Connection *oldest = NULL;

        list_for_each(i, &server->connections)
        {
                H2Connection *c = container_of(i, H2Connection, link);
                if (c->n_calls == 0 && c->active_usec + GRPC_EVICT_USEC < now_usec &&
                    (!oldest || c->active_usec < oldest->active_usec))
                        oldest = c;
        }
        if (!oldest)
                return false;
        (void)h2_connection_free(oldest);
        return true;
}

int grpc_server_adopt(GrpcServer *server, int fd)
{
        _cleanup_fd_ int owned_fd = fd;
        H2Connection *c = NULL;

        if (server->is_draining)
                return 0;
        if (server->n_connections >= server->limits.max_connections && !grpc_server_evict(server)) {
                server->counters.n_refused++;
                return 0;
        }
        int r = fd_set_nonblock(owned_fd, true);
        if (r)
                return fold(r);
        r = h2_connection_new(&c, server, TAKE_FD(owned_fd));
        if (r)
                return fold(r);
        server->counters.n_accepted++;
        log_info("CRI client pid=%d uid=%u gid=%u connected", (int)c->peer_pid, (unsigned)c->peer_uid,
                  (unsigned)c->peer_gid);
        return 0;
}

static void grpc_server_on_accept_retry(evutil_socket_t fd, short what, void *userdata)
{
        GrpcServer *server = userdata;
        if (server->listen_event)
                (void)event_add(server->listen_event, NULL);
}

static void grpc_server_on_accept(evutil_socket_t listen_fd, short what, void *userdata)
{
        GrpcServer *server = userdata;

        for (int i = 0; i < GRPC_ACCEPT_ROUNDS; i++) {
                int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
                if (fd >= 0) {
                        /* What goes wrong with one client (it left already, no memory) is no reason to stop. */
                        if (grpc_server_adopt(server, fd) < 0)
                                log_warning("CRI client not served: %s", error_trace());
                        continue;
                }
                if (errno == EINTR || errno == ECONNABORTED)
                        continue;
                if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                        struct timeval tv = grpc_server_timeval(USEC_PER_SEC);
                        (void)event_del(server->listen_event);
                        (void)event_add(server->accept_retry_event, &tv);
                } else if (errno != EAGAIN) {
                        grpc_server_check(server, error_origin(negative_errno()));
                }
                return;
        }
}

/* ---- drain ---- */

void grpc_server_forget(GrpcServer *server)
{
        if (!server->is_draining || server->is_drained || server->n_connections > 0)
                return;
        server->is_drained = true;
        (void)event_del(server->drain_event);
        if (server->handlers.on_drained)
                grpc_server_check(server, server->handlers.on_drained(server->userdata));
}

static void grpc_server_on_drain(evutil_socket_t fd, short what, void *userdata)
{
        GrpcServer *server = userdata;

        while (!list_is_empty(&server->connections))
                (void)h2_connection_free(container_of(server->connections.next, H2Connection, link));
        grpc_server_forget(server);
}

static void grpc_server_close_listener(GrpcServer *server)
{
        if (server->listen_event)
                event_free(server->listen_event);
        server->listen_event = NULL;
        server->listen_fd = fd_close(server->listen_fd);
}

void grpc_server_drain(GrpcServer *server, uint64_t deadline_usec)
{
        uint64_t now_usec = clock_monotonic_usec();
        struct timeval tv = grpc_server_timeval(deadline_usec > now_usec ? deadline_usec - now_usec : 0);

        if (server->is_draining)
                return;
        server->is_draining = true;
        grpc_server_close_listener(server);
        list_for_each(i, &server->connections) h2_connection_drain(container_of(i, H2Connection, link));
        if (server->n_connections == 0)
                event_active(server->drain_event, EV_TIMEOUT, 0);
        else if (deadline_usec != USEC_INFINITY)
                (void)event_add(server->drain_event, &tv);
}

/* ---- */

int grpc_server_new(GrpcServer **ret, struct event_base *base, int listen_fd, const GrpcHandlers *handlers,
                    const GrpcLimits *limits, void *userdata)
{
        _cleanup_(grpc_server_freep) GrpcServer *server = calloc(1, sizeof(*server));
        if (!server)
                return error_origin(-ENOMEM);

        server->base = base;
        server->handlers = *handlers;
        server->limits = limits ? *limits : GRPC_LIMITS_DEFAULT;
        server->userdata = userdata;
        server->listen_fd = -1;
        server->memory.limit_bytes = server->limits.memory_bytes;
        list_init(&server->connections);
        list_init(&server->orphans);
        bucket_init(&server->log_bucket, GRPC_LOG_BURST, GRPC_LOG_PER_SEC, clock_monotonic_usec());
        server->tick_event = evtimer_new(base, grpc_server_on_tick, server);
        server->drain_event = evtimer_new(base, grpc_server_on_drain, server);
        server->accept_retry_event = evtimer_new(base, grpc_server_on_accept_retry, server);
        if (!server->tick_event || !server->drain_event || !server->accept_retry_event)
                return error_origin(-ENOMEM);
        if (listen_fd >= 0) {
                int r = fd_set_nonblock(listen_fd, true);
                if (r)
                        return fold(r);
                server->listen_event = event_new(base, listen_fd, EV_READ | EV_PERSIST, grpc_server_on_accept, server);
                if (!server->listen_event || event_add(server->listen_event, NULL) < 0)
                        return error_origin(-ENOMEM);
                server->listen_fd = listen_fd;
        }
        *ret = TAKE_PTR(server);
        return 0;
}

GrpcServer *grpc_server_free(GrpcServer *server)
{
        if (!server)
                return NULL;

        server->is_drained = true; /* nobody wants to hear of it now */
        grpc_server_close_listener(server);
        while (!list_is_empty(&server->connections))
                (void)h2_connection_free(container_of(server->connections.next, H2Connection, link));
        assert(list_is_empty(&server->orphans) && server->n_calls == 0);
        assert(server->memory.used_bytes == 0);
        if (server->tick_event)
                event_free(server->tick_event);
        if (server->drain_event)
                event_free(server->drain_event);
        if (server->accept_retry_event)
                event_free(server->accept_retry_event);
        free(server);
        return NULL;
}
