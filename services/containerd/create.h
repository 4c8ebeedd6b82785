/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* CreateContainer: from the request to a container that waits to be started. The row is the intent: a retry attaches to it, a
 * client that goes away does not stop it, and what cannot be finished is undone in reverse. */

#include "services/containerd/containerd.h"
#include "services/containerd/operation.h"

/* Deals with a create_container frame. 0: it can go; CREATE_E_KEPT: the frame was kept (frame_keep()); or -errno. */
enum { CREATE_E_KEPT = 1 };
int create_request(Containerd *containerd, Frame *frame);

/* launch has checked what was asked for: the caller is answered, and the runtime's own work goes on. 0 or -errno. */
int create_on_checked(Container *container);
/* Not answered yet. */
bool create_is_open(const Create *create);
/* It is known what the runtime made of it: what waited for that goes on. 0 or -errno. */
int create_made(Container *container);

/* At its next step it is undone; those who wait get this failure. */
void create_cancel(Create *create, uint32_t code, const char *why);
Create *create_free(Create *create);
