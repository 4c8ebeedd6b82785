/* SPDX-License-Identifier: Apache-2.0 */

/* Fuzz target: the first byte chooses the parser, and for manifests what the server says they are; the rest is the
 * document (for challenges: the lines). What is taken must be a message that its receiver can decode, or be refused for
 * that; a refusal must have a printable text. Built without libFuzzer (fuzz-parse-replay) it runs the files that it is
 * given. */

#include "lib/fuzz.h"
#include "services/imaged/parse/archive.h"
#include "services/imaged/parse/challenge.h"
#include "services/imaged/parse/config.h"
#include "services/imaged/parse/manifest.h"
#include "services/imaged/parse/token.h"

#include <assert.h>

static const char *const fuzz_media_types[] = {
        "",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json; charset=utf-8",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        " ;",
};

static void fuzz_check(const Parse *parse, int r, const ProtobufCMessage *response)
{
        DecodeArena arena;
        ProtobufCMessage *message = NULL;
        uint8_t *packed = NULL;
        size_t n = 0;

        if (r) {
                assert(r == PARSE_E_REFUSED && parse->code > 0 && parse->text[0]);
                for (const char *p = parse->text; *p; p++)
                        assert(*p >= ' ' && *p <= '~');
                return;
        }
        if (decode_pack(response, &packed, &n) < 0)
                abort();
        decode_arena_init(&arena, decode_budget(n));
        r = decode_message(&arena, response->descriptor, packed, n, &message);
        /* Too much is possible, and answered; anything else would be no message. */
        assert(r == 0 || r == DECODE_E_ELEMENTS || r == DECODE_E_BUDGET);
        decode_arena_done(&arena);
        free(packed);
}

static void fuzz_challenge(Parse *parse, const uint8_t *bytes, size_t n)
{
        Bulkhead__ImagedParse__ParseChallengeResponse response = BULKHEAD__IMAGED_PARSE__PARSE_CHALLENGE_RESPONSE__INIT;
        char *lines[CHALLENGE_LINES_MAX + 1];
        size_t n_lines = 0;

        while (n > 0 && n_lines < ARRAY_SIZE(lines)) {
                const uint8_t *end = memchr(bytes, '\n', n);
                size_t length = end ? (size_t)(end - bytes) : n;

                lines[n_lines] = strndup((const char *)bytes, length);
                assert(lines[n_lines]);
                /* As a string of a message: UTF-8, which the decoder made sure of. */
                for (char *p = lines[n_lines]; *p; p++)
                        *p = (char)(*p & 0x7f) ? (char)(*p & 0x7f) : 'x';
                n_lines++;
                bytes += MIN2(length + 1, n);
                n -= MIN2(length + 1, n);
        }
        int r = challenge_parse(parse, lines, n_lines, &response);
        fuzz_check(parse, r, &response.base);
        for (size_t i = 0; i < n_lines; i++)
                free(lines[i]);
}

static void fuzz_one(Parse *parse, unsigned choice, const uint8_t *bytes, size_t n)
{
        Bulkhead__ImagedParse__ParseManifestResponse manifest = BULKHEAD__IMAGED_PARSE__PARSE_MANIFEST_RESPONSE__INIT;
        Bulkhead__ImagedParse__ParseConfigResponse config = BULKHEAD__IMAGED_PARSE__PARSE_CONFIG_RESPONSE__INIT;
        Bulkhead__ImagedParse__ParseTokenResponse token = BULKHEAD__IMAGED_PARSE__PARSE_TOKEN_RESPONSE__INIT;
        Bulkhead__ImagedParse__ParseArchiveResponse archive = BULKHEAD__IMAGED_PARSE__PARSE_ARCHIVE_RESPONSE__INIT;
        const char *media_type = fuzz_media_types[choice / 5 % ARRAY_SIZE(fuzz_media_types)];
        int r;

        switch (choice % 5) {
        case 0:
                r = manifest_parse(parse, bytes, n, media_type, &manifest);
                fuzz_check(parse, r, &manifest.base);
                break;
        case 1:
                r = config_parse(parse, bytes, n, &config);
                fuzz_check(parse, r, &config.base);
                break;
        case 2:
                r = token_parse(parse, bytes, n, &token);
                fuzz_check(parse, r, &token.base);
                break;
        case 3:
                fuzz_challenge(parse, bytes, n);
                break;
        case 4:
                r = archive_parse(parse, bytes, n, &archive);
                fuzz_check(parse, r, &archive.base);
                break;
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        Parse parse;

        if (n < 1)
                return 0;
        parse_init(&parse, "document");
        fuzz_one(&parse, bytes[0], bytes + 1, n - 1);
        parse_done(&parse);
        return 0;
}
