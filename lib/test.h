/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What unit tests assert with: every macro prints both sides and where, and ends the test. A test that needs something
 * the machine lacks calls test_skip(). TEST_RUN wraps a test function: fds and children are as many after it as before.
 */

#include "lib/base.h"

#include <dirent.h>
#include <stdio.h>

#define TEST_SKIPPED 77 /* meson's code for a skipped test */

#define test_fail(...)                                                                                                 \
        do {                                                                                                           \
                fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, __func__);                                          \
                fprintf(stderr, __VA_ARGS__);                                                                          \
                fputc('\n', stderr);                                                                                   \
                abort();                                                                                               \
        } while (0)

#define test_skip(...)                                                                                                 \
        do {                                                                                                           \
                printf("skipped: " __VA_ARGS__);                                                                       \
                putchar('\n');                                                                                         \
                exit(TEST_SKIPPED);                                                                                    \
        } while (0)

#define assert_true(x)                                                                                                 \
        do {                                                                                                           \
                if (!(x))                                                                                              \
                        test_fail("%s is false", #x);                                                                  \
        } while (0)
#define assert_false(x)                                                                                                \
        do {                                                                                                           \
                if (x)                                                                                                 \
                        test_fail("%s is true", #x);                                                                   \
        } while (0)

#define assert_eq_int(a, b)                                                                                            \
        do {                                                                                                           \
                long long test_a_ = (long long)(a), test_b_ = (long long)(b);                                          \
                if (test_a_ != test_b_)                                                                                \
                        test_fail("%s is %lld, %s is %lld", #a, test_a_, #b, test_b_);                                 \
        } while (0)

#define assert_eq_str(a, b)                                                                                            \
        do {                                                                                                           \
                const char *test_a_ = (a), *test_b_ = (b);                                                             \
                if (!test_a_ || !test_b_ || strcmp(test_a_, test_b_) != 0)                                             \
                        test_fail("%s is \"%s\", %s is \"%s\"", #a, test_a_ ? test_a_ : "(null)", #b,                  \
                                  test_b_ ? test_b_ : "(null)");                                                       \
        } while (0)

#define assert_eq_mem(a, n_a, b, n_b) test_eq_mem(__FILE__, __LINE__, #a, (a), (n_a), #b, (b), (n_b))

/* r must be 0; prints it otherwise. */
#define assert_ok(r) assert_eq_int((r), 0)

static inline void test_print_mem(const char *name, const uint8_t *bytes, size_t n)
{
        fprintf(stderr, "  %s: %zu bytes:", name, n);
        for (size_t i = 0; i < MIN2(n, 64); i++)
                fprintf(stderr, " %02x", bytes[i]);
        fprintf(stderr, "%s\n", n > 64 ? " ..." : "");
}

static inline void test_eq_mem(const char *file, int line, const char *name_a, const void *a, size_t n_a,
                               const char *name_b, const void *b, size_t n_b)
{
        if (n_a == n_b && (n_a == 0 || memcmp(a, b, n_a) == 0))
                return;
        fprintf(stderr, "%s:%d: bytes differ\n", file, line);
        test_print_mem(name_a, a, n_a);
        test_print_mem(name_b, b, n_b);
        abort();
}

static inline size_t test_count_dir(const char *path)
{
        DIR *dir = opendir(path);
        size_t n = 0;

        if (!dir)
                test_fail("cannot open %s: %s", path, strerror(errno));
        for (const struct dirent *e = readdir(dir); e; e = readdir(dir))
                n += e->d_name[0] != '.';
        (void)closedir(dir);
        return n;
}

/* Open fds of this process. */
static inline size_t test_fds_count(void)
{
        return test_count_dir("/proc/self/fd") - 1; /* the directory's own */
}

/* Children of this process, zombies included. */
static inline size_t test_children_count(void)
{
        char path[64];
        size_t n = 0;
        int pid = 0;
        FILE *f;

        (void)snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
        f = fopen(path, "re");
        if (!f)
                test_fail("cannot open %s: %s", path, strerror(errno));
        while (fscanf(f, "%d", &pid) == 1)
                n++;
        (void)fclose(f);
        return n;
}

typedef struct TestLeaks {
        size_t n_fds;
        size_t n_children;
} TestLeaks;

static inline TestLeaks test_leaks_begin(void)
{
        return (TestLeaks){.n_fds = test_fds_count(), .n_children = test_children_count()};
}

static inline void test_leaks_end(const char *name, TestLeaks before)
{
        if (test_fds_count() != before.n_fds)
                test_fail("%s: %zu fds before, %zu after", name, before.n_fds, test_fds_count());
        if (test_children_count() != before.n_children)
                test_fail("%s: %zu children before, %zu after", name, before.n_children, test_children_count());
}

/* Runs one test function and asserts that it leaves fds and children as they were. */
#define TEST_RUN(function)                                                                                             \
        do {                                                                                                           \
                TestLeaks test_leaks_ = test_leaks_begin();                                                            \
                function();                                                                                            \
                test_leaks_end(#function, test_leaks_);                                                                \
                printf("ok %s\n", #function);                                                                          \
                fflush(stdout);                                                                                        \
        } while (0)
