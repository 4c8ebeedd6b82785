/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The rows of containers. Written where one is made, changes its state or is removed; never on a read. The row of a container
 * that is being made, stopped or removed is the record of that intent. */

#include "services/containerd/container.h"
#include "services/store.h"


typedef struct ContainerStore {
        Store *store; /* owned */
        StoreStatement *insert, *record, *save, *update, *remove, *load; /* the store's */
} ContainerStore;

/* 0, STORE_E_FULL, STORE_E_VERSION or -errno. */
int container_store_open(ContainerStore *store, const char *path, const char *boot_id);
void container_store_done(ContainerStore *store);

/* A new row, with the state CREATING. 0, STORE_E_FULL, STORE_E_CONFLICT or -errno. */
int container_store_insert(ContainerStore *store, Container *container);
/* The record, once it is made, or changed, with the state that the container has or is to have: no update is under way any more. 0,
 * STORE_E_FULL or -errno. */
int container_store_record(ContainerStore *store, Container *container, ContainerState state);
/* State, times, end, intents. A full disk is not an error: the row is marked and written later. 0 or -errno. */
int container_store_save(ContainerStore *store, Container *container);
/* The update that is under way, NULL: none. 0, STORE_E_FULL or -errno. */
int container_store_update(ContainerStore *store, Container *container, const uint8_t *bytes, size_t n);
int container_store_remove(ContainerStore *store, Container *container); /* 0, STORE_E_FULL or -errno */

/* Makes a container of each row. One that cannot be read is listed as UNKNOWN, if its id can. 0 or -errno. */
int container_store_load(ContainerStore *store, Containerd *containerd);
