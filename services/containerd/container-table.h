/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* All containers, sorted by id: found by id, by a prefix of it, or by pod, name and attempt. */

#include "services/containerd/container.h"

#define CONTAINER_TABLE_MAX 16384

typedef struct ContainerTable {
        Container **items; /* owned, and what they point at */
        size_t n;
        size_t n_allocated;
} ContainerTable;

void container_table_done(ContainerTable *table);

/* Takes the container. 0, CONTAINER_TABLE_E_FULL, CONTAINER_TABLE_E_EXISTS (then it is still the caller's) or -errno. */
enum { CONTAINER_TABLE_E_FULL = 1, CONTAINER_TABLE_E_EXISTS, CONTAINER_TABLE_E_NOT_FOUND, CONTAINER_TABLE_E_AMBIGUOUS };
int container_table_add(ContainerTable *table, Container *container);
/* Gives it back to the caller. */
Container *container_table_remove(ContainerTable *table, Container *container);

/* NULL if there is none; the id is complete. */
Container *container_table_find(const ContainerTable *table, const char *id);
/* By an id or the unique beginning of one; those that are not listed yet are not found. 0, NOT_FOUND or AMBIGUOUS. */
int container_table_resolve(const ContainerTable *table, const char *prefix, Container **ret);
/* The index of the first container whose id is not less than the prefix. */
size_t container_table_from(const ContainerTable *table, const char *prefix);
Container *container_table_find_key(const ContainerTable *table, const char *pod_id, const char *name, uint32_t attempt);
