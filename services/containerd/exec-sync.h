/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* ExecSync: runs a command in a container and answers with what it wrote and how it ended. The end is the command's own: a
 * child that it left behind with the pipe in its hand does not hold up the answer. */

#include "services/containerd/containerd.h"
#include "services/containerd/operation.h"

typedef struct Exec Exec;

/* Deals with an exec_sync frame; answers by itself. 0 or -errno. */
int exec_sync_request(Containerd *containerd, Frame *frame);
/* The caller went away: its command is killed. */
void exec_sync_cancelled(Containerd *containerd, uint32_t request_id);
/* NULL if there is none under way. */
Exec *exec_sync_find(Containerd *containerd, const char *id);
void exec_sync_free_all(Containerd *containerd);
