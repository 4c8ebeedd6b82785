/* SPDX-License-Identifier: Apache-2.0 */

/* The steps of a pull. Documents are believed only after their digest was computed here; what they say comes back typed from
 * imaged-parse; layers are LayerJobs. The image appears in one transaction, after its layers are on the disk. */

#include "services/imaged/pull.h"

#include <stdio.h>
#include <sodium.h>
#include <sys/utsname.h>

#include "ipc/edges/gatewayd-imaged.pb-c.h"
#include "ipc/edges/imaged-parse.pb-c.h"
#include "ipc/edges/imaged-parse.rows.h"
#include "ipc/edges/imaged-tree.h"
#include "ipc/edges/imaged-tree.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/grpc-status.h"
#include "lib/log.h"
#include "services/imaged/pull-import.h"
#include "services/imaged/pull-private.h"

#define PULL_PARSE_TIMEOUT (30 * USEC_PER_SEC)
#define PULL_SYNC_TIMEOUT (120 * USEC_PER_SEC)
#define PULL_INDEX_DEPTH_MAX 2

static const char *const pull_accept[] = {
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
};

void pull_drop_stack(Pull *pull)
{
        for (size_t i = 0; i < pull->n_stack; i++)
                pull->stack[i]->n_users--;
        free(TAKE_PTR(pull->stack));
        pull->n_stack = 0;
}

static Pull *pull_free(Pull *pull)
{
        if (!pull)
                return NULL;
        if (pull->call)
                channel_cancel(pull->call_channel, pull->call);
        (void)registry_request_free(pull->request);
        for (size_t i = 0; i < pull->n_layers; i++)
                layer_want_done(&pull->layers[i], pull->imaged);
        pull_drop_stack(pull);
        free(pull->layers);
        free(pull->waiters);
        free(pull->config_packed);
        pull_import_done(pull);
        registry_done(&pull->registry);
        list_remove(&pull->link);
        free(pull);
        return NULL;
}

void pull_free_all(Imaged *imaged)
{
        list_for_each_safe(i, n, &imaged->pulls)
                (void)pull_free(container_of(i, Pull, link));
}

/* Ends an operation that could not be done: one text for all who wait, which names image, stage and next step. */
int pull_fail(Pull *pull, uint32_t code, const char *text)
{
        Imaged *imaged = pull->imaged;
        log_warning("pull of %s failed while %s: %s", pull->name, pull->stage, text);
        for (size_t i = 0; i < pull->n_waiters; i++)
                (void)reply_fail(pull->waiters[i], code, "image %s: %s: %s", pull->name, pull->stage, text);
        (void)pull_free(pull);
        collect_unused(imaged);
        return 0;
}

static int pull_finish(Pull *pull, const char *image_id)
{
        Imaged *imaged = pull->imaged;
        char ref[ID_LENGTH + 8];
        (void)snprintf(ref, sizeof(ref), "sha256:%s", image_id);
        if (*pull->registry.import_id) {
                int r = pull_import_next(pull, ref);
                if (r != PULL_IMPORT_E_END)
                        return r < 0 ? fold(r) : 0;
        } else {
                Runtime__V1__PullImageResponse response = RUNTIME__V1__PULL_IMAGE_RESPONSE__INIT;
                response.image_ref = ref;
                for (size_t i = 0; i < pull->n_waiters; i++)
                        (void)reply_send(pull->waiters[i], &response.base, NULL, 0);
        }
        log_info("image %s is here: %s, %zu layers, %.1f s", pull->name, ref, pull->n_layers,
                 (double)(clock_monotonic_usec() - pull->started_usec) / 1e6);
        (void)pull_free(pull);
        collect_unused(imaged);
        return 0;
}

/* The names this pull gives: the tag that was asked for, and the digest that it led to. A tag moves from its old image. */
static int pull_add_names(Pull *pull, Image *image)
{
        Imaged *imaged = pull->imaged;
        const Reference *reference = &pull->registry.reference;
        char name[REFERENCE_MAX], digest[72];
        if (*reference->tag && !*reference->digest) {
                reference_format_tag(reference, name);
                Image *old = image_table_find_name(&imaged->table, name);
                if (old && old != image) {
                        image_remove_name(old, name);
                        int r = image_store_put(imaged, old);
                        if (r)
                                return r < 0 ? fold(r) : r;
                }
                int r = image_add_name(image, name, false);
                if (r < 0)
                        return fold(r);
        }
        if (!pull->has_manifest_digest)
                return 0;
        digest_format(pull->manifest_digest, digest);
        reference_format_digest(reference, digest, name);
        return fold(image_add_name(image, name, true));
}

static int pull_commit(Pull *pull)
{
        Imaged *imaged = pull->imaged;
        char id[ID_LENGTH + 1];
        hex_encode(id, pull->config_digest, 32);
        Image *image = image_table_find_any(&imaged->table, id);
        bool is_new = !image;
        if (is_new) {
                int r = image_new(&image, id, TAKE_PTR(pull->config_packed), pull->n_config_packed, pull->n_layers);
                if (r)
                        return r < 0 ? fold(r) : fold(pull_fail(pull, GRPC_STATUS_INVALID_ARGUMENT, "its configuration cannot be kept"));
                for (size_t i = 0; i < pull->n_layers; i++) {
                        image_set_layer(image, i, pull->layers[i].layer);
                        image->size_bytes += pull->layers[i].layer->blob_bytes;
                }
                image->size_bytes += pull->config_bytes;
                Layer **stack = calloc(pull->n_stack ? pull->n_stack : 1, sizeof(Layer *));
                if (!stack) {
                        (void)image_free(image);
                        return error_origin(-ENOMEM);
                }
                memcpy(stack, pull->stack, pull->n_stack * sizeof(Layer *));
                image_set_stack(image, stack, pull->n_stack);
                list_append(&imaged->table.images, &image->link);
        }
        bool was_removed = image->removed;
        image->removed = false;
        image->pulled_nsec = clock_realtime_nsec();
        int r = pull_add_names(pull, image);
        if (r == 0)
                r = image_store_put(imaged, image);
        if (r == 0)
                return fold(pull_finish(pull, id));
        image->removed = was_removed;
        if (is_new)
                (void)image_free(image);
        if (r < 0)
                return fold(r);
        return fold(pull_fail(pull, GRPC_STATUS_RESOURCE_EXHAUSTED,
                              "no space left to record it; free space or let the kubelet collect images"));
}

static int pull_on_synced(void *userdata, const Answer *answer)
{
        Pull *pull = userdata;
        pull->call = 0;
        if (answer->outcome != 0)
                return fold(pull_fail(pull, GRPC_STATUS_UNAVAILABLE, answer->text));
        return fold(pull_commit(pull));
}

static int pull_sync(Pull *pull)
{
        pull->stage = "committing";
        pull->call_channel = imaged_tree(pull->imaged);
        return fold(channel_call_flat(pull->call_channel, ROW_IMAGED_TREE_TREE_SYNC, NULL, NULL, 0,
                                      clock_monotonic_usec() + PULL_SYNC_TIMEOUT, pull_on_synced, pull, &pull->call));
}

/* Notes what is to be mounted; a layer that was made for this stack is a layer like any other from here on. */
static int pull_take_stack(Pull *pull, const TreeStacked *stacked)
{
        pull->stack = calloc(SEAL_LAYERS_MAX, sizeof(Layer *));
        if (!pull->stack)
                return error_origin(-ENOMEM);
        for (uint32_t i = 0; i < stacked->n_layers && i < SEAL_LAYERS_MAX; i++) {
                Layer *layer = image_table_find_layer(&pull->imaged->table, stacked->layers[i]);
                if (!layer) {
                        int r = layer_new(&layer, &pull->imaged->table, stacked->layers[i]);
                        if (r < 0)
                                return fold(r);
                        layer->stored = true;
                        layer->disk_bytes = stacked->bytes;
                        layer->inodes = stacked->inodes;
                }
                layer->n_users++;
                pull->stack[pull->n_stack++] = layer;
        }
        return 0;
}

static int pull_on_stacked(void *userdata, const Answer *answer)
{
        Pull *pull = userdata;
        pull->call = 0;
        if (answer->outcome != 0)
                return fold(pull_fail(pull, answer->code, answer->text));
        int r = pull_take_stack(pull, answer->frame->flat);
        return r < 0 ? fold(r) : fold(pull_sync(pull));
}

static int pull_stack(Pull *pull)
{
        TreeStack verb = {.n_layers = (uint32_t)pull->n_layers};
        for (size_t i = 0; i < pull->n_layers; i++)
                memcpy(verb.layers[i], pull->layers[i].layer->digest, 32);
        pull->stage = "stacking its layers";
        pull->call_channel = imaged_tree(pull->imaged);
        return fold(channel_call_flat(pull->call_channel, ROW_IMAGED_TREE_TREE_STACK, &verb, NULL, 0,
                                      clock_monotonic_usec() + PULL_SYNC_TIMEOUT, pull_on_stacked, pull, &pull->call));
}

static int pull_on_layer(void *userdata, LayerWant *want, uint32_t code, const char *text)
{
        Pull *pull = userdata;
        size_t number = (size_t)(want - pull->layers) + 1;
        if (code) {
                char digest[72], whole[900];
                digest_format(want->digest, digest);
                (void)snprintf(whole, sizeof(whole), "layer %zu of %zu (%s): %s", number, pull->n_layers, digest, text);
                /* Told from inside the start of the layers: the pull is ended by whoever starts them. */
                if (pull->starting) {
                        pull->failed_code = code;
                        (void)str_copy(pull->failed_text, sizeof(pull->failed_text), whole);
                        return 0;
                }
                return fold(pull_fail(pull, code, whole));
        }
        pull->n_layers_done++;
        if (pull->starting || pull->n_layers_done < pull->n_layers)
                return 0;
        return fold(pull_stack(pull));
}

static int pull_start_layers(Pull *pull)
{
        pull->stage = "layers";
        pull->starting = true;
        for (size_t i = 0; i < pull->n_layers && !pull->failed_code; i++) {
                LayerWant *want = &pull->layers[i];
                want->registry = &pull->registry;
                want->done = pull_on_layer;
                want->userdata = pull;
                int r = layer_want_start(want, pull->imaged);
                if (r < 0)
                        return fold(r);
        }
        pull->starting = false;
        if (pull->failed_code)
                return fold(pull_fail(pull, pull->failed_code, pull->failed_text));
        return pull->n_layers_done == pull->n_layers ? fold(pull_stack(pull)) : 0;
}

static int pull_on_config_parsed(void *userdata, const Answer *answer)
{
        Pull *pull = userdata;
        pull->call = 0;
        if (answer->outcome != 0)
                return fold(pull_fail(pull, answer->code, answer->text));
        const Bulkhead__ImagedParse__ParseConfigResponse *parsed =
                container_of(answer->frame->message, Bulkhead__ImagedParse__ParseConfigResponse, base);
        if (!parsed->config || parsed->n_diff_ids != pull->n_layers) {
                char text[160];
                (void)snprintf(text, sizeof(text), "its configuration names %zu layers and its manifest %zu; rebuild the image",
                               parsed->n_diff_ids, pull->n_layers);
                return fold(pull_fail(pull, GRPC_STATUS_INVALID_ARGUMENT, text));
        }
        if (*parsed->config->os && !str_equal(parsed->config->os, "linux"))
                return fold(pull_fail(pull, GRPC_STATUS_INVALID_ARGUMENT, "it is not an image for linux"));
        for (size_t i = 0; i < pull->n_layers; i++) {
                if (parsed->diff_ids[i].len != 32)
                        return fold(pull_fail(pull, GRPC_STATUS_INVALID_ARGUMENT, "its configuration names a diff id of another size"));
                memcpy(pull->layers[i].diff_id, parsed->diff_ids[i].data, 32);
        }
        int r = decode_pack(&parsed->config->base, &pull->config_packed, &pull->n_config_packed);
        if (r < 0)
                return fold(r);
        return fold(pull_start_layers(pull));
}

static int pull_on_config(void *userdata, TransferResult *result)
{
        Pull *pull = userdata;
        pull->request = NULL;
        char text[700];
        if (result->outcome != 0 || result->http_status / 100 != 2) {
                (void)snprintf(text, sizeof(text), "%s (HTTP %u)", result->text, result->http_status);
                return fold(pull_fail(pull, result->outcome == TRANSFER_E_TOO_LARGE ? GRPC_STATUS_INVALID_ARGUMENT : GRPC_STATUS_UNAVAILABLE, text));
        }
        if (pull->has_config_digest && memcmp(result->digest, pull->config_digest, 32) != 0)
                return fold(pull_fail(pull, GRPC_STATUS_INVALID_ARGUMENT,
                                      "the configuration that came does not have the digest that the manifest names"));
        memcpy(pull->config_digest, result->digest, 32);
        pull->config_bytes = result->bytes;
        Bulkhead__ImagedParse__ParseConfigRequest parse = BULKHEAD__IMAGED_PARSE__PARSE_CONFIG_REQUEST__INIT;
        parse.document = (ProtobufCBinaryData){.len = result->bytes, .data = (uint8_t *)result->document};
        pull->call_channel = imaged_parse(pull->imaged);
        return fold(channel_call(pull->call_channel, ROW_IMAGED_PARSE_PARSE_CONFIG, &parse.base, NULL, 0,
                                 clock_monotonic_usec() + PULL_PARSE_TIMEOUT, pull_on_config_parsed, pull, &pull->call));
}

int pull_get_config(Pull *pull, const char *name)
{
        pull->stage = "reading its configuration";
        const RegistryWant want = {
                .kind = "blobs",
                .name = name,
                .max_bytes = PULL_CONFIG_MAX,
                .done = pull_on_config,
                .userdata = pull,
        };
        return fold(registry_get(&pull->request, &pull->registry, &want));
}

/* The platform of this node, as image indexes write it. */
static bool pull_platform_fits(const Bulkhead__ImagedParse__Platform *platform)
{
        struct utsname name;
        if (!platform)
                return true; /* an index entry without a platform is for all */
        if (uname(&name) < 0 || !str_equal(platform->os, "linux"))
                return false;
        if (str_equal(name.machine, "x86_64"))
                return str_equal(platform->architecture, "amd64");
        if (str_equal(name.machine, "aarch64"))
                return str_equal(platform->architecture, "arm64");
        return str_equal(platform->architecture, name.machine);
}

static int pull_use_index(Pull *pull, const Bulkhead__ImagedParse__ParseManifestResponse *parsed)
{
        if (++pull->depth > PULL_INDEX_DEPTH_MAX)
                return fold(pull_fail(pull, GRPC_STATUS_INVALID_ARGUMENT, "its indexes are nested too deeply"));
        for (size_t i = 0; i < parsed->n_manifests; i++) {
                const Bulkhead__ImagedParse__Descriptor *descriptor = parsed->manifests[i];
                if (!pull_platform_fits(descriptor->platform) || descriptor->digest.len != 32)
                        continue;
                char digest[72];
                digest_format(descriptor->digest.data, digest);
                return fold(pull_get_manifest(pull, digest));
        }
        return fold(pull_fail(pull, GRPC_STATUS_NOT_FOUND, "its index has no image for this node's platform"));
}

static int pull_use_manifest(Pull *pull, const Bulkhead__ImagedParse__ParseManifestResponse *parsed)
{
        if (!parsed->config || parsed->config->digest.len != 32)
                return fold(pull_fail(pull, GRPC_STATUS_INVALID_ARGUMENT, "its manifest names no configuration"));
        if (parsed->n_layers > SEAL_LAYERS_MAX)
                return fold(pull_fail(pull, GRPC_STATUS_INVALID_ARGUMENT, "it has more than 128 layers; rebuild it with fewer"));
        uint64_t total = 0;
        pull->layers = calloc(parsed->n_layers ? parsed->n_layers : 1, sizeof(*pull->layers));
        if (!pull->layers)
                return error_origin(-ENOMEM);
        for (size_t i = 0; i < parsed->n_layers; i++) {
                const Bulkhead__ImagedParse__Descriptor *descriptor = parsed->layers[i];
                if (descriptor->foreign || descriptor->digest.len != 32)
                        return fold(pull_fail(pull, GRPC_STATUS_UNIMPLEMENTED,
                                              "it has a layer that registries may not distribute, which is not supported"));
                LayerWant *want = &pull->layers[pull->n_layers++];
                list_init(&want->link);
                want->has_digest = true;
                memcpy(want->digest, descriptor->digest.data, 32);
                want->size_bytes = descriptor->size;
                if (__builtin_add_overflow(total, descriptor->size, &total) || total > pull->imaged->config->max_image_bytes)
                        return fold(pull_fail(pull, GRPC_STATUS_INVALID_ARGUMENT, "it is larger than images.max_image_bytes allows"));
                if (*pull->registry.import_id)
                        pull_import_blob_path(want->path, want->digest);
        }
        pull->has_config_digest = true;
        memcpy(pull->config_digest, parsed->config->digest.data, 32);
        char name[512];
        if (*pull->registry.import_id)
                pull_import_blob_path(name, pull->config_digest);
        else
                digest_format(pull->config_digest, name);
        return fold(pull_get_config(pull, name));
}

static int pull_on_manifest_parsed(void *userdata, const Answer *answer)
{
        Pull *pull = userdata;
        pull->call = 0;
        if (answer->outcome != 0)
                return fold(pull_fail(pull, answer->code, answer->text));
        const Bulkhead__ImagedParse__ParseManifestResponse *parsed =
                container_of(answer->frame->message, Bulkhead__ImagedParse__ParseManifestResponse, base);
        if (parsed->kind == BULKHEAD__IMAGED_PARSE__PARSE_MANIFEST_RESPONSE__KIND__INDEX)
                return fold(pull_use_index(pull, parsed));
        return fold(pull_use_manifest(pull, parsed));
}

static int pull_next_endpoint(Pull *pull, const TransferResult *result)
{
        Registry *registry = &pull->registry;
        bool missing = result->outcome == 0 && result->http_status == 404;
        char text[700];
        (void)snprintf(text, sizeof(text), "%s answers: %s (HTTP %u)", registry->endpoints[registry->endpoint].base,
                       missing ? "no such image; check its name and tag" : result->text, result->http_status);
        if (registry->endpoint + 1 < registry->n_endpoints && pull->depth == 0 && !*registry->import_id) {
                log_info("image %s: %s; trying the next endpoint", pull->name, text);
                registry->endpoint++;
                free(registry->authorization);
                registry->authorization = strdup("");
                return registry->authorization ? fold(pull_get_manifest(pull, pull->manifest_name)) : error_origin(-ENOMEM);
        }
        uint32_t code = missing ? GRPC_STATUS_NOT_FOUND : GRPC_STATUS_UNAVAILABLE;
        if (result->outcome == TRANSFER_E_TOO_LARGE)
                code = GRPC_STATUS_INVALID_ARGUMENT;
        if (result->http_status == 401 || result->http_status == 403)
                code = GRPC_STATUS_PERMISSION_DENIED;
        return fold(pull_fail(pull, code, text));
}

static int pull_on_manifest(void *userdata, TransferResult *result)
{
        Pull *pull = userdata;
        pull->request = NULL;
        if (result->outcome != 0 || result->http_status / 100 != 2)
                return fold(pull_next_endpoint(pull, result));
        uint8_t expected[32];
        if (digest_parse(pull->manifest_name, expected) && memcmp(expected, result->digest, 32) != 0)
                return fold(pull_fail(pull, GRPC_STATUS_INVALID_ARGUMENT,
                                      "the manifest that came does not have the digest that was asked for"));
        if (!pull->has_manifest_digest) {
                pull->has_manifest_digest = true;
                memcpy(pull->manifest_digest, result->digest, 32);
        }
        Bulkhead__ImagedParse__ParseManifestRequest parse = BULKHEAD__IMAGED_PARSE__PARSE_MANIFEST_REQUEST__INIT;
        parse.document = (ProtobufCBinaryData){.len = result->bytes, .data = (uint8_t *)result->document};
        if (result->response)
                parse.media_type = result->response->content_type;
        pull->call_channel = imaged_parse(pull->imaged);
        return fold(channel_call(pull->call_channel, ROW_IMAGED_PARSE_PARSE_MANIFEST, &parse.base, NULL, 0,
                                 clock_monotonic_usec() + PULL_PARSE_TIMEOUT, pull_on_manifest_parsed, pull, &pull->call));
}

int pull_get_manifest(Pull *pull, const char *name)
{
        char path[512];
        uint8_t digest[32];
        if (name != pull->manifest_name)
                (void)str_copy(pull->manifest_name, sizeof(pull->manifest_name), name);
        if (*pull->registry.import_id && digest_parse(name, digest))
                pull_import_blob_path(path, digest);
        else
                (void)str_copy(path, sizeof(path), name);
        pull->stage = "reading its manifest";
        const RegistryWant want = {
                .kind = "manifests",
                .name = path,
                .accept = pull_accept,
                .n_accept = ARRAY_SIZE(pull_accept),
                .max_bytes = PULL_MANIFEST_MAX,
                .done = pull_on_manifest,
                .userdata = pull,
        };
        return fold(registry_get(&pull->request, &pull->registry, &want));
}

static int pull_add_waiter(Pull *pull, ReplyTo to)
{
        ReplyTo *waiters = reallocarray(pull->waiters, pull->n_waiters + 1, sizeof(*waiters));
        if (!waiters)
                return error_origin(-ENOMEM);
        waiters[pull->n_waiters++] = to;
        pull->waiters = waiters;
        return 0;
}

int pull_new(Pull **ret, Imaged *imaged, const char *name, ReplyTo to)
{
        Pull *pull = calloc(1, sizeof(*pull));
        if (!pull)
                return error_origin(-ENOMEM);
        pull->imaged = imaged;
        pull->started_usec = clock_monotonic_usec();
        pull->stage = "resolving";
        (void)str_copy(pull->name, sizeof(pull->name), name);
        list_append(&imaged->pulls, &pull->link);
        int r = pull_add_waiter(pull, to);
        if (r < 0) {
                (void)pull_free(pull);
                return fold(r);
        }
        *ret = pull;
        return 0;
}

/* Two requests are the same pull when reference and credentials are the same: nobody gets an image by another's secret. */
static Pull *pull_find(Imaged *imaged, const char *name, const char *credentials)
{
        list_for_each(i, &imaged->pulls) {
                Pull *pull = container_of(i, Pull, link);
                if (!*pull->registry.import_id && str_equal(pull->name, name) && str_equal(pull->registry.credentials, credentials))
                        return pull;
        }
        return NULL;
}

int pull_image(Imaged *imaged, const Runtime__V1__PullImageRequest *request, ReplyTo to)
{
        const char *text = request->image ? request->image->image : "", *why = NULL;
        Reference reference;
        char name[REFERENCE_MAX];
        if (str_is_empty(text))
                return reply_fail(to, GRPC_STATUS_INVALID_ARGUMENT, "PullImage: the request names no image");
        if (reference_parse(&reference, text, &why) != 0)
                return reply_fail(to, GRPC_STATUS_INVALID_ARGUMENT, "image \"%.200s\" is not a reference: %s", text, why);
        reference_format(&reference, name);

        Registry registry;
        int r = registry_init(&registry, imaged, &reference, request->auth, &why);
        if (r < 0)
                return fold(r);
        if (r > 0) {
                registry_done(&registry);
                return reply_fail(to, GRPC_STATUS_INVALID_ARGUMENT, "image %s: %s", name, why);
        }
        Pull *pull = pull_find(imaged, name, registry.credentials);
        if (pull) {
                registry_done(&registry);
                return fold(pull_add_waiter(pull, to));
        }
        r = pull_new(&pull, imaged, name, to);
        if (r < 0) {
                registry_done(&registry);
                return fold(r);
        }
        pull->registry = registry;
        return fold(pull_get_manifest(pull, *reference.digest ? reference.digest : reference.tag));
}

int pull_progress(Imaged *imaged, const char *image, ReplyTo to)
{
        Bulkhead__GatewaydImaged__PullProgressResponse response = BULKHEAD__GATEWAYD_IMAGED__PULL_PROGRESS_RESPONSE__INIT;
        Bulkhead__GatewaydImaged__LayerProgress layers[SEAL_LAYERS_MAX], *pointers[SEAL_LAYERS_MAX];
        char digests[SEAL_LAYERS_MAX][72], name[REFERENCE_MAX];
        Reference reference;
        const char *why;
        if (reference_parse(&reference, image, &why) != 0)
                return reply_fail(to, GRPC_STATUS_INVALID_ARGUMENT, "image \"%.200s\" is not a reference: %s", image, why);
        reference_format(&reference, name);
        list_for_each(i, &imaged->pulls) {
                const Pull *pull = container_of(i, Pull, link);
                if (!str_equal(pull->name, name))
                        continue;
                response.stage = (char *)pull->stage;
                response.layers = pointers;
                for (size_t k = 0; k < pull->n_layers; k++) {
                        const LayerWant *want = &pull->layers[k];
                        bulkhead__gatewayd_imaged__layer_progress__init(&layers[k]);
                        digest_format(want->digest, digests[k]);
                        layers[k].digest = digests[k];
                        layers[k].bytes_done = layer_want_bytes(want);
                        layers[k].bytes_total = want->size_bytes;
                        layers[k].stage = (char *)layer_stage_name(want->stage);
                        pointers[response.n_layers++] = &layers[k];
                }
                break;
        }
        return fold(reply_send(to, &response.base, NULL, 0));
}
