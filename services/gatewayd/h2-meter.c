/* SPDX-License-Identifier: Apache-2.0 */

/* Every HTTP/2 flood is the same trade: a frame that is cheap to send and makes the server work or remember. nghttp2
 * bounds what it remembers; this bounds the work, for all frame types alike, unknown ones too, before anything is
 * parsed. Useful traffic earns tokens back (the session gives H2_CREDIT_CALL for each call, and some for each 4 KiB
 * delivered), because honest clients send PING and WINDOW_UPDATE in proportion to it: grpc-go probes the bandwidth with
 * one PING per round trip while data flow.
 *
 * Cutting at frame boundaries is the other half: the session looks after each frame whether nghttp2 has given up on the
 * peer and feeds it nothing more (nghttp2 before 1.68.1 can abort on a malformed frame after its own termination). */

#include "services/gatewayd/h2-meter.h"

#include <nghttp2/nghttp2.h>

#define H2_METER_PREFACE_BYTES 24 /* RFC 9113, 3.4 */
#define H2_METER_SMALL_BYTES 64

void h2_meter_init(H2Meter *m, uint32_t burst, uint32_t per_sec, uint64_t now_usec)
{
        *m = (H2Meter){.preface_left = H2_METER_PREFACE_BYTES};
        bucket_init(&m->bucket, burst, per_sec, now_usec);
}

static uint32_t h2_meter_price(uint8_t type, uint8_t flags, size_t length)
{
        switch (type) {
        case NGHTTP2_DATA:
                if ((flags & NGHTTP2_FLAG_END_STREAM) || length >= H2_METER_SMALL_BYTES)
                        return 0;
                return length == 0 ? 4 : 1;
        case NGHTTP2_HEADERS:
        case NGHTTP2_WINDOW_UPDATE:
                return 1;
        case NGHTTP2_PRIORITY:
        case NGHTTP2_PING:
                return 2;
        case NGHTTP2_RST_STREAM:
                return 5;
        case NGHTTP2_SETTINGS:
                return (flags & NGHTTP2_FLAG_ACK) ? 1 : 16;
        case NGHTTP2_CONTINUATION:
                return 8;
        case NGHTTP2_GOAWAY:
        case NGHTTP2_PUSH_PROMISE:
                return 16;
        default: /* unknown types must be ignored (RFC 9113, 5.5), but not for ever */
                return 4;
        }
}

int h2_meter_next(H2Meter *m, const uint8_t *bytes, size_t n, uint64_t now_usec, size_t *ret_n)
{
        size_t used = 0;

        if (m->preface_left > 0) {
                used = MIN2(n, m->preface_left);
                m->preface_left -= used;
                *ret_n = used;
                return 0;
        }
        if (m->n_head < sizeof(m->head)) {
                used = MIN2(n, sizeof(m->head) - m->n_head);
                memcpy(m->head + m->n_head, bytes, used);
                m->n_head += used;
                if (m->n_head < sizeof(m->head)) {
                        *ret_n = used;
                        return 0;
                }

                size_t length = ((size_t)m->head[0] << 16) | ((size_t)m->head[1] << 8) | m->head[2];
                uint8_t type = m->head[3], flags = m->head[4];
                if (!bucket_take(&m->bucket, h2_meter_price(type, flags, length), now_usec))
                        return H2_METER_E_FLOOD;
                m->payload_left = length;
                if (type == NGHTTP2_HEADERS || type == NGHTTP2_CONTINUATION)
                        m->is_in_header_block = !(flags & NGHTTP2_FLAG_END_HEADERS);
        }

        size_t piece = MIN2(n - used, m->payload_left);
        m->payload_left -= piece;
        used += piece;
        if (m->payload_left == 0)
                m->n_head = 0;
        *ret_n = used;
        return 0;
}

bool h2_meter_is_partial(const H2Meter *m)
{
        return m->preface_left > 0 || m->n_head > 0 || m->is_in_header_block;
}
