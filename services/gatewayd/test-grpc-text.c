/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/test.h"
#include "services/gatewayd/grpc-text.h"

static bool timeout_is(const char *s, uint64_t usec)
{
        uint64_t value = UINT64_MAX;
        return grpc_timeout_parse(s, strlen(s), &value) && value == usec;
}

static bool timeout_is_bad(const char *s)
{
        uint64_t value = 7;
        return !grpc_timeout_parse(s, strlen(s), &value) && value == 7;
}

static void test_timeout(void)
{
        assert_true(timeout_is("1H", UINT64_C(3600000000)));
        assert_true(timeout_is("2M", 120000000));
        assert_true(timeout_is("3S", 3000000));
        assert_true(timeout_is("4m", 4000));
        assert_true(timeout_is("5u", 5));
        assert_true(timeout_is("6001n", 7));
        assert_true(timeout_is("0n", 0));
        assert_true(timeout_is("00000001S", 1000000));
        assert_true(timeout_is("99999999H", UINT64_C(359999996400000000)));

        assert_true(timeout_is_bad(""));
        assert_true(timeout_is_bad("S"));
        assert_true(timeout_is_bad("1"));
        assert_true(timeout_is_bad("1s"));
        assert_true(timeout_is_bad("-1S"));
        assert_true(timeout_is_bad("1.5S"));
        assert_true(timeout_is_bad(" 1S"));
        assert_true(timeout_is_bad("1 S"));
        assert_true(timeout_is_bad("100000000S"));
        assert_true(timeout_is_bad("1SS"));
}

static void assert_encoded(const char *text, size_t size, const char *wanted)
{
        char *to = malloc(size); /* exact, for AddressSanitizer */
        size_t n = grpc_text_encode(to, size, text);
        assert_eq_str(to, wanted);
        assert_eq_int(n, strlen(wanted));
        free(to);
}

static void test_encode(void)
{
        assert_encoded("", 1, "");
        assert_encoded("pod \"a\" not found", 100, "pod \"a\" not found");
        assert_encoded("100%\n\x7f\t~", 100, "100%25%0A%7F%09~");
        assert_encoded("\xc3\xa4\xe2\x82\xac", 100, "%C3%A4%E2%82%AC");
        assert_encoded("\xff\x80!", 100, "%FF%80!");
        assert_encoded(" a b ", 100, "%20a b%20");
        assert_encoded(" ", 100, "%20");
        /* Cut off where it is full: no half escape, no half character, no space at the end. */
        assert_encoded("abcdef", 4, "abc");
        assert_encoded("ab%", 5, "ab");
        assert_encoded("ab%", 6, "ab%25");
        assert_encoded("a\xc3\xa4", 7, "a");
        assert_encoded("a\xc3\xa4", 8, "a%C3%A4");
        assert_encoded("ab cd", 4, "ab");
}

static void test_base64(void)
{
        const char *const wanted[] = {"", "Zg", "Zm8", "Zm9v", "Zm9vYg", "Zm9vYmE", "Zm9vYmFy"};
        char to[GRPC_BASE64_SIZE(6)];

        for (size_t n = 0; n < ARRAY_SIZE(wanted); n++) {
                assert_eq_int(grpc_base64_encode(to, (const uint8_t *)"foobar", n), strlen(wanted[n]));
                assert_eq_str(to, wanted[n]);
        }
        (void)grpc_base64_encode(to, (const uint8_t *)"\xff\xef\xbe", 3);
        assert_eq_str(to, "/+++");
}

static void test_content_type(void)
{
        const char *const good[] = {"application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8",
                                    "application/grpc+proto;x=y"};
        const char *const bad[] = {"",
                                   "application/grp",
                                   "application/grpc-web",
                                   "application/grpc+json",
                                   "application/grpcx",
                                   "application/json",
                                   "Application/grpc",
                                   "application/grpc+protox"};

        for (size_t i = 0; i < ARRAY_SIZE(good); i++)
                assert_true(grpc_content_type_is_proto(good[i], strlen(good[i])));
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_false(grpc_content_type_is_proto(bad[i], strlen(bad[i])));
}

int main(void)
{
        TEST_RUN(test_timeout);
        TEST_RUN(test_encode);
        TEST_RUN(test_base64);
        TEST_RUN(test_content_type);
        return EXIT_SUCCESS;
}
