/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Frames of SPDY/3.1 (SPDY Protocol - Draft 3.1, section 2.2 and 2.6): heads, the bodies of control frames, and what we
 * write ourselves. Counts and lengths in a frame are compared with the frame's own length before they mean anything. */

#include "lib/base.h"

#define SPDY_HEAD_BYTES 8
/* A control frame above that is refused before its body is read. */
#define SPDY_CONTROL_BYTES_MAX (16 * 1024)
#define SPDY_SETTINGS_MAX 32
#define SPDY_STREAM_ID_MAX UINT32_C(0x7fffffff)
/* The longest frame that we write but for DATA: a SYN_REPLY without headers. */
#define SPDY_WRITE_MAX 40

enum {
        SPDY_SYN_STREAM = 1,
        SPDY_SYN_REPLY = 2,
        SPDY_RST_STREAM = 3,
        SPDY_SETTINGS = 4,
        SPDY_PING = 6,
        SPDY_GOAWAY = 7,
        SPDY_HEADERS = 8,
        SPDY_WINDOW_UPDATE = 9,
};
enum { SPDY_FLAG_FIN = 1, SPDY_FLAG_UNIDIRECTIONAL = 2 };

/* Status codes of RST_STREAM (2.6.3). */
enum {
        SPDY_STATUS_PROTOCOL_ERROR = 1,
        SPDY_STATUS_INVALID_STREAM = 2,
        SPDY_STATUS_REFUSED_STREAM = 3,
        SPDY_STATUS_CANCEL = 5,
        SPDY_STATUS_STREAM_ALREADY_CLOSED = 9,
};

typedef struct SpdyHead {
        bool control;
        uint16_t type;      /* of a control frame */
        uint32_t stream_id; /* of a data frame */
        uint8_t flags;
        uint32_t length; /* of the body */
} SpdyHead;

typedef struct SpdyControl {
        uint32_t stream_id; /* SYN_STREAM, SYN_REPLY, RST_STREAM, HEADERS, WINDOW_UPDATE; of GOAWAY the last good one */
        uint32_t value;     /* RST_STREAM, GOAWAY: the status; PING: the id; WINDOW_UPDATE: the delta */
        const uint8_t *block; /* SYN_STREAM, SYN_REPLY, HEADERS: the compressed header block, within the body */
        size_t n_block;
} SpdyControl;

enum { SPDY_E_VIOLATION = 1 };

/* SPDY_E_VIOLATION: another version, a control frame that is too long. */
int spdy_head_parse(const uint8_t bytes[static SPDY_HEAD_BYTES], SpdyHead *ret);
/* The body has head->length bytes. SPDY_E_VIOLATION: it is not what its type says. Types that we do not know are good. */
int spdy_control_parse(const SpdyHead *head, const uint8_t *body, SpdyControl *ret);

/* Each writes one frame and returns its length, at most SPDY_WRITE_MAX. The first SYN_REPLY of a connection begins the
 * compressed stream of header blocks. */
size_t spdy_write_reply(uint8_t *to, uint32_t stream_id, bool first);
size_t spdy_write_reset(uint8_t *to, uint32_t stream_id, uint32_t status);
size_t spdy_write_ping(uint8_t *to, uint32_t id);
size_t spdy_write_window_update(uint8_t *to, uint32_t stream_id, uint32_t delta);
/* Only the head; n bytes of data are to follow. */
size_t spdy_write_data_head(uint8_t *to, uint32_t stream_id, size_t n, bool fin);
