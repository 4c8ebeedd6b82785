/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the tests of the parsers share: documents are written with ' for ", and are parsed from heap copies of exactly
 * their size, so that AddressSanitizer sees a read beyond the end. */

#include "lib/strings.h"
#include "lib/test.h"
#include "services/imaged/parse/parse.h"

#define DIGEST_A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define DIGEST_B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

typedef struct TestRefusal {
        const char *document;
        const char *text; /* is in the refusal's text */
} TestRefusal;

static inline uint8_t *test_document(const char *text, size_t n)
{
        uint8_t *bytes = malloc(n);

        assert_true(bytes || n == 0);
        for (size_t i = 0; i < n; i++)
                bytes[i] = text[i] == '\'' ? '"' : (uint8_t)text[i];
        return bytes;
}

/* before, n times piece with commas between, after; a '#' in piece is its number. Owned. */
_unused_ static char *test_repeat(const char *before, const char *piece, size_t n, const char *after)
{
        char *text = NULL;
        size_t size = 0;
        FILE *f = open_memstream(&text, &size);

        assert_true(f);
        fputs(before, f);
        for (size_t i = 0; i < n; i++) {
                if (i > 0)
                        fputc(',', f);
                for (const char *p = piece; *p; p++)
                        if (*p == '#')
                                fprintf(f, "%zu", i);
                        else
                                fputc(*p, f);
        }
        fputs(after, f);
        assert_true(fclose(f) == 0);
        return text;
}

/* n times the character c. Owned. */
_unused_ static char *test_fill(char c, size_t n)
{
        char *text = malloc(n + 1);

        assert_true(text);
        memset(text, c, n);
        text[n] = '\0';
        return text;
}

static inline void test_refused(const Parse *parse, int r, uint32_t code, const char *text)
{
        if (r != PARSE_E_REFUSED)
                test_fail("taken, but expected: %s", text);
        assert_eq_int(parse->code, code);
        if (!strstr(parse->text, text))
                test_fail("\"%s\" is not in: %s", text, parse->text);
        assert_true(str_has_prefix(parse->text, parse->what));
        for (const char *p = parse->text; *p; p++)
                assert_true(*p >= ' ' && *p <= '~');
}

static inline void test_taken(const Parse *parse, int r)
{
        if (r)
                test_fail("refused: %s", parse->text);
}
