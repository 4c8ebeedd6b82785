/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Finds out what became of a container whose shim we are not connected to: because we were restarted, or the shim was. It
 * still runs and has its shim again; or its end was recorded; or the shim itself is gone, and then its process is watched. */

#include "services/containerd/containerd.h"
#include "services/containerd/operation.h"

/* If it is not under way already. 0 or -errno. */
int attach_begin(Container *container);
/* Nothing is known yet about the container; false also where its shim is gone and its process is watched. */
bool attach_is_open(const Container *container);
Attach *attach_free(Attach *attach);
