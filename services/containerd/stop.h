/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* StopContainer. What is wanted, and until when, is recorded before the first signal; at the deadline the whole cgroup is
 * killed; done when nothing of it is alive. */

#include "services/containerd/containerd.h"
#include "services/containerd/operation.h"

/* timeout_sec 0: at once. A second stop may shorten the first. to may be REPLY_TO_NULL. 0 or -errno. */
int stop_request(Container *container, ReplyTo to, int64_t timeout_sec);
/* After a restart: to the deadline that was recorded. 0 or -errno. */
int stop_again(Container *container);
/* The container has ended: those who wait are answered. 0 or -errno. */
int stop_on_ended(Container *container);
/* It is known what the runtime made of the container: a stop that waited for that goes on. 0 or -errno. */
int stop_on_made(Container *container);
Stop *stop_free(Stop *stop);
