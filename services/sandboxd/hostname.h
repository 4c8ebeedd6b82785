/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a pod may be called. */

#include "lib/base.h"

#define HOSTNAME_MAX 64 /* the kernel's __NEW_UTS_LEN */

/* Labels of letters, digits, '-' and '_', separated by single dots, none beginning or ending with '-'; 1 to 64 bytes. */
bool hostname_is_valid(const char *hostname);
