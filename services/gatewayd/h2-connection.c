/* SPDX-License-Identifier: Apache-2.0 */

/* A connection's I/O. Everything that happens to it ends in h2_connection_settle(): it moves nghttp2's output to the
 * socket, sets the interest in events, and is the only place that frees a connection whose peer is at fault or gone.
 * All other functions leave a mark and kick.
 *
 * Back-pressure: when the peer does not take our output, nghttp2 is not asked for more beyond H2_OUTPUT_BYTES_MAX, and
 * the socket is not read, so nothing grows. */

#include "services/gatewayd/h2-connection.h"

#include "lib/error.h"

#include <assert.h>
#include <event2/event.h>
#include <sys/socket.h>

#define H2_OUTPUT_BYTES_MIN 4096
/* Rounds of reading or writing before others get their turn. */
#define H2_ROUNDS 16

static size_t h2_connection_pending(const H2Connection *c)
{
        return c->output_end - c->output_begin;
}

void h2_connection_kick(H2Connection *c)
{
        if (!c->is_dying)
                event_active(c->flush_event, EV_WRITE, 0);
}

void h2_connection_fault(H2Connection *c, const char *fault)
{
        if (!c->fault)
                c->fault = fault;
        h2_connection_kick(c);
}

void h2_connection_reset(H2Connection *c, int32_t stream_id, uint32_t error_code)
{
        if (nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, stream_id, error_code) < 0)
                h2_connection_fault(c, "memory limit");
        h2_connection_kick(c);
}

/* ---- output ---- */

static bool h2_connection_reserve(H2Connection *c, size_t n)
{
        size_t pending = h2_connection_pending(c);

        if (c->output_end + n <= c->output_size)
                return true;
        if (c->output_begin > 0) {
                memmove(c->output, c->output + c->output_begin, pending);
                c->output_begin = 0;
                c->output_end = pending;
        }
        size_t size = MAX2(c->output_size, (size_t)H2_OUTPUT_BYTES_MIN);
        while (size < pending + n)
                size *= 2;
        if (size == c->output_size)
                return true;
        if (!budget_charge(&c->memory, &c->buffers, size - c->output_size))
                return false;
        uint8_t *output = realloc(c->output, size);
        if (!output)
                return false;
        c->output = output;
        c->output_size = size;
        return true;
}

/* Lets nghttp2 serialise what it has, up to the mark. */
static void h2_connection_pump(H2Connection *c)
{
        while (h2_connection_pending(c) < H2_OUTPUT_BYTES_MAX) {
                const uint8_t *bytes;
                ssize_t n = nghttp2_session_mem_send(c->session, &bytes);

                if (n == 0)
                        return;
                if (n < 0 || !h2_connection_reserve(c, (size_t)n))
                        return h2_connection_fault(c, "memory limit");
                if (h2_connection_pending(c) == 0)
                        c->output_usec = clock_monotonic_usec();
                memcpy(c->output + c->output_end, bytes, (size_t)n);
                c->output_end += (size_t)n;
        }
}

/* True if the socket takes no more. */
static bool h2_connection_write(H2Connection *c)
{
        while (h2_connection_pending(c) > 0) {
                ssize_t n =
                        send(c->fd, c->output + c->output_begin, h2_connection_pending(c), MSG_NOSIGNAL | MSG_DONTWAIT);
                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        if (errno != EAGAIN)
                                c->is_gone = true;
                        return true;
                }
                c->output_begin += (size_t)n;
                c->output_usec = clock_monotonic_usec();
        }
        c->output_begin = 0;
        c->output_end = 0;
        return false;
}

/* An idle connection holds no buffers. */
static void h2_connection_trim(H2Connection *c)
{
        if (h2_connection_pending(c) > 0 || c->stash)
                return;
        free(c->output);
        c->output = NULL;
        c->output_size = 0;
        budget_release(&c->buffers);
}

/* ---- input ---- */

static void h2_connection_keep(H2Connection *c, const uint8_t *bytes, size_t n)
{
        assert(!c->stash);
        if (!budget_charge(&c->memory, &c->buffers, n))
                return h2_connection_fault(c, "memory limit");
        c->stash = malloc(n);
        if (!c->stash)
                return h2_connection_fault(c, "out of memory");
        memcpy(c->stash, bytes, n);
        c->n_stash = n;
}

static void h2_connection_punish(H2Connection *c)
{
        (void)nghttp2_session_terminate_session(c->session, NGHTTP2_ENHANCE_YOUR_CALM);
        h2_connection_pump(c);
        /* The reason that the log shows is this one, not the GOAWAY that went out. */
        c->fault = "flood";
        h2_connection_kick(c);
}

static void h2_connection_feed(H2Connection *c, const uint8_t *bytes, size_t n)
{
        uint64_t now_usec = clock_monotonic_usec();

        c->active_usec = now_usec;
        while (n > 0 && !c->fault) {
                size_t piece;

                if (h2_connection_pending(c) >= H2_OUTPUT_BYTES_MAX)
                        return h2_connection_keep(c, bytes, n);
                if (h2_meter_next(&c->meter, bytes, n, now_usec, &piece) == H2_METER_E_FLOOD)
                        return h2_connection_punish(c);
                h2_session_feed(c, bytes, piece);
                if (c->fault)
                        return;
                h2_connection_pump(c);
                if (!nghttp2_session_want_read(c->session))
                        return;
                bytes += piece;
                n -= piece;
                if (!h2_meter_is_partial(&c->meter))
                        c->partial_usec = 0;
                else if (c->partial_usec == 0)
                        c->partial_usec = now_usec;
        }
}

static void h2_connection_feed_stash(H2Connection *c)
{
        _cleanup_free_ uint8_t *stash = TAKE_PTR(c->stash);

        if (stash && h2_connection_pending(c) >= H2_OUTPUT_BYTES_MAX)
                c->stash = TAKE_PTR(stash);
        else if (stash)
                h2_connection_feed(c, stash, c->n_stash);
}

static void h2_connection_read(H2Connection *c)
{
        GrpcServer *server = c->server;

        for (int i = 0; i < H2_ROUNDS && !c->fault && !c->is_gone && !c->stash; i++) {
                ssize_t n = recv(c->fd, server->read_buffer, sizeof(server->read_buffer), MSG_DONTWAIT);
                if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
                        c->is_gone = true;
                if (n <= 0)
                        return;
                h2_connection_feed(c, server->read_buffer, (size_t)n);
                if (!c->fault && !nghttp2_session_want_read(c->session))
                        return;
                if ((size_t)n < sizeof(server->read_buffer))
                        return;
        }
}

/* ---- events ---- */

static void h2_connection_check_writable(H2Connection *c)
{
        for (c->cursor = c->calls.next; c->cursor != &c->calls;) {
                GrpcCall *call = container_of(c->cursor, GrpcCall, link);
                c->cursor = call->link.next;
                grpc_call_check_writable(call);
        }
        c->cursor = NULL;
}

static int h2_connection_watch(H2Connection *c)
{
        bool wants_read = !c->stash && h2_connection_pending(c) < H2_OUTPUT_BYTES_MAX;
        bool wants_write = h2_connection_pending(c) > 0;

        if ((wants_read ? event_add(c->read_event, NULL) : event_del(c->read_event)) < 0 ||
            (wants_write ? event_add(c->write_event, NULL) : event_del(c->write_event)) < 0)
                return error_origin(-ENOMEM);
        return 0;
}

/* May free the connection. */
static void h2_connection_settle(H2Connection *c)
{
        GrpcServer *server = c->server;
        bool is_blocked = false;
        int round = 0;

        for (; round < H2_ROUNDS && !is_blocked && !c->fault && !c->is_gone; round++) {
                h2_connection_pump(c);
                is_blocked = h2_connection_write(c);
                if (!c->fault && !c->is_gone)
                        h2_connection_feed_stash(c);
                if (h2_connection_pending(c) == 0 && !nghttp2_session_want_write(c->session))
                        break;
        }
        if (!c->fault && !c->is_gone)
                h2_connection_check_writable(c);

        bool is_finished = !nghttp2_session_want_read(c->session) && !nghttp2_session_want_write(c->session) &&
                           h2_connection_pending(c) == 0;
        if (c->fault) {
                (void)h2_connection_write(c); /* the GOAWAY that says why, if it fits */
                server->counters.n_violations++;
                grpc_server_log(server, c, c->fault);
        }
        if (c->fault || c->is_gone || is_finished || h2_connection_watch(c) < 0) {
                (void)h2_connection_free(c);
                return;
        }
        if (round == H2_ROUNDS)
                h2_connection_kick(c);
        h2_connection_trim(c);
        grpc_server_arm_tick(server);
}

static void h2_connection_on_readable(evutil_socket_t fd, short what, void *userdata)
{
        h2_connection_read(userdata);
        h2_connection_settle(userdata);
}

static void h2_connection_on_writable(evutil_socket_t fd, short what, void *userdata)
{
        h2_connection_settle(userdata);
}

void h2_connection_tick(H2Connection *c, uint64_t now_usec, bool *ret_busy)
{
        const GrpcLimits *limits = &c->server->limits;

        if (c->partial_usec && now_usec > c->partial_usec + limits->frame_usec)
                h2_connection_fault(c, "a frame did not arrive in time");
        if (h2_connection_pending(c) > 0 && now_usec > c->output_usec + limits->stall_usec)
                h2_connection_fault(c, "the client does not read");
        if (c->partial_usec || h2_connection_pending(c) > 0)
                *ret_busy = true;
        for (c->cursor = c->calls.next; c->cursor != &c->calls;) {
                GrpcCall *call = container_of(c->cursor, GrpcCall, link);
                c->cursor = call->link.next;
                if (grpc_call_tick(call, now_usec))
                        *ret_busy = true;
        }
        c->cursor = NULL;
        h2_connection_check_writable(c);
}

void h2_connection_drain(H2Connection *c)
{
        /* First a GOAWAY that refuses nothing; the PING's answer tells that the client has seen it (RFC 9113, 6.8). */
        (void)nghttp2_submit_shutdown_notice(c->session);
        (void)nghttp2_submit_ping(c->session, NGHTTP2_FLAG_NONE, NULL);
        h2_connection_kick(c);
}

int h2_connection_new(H2Connection **ret, GrpcServer *server, int fd)
{
        _cleanup_fd_ int owned_fd = fd;
        struct ucred peer;
        socklen_t size = sizeof(peer);

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
                return error_origin(negative_errno());

        _cleanup_(h2_connection_freep) H2Connection *c = calloc(1, sizeof(*c));
        if (!c)
                return error_origin(-ENOMEM);
        *c = H2_CONNECTION_INIT;
        c->server = server;
        c->fd = TAKE_FD(owned_fd);
        c->peer_pid = peer.pid;
        c->peer_uid = peer.uid;
        c->peer_gid = peer.gid;
        c->active_usec = clock_monotonic_usec();
        c->partial_usec = c->active_usec; /* the preface is due */
        c->memory = (Budget){.parent = &server->memory, .limit_bytes = server->limits.connection_memory_bytes};
        list_init(&c->calls);
        h2_meter_init(&c->meter, server->limits.flood_burst, server->limits.flood_per_sec, c->active_usec);
        list_append(&server->connections, &c->link);
        server->n_connections++;

        c->read_event = event_new(server->base, c->fd, EV_READ | EV_PERSIST, h2_connection_on_readable, c);
        c->write_event = event_new(server->base, c->fd, EV_WRITE | EV_PERSIST, h2_connection_on_writable, c);
        c->flush_event = event_new(server->base, -1, 0, h2_connection_on_writable, c);
        if (!c->read_event || !c->write_event || !c->flush_event || event_add(c->read_event, NULL) < 0)
                return error_origin(-ENOMEM);
        int r = h2_session_new(c);
        if (r)
                return fold(r);
        h2_connection_kick(c);
        grpc_server_arm_tick(server);
        *ret = TAKE_PTR(c);
        return 0;
}

H2Connection *h2_connection_free(H2Connection *c)
{
        if (!c)
                return NULL;

        GrpcServer *server = c->server;
        c->is_dying = true;
        while (!list_is_empty(&c->calls))
                grpc_call_orphan(container_of(c->calls.next, GrpcCall, link));
        nghttp2_session_del(c->session);
        if (c->read_event)
                event_free(c->read_event);
        if (c->write_event)
                event_free(c->write_event);
        if (c->flush_event)
                event_free(c->flush_event);
        free(c->output);
        free(c->stash);
        budget_release(&c->buffers);
        assert(c->memory.used_bytes == 0);
        c->fd = fd_close(c->fd);
        list_remove(&c->link);
        server->n_connections--;
        grpc_server_forget(server);
        free(c);
        return NULL;
}
