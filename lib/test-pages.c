/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/pages.h"

#include "lib/test.h"

/* KiB of a line of /proc/self/smaps in all mappings whose header has the text. */
static long smaps_kib(const char *mapping, const char *key)
{
        FILE *smaps = fopen("/proc/self/smaps", "re");
        char line[512];
        bool here = false;
        long kib = 0, value;

        assert_true(smaps);
        while (fgets(line, sizeof(line), smaps)) {
                char *colon = strchr(line, ':');
                if (colon && line[0] >= 'A' && line[0] <= 'Z') {
                        *colon = '\0';
                        if (here && strcmp(line, key) == 0 && sscanf(colon + 1, "%ld", &value) == 1)
                                kib += value;
                } else {
                        here = strstr(line, mapping);
                }
        }
        (void)fclose(smaps);
        return kib;
}

__attribute__((noinline)) static int stack_use(char with)
{
        volatile char room[400 * 1024];

        memset((void *)(uintptr_t)room, with, sizeof(room));
        return room[sizeof(room) / 2];
}

/* The floods leave their pages behind (the first half of each test); what the caller holds must be as it was. */
static void test_stack(void)
{
        char mine[64];

        memset(mine, 'm', sizeof(mine));
        assert_eq_int(stack_use('x'), 'x');
        long before = smaps_kib("[stack]", "Rss");
        assert_true(before >= 400);
        pages_give_back();
        assert_true(smaps_kib("[stack]", "Rss") < before - 300);
        for (size_t i = 0; i < sizeof(mine); i++)
                assert_eq_int(mine[i], 'm');
        assert_eq_int(stack_use('y'), 'y');
}

#ifndef __SANITIZE_ADDRESS__ /* which brings a heap of its own */
static void test_heap(void)
{
        enum { N = 2000 };
        char *pieces[N], *kept[N / 100] = {0};

        for (size_t i = 0; i < N; i++) {
                assert_true((pieces[i] = malloc(4000)));
                memset(pieces[i], (int)('a' + i / 100), 4000);
        }
        for (size_t i = 0; i < N; i++)
                if (i % 100 == 99)
                        kept[i / 100] = pieces[i];
                else
                        free(pieces[i]);
        long before = smaps_kib("[heap]", "Rss");
        assert_true(before >= 4L * N * 9 / 10); /* what is kept is spread over it, so that free() alone gives nothing back */
        pages_give_back();
        assert_true(smaps_kib("[heap]", "Rss") < before / 4);
        for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
                assert_eq_int(kept[i][0], 'a' + (int)i);
                assert_eq_int(kept[i][3999], 'a' + (int)i);
                free(kept[i]);
        }
}

#else
static void test_heap(void)
{
        pages_give_back();
}
#endif

static void test_libraries(void)
{
        long before = smaps_kib("/libc.so", "Rss");

        assert_true(before > 0);
        pages_give_back();
        assert_true(smaps_kib("/libc.so", "Private_Dirty") > 0); /* relocated, and has no other copy */
        assert_true(smaps_kib("/libc.so", "Rss") < before);
        assert_true(strtod("1.5", NULL) > 1.4); /* comes back */
}

int main(void)
{
        TEST_RUN(test_stack);
        TEST_RUN(test_heap);
        TEST_RUN(test_libraries);
        return 0;
}
