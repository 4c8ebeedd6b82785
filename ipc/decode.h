/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Budgeted decoding of protobuf messages. protobuf-c turns a hostile 4 MiB message into 368 MiB with its default
 * allocator. So the wire bytes are scanned first, driven by the descriptors and without allocating anything: strings
 * (length, NUL, UTF-8), element counts, depth, and how much memory the message would take. Only what passes is decoded,
 * in an arena that has a limit of its own. */

#include "lib/base.h"
#include <protobuf-c/protobuf-c.h>

#define DECODE_DEPTH_MAX 16
#define DECODE_ELEMENTS_MAX 65536      /* of all repeated fields of one message together */
#define DECODE_STRING_MAX (256 * 1024) /* strings, not bytes: those are bounded by the row */
#define DECODE_BUDGET_FACTOR 8         /* memory per byte on the wire ... */
#define DECODE_BUDGET_FLOOR                                                                                            \
        (256 * 1024) /* ... plus this: short strings and empty messages cost up to 40 times their length */
#define DECODE_BUDGET_MAX (64 * 1024 * 1024)

/* Bump allocator with a limit; freed as a whole. */
typedef struct DecodeArena {
        ProtobufCAllocator allocator; /* allocator_data points at the arena: an arena in use is not moved */
        struct DecodeChunk *chunks;   /* owned; the newest first */
        size_t used_bytes;
        size_t limit_bytes;
        bool exhausted;
        const ProtobufCMessageDescriptor *fault_type; /* of the last outcome: where it happened, ... */
        const ProtobufCFieldDescriptor *fault_field;  /* ... NULL where no field is known */
} DecodeArena;

void decode_arena_init(DecodeArena *arena, size_t limit_bytes);
void decode_arena_done(DecodeArena *arena);
void *decode_arena_alloc(DecodeArena *arena, size_t n); /* NULL above the limit; aligned to 8 */

/* The limit for a message of n bytes on the wire. */
size_t decode_budget(size_t n);

enum { DECODE_E_MALFORMED = 1, DECODE_E_BUDGET, DECODE_E_STRING, DECODE_E_ELEMENTS, DECODE_E_DEPTH };

/* Decodes and validates; ret lives in the arena. Memory running out is an outcome, there is no negative errno. Unknown
 * fields are dropped. The outcome's text (decode_outcome_name) and the arena's fault can be shown to the sender. */
int decode_message(DecodeArena *arena, const ProtobufCMessageDescriptor *type, const void *bytes, size_t n,
                   ProtobufCMessage **ret);
const char *decode_outcome_name(int outcome);

/* Packs into an owned buffer. Canonical: unknown fields are gone because decode_message() dropped them. */
int decode_pack(const ProtobufCMessage *message, uint8_t **ret, size_t *ret_n);
