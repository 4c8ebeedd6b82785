/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/pull-import.h"

#include <stdio.h>

#include "ipc/edges/gatewayd-imaged.pb-c.h"
#include "ipc/edges/imaged-parse.pb-c.h"
#include "ipc/edges/imaged-parse.rows.h"
#include "ipc/edges/imaged-tree.h"
#include "ipc/edges/imaged-tree.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/grpc-status.h"
#include "services/imaged/pull-private.h"

#define IMPORT_EXTRACT_TIMEOUT (30 * 60 * USEC_PER_SEC)
#define IMPORT_PARSE_TIMEOUT (30 * USEC_PER_SEC)
#define IMPORT_ENTRIES_MAX 100000

typedef struct ImportImage {
        char name[REFERENCE_MAX]; /* the reference it gets */
        char digest[72];          /* OCI layout: its manifest or index; else "" */
        char config_path[512];    /* docker archive */
        char (*layer_paths)[512]; /* owned */
        size_t n_layers;
} ImportImage;

typedef struct ImportQueue {
        char file[256];
        char tag[REFERENCE_MAX]; /* the client's name for the only image, or "" */
        ImportImage *images;     /* owned array */
        size_t n_images, next;
        char **refs, **names; /* owned arrays of what is in, n_done each */
        size_t n_done;
} ImportQueue;

void pull_import_blob_path(char *to, const uint8_t digest[32])
{
        char hex[65];
        hex_encode(hex, digest, 32);
        (void)snprintf(to, 512, "blobs/sha256/%s", hex);
}

static int pull_import_on_removed(void *userdata, const Answer *answer)
{
        return 0; /* what is left is swept at the next start */
}

void pull_import_done(Pull *pull)
{
        ImportQueue *queue = TAKE_PTR(pull->import);
        if (!queue)
                return;
        TreeName verb = {.kind = TREE_KIND_IMPORT};
        (void)str_copy(verb.name, sizeof(verb.name), pull->registry.import_id);
        (void)channel_call_flat(imaged_tree(pull->imaged), ROW_IMAGED_TREE_TREE_REMOVE, &verb, NULL, 0, USEC_INFINITY,
                                pull_import_on_removed, NULL, NULL);
        for (size_t i = 0; i < queue->n_images; i++)
                free(queue->images[i].layer_paths);
        for (size_t i = 0; i < queue->n_done; i++) {
                free(queue->refs[i]);
                free(queue->names[i]);
        }
        free(queue->refs);
        free(queue->names);
        free(queue->images);
        free(queue);
}

/* Makes the pull as it was at its start, for the next image of the same archive. */
static void pull_import_reset(Pull *pull)
{
        for (size_t i = 0; i < pull->n_layers; i++)
                layer_want_done(&pull->layers[i], pull->imaged);
        pull_drop_stack(pull);
        free(TAKE_PTR(pull->layers));
        free(TAKE_PTR(pull->config_packed));
        pull->n_layers = pull->n_layers_done = 0;
        pull->has_manifest_digest = pull->has_config_digest = false;
        pull->depth = 0;
        pull->failed_code = 0;
}

static int pull_import_start(Pull *pull, const ImportImage *image)
{
        const char *why = NULL;
        pull_import_reset(pull);
        if (reference_parse(&pull->registry.reference, image->name, &why) != 0) {
                char text[REFERENCE_MAX + 160];
                (void)snprintf(text, sizeof(text), "the archive's name \"%.200s\" is not a reference: %s; give one with --name", image->name, why);
                return fold(pull_fail(pull, GRPC_STATUS_INVALID_ARGUMENT, text));
        }
        if (*image->digest)
                return fold(pull_get_manifest(pull, image->digest));
        pull->layers = calloc(image->n_layers ? image->n_layers : 1, sizeof(*pull->layers));
        if (!pull->layers)
                return error_origin(-ENOMEM);
        pull->n_layers = image->n_layers;
        for (size_t i = 0; i < image->n_layers; i++) {
                list_init(&pull->layers[i].link);
                (void)str_copy(pull->layers[i].path, sizeof(pull->layers[i].path), image->layer_paths[i]);
        }
        return fold(pull_get_config(pull, image->config_path));
}

int pull_import_next(Pull *pull, const char *image_ref)
{
        ImportQueue *queue = pull->import;
        if (image_ref) {
                char **refs = reallocarray(queue->refs, queue->n_done + 1, sizeof(*refs));
                if (refs)
                        queue->refs = refs;
                char **names = reallocarray(queue->names, queue->n_done + 1, sizeof(*names));
                if (names)
                        queue->names = names;
                if (!refs || !names)
                        return error_origin(-ENOMEM);
                queue->refs[queue->n_done] = strdup(image_ref);
                queue->names[queue->n_done] = strdup(queue->images[queue->next - 1].name);
                queue->n_done++;
                if (!queue->refs[queue->n_done - 1] || !queue->names[queue->n_done - 1])
                        return error_origin(-ENOMEM);
        }
        if (queue->next < queue->n_images)
                return fold(pull_import_start(pull, &queue->images[queue->next++]));
        Bulkhead__GatewaydImaged__ImportImageResponse response = BULKHEAD__GATEWAYD_IMAGED__IMPORT_IMAGE_RESPONSE__INIT;
        response.n_image_refs = response.n_names = queue->n_done;
        response.image_refs = queue->refs;
        response.names = queue->names;
        for (size_t i = 0; i < pull->n_waiters; i++)
                (void)reply_send(pull->waiters[i], &response.base, NULL, 0);
        return PULL_IMPORT_E_END;
}

/* A layout's ref.name is often only a tag: then the archive's file name serves as the repository. */
static void pull_import_name(const ImportQueue *queue, const char *ref_name, char to[REFERENCE_MAX])
{
        if (*queue->tag) {
                (void)str_copy(to, REFERENCE_MAX, queue->tag);
        } else if (strpbrk(ref_name, "/:")) {
                (void)str_copy(to, REFERENCE_MAX, ref_name);
        } else {
                char base[256];
                (void)str_copy(base, sizeof(base), queue->file);
                base[strcspn(base, ".")] = '\0';
                for (char *p = base; *p; p++)
                        *p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
                (void)snprintf(to, REFERENCE_MAX, "localhost/%s:%.128s", base, *ref_name ? ref_name : "latest");
        }
}

static ImportImage *pull_import_add(ImportQueue *queue)
{
        ImportImage *images = reallocarray(queue->images, queue->n_images + 1, sizeof(*images));
        if (!images)
                return NULL;
        images[queue->n_images] = (ImportImage){0};
        queue->images = images;
        return &images[queue->n_images++];
}

static int pull_import_begin(Pull *pull)
{
        ImportQueue *queue = pull->import;
        if (queue->n_images == 0)
                return fold(pull_fail(pull, GRPC_STATUS_INVALID_ARGUMENT, "the archive holds no image"));
        if (*queue->tag && queue->n_images > 1)
                return fold(pull_fail(pull, GRPC_STATUS_INVALID_ARGUMENT, "the archive holds several images; leave --name away"));
        int r = pull_import_next(pull, NULL);
        return r < 0 ? fold(r) : 0;
}

static int pull_import_on_index(void *userdata, const Answer *answer)
{
        Pull *pull = userdata;
        ImportQueue *queue = pull->import;
        pull->call = 0;
        if (answer->outcome != 0)
                return fold(pull_fail(pull, answer->code, answer->text));
        const Bulkhead__ImagedParse__ParseManifestResponse *parsed =
                container_of(answer->frame->message, Bulkhead__ImagedParse__ParseManifestResponse, base);
        for (size_t i = 0; i < parsed->n_manifests; i++) {
                const Bulkhead__ImagedParse__Descriptor *descriptor = parsed->manifests[i];
                if (descriptor->digest.len != 32)
                        continue;
                ImportImage *image = pull_import_add(queue);
                if (!image)
                        return error_origin(-ENOMEM);
                digest_format(descriptor->digest.data, image->digest);
                pull_import_name(queue, descriptor->ref_name, image->name);
        }
        return fold(pull_import_begin(pull));
}

static int pull_import_on_archive(void *userdata, const Answer *answer)
{
        Pull *pull = userdata;
        ImportQueue *queue = pull->import;
        pull->call = 0;
        if (answer->outcome != 0)
                return fold(pull_fail(pull, answer->code, answer->text));
        const Bulkhead__ImagedParse__ParseArchiveResponse *parsed =
                container_of(answer->frame->message, Bulkhead__ImagedParse__ParseArchiveResponse, base);
        for (size_t i = 0; i < parsed->n_images; i++) {
                const Bulkhead__ImagedParse__ArchiveImage *from = parsed->images[i];
                size_t n_tags = *queue->tag || from->n_repo_tags == 0 ? 1 : from->n_repo_tags;
                for (size_t t = 0; t < n_tags; t++) {
                        ImportImage *image = pull_import_add(queue);
                        if (!image)
                                return error_origin(-ENOMEM);
                        pull_import_name(queue, from->n_repo_tags ? from->repo_tags[t] : "", image->name);
                        image->layer_paths = calloc(from->n_layer_paths ? from->n_layer_paths : 1, sizeof(*image->layer_paths));
                        if (!image->layer_paths)
                                return error_origin(-ENOMEM);
                        bool fits = from->n_layer_paths <= SEAL_LAYERS_MAX &&
                                    str_copy(image->config_path, sizeof(image->config_path), from->config_path);
                        for (size_t k = 0; fits && k < from->n_layer_paths; k++)
                                fits = str_copy(image->layer_paths[image->n_layers++], sizeof(*image->layer_paths), from->layer_paths[k]);
                        if (!fits)
                                return fold(pull_fail(pull, GRPC_STATUS_INVALID_ARGUMENT, "the archive names too many layers or a path that is too long"));
                }
        }
        return fold(pull_import_begin(pull));
}

static int pull_import_on_document(void *userdata, TransferResult *result);

static int pull_import_read(Pull *pull, const char *path)
{
        const RegistryWant want = {.name = path, .kind = "", .max_bytes = PULL_MANIFEST_MAX, .done = pull_import_on_document, .userdata = pull};
        (void)str_copy(pull->manifest_name, sizeof(pull->manifest_name), path);
        return fold(registry_get(&pull->request, &pull->registry, &want));
}

static int pull_import_on_document(void *userdata, TransferResult *result)
{
        Pull *pull = userdata;
        pull->request = NULL;
        bool is_index = str_equal(pull->manifest_name, "index.json");
        if (result->outcome != 0 && result->http_status == 404 && is_index)
                return fold(pull_import_read(pull, "manifest.json"));
        if (result->outcome != 0)
                return fold(pull_fail(pull, GRPC_STATUS_INVALID_ARGUMENT,
                                      result->http_status == 404 ? "the archive has neither index.json nor manifest.json: it is not an image" : result->text));
        pull->call_channel = imaged_parse(pull->imaged);
        uint64_t deadline = clock_monotonic_usec() + IMPORT_PARSE_TIMEOUT;
        ProtobufCBinaryData document = {.len = result->bytes, .data = (uint8_t *)result->document};
        if (is_index) {
                Bulkhead__ImagedParse__ParseManifestRequest parse = BULKHEAD__IMAGED_PARSE__PARSE_MANIFEST_REQUEST__INIT;
                parse.document = document;
                return fold(channel_call(pull->call_channel, ROW_IMAGED_PARSE_PARSE_MANIFEST, &parse.base, NULL, 0, deadline,
                                         pull_import_on_index, pull, &pull->call));
        }
        Bulkhead__ImagedParse__ParseArchiveRequest parse = BULKHEAD__IMAGED_PARSE__PARSE_ARCHIVE_REQUEST__INIT;
        parse.document = document;
        return fold(channel_call(pull->call_channel, ROW_IMAGED_PARSE_PARSE_ARCHIVE, &parse.base, NULL, 0, deadline,
                                 pull_import_on_archive, pull, &pull->call));
}

static int pull_import_on_extracted(void *userdata, const Answer *answer)
{
        Pull *pull = userdata;
        pull->call = 0;
        if (answer->outcome != 0)
                return fold(pull_fail(pull, answer->code, answer->text));
        pull->stage = "reading its index";
        return fold(pull_import_read(pull, "index.json"));
}

int pull_import(Imaged *imaged, const char *file, const char *name, ReplyTo to)
{
        TreeImport verb = {.max_entries = IMPORT_ENTRIES_MAX, .max_bytes = imaged->config->max_image_bytes};
        if (str_is_empty(file) || strchr(file, '/') || *file == '.' || !str_copy(verb.file, sizeof(verb.file), file))
                return reply_fail(to, GRPC_STATUS_INVALID_ARGUMENT, "ImportImage: \"%.200s\" is not the name of a file in the import directory", file);
        Pull *pull = NULL;
        int r = pull_new(&pull, imaged, file, to);
        if (r < 0)
                return fold(r);
        const Reference none = {.registry = "localhost"};
        const char *why;
        r = registry_init(&pull->registry, imaged, &none, NULL, &why);
        pull->import = calloc(1, sizeof(*pull->import));
        if (r < 0 || !pull->import)
                return error_origin(-ENOMEM);
        (void)str_copy(pull->import->file, sizeof(pull->import->file), file);
        (void)str_copy(pull->import->tag, sizeof(pull->import->tag), name);
        seal_id_new(pull->registry.import_id);
        (void)str_copy(verb.id, sizeof(verb.id), pull->registry.import_id);
        pull->stage = "extracting the archive";
        pull->call_channel = imaged_tree(imaged);
        return fold(channel_call_flat(pull->call_channel, ROW_IMAGED_TREE_TREE_IMPORT, &verb, NULL, 0,
                                      clock_monotonic_usec() + IMPORT_EXTRACT_TIMEOUT, pull_import_on_extracted, pull, &pull->call));
}
