/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/parse/document.h"
#include "services/imaged/parse/test-parse.h"

static int load(Parse *parse, const char *text, size_t n, DocumentNode *ret)
{
        _cleanup_free_ uint8_t *bytes = test_document(text, n);

        return document_load(parse, bytes, n, ret);
}

static void refuse(const char *text, size_t n, const char *why)
{
        _cleanup_(parse_done) Parse parse;
        DocumentNode root;

        parse_init(&parse, "document");
        int r = load(&parse, text, n, &root);
        test_refused(&parse, r, GRPC_STATUS_INVALID_ARGUMENT, why);
}

static void take(const char *text)
{
        _cleanup_(parse_done) Parse parse;
        DocumentNode root;

        parse_init(&parse, "document");
        int r = load(&parse, text, strlen(text), &root);
        test_taken(&parse, r);
        assert_true(root.value);
}

static void document_refuses_what_is_not_strict(void)
{
        static const TestRefusal table[] = {
                {"", "it is empty"},
                {" ", "not strict JSON: line 1, column 1"},
                {"1", "not strict JSON"},
                {"'x'", "not strict JSON"},
                {"null", "not strict JSON"},
                {"{", "not strict JSON"},
                {"}", "not strict JSON"},
                {"]]]]{", "not strict JSON"},
                {"{} {}", "not strict JSON"},
                {"{},", "not strict JSON"},
                {"{'a':1,}", "not strict JSON"},
                {"[1,]", "not strict JSON"},
                {"{a:1}", "not strict JSON"},
                {"{'a':1,'a':1}", "duplicate object key"},
                {"{'a':1,'\\u0061':1}", "duplicate object key"},
                {"{'x':{'a':1,'a':1}}", "duplicate object key"},
                {"{'a':'\\u0000'}", "not strict JSON"},
                {"{'\\u0000':1}", "not strict JSON"},
                {"{'a':'\x01'}", "control character 0x1"},
                {"{'a':'\n'}", "unexpected newline"},
                {"{'a':'\\x'}", "invalid escape"},
                {"{'a':'\\ud800'}", "not strict JSON"},
                {"{'a':'\xff'}", "unable to decode byte 0xff"},
                {"{'a':'\xc0\xaf'}", "unable to decode"},
                {"{'a':'\xed\xa0\x80'}", "unable to decode"},
                {"{'a':'", "not strict JSON"},
                {"{'a':'\\", "not strict JSON"},
                {"{'a':01}", "not strict JSON"},
                {"{'a':NaN}", "not strict JSON"},
                {"{'a':99999999999999999999}", "too big integer"},
                {"{'a':1e999}", "overflow"},
                {"\xef\xbb\xbf{}", "not strict JSON"},
                {"{} /* more */", "not strict JSON"},
        };

        for (size_t i = 0; i < ARRAY_SIZE(table); i++)
                refuse(table[i].document, strlen(table[i].document), table[i].text);
        refuse("{}\0", 3, "NUL byte");
        refuse("{'a':'x\0y'}", 11, "NUL byte");
        take("{}");
        take(" [ ] \n");
        take("{'a':[1,-2.5,'\\u00e4\\ud83d\\ude00 \xc3\xa4',true,false,null,{}]}");
}

static void document_depth_is_limited(void)
{
        char text[2 * (DOCUMENT_DEPTH_MAX + 1) + 1] = "";

        for (int n = DOCUMENT_DEPTH_MAX; n <= DOCUMENT_DEPTH_MAX + 1; n++) {
                memset(text, '[', (size_t)n);
                memset(text + n, ']', (size_t)n);
                text[2 * n] = '\0';
                if (n <= DOCUMENT_DEPTH_MAX)
                        take(text);
                else
                        refuse(text, strlen(text), "deeper than 32 levels");
        }
        refuse("{'a':[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", 37, "deeper than 32 levels");
        /* Brackets in strings, and behind quotes in strings, are text. */
        take("['[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\'[[[[[[[[[[[[']");
        take("{'a[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\\':'{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{'}");
        take("[[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]]]");
}

static void document_values_are_limited(void)
{
        /* One value for the array, one for each comma, and the first. */
        _cleanup_free_ char *most = test_repeat("[", "1", DOCUMENT_VALUES_MAX - 1, "]");
        _cleanup_free_ char *more = test_repeat("[", "1", DOCUMENT_VALUES_MAX, "]");
        _cleanup_free_ char *objects = test_repeat("[", "{}", DOCUMENT_VALUES_MAX / 2, "]");
        _cleanup_free_ char *many = test_repeat("['", "1", DOCUMENT_VALUES_MAX + 10, "']");

        take(most);
        refuse(more, strlen(more), "more than 131072 values");
        refuse(objects, strlen(objects), "more than 131072 values");
        take(many); /* commas in a string */
}

static void document_accessors_name_the_place(void)
{
        static const char text[] = "{'a':{'b':[1,{'s':5,'n':null}]},'l':['x','yy',3]}";
        _cleanup_(parse_done) Parse parse;
        DocumentNode root, a, b, element, node;
        char *string = NULL, **strings = NULL;
        size_t n = 0;

        parse_init(&parse, "document");
        assert_ok(load(&parse, text, strlen(text), &root));
        assert_ok(document_expect(&parse, &root, JSON_OBJECT));
        test_refused(&parse, document_expect(&parse, &root, JSON_ARRAY), 3, "document: the document is not an array");
        assert_ok(document_member(&parse, &root, "a", JSON_OBJECT, DOCUMENT_REQUIRED, &a));
        test_refused(&parse, document_member(&parse, &root, "a", JSON_INTEGER, DOCUMENT_OPTIONAL, &node), 3,
                     "document: a is not a whole number");
        assert_ok(document_array(&parse, &a, "b", 2, DOCUMENT_REQUIRED, &b));
        test_refused(&parse, document_array(&parse, &a, "b", 1, DOCUMENT_REQUIRED, &node), 3,
                     "document: a.b has 2 elements, more than 1");
        test_refused(&parse, document_element(&parse, &b, 0, JSON_OBJECT, &element), 3,
                     "document: a.b[0] is not an object");
        assert_ok(document_element(&parse, &b, 1, JSON_OBJECT, &element));
        test_refused(&parse, document_string(&parse, &element, "s", DOCUMENT_OPTIONAL, &string), 3,
                     "document: a.b[1].s is not a string");
        test_refused(&parse, document_string(&parse, &element, "t", DOCUMENT_REQUIRED, &string), 3,
                     "document: a.b[1].t is missing");
        test_refused(&parse, document_string(&parse, &element, "n", DOCUMENT_REQUIRED, &string), 3,
                     "document: a.b[1].n is missing");
        assert_ok(document_string(&parse, &element, "n", DOCUMENT_OPTIONAL, &string));
        assert_true(string == NULL);
        assert_true(document_has(&element, "n"));
        assert_false(document_has(&element, "N"));
        test_refused(&parse, document_strings(&parse, &root, "l", 3, &strings, &n), 3,
                     "document: l[2] is not a string");
        test_refused(&parse, document_strings(&parse, &root, "l", 2, &strings, &n), 3, "l has 3 elements, more than 2");
        assert_ok(document_strings(&parse, &root, "none", 2, &strings, &n));
        assert_eq_int(n, 0);
}

static void document_strings_are_limited(void)
{
        for (size_t more = 0; more <= 1; more++) {
                _cleanup_free_ char *long_string = test_fill('x', DOCUMENT_STRING_MAX + more);
                _cleanup_free_ char *text = str_printf("{'s':'%s','l':['%s']}", long_string, long_string);
                _cleanup_(parse_done) Parse parse;
                DocumentNode root;
                char *string = NULL, **strings = NULL;
                size_t n = 0;

                parse_init(&parse, "document");
                assert_ok(load(&parse, text, strlen(text), &root));
                int r = document_string(&parse, &root, "s", DOCUMENT_REQUIRED, &string);
                if (more) {
                        test_refused(&parse, r, 3, "document: s has 65537 bytes, more than 65536");
                        r = document_strings(&parse, &root, "l", 1, &strings, &n);
                        test_refused(&parse, r, 3, "document: l[0] has 65537 bytes, more than 65536");
                        continue;
                }
                assert_eq_int(strlen(string), DOCUMENT_STRING_MAX);
                assert_ok(document_strings(&parse, &root, "l", 1, &strings, &n));
                assert_eq_int(n, 1);
        }
}

typedef struct SizeCase {
        const char *value;
        const char *why; /* NULL: taken */
        uint64_t size;
} SizeCase;

static void document_sizes_are_checked(void)
{
        static const SizeCase table[] = {
                {"0", NULL, 0},
                {"1125899906842624", NULL, UINT64_C(1) << 50},
                {"1125899906842625", "document: size is more than 2^50 bytes", 0},
                {"9223372036854775807", "document: size is more than 2^50 bytes", 0},
                {"-1", "document: size is negative", 0},
                {"-9223372036854775808", "document: size is negative", 0},
                {"1.0", "document: size is not a whole number", 0},
                {"1e3", "document: size is not a whole number", 0},
                {"'1'", "document: size is not a whole number", 0},
                {"null", "document: size is missing", 0},
        };

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                _cleanup_free_ char *text = str_printf("{'size':%s}", table[i].value);
                _cleanup_(parse_done) Parse parse;
                DocumentNode root;
                uint64_t size = 77;

                parse_init(&parse, "document");
                assert_ok(load(&parse, text, strlen(text), &root));
                int r = document_size(&parse, &root, "size", &size);
                if (table[i].why)
                        test_refused(&parse, r, 3, table[i].why);
                else
                        test_taken(&parse, r);
                assert_eq_int(size, table[i].why ? 77 : table[i].size);
        }
}

static void document_digests_are_strict(void)
{
        static const char *const bad[] = {
                "",
                "sha256:",
                "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                DIGEST_A "a",
                DIGEST_A " ",
                "SHA256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                "sha256:Aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                "sha256:gaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                "sha512:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                "../../../../etc/passwd",
        };
        uint8_t expected[DOCUMENT_DIGEST_BYTES];

        memset(expected, 0xaa, sizeof(expected));
        for (size_t i = 0; i <= ARRAY_SIZE(bad); i++) {
                _cleanup_free_ char *text = str_printf("{'d':'%s'}", i < ARRAY_SIZE(bad) ? bad[i] : DIGEST_A);
                _cleanup_(parse_done) Parse parse;
                ProtobufCBinaryData digest = {0};
                DocumentNode root, node;

                parse_init(&parse, "document");
                assert_ok(load(&parse, text, strlen(text), &root));
                assert_ok(document_member(&parse, &root, "d", JSON_STRING, DOCUMENT_REQUIRED, &node));
                int r = document_digest(&parse, &node, &digest);
                if (i < ARRAY_SIZE(bad))
                        test_refused(&parse, r, 3, "document: d is not sha256:");
                else
                        assert_eq_mem(digest.data, digest.len, expected, sizeof(expected));
        }
}

static void parse_memory_is_limited(void)
{
        _cleanup_(parse_done) Parse parse;

        parse_init(&parse, "document");
        assert_true(parse_alloc(&parse, 0, 8));
        assert_true(parse_alloc(&parse, PARSE_RESULT_MAX / 8 - 8, 8));
        assert_true(parse_alloc(&parse, 16, 8) == NULL);
        assert_true(parse_alloc(&parse, SIZE_MAX / 2, 4) == NULL);
        test_refused(&parse, parse_refuse_memory(&parse), GRPC_STATUS_RESOURCE_EXHAUSTED, "document: it takes more");
}

int main(void)
{
        TEST_RUN(document_refuses_what_is_not_strict);
        TEST_RUN(document_depth_is_limited);
        TEST_RUN(document_values_are_limited);
        TEST_RUN(document_accessors_name_the_place);
        TEST_RUN(document_strings_are_limited);
        TEST_RUN(document_sizes_are_checked);
        TEST_RUN(document_digests_are_strict);
        TEST_RUN(parse_memory_is_limited);
        return EXIT_SUCCESS;
}
