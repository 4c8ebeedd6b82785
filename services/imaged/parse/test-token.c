/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/parse/test-parse.h"
#include "services/imaged/parse/token.h"

typedef Bulkhead__ImagedParse__ParseTokenResponse Response;

typedef struct TokenCase {
        const char *document;
        const char *token;
        uint32_t expires_sec;
} TokenCase;

static int run(Parse *parse, const char *document, Response *ret)
{
        size_t n = strlen(document);
        _cleanup_free_ uint8_t *bytes = test_document(document, n);

        parse_init(parse, "token reply");
        return token_parse(parse, bytes, n, ret);
}

static void token_is_found(void)
{
        static const TokenCase table[] = {
                {"{'token':'abc'}", "abc", 60},
                {"{'token':'abc','expires_in':300,'issued_at':'2026-01-01T00:00:00Z'}", "abc", 300},
                {"{'access_token':'x.y-z_~+/=','expires_in':0}", "x.y-z_~+/=", 60},
                {"{'access_token':'b','token':'a','refresh_token':'c'}", "a", 60},
                {"{'access_token':'b','token':'','expires_in':null}", "b", 60},
                {"{'access_token':'b','token':null,'expires_in':2147483647}", "b", INT32_MAX},
                {"{'token':'!~','expires_in':9223372036854775807}", "!~", INT32_MAX},
        };

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                _cleanup_(parse_done) Parse parse;
                Response response;
                int r = run(&parse, table[i].document, &response);

                test_taken(&parse, r);
                assert_eq_str(response.token, table[i].token);
                assert_eq_int(response.expires_sec, table[i].expires_sec);
        }
}

static void token_replies_are_refused(void)
{
        static const TestRefusal table[] = {
                {"[]", "token reply: the document is not an object"},
                {"{}", "token reply: the document has neither token nor access_token"},
                {"{'Token':'a'}", "has neither token nor access_token"},
                {"{'token':'','access_token':''}", "has neither token nor access_token"},
                {"{'token':5}", "token reply: token is not a string"},
                {"{'access_token':['a']}", "token reply: access_token is not a string"},
                {"{'token':'a','expires_in':-1}", "token reply: expires_in is negative"},
                {"{'token':'a','expires_in':'60'}", "token reply: expires_in is not a whole number"},
                {"{'token':'a b'}", "a token that no header can carry"},
                {"{'token':'a\\r\\nX: y'}", "a token that no header can carry"},
                {"{'token':'\\u007f'}", "a token that no header can carry"},
                {"{'token':'\\u00e4'}", "a token that no header can carry"},
                {"{'token':'\\u0000'}", "not strict JSON"},
        };

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                _cleanup_(parse_done) Parse parse;
                Response response;
                int r = run(&parse, table[i].document, &response);

                test_refused(&parse, r, GRPC_STATUS_INVALID_ARGUMENT, table[i].text);
        }
}

int main(void)
{
        TEST_RUN(token_is_found);
        TEST_RUN(token_replies_are_refused);
        return EXIT_SUCCESS;
}
