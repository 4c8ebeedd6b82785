/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/parse/archive.h"
#include "services/imaged/parse/test-parse.h"

typedef Bulkhead__ImagedParse__ParseArchiveResponse Response;

static int run(Parse *parse, const char *document, Response *ret)
{
        size_t n = strlen(document);
        _cleanup_free_ uint8_t *bytes = test_document(document, n);

        parse_init(parse, "manifest.json");
        return archive_parse(parse, bytes, n, ret);
}

static void refuse(const char *document, const char *why)
{
        _cleanup_(parse_done) Parse parse;
        Response response;
        int r = run(&parse, document, &response);

        test_refused(&parse, r, GRPC_STATUS_INVALID_ARGUMENT, why);
}

static void archive_says_what_it_says(void)
{
        static const char document[] =
                "[{'Config':'0a.json','RepoTags':['a:1','b/c:2'],'Layers':['0b/layer.tar','..x/.y/z..'],"
                "'LayerSources':{}},{'Config':'blobs/sha256/0c','RepoTags':null,'Layers':null,'Parent':'x'}]";
        _cleanup_(parse_done) Parse parse;
        Response response;

        int r = run(&parse, document, &response);
        test_taken(&parse, r);
        assert_eq_int(response.n_images, 2);
        assert_eq_str(response.images[0]->config_path, "0a.json");
        assert_eq_int(response.images[0]->n_repo_tags, 2);
        assert_eq_str(response.images[0]->repo_tags[1], "b/c:2");
        assert_eq_int(response.images[0]->n_layer_paths, 2);
        assert_eq_str(response.images[0]->layer_paths[0], "0b/layer.tar");
        assert_eq_str(response.images[0]->layer_paths[1], "..x/.y/z..");
        assert_eq_str(response.images[1]->config_path, "blobs/sha256/0c");
        assert_eq_int(response.images[1]->n_repo_tags + response.images[1]->n_layer_paths, 0);
}

static void archive_names_the_place(void)
{
        static const TestRefusal table[] = {
                {"{}", "manifest.json: the document is not an array"},
                {"[[]]", "manifest.json: [0] is not an object"},
                {"[{'Config':'a'},{}]", "manifest.json: [1].Config is missing"},
                {"[{'Config':1}]", "manifest.json: [0].Config is not a string"},
                {"[{'Config':'a','RepoTags':'x'}]", "manifest.json: [0].RepoTags is not an array"},
                {"[{'Config':'a','RepoTags':[1]}]", "manifest.json: [0].RepoTags[0] is not a string"},
                {"[{'Config':'a','Layers':{}}]", "manifest.json: [0].Layers is not an array"},
                {"[{'Config':'a','Layers':['b',null]}]", "manifest.json: [0].Layers[1] is not a string"},
                {"[{'Config':'a','Layers':['b','../c']}]", "manifest.json: [0].Layers[1] is not a plain relative"},
        };

        for (size_t i = 0; i < ARRAY_SIZE(table); i++)
                refuse(table[i].document, table[i].text);
}

static void archive_paths_are_plain(void)
{
        static const char *const bad[] = {
                "",      "/",     "/etc/passwd", "..",   "../a", "a/..", "a/../b",   ".",    "./a",
                "a/.",   "a//b",  "a/",          "//",   "a/./b", "a\\nb", "a\\u007f", "\\t",
        };

        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                _cleanup_free_ char *document = str_printf("[{'Config':'%s','Layers':[]}]", bad[i]);

                refuse(document, "manifest.json: [0].Config is not a plain relative path");
        }
}

static void archive_numbers_are_limited(void)
{
        for (size_t more = 0; more <= 1; more++) {
                _cleanup_free_ char *images = test_repeat("[", "{'Config':'a'}", ARCHIVE_IMAGES_MAX + more, "]");
                _cleanup_free_ char *tags = test_repeat("[{'Config':'a','RepoTags':[", "''", ARCHIVE_TAGS_MAX + more,
                                                        "]}]");
                _cleanup_free_ char *layers = test_repeat("[{'Config':'a','Layers':[", "'a'", ARCHIVE_LAYERS_MAX + more,
                                                          "]}]");
                _cleanup_free_ char *path = test_fill('p', ARCHIVE_PATH_MAX + more);
                _cleanup_free_ char *config = str_printf("[{'Config':'%s'}]", path);
                if (more) {
                        refuse(images, "manifest.json: the document names 1001 images, more than 1000");
                        refuse(tags, "manifest.json: [0].RepoTags has 257 elements, more than 256");
                        refuse(layers, "manifest.json: [0].Layers has 513 elements, more than 512");
                        refuse(config, "manifest.json: [0].Config is not a plain relative path");
                        continue;
                }
                _cleanup_(parse_done) Parse a, b, c, d;
                Response response;
                assert_ok(run(&a, images, &response));
                assert_eq_int(response.n_images, ARCHIVE_IMAGES_MAX);
                assert_ok(run(&b, tags, &response));
                assert_ok(run(&c, layers, &response));
                assert_ok(run(&d, config, &response));
        }
}

int main(void)
{
        TEST_RUN(archive_says_what_it_says);
        TEST_RUN(archive_names_the_place);
        TEST_RUN(archive_paths_are_plain);
        TEST_RUN(archive_numbers_are_limited);
        return EXIT_SUCCESS;
}
