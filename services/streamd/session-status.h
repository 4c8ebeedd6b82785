/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How a session ended, as its client is told on the error stream: metav1.Status of Kubernetes in JSON from sub-protocol v4
 * on, plain text (and nothing on success) before. */

#include "lib/base.h"

#define SESSION_STATUS_MAX 2048

typedef struct SessionStatus {
        int exit_code;     /* 0: success */
        const char *error; /* "" or NULL: it ran; else why it did not, or why its end is unknown */
} SessionStatus;

/* Writes the bytes of the status; returns their number, below SESSION_STATUS_MAX. A long or odd error is cut and escaped. */
size_t session_status_write(char to[static SESSION_STATUS_MAX], const SessionStatus *status, bool json);
