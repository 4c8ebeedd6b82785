/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/tree/report.h"
#include "lib/error.h"
#include "lib/fd.h"

#include <stdarg.h>
#include <stdio.h>

int report_fail(Report *report, uint32_t code, const char *format, ...)
{
        va_list args;

        if (report->code)
                return REPORT_E_FAILED;
        report->code = code;
        va_start(args, format);
        (void)vsnprintf(report->text, sizeof(report->text), format, args);
        va_end(args);
        return REPORT_E_FAILED;
}

static uint32_t report_code_of(int error)
{
        switch (error) {
        case ENOSPC:
        case EDQUOT:
        case ENOMEM:
        case ENFILE:
        case EMFILE:
                return GRPC_STATUS_RESOURCE_EXHAUSTED;
        case EIO:
        case EROFS:
        case ENOSYS:
        case EBADF:
        case EFAULT:
                return GRPC_STATUS_INTERNAL;
        default:
                return GRPC_STATUS_INVALID_ARGUMENT;
        }
}

int report_errno(Report *report, int error, const char *what, const char *name)
{
        char shown[256];

        str_printable(shown, sizeof(shown), name, strlen(name));
        return report_fail(report, report_code_of(error), "%s \"%s\": %s", what, shown, strerror(error));
}

int report_write(int fd, const Report *report)
{
        int r = fd_write_full(fd, report, sizeof(*report));
        return r ? fold(r) : 0;
}

int report_read(int fd, Report *ret)
{
        char text[REPORT_TEXT_MAX];
        size_t n = 0;

        while (n < sizeof(*ret)) {
                ssize_t got = read(fd, (uint8_t *)ret + n, sizeof(*ret) - n);

                if (got < 0 && errno == EINTR)
                        continue;
                if (got < 0)
                        return error_origin(negative_errno());
                if (got == 0)
                        break;
                n += (size_t)got;
        }
        if (n < sizeof(*ret)) {
                memset(ret, 0, sizeof(*ret));
                (void)report_fail(ret, GRPC_STATUS_INTERNAL, "the jail ended without a report");
                return 0;
        }
        if (ret->code > GRPC_STATUS_UNAUTHENTICATED)
                ret->code = GRPC_STATUS_INTERNAL;
        memcpy(text, ret->text, sizeof(text));
        text[sizeof(text) - 1] = 0;
        /* Quotes and backslashes in it are ours or were escaped already. */
        for (char *c = text; *c; c++)
                if (*c < ' ' || *c > '~')
                        *c = '?';
        memcpy(ret->text, text, sizeof(text));
        ret->is_opaque = !!ret->is_opaque;
        ret->user.n_groups = MIN2(ret->user.n_groups, TREE_GROUPS_MAX);
        ret->user.uid_known = !!ret->user.uid_known;
        ret->user.home[sizeof(ret->user.home) - 1] = 0;
        ret->user.username[sizeof(ret->user.username) - 1] = 0;
        return 0;
}
