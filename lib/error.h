/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Error convention. 0 is success. A negative errno means that we failed: it is never compared, only forwarded with
 * fold(). A positive value is an outcome that one function documents; its direct caller handles it.
 * The trace of hops is kept in memory and printed once, by whoever logs the failure at the edge. */

#include "lib/base.h"

/* Traces that the failure r passed here; returns r unchanged. Positive outcomes must not reach it. */
#define fold(r) error_fold((r), __FILE__, __LINE__, __func__)
/* A failure is born here: error_origin(-ENOMEM). Starts a new trace. */
#define error_origin(r) error_born((r), __FILE__, __LINE__, __func__)

void error_push(int r, bool born, const char *file, int line, const char *function);

/* Inline, so that compilers and analyzers see that what comes out is what went in. */
static inline int error_fold(int r, const char *file, int line, const char *function)
{
        error_push(r, false, file, line, function);
        return r;
}

static inline int error_born(int r, const char *file, int line, const char *function)
{
        error_push(r, true, file, line, function);
        return r;
}

/* The hops since the last error_origin(), newest last, as one line; borrowed until the next trace. */
const char *error_trace(void);
