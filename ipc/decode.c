/* SPDX-License-Identifier: Apache-2.0 */

#include "ipc/decode-scan.h"
#include "lib/error.h"

#define DECODE_CHUNK_MIN 1024

/* A piece of the arena. Bytes follow it. */
typedef struct DecodeChunk {
        struct DecodeChunk *next; /* owned */
        size_t size_bytes;
        size_t used_bytes;
        max_align_t bytes[];
} DecodeChunk;

static void *decode_allocator_alloc(void *data, size_t n)
{
        return decode_arena_alloc(data, n);
}

/* The arena is freed as a whole. */
static void decode_allocator_free(void *data, void *p)
{
        (void)data;
        (void)p;
}

void decode_arena_init(DecodeArena *arena, size_t limit_bytes)
{
        *arena = (DecodeArena){
                        .allocator = {.alloc = decode_allocator_alloc,
                                      .free = decode_allocator_free,
                                      .allocator_data = arena},
                        .limit_bytes = limit_bytes,
        };
}

void decode_arena_done(DecodeArena *arena)
{
        while (arena->chunks) {
                DecodeChunk *chunk = arena->chunks;

                arena->chunks = chunk->next;
                free(chunk);
        }
        arena->used_bytes = 0;
}

static bool decode_arena_grow(DecodeArena *arena, size_t n)
{
        size_t size = MAX2(n, (size_t)DECODE_CHUNK_MIN);
        DecodeChunk *chunk = malloc(sizeof(*chunk) + size);

        if (!chunk)
                return false;
        chunk->next = arena->chunks;
        chunk->size_bytes = size;
        chunk->used_bytes = 0;
        arena->chunks = chunk;
        return true;
}

void *decode_arena_alloc(DecodeArena *arena, size_t n)
{
        DecodeChunk *chunk = arena->chunks;
        void *p;

        if (n > arena->limit_bytes - arena->used_bytes) { /* check: arena-limit */
                arena->exhausted = true;
                return NULL;
        }
        n = MIN2((n + 7) & ~(size_t)7, arena->limit_bytes - arena->used_bytes);
        if (!chunk || n > chunk->size_bytes - chunk->used_bytes) {
                if (!decode_arena_grow(arena, n)) {
                        arena->exhausted = true;
                        return NULL;
                }
                chunk = arena->chunks;
        }
        p = (uint8_t *)chunk->bytes + chunk->used_bytes;
        chunk->used_bytes += n;
        arena->used_bytes += n;
        return p;
}

size_t decode_budget(size_t n)
{
        if (n > (DECODE_BUDGET_MAX - DECODE_BUDGET_FLOOR) / DECODE_BUDGET_FACTOR)
                return DECODE_BUDGET_MAX;
        return n * DECODE_BUDGET_FACTOR + DECODE_BUDGET_FLOOR;
}

const char *decode_outcome_name(int outcome)
{
        switch (outcome) {
        case 0:
                return "ok";
        case DECODE_E_MALFORMED:
                return "malformed message";
        case DECODE_E_BUDGET:
                return "message takes too much memory";
        case DECODE_E_STRING:
                return "string too long, not UTF-8 or with a NUL";
        case DECODE_E_ELEMENTS:
                return "too many elements";
        case DECODE_E_DEPTH:
                return "message nested too deep";
        }
        return "unknown outcome";
}

static void decode_drop_unknown(ProtobufCMessage *message);

static void decode_drop_unknown_in(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
        uint8_t *base = (uint8_t *)message;

        if (field->type != PROTOBUF_C_TYPE_MESSAGE)
                return;
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
                size_t n = *(size_t *)(void *)(base + field->quantifier_offset);
                ProtobufCMessage **elements = *(ProtobufCMessage ***)(void *)(base + field->offset);

                for (size_t i = 0; i < n; i++)
                        decode_drop_unknown(elements[i]);
                return;
        }
        if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) &&
            *(uint32_t *)(void *)(base + field->quantifier_offset) != field->id)
                return;
        if (*(ProtobufCMessage **)(void *)(base + field->offset))
                decode_drop_unknown(*(ProtobufCMessage **)(void *)(base + field->offset));
}

/* Their memory is the arena's; they are only no longer there. The depth is bounded: the message was scanned. */
static void decode_drop_unknown(ProtobufCMessage *message)
{
        message->n_unknown_fields = 0;
        message->unknown_fields = NULL;
        for (unsigned i = 0; i < message->descriptor->n_fields; i++)
                decode_drop_unknown_in(message, &message->descriptor->fields[i]);
}

int decode_message(DecodeArena *arena, const ProtobufCMessageDescriptor *type, const void *bytes, size_t n,
                   ProtobufCMessage **ret)
{
        DecodeScan scan = {.limit_bytes = arena->limit_bytes - arena->used_bytes};
        ProtobufCMessage *message;
        int r;

        r = decode_scan(&scan, type, bytes, n);
        if (r != 0) {
                arena->fault_type = scan.fault_type;
                arena->fault_field = scan.fault_field;
                return r;
        }
        /* All of it in one chunk: protobuf-c then allocates nothing more in ordinary messages. */
        if (!decode_arena_grow(arena, scan.cost_bytes))
                return DECODE_E_BUDGET;
        message = protobuf_c_message_unpack(type, &arena->allocator, n, bytes);
        if (!message) {
                arena->fault_type = type;
                return arena->exhausted ? DECODE_E_BUDGET : DECODE_E_MALFORMED;
        }
        if (scan.has_unknown) /* check: unknown-fields */
                decode_drop_unknown(message);
        *ret = message;
        return 0;
}

int decode_pack(const ProtobufCMessage *message, uint8_t **ret, size_t *ret_n)
{
        size_t n = protobuf_c_message_get_packed_size(message);
        uint8_t *bytes = malloc(n + 1);

        if (!bytes)
                return error_origin(-ENOMEM);
        (void)protobuf_c_message_pack(message, bytes);
        *ret = bytes;
        *ret_n = n;
        return 0;
}
