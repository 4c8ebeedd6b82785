/* SPDX-License-Identifier: Apache-2.0 */
#include "services/json-text.h"

#include "ipc/field.h"
#include "lib/strings.h"
#include <inttypes.h>
#include <stdio.h>

static void json_text_put(JsonText *json, const void *bytes, size_t n)
{
        if (json->is_broken)
                return;
        if (json->n + n + 1 > json->n_allocated) {
                size_t size = MAX2(json->n_allocated * 2, json->n + n + 1024);
                char *p = realloc(json->bytes, size);
                if (!p) {
                        json->is_broken = true;
                        return;
                }
                json->bytes = p;
                json->n_allocated = size;
        }
        memcpy(json->bytes + json->n, bytes, n);
        json->n += n;
        json->bytes[json->n] = '\0';
}

static void json_text_put_string(JsonText *json, const char *s)
{
        json_text_put(json, s, strlen(s));
}

/* How much of it is ASCII that needs no escape: most often all. */
static size_t json_text_plain(const uint8_t *s, size_t n)
{
        size_t i = 0;

        while (i < n && s[i] >= 0x20 && s[i] < 0x7f && s[i] != '"' && s[i] != '\\')
                i++;
        return i;
}

static void json_text_put_quoted(JsonText *json, const uint8_t *s, size_t n)
{
        json_text_put(json, "\"", 1);
        for (size_t i = 0; i < n;) {
                size_t plain = json_text_plain(s + i, n - i);
                char escape[8];
                json_text_put(json, s + i, plain);
                i += plain;
                if (i == n)
                        break;
                size_t length = utf8_length(s + i, n - i);
                if (length == 0) {
                        json_text_put_string(json, "\\ufffd");
                } else if (length > 1) {
                        json_text_put(json, s + i, length);
                } else {
                        (void)snprintf(escape, sizeof(escape), "\\u%04x", s[i]);
                        json_text_put_string(json, escape);
                }
                i += MAX2(length, (size_t)1);
        }
        json_text_put(json, "\"", 1);
}

static void json_text_begin(JsonText *json, const char *key)
{
        if (json->wants_comma)
                json_text_put(json, ",", 1);
        json->wants_comma = true;
        if (!key)
                return;
        json_text_put_quoted(json, (const uint8_t *)key, strlen(key));
        json_text_put(json, ":", 1);
}

void json_text_open(JsonText *json, const char *key, char bracket)
{
        json_text_begin(json, key);
        json_text_put(json, &bracket, 1);
        json->wants_comma = false;
}

void json_text_close(JsonText *json, char bracket)
{
        json_text_put(json, &bracket, 1);
        json->wants_comma = true;
}

void json_text_bytes(JsonText *json, const char *key, const void *bytes, size_t n)
{
        json_text_begin(json, key);
        json_text_put_quoted(json, bytes, n);
}

void json_text_string(JsonText *json, const char *key, const char *s)
{
        json_text_bytes(json, key, s ? s : "", s ? strlen(s) : 0);
}

void json_text_integer(JsonText *json, const char *key, int64_t v)
{
        char text[32];

        (void)snprintf(text, sizeof(text), "%" PRId64, v);
        json_text_begin(json, key);
        json_text_put_string(json, text);
}

void json_text_unsigned(JsonText *json, const char *key, uint64_t v)
{
        char text[32];

        (void)snprintf(text, sizeof(text), "%" PRIu64, v);
        json_text_begin(json, key);
        json_text_put_string(json, text);
}

void json_text_bool(JsonText *json, const char *key, bool v)
{
        json_text_begin(json, key);
        json_text_put_string(json, v ? "true" : "false");
}

static void json_member(JsonText *json, const char *key, const ProtobufCFieldDescriptor *field, const void *at, unsigned depth);

static void json_message_at(JsonText *json, const char *key, const ProtobufCMessage *message, unsigned depth);

/* One value of a field; no value is written that is the default of a field that is not repeated. */
static void json_member(JsonText *json, const char *key, const ProtobufCFieldDescriptor *field, const void *at, unsigned depth)
{
        switch (field->type) {
        case PROTOBUF_C_TYPE_INT32:
        case PROTOBUF_C_TYPE_SINT32:
        case PROTOBUF_C_TYPE_SFIXED32:
                json_text_integer(json, key, *(const int32_t *)at);
                break;
        case PROTOBUF_C_TYPE_INT64:
        case PROTOBUF_C_TYPE_SINT64:
        case PROTOBUF_C_TYPE_SFIXED64:
                json_text_integer(json, key, *(const int64_t *)at);
                break;
        case PROTOBUF_C_TYPE_UINT32:
        case PROTOBUF_C_TYPE_FIXED32:
                json_text_unsigned(json, key, *(const uint32_t *)at);
                break;
        case PROTOBUF_C_TYPE_UINT64:
        case PROTOBUF_C_TYPE_FIXED64:
                json_text_unsigned(json, key, *(const uint64_t *)at);
                break;
        case PROTOBUF_C_TYPE_BOOL:
                json_text_bool(json, key, *(const protobuf_c_boolean *)at);
                break;
        case PROTOBUF_C_TYPE_ENUM: {
                const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(field->descriptor, *(const int *)at);
                if (value)
                        json_text_string(json, key, value->name);
                else
                        json_text_integer(json, key, *(const int *)at);
                break;
        }
        case PROTOBUF_C_TYPE_STRING:
                json_text_string(json, key, *(char *const *)at);
                break;
        case PROTOBUF_C_TYPE_BYTES: {
                const ProtobufCBinaryData *bytes = at;
                json_text_bytes(json, key, bytes->data, bytes->len);
                break;
        }
        case PROTOBUF_C_TYPE_MESSAGE:
                json_message_at(json, key, *(ProtobufCMessage *const *)at, depth + 1);
                break;
        case PROTOBUF_C_TYPE_FLOAT:
        case PROTOBUF_C_TYPE_DOUBLE:
        default:
                break; /* none in what is shown */
        }
}

static bool json_is_default(const ProtobufCFieldDescriptor *field, const void *at)
{
        static const uint8_t zero[sizeof(ProtobufCBinaryData)] = {0};

        if (field->type == PROTOBUF_C_TYPE_STRING)
                return str_is_empty(*(char *const *)at);
        if (field->type == PROTOBUF_C_TYPE_BYTES)
                return ((const ProtobufCBinaryData *)at)->len == 0;
        return memcmp(at, zero, field_size(field)) == 0;
}

static void json_repeated(JsonText *json, const ProtobufCFieldDescriptor *field, const uint8_t *elements, size_t n, unsigned depth)
{
        bool is_map = field_is_map(field);

        json_text_open(json, field->name, is_map ? '{' : '[');
        for (size_t i = 0; i < n; i++) {
                const uint8_t *at = elements + i * field_size(field);
                if (!is_map) {
                        json_member(json, NULL, field, at, depth);
                        continue;
                }
                const uint8_t *entry = *(const uint8_t *const *)(const void *)at;
                const ProtobufCMessageDescriptor *type = field->descriptor;
                const char *key = *(char *const *)(const void *)(entry + type->fields[0].offset);
                json_member(json, key, &type->fields[1], entry + type->fields[1].offset, depth);
        }
        json_text_close(json, is_map ? '}' : ']');
}

static void json_message_at(JsonText *json, const char *key, const ProtobufCMessage *message, unsigned depth)
{
        json_text_open(json, key, '{');
        for (unsigned i = 0; message && depth < JSON_DEPTH_MAX && i < message->descriptor->n_fields; i++) {
                const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
                const uint8_t *at = (const uint8_t *)message + field->offset;
                if (field->label == PROTOBUF_C_LABEL_REPEATED) {
                        size_t n = *(const size_t *)(const void *)((const uint8_t *)message + field->quantifier_offset);
                        if (n > 0)
                                json_repeated(json, field, *(const uint8_t *const *)(const void *)at, n, depth);
                } else if (!json_is_default(field, at)) {
                        json_member(json, field->name, field, at, depth);
                }
        }
        json_text_close(json, '}');
}

void json_text_message(JsonText *json, const char *key, const ProtobufCMessage *message)
{
        json_message_at(json, key, message, 0);
}

char *json_text_end(JsonText *json)
{
        static char empty[] = "{}";

        return json->is_broken || !json->bytes ? empty : json->bytes;
}

void json_text_done(JsonText *json)
{
        free(TAKE_PTR(json->bytes));
        *json = (JsonText){0};
}
