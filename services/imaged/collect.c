/* SPDX-License-Identifier: Apache-2.0 */

/* Layers that nothing refers to are removed off the request's path. The row goes after the tree: a crash between the two leaves
 * a row without a tree, which the next start sees and drops. */

#include "ipc/edges/imaged-tree.h"
#include "ipc/edges/imaged-tree.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/log.h"
#include "services/imaged/imaged.h"
#include "services/imaged/layer-job.h"

typedef struct Collection {
        Imaged *imaged;
        uint8_t digest[32];
} Collection;

static int collect_on_removed(void *userdata, const Answer *answer)
{
        _cleanup_free_ Collection *collection = userdata;
        Imaged *imaged = collection->imaged;
        Layer *layer = image_table_find_layer(&imaged->table, collection->digest);
        if (!layer)
                return 0;
        layer->removing = false;
        if (answer->outcome != 0) {
                log_warning("a layer without a user stays until the next start: %s", answer->text);
                return fold(layer_job_on_removed(imaged, collection->digest));
        }
        layer->stored = false;
        if (layer->n_users == 0) {
                int r = image_store_delete_layer(imaged, layer);
                if (r < 0)
                        return fold(r);
                (void)layer_free(layer);
        }
        return fold(layer_job_on_removed(imaged, collection->digest));
}

static void collect_layer(Imaged *imaged, Layer *layer)
{
        Collection *collection = calloc(1, sizeof(*collection));
        if (!collection)
                return; /* tried again with the next removal */
        collection->imaged = imaged;
        memcpy(collection->digest, layer->digest, 32);
        TreeName verb = {.kind = TREE_KIND_LAYER};
        hex_encode(verb.name, layer->digest, 32);
        layer->removing = true;
        if (channel_call_flat(imaged_tree(imaged), ROW_IMAGED_TREE_TREE_REMOVE, &verb, NULL, 0, USEC_INFINITY, collect_on_removed,
                              collection, NULL) < 0) {
                layer->removing = false;
                free(collection);
        }
}

void collect_unused(Imaged *imaged)
{
        list_for_each_safe(i, n, &imaged->table.images) {
                Image *image = container_of(i, Image, link);
                if (image->removed && image->n_holds == 0 && image_store_delete(imaged, image) == 0)
                        (void)image_free(image);
        }
        list_for_each_safe(i, n, &imaged->table.layers) {
                Layer *layer = container_of(i, Layer, link);
                if (layer->n_users == 0 && !layer->removing && !imaged->is_keeping)
                        collect_layer(imaged, layer);
        }
}
