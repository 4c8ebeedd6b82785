/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/shim-link.h"

#include "ipc/edges/containerd-shim.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/log.h"

#define SHIM_LINK_RESIZE_USEC (UINT64_C(10) * 1000000)

static int on_shim_exited(void *userdata, Frame *frame)
{
        const ShimLink *link = userdata;
        ShimLinkSpec spec = link->spec; /* the callback may free the link */

        int r = spec.on_exited(spec.userdata, frame->flat);
        if (r < 0)
                spec.fail(spec.fail_userdata, fold(r));
        return 0;
}

static void shim_link_on_changed(void *userdata, Channel *channel, bool connected)
{
        ShimLink *link = userdata;

        (void)channel;
        if (connected)
                return;
        ShimLinkSpec spec = link->spec; /* the callback may free the link */
        int r = spec.on_lost(spec.userdata);
        if (r < 0)
                spec.fail(spec.fail_userdata, fold(r));
}

int shim_link_new(ShimLink **ret, struct event_base *base, int fd, const ShimLinkSpec *spec)
{
        static const ChannelHandler handlers[] = {EDGE_CONTAINERD_SHIM_HANDLERS_A};
        _cleanup_fd_ int owned_fd = fd;
        _cleanup_(shim_link_freep) ShimLink *link = calloc(1, sizeof(*link));

        if (!link)
                return error_origin(-ENOMEM);
        link->spec = *spec;
        const ChannelSpec channel = {
                .schema = &edge_schema_containerd_shim,
                .side = EDGE_SIDE_A,
                .handlers = handlers,
                .on_changed = shim_link_on_changed,
                .userdata = link,
        };
        int r = channel_new(&link->channel, base, &channel);
        if (r == 0)
                r = shim_link_reconnect(link, TAKE_FD(owned_fd));
        if (r < 0)
                return fold(r);
        *ret = TAKE_PTR(link);
        return 0;
}

int shim_link_reconnect(ShimLink *link, int fd)
{
        int r = channel_connect(link->channel, fd, ++link->generation);

        return r < 0 ? fold(r) : 0;
}

static int shim_link_on_size(void *userdata, const Answer *answer)
{
        (void)userdata;
        if (answer->outcome)
                log_debug("a window's size did not arrive: %s", answer->text);
        return 0;
}

int shim_link_resize(ShimLink *link, uint32_t columns, uint32_t rows)
{
        const ShimResize verb = {.columns = (uint16_t)MIN2(columns, (uint32_t)UINT16_MAX),
                                 .rows = (uint16_t)MIN2(rows, (uint32_t)UINT16_MAX)};

        if (columns == 0 || rows == 0)
                return 0;
        int r = channel_call_flat(link->channel, ROW_CONTAINERD_SHIM_SHIM_RESIZE, &verb, NULL, 0,
                                  clock_monotonic_usec() + SHIM_LINK_RESIZE_USEC, shim_link_on_size, NULL, NULL);
        return r < 0 ? fold(r) : 0;
}

ShimLink *shim_link_free(ShimLink *link)
{
        if (!link)
                return NULL;
        link->channel = channel_free(link->channel);
        free(link);
        return NULL;
}
