/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/failure.h"

#include <stdarg.h>
#include <stdio.h>

int failure_set(Failure *failure, uint32_t code, const char *format, ...)
{
        va_list args;

        if (failure->code)
                return FAILURE_E_SET;
        failure->code = code;
        va_start(args, format);
        (void)vsnprintf(failure->text, sizeof(failure->text), format, args);
        va_end(args);
        return FAILURE_E_SET;
}
