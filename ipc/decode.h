/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Budgeted decoding of protobuf messages. protobuf-c turns a hostile 4 MiB message into 368 MiB with its default
 * allocator, so every decode here uses an arena with a limit, and a validator driven by the descriptors then bounds
 * strings, element counts and depth, and refuses NUL and invalid UTF-8 in strings. */

#include "lib/base.h"
#include <protobuf-c/protobuf-c.h>

#define DECODE_DEPTH_MAX 16
#define DECODE_ELEMENTS_MAX 65536       /* of one repeated field */
#define DECODE_STRING_MAX (256 * 1024)
#define DECODE_BUDGET_FACTOR 8          /* memory per byte on the wire ... */
#define DECODE_BUDGET_FLOOR (64 * 1024) /* ... plus this ... */
#define DECODE_BUDGET_MAX (64 * 1024 * 1024)

/* Bump allocator with a limit; freed as a whole. */
typedef struct DecodeArena {
        ProtobufCAllocator allocator; /* allocator_data points at the arena: an arena in use is not moved */
        void *chunks;
        size_t used_bytes;
        size_t limit_bytes;
        bool exhausted;
} DecodeArena;

void decode_arena_init(DecodeArena *arena, size_t limit_bytes);
void decode_arena_done(DecodeArena *arena);
void *decode_arena_alloc(DecodeArena *arena, size_t n); /* NULL above the limit */

enum { DECODE_E_MALFORMED = 1, DECODE_E_BUDGET, DECODE_E_STRING, DECODE_E_ELEMENTS, DECODE_E_DEPTH, DECODE_E_UNKNOWN_FIELD };

/* Decodes and validates; ret lives in the arena. A negative budget failure cannot happen: running out is an outcome.
 * Unknown fields are dropped (see decode_repack()). The outcome's text (decode_outcome_name) and the path of the field at
 * fault can be shown to the sender. */
int decode_message(DecodeArena *arena, const ProtobufCMessageDescriptor *type, const void *bytes, size_t n,
                   ProtobufCMessage **ret);
int decode_validate(const ProtobufCMessage *message);
const char *decode_outcome_name(int outcome);

/* Packs into an owned buffer. Canonical: unknown fields are gone because decode_message() dropped them. */
int decode_pack(const ProtobufCMessage *message, uint8_t **ret, size_t *ret_n);
