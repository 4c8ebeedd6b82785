/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Taking a container away: stopped first, then everything that was made for it, in reverse, then the row. Each step may be
 * repeated, so that a removal that was cut off is simply begun again. */

#include "services/containerd/containerd.h"
#include "services/containerd/operation.h"

/* Where undoing begins. */
typedef enum RemoveFrom {
        REMOVE_FROM_LAUNCH,
        REMOVE_FROM_ROOTFS,
        REMOVE_FROM_WRITABLE,
        REMOVE_FROM_IMAGE,
        REMOVE_FROM_LEASE,
        REMOVE_FROM_ROW,
} RemoveFrom;

/* RemoveContainer: attaches to a removal under way. to may be REPLY_TO_NULL. 0 or -errno. */
int remove_request(Container *container, ReplyTo to);
/* What CreateContainer could not finish. Takes the waiters; they get the failure when everything is undone. 0 or -errno. */
int remove_undo(Container *container, RemoveFrom from, Waiters *waiters, const Failure *failure);
/* The container has ended: a removal that waits for that goes on. 0 or -errno. */
int remove_on_ended(Container *container);
/* It is made, or will never be: a removal that waited for that goes on. 0 or -errno. */
int remove_on_made(Container *container);
Remove *remove_free(Remove *remove);
