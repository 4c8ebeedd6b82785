/* SPDX-License-Identifier: Apache-2.0 */
#include "services/sandboxd/hostname.h"

#include "lib/test.h"

static void test_valid(void)
{
        static const char *const names[] = {"a", "web-0", "web-0.db.example", "A1", "x_y", "0"};
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (!hostname_is_valid(names[i]))
                        test_fail("\"%s\" is refused", names[i]);
        char name[HOSTNAME_MAX + 2] = {0};
        memset(name, 'a', HOSTNAME_MAX);
        assert_true(hostname_is_valid(name));
        name[HOSTNAME_MAX] = 'a';
        assert_false(hostname_is_valid(name));
}

static void test_invalid(void)
{
        static const char *const names[] = {"",    "-a",  "a-",   ".a",    "a.",     "a..b", "a.-b", "a-.b",
                                            "a b", "a/b", "a\nb", "a\x80", "ä", "a;b",  "a=b"};
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (hostname_is_valid(names[i]))
                        test_fail("\"%s\" passes", names[i]);
}

int main(void)
{
        TEST_RUN(test_valid);
        TEST_RUN(test_invalid);
        return 0;
}
