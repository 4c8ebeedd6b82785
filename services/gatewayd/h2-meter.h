/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Reads HTTP/2 frame headers ahead of nghttp2: cuts the input at frame boundaries and puts a price on every frame that
 * costs us work without getting the peer anything. */

#include "services/gatewayd/bucket.h"

typedef struct H2Meter {
        Bucket bucket;
        uint8_t head[9];
        size_t n_head;           /* bytes of the frame header seen; 9 while inside the payload */
        size_t payload_left;     /* bytes of the frame that have not been seen */
        size_t preface_left;     /* bytes of the client preface that have not been seen */
        bool is_in_header_block; /* HEADERS without END_HEADERS: only CONTINUATION may follow */
} H2Meter;

/* The bucket's price list; what the server itself charges stands with it. */
enum {
        H2_PRICE_REMEDY = 5,   /* we had to reset a stream */
        H2_PRICE_INVALID = 10, /* nghttp2 refused a frame */
        H2_CREDIT_CALL = 8,    /* a call or a message of a stream got through */
};

void h2_meter_init(H2Meter *m, uint32_t burst, uint32_t per_sec, uint64_t now_usec);

/* How many of the n > 0 bytes belong to the frame that is being read: at least 1. H2_METER_E_FLOOD: the peer sends
 * frames that are no use faster than it may. */
enum { H2_METER_E_FLOOD = 1 };
int h2_meter_next(H2Meter *m, const uint8_t *bytes, size_t n, uint64_t now_usec, size_t *ret_n);

/* A frame, a header block or the preface has begun and not ended. */
bool h2_meter_is_partial(const H2Meter *m);
