/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/parse/parse.h"

#include <stdarg.h>
#include <stdio.h>

void parse_init(Parse *parse, const char *what)
{
        parse->what = what;
        decode_arena_init(&parse->arena, PARSE_RESULT_MAX);
        parse->document = NULL;
        parse->code = 0;
        parse->text[0] = '\0';
}

void parse_done(Parse *parse)
{
        decode_arena_done(&parse->arena);
        json_decref(parse->document);
        parse->document = NULL;
}

void *parse_alloc(Parse *parse, size_t n, size_t size)
{
        size_t total;

        if (__builtin_mul_overflow(n, size, &total))
                return NULL;
        void *p = decode_arena_alloc(&parse->arena, MAX2(total, (size_t)1));
        return p ? memset(p, 0, total) : NULL;
}

int parse_refuse(Parse *parse, uint32_t code, const char *format, ...)
{
        char text[PARSE_TEXT_MAX];
        va_list args;

        va_start(args, format);
        (void)vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        parse->code = code;
        (void)snprintf(parse->text, sizeof(parse->text), "%s: %s", parse->what, text);
        return PARSE_E_REFUSED;
}

int parse_refuse_memory(Parse *parse)
{
        return parse_refuse(parse, GRPC_STATUS_RESOURCE_EXHAUSTED, "it takes more memory than a document may");
}
