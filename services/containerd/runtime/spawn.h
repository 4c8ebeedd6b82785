/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The start of a shim. libc only. */

#include "ipc/config.h"
#include <sys/types.h>

/* In a session and in a cgroup of its own beneath cgroup_fd (-1: where we are), with report_fd and no other fd of ours. Its pid, or -1
 * with errno. */
pid_t spawn_shim(const ConfigCommon *common, int cgroup_fd, const char *id, int report_fd);
