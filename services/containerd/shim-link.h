/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Our end of one shim's edge: a channel of its own, made when containerd-launch hands over the socket, and made anew on a
 * reconnect. */

#include "ipc/channel.h"
#include "ipc/edges/containerd-shim.h"

typedef struct ShimLink ShimLink;
struct event_base;

typedef struct ShimLinkSpec {
        int (*on_exited)(void *userdata, const ExitRecord *record); /* 0 or -errno */
        int (*on_lost)(void *userdata); /* the shim ended, or broke the protocol; not after shim_link_free() */
        void (*fail)(void *userdata, int r); /* a negative return of the two */
        void *userdata;      /* borrowed */
        void *fail_userdata; /* borrowed */
} ShimLinkSpec;

struct ShimLink {
        Channel *channel; /* owned */
        uint32_t generation;
        ShimLinkSpec spec;
};

/* Takes the fd. 0 or -errno. */
int shim_link_new(ShimLink **ret, struct event_base *base, int fd, const ShimLinkSpec *spec);
/* Takes the fd; for a link whose shim was lost. */
int shim_link_reconnect(ShimLink *link, int fd);
/* Tells its terminal a size, without waiting for the answer; 0 by 0 is none. 0 or -errno. */
int shim_link_resize(ShimLink *link, uint32_t columns, uint32_t rows);
/* Also from within its callbacks. */
ShimLink *shim_link_free(ShimLink *link);
DEFINE_CLEANUP(ShimLink, shim_link_free)
