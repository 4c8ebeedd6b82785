/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc/field.h"

#include "lib/strings.h"

size_t field_size(const ProtobufCFieldDescriptor *field)
{
        switch ((int)field->type) {
        case PROTOBUF_C_TYPE_STRING:
        case PROTOBUF_C_TYPE_MESSAGE:
                return sizeof(void *);
        case PROTOBUF_C_TYPE_BYTES:
                return sizeof(ProtobufCBinaryData);
        case PROTOBUF_C_TYPE_INT64:
        case PROTOBUF_C_TYPE_SINT64:
        case PROTOBUF_C_TYPE_SFIXED64:
        case PROTOBUF_C_TYPE_UINT64:
        case PROTOBUF_C_TYPE_FIXED64:
        case PROTOBUF_C_TYPE_DOUBLE:
                return 8;
        default:
                return 4; /* protobuf_c_boolean and enumerations are ints */
        }
}

bool field_is_map(const ProtobufCFieldDescriptor *field)
{
        const ProtobufCMessageDescriptor *entry = field->descriptor;

        return field->label == PROTOBUF_C_LABEL_REPEATED && field->type == PROTOBUF_C_TYPE_MESSAGE && entry->n_fields == 2 &&
               str_has_suffix(entry->short_name, "Entry") && str_equal(entry->fields[0].name, "key") &&
               entry->fields[0].type == PROTOBUF_C_TYPE_STRING && str_equal(entry->fields[1].name, "value");
}
