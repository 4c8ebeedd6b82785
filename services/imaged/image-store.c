/* SPDX-License-Identifier: Apache-2.0 */

/* What imaged remembers: images, names, layers, holds. Written where one of them is made or ends, never on a read. */

#include <stdio.h>

#include "lib/error.h"
#include "lib/log.h"
#include "services/imaged/imaged.h"

#define IMAGE_STORE_CONFIG_MAX (8 * 1024 * 1024)

static const char *const image_store_migrations[] = {
        "CREATE TABLE layers (digest BLOB PRIMARY KEY, diff_id BLOB NOT NULL, blob_bytes INTEGER NOT NULL,"
        " disk_bytes INTEGER NOT NULL, inodes INTEGER NOT NULL) WITHOUT ROWID;"
        "CREATE TABLE images (id TEXT PRIMARY KEY, config BLOB NOT NULL, size_bytes INTEGER NOT NULL,"
        " pulled_nsec INTEGER NOT NULL, removed INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;"
        "CREATE TABLE image_stack (image TEXT NOT NULL, position INTEGER NOT NULL, digest BLOB NOT NULL,"
        " PRIMARY KEY (image, position)) WITHOUT ROWID;"
        "CREATE TABLE image_layers (image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE, position INTEGER NOT NULL,"
        " digest BLOB NOT NULL, PRIMARY KEY (image, position)) WITHOUT ROWID;"
        "CREATE TABLE names (name TEXT PRIMARY KEY, image TEXT NOT NULL, is_digest INTEGER NOT NULL) WITHOUT ROWID;"
        "CREATE TABLE holds (container TEXT PRIMARY KEY, image TEXT NOT NULL, writable INTEGER NOT NULL) WITHOUT ROWID;",
        "CREATE TABLE slots (container TEXT NOT NULL, slot INTEGER NOT NULL, image TEXT NOT NULL, writable INTEGER NOT NULL,"
        " PRIMARY KEY (container, slot)) WITHOUT ROWID;"
        "INSERT INTO slots SELECT container, 0, image, writable FROM holds;"
        "DROP TABLE holds;"
        "ALTER TABLE slots RENAME TO holds;",
};

typedef struct ImagedStatements {
        StoreStatement *put_layer, *put_image, *delete_image_layers, *put_image_layer, *delete_image_stack, *put_image_stack, *load_image_stack, *put_name, *delete_names, *delete_image,
                *delete_layer, *put_hold, *delete_hold, *load_layers, *load_images, *load_image_layers, *load_names, *load_holds;
} ImagedStatements;

int image_store_open(Imaged *imaged, const char *path, const char *boot_id)
{
        const StoreSpec spec = {
                .path = path,
                .boot_id = boot_id,
                .migrations = image_store_migrations,
                .n_migrations = ARRAY_SIZE(image_store_migrations),
        };
        int r = store_open(&imaged->store, &spec);
        if (r)
                return r < 0 ? fold(r) : r;
        ImagedStatements *s = imaged->statements = calloc(1, sizeof(*s));
        if (!s)
                return error_origin(-ENOMEM);
        const StorePreparation all[] = {
                {&s->put_layer, "INSERT OR REPLACE INTO layers VALUES (?, ?, ?, ?, ?)"},
                {&s->put_image, "INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?, ?)"},
                {&s->delete_image_layers, "DELETE FROM image_layers WHERE image = ?"},
                {&s->put_image_layer, "INSERT INTO image_layers VALUES (?, ?, ?)"},
                {&s->delete_image_stack, "DELETE FROM image_stack WHERE image = ?"},
                {&s->put_image_stack, "INSERT INTO image_stack VALUES (?, ?, ?)"},
                {&s->load_image_stack, "SELECT image, position, digest FROM image_stack ORDER BY image, position"},
                {&s->put_name, "INSERT OR REPLACE INTO names VALUES (?, ?, ?)"},
                {&s->delete_names, "DELETE FROM names WHERE image = ?"},
                {&s->delete_image, "DELETE FROM images WHERE id = ?"},
                {&s->delete_layer, "DELETE FROM layers WHERE digest = ?"},
                {&s->put_hold, "INSERT OR REPLACE INTO holds VALUES (?, ?, ?, ?)"},
                {&s->delete_hold, "DELETE FROM holds WHERE container = ?"},
                {&s->load_layers, "SELECT hex(digest), digest, diff_id, blob_bytes, disk_bytes, inodes FROM layers"},
                {&s->load_images, "SELECT id, config, size_bytes, pulled_nsec, removed,"
                                  " (SELECT count(*) FROM image_layers WHERE image = id) FROM images"},
                {&s->load_image_layers, "SELECT image, position, digest FROM image_layers"},
                {&s->load_names, "SELECT name, image, is_digest FROM names"},
                {&s->load_holds, "SELECT container, image, writable, slot FROM holds"},
        };
        return fold(store_prepare_all(imaged->store, all, ARRAY_SIZE(all)));
}

void image_store_close(Imaged *imaged)
{
        if (imaged->store)
                imaged->store = store_close(imaged->store);
        free(TAKE_PTR(imaged->statements));
}

static int image_store_on_layer(void *userdata, StoreStatement *row, const char **ret_why)
{
        Imaged *imaged = userdata;
        const void *digest, *diff_id;
        size_t n_digest, n_diff_id;
        int64_t blob_bytes, disk_bytes, inodes;
        if (!store_column_blob(row, 1, 32, &digest, &n_digest) || n_digest != 32 ||
            !store_column_blob(row, 2, 32, &diff_id, &n_diff_id) || n_diff_id != 32 ||
            !store_column_integer(row, 3, 0, INT64_MAX, &blob_bytes) ||
            !store_column_integer(row, 4, 0, INT64_MAX, &disk_bytes) || !store_column_integer(row, 5, 0, INT64_MAX, &inodes)) {
                *ret_why = "a column of the layer is not what was written";
                return 1;
        }
        Layer *layer;
        int r = layer_new(&layer, &imaged->table, digest);
        if (r < 0)
                return fold(r);
        memcpy(layer->diff_id, diff_id, 32);
        layer->blob_bytes = (uint64_t)blob_bytes;
        layer->disk_bytes = (uint64_t)disk_bytes;
        layer->inodes = (uint64_t)inodes;
        layer->stored = true;
        return 0;
}

static int image_store_on_image(void *userdata, StoreStatement *row, const char **ret_why)
{
        Imaged *imaged = userdata;
        const char *id;
        const void *config;
        size_t n_config;
        int64_t size_bytes, pulled_nsec, removed, n_layers;
        if (!store_column_text(row, 0, ID_LENGTH, &id) || !id_is_valid(id) ||
            !store_column_blob(row, 1, IMAGE_STORE_CONFIG_MAX, &config, &n_config) ||
            !store_column_integer(row, 2, 0, INT64_MAX, &size_bytes) ||
            !store_column_integer(row, 3, 0, INT64_MAX, &pulled_nsec) || !store_column_integer(row, 4, 0, 1, &removed) ||
            !store_column_integer(row, 5, 0, SEAL_LAYERS_MAX, &n_layers)) {
                *ret_why = "a column of the image is not what was written";
                return 1;
        }
        uint8_t *packed = malloc(n_config ? n_config : 1);
        if (!packed)
                return error_origin(-ENOMEM);
        memcpy(packed, config, n_config);
        Image *image;
        int r = image_new(&image, id, packed, n_config, (size_t)n_layers);
        if (r == IMAGE_E_CONFIG) {
                *ret_why = "its configuration does not decode";
                return 1;
        }
        if (r < 0)
                return fold(r);
        image->size_bytes = (uint64_t)size_bytes;
        image->pulled_nsec = pulled_nsec;
        image->removed = removed;
        list_append(&imaged->table.images, &image->link);
        return 0;
}

/* A row (image, position, digest) of image_layers or image_stack. 1: it cannot be read, why in *ret_why. */
static int image_store_read_position(Imaged *imaged, StoreStatement *row, Image **ret_image, Layer **ret_layer, size_t *ret_position,
                                     const char **ret_why)
{
        const char *id;
        const void *digest;
        size_t n;
        int64_t position;
        if (!store_column_text(row, 0, ID_LENGTH, &id) || !store_column_integer(row, 1, 0, SEAL_LAYERS_MAX - 1, &position) ||
            !store_column_blob(row, 2, 32, &digest, &n) || n != 32) {
                *ret_why = "a column of the image's layer is not what was written";
                return 1;
        }
        Image *image = image_table_find_any(&imaged->table, id);
        Layer *layer = image_table_find_layer(&imaged->table, digest);
        if (!image || !layer) {
                *ret_why = "it names an image or a layer that is not there";
                return 1;
        }
        *ret_image = image;
        *ret_layer = layer;
        *ret_position = (size_t)position;
        return 0;
}

static int image_store_on_image_layer(void *userdata, StoreStatement *row, const char **ret_why)
{
        Image *image;
        Layer *layer;
        size_t position;
        if (image_store_read_position(userdata, row, &image, &layer, &position, ret_why))
                return 1;
        if (position >= image->n_layers || image->layers[position]) {
                *ret_why = "its position is taken or beyond the image's layers";
                return 1;
        }
        image_set_layer(image, position, layer);
        return 0;
}

static int image_store_on_image_stack(void *userdata, StoreStatement *row, const char **ret_why)
{
        Image *image;
        Layer *layer;
        size_t position;
        if (image_store_read_position(userdata, row, &image, &layer, &position, ret_why))
                return 1;
        if (position != image->n_stack) {
                *ret_why = "its position does not follow the one before it";
                return 1;
        }
        Layer **stack = calloc(image->n_stack + 1, sizeof(Layer *));
        if (!stack)
                return error_origin(-ENOMEM);
        if (image->n_stack > 0)
                memcpy(stack, image->stack, image->n_stack * sizeof(Layer *));
        stack[image->n_stack] = layer;
        image_set_stack(image, stack, image->n_stack + 1);
        return 0;
}

static int image_store_on_name(void *userdata, StoreStatement *row, const char **ret_why)
{
        Imaged *imaged = userdata;
        const char *name, *id;
        int64_t is_digest;
        if (!store_column_text(row, 0, REFERENCE_MAX - 1, &name) || !store_column_text(row, 1, ID_LENGTH, &id) ||
            !store_column_integer(row, 2, 0, 1, &is_digest)) {
                *ret_why = "a column of the name is not what was written";
                return 1;
        }
        Image *image = image_table_find_any(&imaged->table, id);
        if (!image) {
                *ret_why = "it names an image that is not there";
                return 1;
        }
        return fold(image_add_name(image, name, is_digest));
}

static int image_store_on_hold(void *userdata, StoreStatement *row, const char **ret_why)
{
        Imaged *imaged = userdata;
        const char *container, *id;
        int64_t writable, slot;
        if (!store_column_text(row, 0, ID_LENGTH, &container) || !id_is_valid(container) ||
            !store_column_text(row, 1, ID_LENGTH, &id) || !store_column_integer(row, 2, 0, 1, &writable) ||
            !store_column_integer(row, 3, 0, SEAL_VOLUMES_MAX, &slot)) {
                *ret_why = "a column of the hold is not what was written";
                return 1;
        }
        Image *image = image_table_find_any(&imaged->table, id);
        if (!image) {
                *ret_why = "it names an image that is not there";
                return 1;
        }
        Hold *hold;
        int r = hold_new(&hold, &imaged->table, container, (uint32_t)slot, image);
        if (r < 0)
                return fold(r);
        hold->writable = writable;
        return 0;
}

/* What a row that cannot be read means for people: images can be pulled again. */
typedef struct ImageLoad {
        Imaged *imaged;
        const char *origin;
        StoreRow on_row;
} ImageLoad;

static int image_store_on_row(void *userdata, StoreStatement *row, const char **ret_why)
{
        const ImageLoad *load = userdata;
        int r = load->on_row(load->imaged, row, ret_why);
        const char *key = r > 0 ? (const char *)sqlite3_column_text(row, 0) : NULL;
        if (r > 0)
                log_error("%s: the row of %.64s cannot be used: %s; pull its image again", load->origin, key ? key : "?", *ret_why);
        return r < 0 ? fold(r) : r;
}

int image_store_load(Imaged *imaged)
{
        const ImagedStatements *s = imaged->statements;
        const struct {
                StoreStatement *statement;
                const char *origin;
                StoreRow on_row;
        } all[] = {
                {s->load_layers, "layers", image_store_on_layer},
                {s->load_images, "images", image_store_on_image},
                {s->load_image_layers, "image_layers", image_store_on_image_layer},
                {s->load_image_stack, "image_stack", image_store_on_image_stack},
                {s->load_names, "names", image_store_on_name},
                {s->load_holds, "holds", image_store_on_hold},
        };
        for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
                ImageLoad load = {imaged, all[i].origin, all[i].on_row};
                int r = store_each(imaged->store, all[i].statement, all[i].origin, image_store_on_row, &load);
                if (r < 0)
                        return fold(r);
        }
        return 0;
}

static int image_store_put_layers(Imaged *imaged, Layer *const *layers, size_t n)
{
        int r = 0;
        for (size_t i = 0; r == 0 && i < n; i++)
                r = store_run(imaged->store, imaged->statements->put_layer, STORE_BLOB(layers[i]->digest, 32), STORE_BLOB(layers[i]->diff_id, 32),
                              STORE_INTEGER(layers[i]->blob_bytes), STORE_INTEGER(layers[i]->disk_bytes), STORE_INTEGER(layers[i]->inodes));
        return r;
}

int image_store_put(Imaged *imaged, const Image *image)
{
        const ImagedStatements *s = imaged->statements;
        _cleanup_(store_rollbackp) Store *guard = imaged->store;
        int r = store_begin(imaged->store);
        if (r == 0)
                r = image_store_put_layers(imaged, image->layers, image->n_layers);
        if (r == 0)
                r = image_store_put_layers(imaged, image->stack, image->n_stack);
        if (r == 0)
                r = store_run(imaged->store, s->delete_image_stack, STORE_TEXT(image->id));
        if (r == 0)
                r = store_run(imaged->store, s->delete_image_layers, STORE_TEXT(image->id));
        if (r == 0)
                r = store_run(imaged->store, s->put_image, STORE_TEXT(image->id),
                              STORE_BLOB(image->config_packed, image->n_config_packed), STORE_INTEGER(image->size_bytes),
                              STORE_INTEGER(image->pulled_nsec), STORE_INTEGER(image->removed));
        for (size_t i = 0; r == 0 && i < image->n_layers; i++)
                r = store_run(imaged->store, s->put_image_layer, STORE_TEXT(image->id), STORE_INTEGER(i),
                              STORE_BLOB(image->layers[i]->digest, 32));
        for (size_t i = 0; r == 0 && i < image->n_stack; i++)
                r = store_run(imaged->store, s->put_image_stack, STORE_TEXT(image->id), STORE_INTEGER(i),
                              STORE_BLOB(image->stack[i]->digest, 32));
        if (r == 0)
                r = store_run(imaged->store, s->delete_names, STORE_TEXT(image->id));
        list_for_each(i, (List *)&image->names) {
                const ImageName *name = container_of(i, ImageName, link);
                if (r == 0)
                        r = store_run(imaged->store, s->put_name, STORE_TEXT(name->text), STORE_TEXT(image->id),
                                      STORE_INTEGER(name->is_digest));
        }
        if (r == 0)
                r = store_commit(imaged->store);
        if (r)
                return r < 0 ? fold(r) : r;
        for (size_t i = 0; i < image->n_layers; i++)
                image->layers[i]->stored = true;
        return 0;
}

int image_store_delete(Imaged *imaged, const Image *image)
{
        const ImagedStatements *s = imaged->statements;
        _cleanup_(store_rollbackp) Store *guard = imaged->store;
        int r = store_begin(imaged->store);
        if (r == 0)
                r = store_run(imaged->store, s->delete_names, STORE_TEXT(image->id));
        if (r == 0)
                r = store_run(imaged->store, s->delete_image_layers, STORE_TEXT(image->id));
        if (r == 0)
                r = store_run(imaged->store, s->delete_image_stack, STORE_TEXT(image->id));
        if (r == 0)
                r = store_run(imaged->store, s->delete_image, STORE_TEXT(image->id));
        if (r == 0)
                r = store_commit(imaged->store);
        return r < 0 ? fold(r) : r;
}

int image_store_delete_layer(Imaged *imaged, const Layer *layer)
{
        int r = store_run(imaged->store, imaged->statements->delete_layer, STORE_BLOB(layer->digest, 32));
        return r < 0 ? fold(r) : r;
}

int image_store_put_hold(Imaged *imaged, const Hold *hold)
{
        int r = store_run(imaged->store, imaged->statements->put_hold, STORE_TEXT(hold->container_id), STORE_INTEGER(hold->slot),
                          STORE_TEXT(hold->image->id), STORE_INTEGER(hold->writable));
        return r < 0 ? fold(r) : r;
}

int image_store_delete_hold(Imaged *imaged, const char *container_id)
{
        int r = store_run(imaged->store, imaged->statements->delete_hold, STORE_TEXT(container_id));
        return r < 0 ? fold(r) : r;
}
