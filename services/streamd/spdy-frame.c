/* SPDX-License-Identifier: Apache-2.0 */
#include "services/streamd/spdy-frame.h"
#include "services/streamd/be.h"

#define SPDY_VERSION 3

int spdy_head_parse(const uint8_t bytes[static SPDY_HEAD_BYTES], SpdyHead *ret)
{
        SpdyHead head = {
                .control = bytes[0] & 0x80,
                .flags = bytes[4],
                .length = be32(bytes + 4) & 0xffffff,
        };

        if (!head.control) {
                head.stream_id = be32(bytes) & SPDY_STREAM_ID_MAX;
                *ret = head;
                return head.stream_id ? 0 : SPDY_E_VIOLATION;
        }
        head.type = be16(bytes + 2);
        if ((be16(bytes) & 0x7fff) != SPDY_VERSION || head.length > SPDY_CONTROL_BYTES_MAX)
                return SPDY_E_VIOLATION;
        *ret = head;
        return 0;
}

/* Fixed part, and whether a header block or nothing may follow it. */
static int spdy_check_length(const SpdyHead *head, size_t fixed, bool open_ended)
{
        return head->length == fixed || (open_ended && head->length > fixed) ? 0 : SPDY_E_VIOLATION;
}

static int spdy_check_settings(const SpdyHead *head, const uint8_t *body)
{
        if (head->length < 4)
                return SPDY_E_VIOLATION;
        uint32_t n = be32(body);
        return n <= SPDY_SETTINGS_MAX && head->length == 4 + 8 * n ? 0 : SPDY_E_VIOLATION;
}

static int spdy_parse_block(const SpdyHead *head, const uint8_t *body, size_t fixed, SpdyControl *control)
{
        if (spdy_check_length(head, fixed, true))
                return SPDY_E_VIOLATION;
        control->stream_id = be32(body) & SPDY_STREAM_ID_MAX;
        control->block = body + fixed;
        control->n_block = head->length - fixed;
        return control->stream_id ? 0 : SPDY_E_VIOLATION;
}

/* Two words: the first names a stream. */
static int spdy_parse_pair(const SpdyHead *head, const uint8_t *body, SpdyControl *control)
{
        if (spdy_check_length(head, 8, false))
                return SPDY_E_VIOLATION;
        control->stream_id = be32(body) & SPDY_STREAM_ID_MAX;
        control->value = be32(body + 4);
        return 0;
}

int spdy_control_parse(const SpdyHead *head, const uint8_t *body, SpdyControl *ret)
{
        SpdyControl control = {0};
        int r = 0;

        switch (head->type) {
        case SPDY_SYN_STREAM:
                r = spdy_parse_block(head, body, 10, &control);
                break;
        case SPDY_SYN_REPLY:
        case SPDY_HEADERS:
                r = spdy_parse_block(head, body, 4, &control);
                break;
        case SPDY_RST_STREAM:
                r = spdy_parse_pair(head, body, &control);
                if (r == 0 && control.stream_id == 0)
                        r = SPDY_E_VIOLATION;
                break;
        case SPDY_GOAWAY:
                r = spdy_parse_pair(head, body, &control);
                break;
        case SPDY_WINDOW_UPDATE:
                r = spdy_parse_pair(head, body, &control);
                control.value &= SPDY_STREAM_ID_MAX;
                if (r == 0 && control.value == 0)
                        r = SPDY_E_VIOLATION;
                break;
        case SPDY_PING:
                r = spdy_check_length(head, 4, false);
                if (r == 0)
                        control.value = be32(body);
                break;
        case SPDY_SETTINGS:
                r = spdy_check_settings(head, body);
                break;
        default:
                break; /* to be ignored (2.2.1) */
        }
        if (r == 0)
                *ret = control;
        return r;
}

static size_t spdy_write_head(uint8_t *to, uint16_t type, size_t length)
{
        be16_write(to, 0x8000 | SPDY_VERSION);
        be16_write(to + 2, type);
        be32_write(to + 4, (uint32_t)length); /* no flags */
        return SPDY_HEAD_BYTES;
}

static size_t spdy_write_pair(uint8_t *to, uint16_t type, uint32_t a, uint32_t b)
{
        size_t at = spdy_write_head(to, type, 8);

        be32_write(to + at, a);
        be32_write(to + at + 4, b);
        return at + 8;
}

/* The header block says "no headers" in a stored deflate block, and is flushed by an empty one: what a compressor at level 0
 * would write, without the memory of one (RFC 1950, 2.2; RFC 1951, 3.2.4). No dictionary is announced, since none is used. */
size_t spdy_write_reply(uint8_t *to, uint32_t stream_id, bool first)
{
        static const uint8_t start[] = {0x78, 0x01};
        static const uint8_t block[] = {0x00, 0x04, 0x00, 0xfb, 0xff, 0, 0, 0, 0, 0x00, 0x00, 0x00, 0xff, 0xff};
        size_t n_start = first ? sizeof(start) : 0;
        size_t at = spdy_write_head(to, SPDY_SYN_REPLY, 4 + n_start + sizeof(block));

        be32_write(to + at, stream_id);
        at += 4;
        memcpy(to + at, start, n_start);
        at += n_start;
        memcpy(to + at, block, sizeof(block));
        return at + sizeof(block);
}

size_t spdy_write_reset(uint8_t *to, uint32_t stream_id, uint32_t status)
{
        return spdy_write_pair(to, SPDY_RST_STREAM, stream_id, status);
}

size_t spdy_write_ping(uint8_t *to, uint32_t id)
{
        size_t at = spdy_write_head(to, SPDY_PING, 4);

        be32_write(to + at, id);
        return at + 4;
}

size_t spdy_write_window_update(uint8_t *to, uint32_t stream_id, uint32_t delta)
{
        return spdy_write_pair(to, SPDY_WINDOW_UPDATE, stream_id, delta);
}

size_t spdy_write_data_head(uint8_t *to, uint32_t stream_id, size_t n, bool fin)
{
        be32_write(to, stream_id);
        be32_write(to + 4, (uint32_t)n | (fin ? (uint32_t)SPDY_FLAG_FIN << 24 : 0));
        return SPDY_HEAD_BYTES;
}
