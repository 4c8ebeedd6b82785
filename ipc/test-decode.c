/* SPDX-License-Identifier: Apache-2.0 */

/* Decoding of what is hostile: every refusal, with its twin that passes; memory stays within the budget. Messages are
 * given as exact-size heap copies, so that a read beyond the end is seen by the sanitizer. */

#include "ipc/decode-scan.h"
#include "ipc/test-messages.pb-c.h"
#include "lib/test.h"

#define NODE (&bulkhead__test__node__descriptor)
#define OLD (&bulkhead__test__old_node__descriptor)
#define BUDGET (1024 * 1024)

typedef struct Bytes {
        uint8_t *data;
        size_t n;
        size_t room;
} Bytes;

static void bytes_add(Bytes *b, const void *data, size_t n)
{
        if (b->n + n > b->room) {
                b->room = (b->n + n) * 2;
                b->data = realloc(b->data, b->room);
                assert_true(b->data);
        }
        if (n > 0)
                memcpy(b->data + b->n, data, n);
        b->n += n;
}

static void bytes_add_varint(Bytes *b, uint64_t v)
{
        do {
                uint8_t c = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));

                bytes_add(b, &c, 1);
                v >>= 7;
        } while (v);
}

static void bytes_add_field(Bytes *b, unsigned number, const void *data, size_t n)
{
        bytes_add_varint(b, number << 3 | 2);
        bytes_add_varint(b, n);
        bytes_add(b, data, n);
}

static void bytes_done(Bytes *b)
{
        free(b->data);
        *b = (Bytes){0};
}

/* Decodes an exact copy in an arena of the limit. */
static int decode_try_limit(const ProtobufCMessageDescriptor *type, const void *bytes, size_t n, size_t limit,
                            DecodeArena *arena, ProtobufCMessage **ret)
{
        uint8_t *exact = malloc(n);
        int r;

        assert_true(exact || n == 0);
        if (n > 0)
                memcpy(exact, bytes, n);
        decode_arena_init(arena, limit);
        r = decode_message(arena, type, exact, n, ret);
        assert_true(arena->used_bytes <= limit);
        free(exact);
        return r;
}

static int decode_try(const void *bytes, size_t n)
{
        ProtobufCMessage *message = NULL;
        DecodeArena arena;
        int r = decode_try_limit(NODE, bytes, n, BUDGET, &arena, &message);

        assert_true((r == 0) == (message != NULL));
        decode_arena_done(&arena);
        return r;
}
#define decode_try_literal(s) decode_try(s, sizeof(s) - 1)

static int decode_try_text(const void *text, size_t n)
{
        Bytes b = {0};
        int r;

        bytes_add_field(&b, 2, text, n);
        r = decode_try(b.data, b.n);
        bytes_done(&b);
        return r;
}

static void decode_reads_every_type(void)
{
        Bulkhead__Test__Node *node;
        ProtobufCMessage *message = NULL;
        DecodeArena arena;
        uint8_t *packed = NULL;
        size_t n = 0;
        Bytes b = {0};

        bytes_add(&b, "\x0a\x03\x12\x01z", 5);          /* child { text: "z" } */
        bytes_add(&b, "\x12\x02\xc3\xa9", 4);           /* text: é */
        bytes_add(&b, "\x1a\x00\x1a\x00", 4);           /* two empty nodes */
        bytes_add(&b, "\x22\x01p\x22\x00", 5);          /* texts: p, "" */
        bytes_add(&b, "\x2a\x03\x01\x96\x01", 5);       /* numbers: 1, 150 packed */
        bytes_add(&b, "\x32\x02\x00\xff", 4);           /* blob: NUL is fine in bytes */
        bytes_add(&b, "\x3a\x01\x00", 3);               /* blobs */
        bytes_add(&b, "\x42\x06\x0a\x01k\x12\x01v", 8); /* labels k: v */
        bytes_add(&b, "\x52\x01q", 3);                  /* chosen_text */
        bytes_add(&b, "\x65\x01\x00\x00\x00", 5);       /* fixed_32: 1 */
        bytes_add(&b, "\x72\x04\x02\x00\x00\x00", 6);   /* packed_32: 2 */
        assert_ok(decode_try_limit(NODE, b.data, b.n, BUDGET, &arena, &message));
        node = (Bulkhead__Test__Node *)message;
        assert_eq_str(node->child->text, "z");
        assert_eq_str(node->text, "\xc3\xa9");
        assert_eq_int(node->n_nodes, 2);
        assert_eq_str(node->texts[0], "p");
        assert_eq_str(node->texts[1], "");
        assert_eq_int(node->numbers[1], 150);
        assert_eq_mem(node->blob.data, node->blob.len, "\x00\xff", 2);
        assert_eq_int(node->n_blobs, 1);
        assert_eq_str(node->labels[0]->value, "v");
        assert_eq_str(node->chosen_text, "q");
        assert_eq_int(node->fixed_32, 1);
        assert_eq_int(node->packed_32[0], 2);
        /* And back. */
        assert_ok(decode_pack(message, &packed, &n));
        assert_eq_int(n, b.n);
        free(packed);
        decode_arena_done(&arena);
        bytes_done(&b);
}

static void decode_empty_message_is_valid(void)
{
        assert_ok(decode_try("", 0));
}

/* Cut anywhere, a message either still is one or is refused; it is never read beyond its end. */
static void decode_truncations_are_safe(void)
{
        static const char whole[] = "\x0a\x03\x12\x01z\x12\x02\xc3\xa9\x1a\x00\x2a\x03\x01\x96\x01\x65\x01\x00\x00\x00"
                                    "\x69\x01\x02\x03\x04\x05\x06\x07\x08\x42\x06\x0a\x01k\x12\x01v\x98\x06\x96\x01";
        size_t n_valid = 0;

        for (size_t n = 0; n < sizeof(whole); n++)
                n_valid += decode_try(whole, n) == 0;
        assert_eq_int(n_valid, 1 + 8); /* nothing, and behind each of the fields */
}

static void decode_malformed_is_refused(void)
{
        assert_eq_int(decode_try_literal("\x12"), DECODE_E_MALFORMED); /* no length */
        assert_eq_int(decode_try_literal("\x12\x05"
                                         "abcd"),
                      DECODE_E_MALFORMED); /* one byte short */
        assert_ok(decode_try_literal("\x12\x05"
                                     "abcde"));
        assert_eq_int(decode_try_literal("\x12\xff\xff\xff\xff\x0f"
                                         "a"),
                      DECODE_E_MALFORMED);
        assert_eq_int(decode_try_literal("\x12\x81\x80\x80\x80\x10"
                                         "a"),
                      DECODE_E_MALFORMED); /* length 2^32 + 1 */
        assert_eq_int(decode_try_literal("\x12\x81\x80\x80\x80\x80\x00"
                                         "a"),
                      DECODE_E_MALFORMED);                                         /* padded too far */
        assert_eq_int(decode_try_literal("\x65\x01\x00\x00"), DECODE_E_MALFORMED); /* 3 of 4 bytes */
        assert_eq_int(decode_try_literal("\x69\x01\x00\x00\x00\x00\x00\x00"), DECODE_E_MALFORMED);
        assert_eq_int(decode_try_literal("\x98\x06\x96"), DECODE_E_MALFORMED); /* varint without end */
        assert_eq_int(decode_try_literal("\x98\x06\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"), DECODE_E_MALFORMED);
        assert_ok(decode_try_literal("\x98\x06\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"));
        assert_eq_int(decode_try_literal("\x02\x01x"), DECODE_E_MALFORMED);                     /* field number 0 */
        assert_eq_int(decode_try_literal("\x92\x80\x80\x80\x80\x00\x01x"), DECODE_E_MALFORMED); /* tag of 6 bytes */
        assert_eq_int(decode_try_literal("\x92\x80\x80\x80\x10\x01x"), DECODE_E_MALFORMED);     /* tag above 32 bits */
        assert_eq_int(decode_try_literal("\x13\x14"), DECODE_E_MALFORMED);                      /* groups */
        assert_eq_int(decode_try_literal("\x10\x01"), DECODE_E_MALFORMED);                      /* text as a number */
        assert_eq_int(decode_try_literal("\x62\x01x"), DECODE_E_MALFORMED); /* fixed_32 with a length */
        assert_eq_int(decode_try_literal("\x72\x05\x01\x00\x00\x00\x00"), DECODE_E_MALFORMED); /* packed_32: 5 bytes */
        assert_eq_int(decode_try_literal("\x0a\x02\x12\x05"), DECODE_E_MALFORMED);             /* inside a child */
}

static void decode_texts_are_checked(void)
{
        static const struct {
                const char *s;
                size_t n;
                bool valid;
        } texts[] = {
                        {"", 0, true},
                        {"abc", 3, true},
                        {"\xc2\x80", 2, true},
                        {"\xdf\xbf", 2, true},
                        {"\xe0\xa0\x80", 3, true},
                        {"\xed\x9f\xbf", 3, true},
                        {"\xee\x80\x80", 3, true},
                        {"\xf0\x90\x80\x80", 4, true},
                        {"\xf4\x8f\xbf\xbf", 4, true},
                        {"a\0b", 3, false},
                        {"\0", 1, false},
                        {"ab\0", 3, false},
                        {"\x80", 1, false}, /* continuation alone */
                        {"\xbf", 1, false},
                        {"\xc0\x80", 2, false}, /* overlong NUL */
                        {"\xc1\xbf", 2, false},
                        {"\xe0\x9f\xbf", 3, false}, /* overlong of 3 */
                        {"\xf0\x8f\xbf\xbf", 4, false},
                        {"\xed\xa0\x80", 3, false}, /* surrogates */
                        {"\xed\xbf\xbf", 3, false},
                        {"\xf4\x90\x80\x80", 4, false},
                        {"\xf5\x80\x80\x80", 4, false},
                        {"\xff", 1, false},
                        {"\xfe", 1, false},
                        {"\xc3", 1, false}, /* cut off */
                        {"\xe2\x82", 2, false},
                        {"\xf0\x9f\x98", 3, false},
                        {"\xc3\x28", 2, false}, /* wrong continuation */
                        {"\xe2\x28\xa1", 3, false},
                        {"\xe2\x82\x28", 3, false},
                        {"\xf0\x9f\x98\x28", 4, false},
        };

        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                uint8_t *exact = malloc(texts[i].n);

                if (texts[i].n > 0)
                        memcpy(exact, texts[i].s, texts[i].n);
                if (decode_text_is_valid(exact, texts[i].n) != texts[i].valid)
                        test_fail("text %zu is %s", i, texts[i].valid ? "valid" : "not valid");
                assert_eq_int(decode_try_text(exact, texts[i].n), texts[i].valid ? 0 : DECODE_E_STRING);
                free(exact);
        }
}

/* In maps, in repeated fields, in a oneof, in children: everywhere a string can be. */
static void decode_texts_are_checked_everywhere(void)
{
        assert_eq_int(decode_try_literal("\x22\x01\xff"), DECODE_E_STRING);
        assert_eq_int(decode_try_literal("\x42\x03\x0a\x01\xff"), DECODE_E_STRING);
        assert_eq_int(decode_try_literal("\x42\x03\x12\x01\xff"), DECODE_E_STRING);
        assert_eq_int(decode_try_literal("\x52\x01\xff"), DECODE_E_STRING);
        assert_eq_int(decode_try_literal("\x0a\x03\x12\x01\xff"), DECODE_E_STRING);
        assert_eq_int(decode_try_literal("\x1a\x05\x0a\x03\x12\x01\xff"), DECODE_E_STRING);
        assert_ok(decode_try_literal("\x32\x01\xff")); /* bytes are free */
}

static void decode_string_length_is_bounded(void)
{
        char *text = malloc(DECODE_STRING_MAX + 1);

        memset(text, 'x', DECODE_STRING_MAX + 1);
        assert_ok(decode_try_text(text, DECODE_STRING_MAX));
        assert_eq_int(decode_try_text(text, DECODE_STRING_MAX + 1), DECODE_E_STRING);
        free(text);
}

/* field inside field, depth messages in all */
static void decode_nest(Bytes *b, unsigned field, size_t depth)
{
        bytes_done(b);
        for (size_t i = 1; i < depth; i++) {
                Bytes outer = {0};

                bytes_add_field(&outer, field, b->data, b->n);
                bytes_done(b);
                *b = outer;
        }
}

static void decode_depth_is_bounded(void)
{
        static const unsigned fields[] = {1, 3, 9};
        Bytes b = {0};

        for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
                decode_nest(&b, fields[i], DECODE_DEPTH_MAX);
                assert_ok(decode_try(b.data, b.n));
                decode_nest(&b, fields[i], DECODE_DEPTH_MAX + 1);
                assert_eq_int(decode_try(b.data, b.n), DECODE_E_DEPTH);
        }
        decode_nest(&b, 1, 20000); /* deep enough to end on an unbounded stack */
        assert_eq_int(decode_try(b.data, b.n), DECODE_E_DEPTH);
        bytes_done(&b);
}

static int decode_try_large(const Bytes *b)
{
        ProtobufCMessage *message = NULL;
        DecodeArena arena;
        int r = decode_try_limit(NODE, b->data, b->n, DECODE_BUDGET_MAX, &arena, &message);

        decode_arena_done(&arena);
        return r;
}

static void decode_elements_are_bounded(void)
{
        uint8_t *ones = malloc((DECODE_ELEMENTS_MAX + 1) * 8);
        static const struct {
                unsigned field;
                size_t width;
        } packed[] = {{5, 1}, {14, 4}, {15, 8}, {16, 1}, {17, 1}};
        Bytes b = {0};

        memset(ones, 1, (DECODE_ELEMENTS_MAX + 1) * 8);
        for (size_t i = 0; i < ARRAY_SIZE(packed); i++) {
                bytes_add_field(&b, packed[i].field, ones, DECODE_ELEMENTS_MAX * packed[i].width);
                assert_ok(decode_try_large(&b));
                bytes_done(&b);
                bytes_add_field(&b, packed[i].field, ones, (DECODE_ELEMENTS_MAX + 1) * packed[i].width);
                assert_eq_int(decode_try_large(&b), DECODE_E_ELEMENTS);
                bytes_done(&b);
        }
        free(ones);
        for (size_t i = 0; i < DECODE_ELEMENTS_MAX; i++)
                bytes_add_field(&b, 4, "", 0);
        assert_ok(decode_try_large(&b));
        bytes_add(&b, "\x28\x01", 2); /* one more, of another field and not packed */
        assert_eq_int(decode_try_large(&b), DECODE_E_ELEMENTS);
        bytes_done(&b);
}

/* 4 MiB of empty messages become 368 MiB in protobuf-c: refused before anything is allocated. */
static void decode_budget_holds(void)
{
        static const char *const bombs[] = {"\x1a", "\x22", "\x42", "\x3a", "\xba\x06"};
        ProtobufCMessage *message = NULL;
        DecodeArena arena;

        for (size_t i = 0; i < ARRAY_SIZE(bombs); i++) {
                Bytes b = {0};

                while (b.n < 60000) { /* fewer elements than would be too many */
                        bytes_add(&b, bombs[i], strlen(bombs[i]));
                        bytes_add(&b, "", 1);
                }
                assert_eq_int(decode_try_limit(NODE, b.data, b.n, decode_budget(b.n), &arena, &message),
                              DECODE_E_BUDGET);
                assert_eq_int(arena.used_bytes, 0);
                assert_true(arena.chunks == NULL);
                decode_arena_done(&arena);
                bytes_done(&b);
        }
}

/* The scan's cost is never less than what protobuf-c then takes: with exactly that as the limit, all of it decodes. */
static void decode_cost_is_an_upper_bound(void)
{
        static const uint8_t unit[] = "\x28\x01\x32\x01x\x42\x06\x0a\x01k\x12\x01v\xba\x06\x01u";
        Bytes b = {0}, node = {0};

        for (size_t i = 0; i < 200; i++) {
                DecodeScan scan = {.limit_bytes = SIZE_MAX};
                ProtobufCMessage *message = NULL;
                DecodeArena arena;

                bytes_add_field(&node, 4, "abcdefg", i % 8);
                bytes_add_field(&node, 7, "abcdefg", i % 7);
                bytes_add(&node, unit, sizeof(unit) - 1);
                bytes_add_field(&b, 3, node.data, node.n);
                assert_ok(decode_scan(&scan, NODE, b.data, b.n));
                assert_ok(decode_try_limit(NODE, b.data, b.n, scan.cost_bytes, &arena, &message));
                decode_arena_done(&arena);
        }
        bytes_done(&b);
        bytes_done(&node);
}

/* Merging a repeated submessage allocates more than a scan can know: the arena's own limit ends it. */
static void decode_arena_limit_holds_in_merges(void)
{
        Bytes child = {0}, b = {0};
        ProtobufCMessage *message = NULL;
        DecodeArena arena;

        for (int i = 0; i < 2000; i++)
                bytes_add(&child, "\x28\x01", 2);
        for (int i = 0; i < 30; i++)
                bytes_add_field(&b, 1, child.data, child.n);
        assert_eq_int(decode_try_limit(NODE, b.data, b.n, decode_budget(b.n), &arena, &message), DECODE_E_BUDGET);
        decode_arena_done(&arena);
        bytes_done(&child);
        bytes_done(&b);
}

static void decode_arena_is_bounded(void)
{
        DecodeArena arena;
        uint8_t *p;

        decode_arena_init(&arena, 100);
        p = decode_arena_alloc(&arena, 3);
        assert_true(p);
        assert_eq_int((uintptr_t)p % 8, 0);
        p = decode_arena_alloc(&arena, 92);
        assert_true(p);
        assert_eq_int((uintptr_t)p % 8, 0);
        memset(p, 1, 92);
        assert_false(arena.exhausted);
        assert_true(decode_arena_alloc(&arena, 1) == NULL);
        assert_true(decode_arena_alloc(&arena, SIZE_MAX) == NULL);
        assert_true(arena.exhausted);
        decode_arena_done(&arena);
        decode_arena_init(&arena, SIZE_MAX);
        for (size_t n = 1; n < 20000; n = n * 3 + 1) {
                p = decode_arena_alloc(&arena, n);
                memset(p, 1, n);
        }
        decode_arena_done(&arena);
}

static void decode_budget_grows_with_the_message(void)
{
        assert_eq_int(decode_budget(0), DECODE_BUDGET_FLOOR);
        assert_eq_int(decode_budget(1000), DECODE_BUDGET_FLOOR + 1000 * DECODE_BUDGET_FACTOR);
        assert_eq_int(decode_budget(SIZE_MAX), DECODE_BUDGET_MAX);
        assert_eq_int(decode_budget(16 * 1024 * 1024), DECODE_BUDGET_MAX);
}

/* At every level, also under a repeated field and a oneof. */
static void decode_unknown_fields_are_dropped(void)
{
        static const uint8_t bytes[] =
                        "\x22\x01u\x0a\x06\x12\x01z\x22\x01u\x1a\x03\x22\x01u\x4a\x03\x22\x01u\x2a\x01\x01";
        static const uint8_t known[] = "\x0a\x03\x12\x01z\x1a\x00\x4a\x00";
        ProtobufCMessage *message = NULL;
        DecodeArena arena;
        uint8_t *packed = NULL;
        size_t n = 0;

        assert_ok(decode_try_limit(OLD, bytes, sizeof(bytes) - 1, BUDGET, &arena, &message));
        assert_ok(decode_pack(message, &packed, &n));
        assert_eq_mem(packed, n, known, sizeof(known) - 1);
        free(packed);
        decode_arena_done(&arena);
}

static void decode_says_where(void)
{
        static const uint8_t bytes[] = "\x0a\x03\x12\x01\xff";
        ProtobufCMessage *message = NULL;
        DecodeArena arena;

        assert_eq_int(decode_try_limit(NODE, bytes, sizeof(bytes) - 1, BUDGET, &arena, &message), DECODE_E_STRING);
        assert_eq_str(arena.fault_type->name, "bulkhead.test.Node");
        assert_eq_str(arena.fault_field->name, "text");
        decode_arena_done(&arena);
        for (int outcome = 0; outcome <= DECODE_E_DEPTH; outcome++)
                assert_true(strcmp(decode_outcome_name(outcome), decode_outcome_name(99)) != 0);
}

int main(void)
{
        TEST_RUN(decode_reads_every_type);
        TEST_RUN(decode_empty_message_is_valid);
        TEST_RUN(decode_truncations_are_safe);
        TEST_RUN(decode_malformed_is_refused);
        TEST_RUN(decode_texts_are_checked);
        TEST_RUN(decode_texts_are_checked_everywhere);
        TEST_RUN(decode_string_length_is_bounded);
        TEST_RUN(decode_depth_is_bounded);
        TEST_RUN(decode_elements_are_bounded);
        TEST_RUN(decode_budget_holds);
        TEST_RUN(decode_cost_is_an_upper_bound);
        TEST_RUN(decode_arena_limit_holds_in_merges);
        TEST_RUN(decode_arena_is_bounded);
        TEST_RUN(decode_budget_grows_with_the_message);
        TEST_RUN(decode_unknown_fields_are_dropped);
        TEST_RUN(decode_says_where);
        return 0;
}
