/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/parse/token.h"
#include "services/imaged/parse/document.h"

typedef Bulkhead__ImagedParse__ParseTokenResponse ParseTokenResponse;

/* It becomes part of a header: nothing in it may end a line or a word. */
static bool token_is_plain(const char *token)
{
        for (; *token; token++)
                if (*token <= ' ' || *token > '~')
                        return false;
        return true;
}

static int token_parse_expiry(Parse *parse, const DocumentNode *root, uint32_t *ret)
{
        DocumentNode node;
        int r = document_member(parse, root, "expires_in", JSON_INTEGER, DOCUMENT_OPTIONAL, &node);
        if (r)
                return r;
        json_int_t seconds = node.value ? json_integer_value(node.value) : 0;
        if (seconds < 0) /* check: token-expires-sign */
                return document_refuse(parse, &node, "is negative");
        *ret = seconds == 0 ? TOKEN_EXPIRES_DEFAULT_SEC : (uint32_t)MIN2(seconds, (json_int_t)INT32_MAX);
        return 0;
}

int token_parse(Parse *parse, const void *bytes, size_t n, ParseTokenResponse *ret)
{
        static const char *const keys[] = {"token", "access_token"};
        ParseTokenResponse response = BULKHEAD__IMAGED_PARSE__PARSE_TOKEN_RESPONSE__INIT;
        DocumentNode root;

        int r = document_load(parse, bytes, n, &root);
        if (r == 0)
                r = document_expect(parse, &root, JSON_OBJECT);
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(keys) && !*response.token; i++)
                r = document_string(parse, &root, keys[i], DOCUMENT_OPTIONAL, &response.token);
        if (r == 0)
                r = token_parse_expiry(parse, &root, &response.expires_sec);
        if (r)
                return r;
        /* No text quotes any of it: a reply with a slip in it still holds a secret. */
        if (!*response.token) /* check: token-missing */
                return document_refuse(parse, &root, "has neither token nor access_token");
        if (!token_is_plain(response.token)) /* check: token-plain */
                return document_refuse(parse, &root, "has a token that no header can carry");
        *ret = response;
        return 0;
}
