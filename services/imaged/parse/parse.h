/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the parsing of one document works with: where its result lives, and why it was refused. What is written in a
 * document is never an error of ours, and neither is the memory that it would take: every parser answers 0 or
 * PARSE_E_REFUSED, with the text in the Parse. */

#include "ipc/decode.h"
#include "lib/grpc-status.h"

#include <jansson.h>

#define PARSE_TEXT_MAX 1024
#define PARSE_RESULT_MAX (8 * 1024 * 1024) /* memory of a result, without the strings that it borrows */

enum { PARSE_E_REFUSED = 1 };

typedef struct Parse {
        const char *what;   /* borrowed; the kind of document, first word of every text */
        DecodeArena arena;  /* results live here ... */
        json_t *document;   /* owned; ... and borrow strings from here */
        uint32_t code;      /* of a refusal: INVALID_ARGUMENT, UNIMPLEMENTED or RESOURCE_EXHAUSTED */
        char text[PARSE_TEXT_MAX]; /* of a refusal: printable ASCII, whatever the document holds */
} Parse;

/* A Parse in use is not moved. */
void parse_init(Parse *parse, const char *what);
void parse_done(Parse *parse);

/* Zeroed, n elements of size bytes; freed with the Parse. NULL: answer with parse_refuse_memory(). */
void *parse_alloc(Parse *parse, size_t n, size_t size);

/* All return PARSE_E_REFUSED. The text gets "<what>: " in front; what it quotes of a document must be printable. */
int parse_refuse(Parse *parse, uint32_t code, const char *format, ...) _printf_(3, 4);
int parse_refuse_memory(Parse *parse);
