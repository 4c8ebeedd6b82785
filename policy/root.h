/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a process sees of the file system. */

#include "policy/rows.h"

/* A new mount namespace whose root is a read-only tmpfs with only the row's directories; the old root is detached, not merely
 * hidden: a private copy of the host's mounts would keep dead pods' namespaces alive. Needs CAP_SYS_ADMIN. */
int root_enter_fresh(const PolicyRow *row, const ConfigCommon *config);
/* chroot to <runtime_dir>/empty. Enough for a process that is about to lose every capability and holds no directory. */
int root_enter_empty(const ConfigCommon *config);
