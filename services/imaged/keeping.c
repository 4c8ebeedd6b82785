/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/keeping.h"

#include "lib/error.h"
#include "lib/log.h"

static Kept *kept_free(Kept *kept)
{
        list_remove(&kept->link);
        free(kept);
        return NULL;
}

static Kept *keeping_find(const Imaged *imaged, const char *container_id)
{
        list_for_each(i, &imaged->kept) {
                Kept *kept = container_of(i, Kept, link);
                if (str_equal(kept->container_id, container_id))
                        return kept;
        }
        return NULL;
}

void keeping_begin(Imaged *imaged)
{
        uint64_t n_unreadable = 0;
        if (store_quarantined(imaged->store, NULL, &n_unreadable) < 0)
                n_unreadable = 1;
        imaged->is_keeping = !store_is_new_boot(imaged->store) && (store_was_replaced(imaged->store) || n_unreadable > 0);
}

int keeping_add(Imaged *imaged, const char *container_id)
{
        if (keeping_find(imaged, container_id))
                return 0;
        Kept *kept = calloc(1, sizeof(*kept));
        if (!kept)
                return error_origin(-ENOMEM);
        (void)str_copy(kept->container_id, sizeof(kept->container_id), container_id);
        list_append(&imaged->kept, &kept->link);
        log_warning("container %.13s: what is recorded of its image and writable layer is lost or cannot be read; they stay until it is "
                    "removed: remove it", container_id);
        return 0;
}

static bool keeping_end(Imaged *imaged)
{
        if (!imaged->is_keeping || !list_is_empty(&imaged->kept))
                return false;
        imaged->is_keeping = false;
        if (store_replacement_done(imaged->store) != 0)
                log_warning("the loss of the database is over, which cannot be written: %s", store_error_text(imaged->store));
        return true;
}

bool keeping_remove(Imaged *imaged, const char *container_id)
{
        Kept *kept = keeping_find(imaged, container_id);
        if (!kept)
                return false;
        (void)kept_free(kept);
        return keeping_end(imaged);
}

bool keeping_listed(Imaged *imaged)
{
        /* After a reboot nothing is mounted. */
        if (!imaged->is_keeping && store_was_replaced(imaged->store) && store_replacement_done(imaged->store) != 0)
                log_warning("the loss of the database is over, which cannot be written: %s", store_error_text(imaged->store));
        return keeping_end(imaged);
}

void keeping_free(Imaged *imaged)
{
        list_for_each_safe(i, n, &imaged->kept)
                (void)kept_free(container_of(i, Kept, link));
}
