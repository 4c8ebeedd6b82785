/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/test.h"
#include "services/gatewayd/budget.h"
#include "services/gatewayd/grpc-message.h"
#include "services/gatewayd/h2-memory.h"
#include "services/gatewayd/h2-meter.h"

static void test_bucket(void)
{
        Bucket b;

        bucket_init(&b, 10, 2, 1000);
        assert_true(bucket_take(&b, 10, 1000));
        assert_false(bucket_take(&b, 1, 1000));
        assert_false(bucket_take(&b, 1, 500000));
        /* What was there was lost with the refusal; time too short for a thousandth is kept. */
        uint64_t now_usec = 500000;
        for (int i = 0; i < 5000; i++)
                assert_true(bucket_take(&b, 0, now_usec += 100));
        assert_true(bucket_take(&b, 1, now_usec));
        assert_false(bucket_take(&b, 1, now_usec));
        bucket_give(&b, 100);
        assert_true(bucket_take(&b, 10, now_usec));
        assert_false(bucket_take(&b, 1, now_usec));
        assert_true(bucket_take(&b, 10, UINT64_MAX / 2));
        assert_false(bucket_take(&b, 1, 0)); /* a clock that goes back gives nothing */
}

static void test_budget(void)
{
        Budget top = {.limit_bytes = 100};
        Budget a = {.parent = &top, .limit_bytes = 80}, b = {.parent = &top, .limit_bytes = 80};
        BudgetCharge x = {0}, y = {0};

        assert_true(budget_charge(&a, &x, 50));
        assert_true(budget_charge(&a, &x, 30));
        assert_false(budget_charge(&a, &x, 1));
        assert_false(budget_charge(&b, &y, 21)); /* room in b, none in top */
        assert_eq_int(b.used_bytes, 0);
        assert_true(budget_charge(&b, &y, 20));
        assert_false(budget_charge(&b, &y, SIZE_MAX));
        budget_release(&x);
        budget_release(&x);
        assert_eq_int(top.used_bytes, 20);
        budget_release(&y);
        assert_eq_int(top.used_bytes, 0);
        assert_eq_int(top.peak_bytes, 100);
}

static void test_memory(void)
{
        Budget budget = {.limit_bytes = 4096};
        nghttp2_mem m = h2_memory(&budget);

        void *p = m.malloc(1000, m.mem_user_data);
        assert_true(p);
        memset(p, 1, 1000);
        p = m.realloc(p, 2000, m.mem_user_data);
        assert_true(p && ((uint8_t *)p)[999] == 1);
        assert_true(budget.used_bytes >= 2000);
        assert_false(m.realloc(p, 5000, m.mem_user_data));
        assert_false(m.malloc(3000, m.mem_user_data));
        assert_false(m.malloc(SIZE_MAX, m.mem_user_data));
        assert_false(m.calloc(SIZE_MAX / 2, 4, m.mem_user_data));
        uint8_t *q = m.calloc(10, 10, m.mem_user_data);
        assert_true(q && q[0] == 0 && q[99] == 0);
        p = m.realloc(p, 10, m.mem_user_data);
        assert_true(budget.used_bytes < 1000);
        m.free(p, m.mem_user_data);
        m.free(q, m.mem_user_data);
        m.free(NULL, m.mem_user_data);
        assert_eq_int(budget.used_bytes, 0);
}

/* Feeds exact heap copies, in pieces of at most step bytes; the number of pieces that the meter made, or -1. */
static int meter_feed(H2Meter *m, const void *bytes, size_t n, size_t step)
{
        const uint8_t *at = bytes;
        int n_pieces = 0;

        for (size_t i = 0; i < n; i += step) {
                size_t length = MIN2(step, n - i);
                uint8_t *copy = malloc(length);
                memcpy(copy, at + i, length);
                for (size_t k = 0, piece; k < length; k += piece, n_pieces++) {
                        if (h2_meter_next(m, copy + k, length - k, 0, &piece)) {
                                free(copy);
                                return -1;
                        }
                        assert_true(piece > 0 && piece <= length - k);
                }
                free(copy);
        }
        return n_pieces;
}

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define FRAME(length, type, flags) length type flags "\0\0\0\1"

static H2Meter meter_begin(uint32_t burst)
{
        H2Meter m;
        h2_meter_init(&m, burst, 0, 0);
        assert_true(h2_meter_is_partial(&m));
        assert_eq_int(meter_feed(&m, PREFACE, 24, 24), 1);
        assert_false(h2_meter_is_partial(&m));
        return m;
}

static void test_meter_cuts(void)
{
        /* SETTINGS, DATA of 3, PING */
        static const char input[] = PREFACE "\0\0\0\x4\0\0\0\0\0" FRAME("\0\0\3", "\0", "\1") "abc" //
                                                                                              "\0\0\x8\x6\0\0\0\0\0"
                                                                                              "12345678";
        const size_t n = sizeof(input) - 1;

        for (size_t step = 1; step <= n; step++) {
                H2Meter m;
                h2_meter_init(&m, 1000, 0, 0);
                int n_pieces = meter_feed(&m, input, n, step);
                assert_true(n_pieces >= 4);
                if (step == n)
                        assert_eq_int(n_pieces, 4);
                assert_false(h2_meter_is_partial(&m));
                /* Prices are for frames, however they arrive. */
                assert_eq_int(m.bucket.level_milli, (1000 - 16 - 2) * 1000);
        }
}

static void test_meter_partial(void)
{
        H2Meter m = meter_begin(1000);

        assert_eq_int(meter_feed(&m, FRAME("\0\0\4", "\1", "\0") "ab", 11, 11), 1);
        assert_true(h2_meter_is_partial(&m)); /* within a frame */
        assert_eq_int(meter_feed(&m, "cd", 2, 2), 1);
        assert_true(h2_meter_is_partial(&m)); /* HEADERS without END_HEADERS */
        assert_eq_int(meter_feed(&m, FRAME("\0\0\0", "\x9", "\0"), 9, 9), 1);
        assert_true(h2_meter_is_partial(&m));
        assert_eq_int(meter_feed(&m, FRAME("\0\0\0", "\x9", "\4"), 9, 9), 1);
        assert_false(h2_meter_is_partial(&m));
        assert_eq_int(meter_feed(&m, "\0\0", 2, 2), 1);
        assert_true(h2_meter_is_partial(&m));
}

static void assert_price(const char *frame_head, size_t n_payload, unsigned price)
{
        H2Meter m = meter_begin(100);
        uint8_t payload[256] = {0};

        assert_true(meter_feed(&m, frame_head, 9, 9) > 0);
        if (n_payload > 0)
                assert_true(meter_feed(&m, payload, n_payload, n_payload) > 0);
        assert_eq_int(m.bucket.level_milli, (100 - price) * 1000);
        assert_false(h2_meter_is_partial(&m));
}

static void test_meter_prices(void)
{
        assert_price(FRAME("\0\0\0", "\0", "\0"), 0, 4); /* empty DATA */
        assert_price(FRAME("\0\0\0", "\0", "\1"), 0, 0); /* that ends a stream */
        assert_price(FRAME("\0\0\1", "\0", "\0"), 1, 1); /* dribble */
        assert_price(FRAME("\0\0\x40", "\0", "\0"), 64, 0);
        assert_price(FRAME("\0\0\1", "\1", "\4"), 1, 1);   /* HEADERS */
        assert_price(FRAME("\0\0\5", "\2", "\0"), 5, 2);   /* PRIORITY */
        assert_price(FRAME("\0\0\4", "\3", "\0"), 4, 5);   /* RST_STREAM */
        assert_price(FRAME("\0\0\6", "\4", "\0"), 6, 16);  /* SETTINGS */
        assert_price(FRAME("\0\0\0", "\4", "\1"), 0, 1);   /* its ACK */
        assert_price(FRAME("\0\0\5", "\5", "\4"), 5, 16);  /* PUSH_PROMISE */
        assert_price(FRAME("\0\0\x8", "\6", "\0"), 8, 2);  /* PING */
        assert_price(FRAME("\0\0\x8", "\7", "\0"), 8, 16); /* GOAWAY */
        assert_price(FRAME("\0\0\4", "\x8", "\0"), 4, 1);  /* WINDOW_UPDATE */
        assert_price(FRAME("\0\0\1", "\x9", "\4"), 1, 8);  /* CONTINUATION */
        assert_price(FRAME("\0\0\1", "\xbe", "\0"), 1, 4); /* unknown */
}

static void test_meter_flood(void)
{
        H2Meter m = meter_begin(10);

        for (int i = 0; i < 5; i++)
                assert_true(meter_feed(&m, FRAME("\0\0\x8", "\6", "\0") "12345678", 17, 17) > 0);
        assert_eq_int(meter_feed(&m, FRAME("\0\0\x8", "\6", "\0") "12345678", 17, 17), -1);
}

/* ---- messages ---- */

static int message_feed(GrpcMessage *m, Budget *budget, const void *bytes, size_t n, size_t step)
{
        for (size_t i = 0; i < n; i += step) {
                size_t length = MIN2(step, n - i);
                uint8_t *copy = malloc(length);
                memcpy(copy, (const uint8_t *)bytes + i, length);
                int r = grpc_message_feed(m, copy, length, 1000, budget);
                free(copy);
                if (r)
                        return r;
        }
        return 0;
}

static int message_outcome(const void *bytes, size_t n, size_t step, size_t limit_bytes)
{
        Budget budget = {.limit_bytes = limit_bytes};
        GrpcMessage m = {0};
        int r = message_feed(&m, &budget, bytes, n, step);

        grpc_message_done(&m);
        assert_eq_int(budget.used_bytes, 0);
        return r;
}

static void test_message(void)
{
        for (size_t step = 1; step <= 10; step++) {
                Budget budget = {.limit_bytes = 5};
                GrpcMessage m = {0};

                assert_false(grpc_message_is_complete(&m));
                assert_ok(message_feed(&m, &budget, "\0\0\0\0\5hell", 9, step));
                assert_false(grpc_message_is_complete(&m));
                assert_ok(message_feed(&m, &budget, "o", 1, step));
                assert_true(grpc_message_is_complete(&m));
                assert_eq_mem(m.bytes, m.length, "hello", 5);
                assert_eq_int(message_feed(&m, &budget, "!", 1, step), GRPC_MESSAGE_E_EXTRA);
                grpc_message_done(&m);
                assert_eq_int(budget.used_bytes, 0);

                assert_ok(message_feed(&m, &budget, "\0\0\0\0\0", 5, step));
                assert_true(grpc_message_is_complete(&m) && m.length == 0);
                assert_eq_int(message_feed(&m, &budget, "\0", 1, step), GRPC_MESSAGE_E_EXTRA);
                grpc_message_done(&m);

                assert_eq_int(message_outcome("\1\0\0\0\5hello", 10, step, 9), GRPC_MESSAGE_E_COMPRESSED);
                assert_eq_int(message_outcome("\2\0\0\0\5hello", 10, step, 9), GRPC_MESSAGE_E_FLAG);
                assert_eq_int(message_outcome("\0\0\0\3\xe9hello", 10, step, 9999), GRPC_MESSAGE_E_TOO_LARGE);
                assert_eq_int(message_outcome("\0\xff\xff\xff\xffhello", 10, step, 9999), GRPC_MESSAGE_E_TOO_LARGE);
                assert_eq_int(message_outcome("\0\0\0\0\5hello", 10, step, 4), GRPC_MESSAGE_E_BUDGET);
                assert_eq_int(message_outcome("\0\0\0\0\4hello", 10, step, 9), GRPC_MESSAGE_E_EXTRA);
        }
}

static void test_prefix(void)
{
        uint8_t prefix[GRPC_PREFIX_BYTES];
        grpc_prefix_encode(prefix, 0x01020304);
        assert_eq_mem(prefix, 5, "\0\1\2\3\4", 5);
}

int main(void)
{
        TEST_RUN(test_bucket);
        TEST_RUN(test_budget);
        TEST_RUN(test_memory);
        TEST_RUN(test_meter_cuts);
        TEST_RUN(test_meter_partial);
        TEST_RUN(test_meter_prices);
        TEST_RUN(test_meter_flood);
        TEST_RUN(test_message);
        TEST_RUN(test_prefix);
        return EXIT_SUCCESS;
}
