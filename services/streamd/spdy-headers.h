/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The header blocks of SPDY/3.1 (2.6.10): one deflate stream per direction for the life of a connection, primed with a
 * dictionary; within it counted, length-prefixed names and values. */

#include "lib/base.h"
#include <zlib.h>

/* Of one block, inflated: four orders of magnitude above what clients of Kubernetes send, and little enough that a block
 * which inflates for ever costs nothing. */
#define SPDY_BLOCK_BYTES_MAX (16 * 1024)
#define SPDY_HEADERS_MAX 64
#define SPDY_FIELD_BYTES_MAX (8 * 1024)

typedef struct SpdyInflater {
        z_stream z;
        bool ready;
} SpdyInflater;

typedef struct SpdyHeaders {
        size_t n;
        struct {
                const char *name, *value; /* of a list of values the first; within bytes */
        } headers[SPDY_HEADERS_MAX];
        uint8_t bytes[SPDY_BLOCK_BYTES_MAX + 1];
} SpdyHeaders;

enum { SPDY_HEADERS_E_INVALID = 1 };

/* Inflates and reads one block; makes the inflater ready if it is zeroed. SPDY_HEADERS_E_INVALID: not deflate, another
 * dictionary, above a limit, or not well-formed; the inflater is useless then. -ENOMEM. */
int spdy_headers_read(SpdyInflater *inflater, const uint8_t *block, size_t n, SpdyHeaders *ret);
/* In lower case; NULL if there is none. */
const char *spdy_headers_find(const SpdyHeaders *headers, const char *name);
void spdy_inflater_done(SpdyInflater *inflater);
/* What both directions are primed with. */
const uint8_t *spdy_dictionary(size_t *ret_n);
