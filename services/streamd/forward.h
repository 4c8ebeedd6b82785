/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One port-forward: pairs of SPDY streams, data and error, that belong together by a request id, and for each pair one
 * socket that sandboxd connected into the pod. Over a WebSocket the same SPDY travels in binary messages; or there is one pair of
 * channels for each port of the request. */

#include "services/streamd/leg.h"
#include "services/streamd/port-channels.h"

#define FORWARD_STREAMS_MAX 256 /* of a connection: 128 pairs */

typedef struct Forward {
        List link;              /* in Streamd.forwards */
        Connection *connection; /* borrowed; owns us */
        char *id;               /* sandboxd's name of it */
        SpdySession spdy;
        WebsocketSession websocket; /* of its medium */
        bool has_channels;
        PortChannels channels;      /* if so: then there is no SPDY */
        uint32_t ports[PORT_CHANNELS_PORTS_MAX]; /* of the request, for them */
        size_t n_ports;             /* more than these: it is refused */
        List pairs;                 /* Pair.link */
} Forward;

int forward_new(Connection *connection, Frame *frame, Forward **ret);
/* Tells sandboxd. */
Forward *forward_free(Forward *forward);

/* After the 101 was queued. */
int forward_start(Forward *forward);
int forward_feed(Forward *forward, uint8_t *bytes, size_t n);
/* The pods' sockets are to be read, or not. */
void forward_set_reading(Forward *forward, bool reading);
/* Ends the pairs whose directions have both ended. */
int forward_continue(Forward *forward);
/* To a sandboxd that the edge connects anew: that this session is there. */
int forward_resume(const Forward *forward);
/* sandboxd ends it: the pod goes. */
int forward_on_ended(Forward *forward, const char *error);
/* Ends the pairs that are not complete in time. */
int forward_on_timer(Forward *forward);
