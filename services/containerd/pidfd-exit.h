/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The exit code of a process that is not our child, from its pidfd (PIDFD_GET_INFO, Linux 6.15). */

#include "lib/base.h"

/* 0; NOT_YET: it has not ended, or is not reaped; UNKNOWN: this kernel does not say. */
enum { PIDFD_EXIT_E_NOT_YET = 1, PIDFD_EXIT_E_UNKNOWN };
int pidfd_exit_read(int pidfd, int32_t *ret_code);

