/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A pull or an import under way: from a reference to an image with names. It goes on when its client leaves; a second request
 * for the same joins it. */

#include "services/imaged/layer-job.h"

typedef struct Pull Pull;

/* Joins or starts; answers through to (a CRI PullImageResponse). */
int pull_image(Imaged *imaged, const Runtime__V1__PullImageRequest *request, ReplyTo to);
/* Imports <state_dir>/import/<file>; name (may be "") overrides the archive's own. */
int pull_import(Imaged *imaged, const char *file, const char *name, ReplyTo to);
/* Fills the answer for a pull of this reference, if there is one; strings are borrowed until the next event. */
int pull_progress(Imaged *imaged, const char *image, ReplyTo to);
void pull_free_all(Imaged *imaged);
