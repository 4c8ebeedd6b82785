/* SPDX-License-Identifier: Apache-2.0 */
#include "services/gatewayd/h2-memory.h"

/* In front of each block; keeps the alignment of malloc. */
typedef struct H2Block {
        _Alignas(max_align_t) size_t n_bytes; /* of the whole block */
} H2Block;

static void *h2_memory_resize(void *p, size_t n, void *userdata)
{
        Budget *budget = userdata;
        H2Block *block = p ? (H2Block *)p - 1 : NULL;
        size_t had = block ? block->n_bytes : 0;
        size_t wanted;

        if (__builtin_add_overflow(n, sizeof(H2Block), &wanted))
                return NULL;
        if (wanted > had && !budget_take(budget, wanted - had))
                return NULL;
        block = realloc(block, wanted);
        if (!block) {
                if (wanted > had)
                        budget_give(budget, wanted - had);
                return NULL;
        }
        if (wanted < had)
                budget_give(budget, had - wanted);
        block->n_bytes = wanted;
        return block + 1;
}

static void h2_memory_free(void *p, void *userdata)
{
        if (!p)
                return;
        H2Block *block = (H2Block *)p - 1;
        budget_give(userdata, block->n_bytes);
        free(block);
}

static void *h2_memory_malloc(size_t n, void *userdata)
{
        return h2_memory_resize(NULL, n, userdata);
}

static void *h2_memory_calloc(size_t n_members, size_t size, void *userdata)
{
        size_t n;
        if (__builtin_mul_overflow(n_members, size, &n))
                return NULL;
        void *p = h2_memory_malloc(n, userdata);
        return p ? memset(p, 0, n) : NULL;
}

nghttp2_mem h2_memory(Budget *budget)
{
        return (nghttp2_mem){
                .mem_user_data = budget,
                .malloc = h2_memory_malloc,
                .free = h2_memory_free,
                .calloc = h2_memory_calloc,
                .realloc = h2_memory_resize,
        };
}
