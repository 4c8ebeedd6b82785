/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Landlock, as far as the running kernel has it. */

#include "policy/rows.h"

/* Restricts this process to what the row says; paths are those of its new root. Does nothing where the kernel has no
 * Landlock: root and seccomp stand without it. */
int landlock_enter(const PolicyRow *row, const ConfigCommon *config);
