/* SPDX-License-Identifier: Apache-2.0 */

/* Commas separate challenges as well as the parameters of one, so that only what follows a word says what it is:
 *     WWW-Authenticate = #challenge
 *     challenge = scheme [ 1*SP ( token68 / #auth-param ) ]
 *     auth-param = token BWS "=" BWS ( token / quoted-string )
 * A word with "=" behind it is a parameter of the challenge that is open, any other one opens a challenge. */

#include "services/imaged/parse/challenge.h"
#include "lib/strings.h"

#include <strings.h>

#define CHALLENGE_ALPHANUMERIC "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
#define CHALLENGE_TOKEN CHALLENGE_ALPHANUMERIC "!#$%&'*+-.^_`|~"
#define CHALLENGE_TOKEN68 CHALLENGE_ALPHANUMERIC "-._~+/"
#define CHALLENGE_BLANK " \t"

typedef Bulkhead__ImagedParse__ParseChallengeResponse ParseChallengeResponse;

typedef enum ChallengeScheme { CHALLENGE_NONE, CHALLENGE_OTHER, CHALLENGE_BASIC, CHALLENGE_BEARER } ChallengeScheme;

typedef struct Challenge {
        ChallengeScheme scheme;
        size_t n_params;
        char *realm; /* these are borrowed from the Parse; NULL: not there */
        char *service;
        char *scope;
} Challenge;

typedef struct ChallengeReader {
        Parse *parse;
        size_t line;
        const char *start; /* of the line */
        const char *at;
        size_t n_challenges;
        bool bearer_without_realm;
        Challenge open;
        ParseChallengeResponse response;
} ChallengeReader;

static int challenge_refuse(ChallengeReader *reader, const char *why)
{
        return parse_refuse(reader->parse, GRPC_STATUS_INVALID_ARGUMENT, "line %zu, byte %zu: %s", reader->line + 1,
                            (size_t)(reader->at - reader->start), why);
}

static void challenge_skip(ChallengeReader *reader, const char *set)
{
        reader->at += strspn(reader->at, set);
}

static bool challenge_word_is(const char *word, size_t n, const char *name)
{
        return strlen(name) == n && strncasecmp(word, name, n) == 0;
}

/* Registries send it in a query, and imaged appends to the realm. */
static bool challenge_realm_is_url(const char *realm)
{
        const char *host = strstr(realm, "://");

        if (!str_has_prefix(realm, "https://") && !str_has_prefix(realm, "http://"))
                return false;
        for (const char *p = realm; *p; p++)
                if (*p <= ' ' || *p > '~' || strchr("\"#<>\\^`{|}", *p))
                        return false;
        return host[3] && host[3] != '/' && strlen(realm) <= CHALLENGE_REALM_MAX;
}

static bool challenge_value_is_plain(const char *value)
{
        for (const char *p = value; *p; p++)
                if (*p < ' ' || *p > '~')
                        return false;
        return strlen(value) <= CHALLENGE_VALUE_MAX;
}

static int challenge_close(ChallengeReader *reader)
{
        const Challenge open = reader->open;
        ParseChallengeResponse *response = &reader->response;

        reader->open = (Challenge){0};
        if (open.scheme == CHALLENGE_BASIC)
                response->basic = true;
        if (open.scheme != CHALLENGE_BEARER || response->bearer)
                return 0;
        if (!open.realm) {
                reader->bearer_without_realm = true;
                return 0;
        }
        if (!challenge_realm_is_url(open.realm)) /* check: challenge-realm */
                return challenge_refuse(reader, "the realm of Bearer is not a plain http or https URL");
        if ((open.service && !challenge_value_is_plain(open.service)) ||
            (open.scope && !challenge_value_is_plain(open.scope))) /* check: challenge-value */
                return challenge_refuse(reader, "service or scope of Bearer is too long or not printable");
        response->bearer = true;
        response->realm = open.realm;
        if (open.service)
                response->service = open.service;
        if (open.scope)
                response->scope = open.scope;
        return 0;
}

static int challenge_read_quoted(ChallengeReader *reader, char **ret)
{
        char *value = parse_alloc(reader->parse, strlen(reader->at), 1);
        size_t n = 0;

        if (!value)
                return parse_refuse_memory(reader->parse);
        for (reader->at++; *reader->at != '"'; reader->at++) {
                if (*reader->at == '\\' && reader->at[1])
                        reader->at++;
                if (!*reader->at) /* check: challenge-quoted */
                        return challenge_refuse(reader, "a quoted string does not end");
                value[n++] = *reader->at;
        }
        reader->at++;
        value[n] = '\0';
        *ret = value;
        return 0;
}

static int challenge_read_value(ChallengeReader *reader, char **ret)
{
        size_t n = strspn(reader->at, CHALLENGE_TOKEN);

        if (*reader->at == '"')
                return challenge_read_quoted(reader, ret);
        if (n == 0) /* check: challenge-no-value */
                return challenge_refuse(reader, "a parameter has no value");
        char *value = parse_alloc(reader->parse, n + 1, 1);
        if (!value)
                return parse_refuse_memory(reader->parse);
        memcpy(value, reader->at, n);
        reader->at += n;
        *ret = value;
        return 0;
}

/* at is behind the parameter's name, of n bytes, and blanks: at "=". */
static int challenge_read_param(ChallengeReader *reader, const char *name, size_t n)
{
        Challenge *open = &reader->open;
        char *ignored = NULL, **to = &ignored, *value = NULL;

        if (open->scheme == CHALLENGE_NONE) /* check: challenge-param-first */
                return challenge_refuse(reader, "a parameter stands before any scheme");
        if (++open->n_params > CHALLENGE_PARAMS_MAX) /* check: challenge-params */
                return challenge_refuse(reader, "a challenge has too many parameters");
        reader->at++;
        challenge_skip(reader, CHALLENGE_BLANK);
        if (challenge_word_is(name, n, "realm"))
                to = &open->realm;
        else if (challenge_word_is(name, n, "service"))
                to = &open->service;
        else if (challenge_word_is(name, n, "scope"))
                to = &open->scope;
        if (*to) /* check: challenge-param-twice */
                return challenge_refuse(reader, "a parameter stands there twice");
        int r = challenge_read_value(reader, &value);
        if (r)
                return r;
        *to = value;
        return 0;
}

/* at is behind the scheme's name: perhaps a token68 follows, and then nothing else of this challenge. */
static void challenge_skip_token68(ChallengeReader *reader)
{
        const char *p = reader->at + strspn(reader->at, CHALLENGE_BLANK);
        size_t n = strspn(p, CHALLENGE_TOKEN68);

        if (p == reader->at || n == 0)
                return;
        p += n;
        p += strspn(p, "=");
        p += strspn(p, CHALLENGE_BLANK);
        if (*p == ',' || *p == '\0')
                reader->at = p;
}

static int challenge_open(ChallengeReader *reader, const char *name, size_t n)
{
        int r = challenge_close(reader);
        if (r)
                return r;
        if (++reader->n_challenges > CHALLENGE_N_MAX) /* check: challenge-n */
                return challenge_refuse(reader, "there are too many challenges");
        reader->open.scheme = challenge_word_is(name, n, "Bearer")  ? CHALLENGE_BEARER
                              : challenge_word_is(name, n, "Basic") ? CHALLENGE_BASIC
                                                                    : CHALLENGE_OTHER;
        challenge_skip_token68(reader);
        return 0;
}

static int challenge_read_line(ChallengeReader *reader)
{
        bool after_scheme = false, after_comma = true;

        for (;;) {
                size_t blanks = strspn(reader->at, CHALLENGE_BLANK ",");
                after_comma = after_comma || memchr(reader->at, ',', blanks);
                reader->at += blanks;
                if (!*reader->at)
                        return challenge_close(reader);
                const char *name = reader->at;
                size_t n = strspn(name, CHALLENGE_TOKEN);
                if (n == 0) /* check: challenge-character */
                        return challenge_refuse(reader, "a character does not belong there");
                const char *behind = name + n + strspn(name + n, CHALLENGE_BLANK);
                bool is_param = *behind == '=';
                if (!after_comma && !(after_scheme && is_param)) /* check: challenge-comma */
                        return challenge_refuse(reader, "a comma is missing");
                reader->at += n;
                if (is_param)
                        reader->at = behind;
                int r = is_param ? challenge_read_param(reader, name, n) : challenge_open(reader, name, n);
                if (r)
                        return r;
                after_scheme = !is_param;
                after_comma = false;
        }
}

int challenge_parse(Parse *parse, char *const *lines, size_t n_lines, ParseChallengeResponse *ret)
{
        ChallengeReader reader = {
                .parse = parse,
                .response = BULKHEAD__IMAGED_PARSE__PARSE_CHALLENGE_RESPONSE__INIT,
        };

        if (n_lines > CHALLENGE_LINES_MAX) /* check: challenge-lines */
                return parse_refuse(parse, GRPC_STATUS_INVALID_ARGUMENT, "there are %zu lines, more than %d", n_lines,
                                    CHALLENGE_LINES_MAX);
        for (size_t i = 0; i < n_lines; i++) {
                reader.line = i;
                reader.start = reader.at = lines[i];
                if (strlen(lines[i]) > CHALLENGE_LINE_MAX) /* check: challenge-line */
                        return challenge_refuse(&reader, "the line is too long");
                int r = challenge_read_line(&reader);
                if (r)
                        return r;
        }
        if (!reader.response.basic && !reader.response.bearer) /* check: challenge-neither */
                return parse_refuse(parse, GRPC_STATUS_INVALID_ARGUMENT, "%s",
                                    reader.bearer_without_realm ? "Bearer has no realm, the place to ask for a token"
                                                                : "neither Basic nor Bearer is offered");
        *ret = reader.response;
        return 0;
}
