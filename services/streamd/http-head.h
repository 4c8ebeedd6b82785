/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The head of an HTTP/1.1 request (RFC 9112), read strictly: what a proxy might understand otherwise is refused. */

#include "lib/base.h"

#define HTTP_HEAD_BYTES_MAX (16 * 1024)
#define HTTP_HEADERS_MAX 64
#define HTTP_TARGET_MAX 2048

typedef struct HttpHeader {
        const char *name;  /* lower case */
        const char *value; /* without white space around it */
} HttpHeader;

/* Everything points into the bytes that were parsed, which are changed (terminated, names in lower case). */
typedef struct HttpHead {
        const char *method;
        const char *path; /* of the target, without the query; starts with "/" */
        HttpHeader headers[HTTP_HEADERS_MAX];
        size_t n_headers;
        size_t n_bytes; /* of the head, with the empty line: what follows is not ours */
} HttpHead;

enum {
        HTTP_E_INCOMPLETE = 1, /* no empty line yet, and room for more */
        HTTP_E_MALFORMED,      /* 400 */
        HTTP_E_TOO_LONG,       /* 431 */
        HTTP_E_VERSION,        /* 505 */
};

/* bytes has n bytes and may be changed when the outcome is 0. A body is refused: a request for a stream has none. */
int http_head_parse(char *bytes, size_t n, HttpHead *head);
/* The value of the only header of that (lower-case) name; NULL if there is none, or more than one. */
const char *http_head_find(const HttpHead *head, const char *name);
/* A comma-separated header holds the token, in any case: "Connection: keep-alive, Upgrade". */
bool http_head_has_token(const HttpHead *head, const char *name, const char *token);
