/* SPDX-License-Identifier: Apache-2.0 */

/* The image service of CRI: everything but pulls is answered from memory. */

#include <fnmatch.h>
#include <jansson.h>
#include <stdio.h>

#include "ipc/edges/gatewayd-imaged.pb-c.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/grpc-status.h"
#include "lib/log.h"
#include "services/imaged/handlers.h"
#include "services/imaged/pull.h"

int on_pull_image(void *userdata, Frame *frame)
{
        const Runtime__V1__PullImageRequest *request = container_of(frame->message, Runtime__V1__PullImageRequest, base);
        return fold(pull_image(userdata, request, frame_reply_to(frame)));
}

int on_import_image(void *userdata, Frame *frame)
{
        const Bulkhead__GatewaydImaged__ImportImageRequest *request =
                container_of(frame->message, Bulkhead__GatewaydImaged__ImportImageRequest, base);
        return fold(pull_import(userdata, request->file, request->name, frame_reply_to(frame)));
}

int on_pull_progress(void *userdata, Frame *frame)
{
        const Bulkhead__GatewaydImaged__PullProgressRequest *request =
                container_of(frame->message, Bulkhead__GatewaydImaged__PullProgressRequest, base);
        return fold(pull_progress(userdata, request->image, frame_reply_to(frame)));
}

int on_image_state(void *userdata, Frame *frame)
{
        Imaged *imaged = userdata;
        Bulkhead__GatewaydImaged__ImageStateResponse response = BULKHEAD__GATEWAYD_IMAGED__IMAGE_STATE_RESPONSE__INIT;
        char trouble[STORE_TROUBLE_MAX];
        if (store_trouble(imaged->store, trouble))
                response.state_trouble = trouble;
        return fold(reply_send(frame_reply_to(frame), &response.base, NULL, 0));
}

/* One image as CRI shows it; pointers are into the image and this struct. */
typedef struct ImageMessage {
        Runtime__V1__Image image;
        Runtime__V1__Int64Value uid;
        Runtime__V1__ImageSpec spec;
        char id[ID_LENGTH + 8];
        char username[256];
        char **names; /* owned: tags, then digests */
} ImageMessage;

static void image_message_done(ImageMessage *message)
{
        free(message->names);
}

/* The numeric or named half of the configuration's USER; a string that begins with a digit is a number or nothing. */
static void image_message_set_user(ImageMessage *message, const char *user)
{
        char name[256];
        size_t n = strcspn(user, ":");
        if (n == 0 || n >= sizeof(name))
                return;
        memcpy(name, user, n);
        name[n] = '\0';
        uint64_t uid;
        if (u64_parse(name, UINT32_MAX - 1, &uid)) {
                runtime__v1__int64_value__init(&message->uid);
                message->uid.value = (int64_t)uid;
                message->image.uid = &message->uid;
        } else if (name[0] < '0' || name[0] > '9') {
                (void)str_copy(message->username, sizeof(message->username), name);
                message->image.username = message->username;
        }
}

/* By any of its names, as the configuration's patterns say. */
static bool image_is_pinned(const Imaged *imaged, const Image *image)
{
        list_for_each(i, (List *)&image->names) {
                const ImageName *name = container_of(i, ImageName, link);
                for (uint32_t k = 0; k < imaged->config->n_pinned; k++)
                        if (fnmatch(imaged->config->pinned[k], name->text, 0) == 0)
                                return true;
        }
        return false;
}

static int image_message_init(ImageMessage *message, const Imaged *imaged, const Image *image)
{
        *message = (ImageMessage){0};
        runtime__v1__image__init(&message->image);
        runtime__v1__image_spec__init(&message->spec);
        size_t n = 0, n_tags = 0;
        list_for_each(i, (List *)&image->names)
                n++;
        message->names = calloc(n + 1, sizeof(*message->names));
        if (!message->names)
                return error_origin(-ENOMEM);
        for (int digests = 0; digests < 2; digests++) {
                size_t from = digests ? n_tags : 0;
                list_for_each(i, (List *)&image->names) {
                        ImageName *name = container_of(i, ImageName, link);
                        if (name->is_digest == digests)
                                message->names[from++] = name->text;
                }
                if (!digests)
                        n_tags = from;
        }
        (void)snprintf(message->id, sizeof(message->id), "sha256:%s", image->id);
        message->image.id = message->id;
        message->image.n_repo_tags = n_tags;
        message->image.repo_tags = message->names;
        message->image.n_repo_digests = n - n_tags;
        message->image.repo_digests = message->names + n_tags;
        message->image.size = image->size_bytes;
        message->spec.image = message->id;
        message->image.spec = &message->spec;
        message->image.pinned = image_is_pinned(imaged, image);
        image_message_set_user(message, image->config->user);
        return 0;
}

int on_list_images(void *userdata, Frame *frame)
{
        Imaged *imaged = userdata;
        const Runtime__V1__ListImagesRequest *request = container_of(frame->message, Runtime__V1__ListImagesRequest, base);
        const char *wanted = request->filter && request->filter->image ? request->filter->image->image : "";
        Image *only = *wanted ? image_table_resolve(&imaged->table, wanted) : NULL;
        size_t n = 0;
        list_for_each(i, &imaged->table.images)
                n++;
        Runtime__V1__ListImagesResponse response = RUNTIME__V1__LIST_IMAGES_RESPONSE__INIT;
        _cleanup_free_ ImageMessage *messages = calloc(n + 1, sizeof(*messages));
        _cleanup_free_ Runtime__V1__Image **images = calloc(n + 1, sizeof(Runtime__V1__Image *));
        if (!messages || !images)
                return error_origin(-ENOMEM);
        response.images = images;
        int r = 0;
        list_for_each(i, &imaged->table.images) {
                Image *image = container_of(i, Image, link);
                if (image->removed || (*wanted && image != only))
                        continue;
                r = image_message_init(&messages[response.n_images], imaged, image);
                if (r < 0)
                        break;
                images[response.n_images] = &messages[response.n_images].image;
                response.n_images++;
        }
        if (r == 0)
                r = reply_send(frame_reply_to(frame), &response.base, NULL, 0);
        for (size_t i = 0; i < response.n_images; i++)
                image_message_done(&messages[i]);
        return fold(r);
}

static json_t *image_strings(char *const *strings, size_t n)
{
        json_t *array = json_array();
        for (size_t i = 0; i < n; i++)
                (void)json_array_append_new(array, json_string(strings[i]));
        return array;
}

/* The configuration for people: the same names as in the OCI image specification. */
static char *image_info_json(const Image *image)
{
        const ImageConfig *config = image->config;
        json_t *env = json_array(), *labels = json_object(), *volumes = json_object();
        for (size_t i = 0; i < config->n_env; i++)
                (void)json_array_append_new(env, json_stringn((const char *)config->env[i].data, config->env[i].len));
        for (size_t i = 0; i < config->n_labels; i++)
                (void)json_object_set_new(labels, config->labels[i]->key, json_string(config->labels[i]->value));
        for (size_t i = 0; i < config->n_volumes; i++)
                (void)json_object_set_new(volumes, config->volumes[i], json_object());
        json_t *diff_ids = json_array();
        char digest[72];
        for (size_t i = 0; i < image->n_layers; i++) {
                digest_format(image->layers[i]->diff_id, digest);
                (void)json_array_append_new(diff_ids, json_string(digest));
        }
        json_t *root = json_pack("{s:{s:s,s:s,s:{s:s,s:o,s:o,s:o,s:s,s:o,s:o,s:s},s:{s:s,s:o}}}", "imageSpec", "architecture",
                                 config->architecture, "os", config->os, "config", "User", config->user, "Env", env, "Entrypoint",
                                 image_strings(config->entrypoint, config->n_entrypoint), "Cmd",
                                 image_strings(config->cmd, config->n_cmd), "WorkingDir", config->working_dir, "Labels", labels,
                                 "Volumes", volumes, "StopSignal", config->stop_signal, "rootfs", "type", "layers", "diff_ids",
                                 diff_ids);
        char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
        json_decref(root);
        return text;
}

int on_image_status(void *userdata, Frame *frame)
{
        Imaged *imaged = userdata;
        const Runtime__V1__ImageStatusRequest *request = container_of(frame->message, Runtime__V1__ImageStatusRequest, base);
        ReplyTo to = frame_reply_to(frame);
        if (!request->image || str_is_empty(request->image->image))
                return reply_fail(to, GRPC_STATUS_INVALID_ARGUMENT, "ImageStatus: the request names no image");
        Runtime__V1__ImageStatusResponse response = RUNTIME__V1__IMAGE_STATUS_RESPONSE__INIT;
        Image *image = image_table_resolve(&imaged->table, request->image->image);
        if (!image)
                return reply_send(to, &response.base, NULL, 0); /* an unknown image is an empty answer, not an error */
        _cleanup_(image_message_done) ImageMessage message;
        int r = image_message_init(&message, imaged, image);
        if (r < 0)
                return fold(r);
        response.image = &message.image;
        _cleanup_free_ char *json = request->verbose ? image_info_json(image) : NULL;
        Runtime__V1__ImageStatusResponse__InfoEntry info = RUNTIME__V1__IMAGE_STATUS_RESPONSE__INFO_ENTRY__INIT, *infos = &info;
        if (json) {
                info.key = "info";
                info.value = json;
                response.n_info = 1;
                response.info = &infos;
        }
        return fold(reply_send(to, &response.base, NULL, 0));
}

int on_remove_image(void *userdata, Frame *frame)
{
        Imaged *imaged = userdata;
        const Runtime__V1__RemoveImageRequest *request = container_of(frame->message, Runtime__V1__RemoveImageRequest, base);
        ReplyTo to = frame_reply_to(frame);
        if (!request->image || str_is_empty(request->image->image))
                return reply_fail(to, GRPC_STATUS_INVALID_ARGUMENT, "RemoveImage: the request names no image");
        Image *image = image_table_resolve(&imaged->table, request->image->image);
        if (image) {
                char id[ID_LENGTH + 1];
                memcpy(id, image->id, sizeof(id));
                image->removed = true;
                list_for_each_safe(i, n, &image->names) {
                        ImageName *name = container_of(i, ImageName, link);
                        image_remove_name(image, name->text);
                }
                /* Held by containers: it stays on the disk until they are gone, but is an image no longer. */
                int r = image->n_holds ? image_store_put(imaged, image) : image_store_delete(imaged, image);
                if (r < 0)
                        return fold(r);
                if (image->n_holds == 0)
                        (void)image_free(image);
                collect_unused(imaged);
                log_info("image sha256:%s was removed", id);
        }
        Runtime__V1__RemoveImageResponse response = RUNTIME__V1__REMOVE_IMAGE_RESPONSE__INIT;
        return fold(reply_send(to, &response.base, NULL, 0));
}

static void image_usage_init(Runtime__V1__FilesystemUsage *usage, Runtime__V1__FilesystemIdentifier *id,
                             Runtime__V1__UInt64Value values[2], const char *mount_point, uint64_t bytes, uint64_t inodes)
{
        runtime__v1__filesystem_usage__init(usage);
        runtime__v1__filesystem_identifier__init(id);
        runtime__v1__uint64_value__init(&values[0]);
        runtime__v1__uint64_value__init(&values[1]);
        id->mountpoint = (char *)mount_point;
        values[0].value = bytes;
        values[1].value = inodes;
        usage->timestamp = clock_realtime_nsec();
        usage->fs_id = id;
        usage->used_bytes = &values[0];
        usage->inodes_used = &values[1];
}

int on_image_fs_info(void *userdata, Frame *frame)
{
        Imaged *imaged = userdata;
        uint64_t image_bytes = 0, image_inodes = 0, container_bytes = 0, container_inodes = 0;
        list_for_each(i, &imaged->table.layers) {
                const Layer *layer = container_of(i, Layer, link);
                image_bytes += layer->stored ? layer->disk_bytes : 0;
                image_inodes += layer->stored ? layer->inodes : 0;
        }
        list_for_each(i, &imaged->table.holds) {
                const Hold *hold = container_of(i, Hold, link);
                container_bytes += hold->measured_bytes;
                container_inodes += hold->measured_inodes;
        }
        const char *mount_point = service_config(imaged->service)->state_dir;
        Runtime__V1__FilesystemUsage images, containers, *images_pointer = &images, *containers_pointer = &containers;
        Runtime__V1__FilesystemIdentifier ids[2];
        Runtime__V1__UInt64Value values[4];
        image_usage_init(&images, &ids[0], values, mount_point, image_bytes, image_inodes);
        image_usage_init(&containers, &ids[1], values + 2, mount_point, container_bytes, container_inodes);
        Runtime__V1__ImageFsInfoResponse response = RUNTIME__V1__IMAGE_FS_INFO_RESPONSE__INIT;
        response.n_image_filesystems = response.n_container_filesystems = 1;
        response.image_filesystems = &images_pointer;
        response.container_filesystems = &containers_pointer;
        return fold(reply_send(frame_reply_to(frame), &response.base, NULL, 0));
}
