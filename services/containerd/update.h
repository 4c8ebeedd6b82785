/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* UpdateContainerResources: all limits that are asked for are in force afterwards, or none. The call is in the row while it is under
 * way, so that it is finished after a restart; what was applied is then part of the container's record. */

#include "services/containerd/containerd.h"
#include "services/containerd/operation.h"

typedef struct Update Update;

/* Updates of one container are done one after the other. 0 or -errno. */
int update_request(Container *container, Frame *frame);
/* After a restart: the one that was under way. 0 or -errno. */
int update_again(Container *container);
/* With those that wait for it. */
Update *update_free(Update *update);
