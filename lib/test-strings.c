/* SPDX-License-Identifier: Apache-2.0 */

#include "lib/strings.h"
#include "lib/test.h"

static void strings_compare(void)
{
        assert_true(str_is_empty(NULL));
        assert_true(str_is_empty(""));
        assert_false(str_is_empty("a"));
        assert_true(str_equal(NULL, ""));
        assert_false(str_equal("a", "b"));
        assert_true(str_has_prefix("sha256:ab", "sha256:"));
        assert_false(str_has_prefix("sha", "sha256:"));
        assert_true(str_has_suffix("a.conflist", ".conflist"));
        assert_true(str_has_suffix("a", ""));
        assert_false(str_has_suffix("x", ".conflist"));
        assert_false(str_has_suffix("a.conflists", ".conflist"));
}

static void strings_copy_is_bounded(void)
{
        char *exact = malloc(4);

        assert_true(str_copy(exact, 4, "abc"));
        assert_eq_str(exact, "abc");
        assert_false(str_copy(exact, 4, "abcd"));
        assert_eq_str(exact, "");
        assert_false(str_copy(exact, 0, ""));
        free(exact);
}

static void strings_printf(void)
{
        char *s = str_printf("%s-%d", "a", 7);

        assert_eq_str(s, "a-7");
        free(s);
}

static void strings_hex(void)
{
        const uint8_t bytes[] = {0x00, 0x9f, 0xff, 0xa1};
        uint8_t back[4];
        char hex[9];

        hex_encode(hex, bytes, 4);
        assert_eq_str(hex, "009fffa1");
        assert_true(hex_decode(back, 4, hex));
        assert_eq_mem(back, 4, bytes, 4);
        assert_false(hex_decode(back, 4, "009fffa"));
        assert_false(hex_decode(back, 4, "009fffa11"));
        assert_false(hex_decode(back, 4, "009FFFA1"));
        assert_false(hex_decode(back, 4, "009fffag"));
        assert_false(hex_decode(back, 4, ""));
        assert_true(hex_decode(back, 0, ""));
}

static void strings_u64(void)
{
        static const char *const wrong[] = {"",
                                            "00",
                                            "01",
                                            "-1",
                                            "+1",
                                            " 1",
                                            "1 ",
                                            "1a",
                                            "0x1",
                                            "18446744073709551616",
                                            "99999999999999999999"};
        uint64_t v = 42;

        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
                assert_false(u64_parse(wrong[i], UINT64_MAX, &v));
        assert_false(u64_parse("101", 100, &v));
        assert_eq_int(v, 42);
        assert_true(u64_parse("0", 0, &v));
        assert_eq_int(v, 0);
        assert_true(u64_parse("100", 100, &v));
        assert_eq_int(v, 100);
        assert_true(u64_parse("18446744073709551615", UINT64_MAX, &v));
        assert_true(v == UINT64_MAX);
}

static void strings_id(void)
{
        char id[ID_LENGTH + 2];

        memset(id, 'a', sizeof(id));
        id[ID_LENGTH] = 0;
        assert_true(id_is_valid(id));
        id[5] = 'A';
        assert_false(id_is_valid(id));
        id[5] = '/';
        assert_false(id_is_valid(id));
        id[5] = 0;
        assert_false(id_is_valid(id));
        id[5] = '0';
        id[ID_LENGTH] = '0';
        id[ID_LENGTH + 1] = 0;
        assert_false(id_is_valid(id));
        assert_false(id_is_valid(""));
}

static void strings_printable(void)
{
        char text[16];

        str_printable(text, sizeof(text), "plain", 5);
        assert_eq_str(text, "plain");
        str_printable(text, sizeof(text), "a\n\"\\b", 5);
        assert_eq_str(text, "a\\x0a\\x22\\x5cb");
        str_printable(text, sizeof(text), "fifteen letters", 15);
        assert_eq_str(text, "fifteen letters");
        str_printable(text, sizeof(text), "sixteen letters!", 16);
        assert_eq_str(text, "sixteen lett...");
        str_printable(text, sizeof(text), "\xff\0\x01\x02", 4);
        assert_eq_str(text, "\\xff\\x00\\x01...");
        str_printable(text, 4, "\xff", 1);
        assert_eq_str(text, "...");
        str_printable(text, 4, "", 0);
        assert_eq_str(text, "");
}

static void strings_utf8(void)
{
        static const struct {
                const char *bytes;
                size_t n, wanted;
        } cases[] = {
                {"a", 1, 1},
                {"\0", 1, 1},
                {"\xc3\xa9", 2, 2},
                {"\xe2\x82\xac", 3, 3},
                {"\xf0\x9f\x98\x80", 4, 4},
                {"\xf4\x8f\xbf\xbf", 4, 4},
                {"\x80", 1, 0},             /* a continuation alone */
                {"\xc3", 1, 0},             /* cut short */
                {"\xc3(", 2, 0},            /* no continuation */
                {"\xc0\x80", 2, 0},         /* over-long */
                {"\xe0\x9f\xbf", 3, 0},     /* over-long */
                {"\xf0\x8f\xbf\xbf", 4, 0}, /* over-long */
                {"\xed\xa0\x80", 3, 0},     /* a surrogate */
                {"\xf4\x90\x80\x80", 4, 0}, /* beyond U+10FFFF */
                {"\xf5\x80\x80\x80", 4, 0},
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                if (utf8_length((const uint8_t *)cases[i].bytes, cases[i].n) != cases[i].wanted)
                        test_fail("case %zu", i);
}

int main(void)
{
        TEST_RUN(strings_compare);
        TEST_RUN(strings_copy_is_bounded);
        TEST_RUN(strings_printf);
        TEST_RUN(strings_hex);
        TEST_RUN(strings_u64);
        TEST_RUN(strings_id);
        TEST_RUN(strings_printable);
        TEST_RUN(strings_utf8);
        return 0;
}
