/* SPDX-License-Identifier: Apache-2.0 */
#include "services/streamd/leg.h"
#include "lib/error.h"
#include "lib/fd.h"
#include <event2/event.h>
#include <sys/socket.h>

static void leg_on_event(evutil_socket_t fd, short what, void *userdata);

int leg_init(Leg *leg, Connection *connection, int fd, bool duplex, const LegHandlers *handlers, void *owner, int kind)
{
        *leg = (Leg){
                .handlers = handlers,
                .connection = connection,
                .owner = owner,
                .kind = kind,
                .fd = fd,
                .duplex = duplex,
        };
        int r = fd_set_nonblock(fd, true);
        if (r)
                return fold(r);
        leg->read_event =
                event_new(service_loop(connection->streamd->service), fd, EV_READ | EV_PERSIST, leg_on_event, leg);
        return leg->read_event ? 0 : error_origin(-ENOMEM);
}

/* The queue has n bytes fewer, n_waiting of the connection with it. */
static void leg_drop(Leg *leg, size_t n)
{
        leg->connection->n_in_waiting -= n;
        byte_queue_consume(&leg->queue, n);
}

static void leg_close(Leg *leg)
{
        if (leg->read_event)
                event_free(leg->read_event);
        if (leg->write_event)
                event_free(leg->write_event);
        leg->read_event = leg->write_event = NULL;
        leg->fd = fd_close(leg->fd);
}

void leg_done(Leg *leg)
{
        if (byte_queue_length(&leg->queue) > 0)
                leg_drop(leg, byte_queue_length(&leg->queue));
        leg_close(leg);
}

void leg_set_reading(Leg *leg, bool reading)
{
        if (!leg->read_event || leg->eof)
                return;
        if (reading ? event_add(leg->read_event, NULL) < 0 : event_del(leg->read_event) < 0)
                service_fail(leg->connection->streamd->service, -ENOMEM);
}

static int leg_on_end(Leg *leg)
{
        if (leg->eof)
                return 0;
        leg_set_reading(leg, false);
        leg->eof = true;
        if (!leg->duplex || leg->shut)
                leg_close(leg);
        int r = leg->handlers->on_eof(leg);
        return r ? fold(r) : 0;
}

int leg_read(Leg *leg)
{
        uint8_t bytes[STREAMD_READ_BYTES];
        ssize_t n = leg->eof ? 0 : read(leg->fd, bytes, sizeof(bytes));

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return LEG_E_DRY;
        if (n <= 0) {
                int r = leg_on_end(leg); /* a terminal whose other side is closed ends with EIO */
                return r ? fold(r) : LEG_E_END;
        }
        leg->connection->traffic_usec = clock_monotonic_usec();
        int r = leg->handlers->on_bytes(leg, bytes, (size_t)n);
        return r ? fold(r) : 0;
}

static int leg_shut(Leg *leg)
{
        if (leg->shut)
                return 0;
        if (byte_queue_length(&leg->queue) > 0)
                leg_drop(leg, byte_queue_length(&leg->queue));
        leg->shut = true;
        if (leg->duplex && !leg->eof)
                (void)shutdown(leg->fd, SHUT_WR);
        else
                leg_close(leg);
        int r = leg->handlers->on_shut ? leg->handlers->on_shut(leg) : 0;
        return r ? fold(r) : 0;
}

static int leg_wait_writable(Leg *leg)
{
        if (!leg->write_event)
                leg->write_event = event_new(service_loop(leg->connection->streamd->service), leg->fd, EV_WRITE,
                                             leg_on_event, leg);
        return leg->write_event && event_add(leg->write_event, NULL) == 0 ? 0 : error_origin(-ENOMEM);
}

/* Bytes that were written, which may be none; -1: nobody will read them. */
static ssize_t leg_write_some(Leg *leg, const uint8_t *bytes, size_t n)
{
        ssize_t written = write(leg->fd, bytes, n);

        if (written < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        if (written > 0)
                leg->connection->traffic_usec = clock_monotonic_usec();
        return written;
}

static int leg_on_writable(Leg *leg)
{
        ssize_t n = leg_write_some(leg, byte_queue_head(&leg->queue), byte_queue_length(&leg->queue));

        if (n > 0)
                leg_drop(leg, (size_t)n);
        if (n < 0 || (leg->ending && byte_queue_length(&leg->queue) == 0))
                return leg_shut(leg);
        return byte_queue_length(&leg->queue) > 0 ? leg_wait_writable(leg) : 0;
}

int leg_write(Leg *leg, const uint8_t *bytes, size_t n)
{
        if (leg->shut || leg->ending)
                return 0;
        if (byte_queue_length(&leg->queue) == 0) {
                ssize_t written = leg_write_some(leg, bytes, n);
                if (written < 0)
                        return leg_shut(leg);
                bytes += written;
                n -= (size_t)written;
        }
        if (n == 0)
                return 0;
        int r = byte_queue_append(&leg->queue, bytes, n);
        if (r)
                return fold(r);
        leg->connection->n_in_waiting += n;
        return leg_wait_writable(leg);
}

int leg_end(Leg *leg)
{
        leg->ending = true;
        return byte_queue_length(&leg->queue) == 0 ? leg_shut(leg) : 0;
}

static void leg_on_event(evutil_socket_t fd, short what, void *userdata)
{
        Leg *leg = userdata;
        Connection *connection = leg->connection;
        int r;

        if (what & EV_WRITE) {
                r = leg_on_writable(leg);
        } else {
                r = leg_read(leg);
                if (r > 0)
                        r = 0;
        }
        connection_settle(connection, r);
}
