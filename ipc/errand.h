/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A child that is sent for one frame: it enters what its parent must not enter (a namespace), does one thing there, sends what
 * came of it and ends. The parent waits for it and stays where it is. Needs libc only. */

#include "ipc/wire.h"

/* Runs in the child, which ends with what it returns, 0 to 127, as its exit code. It may have children of its own send the frame,
 * and waits for them. */
typedef int (*ErrandRun)(void *userdata, int socket_fd);

/* Waits for a child's end: its exit code, 128 and the signal's number if a signal ended it, -1 if there is no such child. */
int errand_wait(pid_t pid);

/* userdata is borrowed. A frame that came is the caller's to free; of one that did not, WIRE_E_EOF or what else wire_receive() says
 * of it. ret_status is errand_wait()'s, also then. -errno: no child could be started, or its frame not be received. */
int errand_run(ErrandRun run, void *userdata, WireFrame *ret_frame, int *ret_status);
