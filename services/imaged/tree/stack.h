/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Directories that a layer passes through. A layer may have d/f without an entry for d: then d is as the layers below have it, mode,
 * owner, attributes and all. overlayfs takes a directory's attributes from the uppermost layer that has it, and this layer's
 * tree must have d to hold f. Layers are shared between images and unpacked side by side, so what lies below is not known then.
 * Hence such directories are marked (whiteout.h), and when an image is complete one more layer is made for its top, with those
 * that would come out wrong. Most images have none. */

#include "services/imaged/tree/report.h"

/* Runs in a jail with the layers at /apart/<number>, lowest first, the merged image at /image and the new layer at /tree. Sets
 * n_implicit, the number of directories it made, bytes and inodes. 0 or REPORT_E_FAILED. */
int stack_make(uint32_t n_layers, Report *report);
