/* SPDX-License-Identifier: Apache-2.0 */

/* What goes out. A frame is sent at once if nothing waits before it; else it is copied into the queue, which the write
 * event empties. A payload that needs a memfd gets it here, once. */

#include "ipc/channel-internal.h"
#include "lib/error.h"

#include <fcntl.h>
#include <linux/sock_diag.h>
#include <sys/socket.h>

static bool channel_may_send(Channel *channel, const WireHeader *header)
{
        uint32_t memory[SK_MEMINFO_VARS] = {0};
        socklen_t size = sizeof(memory);

        if (!(header->flags & WIRE_FLAG_MEMFD) || channel->flight_bytes == 0)
                return true;
        if (getsockopt(channel->fd, SOL_SOCKET, SO_MEMINFO, memory, &size) == 0 && memory[SK_MEMINFO_WMEM_ALLOC] == 0)
                channel->flight_bytes = 0;
        return channel->flight_bytes + header->length <= CHANNEL_FLIGHT_BYTES_MAX;
}

static int channel_transmit(Channel *channel, const WireHeader *header, const void *payload, const int *fds,
                            size_t n_fds)
{
        int r = wire_send_frame(channel->fd, header, payload, fds, n_fds);

        if (r == 0 && (header->flags & WIRE_FLAG_MEMFD))
                channel->flight_bytes += header->length;
        return r < 0 ? fold(r) : r;
}

void channel_on_flight(evutil_socket_t fd, short events, void *userdata)
{
        (void)fd;
        (void)events;
        channel_queue_pump(userdata);
}

ChannelOut *channel_out_free(Channel *channel, ChannelOut *out)
{
        list_remove(&out->link);
        channel->n_queued--;
        channel->queued_bytes -= out->header.length;
        if (out->call)
                out->call->out = NULL;
        for (size_t i = 0; i < out->n_fds; i++)
                out->fds[i] = fd_close(out->fds[i]);
        free(out->payload);
        free(out);
        return NULL;
}

void channel_queue_lose(Channel *channel)
{
        list_for_each_safe(i, next, &channel->queue)
        {
                ChannelOut *out = container_of(i, ChannelOut, link);

                if (!out->call)
                        channel_out_free(channel, out);
        }
}

static int channel_queue_append(Channel *channel, const WireHeader *header, const void *payload, const int *fds,
                                size_t n_fds, ChannelCall *call)
{
        bool in_memfd = header->flags & WIRE_FLAG_MEMFD;
        ChannelOut *out;

        if (channel->n_queued >= CHANNEL_QUEUE_FRAMES_MAX ||
            header->length > CHANNEL_QUEUE_BYTES_MAX - channel->queued_bytes)
                return CHANNEL_E_FULL;
        out = calloc(1, sizeof(*out));
        if (!out)
                return error_origin(-ENOMEM);
        out->header = *header;
        out->call = call;
        list_append(&channel->queue, &out->link);
        channel->n_queued++;
        channel->queued_bytes += header->length;
        if (!in_memfd) {
                out->payload = malloc((size_t)header->length + 1);
                if (!out->payload) {
                        channel_out_free(channel, out);
                        return error_origin(-ENOMEM);
                }
                memcpy(out->payload, payload, header->length);
        }
        for (; out->n_fds < n_fds; out->n_fds++) {
                out->fds[out->n_fds] = fcntl(fds[out->n_fds], F_DUPFD_CLOEXEC, 3);
                if (out->fds[out->n_fds] < 0) {
                        channel_out_free(channel, out);
                        return CHANNEL_E_FULL;
                }
        }
        if (channel->fd >= 0 && event_add(channel->write_event, NULL) < 0) {
                channel_out_free(channel, out);
                return error_origin(-ENOMEM);
        }
        if (call)
                call->out = out;
        return 0;
}

/* 0: the peer has it. CHANNEL_E_FULL: not now, or the peer is gone (and dropped). */
static int channel_send_now(Channel *channel, const WireHeader *header, const void *payload, const int *fds,
                            size_t n_fds)
{
        int r;

        if (channel->fd < 0 || !list_is_empty(&channel->queue) || !channel_may_send(channel, header))
                return CHANNEL_E_FULL;
        r = channel_transmit(channel, header, payload, fds, n_fds);
        if (r == 0)
                return 0;
        /* ETOOMANYREFS, ENOMEM: the kernel cannot hold what this peer has not taken. */
        if (r != WIRE_E_AGAIN)
                channel_drop(channel, r < 0 ? strerror(-r) : wire_outcome_name(r));
        return CHANNEL_E_FULL;
}

int channel_send(Channel *channel, const MessageRow *row, uint16_t flags, uint32_t request_id, const void *payload,
                 size_t n, const int *fds, size_t n_fds, ChannelCall *call)
{
        WireHeader header = {
                        .magic = WIRE_MAGIC,
                        .id = row->id,
                        .flags = flags,
                        .length = (uint32_t)n,
                        .request_id = request_id,
        };
        int all_fds[WIRE_FDS_MAX + 1];
        _cleanup_fd_ int memfd = -1;
        int r;

        if (channel->fd < 0 && !call)
                return 0;
        if (n_fds > WIRE_FDS_MAX)
                return error_origin(-EINVAL);
        if (n > WIRE_PAYLOAD_MAX) {
                r = fd_memfd_sealed("bulkhead-frame", payload, n, &memfd);
                if (r < 0) {
                        if (call)
                                return CHANNEL_E_FULL;
                        channel_drop(channel, "no memory file for a large frame");
                        return 0;
                }
                header.flags |= WIRE_FLAG_MEMFD;
                all_fds[0] = memfd;
                if (n_fds > 0)
                        memcpy(&all_fds[1], fds, n_fds * sizeof(int));
                fds = all_fds;
                n_fds++;
        }
        r = channel_send_now(channel, &header, payload, fds, n_fds);
        if (r == 0) {
                if (call)
                        call->state = CALL_STATE_SENT;
                return 0;
        }
        if (channel->fd < 0 && !call)
                return 0;
        r = channel_queue_append(channel, &header, payload, fds, n_fds, call);
        if (r == CHANNEL_E_FULL && !call) {
                channel_drop(channel, "the peer does not read");
                return 0;
        }
        return r < 0 ? fold(r) : r;
}

void channel_queue_pump(Channel *channel)
{
        while (channel->fd >= 0 && !list_is_empty(&channel->queue)) {
                ChannelOut *out = list_first(&channel->queue, ChannelOut, link);
                int r;

                if (!channel_may_send(channel, &out->header)) {
                        const struct timeval after = {.tv_usec = CHANNEL_FLIGHT_RETRY_USEC};

                        if (event_add(channel->flight_event, &after) < 0)
                                channel_fail(channel, error_origin(-ENOMEM));
                        return;
                }
                r = channel_transmit(channel, &out->header, out->payload, out->fds, out->n_fds);

                if (r == WIRE_E_AGAIN) {
                        if (event_add(channel->write_event, NULL) < 0)
                                channel_fail(channel, error_origin(-ENOMEM));
                        return;
                }
                if (r != 0) {
                        channel_drop(channel, r < 0 ? strerror(-r) : wire_outcome_name(r));
                        return;
                }
                if (out->call)
                        out->call->state = CALL_STATE_SENT;
                channel_out_free(channel, out);
        }
}
