/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The init of a shared PID namespace, seen by its pidfd: with its end the kernel ends every process of the pod, so the pod ends
 * too, instead of looking READY with nothing in it. */

#include "services/sandboxd/sandboxd.h"

/* Takes pidfd; -1: the pod has no init, nothing happens. 0 or -errno. */
int init_watch(Pod *pod, int pidfd);
/* After a restart: asks sandboxd-setup for the pidfd and watches it; a pod whose init has ended meanwhile ends. */
int init_watch_resume(Pod *pod);
void init_unwatch(Pod *pod);
