/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Clocks. Deadlines are absolute CLOCK_MONOTONIC microseconds; times in CRI messages are CLOCK_REALTIME nanoseconds. */

#include "lib/base.h"

#define USEC_PER_SEC UINT64_C(1000000)
#define NSEC_PER_SEC INT64_C(1000000000)
#define USEC_INFINITY UINT64_MAX

uint64_t clock_monotonic_usec(void);
int64_t clock_realtime_nsec(void);
/* Since the boot of the machine, sleep included: the same for every process of it. */
uint64_t clock_boottime_usec(void);
