/* SPDX-License-Identifier: Apache-2.0 */
#include "services/streamd/port-channels.h"
#include "lib/error.h"

#define PORT_CHANNELS_PIECE_MAX ((size_t)32 * 1024)

static int port_channels_pass(PortChannels *channels, const uint8_t *bytes, size_t n)
{
        uint8_t decoded[BASE64_DECODED_MAX(1024)];
        size_t port_index = (size_t)channels->channel / 2, n_decoded;
        int r = 0;

        if (!channels->base64)
                return n > 0 ? channels->on_bytes(channels->userdata, port_index, bytes, n) : 0;
        for (size_t at = 0; at < n && r == 0; at += 1024) {
                if (base64_decode(&channels->decoder, bytes + at, MIN2(n - at, (size_t)1024), decoded, &n_decoded))
                        return WEBSOCKET_E_VIOLATION;
                if (n_decoded > 0)
                        r = channels->on_bytes(channels->userdata, port_index, decoded, n_decoded);
        }
        return r;
}

static int port_channels_pass_end(PortChannels *channels)
{
        uint8_t decoded[2];
        size_t n;

        if (!channels->base64)
                return 0;
        if (base64_decode_end(&channels->decoder, decoded, &n))
                return WEBSOCKET_E_VIOLATION;
        return n > 0 ? channels->on_bytes(channels->userdata, (size_t)channels->channel / 2, decoded, n) : 0;
}

/* What comes on the channel of an error, or of a port that there is not, means nothing. */
static int port_channels_on_part(void *userdata, bool first, bool last, uint8_t *bytes, size_t n)
{
        PortChannels *channels = userdata;

        if (first)
                channels->channel = -1;
        if (channels->channel < 0 && n > 0) {
                channels->channel = channels->base64 ? (uint8_t)(*bytes - '0') : *bytes;
                bytes++;
                n--;
        }
        if (channels->channel < 0 || channels->channel % 2 != 0 || (size_t)channels->channel / 2 >= channels->n_ports)
                return 0;
        int r = port_channels_pass(channels, bytes, n);
        if (r == 0 && last)
                r = port_channels_pass_end(channels);
        return r;
}

int port_channels_feed(PortChannels *channels, uint8_t *bytes, size_t n)
{
        return websocket_session_feed(&channels->websocket, bytes, n);
}

int port_channels_send(PortChannels *channels, size_t port_index, bool is_error, const void *bytes, size_t n)
{
        uint8_t message[1 + PORT_CHANNELS_PIECE_MAX], channel = (uint8_t)(2 * port_index + is_error);
        size_t piece_max = channels->base64 ? PORT_CHANNELS_PIECE_MAX / 4 * 3 : PORT_CHANNELS_PIECE_MAX;

        message[0] = channels->base64 ? (uint8_t)('0' + channel) : channel;
        for (size_t at = 0; at < n; at += piece_max) {
                size_t length = MIN2(n - at, piece_max);
                if (channels->base64)
                        length = base64_encode(message + 1, (const uint8_t *)bytes + at, length);
                else
                        memcpy(message + 1, (const uint8_t *)bytes + at, length);
                int r = websocket_session_send(&channels->websocket, channels->base64 ? WEBSOCKET_TEXT : WEBSOCKET_BINARY, message,
                                               1 + length);
                if (r)
                        return fold(r);
        }
        return 0;
}

static const WebsocketHandlers port_channels_handlers = {.on_part = port_channels_on_part};

int port_channels_init(PortChannels *channels, const uint32_t *ports, size_t n_ports, bool base64,
                       int (*on_bytes)(void *userdata, size_t port_index, const uint8_t *bytes, size_t n), void *userdata,
                       ByteQueue *out)
{
        int r = 0;

        *channels = (PortChannels){.base64 = base64, .n_ports = n_ports, .on_bytes = on_bytes, .userdata = userdata, .channel = -1};
        websocket_session_init(&channels->websocket, &port_channels_handlers, channels, out);
        for (size_t i = 0; i < 2 * n_ports && r == 0; i++) {
                uint8_t port[] = {(uint8_t)ports[i / 2], (uint8_t)(ports[i / 2] >> 8)};
                r = port_channels_send(channels, i / 2, i % 2, port, sizeof(port));
        }
        return r ? fold(r) : 0;
}
