/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* GetContainerEvents: who listens, and what is on its way to them. */

#include "ipc/channel.h"
#include "ipc/edges/gatewayd-containerd.rows.h"
#include "ipc/edges/gatewayd-sandboxd.rows.h"
#include "ipc/topology.h"
#include "services/gatewayd/budget.h"
#include "services/gatewayd/grpc-call.h"

typedef struct Gatewayd Gatewayd;

typedef struct Events {
        List subscribers; /* Subscriber.link */
        size_t n_subscribers;
        List pending; /* Event.link, in the order in which they came */
        size_t n_pending;
        Budget held; /* what they take */
        uint64_t number;            /* of the last event */
        uint64_t sequences[EDGE_N]; /* of the last event of an edge; 0: none since it is connected */
        bool is_stopping;
} Events;

EDGE_GATEWAYD_SANDBOXD_PROTOTYPES_A(void *userdata, Frame *frame)
EDGE_GATEWAYD_CONTAINERD_PROTOTYPES_A(void *userdata, Frame *frame)

void events_init(Events *events);
void events_done(Events *events);
/* A MethodLocal: the call is answered with events from now on. */
int events_subscribe(Gatewayd *gatewayd, GrpcCall *call);
/* The edge to containerd or sandboxd has a peer, or lost it. */
int events_on_changed(Gatewayd *gatewayd, EdgeId edge, bool connected);
/* Ends every stream, and refuses new ones. */
void events_stop(Gatewayd *gatewayd);
