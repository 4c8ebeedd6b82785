/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Images, their names, their layers, and the containers that hold them: in memory, answered from without waiting. */

#include "ipc/decode.h"
#include "ipc/edges/containerd-imaged.pb-c.h"
#include "ipc/seal.h"
#include "lib/list.h"
#include "services/imaged/reference.h"

typedef Bulkhead__ContainerdImaged__ImageConfig ImageConfig;

typedef struct Layer {
        List link; /* in ImageTable.layers */
        uint8_t digest[32];  /* of the compressed blob: the tree's name */
        uint8_t diff_id[32];
        uint64_t blob_bytes; /* compressed */
        uint64_t disk_bytes, inodes;
        unsigned n_users; /* images and pulls */
        bool stored;      /* has a row */
        bool removing;    /* its tree is being removed */
} Layer;

typedef struct ImageName {
        List link; /* in Image.names */
        bool is_digest; /* registry/repository@sha256:…, else registry/repository:tag */
        char text[REFERENCE_MAX];
} ImageName;

typedef struct Image {
        List link; /* in ImageTable.images */
        char id[ID_LENGTH + 1]; /* hex of the config's digest */
        uint64_t size_bytes;    /* config and compressed layers */
        int64_t pulled_nsec;
        uint8_t *config_packed; /* owned */
        size_t n_config_packed;
        DecodeArena config_arena;
        ImageConfig *config; /* in the arena */
        List names;          /* ImageName.link */
        Layer **layers;      /* owned array; lowest first; each counts us as a user */
        size_t n_layers;
        Layer **stack; /* owned array; what is mounted, lowest first: imaged-tree's answer for the layers; users too */
        size_t n_stack;
        List users; /* of image-user.h */
        size_t n_users;
        unsigned n_holds;
        bool removed; /* no longer listed; lives until its last hold is gone */
} Image;

/* A container's claim on its image and its writable layer. */
typedef struct Hold {
        List link; /* in ImageTable.holds */
        char container_id[ID_LENGTH + 1];
        uint32_t slot; /* 0: what the container is made of; else an image volume */
        Image *image; /* borrowed; counts us in n_holds */
        bool writable; /* a writable layer was prepared */
        uint64_t measured_bytes, measured_inodes; /* of the writable layer, when it was last measured */
} Hold;

typedef struct ImageTable {
        List images;
        List layers;
        List holds;
} ImageTable;

void image_table_init(ImageTable *table);
void image_table_done(ImageTable *table);

/* Takes config_packed in any case; outcome IMAGE_E_CONFIG when it does not decode. Not yet in the table. */
enum { IMAGE_E_CONFIG = 1 };
int image_new(Image **ret, const char *id, uint8_t *config_packed, size_t n_config_packed, size_t n_layers);
Image *image_free(Image *image);
DEFINE_CLEANUP(Image, image_free)
void image_set_layer(Image *image, size_t i, Layer *layer);
/* Takes the array of the n layers; each gets the image as a user. */
void image_set_stack(Image *image, Layer **stack, size_t n);
int image_add_name(Image *image, const char *text, bool is_digest); /* no second copy of the same text */
void image_remove_name(Image *image, const char *text);

/* Also one that is removed and only held. */
Image *image_table_find_any(ImageTable *table, const char *id);
/* The image that is listed under this id; NULL if none. */
Image *image_table_find_id(ImageTable *table, const char *id);
Image *image_table_find_name(ImageTable *table, const char *name);
/* By full id, reference, or unique beginning of an id: what CRI clients write. NULL if nothing or several fit. */
Image *image_table_resolve(ImageTable *table, const char *text);

int layer_new(Layer **ret, ImageTable *table, const uint8_t digest[32]);
Layer *layer_free(Layer *layer);
Layer *image_table_find_layer(ImageTable *table, const uint8_t digest[32]);

Hold *image_table_find_hold(ImageTable *table, const char *container_id, uint32_t slot);
int hold_new(Hold **ret, ImageTable *table, const char *container_id, uint32_t slot, Image *image);
Hold *hold_free(Hold *hold);

/* The digests of what is mounted, lowest first; there are at most SEAL_LAYERS_MAX. Returns how many. */
uint32_t image_copy_stack(const Image *image, uint8_t to[SEAL_LAYERS_MAX][32]);

/* The statement that binds the image to its layers for one reference; SEAL_LAYERS_MAX layers at most (else false). */
bool image_make_statement(const Image *image, const char *reference, const uint8_t key[SEAL_KEY_BYTES], Statement *ret);
