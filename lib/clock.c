/* SPDX-License-Identifier: Apache-2.0 */

#include "lib/clock.h"

#include <time.h>

/* clock_gettime() cannot fail for these two clocks. */
uint64_t clock_monotonic_usec(void)
{
        struct timespec now = {0};

        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * USEC_PER_SEC + (uint64_t)now.tv_nsec / 1000;
}

int64_t clock_realtime_nsec(void)
{
        struct timespec now = {0};

        (void)clock_gettime(CLOCK_REALTIME, &now);
        return (int64_t)now.tv_sec * NSEC_PER_SEC + now.tv_nsec;
}
