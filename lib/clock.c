/* SPDX-License-Identifier: Apache-2.0 */

#include "lib/clock.h"

#include <time.h>

/* clock_gettime() cannot fail for these clocks. */
static uint64_t clock_usec(clockid_t clock)
{
        struct timespec now = {0};

        (void)clock_gettime(clock, &now);
        return (uint64_t)now.tv_sec * USEC_PER_SEC + (uint64_t)now.tv_nsec / 1000;
}

uint64_t clock_monotonic_usec(void)
{
        return clock_usec(CLOCK_MONOTONIC);
}

uint64_t clock_boottime_usec(void)
{
        return clock_usec(CLOCK_BOOTTIME);
}

int64_t clock_realtime_nsec(void)
{
        struct timespec now = {0};

        (void)clock_gettime(CLOCK_REALTIME, &now);
        return (int64_t)now.tv_sec * NSEC_PER_SEC + now.tv_nsec;
}
