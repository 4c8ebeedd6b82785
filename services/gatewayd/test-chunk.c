/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/test.h"
#include "services/gatewayd/chunk.h"

/* An exact copy on the heap, so that reading beyond it is seen. */
static size_t end_of(const char *bytes, size_t n, size_t at)
{
        uint8_t *copy = malloc(n ? n : 1);
        memcpy(copy, bytes, n);
        size_t end = chunk_end(copy, n, at);
        free(copy);
        return end;
}

static void test_objects(void)
{
        assert_eq_int(end_of("\x0a\x00", 2, 0), 2);
        assert_eq_int(end_of("\x0a\x01x\x0a\x02xy", 7, 0), 7);
        assert_eq_int(end_of("\x0a\x01x\x0a\x02xy", 7, 3), 7);
        assert_eq_int(end_of("\x0a\x80\x00\x0a\x00", 5, 0), 5); /* a length in more bytes than it needs */
}

static void test_what_is_no_list(void)
{
        assert_eq_int(end_of("\x12\x01x", 3, 0), 0);                          /* another field */
        assert_eq_int(end_of("\x08\x01", 2, 0), 0);                           /* no object */
        assert_eq_int(end_of("\x0a", 1, 0), 0);                               /* no length */
        assert_eq_int(end_of("\x0a\x80", 2, 0), 0);                           /* half of one */
        assert_eq_int(end_of("\x0a\x02x", 3, 0), 0);                          /* half an object */
        assert_eq_int(end_of("\x0a\xff\xff\xff\xff\xff\x01", 7, 0), 0);       /* an endless length */
        assert_eq_int(end_of("\x0a\xff\xff\xff\xff\x7fxxx", 9, 0), 0);        /* a huge one */
        assert_eq_int(end_of("\x0a\x00x", 3, 0), 0);                          /* something behind the last one */
}

/* Pieces are as large as they may be, and hold every byte once. */
static void test_pieces(void)
{
        static const size_t sizes[] = {0, 1, 100, 127, 128, 1000, CHUNK_BYTES - 4, CHUNK_BYTES, 3 * CHUNK_BYTES};
        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
                size_t one = sizes[i], n = 0, n_objects = 200;
                uint8_t *bytes = malloc(n_objects * (one + 6));
                for (size_t k = 0; k < n_objects; k++) {
                        bytes[n++] = 0x0a;
                        size_t left = one;
                        for (; left >= 0x80; left >>= 7)
                                bytes[n++] = (uint8_t)(left | 0x80);
                        bytes[n++] = (uint8_t)left;
                        memset(bytes + n, 0x0a, one);
                        n += one;
                }
                size_t per_object = n / n_objects, at = 0;
                while (at < n) {
                        size_t end = chunk_end(bytes, n, at);
                        assert_true(end > at && (end - at) % per_object == 0);
                        assert_true(end - at <= CHUNK_BYTES || end - at == per_object);
                        assert_true(end == n || end - at + per_object > CHUNK_BYTES);
                        at = end;
                }
                assert_eq_int(at, n);
                free(bytes);
        }
}

int main(void)
{
        TEST_RUN(test_objects);
        TEST_RUN(test_what_is_no_list);
        TEST_RUN(test_pieces);
        return 0;
}
