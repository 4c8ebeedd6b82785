/* SPDX-License-Identifier: Apache-2.0 */
#include "services/streamd/websocket-frame.h"
#include "services/streamd/be.h"

static bool websocket_opcode_is_known(uint8_t opcode)
{
        return opcode <= WEBSOCKET_BINARY || (opcode >= WEBSOCKET_CLOSE && opcode <= WEBSOCKET_PONG);
}

int websocket_head_parse(const uint8_t *bytes, size_t n, WebsocketHead *ret)
{
        size_t at = 2;

        if (n < 2)
                return WEBSOCKET_E_INCOMPLETE;
        WebsocketHead head = {
                .fin = bytes[0] & 0x80,
                .opcode = bytes[0] & 0x0f,
                .length = bytes[1] & 0x7f,
        };
        bool control = head.opcode >= WEBSOCKET_CLOSE;
        if ((bytes[0] & 0x70) || !websocket_opcode_is_known(head.opcode) || !(bytes[1] & 0x80) ||
            (control && (!head.fin || head.length > WEBSOCKET_CONTROL_BYTES_MAX)))
                return WEBSOCKET_E_VIOLATION;

        size_t n_length = head.length == 126 ? 2 : head.length == 127 ? 8 : 0;
        if (n < at + n_length + sizeof(head.mask))
                return WEBSOCKET_E_INCOMPLETE;
        if (n_length > 0) {
                head.length = n_length == 2 ? be16(bytes + at) : be64(bytes + at);
                if (head.length < (n_length == 2 ? 126 : 65536) || head.length > INT64_MAX)
                        return WEBSOCKET_E_VIOLATION;
                at += n_length;
        }
        memcpy(head.mask, bytes + at, sizeof(head.mask));
        head.n_bytes = at + sizeof(head.mask);
        *ret = head;
        return 0;
}

void websocket_unmask(const WebsocketHead *head, uint64_t at, uint8_t *bytes, size_t n)
{
        uint8_t mask[8];
        uint64_t word, eight;
        size_t i = 0;

        for (size_t k = 0; k < sizeof(mask); k++)
                mask[k] = head->mask[(at + k) % 4];
        memcpy(&eight, mask, sizeof(eight));
        for (; i + sizeof(word) <= n; i += sizeof(word)) {
                memcpy(&word, bytes + i, sizeof(word));
                word ^= eight;
                memcpy(bytes + i, &word, sizeof(word));
        }
        for (; i < n; i++)
                bytes[i] ^= mask[i % 4];
}

size_t websocket_write_head(uint8_t *to, uint8_t opcode, size_t n)
{
        to[0] = 0x80 | opcode;
        if (n < 126) {
                to[1] = (uint8_t)n;
                return 2;
        }
        if (n < 65536) {
                to[1] = 126;
                be16_write(to + 2, (uint16_t)n);
                return 4;
        }
        to[1] = 127;
        be64_write(to + 2, n);
        return 10;
}
