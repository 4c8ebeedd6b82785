/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/container-table.h"

#include "lib/error.h"

void container_table_done(ContainerTable *table)
{
        for (size_t i = 0; i < table->n; i++)
                (void)container_free(table->items[i]);
        free(TAKE_PTR(table->items));
        table->n = table->n_allocated = 0;
}

size_t container_table_from(const ContainerTable *table, const char *prefix)
{
        size_t low = 0, high = table->n;

        while (low < high) {
                size_t middle = low + (high - low) / 2;
                if (strcmp(table->items[middle]->id, prefix) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

int container_table_add(ContainerTable *table, Container *container)
{
        size_t at = container_table_from(table, container->id);

        if (at < table->n && str_equal(table->items[at]->id, container->id))
                return CONTAINER_TABLE_E_EXISTS;
        if (table->n == CONTAINER_TABLE_MAX)
                return CONTAINER_TABLE_E_FULL;
        if (table->n == table->n_allocated) {
                size_t n = MAX2(table->n_allocated * 2, (size_t)64);
                Container **items = realloc(table->items, n * sizeof(*items));
                if (!items)
                        return error_origin(-ENOMEM);
                table->items = items;
                table->n_allocated = n;
        }
        memmove(table->items + at + 1, table->items + at, (table->n - at) * sizeof(*table->items));
        table->items[at] = container;
        table->n++;
        return 0;
}

Container *container_table_remove(ContainerTable *table, Container *container)
{
        size_t at = container_table_from(table, container->id);

        if (at == table->n || table->items[at] != container)
                return NULL;
        table->n--;
        memmove(table->items + at, table->items + at + 1, (table->n - at) * sizeof(*table->items));
        return container;
}

Container *container_table_find(const ContainerTable *table, const char *id)
{
        size_t at = container_table_from(table, id);

        return at < table->n && str_equal(table->items[at]->id, id) ? table->items[at] : NULL;
}

int container_table_resolve(const ContainerTable *table, const char *prefix, Container **ret)
{
        Container *found = NULL;

        if (str_is_empty(prefix))
                return CONTAINER_TABLE_E_NOT_FOUND;
        for (size_t i = container_table_from(table, prefix); i < table->n && str_has_prefix(table->items[i]->id, prefix); i++) {
                if (table->items[i]->state == CONTAINER_STATE_CREATING)
                        continue;
                if (found)
                        return CONTAINER_TABLE_E_AMBIGUOUS;
                found = table->items[i];
        }
        if (!found)
                return CONTAINER_TABLE_E_NOT_FOUND;
        *ret = found;
        return 0;
}

Container *container_table_find_key(const ContainerTable *table, const char *pod_id, const char *name, uint32_t attempt)
{
        for (size_t i = 0; i < table->n; i++) {
                Container *container = table->items[i];
                if (container->attempt == attempt && str_equal(container->name, name) && str_equal(container->pod_id, pod_id))
                        return container;
        }
        return NULL;
}
