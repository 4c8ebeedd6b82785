/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Writes JSON text: for the verbose answers of CRI, which carry it in strings. Memory that runs out makes the text "{}". */

#include "lib/base.h"
#include <protobuf-c/protobuf-c.h>

#define JSON_DEPTH_MAX 32

typedef struct JsonText {
        char *bytes; /* owned */
        size_t n, n_allocated;
        bool is_broken;
        bool wants_comma;
} JsonText;

/* key NULL: an element of an array, or the whole. bracket: '{' or '['. */
void json_text_open(JsonText *json, const char *key, char bracket);
void json_text_close(JsonText *json, char bracket);
void json_text_string(JsonText *json, const char *key, const char *s);
/* Any bytes: what is no UTF-8 becomes U+FFFD. */
void json_text_bytes(JsonText *json, const char *key, const void *bytes, size_t n);
void json_text_integer(JsonText *json, const char *key, int64_t v);
void json_text_unsigned(JsonText *json, const char *key, uint64_t v);
void json_text_bool(JsonText *json, const char *key, bool v);
/* A message by its descriptor, fields that have their default left out, names as in the schema. */
void json_text_message(JsonText *json, const char *key, const ProtobufCMessage *message);

/* Borrowed until the next call. */
char *json_text_end(JsonText *json);
void json_text_done(JsonText *json);
