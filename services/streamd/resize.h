/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The stream on which a client tells the size of its terminal: JSON objects one after another, {"Width":80,"Height":24},
 * in pieces of any size. */

#include "lib/base.h"

#define RESIZE_BYTES_MAX 128

typedef struct ResizeReader {
        char text[RESIZE_BYTES_MAX + 1]; /* the object that has begun */
        size_t n;
        bool broken; /* it was no such object: the rest of the stream means nothing */
} ResizeReader;

typedef struct ResizeEvent {
        uint16_t columns, rows;
} ResizeEvent;

/* True if at least one object was completed by these bytes; ret is the last. */
bool resize_feed(ResizeReader *reader, const uint8_t *bytes, size_t n, ResizeEvent *ret);
