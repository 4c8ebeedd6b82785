/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The signal that asks a container to stop: as the CRI numbers it, as image configurations write it, as the kernel counts it. */

#include "ipc/cri/api.pb-c.h"
#include "lib/base.h"

/* The kernel's number; 0 for RUNTIME_DEFAULT and what is unknown. */
int stop_signal_of_cri(Runtime__V1__Signal signal);
/* RUNTIME_DEFAULT if the CRI has none for it. */
Runtime__V1__Signal stop_signal_to_cri(int signal);
/* "SIGTERM", "term", "15", "SIGRTMIN+3"; 0 if it is none of these. */
int stop_signal_of_text(const char *text);
