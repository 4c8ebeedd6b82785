/* SPDX-License-Identifier: Apache-2.0 */

/* The wire format is that of the protobuf encoding documentation: a tag (field number and wire type) as a varint, then
 * a varint, 8 bytes, a length and that many bytes, or 4 bytes. Where this scan and protobuf-c could differ (padded tags
 * and lengths, groups), the scan is the stricter one, so that both see the same fields.
 *
 * The cost follows protobuf-c's unpacking: the struct of each message, its scratch slabs of 32-byte members (16 on its
 * stack, then heap slabs that double), arrays of repeated fields, copies of strings, bytes and unknown fields. */

#include "ipc/decode-scan.h"

#define SCAN_MEMBER_BYTES 32
#define SCAN_MEMBERS_ON_STACK 16
#define SCAN_UNKNOWN_BYTES sizeof(ProtobufCMessageUnknownField)
#define SCAN_TAG_BYTES_MAX 5
#define SCAN_VARINT_BYTES_MAX 10

enum { WIRE_TYPE_VARINT = 0, WIRE_TYPE_64BIT = 1, WIRE_TYPE_LENGTH = 2, WIRE_TYPE_32BIT = 5 };

/* One member of a message as it stands on the wire. */
typedef struct ScanMember {
        const ProtobufCFieldDescriptor *field; /* NULL: unknown */
        unsigned wire_type;
        const uint8_t *content; /* without the length */
        size_t length;
} ScanMember;

static size_t scan_round(size_t n)
{
        return (n + 7) & ~(size_t)7;
}

bool decode_text_is_valid(const uint8_t *s, size_t n)
{
        const uint8_t *end = s + n;

        while (s < end) {
                uint8_t c = *s;
                uint32_t point;
                size_t more;

                if (c < 0x80) {
                        if (c == 0) /* check: text-nul */
                                return false;
                        s++;
                        continue;
                }
                if (c >= 0xc2 && c <= 0xdf)
                        more = 1;
                else if (c >= 0xe0 && c <= 0xef)
                        more = 2;
                else if (c >= 0xf0 && c <= 0xf4)
                        more = 3;
                else
                        return false;
                if ((size_t)(end - s) <= more) /* check: text-short */
                        return false;
                point = c & (0x3fu >> more);
                for (size_t i = 1; i <= more; i++) {
                        if ((s[i] & 0xc0) != 0x80) /* check: text-continuation */
                                return false;
                        point = point << 6 | (s[i] & 0x3fu);
                }
                if (more == 2 && point < 0x800) /* check: text-overlong-3 */
                        return false;
                if (more == 3 && point < 0x10000) /* check: text-overlong-4 */
                        return false;
                if (point >= 0xd800 && point <= 0xdfff) /* check: text-surrogate */
                        return false;
                if (point > 0x10ffff) /* check: text-range */
                        return false;
                s += more + 1;
        }
        return true;
}

/* Reads a varint of at most n_max bytes and moves *p behind it. */
static bool scan_varint(const uint8_t **p, const uint8_t *end, size_t n_max, uint64_t *ret)
{
        uint64_t value = 0;

        for (size_t i = 0; i < n_max; i++) {
                uint8_t c;

                if (*p == end) /* check: varint-short */
                        return false;
                c = *(*p)++;
                value |= (uint64_t)(c & 0x7f) << (7 * i);
                if (!(c & 0x80)) {
                        *ret = value;
                        return true;
                }
        }
        return false;
}

/* Reads one member and moves *p behind it; false if it does not fit into what is there. */
static bool scan_member(const ProtobufCMessageDescriptor *type, const uint8_t **p, const uint8_t *end, ScanMember *ret)
{
        ScanMember member = {0};
        uint64_t tag, value;

        if (!scan_varint(p, end, SCAN_TAG_BYTES_MAX, &tag))
                return false;
        if (tag > UINT32_MAX) /* check: tag-range */
                return false;
        member.wire_type = tag & 7;
        member.field = protobuf_c_message_descriptor_get_field(type, (unsigned)(tag >> 3));
        member.content = *p;
        switch (member.wire_type) {
        case WIRE_TYPE_VARINT:
                if (!scan_varint(p, end, SCAN_VARINT_BYTES_MAX, &value))
                        return false;
                member.length = (size_t)(*p - member.content);
                break;
        case WIRE_TYPE_64BIT:
                member.length = 8;
                break;
        case WIRE_TYPE_LENGTH:
                if (!scan_varint(p, end, SCAN_TAG_BYTES_MAX, &value))
                        return false;
                member.content = *p;
                member.length = value;
                break;
        case WIRE_TYPE_32BIT:
                member.length = 4;
                break;
        default:
                return false;
        }
        if (member.length > (size_t)(end - member.content)) /* check: member-length */
                return false;
        *p = member.content + member.length;
        *ret = member;
        return true;
}

/* Numbers of a packed repeated field; an upper bound is enough, protobuf-c checks the rest. */
static size_t scan_count_packed(const ScanMember *member)
{
        size_t n = 0;

        switch (member->field->type) {
        case PROTOBUF_C_TYPE_FIXED32:
        case PROTOBUF_C_TYPE_SFIXED32:
        case PROTOBUF_C_TYPE_FLOAT:
                return member->length / 4;
        case PROTOBUF_C_TYPE_FIXED64:
        case PROTOBUF_C_TYPE_SFIXED64:
        case PROTOBUF_C_TYPE_DOUBLE:
                return member->length / 8;
        case PROTOBUF_C_TYPE_INT32:
        case PROTOBUF_C_TYPE_SINT32:
        case PROTOBUF_C_TYPE_INT64:
        case PROTOBUF_C_TYPE_SINT64:
        case PROTOBUF_C_TYPE_UINT32:
        case PROTOBUF_C_TYPE_UINT64:
        case PROTOBUF_C_TYPE_BOOL:
        case PROTOBUF_C_TYPE_ENUM:
                for (size_t i = 0; i < member->length; i++)
                        n += !(member->content[i] & 0x80);
                return n;
        case PROTOBUF_C_TYPE_STRING:
        case PROTOBUF_C_TYPE_BYTES:
        case PROTOBUF_C_TYPE_MESSAGE:
                break;
        }
        return 1;
}

static int scan_fault(DecodeScan *scan, const ProtobufCMessageDescriptor *type, const ProtobufCFieldDescriptor *field,
                      int outcome)
{
        if (!scan->fault_type) {
                scan->fault_type = type;
                scan->fault_field = field;
        }
        return outcome;
}

static int scan_charge(DecodeScan *scan, size_t n)
{
        scan->cost_bytes += n;
        if (scan->cost_bytes > scan->limit_bytes) /* check: scan-budget */
                return DECODE_E_BUDGET;
        return 0;
}

static int scan_message(DecodeScan *scan, const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t n,
                        size_t depth);

/* The content of a member that has a length. */
static int scan_content(DecodeScan *scan, const ScanMember *member, size_t depth)
{
        switch ((int)member->field->type) {
        case PROTOBUF_C_TYPE_STRING:
                if (member->length > DECODE_STRING_MAX) /* check: string-length */
                        return DECODE_E_STRING;
                if (!decode_text_is_valid(member->content, member->length)) /* check: string-text */
                        return DECODE_E_STRING;
                return scan_charge(scan, scan_round(member->length + 1));
        case PROTOBUF_C_TYPE_BYTES:
                return scan_charge(scan, scan_round(member->length));
        case PROTOBUF_C_TYPE_MESSAGE:
                return scan_message(scan, member->field->descriptor, member->content, member->length, depth + 1);
        default:
                return 0;
        }
}

static int scan_elements(DecodeScan *scan, const ScanMember *member, size_t *n_elements)
{
        size_t n = member->wire_type == WIRE_TYPE_LENGTH ? scan_count_packed(member) : 1;

        if (member->field->label != PROTOBUF_C_LABEL_REPEATED)
                return 0;
        *n_elements += n;
        if (*n_elements > DECODE_ELEMENTS_MAX) /* check: elements */
                return DECODE_E_ELEMENTS;
        return scan_charge(scan, n * (member->field->type == PROTOBUF_C_TYPE_BYTES ? sizeof(ProtobufCBinaryData) : 8));
}

/* Slabs double: with the first one that goes to the heap, all together have at most four times the members. */
static size_t scan_slab_bytes(size_t n_members)
{
        size_t room = SCAN_MEMBERS_ON_STACK, bytes = 0;

        for (size_t slab = 2 * SCAN_MEMBERS_ON_STACK; room < n_members; slab *= 2) {
                room += slab;
                bytes += slab * SCAN_MEMBER_BYTES;
        }
        return bytes;
}

static int scan_message(DecodeScan *scan, const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t n,
                        size_t depth)
{
        const uint8_t *end = bytes + n;
        size_t n_members = 0, n_elements = 0;
        int r;

        if (depth > DECODE_DEPTH_MAX) /* check: depth */
                return scan_fault(scan, type, NULL, DECODE_E_DEPTH);
        /* The bitmap of required fields is on the heap from 128 fields on. */
        r = scan_charge(scan, scan_round(type->sizeof_message) + scan_round(type->n_fields / 8 + 1));
        while (r == 0 && bytes < end) {
                ScanMember member;

                if (!scan_member(type, &bytes, end, &member))
                        return scan_fault(scan, type, NULL, DECODE_E_MALFORMED);
                n_members++;
                if (!member.field) {
                        scan->has_unknown = true;
                        r = scan_charge(scan, SCAN_UNKNOWN_BYTES + scan_round(member.length + SCAN_VARINT_BYTES_MAX));
                } else {
                        r = scan_elements(scan, &member, &n_elements);
                        if (r == 0 && member.wire_type == WIRE_TYPE_LENGTH)
                                r = scan_content(scan, &member, depth);
                }
                if (r != 0)
                        return scan_fault(scan, type, member.field, r);
        }
        if (r == 0)
                r = scan_charge(scan, scan_slab_bytes(n_members));
        return r == 0 ? 0 : scan_fault(scan, type, NULL, r);
}

int decode_scan(DecodeScan *scan, const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t n)
{
        return scan_message(scan, type, bytes, n, 1);
}
