/* SPDX-License-Identifier: Apache-2.0 */

/* The same bytes must mean the same to everybody (CVE-2021-41190: one document was an index to some and a manifest to
 * others, by its Content-Type). So a document is one or the other by what is in it, and every name for it, its own and
 * the server's, has to agree. */

#include "services/imaged/parse/manifest.h"
#include "lib/strings.h"
#include "services/imaged/parse/document.h"

#include <strings.h>

#define MANIFEST_QUOTE_MAX 128

typedef Bulkhead__ImagedParse__Descriptor Descriptor;
typedef Bulkhead__ImagedParse__Platform Platform;
typedef Bulkhead__ImagedParse__ParseManifestResponse ParseManifestResponse;

typedef enum MediaKind {
        MEDIA_UNKNOWN,
        MEDIA_INDEX,
        MEDIA_MANIFEST,
        MEDIA_SCHEMA1,
        MEDIA_CONFIG,
        MEDIA_LAYER,
        MEDIA_FOREIGN_LAYER,
        MEDIA_ENCRYPTED_LAYER,
} MediaKind;

typedef struct MediaType {
        const char *name;
        MediaKind kind;
} MediaType;

#define MANIFEST_OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define MANIFEST_OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define MANIFEST_DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define MANIFEST_DOCKER_CONFIG "application/vnd.docker.container.image.v1+json"

/* OCI image-spec media-types.md; distribution's manifest-v2-2.md; BuildKit for Docker's zstd. */
static const MediaType manifest_media_types[] = {
        {MANIFEST_OCI_INDEX, MEDIA_INDEX},
        {"application/vnd.docker.distribution.manifest.list.v2+json", MEDIA_INDEX},
        {MANIFEST_OCI_MANIFEST, MEDIA_MANIFEST},
        {MANIFEST_DOCKER_MANIFEST, MEDIA_MANIFEST},
        {"application/vnd.docker.distribution.manifest.v1+json", MEDIA_SCHEMA1},
        {"application/vnd.docker.distribution.manifest.v1+prettyjws", MEDIA_SCHEMA1},
        {"application/vnd.oci.image.config.v1+json", MEDIA_CONFIG},
        {MANIFEST_DOCKER_CONFIG, MEDIA_CONFIG},
        {"application/vnd.oci.image.layer.v1.tar", MEDIA_LAYER},
        {"application/vnd.oci.image.layer.v1.tar+gzip", MEDIA_LAYER},
        {"application/vnd.oci.image.layer.v1.tar+zstd", MEDIA_LAYER},
        {"application/vnd.docker.image.rootfs.diff.tar", MEDIA_LAYER},
        {"application/vnd.docker.image.rootfs.diff.tar.gzip", MEDIA_LAYER},
        {"application/vnd.docker.image.rootfs.diff.tar.zstd", MEDIA_LAYER},
        {"application/vnd.oci.image.layer.nondistributable.v1.tar", MEDIA_FOREIGN_LAYER},
        {"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", MEDIA_FOREIGN_LAYER},
        {"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", MEDIA_FOREIGN_LAYER},
        {"application/vnd.docker.image.rootfs.foreign.diff.tar", MEDIA_FOREIGN_LAYER},
        {"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", MEDIA_FOREIGN_LAYER},
};

/* Go's decoder, which most other readers are, takes these keys in any case; jansson does not. */
static const char *const manifest_keys[] = {"schemaVersion", "mediaType", "config", "layers", "manifests", "fsLayers"};

static MediaKind manifest_media_kind(const char *name)
{
        for (size_t i = 0; i < ARRAY_SIZE(manifest_media_types); i++)
                if (strcasecmp(manifest_media_types[i].name, name) == 0)
                        return manifest_media_types[i].kind;
        /* ocicrypt's, on top of any layer type; Docker's short form as well. */
        if (str_has_suffix(name, "+encrypted") || str_has_suffix(name, "+enc"))
                return MEDIA_ENCRYPTED_LAYER;
        return MEDIA_UNKNOWN;
}

static const char *manifest_quote(char to[MANIFEST_QUOTE_MAX], const char *text)
{
        str_printable(to, MANIFEST_QUOTE_MAX, text, strlen(text));
        return to;
}

static int manifest_check_keys(Parse *parse, const DocumentNode *root)
{
        for (void *i = json_object_iter(root->value); i; i = json_object_iter_next(root->value, i)) {
                const char *key = json_object_iter_key(i);

                for (size_t k = 0; k < ARRAY_SIZE(manifest_keys); k++) {
                        const char *meant = manifest_keys[k];

                        if (strcasecmp(key, meant) == 0 && !str_equal(key, meant)) /* check: manifest-key-case */
                                return document_refuse(parse, root, "has the key %s in place of %s", key, meant);
                }
        }
        return 0;
}

/* The registry's word without parameters and blanks. */
static int manifest_declared_type(Parse *parse, const char *media_type, const char **ret)
{
        media_type += strspn(media_type, " \t");
        size_t n = strcspn(media_type, ";");
        while (n > 0 && strchr(" \t", media_type[n - 1]))
                n--;
        char *copy = parse_alloc(parse, n + 1, 1);
        if (!copy)
                return parse_refuse_memory(parse);
        memcpy(copy, media_type, n);
        *ret = copy;
        return 0;
}

static int manifest_refuse_schema1(Parse *parse)
{
        return parse_refuse(parse, GRPC_STATUS_UNIMPLEMENTED,
                            "it is a Docker schema 1 manifest, which is not supported; push the image again with a "
                            "current tool");
}

static int manifest_check_schema(Parse *parse, const DocumentNode *root)
{
        DocumentNode version;

        if (document_has(root, "fsLayers")) /* check: manifest-schema1 */
                return manifest_refuse_schema1(parse);
        int r = document_member(parse, root, "schemaVersion", JSON_INTEGER, DOCUMENT_REQUIRED, &version);
        if (r)
                return r;
        if (json_integer_value(version.value) == 1)
                return manifest_refuse_schema1(parse);
        if (json_integer_value(version.value) != 2) /* check: manifest-schema-version */
                return document_refuse(parse, &version, "is %lld, not 2", (long long)json_integer_value(version.value));
        return 0;
}

/* The one name that the document goes by; "" if it has none. */
static int manifest_named_type(Parse *parse, const DocumentNode *root, const char *media_type, const char **ret)
{
        char quoted[MANIFEST_QUOTE_MAX], quoted_other[MANIFEST_QUOTE_MAX];
        const char *declared = "";
        char *own = (char *)(uintptr_t)"";

        int r = document_string(parse, root, "mediaType", DOCUMENT_OPTIONAL, &own);
        if (r == 0)
                r = manifest_declared_type(parse, media_type, &declared);
        if (r)
                return r;
        if (*own && *declared && strcasecmp(own, declared) != 0) /* check: manifest-content-type */
                return parse_refuse(parse, GRPC_STATUS_INVALID_ARGUMENT,
                                    "its mediaType is \"%s\", but it was announced as \"%s\"",
                                    manifest_quote(quoted, own), manifest_quote(quoted_other, declared));
        *ret = *own ? own : declared;
        return 0;
}

static int manifest_kind(Parse *parse, const DocumentNode *root, const char *name, MediaKind *ret)
{
        bool has_manifests = document_has(root, "manifests");
        bool has_layers = document_has(root, "layers") || document_has(root, "config");
        char quoted[MANIFEST_QUOTE_MAX];

        if (has_manifests && has_layers) /* check: manifest-both */
                return parse_refuse(parse, GRPC_STATUS_INVALID_ARGUMENT,
                                    "it is an index (manifests) and a manifest (config, layers) at once");
        if (!has_manifests && !has_layers)
                return parse_refuse(parse, GRPC_STATUS_INVALID_ARGUMENT,
                                    "it is neither an index (manifests) nor a manifest (config, layers)");

        MediaKind kind = has_manifests ? MEDIA_INDEX : MEDIA_MANIFEST;
        if (*name) {
                MediaKind named = manifest_media_kind(name);
                if (named == MEDIA_SCHEMA1)
                        return manifest_refuse_schema1(parse);
                if (named != MEDIA_INDEX && named != MEDIA_MANIFEST) /* check: manifest-media-type */
                        return parse_refuse(parse, GRPC_STATUS_INVALID_ARGUMENT,
                                            "its media type \"%s\" is not one of images", manifest_quote(quoted, name));
                if (named != kind) /* check: manifest-media-kind */
                        return parse_refuse(parse, GRPC_STATUS_INVALID_ARGUMENT,
                                            "its media type \"%s\" is not that of what it holds (%s)",
                                            manifest_quote(quoted, name),
                                            has_manifests ? "manifests" : "config, layers");
        }
        *ret = kind;
        return 0;
}

static int manifest_parse_descriptor(Parse *parse, const DocumentNode *node, Descriptor *ret)
{
        DocumentNode digest;

        bulkhead__imaged_parse__descriptor__init(ret);
        int r = document_string(parse, node, "mediaType", DOCUMENT_REQUIRED, &ret->media_type);
        if (r == 0)
                r = document_member(parse, node, "digest", JSON_STRING, DOCUMENT_REQUIRED, &digest);
        if (r == 0)
                r = document_digest(parse, &digest, &ret->digest);
        if (r == 0)
                r = document_size(parse, node, "size", &ret->size);
        return r;
}

static int manifest_parse_platform(Parse *parse, const DocumentNode *node, Platform **ret)
{
        DocumentNode object;
        int r = document_member(parse, node, "platform", JSON_OBJECT, DOCUMENT_OPTIONAL, &object);
        if (r || !object.value)
                return r;
        Platform *platform = parse_alloc(parse, 1, sizeof(*platform));
        if (!platform)
                return parse_refuse_memory(parse);
        bulkhead__imaged_parse__platform__init(platform);
        r = document_string(parse, &object, "os", DOCUMENT_OPTIONAL, &platform->os);
        if (r == 0)
                r = document_string(parse, &object, "architecture", DOCUMENT_OPTIONAL, &platform->architecture);
        if (r == 0)
                r = document_string(parse, &object, "variant", DOCUMENT_OPTIONAL, &platform->variant);
        if (r)
                return r;
        *ret = platform;
        return 0;
}

/* `docker save` and `ctr export` write the tag alone into the standard's annotation and the whole name into theirs. */
static int manifest_parse_ref_name(Parse *parse, const DocumentNode *node, char **ret)
{
        DocumentNode annotations;
        int r = document_member(parse, node, "annotations", JSON_OBJECT, DOCUMENT_OPTIONAL, &annotations);
        if (r || !annotations.value)
                return r;
        r = document_string(parse, &annotations, "org.opencontainers.image.ref.name", DOCUMENT_OPTIONAL, ret);
        if (r == 0)
                r = document_string(parse, &annotations, "io.containerd.image.name", DOCUMENT_OPTIONAL, ret);
        return r;
}

/* Entries of a type that is not an image's (artifacts, schema 1) are left out, as the OCI index asks of its readers; an
 * index of nothing else is refused. */
static int manifest_parse_index(Parse *parse, const DocumentNode *root, ParseManifestResponse *ret)
{
        DocumentNode array, element;
        const char *left_out = NULL;
        char quoted[MANIFEST_QUOTE_MAX];

        int r = document_array(parse, root, "manifests", MANIFEST_MANIFESTS_MAX, DOCUMENT_OPTIONAL, &array);
        if (r)
                return r;
        size_t n = json_array_size(array.value);
        Descriptor *descriptors = parse_alloc(parse, n, sizeof(*descriptors));
        ret->manifests = parse_alloc(parse, n, sizeof(*ret->manifests));
        if (!descriptors || !ret->manifests)
                return parse_refuse_memory(parse);
        for (size_t i = 0; i < n; i++) {
                Descriptor *descriptor = &descriptors[i];

                r = document_element(parse, &array, i, JSON_OBJECT, &element);
                if (r == 0)
                        r = manifest_parse_descriptor(parse, &element, descriptor);
                if (r == 0)
                        r = manifest_parse_platform(parse, &element, &descriptor->platform);
                if (r == 0)
                        r = manifest_parse_ref_name(parse, &element, &descriptor->ref_name);
                if (r)
                        return r;
                MediaKind kind = manifest_media_kind(descriptor->media_type);
                if (kind == MEDIA_INDEX || kind == MEDIA_MANIFEST)
                        ret->manifests[ret->n_manifests++] = descriptor;
                else if (!left_out)
                        left_out = descriptor->media_type;
        }
        if (ret->n_manifests == 0 && left_out) /* check: index-media-types */
                return parse_refuse(parse, GRPC_STATUS_INVALID_ARGUMENT,
                                    "none of its %zu entries is an image; the first is of media type \"%s\"", n,
                                    manifest_quote(quoted, left_out));
        return 0;
}

static int manifest_parse_layer(Parse *parse, const DocumentNode *node, Descriptor *ret)
{
        char quoted[MANIFEST_QUOTE_MAX];
        int r = manifest_parse_descriptor(parse, node, ret);
        if (r)
                return r;
        MediaKind kind = manifest_media_kind(ret->media_type);
        if (kind == MEDIA_ENCRYPTED_LAYER) /* check: layer-encrypted */
                return parse_refuse(parse, GRPC_STATUS_UNIMPLEMENTED,
                                    "layers[%zu] is encrypted (media type \"%s\"), which is not supported", node->index,
                                    manifest_quote(quoted, ret->media_type));
        if (kind != MEDIA_LAYER && kind != MEDIA_FOREIGN_LAYER) /* check: layer-media-type */
                return document_refuse(parse, node, "has the media type \"%s\", which is not one of layers",
                                       manifest_quote(quoted, ret->media_type));
        ret->foreign = kind == MEDIA_FOREIGN_LAYER;
        return 0;
}

static int manifest_parse_layers(Parse *parse, const DocumentNode *root, ParseManifestResponse *ret)
{
        DocumentNode array, element;

        if (!document_has(root, "layers")) /* check: manifest-layers */
                return document_refuse(parse, root, "has no layers");
        int r = document_array(parse, root, "layers", MANIFEST_LAYERS_MAX, DOCUMENT_OPTIONAL, &array);
        if (r)
                return r;
        size_t n = json_array_size(array.value);
        Descriptor *descriptors = parse_alloc(parse, n, sizeof(*descriptors));
        ret->layers = parse_alloc(parse, n, sizeof(*ret->layers));
        if (!descriptors || !ret->layers)
                return parse_refuse_memory(parse);
        for (size_t i = 0; i < n; i++) {
                r = document_element(parse, &array, i, JSON_OBJECT, &element);
                if (r == 0)
                        r = manifest_parse_layer(parse, &element, &descriptors[i]);
                if (r)
                        return r;
                ret->layers[ret->n_layers++] = &descriptors[i];
        }
        return 0;
}

static int manifest_parse_image(Parse *parse, const DocumentNode *root, ParseManifestResponse *ret)
{
        char quoted[MANIFEST_QUOTE_MAX];
        DocumentNode config;

        int r = document_member(parse, root, "config", JSON_OBJECT, DOCUMENT_REQUIRED, &config);
        if (r)
                return r;
        ret->config = parse_alloc(parse, 1, sizeof(*ret->config));
        if (!ret->config)
                return parse_refuse_memory(parse);
        r = manifest_parse_descriptor(parse, &config, ret->config);
        if (r)
                return r;
        if (manifest_media_kind(ret->config->media_type) != MEDIA_CONFIG) /* check: config-media-type */
                return document_refuse(parse, &config, "has the media type \"%s\": it is an artifact, not an image",
                                       manifest_quote(quoted, ret->config->media_type));
        return manifest_parse_layers(parse, root, ret);
}

/* A document without any name is an OCI one, whose mediaType may be absent, or an old Docker's. */
static const char *manifest_type_of(MediaKind kind, const ParseManifestResponse *response)
{
        if (kind == MEDIA_INDEX)
                return MANIFEST_OCI_INDEX;
        return strcasecmp(response->config->media_type, MANIFEST_DOCKER_CONFIG) == 0 ? MANIFEST_DOCKER_MANIFEST
                                                                                     : MANIFEST_OCI_MANIFEST;
}

int manifest_parse(Parse *parse, const void *bytes, size_t n, const char *media_type, ParseManifestResponse *ret)
{
        ParseManifestResponse response = BULKHEAD__IMAGED_PARSE__PARSE_MANIFEST_RESPONSE__INIT;
        MediaKind kind = MEDIA_UNKNOWN;
        const char *name = "";
        DocumentNode root;

        int r = document_load(parse, bytes, n, &root);
        if (r == 0)
                r = document_expect(parse, &root, JSON_OBJECT);
        if (r == 0)
                r = manifest_check_keys(parse, &root);
        if (r == 0)
                r = manifest_check_schema(parse, &root);
        if (r == 0)
                r = manifest_named_type(parse, &root, media_type, &name);
        if (r == 0)
                r = manifest_kind(parse, &root, name, &kind);
        if (r == 0)
                r = kind == MEDIA_INDEX ? manifest_parse_index(parse, &root, &response)
                                        : manifest_parse_image(parse, &root, &response);
        if (r)
                return r;
        response.kind = kind == MEDIA_INDEX ? BULKHEAD__IMAGED_PARSE__PARSE_MANIFEST_RESPONSE__KIND__INDEX
                                            : BULKHEAD__IMAGED_PARSE__PARSE_MANIFEST_RESPONSE__KIND__MANIFEST;
        response.media_type = (char *)(uintptr_t)(*name ? name : manifest_type_of(kind, &response));
        *ret = response;
        return 0;
}
