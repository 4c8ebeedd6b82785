/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A token bucket: at most burst tokens, refilled at per_sec. */

#include "lib/base.h"

typedef struct Bucket {
        uint32_t burst;
        uint32_t per_sec;
        uint64_t level_milli; /* thousandths of a token */
        uint64_t filled_usec;
} Bucket;

static inline void bucket_init(Bucket *b, uint32_t burst, uint32_t per_sec, uint64_t now_usec)
{
        *b = (Bucket){
                .burst = burst,
                .per_sec = per_sec,
                .level_milli = UINT64_C(1000) * burst,
                .filled_usec = now_usec,
        };
}

static inline void bucket_give(Bucket *b, uint32_t n)
{
        b->level_milli = MIN2(b->level_milli + UINT64_C(1000) * n, UINT64_C(1000) * b->burst);
}

/* Takes n tokens; false, and an empty bucket, if there are fewer. */
static inline bool bucket_take(Bucket *b, uint32_t n, uint64_t now_usec)
{
        /* An hour fills any bucket, and keeps the product far from overflow. */
        uint64_t elapsed = now_usec > b->filled_usec ? MIN2(now_usec - b->filled_usec, UINT64_C(3600000000)) : 0;
        uint64_t gained_milli = elapsed * b->per_sec / 1000;

        /* Time too short to yield a thousandth is not forgotten. */
        if (gained_milli > 0) {
                b->level_milli = MIN2(b->level_milli + gained_milli, UINT64_C(1000) * b->burst);
                b->filled_usec = now_usec;
        }
        if (b->level_milli < UINT64_C(1000) * n) {
                b->level_milli = 0;
                return false;
        }
        b->level_milli -= UINT64_C(1000) * n;
        return true;
}
