/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* After the loss of the database, or of rows of it, nobody knows which layers are mounted under the containers that run. So nothing
 * of the store of trees is collected until the last container is gone whose writable layer is there and not known here, or the node
 * was rebooted. Images are pulled again; what is pulled finds its layers in their place. */

#include "services/imaged/imaged.h"

typedef struct Kept {
        List link; /* in Imaged.kept */
        char container_id[ID_LENGTH + 1];
} Kept;

/* Says whether trees without a row stay for now. Before the trees are listed. */
void keeping_begin(Imaged *imaged);
/* A container's writable layer that no row tells of is there. 0 or -errno. */
int keeping_add(Imaged *imaged, const char *container_id);
/* It is gone. True if it was the last one: what has no row may go now. */
bool keeping_remove(Imaged *imaged, const char *container_id);
/* All trees were listed. True if none is kept for anybody (any more). */
bool keeping_listed(Imaged *imaged);
void keeping_free(Imaged *imaged);
