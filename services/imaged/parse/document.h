/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* JSON that someone hostile wrote, and checked access to its values: every accessor says type, presence and limit, and
 * a refusal names the place ("manifest: layers[3].digest is not ..."). An absent key and a null are the same: that is
 * how Go, which writes most of these documents, writes what is not there. */

#include "services/imaged/parse/parse.h"

#define DOCUMENT_DEPTH_MAX 32
#define DOCUMENT_VALUES_MAX (128 * 1024) /* at up to 350 bytes each this is a third of the child's memory */
#define DOCUMENT_STRING_MAX (64 * 1024)
#define DOCUMENT_SIZE_MAX (UINT64_C(1) << 50)
#define DOCUMENT_DIGEST_BYTES 32

typedef enum DocumentNeed { DOCUMENT_OPTIONAL, DOCUMENT_REQUIRED } DocumentNeed;

/* A value and where it is. All of it is borrowed: from the Parse, and from the stack of whoever goes down the tree. */
typedef struct DocumentNode {
        const struct DocumentNode *parent; /* NULL: the whole document */
        const char *key;                   /* of ours, never the document's; NULL: the index-th element */
        size_t index;
        json_t *value; /* NULL: absent */
} DocumentNode;

/* Reads n bytes, once per Parse. No NULs, no duplicate keys, nothing behind the value, within the limits above. */
int document_load(Parse *parse, const void *bytes, size_t n, DocumentNode *ret);

/* "<what>: <path> <text>"; INVALID_ARGUMENT. */
int document_refuse(Parse *parse, const DocumentNode *node, const char *format, ...) _printf_(3, 4);

int document_expect(Parse *parse, const DocumentNode *node, json_type type);
/* Is the key there, be it null? */
bool document_has(const DocumentNode *object, const char *key);
/* ret->value is NULL if it is absent and need not be there; ret names the place in any case. */
int document_member(Parse *parse, const DocumentNode *object, const char *key, json_type type, DocumentNeed need,
                    DocumentNode *ret);
/* The same for an array of at most max elements. */
int document_array(Parse *parse, const DocumentNode *object, const char *key, size_t max, DocumentNeed need,
                   DocumentNode *ret);
/* i is below the array's size. */
int document_element(Parse *parse, const DocumentNode *array, size_t i, json_type type, DocumentNode *ret);

/* The text of a string node, of at most max bytes; borrowed from the document. */
int document_text(Parse *parse, const DocumentNode *string, size_t max, char **ret);
/* ret is untouched where the key is absent. At most DOCUMENT_STRING_MAX bytes. */
int document_string(Parse *parse, const DocumentNode *object, const char *key, DocumentNeed need, char **ret);
int document_strings(Parse *parse, const DocumentNode *object, const char *key, size_t max, char ***ret, size_t *ret_n);
/* Bytes: 0 to DOCUMENT_SIZE_MAX; required. */
int document_size(Parse *parse, const DocumentNode *object, const char *key, uint64_t *ret);
/* "sha256:" and 64 lower-case digits, as 32 bytes. */
int document_digest(Parse *parse, const DocumentNode *string, ProtobufCBinaryData *ret);
