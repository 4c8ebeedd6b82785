/* SPDX-License-Identifier: Apache-2.0 */

/* The schema library knows lines only for what it refuses itself; this finds the line of a value that is refused later. */

#include "services/linkd/config.h"
#include <stdio.h>
#include <yaml.h>

#define LOCATE_DEPTH_MAX 16

/* Writes the path of node `at` while walking the composed document. */
static size_t locate_node(yaml_document_t *document, int at, const char *key, char *path, size_t size, unsigned int depth)
{
        yaml_node_t *node = yaml_document_get_node(document, at);
        size_t end = strlen(path);

        if (!node || depth > LOCATE_DEPTH_MAX)
                return 0;
        if (strcmp(path, key) == 0)
                return node->start_mark.line + 1;
        if (node->type == YAML_MAPPING_NODE) {
                for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top; p++) {
                        yaml_node_t *name = yaml_document_get_node(document, p->key);
                        if (!name || name->type != YAML_SCALAR_NODE)
                                continue;
                        (void)snprintf(path + end, size - end, "%s%s", end ? "." : "",
                                       (const char *)name->data.scalar.value);
                        size_t line = locate_node(document, p->value, key, path, size, depth + 1);
                        if (line)
                                return line;
                        path[end] = '\0';
                }
        } else if (node->type == YAML_SEQUENCE_NODE) {
                size_t i = 0;
                for (yaml_node_item_t *p = node->data.sequence.items.start; p < node->data.sequence.items.top; p++) {
                        (void)snprintf(path + end, size - end, "[%zu]", i++);
                        size_t line = locate_node(document, *p, key, path, size, depth + 1);
                        if (line)
                                return line;
                        path[end] = '\0';
                }
        }
        return 0;
}

size_t config_locate(const char *bytes, size_t n, const char *key)
{
        yaml_parser_t parser;
        yaml_document_t document;
        char path[512] = "";
        size_t line = 0;

        if (!yaml_parser_initialize(&parser))
                return 0;
        yaml_parser_set_input_string(&parser, (const unsigned char *)bytes, n);
        if (yaml_parser_load(&parser, &document)) {
                if (yaml_document_get_root_node(&document))
                        line = locate_node(&document, 1, key, path, sizeof(path), 0);
                yaml_document_delete(&document);
        }
        yaml_parser_delete(&parser);
        return line;
}
