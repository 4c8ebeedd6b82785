/* SPDX-License-Identifier: Apache-2.0 */
#include "services/streamd/session-status.h"
#include "lib/strings.h"
#include <stdio.h>

/* Cut to fit. What is not printable ASCII becomes a question mark: it ends in a terminal. */
static void session_status_escape(char *to, size_t size, const char *text, bool json)
{
        size_t n = 0;

        for (const char *p = text; *p && n + 3 <= size; p++) {
                if (json && (*p == '"' || *p == '\\'))
                        to[n++] = '\\';
                to[n++] = *p >= ' ' && *p < 0x7f ? *p : '?';
        }
        to[n] = '\0';
}

/* The members and their order are those of kubelet's own server (k8s.io/cri-streaming, remotecommand), whose clients look at
 * status, reason and the cause ExitCode. */
size_t session_status_write(char to[static SESSION_STATUS_MAX], const SessionStatus *status, bool json)
{
        char error[SESSION_STATUS_MAX / 2];

        if (!str_is_empty(status->error)) {
                session_status_escape(error, sizeof(error), status->error, json);
                return (size_t)snprintf(to, SESSION_STATUS_MAX,
                                        json ? "{\"metadata\":{},\"status\":\"Failure\",\"message\":\"Internal error occurred: "
                                               "%s\",\"reason\":\"InternalError\",\"code\":500}"
                                             : "Internal error occurred: %s",
                                        error);
        }
        if (status->exit_code == 0)
                return json ? (size_t)snprintf(to, SESSION_STATUS_MAX, "{\"metadata\":{},\"status\":\"Success\"}") : 0;
        return (size_t)snprintf(to, SESSION_STATUS_MAX,
                                json ? "{\"metadata\":{},\"status\":\"Failure\",\"message\":\"command terminated with non-zero "
                                       "exit code: %d\",\"reason\":\"NonZeroExitCode\",\"details\":{\"causes\":[{\"reason\":"
                                       "\"ExitCode\",\"message\":\"%d\"}]}}"
                                     : "command terminated with non-zero exit code: %d",
                                status->exit_code, status->exit_code);
}
