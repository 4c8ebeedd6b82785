/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Parts of policy-print. */

#include "policy/rows.h"

/* What entering a row itself needs, before it is given up. */
#define PRINT_ENTER_CAPABILITIES "CAP_SYS_ADMIN CAP_SYS_CHROOT CAP_SETUID CAP_SETGID CAP_SETPCAP"

void print_capabilities(const PolicyRow *row, const char *prefix, const char *separator);

/* print-unit.c: the systemd units, on standard output; @libexecdir@ is the build's to fill in. */
void print_target(void);
void print_control_socket(void);
/* 0, or 2 if no unit is started under that name. */
int print_unit(const char *name);
