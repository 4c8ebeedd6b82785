/* SPDX-License-Identifier: Apache-2.0 */
#include "services/streamd/base64.h"

static const char base64_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int base64_digit(uint8_t c)
{
        if (c >= 'A' && c <= 'Z')
                return c - 'A';
        if (c >= 'a' && c <= 'z')
                return c - 'a' + 26;
        if (c >= '0' && c <= '9')
                return c - '0' + 52;
        return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static void base64_join(const uint8_t digits[static 4], uint8_t to[static 3])
{
        to[0] = (uint8_t)(digits[0] << 2 | digits[1] >> 4);
        to[1] = (uint8_t)(digits[1] << 4 | digits[2] >> 2);
        to[2] = (uint8_t)(digits[2] << 6 | digits[3]);
}

int base64_decode(Base64Decoder *decoder, const uint8_t *text, size_t n, uint8_t *to, size_t *ret_n)
{
        size_t n_out = 0;

        for (size_t i = 0; i < n; i++) {
                if (text[i] == '=' && decoder->n_digits >= 2) {
                        decoder->ended = true;
                        continue;
                }
                int digit = base64_digit(text[i]);
                if (digit < 0 || decoder->ended)
                        return BASE64_E_INVALID;
                decoder->digits[decoder->n_digits++] = (uint8_t)digit;
                if (decoder->n_digits < sizeof(decoder->digits))
                        continue;
                base64_join(decoder->digits, to + n_out);
                n_out += 3;
                decoder->n_digits = 0;
        }
        *ret_n = n_out;
        return 0;
}

int base64_decode_end(Base64Decoder *decoder, uint8_t to[static 2], size_t *ret_n)
{
        uint8_t bytes[3];
        size_t n = decoder->n_digits;

        if (n == 1)
                return BASE64_E_INVALID;
        memset(decoder->digits + n, 0, sizeof(decoder->digits) - n);
        base64_join(decoder->digits, bytes);
        memcpy(to, bytes, 2);
        *ret_n = n ? n - 1 : 0;
        *decoder = (Base64Decoder){0};
        return 0;
}

size_t base64_encode(uint8_t *to, const uint8_t *bytes, size_t n)
{
        size_t n_out = 0;

        for (size_t i = 0; i < n; i += 3) {
                size_t left = n - i;
                uint32_t word = (uint32_t)bytes[i] << 16;
                if (left > 1)
                        word |= (uint32_t)bytes[i + 1] << 8;
                if (left > 2)
                        word |= bytes[i + 2];
                to[n_out++] = (uint8_t)base64_alphabet[word >> 18];
                to[n_out++] = (uint8_t)base64_alphabet[word >> 12 & 63];
                to[n_out++] = left > 1 ? (uint8_t)base64_alphabet[word >> 6 & 63] : '=';
                to[n_out++] = left > 2 ? (uint8_t)base64_alphabet[word & 63] : '=';
        }
        return n_out;
}
