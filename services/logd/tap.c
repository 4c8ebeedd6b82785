/* SPDX-License-Identifier: Apache-2.0 */
#include "services/logd/tap.h"

#include <event2/event.h>
#include <signal.h>

#include "lib/error.h"
#include "lib/fd.h"

void tap_table_init(TapTable *table, struct event_base *base, void (*on_lost)(void *userdata, const Tap *tap), void *userdata)
{
        *table = (TapTable){.base = base, .on_lost = on_lost, .userdata = userdata};
        list_init(&table->lingering);
}

void tap_table_done(TapTable *table)
{
        if (!table->base)
                return;
        list_for_each_safe(i, n, &table->lingering)
                (void)tap_free(container_of(i, Tap, link));
}

static void tap_pipe_forget(TapPipe *pipe)
{
        pipe->tap->table->n_kept -= pipe->n_allocated;
        free(TAKE_PTR(pipe->kept));
        pipe->at = pipe->n = pipe->n_allocated = 0;
}

static void tap_pipe_close(TapPipe *pipe)
{
        if (pipe->event)
                event_free(TAKE_PTR(pipe->event));
        tap_pipe_forget(pipe);
        pipe->fd = fd_close(pipe->fd);
}

Tap *tap_free(Tap *tap)
{
        if (!tap)
                return NULL;
        for (unsigned i = 0; i < TAP_STREAMS; i++)
                tap_pipe_close(&tap->pipes[i]);
        if (tap->deadline)
                event_free(tap->deadline);
        list_remove(&tap->link);
        free(tap);
        return NULL;
}

static bool tap_is_closed(const Tap *tap)
{
        return tap->pipes[0].fd < 0 && tap->pipes[1].fd < 0;
}

/* Everything was written that it shall get. */
static bool tap_is_done(const Tap *tap)
{
        return tap_is_closed(tap) || (tap->pipes[0].n == 0 && tap->pipes[1].n == 0);
}

/* What the pipe takes now; less than n: it is full, or was closed by the client. */
static size_t tap_pipe_push(TapPipe *pipe, const uint8_t *bytes, size_t n)
{
        size_t done = 0;

        while (done < n) {
                ssize_t written = write(pipe->fd, bytes + done, n - done);
                if (written > 0) {
                        done += (size_t)written;
                        continue;
                }
                if (written < 0 && errno == EINTR)
                        continue;
                if (written < 0 && errno != EAGAIN)
                        tap_pipe_close(pipe);
                break;
        }
        return done;
}

static size_t tap_kept(const List *taps)
{
        size_t n = 0;

        list_for_each(i, taps) {
                const Tap *tap = container_of(i, Tap, link);
                n += tap->pipes[0].n_allocated + tap->pipes[1].n_allocated;
        }
        return n;
}

static bool tap_pipe_reserve(const List *taps, TapPipe *pipe, size_t n)
{
        TapTable *table = pipe->tap->table;

        if (pipe->at > 0 && pipe->at + pipe->n + n > pipe->n_allocated) {
                memmove(pipe->kept, pipe->kept + pipe->at, pipe->n);
                pipe->at = 0;
        }
        if (pipe->n + n <= pipe->n_allocated)
                return true;
        size_t kept_here = tap_kept(taps);
        size_t left = MIN2(TAP_KEPT_ALL_MAX - table->n_kept, TAP_KEPT_CONTAINER_MAX - MIN2(kept_here, TAP_KEPT_CONTAINER_MAX));
        size_t size = MIN2(MAX2(pipe->n_allocated * 2, pipe->n + n), MIN2(TAP_KEPT_MAX, pipe->n_allocated + left));
        if (pipe->n + n > size)
                return false;
        uint8_t *kept = realloc(pipe->kept, size);
        if (!kept)
                return false;
        table->n_kept += size - pipe->n_allocated;
        pipe->kept = kept;
        pipe->n_allocated = size;
        return true;
}

/* False: it cannot be kept. */
static bool tap_pipe_write(const List *taps, TapPipe *pipe, const uint8_t *bytes, size_t n)
{
        size_t done = pipe->n == 0 ? tap_pipe_push(pipe, bytes, n) : 0;

        if (pipe->fd < 0 || done == n)
                return true;
        if (!tap_pipe_reserve(taps, pipe, n - done))
                return false;
        memcpy(pipe->kept + pipe->at + pipe->n, bytes + done, n - done);
        pipe->n += n - done;
        return event_add(pipe->event, NULL) == 0;
}

static void tap_on_writable(evutil_socket_t fd, short what, void *userdata)
{
        TapPipe *pipe = userdata;
        Tap *tap = pipe->tap;

        (void)fd;
        (void)what;
        size_t done = tap_pipe_push(pipe, pipe->kept + pipe->at, pipe->n);
        if (pipe->fd >= 0) {
                pipe->at += done;
                pipe->n -= done;
                if (pipe->n > 0)
                        (void)event_add(pipe->event, NULL);
                else
                        tap_pipe_forget(pipe);
        }
        if (tap_is_closed(tap) || (tap->deadline && tap_is_done(tap)))
                (void)tap_free(tap);
}

static void tap_on_deadline(evutil_socket_t fd, short what, void *userdata)
{
        (void)fd;
        (void)what;
        (void)tap_free(userdata);
}

int tap_new(TapTable *table, List *taps, const char *container_id, const char *session_id, const int fds[TAP_STREAMS])
{
        Tap *tap = calloc(1, sizeof(*tap));
        int r = 0;

        if (!tap) {
                for (unsigned i = 0; i < TAP_STREAMS; i++)
                        (void)fd_close(fds[i]);
                return error_origin(-ENOMEM);
        }
        tap->table = table;
        (void)str_copy(tap->container_id, sizeof(tap->container_id), container_id);
        (void)str_copy(tap->session_id, sizeof(tap->session_id), session_id);
        list_append(taps, &tap->link);
        for (unsigned i = 0; i < TAP_STREAMS; i++)
                tap->pipes[i] = (TapPipe){.tap = tap, .fd = fds[i]};
        for (unsigned i = 0; i < TAP_STREAMS && r == 0; i++) {
                TapPipe *pipe = &tap->pipes[i];
                if (pipe->fd < 0)
                        continue;
                r = fd_set_nonblock(pipe->fd, true);
                if (r == 0)
                        pipe->event = event_new(table->base, pipe->fd, EV_WRITE, tap_on_writable, pipe);
                if (r == 0 && !pipe->event)
                        r = error_origin(-ENOMEM);
        }
        if (r < 0) {
                (void)tap_free(tap);
                return fold(r);
        }
        return 0;
}

Tap *tap_find(List *taps, const char *session_id)
{
        list_for_each(i, taps) {
                Tap *tap = container_of(i, Tap, link);
                if (str_equal(tap->session_id, session_id))
                        return tap;
        }
        return NULL;
}

void tap_write(List *taps, unsigned stream, const uint8_t *bytes, size_t n)
{
        list_for_each_safe(i, next, taps) {
                Tap *tap = container_of(i, Tap, link);
                TapPipe *pipe = &tap->pipes[stream];
                if (pipe->fd < 0)
                        continue;
                bool is_kept = tap_pipe_write(taps, pipe, bytes, n);
                if (!is_kept)
                        tap->table->on_lost(tap->table->userdata, tap);
                if (!is_kept || tap_is_closed(tap))
                        (void)tap_free(tap);
        }
}

static bool tap_keeps(const Tap *tap, size_t kept_bytes)
{
        return tap->pipes[0].n > kept_bytes || tap->pipes[1].n > kept_bytes;
}

bool tap_is_behind(const List *taps, size_t kept_bytes)
{
        list_for_each(i, taps)
                if (tap_keeps(container_of(i, Tap, link), kept_bytes))
                        return true;
        return false;
}

void tap_let_go(List *taps, size_t kept_bytes)
{
        list_for_each_safe(i, next, taps) {
                Tap *tap = container_of(i, Tap, link);
                if (!tap_keeps(tap, kept_bytes))
                        continue;
                tap->table->on_lost(tap->table->userdata, tap);
                (void)tap_free(tap);
        }
}

void tap_end(List *taps)
{
        const struct timeval after = {.tv_sec = TAP_LINGER_SEC};

        list_for_each_safe(i, next, taps) {
                Tap *tap = container_of(i, Tap, link);
                if (!tap_is_done(tap))
                        tap->deadline = event_new(tap->table->base, -1, 0, tap_on_deadline, tap);
                if (!tap->deadline || event_add(tap->deadline, &after) < 0) {
                        (void)tap_free(tap);
                        continue;
                }
                list_remove(&tap->link);
                list_append(&tap->table->lingering, &tap->link);
        }
}

void tap_move(List *to, List *from)
{
        list_for_each_safe(i, next, from) {
                Tap *tap = container_of(i, Tap, link);
                list_remove(&tap->link);
                list_append(to, &tap->link);
        }
}
