/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/parse/manifest.h"
#include "services/imaged/parse/test-parse.h"

#define OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define DOCKER_LIST "application/vnd.docker.distribution.manifest.list.v2+json"
#define DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"

#define DESCRIPTOR(type) "{'mediaType':'" type "','digest':'" DIGEST_A "','size':7}"
#define CONFIG "'config':" DESCRIPTOR("application/vnd.oci.image.config.v1+json")
#define DOCKER_CONFIG "'config':" DESCRIPTOR("application/vnd.docker.container.image.v1+json")
#define LAYER DESCRIPTOR("application/vnd.oci.image.layer.v1.tar+gzip")
#define ENTRY DESCRIPTOR(OCI_MANIFEST)
#define MANIFEST "{'schemaVersion':2," CONFIG ",'layers':[" LAYER "]}"
#define MANIFEST_AS(type) "{'schemaVersion':2,'mediaType':'" type "'," CONFIG ",'layers':[" LAYER "]}"
#define INDEX "{'schemaVersion':2,'manifests':[" ENTRY "]}"
#define INDEX_AS(type) "{'schemaVersion':2,'mediaType':'" type "','manifests':[" ENTRY "]}"
#define WITH_LAYER(layer) "{'schemaVersion':2," CONFIG ",'layers':[" layer "]}"
#define WITH_ENTRY(entry) "{'schemaVersion':2,'manifests':[" entry "]}"

typedef Bulkhead__ImagedParse__ParseManifestResponse Response;

static int run(Parse *parse, const char *document, const char *media_type, Response *ret)
{
        size_t n = strlen(document);
        _cleanup_free_ uint8_t *bytes = test_document(document, n);
        _cleanup_free_ char *type = strdup(media_type);

        parse_init(parse, "manifest");
        return manifest_parse(parse, bytes, n, type, ret);
}

static void refuse_as(const char *document, const char *media_type, uint32_t code, const char *why)
{
        _cleanup_(parse_done) Parse parse;
        Response response;
        int r = run(&parse, document, media_type, &response);

        test_refused(&parse, r, code, why);
}

static void refuse(const char *document, const char *why)
{
        refuse_as(document, "", GRPC_STATUS_INVALID_ARGUMENT, why);
}

static void take_as(const char *document, const char *media_type, bool is_index, const char *expected)
{
        _cleanup_(parse_done) Parse parse;
        Response response;
        int r = run(&parse, document, media_type, &response);

        test_taken(&parse, r);
        assert_eq_int(response.kind, is_index ? BULKHEAD__IMAGED_PARSE__PARSE_MANIFEST_RESPONSE__KIND__INDEX
                                              : BULKHEAD__IMAGED_PARSE__PARSE_MANIFEST_RESPONSE__KIND__MANIFEST);
        assert_eq_int(response.n_manifests, is_index ? 1 : 0);
        assert_eq_int(response.n_layers, is_index ? 0 : 1);
        assert_true(is_index == !response.config);
        assert_eq_str(response.media_type, expected);
}

static void manifest_says_what_it_says(void)
{
        static const char document[] =
                "{'schemaVersion':2,'mediaType':'" OCI_MANIFEST "','artifactType':'x/y','annotations':{'a':'b'},"
                "'config':{'mediaType':'application/vnd.oci.image.config.v1+json','digest':'" DIGEST_B
                "','size':0,'urls':['http://127.0.0.1/']},'layers':[{'mediaType':"
                "'application/vnd.oci.image.layer.v1.tar','digest':'" DIGEST_A "','size':1125899906842624},"
                "{'mediaType':'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip','digest':'" DIGEST_B
                "','size':3,'urls':['http://127.0.0.1/']}]}";
        _cleanup_(parse_done) Parse parse;
        uint8_t a[32], b[32];
        Response response;

        memset(a, 0xaa, sizeof(a));
        memset(b, 0xbb, sizeof(b));
        int r = run(&parse, document, OCI_MANIFEST "; charset=utf-8", &response);
        test_taken(&parse, r);
        assert_eq_str(response.media_type, OCI_MANIFEST);
        assert_eq_mem(response.config->digest.data, response.config->digest.len, b, sizeof(b));
        assert_eq_int(response.config->size, 0);
        assert_eq_int(response.n_layers, 2);
        assert_eq_str(response.layers[0]->media_type, "application/vnd.oci.image.layer.v1.tar");
        assert_eq_mem(response.layers[0]->digest.data, response.layers[0]->digest.len, a, sizeof(a));
        assert_eq_int(response.layers[0]->size, INT64_C(1) << 50);
        assert_false(response.layers[0]->foreign);
        assert_eq_mem(response.layers[1]->digest.data, response.layers[1]->digest.len, b, sizeof(b));
        assert_true(response.layers[1]->foreign);
}

static void index_says_what_it_says(void)
{
        static const char document[] =
                "{'schemaVersion':2,'manifests':["
                "{'mediaType':'" OCI_MANIFEST "','digest':'" DIGEST_A "','size':1,'platform':{'os':'linux',"
                "'architecture':'arm','variant':'v7','os.features':[]},"
                "'annotations':{'org.opencontainers.image.ref.name':'latest'}},"
                "{'mediaType':'" OCI_MANIFEST "','digest':'" DIGEST_B "','size':2,'platform':{'os':'unknown',"
                "'architecture':'unknown'},'annotations':{'vnd.docker.reference.type':'attestation-manifest',"
                "'org.opencontainers.image.ref.name':'1','io.containerd.image.name':'docker.io/library/a:1'}},"
                "{'mediaType':'application/vnd.oci.artifact.manifest.v1+json','digest':'" DIGEST_A "','size':3},"
                "{'mediaType':'" DOCKER_LIST "','digest':'" DIGEST_A "','size':4,'platform':null}]}";
        _cleanup_(parse_done) Parse parse;
        Response response;

        int r = run(&parse, document, "", &response);
        test_taken(&parse, r);
        assert_eq_str(response.media_type, OCI_INDEX);
        assert_eq_int(response.n_manifests, 3);
        assert_eq_str(response.manifests[0]->platform->os, "linux");
        assert_eq_str(response.manifests[0]->platform->architecture, "arm");
        assert_eq_str(response.manifests[0]->platform->variant, "v7");
        assert_eq_str(response.manifests[0]->ref_name, "latest");
        assert_eq_str(response.manifests[1]->platform->os, "unknown");
        assert_eq_str(response.manifests[1]->platform->architecture, "unknown");
        assert_eq_str(response.manifests[1]->ref_name, "docker.io/library/a:1");
        assert_eq_int(response.manifests[2]->size, 4);
        assert_true(response.manifests[2]->platform == NULL);
        assert_eq_str(response.manifests[2]->ref_name, "");
}

static void manifest_type_is_one(void)
{
        take_as(MANIFEST, "", false, OCI_MANIFEST);
        take_as(INDEX, "", true, OCI_INDEX);
        take_as("{'schemaVersion':2," DOCKER_CONFIG ",'layers':[" LAYER "]}", "", false, DOCKER_MANIFEST);
        take_as(MANIFEST, DOCKER_MANIFEST, false, DOCKER_MANIFEST);
        take_as(INDEX, DOCKER_LIST, true, DOCKER_LIST);
        take_as(MANIFEST_AS(DOCKER_MANIFEST), "", false, DOCKER_MANIFEST);
        take_as(MANIFEST_AS(OCI_MANIFEST), " Application/vnd.OCI.image.manifest.v1+JSON ;q=\"x\" ", false,
                OCI_MANIFEST);
        take_as(INDEX_AS(OCI_INDEX), ";", true, OCI_INDEX);
        take_as(MANIFEST_AS(""), OCI_MANIFEST "\t", false, OCI_MANIFEST);

        /* V007: one document, two names. */
        const uint32_t invalid = GRPC_STATUS_INVALID_ARGUMENT;
        refuse_as(MANIFEST_AS(OCI_MANIFEST), DOCKER_MANIFEST, invalid,
                  "manifest: its mediaType is \"" OCI_MANIFEST "\", but it was announced as \"" DOCKER_MANIFEST "\"");
        refuse_as(MANIFEST_AS(OCI_MANIFEST), OCI_INDEX, invalid, "announced as");
        refuse_as(MANIFEST_AS(OCI_MANIFEST), "application/json", invalid, "announced as");
        refuse_as(MANIFEST, OCI_INDEX, invalid, "is not that of what it holds (config, layers)");
        refuse_as(INDEX, OCI_MANIFEST, invalid, "is not that of what it holds (manifests)");
        refuse_as(MANIFEST_AS(OCI_INDEX), "", invalid, "is not that of what it holds");
        refuse_as(INDEX_AS(DOCKER_MANIFEST), DOCKER_MANIFEST, invalid, "is not that of what it holds");

        refuse_as(MANIFEST, "application/octet-stream", invalid,
                  "manifest: its media type \"application/octet-stream\" is not one of images");
        refuse_as(MANIFEST, "text/html\n\x01", invalid, "\"text/html\\x0a\\x01\" is not one of images");
        refuse_as(MANIFEST, "application/vnd.oci.image.config.v1+json", invalid, "is not one of images");
        refuse_as(MANIFEST_AS("application/vnd.oci.image.layer.v1.tar"), "", invalid, "is not one of images");
}

static void manifest_is_not_two_things(void)
{
        refuse("{'schemaVersion':2,'manifests':[" ENTRY "]," CONFIG ",'layers':[" LAYER "]}", "at once");
        refuse("{'schemaVersion':2,'manifests':[" ENTRY "],'layers':[]}", "at once");
        refuse("{'schemaVersion':2,'manifests':[" ENTRY "],'layers':null}", "at once");
        refuse("{'schemaVersion':2,'manifests':null," CONFIG ",'layers':[]}", "at once");
        refuse("{'schemaVersion':2,'manifests':[]," CONFIG "}", "at once");
        refuse("{'schemaVersion':2}", "neither an index (manifests) nor a manifest");
        refuse("{'schemaVersion':2,'Manifests':[" ENTRY "]," CONFIG ",'layers':[]}", "the key Manifests in place of");
        refuse("{'schemaVersion':2,'manifests':[],'LAYERS':[]}", "the key LAYERS in place of layers");
        refuse("{'schemaVersion':2,'mediatype':'x'," CONFIG ",'layers':[]}", "the key mediatype in place of mediaType");
}

static void manifest_schema_1_is_named(void)
{
        static const char *const documents[] = {
                "{'schemaVersion':1,'name':'x','tag':'y','fsLayers':[{'blobSum':'" DIGEST_A "'}],'history':[]}",
                "{'schemaVersion':1}",
                "{'schemaVersion':2,'fsLayers':[]," CONFIG ",'layers':[]}",
                MANIFEST_AS("application/vnd.docker.distribution.manifest.v1+json"),
                MANIFEST_AS("application/vnd.docker.distribution.manifest.v1+prettyjws"),
        };

        for (size_t i = 0; i < ARRAY_SIZE(documents); i++)
                refuse_as(documents[i], "", GRPC_STATUS_UNIMPLEMENTED, "it is a Docker schema 1 manifest");
        refuse("{'schemaVersion':3," CONFIG ",'layers':[]}", "manifest: schemaVersion is 3, not 2");
        refuse("{'schemaVersion':0," CONFIG ",'layers':[]}", "manifest: schemaVersion is 0, not 2");
        refuse("{'schemaVersion':'2'," CONFIG ",'layers':[]}", "manifest: schemaVersion is not a whole number");
        refuse("{'schemaVersion':2.0," CONFIG ",'layers':[]}", "manifest: schemaVersion is not a whole number");
        refuse("{" CONFIG ",'layers':[]}", "manifest: schemaVersion is missing");
}

static void manifest_names_the_place(void)
{
        static const TestRefusal table[] = {
                {"", "manifest: it is empty"},
                {"[]", "manifest: the document is not an object"},
                {"{'schemaVersion':2,'mediaType':5," CONFIG ",'layers':[]}", "manifest: mediaType is not a string"},
                {"{'schemaVersion':2," CONFIG "}", "manifest: the document has no layers"},
                {"{'schemaVersion':2,'layers':[]}", "manifest: config is missing"},
                {"{'schemaVersion':2,'config':[],'layers':[]}", "manifest: config is not an object"},
                {"{'schemaVersion':2,'config':{},'layers':[]}", "manifest: config.mediaType is missing"},
                {"{'schemaVersion':2,'config':" DESCRIPTOR("application/vnd.oci.empty.v1+json") ",'layers':[]}",
                 "manifest: config has the media type \"application/vnd.oci.empty.v1+json\": it is an artifact"},
                {"{'schemaVersion':2," CONFIG ",'layers':{}}", "manifest: layers is not an array"},
                {WITH_LAYER("5"), "manifest: layers[0] is not an object"},
                {WITH_LAYER(LAYER "," LAYER ",{}"), "manifest: layers[2].mediaType is missing"},
                {WITH_LAYER("{'mediaType':'x','size':1}"), "manifest: layers[0].digest is missing"},
                {WITH_LAYER("{'mediaType':'x','digest':5}"), "manifest: layers[0].digest is not a string"},
                {WITH_LAYER(LAYER "," LAYER "," LAYER ",{'mediaType':'x','digest':'sha256:0','size':1}"),
                 "manifest: layers[3].digest is not sha256:"},
                {WITH_LAYER("{'mediaType':'x','digest':'" DIGEST_A "'}"), "manifest: layers[0].size is missing"},
                {WITH_LAYER("{'mediaType':'x','digest':'" DIGEST_A "','size':-1}"),
                 "manifest: layers[0].size is negative"},
                {WITH_LAYER(DESCRIPTOR("application/vnd.in-toto+json")),
                 "manifest: layers[0] has the media type \"application/vnd.in-toto+json\", which is not one of layers"},
                {WITH_LAYER(DESCRIPTOR("\\u001b[31m\\u00e4")), "\"\\x1b[31m\\xc3\\xa4\", which is not one of layers"},
                {WITH_LAYER(ENTRY), "which is not one of layers"},
                {"{'schemaVersion':2,'manifests':{}}", "manifest: manifests is not an array"},
                {WITH_ENTRY("[]"), "manifest: manifests[0] is not an object"},
                {WITH_ENTRY(ENTRY ",{'mediaType':'" OCI_MANIFEST "','digest':'" DIGEST_A "','size':1,'platform':5}"),
                 "manifest: manifests[1].platform is not an object"},
                {WITH_ENTRY("{'mediaType':'x','digest':'" DIGEST_A "','size':1,'platform':{'os':1}}"),
                 "manifest: manifests[0].platform.os is not a string"},
                {WITH_ENTRY("{'mediaType':'x','digest':'" DIGEST_A "','size':1,'platform':{'variant':[]}}"),
                 "manifest: manifests[0].platform.variant is not a string"},
                {WITH_ENTRY("{'mediaType':'x','digest':'" DIGEST_A "','size':1,'annotations':[]}"),
                 "manifest: manifests[0].annotations is not an object"},
                {WITH_ENTRY("{'mediaType':'x','digest':'" DIGEST_A
                            "','size':1,'annotations':{'org.opencontainers.image.ref.name':1}}"),
                 "manifest: manifests[0].annotations.org.opencontainers.image.ref.name is not a string"},
                {WITH_ENTRY("{'mediaType':'x','digest':'sha512:0','size':1}"),
                 "manifest: manifests[0].digest is not sha256:"},
                {WITH_ENTRY(DESCRIPTOR("a/b") "," DESCRIPTOR("c/d")),
                 "manifest: none of its 2 entries is an image; the first is of media type \"a/b\""},
        };

        for (size_t i = 0; i < ARRAY_SIZE(table); i++)
                refuse(table[i].document, table[i].text);
}

typedef struct LayerType {
        const char *media_type;
        bool foreign;
} LayerType;

static void layer_types_are_known(void)
{
        static const LayerType table[] = {
                {"application/vnd.oci.image.layer.v1.tar", false},
                {"application/vnd.oci.image.layer.v1.tar+gzip", false},
                {"application/vnd.oci.image.layer.v1.tar+zstd", false},
                {"application/vnd.docker.image.rootfs.diff.tar", false},
                {"application/vnd.docker.image.rootfs.diff.tar.gzip", false},
                {"application/vnd.docker.image.rootfs.diff.tar.zstd", false},
                {"application/vnd.oci.image.layer.nondistributable.v1.tar", true},
                {"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", true},
                {"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", true},
                {"application/vnd.docker.image.rootfs.foreign.diff.tar", true},
                {"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", true},
        };
        static const char *const encrypted[] = {
                "application/vnd.oci.image.layer.v1.tar+encrypted",
                "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
                "application/vnd.oci.image.layer.v1.tar+zstd+encrypted",
                "application/vnd.docker.image.rootfs.diff.tar.gzip+enc",
        };

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                _cleanup_free_ char *document =
                        str_printf("{'schemaVersion':2," CONFIG ",'layers':[{'mediaType':'%s','digest':'" DIGEST_A
                                   "','size':1}]}", table[i].media_type);
                _cleanup_(parse_done) Parse parse;
                Response response;
                int r = run(&parse, document, "", &response);

                test_taken(&parse, r);
                assert_eq_int(response.layers[0]->foreign, table[i].foreign);
        }
        for (size_t i = 0; i < ARRAY_SIZE(encrypted); i++) {
                _cleanup_free_ char *document =
                        str_printf("{'schemaVersion':2," CONFIG ",'layers':[" LAYER ",{'mediaType':'%s','digest':'"
                                   DIGEST_A "','size':1}]}", encrypted[i]);
                refuse_as(document, "", GRPC_STATUS_UNIMPLEMENTED, "manifest: layers[1] is encrypted (media type");
        }
}

static void manifest_numbers_are_limited(void)
{
        for (size_t more = 0; more <= 1; more++) {
                _cleanup_free_ char *layers = test_repeat("{'schemaVersion':2," CONFIG ",'layers':[", LAYER,
                                                          MANIFEST_LAYERS_MAX + more, "]}");
                _cleanup_free_ char *entries = test_repeat("{'schemaVersion':2,'manifests':[", ENTRY,
                                                           MANIFEST_MANIFESTS_MAX + more, "]}");
                if (more) {
                        refuse(layers, "manifest: layers has 513 elements, more than 512");
                        refuse(entries, "manifest: manifests has 1001 elements, more than 1000");
                        continue;
                }
                _cleanup_(parse_done) Parse parse, other;
                Response response;
                assert_ok(run(&parse, layers, "", &response));
                assert_eq_int(response.n_layers, MANIFEST_LAYERS_MAX);
                assert_ok(run(&other, entries, "", &response));
                assert_eq_int(response.n_manifests, MANIFEST_MANIFESTS_MAX);
        }
}

static void manifest_may_be_empty(void)
{
        static const char *const documents[] = {
                "{'schemaVersion':2," CONFIG ",'layers':[]}",
                "{'schemaVersion':2," CONFIG ",'layers':null}",
                "{'schemaVersion':2,'manifests':[]}",
                "{'schemaVersion':2,'manifests':null}",
        };

        for (size_t i = 0; i < ARRAY_SIZE(documents); i++) {
                _cleanup_(parse_done) Parse parse;
                Response response;

                assert_ok(run(&parse, documents[i], "", &response));
                assert_eq_int(response.n_layers + response.n_manifests, 0);
        }
}

int main(void)
{
        TEST_RUN(manifest_says_what_it_says);
        TEST_RUN(index_says_what_it_says);
        TEST_RUN(manifest_type_is_one);
        TEST_RUN(manifest_is_not_two_things);
        TEST_RUN(manifest_schema_1_is_named);
        TEST_RUN(manifest_names_the_place);
        TEST_RUN(layer_types_are_known);
        TEST_RUN(manifest_numbers_are_limited);
        TEST_RUN(manifest_may_be_empty);
        return EXIT_SUCCESS;
}
