/* SPDX-License-Identifier: Apache-2.0 */

#include "lib/error.h"
#include "lib/test.h"

static int error_innermost(void)
{
        return error_origin(-ENOSPC);
}

static int error_middle(void)
{
        return fold(error_innermost());
}

static void error_keeps_value_and_hops(void)
{
        const char *trace;

        assert_eq_int(fold(error_middle()), -ENOSPC);
        trace = error_trace();
        assert_true(strstr(trace, "No space left on device in error_innermost()"));
        assert_true(strstr(trace, "< error_middle()"));
        assert_true(strstr(trace, "< error_keeps_value_and_hops()"));
        assert_true(strstr(trace, "test-error.c:"));
}

static void error_new_birth_forgets_the_old(void)
{
        (void)error_middle();
        (void)error_origin(-EPERM);
        assert_false(strstr(error_trace(), "error_innermost"));
        assert_true(strstr(error_trace(), "Operation not permitted"));
}

static void error_fold_of_an_untraced_failure_starts_a_trace(void)
{
        (void)error_middle();
        assert_eq_int(fold(-EBADF), -EBADF);
        assert_false(strstr(error_trace(), "error_innermost"));
        assert_true(strstr(error_trace(), "Bad file descriptor"));
}

static void error_trace_is_bounded(void)
{
        int r = error_origin(-EIO);

        for (int i = 0; i < 1000; i++)
                r = fold(r);
        assert_eq_int(r, -EIO);
        assert_true(strlen(error_trace()) < 1024);
        assert_true(strlen(error_trace()) > 100);
}

int main(void)
{
        TEST_RUN(error_keeps_value_and_hops);
        TEST_RUN(error_new_birth_forgets_the_old);
        TEST_RUN(error_fold_of_an_untraced_failure_starts_a_trace);
        TEST_RUN(error_trace_is_bounded);
        return 0;
}
