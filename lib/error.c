/* SPDX-License-Identifier: Apache-2.0 */

/* The trace of the last failure: where it was born and which hops it passed. It is process state like the logger's,
 * kept as pointers to string literals and made text only when somebody asks, so that a failure costs nothing but the
 * stores. */

#include "lib/error.h"

#include <stdio.h>

#define ERROR_HOPS_MAX 16

typedef struct ErrorHop {
        const char *file;
        const char *function;
        int line;
} ErrorHop;

typedef struct ErrorTrace {
        ErrorHop hops[ERROR_HOPS_MAX];
        size_t n_hops;
        size_t n_lost; /* hops that did not fit */
        int code;
        char text[1024];
} ErrorTrace;

static _Thread_local ErrorTrace error_last;

void error_push(int r, bool born, const char *file, int line, const char *function)
{
        /* A failure from a function that does not trace starts a trace, too. */
        if (born || r != error_last.code) {
                error_last.code = r;
                error_last.n_hops = 0;
                error_last.n_lost = 0;
        }
        if (error_last.n_hops == ERROR_HOPS_MAX) {
                error_last.n_lost++;
                return;
        }
        error_last.hops[error_last.n_hops++] = (ErrorHop){.file = file, .function = function, .line = line};
}

const char *error_trace(void)
{
        size_t at = 0, size = sizeof(error_last.text);
        int n;

        error_last.text[0] = 0;
        if (error_last.n_hops == 0)
                return error_last.text;
        n = snprintf(error_last.text, size, "%s", strerror(-error_last.code));
        at = n > 0 ? MIN2((size_t)n, size - 1) : 0;
        for (size_t i = 0; i < error_last.n_hops; i++) {
                const ErrorHop *hop = &error_last.hops[i];

                n = snprintf(error_last.text + at, size - at, "%s%s() %s:%d", i == 0 ? " in " : " < ", hop->function,
                             hop->file, hop->line);
                at += n > 0 ? MIN2((size_t)n, size - 1 - at) : 0;
        }
        if (error_last.n_lost > 0)
                (void)snprintf(error_last.text + at, size - at, " < %zu more", error_last.n_lost);
        return error_last.text;
}
