/* SPDX-License-Identifier: Apache-2.0 */

/* After a start: trees without a row are removed, rows without a tree are dropped, so that an image that is listed can run. After the
 * loss of the database trees without a row may be in use, and stay for the time being: see keeping.h. */

#include "ipc/edges/imaged-tree.h"
#include "ipc/edges/imaged-tree.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/log.h"
#include "services/imaged/keeping.h"

typedef struct Recovery {
        Imaged *imaged;
        size_t kind; /* index of recovery_kinds */
        uint32_t offset;
        uint32_t call;
        bool is_sweep; /* while requests are served: only layers, and of the table nothing is moved */
        List found; /* layers whose tree is there, moved from the table */
} Recovery;

static const uint32_t recovery_kinds[] = {TREE_KIND_LAYER, TREE_KIND_WRITABLE, TREE_KIND_IMPORT};

void recovery_free(Imaged *imaged)
{
        Recovery *recovery = TAKE_PTR(imaged->recovery);
        if (!recovery)
                return;
        if (recovery->call)
                channel_cancel(imaged_tree(imaged), recovery->call);
        list_for_each_safe(i, n, &recovery->found) {
                list_remove(i);
                list_append(&imaged->table.layers, i);
        }
        free(recovery);
}

static int recovery_on_removed(void *userdata, const Answer *answer)
{
        if (answer->outcome != 0)
                log_warning("a left-over tree stays until the next start: %s", answer->text);
        return 0;
}

static int recovery_remove(Imaged *imaged, uint32_t kind, const char *name)
{
        TreeName verb = {.kind = kind};
        (void)str_copy(verb.name, sizeof(verb.name), name);
        return fold(channel_call_flat(imaged_tree(imaged), ROW_IMAGED_TREE_TREE_REMOVE, &verb, NULL, 0, USEC_INFINITY,
                                      recovery_on_removed, NULL, NULL));
}

/* One tree that is there: does anything know it? */
static int recovery_check(Recovery *recovery, uint32_t kind, const char *name)
{
        Imaged *imaged = recovery->imaged;
        uint8_t digest[32];
        if (kind == TREE_KIND_LAYER && hex_decode(digest, 32, name)) {
                Layer *layer = image_table_find_layer(&imaged->table, digest);
                if (layer && recovery->is_sweep)
                        return 0;
                if (layer) {
                        list_remove(&layer->link);
                        list_append(&recovery->found, &layer->link);
                        return 0;
                }
        } else if (kind == TREE_KIND_WRITABLE) {
                Hold *hold = image_table_find_hold(&imaged->table, name, 0);
                if (hold && hold->writable)
                        return 0;
                if (imaged->is_keeping)
                        return fold(keeping_add(imaged, name));
        }
        if (imaged->is_keeping && kind == TREE_KIND_LAYER)
                return 0;
        return fold(recovery_remove(imaged, kind, name));
}

/* What is left in the table has a row and no tree: images that need it cannot run and are dropped, loudly. */
static int recovery_drop_broken(Imaged *imaged)
{
        list_for_each_safe(i, n, &imaged->table.images) {
                Image *image = container_of(i, Image, link);
                bool broken = false;
                for (size_t k = 0; k < image->n_layers; k++)
                        broken = broken || !image->layers[k] || !image->layers[k]->stored;
                for (size_t k = 0; k < image->n_stack; k++)
                        broken = broken || !image->stack[k]->stored;
                if (!broken && image->n_stack > 0)
                        continue;
                log_error("image sha256:%s has lost layers and is no longer listed; pull it again", image->id);
                image->removed = true;
                /* Their layers may be there, under rows that cannot be read. */
                list_for_each(h, &imaged->table.holds) {
                        const Hold *hold = container_of(h, Hold, link);
                        int r = imaged->is_keeping && hold->image == image ? keeping_add(imaged, hold->container_id) : 0;
                        if (r < 0)
                                return fold(r);
                }
                if (image->n_holds == 0) {
                        int r = image_store_delete(imaged, image);
                        if (r < 0)
                                return fold(r);
                        (void)image_free(image);
                }
        }
        return 0;
}

static int recovery_step(Recovery *recovery);

static int recovery_finish(Recovery *recovery)
{
        Imaged *imaged = recovery->imaged;
        if (!recovery->is_sweep)
                list_for_each(i, &imaged->table.layers)
                        container_of(i, Layer, link)->stored = false;
        bool was_ready = recovery->is_sweep;
        recovery_free(imaged);
        int r = was_ready ? 0 : recovery_drop_broken(imaged);
        if (r < 0)
                return fold(r);
        if (!was_ready)
                service_set_state(imaged->service, ROW_STATE_READY);
        bool may_sweep = keeping_listed(imaged);
        collect_unused(imaged);
        return may_sweep ? fold(recovery_sweep(imaged)) : 0;
}

static int recovery_on_listed(void *userdata, const Answer *answer)
{
        Recovery *recovery = userdata;
        recovery->call = 0;
        if (answer->outcome != 0) {
                log_warning("the store of trees cannot be listed yet: %s", answer->text);
                return fold(recovery_step(recovery));
        }
        const TreeListed *listed = answer->frame->flat;
        for (uint32_t i = 0; i < listed->n && i < TREE_LIST_MAX; i++) {
                char name[ID_LENGTH + 1];
                memcpy(name, listed->names[i], ID_LENGTH);
                name[ID_LENGTH] = '\0';
                int r = recovery_check(recovery, recovery_kinds[recovery->kind], name);
                if (r < 0)
                        return fold(r);
        }
        recovery->offset += listed->n;
        if (!listed->more || listed->n == 0) {
                recovery->kind++;
                recovery->offset = 0;
        }
        return fold(recovery_step(recovery));
}

static int recovery_step(Recovery *recovery)
{
        if (recovery->kind == (recovery->is_sweep ? 1 : ARRAY_SIZE(recovery_kinds)))
                return fold(recovery_finish(recovery));
        TreeList verb = {.kind = recovery_kinds[recovery->kind], .offset = recovery->offset};
        return fold(channel_call_flat(imaged_tree(recovery->imaged), ROW_IMAGED_TREE_TREE_LIST, &verb, NULL, 0, USEC_INFINITY,
                                      recovery_on_listed, recovery, &recovery->call));
}

static int recovery_run(Imaged *imaged, bool is_sweep)
{
        Recovery *recovery = imaged->recovery = calloc(1, sizeof(*recovery));
        if (!recovery)
                return error_origin(-ENOMEM);
        recovery->imaged = imaged;
        recovery->is_sweep = is_sweep;
        list_init(&recovery->found);
        return fold(recovery_step(recovery));
}

int recovery_start(Imaged *imaged)
{
        keeping_begin(imaged);
        return fold(recovery_run(imaged, false));
}

int recovery_sweep(Imaged *imaged)
{
        return imaged->recovery ? 0 : fold(recovery_run(imaged, true));
}
