/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* imaged: which images and layers this node has, who holds them, and the pulls under way. Owns the database and the blob
 * files; parses nothing but typed messages. */

#include "ipc/config.h"
#include "services/imaged/image.h"
#include "services/service.h"
#include "services/store.h"

typedef struct Imaged {
        Service *service;
        const ConfigImaged *config; /* borrowed from the service */
        Store *store;               /* owned */
        ImageTable table;
        List pulls;      /* Pull.link */
        List layer_jobs; /* LayerJob.link */
        unsigned n_downloads;
        uint64_t n_blobs; /* names of temporary blob files */
        int blobs_fd;     /* owned: /state/blobs */
        struct Recovery *recovery; /* owned; NULL once READY, but for a sweep */
        bool is_keeping; /* trees without a row stay; see keeping.h */
        List kept;       /* Kept.link: containers that are not known here, and have a writable layer */
        struct ImagedStatements *statements; /* owned; see image-store.c */
} Imaged;

/* Channels, short. */
Channel *imaged_fetch(Imaged *imaged);
Channel *imaged_parse(Imaged *imaged);
Channel *imaged_tree(Imaged *imaged);

/* image-store.c: every change of an image is one transaction. All return 0, STORE_E_FULL or -errno. */
int image_store_open(Imaged *imaged, const char *path, const char *boot_id);
void image_store_close(Imaged *imaged);
int image_store_load(Imaged *imaged);
int image_store_put(Imaged *imaged, const Image *image);
int image_store_delete(Imaged *imaged, const Image *image); /* names and row; layers that are left follow with layer_delete */
int image_store_delete_layer(Imaged *imaged, const Layer *layer);
int image_store_put_hold(Imaged *imaged, const Hold *hold);
int image_store_delete_hold(Imaged *imaged, const char *container_id);

/* collect.c: takes away what nothing refers to any more. */
/* Layers without a user are removed from the store of trees; failures are tried again at the next start. */
void collect_unused(Imaged *imaged);

/* recover.c: compares the database with the trees, then sets READY. */
int recovery_start(Imaged *imaged);
/* Looks through the trees again, once they need not be kept. */
int recovery_sweep(Imaged *imaged);
void recovery_free(Imaged *imaged);
