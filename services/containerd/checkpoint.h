/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* CheckpointContainer: imaged tells what the container changed in its root file system, containerd-launch has the OCI runtime write its
 * processes down and puts both into the archive. One at a time for a container. */

#include "services/containerd/containerd.h"

/* 0 or -errno; answers. */
int checkpoint_request(Container *container, Frame *frame);
/* The asker is told that it is given up. What containerd-launch does of it meanwhile, it finishes or throws away by itself. */
Checkpoint *checkpoint_free(Checkpoint *checkpoint);
