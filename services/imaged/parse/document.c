/* SPDX-License-Identifier: Apache-2.0 */

/* jansson allows 2048 levels and builds whatever fits into memory. So the text is walked once before it, without a
 * stack: depth and number of values are known before anything is allocated. Up to the first mistake of a document both
 * see the same tokens, and after it jansson stops. */

#include "services/imaged/parse/document.h"
#include "lib/strings.h"

#include <stdarg.h>
#include <stdio.h>

#define DOCUMENT_PATH_MAX 256

static int document_scan(Parse *parse, const char *bytes, size_t n)
{
        size_t depth = 0, n_values = 1;
        bool in_string = false;

        for (size_t i = 0; i < n; i++) {
                char c = bytes[i];

                if (in_string) {
                        if (c == '\\')
                                i++;
                        else if (c == '"')
                                in_string = false;
                        continue;
                }
                if (c == '"') {
                        in_string = true;
                } else if (c == '[' || c == '{') {
                        n_values++;
                        if (++depth > DOCUMENT_DEPTH_MAX) /* check: document-depth */
                                return parse_refuse(parse, GRPC_STATUS_INVALID_ARGUMENT,
                                                    "it is nested deeper than %d levels", DOCUMENT_DEPTH_MAX);
                } else if (c == ']' || c == '}') {
                        depth -= depth > 0;
                } else if (c == ',') {
                        n_values++;
                }
                if (n_values > DOCUMENT_VALUES_MAX) /* check: document-values */
                        return parse_refuse(parse, GRPC_STATUS_INVALID_ARGUMENT, "it has more than %d values",
                                            DOCUMENT_VALUES_MAX);
        }
        return 0;
}

int document_load(Parse *parse, const void *bytes, size_t n, DocumentNode *ret)
{
        json_error_t error;
        char text[256];

        if (n == 0) /* check: document-empty */
                return parse_refuse(parse, GRPC_STATUS_INVALID_ARGUMENT, "it is empty");
        if (memchr(bytes, 0, n)) /* check: document-nul */
                return parse_refuse(parse, GRPC_STATUS_INVALID_ARGUMENT, "it has a NUL byte: it is not JSON");
        int r = document_scan(parse, bytes, n);
        if (r)
                return r;
        parse->document = json_loadb(bytes, n, JSON_REJECT_DUPLICATES, &error);
        if (!parse->document) {
                if (json_error_code(&error) == json_error_out_of_memory)
                        return parse_refuse_memory(parse);
                str_printable(text, sizeof(text), error.text, strnlen(error.text, sizeof(error.text)));
                return parse_refuse(parse, GRPC_STATUS_INVALID_ARGUMENT, "it is not strict JSON: line %d, column %d: "
                                    "%s", error.line, error.column, text);
        }
        *ret = (DocumentNode){.value = parse->document};
        return 0;
}

/* Nodes are as deep as the code that makes them, not as the document. */
static size_t document_path(const DocumentNode *node, char to[DOCUMENT_PATH_MAX])
{
        if (!node->parent) {
                to[0] = '\0';
                return 0;
        }
        size_t n = document_path(node->parent, to);
        int more = node->key ? snprintf(to + n, DOCUMENT_PATH_MAX - n, "%s%s", n > 0 ? "." : "", node->key)
                             : snprintf(to + n, DOCUMENT_PATH_MAX - n, "[%zu]", node->index);
        return more < 0 ? n : MIN2(n + (size_t)more, (size_t)DOCUMENT_PATH_MAX - 1);
}

int document_refuse(Parse *parse, const DocumentNode *node, const char *format, ...)
{
        char path[DOCUMENT_PATH_MAX], text[PARSE_TEXT_MAX];
        va_list args;

        va_start(args, format);
        (void)vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        return parse_refuse(parse, GRPC_STATUS_INVALID_ARGUMENT, "%s %s",
                            document_path(node, path) > 0 ? path : "the document", text);
}

static const char *document_type_name(json_type type)
{
        switch (type) {
        case JSON_OBJECT:
                return "an object";
        case JSON_ARRAY:
                return "an array";
        case JSON_STRING:
                return "a string";
        case JSON_INTEGER:
                return "a whole number";
        case JSON_REAL:
                return "a number";
        case JSON_TRUE:
        case JSON_FALSE:
                return "true or false";
        case JSON_NULL:
                return "null";
        }
        return "a value";
}

int document_expect(Parse *parse, const DocumentNode *node, json_type type)
{
        if (json_typeof(node->value) != type) /* check: document-type */
                return document_refuse(parse, node, "is not %s", document_type_name(type));
        return 0;
}

bool document_has(const DocumentNode *object, const char *key)
{
        return json_object_get(object->value, key);
}

int document_member(Parse *parse, const DocumentNode *object, const char *key, json_type type, DocumentNeed need,
                    DocumentNode *ret)
{
        json_t *value = json_object_get(object->value, key);
        const DocumentNode node = {.parent = object, .key = key, .value = json_is_null(value) ? NULL : value};

        if (!node.value && need == DOCUMENT_REQUIRED) /* check: document-missing */
                return document_refuse(parse, &node, "is missing");
        int r = node.value ? document_expect(parse, &node, type) : 0;
        if (r)
                return r;
        *ret = node;
        return 0;
}

int document_array(Parse *parse, const DocumentNode *object, const char *key, size_t max, DocumentNeed need,
                   DocumentNode *ret)
{
        DocumentNode node;
        int r = document_member(parse, object, key, JSON_ARRAY, need, &node);
        if (r)
                return r;
        if (json_array_size(node.value) > max) /* check: document-elements */
                return document_refuse(parse, &node, "has %zu elements, more than %zu", json_array_size(node.value),
                                       max);
        *ret = node;
        return 0;
}

int document_element(Parse *parse, const DocumentNode *array, size_t i, json_type type, DocumentNode *ret)
{
        const DocumentNode node = {.parent = array, .index = i, .value = json_array_get(array->value, i)};

        int r = document_expect(parse, &node, type);
        if (r)
                return r;
        *ret = node;
        return 0;
}

int document_text(Parse *parse, const DocumentNode *string, size_t max, char **ret)
{
        size_t n = json_string_length(string->value);

        if (n > max) /* check: document-string */
                return document_refuse(parse, string, "has %zu bytes, more than %zu", n, max);
        /* Messages have no const strings; nothing writes to them. */
        *ret = (char *)(uintptr_t)json_string_value(string->value);
        return 0;
}

int document_string(Parse *parse, const DocumentNode *object, const char *key, DocumentNeed need, char **ret)
{
        DocumentNode node;
        int r = document_member(parse, object, key, JSON_STRING, need, &node);
        if (r || !node.value)
                return r;
        return document_text(parse, &node, DOCUMENT_STRING_MAX, ret);
}

int document_strings(Parse *parse, const DocumentNode *object, const char *key, size_t max, char ***ret, size_t *ret_n)
{
        DocumentNode array, element;
        int r = document_array(parse, object, key, max, DOCUMENT_OPTIONAL, &array);
        if (r)
                return r;
        size_t n = json_array_size(array.value);
        char **strings = parse_alloc(parse, n, sizeof(*strings));
        if (!strings)
                return parse_refuse_memory(parse);
        for (size_t i = 0; i < n; i++) {
                r = document_element(parse, &array, i, JSON_STRING, &element);
                if (r == 0)
                        r = document_text(parse, &element, DOCUMENT_STRING_MAX, &strings[i]);
                if (r)
                        return r;
        }
        *ret = strings;
        *ret_n = n;
        return 0;
}

int document_size(Parse *parse, const DocumentNode *object, const char *key, uint64_t *ret)
{
        DocumentNode node;
        int r = document_member(parse, object, key, JSON_INTEGER, DOCUMENT_REQUIRED, &node);
        if (r)
                return r;
        json_int_t value = json_integer_value(node.value);
        if (value < 0) /* check: document-size-sign */
                return document_refuse(parse, &node, "is negative");
        if ((uint64_t)value > DOCUMENT_SIZE_MAX) /* check: document-size */
                return document_refuse(parse, &node, "is more than 2^50 bytes");
        *ret = (uint64_t)value;
        return 0;
}

int document_digest(Parse *parse, const DocumentNode *string, ProtobufCBinaryData *ret)
{
        static const char prefix[] = "sha256:";
        const char *text = json_string_value(string->value);
        uint8_t *bytes = parse_alloc(parse, DOCUMENT_DIGEST_BYTES, 1);

        if (!bytes)
                return parse_refuse_memory(parse);
        if (!str_has_prefix(text, prefix) ||
            !hex_decode(bytes, DOCUMENT_DIGEST_BYTES, text + sizeof(prefix) - 1)) /* check: document-digest */
                return document_refuse(parse, string, "is not sha256: and 64 lower-case hexadecimal digits");
        *ret = (ProtobufCBinaryData){.data = bytes, .len = DOCUMENT_DIGEST_BYTES};
        return 0;
}
