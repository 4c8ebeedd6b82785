/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Base64 (RFC 4648, 4) in pieces: the old WebSocket sub-protocols carry bytes in text messages. */

#include "lib/base.h"

typedef struct Base64Decoder {
        uint8_t digits[4];
        size_t n_digits; /* of a quantum that is not whole yet */
        bool ended;      /* padding was seen */
} Base64Decoder;

#define BASE64_DECODED_MAX(n) (((n) + 3) / 4 * 3)
#define BASE64_ENCODED_MAX(n) (((n) + 2) / 3 * 4)

enum { BASE64_E_INVALID = 1 };

/* Decodes n characters; to has room for BASE64_DECODED_MAX(n) bytes. */
int base64_decode(Base64Decoder *decoder, const uint8_t *text, size_t n, uint8_t *to, size_t *ret_n);
/* The end of the text: up to two bytes that were left, and the decoder as new. */
int base64_decode_end(Base64Decoder *decoder, uint8_t to[static 2], size_t *ret_n);
/* Returns the number of characters, BASE64_ENCODED_MAX(n); not terminated. */
size_t base64_encode(uint8_t *to, const uint8_t *bytes, size_t n);
