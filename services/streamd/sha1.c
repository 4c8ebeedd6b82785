/* SPDX-License-Identifier: Apache-2.0 */
#include "services/streamd/sha1.h"
#include "services/streamd/be.h"
#include <assert.h>

#define SHA1_BLOCK 64

static uint32_t sha1_rotate(uint32_t word, unsigned int by)
{
        return word << by | word >> (32 - by);
}

static void sha1_block(uint32_t state[static 5], const uint8_t *block)
{
        uint32_t w[80];

        for (int i = 0; i < 16; i++)
                w[i] = be32(block + 4 * i);
        for (int i = 16; i < 80; i++)
                w[i] = sha1_rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);

        uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
        for (int i = 0; i < 80; i++) {
                uint32_t f, k;
                if (i < 20) {
                        f = (b & c) | (~b & d);
                        k = 0x5a827999;
                } else if (i < 40) {
                        f = b ^ c ^ d;
                        k = 0x6ed9eba1;
                } else if (i < 60) {
                        f = (b & c) | (b & d) | (c & d);
                        k = 0x8f1bbcdc;
                } else {
                        f = b ^ c ^ d;
                        k = 0xca62c1d6;
                }
                uint32_t next = sha1_rotate(a, 5) + f + e + k + w[i];
                e = d;
                d = c;
                c = sha1_rotate(b, 30);
                b = a;
                a = next;
        }
        state[0] += a;
        state[1] += b;
        state[2] += c;
        state[3] += d;
        state[4] += e;
}

void sha1_short(const void *bytes, size_t n, uint8_t ret[static SHA1_BYTES])
{
        uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
        uint8_t blocks[2 * SHA1_BLOCK] = {0};
        size_t n_blocks = n + 9 <= SHA1_BLOCK ? 1 : 2;

        assert(n + 9 <= sizeof(blocks));
        if (n > 0)
                memcpy(blocks, bytes, n);
        blocks[n] = 0x80;
        be64_write(blocks + n_blocks * SHA1_BLOCK - 8, (uint64_t)n * 8);
        for (size_t i = 0; i < n_blocks; i++)
                sha1_block(state, blocks + i * SHA1_BLOCK);
        for (size_t i = 0; i < 5; i++)
                be32_write(ret + 4 * i, state[i]);
}
