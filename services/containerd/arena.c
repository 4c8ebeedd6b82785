/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/arena.h"

#include "lib/error.h"
#include <stdarg.h>
#include <stdio.h>

void *arena_array(DecodeArena *arena, size_t n, size_t size)
{
        size_t n_bytes;

        if (__builtin_mul_overflow(MAX2(n, (size_t)1), size, &n_bytes))
                return NULL;
        void *p = decode_arena_alloc(arena, n_bytes);
        return p ? memset(p, 0, n_bytes) : NULL;
}

/* With a NUL behind it that is not counted. */
static char *arena_bytes(DecodeArena *arena, const void *bytes, size_t n)
{
        if (n == SIZE_MAX)
                return NULL;
        char *p = decode_arena_alloc(arena, n + 1);
        if (!p)
                return NULL;
        if (n > 0)
                memcpy(p, bytes, n);
        p[n] = '\0';
        return p;
}

char *arena_text(DecodeArena *arena, const char *s)
{
        return arena_bytes(arena, s ? s : "", s ? strlen(s) : 0);
}

char *arena_print(DecodeArena *arena, const char *format, ...)
{
        va_list args;
        _cleanup_free_ char *s = NULL;

        va_start(args, format);
        int n = vasprintf(&s, format, args);
        va_end(args);
        if (n < 0) {
                s = NULL;
                return NULL;
        }
        return arena_bytes(arena, s, (size_t)n);
}
