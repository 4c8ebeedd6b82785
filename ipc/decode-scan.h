/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Looks through a message on the wire before it is decoded; allocates nothing. */

#include "ipc/decode.h"

typedef struct DecodeScan {
        size_t limit_bytes; /* set by the caller: more memory than this is DECODE_E_BUDGET */
        size_t cost_bytes;  /* what protobuf-c will allocate, rounded up */
        bool has_unknown;   /* somewhere there is a field that its type does not have */
        const ProtobufCMessageDescriptor *fault_type;
        const ProtobufCFieldDescriptor *fault_field;
} DecodeScan;

/* 0 or a DECODE_E_ outcome. */
int decode_scan(DecodeScan *scan, const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t n);

/* Valid UTF-8 (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF) without NUL. */
bool decode_text_is_valid(const uint8_t *s, size_t n);
