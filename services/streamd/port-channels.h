/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A port-forward in the channels of a WebSocket, as API clients other than kubectl speak it (v4.channel.k8s.io of k8s.io/kubelet,
 * portforward): the request names the ports, the i-th one has channel 2i for its bytes and 2i+1 for its error, and both begin with two
 * bytes from the server, the port, little-endian. There is one connection per port, and no end but the WebSocket's. Bytes in by
 * port_channels_feed(), bytes out into a queue; no socket, no clock. */

#include "services/streamd/base64.h"
#include "services/streamd/websocket-session.h"

#define PORT_CHANNELS_PORTS_MAX 128 /* a channel is a byte */

typedef struct PortChannels {
        WebsocketSession websocket;
        bool base64;
        size_t n_ports;
        int (*on_bytes)(void *userdata, size_t port_index, const uint8_t *bytes, size_t n);
        void *userdata;
        int channel; /* of the message under way, -1: not known yet */
        Base64Decoder decoder;
} PortChannels;

/* Sends each port on its channels. n_ports is at most PORT_CHANNELS_PORTS_MAX. */
int port_channels_init(PortChannels *channels, const uint32_t *ports, size_t n_ports, bool base64,
                       int (*on_bytes)(void *userdata, size_t port_index, const uint8_t *bytes, size_t n), void *userdata,
                       ByteQueue *out);
/* As websocket_session_feed(). */
int port_channels_feed(PortChannels *channels, uint8_t *bytes, size_t n);
int port_channels_send(PortChannels *channels, size_t port_index, bool is_error, const void *bytes, size_t n);
