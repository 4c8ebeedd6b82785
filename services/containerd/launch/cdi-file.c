/* SPDX-License-Identifier: Apache-2.0 */
/* Runs only in the confined child. */

/* Vendors' tools write YAML by default. What comes of it is counted: an alias is copied where it stands, and nine of them in nine
 * others make a file that nobody has memory for. */

#include "services/containerd/launch/cdi-file.h"

#include "lib/strings.h"

#include <stdio.h>
#include <yaml.h>

#define CDI_FILE_NODES_MAX 200000
#define CDI_FILE_DEPTH_MAX 32

typedef struct CdiYaml {
        yaml_document_t *document;
        unsigned n_nodes;
        const char *why;
        size_t line;
} CdiYaml;

static json_t *cdi_yaml_convert(CdiYaml *yaml, int index, unsigned depth);

/* Plain scalars as YAML 1.1 has them where it matters here: 0666 is a mode. */
static json_t *cdi_yaml_scalar(const yaml_node_t *node)
{
        const char *text = (const char *)node->data.scalar.value;
        size_t n = node->data.scalar.length;
        bool is_negative = *text == '-';
        char *end = NULL;
        if (strlen(text) != n)
                return NULL;
        if (node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
                return json_stringn(text, n);
        if (n == 0 || str_equal(text, "~") || str_equal(text, "null") || str_equal(text, "Null") || str_equal(text, "NULL"))
                return json_null();
        if (str_equal(text, "true") || str_equal(text, "True") || str_equal(text, "TRUE"))
                return json_true();
        if (str_equal(text, "false") || str_equal(text, "False") || str_equal(text, "FALSE"))
                return json_false();
        const char *digits = text + is_negative;
        int base = digits[0] == '0' && digits[1] == 'x' ? 16 : digits[0] == '0' && digits[1] ? 8 : 10;
        if (digits[0] == '0' && digits[1] == 'o')
                digits += 2;
        if (*digits < '0' || *digits > '9')
                return json_stringn(text, n);
        errno = 0;
        long long value = strtoll(digits, &end, base);
        return *end || errno ? json_stringn(text, n) : json_integer(is_negative ? -value : value);
}

static json_t *cdi_yaml_sequence(CdiYaml *yaml, const yaml_node_t *node, unsigned depth)
{
        json_t *array = json_array();
        for (const yaml_node_item_t *item = node->data.sequence.items.start; array && item < node->data.sequence.items.top; item++)
                if (json_array_append_new(array, cdi_yaml_convert(yaml, *item, depth)) < 0) {
                        json_decref(array);
                        return NULL;
                }
        return array;
}

static json_t *cdi_yaml_mapping(CdiYaml *yaml, const yaml_node_t *node, unsigned depth)
{
        json_t *object = json_object();
        for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start; object && pair < node->data.mapping.pairs.top; pair++) {
                const yaml_node_t *key = yaml_document_get_node(yaml->document, pair->key);
                const char *name = key && key->type == YAML_SCALAR_NODE ? (const char *)key->data.scalar.value : NULL;
                if (!name || strlen(name) != key->data.scalar.length || json_object_get(object, name)) {
                        yaml->why = name ? "a key that stands there twice" : "a key that is no text";
                        yaml->line = node->start_mark.line + 1;
                } else if (json_object_set_new(object, name, cdi_yaml_convert(yaml, pair->value, depth)) == 0) {
                        continue;
                }
                json_decref(object);
                return NULL;
        }
        return object;
}

/* NULL: why says so, or memory is out. */
static json_t *cdi_yaml_convert(CdiYaml *yaml, int index, unsigned depth)
{
        const yaml_node_t *node = yaml_document_get_node(yaml->document, index);
        json_t *value = NULL;
        if (!node || yaml->why)
                return NULL;
        yaml->line = node->start_mark.line + 1;
        if (++yaml->n_nodes > CDI_FILE_NODES_MAX || depth > CDI_FILE_DEPTH_MAX) {
                yaml->why = "more than a device's description needs";
                return NULL;
        }
        switch (node->type) {
        case YAML_SCALAR_NODE:
                value = cdi_yaml_scalar(node);
                break;
        case YAML_SEQUENCE_NODE:
                value = cdi_yaml_sequence(yaml, node, depth + 1);
                break;
        case YAML_MAPPING_NODE:
                value = cdi_yaml_mapping(yaml, node, depth + 1);
                break;
        case YAML_NO_NODE:
        default:
                break;
        }
        if (!value && !yaml->why)
                yaml->why = "a value that is no UTF-8 text, number, list or map";
        return value;
}

static json_t *cdi_yaml_parse(const char *text, size_t n, char *why, size_t why_size)
{
        yaml_parser_t parser;
        yaml_document_t document;
        json_t *object = NULL;
        if (!yaml_parser_initialize(&parser))
                return NULL;
        yaml_parser_set_input_string(&parser, (const unsigned char *)text, n);
        if (yaml_parser_load(&parser, &document)) {
                CdiYaml yaml = {.document = &document};
                if (yaml_document_get_root_node(&document))
                        object = cdi_yaml_convert(&yaml, 1, 0);
                if (!object)
                        (void)snprintf(why, why_size, "line %zu: %s", yaml.line, yaml.why ? yaml.why : "it is empty");
                yaml_document_delete(&document);
        } else {
                (void)snprintf(why, why_size, "line %zu: %s", parser.problem_mark.line + 1, parser.problem ? parser.problem : "not YAML");
        }
        yaml_parser_delete(&parser);
        return object;
}

int cdi_file_parse(const char *path, const char *text, size_t n, json_t **ret, char *why, size_t why_size)
{
        json_error_t error;
        json_t *object;
        if (str_has_suffix(path, ".json")) {
                object = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
                if (!object)
                        (void)snprintf(why, why_size, "line %d: %s", error.line, error.text);
        } else {
                object = cdi_yaml_parse(text, n, why, why_size);
        }
        if (object && !json_is_object(object)) {
                (void)snprintf(why, why_size, "it is not one object");
                json_decref(object);
                object = NULL;
        }
        *ret = object;
        return object ? 0 : CDI_FILE_E_MALFORMED;
}
