/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/image.h"

#include <assert.h>

#include "lib/error.h"
#include "services/imaged/image-user.h"

#define IMAGE_CONFIG_BUDGET (16 * 1024 * 1024)

void image_table_init(ImageTable *table)
{
        list_init(&table->images);
        list_init(&table->layers);
        list_init(&table->holds);
}

void image_table_done(ImageTable *table)
{
        if (!table->images.next)
                return;
        list_for_each_safe(i, n, &table->holds)
                hold_free(container_of(i, Hold, link));
        list_for_each_safe(i, n, &table->images)
                image_free(container_of(i, Image, link));
        list_for_each_safe(i, n, &table->layers)
                layer_free(container_of(i, Layer, link));
}

int image_new(Image **ret, const char *id, uint8_t *config_packed, size_t n_config_packed, size_t n_layers)
{
        _cleanup_free_ uint8_t *packed = config_packed;
        _cleanup_(image_freep) Image *image = calloc(1, sizeof(*image));
        if (!image)
                return error_origin(-ENOMEM);
        list_init(&image->link);
        list_init(&image->names);
        list_init(&image->users);
        decode_arena_init(&image->config_arena, IMAGE_CONFIG_BUDGET);
        (void)str_copy(image->id, sizeof(image->id), id);
        image->layers = calloc(n_layers ? n_layers : 1, sizeof(*image->layers));
        if (!image->layers)
                return error_origin(-ENOMEM);
        image->n_layers = n_layers;
        ProtobufCMessage *message = NULL;
        int r = decode_message(&image->config_arena, &bulkhead__containerd_imaged__image_config__descriptor, packed,
                               n_config_packed, &message);
        if (r < 0)
                return fold(r);
        if (r > 0)
                return IMAGE_E_CONFIG;
        image->config = container_of(message, ImageConfig, base);
        image->config_packed = TAKE_PTR(packed);
        image->n_config_packed = n_config_packed;
        *ret = TAKE_PTR(image);
        return 0;
}

Image *image_free(Image *image)
{
        if (!image)
                return NULL;
        assert(image->n_holds == 0);
        list_for_each_safe(i, n, &image->names) {
                ImageName *name = container_of(i, ImageName, link);
                list_remove(&name->link);
                free(name);
        }
        for (size_t i = 0; i < image->n_layers; i++)
                if (image->layers[i])
                        image->layers[i]->n_users--;
        image_set_stack(image, NULL, 0);
        image_user_forget_all(image);
        list_remove(&image->link);
        decode_arena_done(&image->config_arena);
        free(image->config_packed);
        free(image->layers);
        free(image);
        return NULL;
}

void image_set_layer(Image *image, size_t i, Layer *layer)
{
        assert(i < image->n_layers && !image->layers[i]);
        image->layers[i] = layer;
        layer->n_users++;
}

void image_set_stack(Image *image, Layer **stack, size_t n)
{
        for (size_t i = 0; i < n; i++)
                stack[i]->n_users++;
        for (size_t i = 0; i < image->n_stack; i++)
                image->stack[i]->n_users--;
        free(image->stack);
        image->stack = stack;
        image->n_stack = n;
}

static ImageName *image_find_name(const Image *image, const char *text)
{
        list_for_each(i, (List *)&image->names) {
                ImageName *name = container_of(i, ImageName, link);
                if (str_equal(name->text, text))
                        return name;
        }
        return NULL;
}

static bool image_has_name(const Image *image, const char *text)
{
        return image_find_name(image, text) != NULL;
}

int image_add_name(Image *image, const char *text, bool is_digest)
{
        if (image_has_name(image, text))
                return 0;
        ImageName *name = calloc(1, sizeof(*name));
        if (!name)
                return error_origin(-ENOMEM);
        name->is_digest = is_digest;
        (void)str_copy(name->text, sizeof(name->text), text);
        list_append(&image->names, &name->link);
        return 0;
}

void image_remove_name(Image *image, const char *text)
{
        ImageName *name = image_find_name(image, text);
        if (!name)
                return;
        list_remove(&name->link);
        free(name);
}

Image *image_table_find_any(ImageTable *table, const char *id)
{
        list_for_each(i, &table->images) {
                Image *image = container_of(i, Image, link);
                if (str_equal(image->id, id))
                        return image;
        }
        return NULL;
}

Image *image_table_find_id(ImageTable *table, const char *id)
{
        Image *image = image_table_find_any(table, id);
        return image && !image->removed ? image : NULL;
}

Image *image_table_find_name(ImageTable *table, const char *name)
{
        list_for_each(i, &table->images) {
                Image *image = container_of(i, Image, link);
                if (!image->removed && image_has_name(image, name))
                        return image;
        }
        return NULL;
}

static Image *image_table_find_prefix(ImageTable *table, const char *prefix)
{
        Image *found = NULL;
        list_for_each(i, &table->images) {
                Image *image = container_of(i, Image, link);
                if (image->removed || !str_has_prefix(image->id, prefix))
                        continue;
                if (found)
                        return NULL;
                found = image;
        }
        return found;
}

Image *image_table_resolve(ImageTable *table, const char *text)
{
        char digits[ID_LENGTH + 1], name[REFERENCE_MAX];
        bool is_id = reference_is_id(text, digits);
        if (is_id && strlen(digits) == ID_LENGTH)
                return image_table_find_id(table, digits);
        Reference reference;
        const char *why;
        if (!str_has_prefix(text, "sha256:") && reference_parse(&reference, text, &why) == 0) {
                reference_format(&reference, name);
                Image *image = image_table_find_name(table, name);
                if (image)
                        return image;
        }
        return is_id ? image_table_find_prefix(table, digits) : NULL;
}

int layer_new(Layer **ret, ImageTable *table, const uint8_t digest[32])
{
        Layer *layer = calloc(1, sizeof(*layer));
        if (!layer)
                return error_origin(-ENOMEM);
        memcpy(layer->digest, digest, 32);
        list_append(&table->layers, &layer->link);
        *ret = layer;
        return 0;
}

Layer *layer_free(Layer *layer)
{
        if (!layer)
                return NULL;
        list_remove(&layer->link);
        free(layer);
        return NULL;
}

Layer *image_table_find_layer(ImageTable *table, const uint8_t digest[32])
{
        list_for_each(i, &table->layers) {
                Layer *layer = container_of(i, Layer, link);
                if (memcmp(layer->digest, digest, 32) == 0)
                        return layer;
        }
        return NULL;
}

Hold *image_table_find_hold(ImageTable *table, const char *container_id, uint32_t slot)
{
        list_for_each(i, &table->holds) {
                Hold *hold = container_of(i, Hold, link);
                if (hold->slot == slot && str_equal(hold->container_id, container_id))
                        return hold;
        }
        return NULL;
}

int hold_new(Hold **ret, ImageTable *table, const char *container_id, uint32_t slot, Image *image)
{
        Hold *hold = calloc(1, sizeof(*hold));
        if (!hold)
                return error_origin(-ENOMEM);
        (void)str_copy(hold->container_id, sizeof(hold->container_id), container_id);
        hold->slot = slot;
        hold->image = image;
        image->n_holds++;
        list_append(&table->holds, &hold->link);
        *ret = hold;
        return 0;
}

Hold *hold_free(Hold *hold)
{
        if (!hold)
                return NULL;
        hold->image->n_holds--;
        list_remove(&hold->link);
        free(hold);
        return NULL;
}

uint32_t image_copy_stack(const Image *image, uint8_t to[SEAL_LAYERS_MAX][32])
{
        assert(image->n_stack <= SEAL_LAYERS_MAX);
        for (size_t i = 0; i < image->n_stack; i++)
                memcpy(to[i], image->stack[i]->digest, 32);
        return (uint32_t)image->n_stack;
}

bool image_make_statement(const Image *image, const char *reference, const uint8_t key[SEAL_KEY_BYTES], Statement *ret)
{
        Statement statement = {0};
        if (image->n_stack > SEAL_LAYERS_MAX || !str_copy(statement.image_ref, sizeof(statement.image_ref), reference))
                return false;
        (void)str_copy(statement.image_id, sizeof(statement.image_id), image->id);
        statement.n_layers = image_copy_stack(image, statement.layers);
        statement_seal(&statement, key);
        *ret = statement;
        return true;
}
