/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One layer on its way into the store: downloaded (or read from an archive) into a nameless blob file, hashed, unpacked by
 * imaged-tree. Pulls that need the same layer share the job. */

#include "services/imaged/registry.h"

typedef struct LayerJob LayerJob;

typedef enum LayerStage { LAYER_STAGE_WAITING, LAYER_STAGE_DOWNLOADING, LAYER_STAGE_UNPACKING, LAYER_STAGE_DONE, LAYER_STAGE_PRESENT } LayerStage;
const char *layer_stage_name(LayerStage stage);

typedef struct LayerWant {
        List link; /* in LayerJob.wants */
        LayerJob *job; /* NULL once done */
        Registry *registry; /* borrowed; serves the job if this want is first */
        char path[512];     /* imports: the blob's path in the archive */
        bool has_digest;    /* a docker archive names no digest: what was read counts */
        uint8_t digest[32];
        uint8_t diff_id[32];
        uint64_t size_bytes; /* compressed, as announced; 0: unknown */
        Layer *layer;        /* the result; counts the want as a user */
        LayerStage stage;
        /* 0 and want->layer, or a gRPC status and text. */
        int (*done)(void *userdata, struct LayerWant *want, uint32_t code, const char *text);
        void *userdata;
} LayerWant;

/* Joins the job for this layer or starts one. done may be called from inside when the layer is present. */
int layer_want_start(LayerWant *want, Imaged *imaged);
/* Leaves the job; a job that nobody wants goes on to its end, since its bytes are worth having. */
void layer_want_done(LayerWant *want, Imaged *imaged);
/* Compressed bytes that have come so far. */
uint64_t layer_want_bytes(const LayerWant *want);
/* The old tree of this layer is gone: jobs that waited for that unpack now. */
int layer_job_on_removed(Imaged *imaged, const uint8_t digest[32]);
void layer_job_free_all(Imaged *imaged);
