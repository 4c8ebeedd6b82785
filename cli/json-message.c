/* SPDX-License-Identifier: Apache-2.0 */

/* Protobuf messages as JSON, by the mapping of the protobuf project: lowerCamelCase names, 64-bit integers and bytes as strings,
 * maps as objects, enumerations by name, defaults written out. */

#include <jansson.h>
#include <sodium.h>
#include <stdio.h>

#include "cli/cli.h"
#include "ipc/field.h"

static json_t *json_message_object(const ProtobufCMessage *message);

static json_t *json_message_int64(int64_t value)
{
        char text[32];
        (void)snprintf(text, sizeof(text), "%lld", (long long)value);
        return json_string(text);
}

static json_t *json_message_uint64(uint64_t value)
{
        char text[32];
        (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
        return json_string(text);
}

static json_t *json_message_bytes(const ProtobufCBinaryData *bytes)
{
        size_t size = sodium_base64_encoded_len(bytes->len, sodium_base64_VARIANT_ORIGINAL);
        _cleanup_free_ char *text = malloc(size);
        if (!text)
                return NULL;
        (void)sodium_bin2base64(text, size, bytes->data, bytes->len, sodium_base64_VARIANT_ORIGINAL);
        return json_string(text);
}

static json_t *json_message_value(const ProtobufCFieldDescriptor *field, const void *at)
{
        switch (field->type) {
        case PROTOBUF_C_TYPE_INT32:
        case PROTOBUF_C_TYPE_SINT32:
        case PROTOBUF_C_TYPE_SFIXED32:
                return json_integer(*(const int32_t *)at);
        case PROTOBUF_C_TYPE_UINT32:
        case PROTOBUF_C_TYPE_FIXED32:
                return json_integer(*(const uint32_t *)at);
        case PROTOBUF_C_TYPE_INT64:
        case PROTOBUF_C_TYPE_SINT64:
        case PROTOBUF_C_TYPE_SFIXED64:
                return json_message_int64(*(const int64_t *)at);
        case PROTOBUF_C_TYPE_UINT64:
        case PROTOBUF_C_TYPE_FIXED64:
                return json_message_uint64(*(const uint64_t *)at);
        case PROTOBUF_C_TYPE_FLOAT:
                return json_real((double)*(const float *)at);
        case PROTOBUF_C_TYPE_DOUBLE:
                return json_real(*(const double *)at);
        case PROTOBUF_C_TYPE_BOOL:
                return json_boolean(*(const protobuf_c_boolean *)at);
        case PROTOBUF_C_TYPE_STRING: {
                const char *text = *(char *const *)at;
                return json_string(text ? text : "");
        }
        case PROTOBUF_C_TYPE_BYTES:
                return json_message_bytes(at);
        case PROTOBUF_C_TYPE_ENUM: {
                int value = *(const int *)at;
                const ProtobufCEnumValue *known = protobuf_c_enum_descriptor_get_value(field->descriptor, value);
                return known ? json_string(known->name) : json_integer(value);
        }
        case PROTOBUF_C_TYPE_MESSAGE: {
                const ProtobufCMessage *message = *(ProtobufCMessage *const *)at;
                return message ? json_message_object(message) : json_null();
        }
        default:
                return json_null();
        }
}

static json_t *json_message_repeated(const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message)
{
        size_t n = *(const size_t *)((const char *)message + field->quantifier_offset);
        const char *at = *(char *const *)((const char *)message + field->offset);
        bool is_map = field_is_map(field);
        json_t *all = is_map ? json_object() : json_array();
        for (size_t i = 0; i < n; i++) {
                const void *element = at + i * field_size(field);
                if (!is_map) {
                        (void)json_array_append_new(all, json_message_value(field, element));
                        continue;
                }
                const ProtobufCMessage *entry = *(ProtobufCMessage *const *)element;
                const ProtobufCFieldDescriptor *key = &entry->descriptor->fields[0], *value = &entry->descriptor->fields[1];
                (void)json_object_set_new(all, *(char *const *)((const char *)entry + key->offset),
                                          json_message_value(value, (const char *)entry + value->offset));
        }
        return all;
}

static json_t *json_message_object(const ProtobufCMessage *message)
{
        json_t *object = json_object();
        for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
                const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
                char name[128];
                size_t n = 0;
                for (const char *p = field->name; *p && n + 1 < sizeof(name); p++) {
                        if (*p == '_' && p[1])
                                name[n++] = p[1] >= 'a' && p[1] <= 'z' ? (char)(*++p - 32) : *++p;
                        else
                                name[n++] = *p;
                }
                name[n] = '\0';
                json_t *value = field->label == PROTOBUF_C_LABEL_REPEATED
                                        ? json_message_repeated(field, message)
                                        : json_message_value(field, (const char *)message + field->offset);
                (void)json_object_set_new(object, name, value);
        }
        return object;
}

int json_message_print(const ProtobufCMessage *message)
{
        json_t *object = json_message_object(message);
        char *text = object ? json_dumps(object, JSON_INDENT(2)) : NULL;
        json_decref(object);
        if (!text)
                return cli_fail("out of memory");
        puts(text);
        free(text);
        return 0;
}
