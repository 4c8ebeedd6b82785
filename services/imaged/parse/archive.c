/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/parse/archive.h"
#include "services/imaged/parse/document.h"

typedef Bulkhead__ImagedParse__ArchiveImage ArchiveImage;
typedef Bulkhead__ImagedParse__ParseArchiveResponse ParseArchiveResponse;

/* Relative, without empty components, "." and "..", printable. Whoever opens it does so beneath the archive's folder
 * and follows no links; this is the first of two checks. */
static bool archive_path_is_plain(const char *path)
{
        for (const char *p = path;; p++) {
                size_t n = strcspn(p, "/");

                if (n == 0 || (n <= 2 && strspn(p, ".") >= n))
                        return false;
                for (size_t i = 0; i < n; i++)
                        if ((unsigned char)p[i] < ' ' || p[i] == 0x7f)
                                return false;
                p += n;
                if (!*p)
                        return p - path <= ARCHIVE_PATH_MAX;
        }
}

static int archive_check_path(Parse *parse, const DocumentNode *node, const char *path)
{
        if (!archive_path_is_plain(path)) /* check: archive-path */
                return document_refuse(parse, node, "is not a plain relative path");
        return 0;
}

static int archive_parse_config(Parse *parse, const DocumentNode *node, ArchiveImage *image)
{
        DocumentNode config;
        int r = document_member(parse, node, "Config", JSON_STRING, DOCUMENT_REQUIRED, &config);
        if (r == 0)
                r = document_text(parse, &config, DOCUMENT_STRING_MAX, &image->config_path);
        if (r == 0)
                r = archive_check_path(parse, &config, image->config_path);
        return r;
}

static int archive_parse_layers(Parse *parse, const DocumentNode *node, ArchiveImage *image)
{
        DocumentNode array = {.parent = node, .key = "Layers"};

        int r = document_strings(parse, node, array.key, ARCHIVE_LAYERS_MAX, &image->layer_paths,
                                 &image->n_layer_paths);
        for (size_t i = 0; r == 0 && i < image->n_layer_paths; i++) {
                const DocumentNode element = {.parent = &array, .index = i};
                r = archive_check_path(parse, &element, image->layer_paths[i]);
        }
        return r;
}

int archive_parse(Parse *parse, const void *bytes, size_t n, ParseArchiveResponse *ret)
{
        ParseArchiveResponse response = BULKHEAD__IMAGED_PARSE__PARSE_ARCHIVE_RESPONSE__INIT;
        DocumentNode root, element;

        int r = document_load(parse, bytes, n, &root);
        if (r == 0)
                r = document_expect(parse, &root, JSON_ARRAY);
        if (r)
                return r;
        size_t n_images = json_array_size(root.value);
        if (n_images > ARCHIVE_IMAGES_MAX) /* check: archive-images */
                return document_refuse(parse, &root, "names %zu images, more than %d", n_images, ARCHIVE_IMAGES_MAX);
        ArchiveImage *images = parse_alloc(parse, n_images, sizeof(*images));
        response.images = parse_alloc(parse, n_images, sizeof(*response.images));
        if (!images || !response.images)
                return parse_refuse_memory(parse);
        for (size_t i = 0; i < n_images; i++) {
                ArchiveImage *image = &images[i];

                bulkhead__imaged_parse__archive_image__init(image);
                r = document_element(parse, &root, i, JSON_OBJECT, &element);
                if (r == 0)
                        r = archive_parse_config(parse, &element, image);
                if (r == 0)
                        r = document_strings(parse, &element, "RepoTags", ARCHIVE_TAGS_MAX, &image->repo_tags,
                                             &image->n_repo_tags);
                if (r == 0)
                        r = archive_parse_layers(parse, &element, image);
                if (r)
                        return r;
                response.images[response.n_images++] = image;
        }
        *ret = response;
        return 0;
}
