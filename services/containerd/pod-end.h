/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* sandboxd says that a pod ends: its containers are stopped (and removed), and it hears when none holds a lease any more. */

#include "services/containerd/containerd.h"

int pod_end_request(Containerd *containerd, const char *pod_id, bool remove, ReplyTo to); /* 0 or -errno */
/* Looks again: something about this pod changed. 0 or -errno. */
int pod_end_look(Containerd *containerd, const char *pod_id);
/* After a recovery: what was found belongs to pods that end, too. 0 or -errno. */
int pod_end_again(Containerd *containerd);
/* sandboxd no longer waits. */
void pod_end_cancelled(Containerd *containerd, uint32_t request_id);
void pod_end_free_all(Containerd *containerd);
