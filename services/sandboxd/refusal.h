/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Why something that was asked for is not done: what the asker gets instead of a result. */

#include "lib/base.h"
#include "lib/grpc-status.h"
#include <stdarg.h>
#include <stdio.h>

typedef struct Refusal {
        GrpcStatus code;
        char text[768];
} Refusal;

/* Fills the refusal and returns 1: the positive outcome of the functions that have a Refusal parameter. */
static inline int _printf_(3, 4) refusal_set(Refusal *refusal, GrpcStatus code, const char *format, ...)
{
        va_list arguments;
        refusal->code = code;
        va_start(arguments, format);
        vsnprintf(refusal->text, sizeof(refusal->text), format, arguments);
        va_end(arguments);
        return 1;
}
