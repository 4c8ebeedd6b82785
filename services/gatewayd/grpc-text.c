/* SPDX-License-Identifier: Apache-2.0 */
#include "services/gatewayd/grpc-text.h"

bool grpc_timeout_parse(const char *s, size_t n, uint64_t *ret_usec)
{
        uint64_t value = 0;

        if (n < 2 || n > 9)
                return false;
        for (size_t i = 0; i < n - 1; i++) {
                if (s[i] < '0' || s[i] > '9')
                        return false;
                value = value * 10 + (uint64_t)(s[i] - '0');
        }
        switch (s[n - 1]) {
        case 'H':
                *ret_usec = value * UINT64_C(3600000000);
                return true;
        case 'M':
                *ret_usec = value * UINT64_C(60000000);
                return true;
        case 'S':
                *ret_usec = value * UINT64_C(1000000);
                return true;
        case 'm':
                *ret_usec = value * UINT64_C(1000);
                return true;
        case 'u':
                *ret_usec = value;
                return true;
        case 'n':
                *ret_usec = (value + 999) / 1000;
                return true;
        default:
                return false;
        }
}

/* Bytes of the character that starts with this byte; 1 for what is no UTF-8. */
static size_t grpc_text_char_length(const char *s)
{
        uint8_t first = (uint8_t)*s;
        size_t n = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 1;

        for (size_t i = 1; i < n; i++)
                if (((uint8_t)s[i] & 0xc0) != 0x80)
                        return 1;
        return n;
}

size_t grpc_text_encode(char *to, size_t size, const char *text)
{
        static const char digits[] = "0123456789ABCDEF";
        size_t length = 0;

        while (*text) {
                uint8_t first = (uint8_t)*text;
                /* No field value begins or ends with a space (RFC 9113, 8.2.1): nghttp2 refuses the whole list. */
                bool is_edge = first == ' ' && (length == 0 || !text[1]);
                bool is_plain = first >= 0x20 && first <= 0x7e && first != '%' && !is_edge;
                size_t n = grpc_text_char_length(text);

                if (length + (is_plain ? 1 : 3 * n) + 1 > size)
                        break;
                if (is_plain) {
                        to[length++] = *text++;
                        continue;
                }
                for (size_t i = 0; i < n; i++, text++) {
                        to[length++] = '%';
                        to[length++] = digits[(uint8_t)*text >> 4];
                        to[length++] = digits[(uint8_t)*text & 15];
                }
        }
        while (length > 0 && to[length - 1] == ' ') /* cut off behind it */
                length--;
        to[length] = '\0';
        return length;
}

size_t grpc_base64_encode(char *to, const uint8_t *bytes, size_t n)
{
        static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        size_t length = 0;
        uint32_t bits = 0;
        unsigned n_bits = 0;

        for (size_t i = 0; i < n; i++) {
                bits = (bits << 8) | bytes[i];
                n_bits += 8;
                while (n_bits >= 6) {
                        n_bits -= 6;
                        to[length++] = alphabet[(bits >> n_bits) & 63];
                }
        }
        if (n_bits > 0)
                to[length++] = alphabet[(bits << (6 - n_bits)) & 63];
        to[length] = '\0';
        return length;
}

bool grpc_content_type_is_proto(const char *s, size_t n)
{
        static const char base[] = "application/grpc";
        static const char proto[] = "+proto";

        if (n < sizeof(base) - 1 || memcmp(s, base, sizeof(base) - 1) != 0)
                return false;
        s += sizeof(base) - 1;
        n -= sizeof(base) - 1;
        if (n >= sizeof(proto) - 1 && memcmp(s, proto, sizeof(proto) - 1) == 0) {
                s += sizeof(proto) - 1;
                n -= sizeof(proto) - 1;
        }
        return n == 0 || *s == ';';
}
