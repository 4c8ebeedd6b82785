/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/parse/challenge.h"
#include "services/imaged/parse/test-parse.h"

typedef Bulkhead__ImagedParse__ParseChallengeResponse Response;

/* Lines are separated by newlines in these tables; a ' is a ". */
typedef struct ChallengeCase {
        const char *lines;
        bool basic, bearer;
        const char *realm, *service, *scope;
} ChallengeCase;

static int run(Parse *parse, const char *text, Response *ret)
{
        char *lines[CHALLENGE_LINES_MAX + 1];
        size_t n_lines = 0;
        int r;

        parse_init(parse, "WWW-Authenticate");
        for (const char *p = text; n_lines < ARRAY_SIZE(lines); p++) {
                size_t n = strcspn(p, "\n");

                lines[n_lines] = (char *)test_document(p, n + 1);
                lines[n_lines++][n] = '\0';
                p += n;
                if (!*p)
                        break;
        }
        r = challenge_parse(parse, lines, n_lines, ret);
        for (size_t i = 0; i < n_lines; i++)
                free(lines[i]);
        return r;
}

static void refuse(const char *lines, const char *why)
{
        _cleanup_(parse_done) Parse parse;
        Response response;
        int r = run(&parse, lines, &response);

        test_refused(&parse, r, GRPC_STATUS_INVALID_ARGUMENT, why);
}

static void challenge_is_understood(void)
{
        static const ChallengeCase table[] = {
                {"Basic realm='x'", true, false, "", "", ""},
                {"Basic", true, false, "", "", ""},
                {"basic REALM=x , charset='UTF-8'", true, false, "", "", ""},
                {"Bearer realm='https://a/t'", false, true, "https://a/t", "", ""},
                {"Bearer realm='https://auth.example:8443/token?a=b&c',service='r.example',"
                 "scope='repository:a/b:pull,push'",
                 false, true, "https://auth.example:8443/token?a=b&c", "r.example", "repository:a/b:pull,push"},
                {"bEARER  Scope='s',SERVICE=r , reaLM = 'http://[::1]:5000/t' , error='invalid_token'", false, true,
                 "http://[::1]:5000/t", "r", "s"},
                {"Bearer realm='https://a/\\t',service='a\\'b\\\\c'", false, true, "https://a/t", "a\"b\\c", ""},
                /* several in one line, several lines */
                {"Basic realm='x', Bearer realm='https://a/t',service=s", true, true, "https://a/t", "s", ""},
                {"Bearer realm='https://a/t', service=s, Basic realm='x'", true, true, "https://a/t", "s", ""},
                {"Basic realm='x'\nBearer realm='https://a/t'", true, true, "https://a/t", "", ""},
                {"Bearer realm='https://a/t'\nBearer realm='https://b/t',service=s", false, true, "https://a/t", "",
                 ""},
                {"Bearer service=x\nBearer realm='https://b/t'", false, true, "https://b/t", "", ""},
                {"Negotiate, NTLM, Basic realm='x'", true, false, "", "", ""},
                {"Negotiate YWJj==, Basic realm='x'", true, false, "", "", ""},
                {"Negotiate YWJj+/= ,,, ,Basic", true, false, "", "", ""},
                {"Digest realm='https://c/', nonce='n, Bearer realm=', qop=auth, Basic realm='x'", true, false, "", "",
                 ""},
                {" \t,, Basic ,", true, false, "", "", ""},
                {"Custom x=y\nBearer realm='https://a/t',\n\n,", false, true, "https://a/t", "", ""},
                /* what Basic says is nobody's business */
                {"Basic realm='any \xc3\xa4 # thing'", true, false, "", "", ""},
                {"Bearer realm='https://a/t',scope=''", false, true, "https://a/t", "", ""},
        };

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                const ChallengeCase *c = &table[i];
                _cleanup_(parse_done) Parse parse;
                Response response;
                int r = run(&parse, c->lines, &response);

                test_taken(&parse, r);
                assert_eq_int(response.basic, c->basic);
                assert_eq_int(response.bearer, c->bearer);
                assert_eq_str(response.realm, c->realm);
                assert_eq_str(response.service, c->service);
                assert_eq_str(response.scope, c->scope);
        }
}

static void challenge_is_refused(void)
{
        static const TestRefusal table[] = {
                {"", "WWW-Authenticate: neither Basic nor Bearer is offered"},
                {",", "neither Basic nor Bearer"},
                {"Negotiate", "neither Basic nor Bearer"},
                {"Basics realm='x', Bear realm='y'", "neither Basic nor Bearer"},
                {"Bearer", "Bearer has no realm"},
                {"Bearer service=x", "Bearer has no realm"},
                {"realm='x'", "line 1, byte 5: a parameter stands before any scheme"},
                {"Basic\nrealm='x'", "line 2, byte 5: a parameter stands before any scheme"},
                {"Bearer realm='https://a/t", "a quoted string does not end"},
                {"Bearer realm='https://a/t\\", "a quoted string does not end"},
                {"Bearer realm='", "a quoted string does not end"},
                {"Bearer realm='\\'", "a quoted string does not end"},
                {"Bearer realm=", "Bearer has no realm"}, /* a token68 */
                {"Bearer realm=,service=x", "Bearer has no realm"},
                {"Bearer service=x,realm=", "a parameter has no value"},
                {"Bearer service=x,realm=(", "a parameter has no value"},
                {"Bearer realm='https://a/t' service=x", "a comma is missing"},
                {"Bearer realm='https://a/t'service=x", "a comma is missing"},
                {"Bearer Basic realm=x", "a comma is missing"},
                {"Basic realm=x Bearer", "a comma is missing"},
                {"Bearer realm='https://a/t',realm='https://b/t'", "a parameter stands there twice"},
                {"Bearer realm='https://a/t',Realm='https://b/t'", "a parameter stands there twice"},
                {"Bearer realm='https://a/t',service=a,service=a", "a parameter stands there twice"},
                {"Bearer realm='https://a/t',scope='',scope=a", "a parameter stands there twice"},
                {"'Basic'", "line 1, byte 0: a character does not belong there"},
                {"Basic realm=x,=", "a character does not belong there"},
                {"Basic \xc3\xa4=x", "a character does not belong there"},
                {"Basic realm=x, \x01", "a character does not belong there"},
                {"Bearer realm=https://a/t", "line 1, byte 18: a character does not belong there"},
        };
        static const char *const realms[] = {
                "a/t",          "//a/t",        "ftp://a/t",     "file:///etc/passwd", "https://",     "https:///t",
                "HTTPS://a/t",  "https://a/ t", "https://a/t#f", "https://a/<",        "https://a/\x7f", "https:/a/t",
                "https://a/\xc3\xa4", "",       "https://a/{}",  "https://a/\t",       " https://a/t",
        };

        for (size_t i = 0; i < ARRAY_SIZE(table); i++)
                refuse(table[i].document, table[i].text);
        for (size_t i = 0; i < ARRAY_SIZE(realms); i++) {
                _cleanup_free_ char *lines = str_printf("Bearer realm='%s'", realms[i]);

                refuse(lines, "the realm of Bearer is not a plain http or https URL");
        }
        refuse("Bearer realm='https://a/t',service='\xc3\xa4'", "service or scope of Bearer is too long or not");
        refuse("Bearer realm='https://a/t',scope='a\tb'", "service or scope of Bearer is too long or not");
}

static void challenge_sizes_are_limited(void)
{
        for (size_t more = 0; more <= 1; more++) {
                _cleanup_free_ char *path = test_fill('r', CHALLENGE_REALM_MAX - strlen("https://a/") + more);
                _cleanup_free_ char *realm = str_printf("Bearer realm='https://a/%s'", path);
                _cleanup_free_ char *value = test_fill('v', CHALLENGE_VALUE_MAX + more);
                _cleanup_free_ char *service = str_printf("Bearer realm='https://a/',service=%s", value);
                _cleanup_free_ char *scope = str_printf("Bearer realm='https://a/',scope='%s'", value);
                _cleanup_free_ char *blanks = test_fill(' ', CHALLENGE_LINE_MAX - strlen("Basic") + more);
                _cleanup_free_ char *line = str_printf("Basic%s", blanks);
                _cleanup_free_ char *schemes = test_repeat("", "Basic", CHALLENGE_N_MAX + more, "");
                _cleanup_free_ char *params = test_repeat("Basic ", "p#=x", CHALLENGE_PARAMS_MAX + more, "");
                _cleanup_free_ char *newlines = test_fill('\n', CHALLENGE_LINES_MAX - 1 + more);
                _cleanup_free_ char *lines = str_printf("Basic%s", newlines);
                const TestRefusal table[] = {
                        {realm, "the realm of Bearer is not a plain"},
                        {service, "service or scope of Bearer is too long"},
                        {scope, "service or scope of Bearer is too long"},
                        {line, "the line is too long"},
                        {schemes, "there are too many challenges"},
                        {params, "a challenge has too many parameters"},
                        {lines, "there are 17 lines, more than 16"},
                };

                for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                        _cleanup_(parse_done) Parse parse;
                        Response response;

                        int r = run(&parse, table[i].document, &response);
                        if (more)
                                test_refused(&parse, r, GRPC_STATUS_INVALID_ARGUMENT, table[i].text);
                        else
                                test_taken(&parse, r);
                }
        }
        /* Challenges are counted over all lines. */
        _cleanup_free_ char *half = test_repeat("", "Basic", CHALLENGE_N_MAX / 2, "");
        _cleanup_free_ char *both = str_printf("%s\n%s,Basic", half, half);
        refuse(both, "line 2, byte 101: there are too many challenges");
}

int main(void)
{
        TEST_RUN(challenge_is_understood);
        TEST_RUN(challenge_is_refused);
        TEST_RUN(challenge_sizes_are_limited);
        return EXIT_SUCCESS;
}
