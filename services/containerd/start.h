/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* StartContainer. One that cannot be started has ended: EXITED, code 128, reason StartError. */

#include "services/containerd/containerd.h"
#include "services/containerd/operation.h"

/* Answers by itself. 0 or -errno. */
int start_request(Container *container, ReplyTo to);
/* A start that was cut off: whether it was done is found out by doing it again. 0 or -errno. */
int start_again(Container *container);
/* The container is made, or will never be: a start that waited for that goes on. 0 or -errno. */
int start_on_made(Container *container);
/* The runtime is at it: an end waits until that is over. */
bool start_is_under_way(const Container *container);
/* The container is EXITED: a start that failed is answered. 0 or -errno. */
int start_on_exited(Container *container);
Start *start_free(Start *start);
