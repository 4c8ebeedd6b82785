/* SPDX-License-Identifier: Apache-2.0 */
#include "services/fingerprint.h"

#include "ipc/field.h"
#include "lib/error.h"
#include "lib/strings.h"
#include <sodium.h>

static const char *fingerprint_key(const ProtobufCMessage *entry)
{
        return *(char *const *)(const void *)((const uint8_t *)entry + entry->descriptor->fields[0].offset);
}

typedef struct FingerprintEntry {
        ProtobufCMessage *entry;
        size_t order;
} FingerprintEntry;

static int fingerprint_compare(const void *a, const void *b)
{
        const FingerprintEntry *x = a, *y = b;
        int r = strcmp(fingerprint_key(x->entry), fingerprint_key(y->entry));

        return r ? r : x->order < y->order ? -1 : x->order > y->order;
}

static int fingerprint_sort_map(ProtobufCMessage **entries, size_t n)
{
        _cleanup_free_ FingerprintEntry *sorted = calloc(MAX2(n, (size_t)1), sizeof(*sorted));

        if (!sorted)
                return error_origin(-ENOMEM);
        for (size_t i = 0; i < n; i++)
                sorted[i] = (FingerprintEntry){.entry = entries[i], .order = i};
        qsort(sorted, n, sizeof(*sorted), fingerprint_compare);
        for (size_t i = 0; i < n; i++)
                entries[i] = sorted[i].entry;
        return 0;
}

/* Of a copy of ours; its depth was bounded when it was decoded. */
static int fingerprint_sort(ProtobufCMessage *message)
{
        for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
                const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
                uint8_t *at = (uint8_t *)message + field->offset;
                int r = 0;
                if (field->type != PROTOBUF_C_TYPE_MESSAGE)
                        continue;
                if (field->label != PROTOBUF_C_LABEL_REPEATED) {
                        ProtobufCMessage *member = *(ProtobufCMessage **)(void *)at;
                        r = member ? fingerprint_sort(member) : 0;
                } else {
                        size_t n = *(size_t *)(void *)((uint8_t *)message + field->quantifier_offset);
                        ProtobufCMessage **members = *(ProtobufCMessage ***)(void *)at;
                        if (field_is_map(field))
                                r = fingerprint_sort_map(members, n);
                        for (size_t k = 0; k < n && r == 0; k++)
                                r = fingerprint_sort(members[k]);
                }
                if (r < 0)
                        return fold(r);
        }
        return 0;
}

static void fingerprint_arena_donep(DecodeArena *arena)
{
        decode_arena_done(arena);
}

int fingerprint_make(const ProtobufCMessage *message, uint8_t ret[FINGERPRINT_BYTES])
{
        _cleanup_(fingerprint_arena_donep) DecodeArena arena = {0};
        _cleanup_free_ uint8_t *bytes = NULL;
        ProtobufCMessage *copy = NULL;
        size_t n = 0;

        int r = decode_pack(message, &bytes, &n);
        if (r < 0)
                return fold(r);
        decode_arena_init(&arena, decode_budget(n));
        if (decode_message(&arena, message->descriptor, bytes, n, &copy) != 0)
                return error_origin(-ENOMEM);
        r = fingerprint_sort(copy);
        if (r < 0)
                return fold(r);
        free(TAKE_PTR(bytes));
        r = decode_pack(copy, &bytes, &n);
        if (r < 0)
                return fold(r);
        (void)crypto_generichash(ret, FINGERPRINT_BYTES, bytes, n, NULL, 0);
        return 0;
}
