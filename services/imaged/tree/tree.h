/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The context of imaged-tree, and its handlers: one job process per request, which does it top to bottom. */

#include "ipc/edges/imaged-tree.rows.h"
#include "services/hand.h"
#include "services/imaged/tree/jail.h"
#include "services/imaged/tree/trees.h"

/* An export lives on until its reader ends it: so many at once leave the other jobs their places. */
#define TREE_EXPORTS_MAX 4

typedef struct Tree {
        Hand *hand;
        void *sha256; /* owned EVP_MD; fetched before confinement, because libcrypto reads its configuration for that */
} Tree;

EDGE_IMAGED_TREE_PROTOTYPES_B(void *context, int edge_fd, HandRequest *request)

/* The flat body of a request: its size was checked by the row. */
static inline const void *tree_body(const HandRequest *request)
{
        return request->frame.payload;
}

/* The string ends within its array. */
static inline bool tree_text_is_valid(const char *text, size_t size)
{
        return memchr(text, 0, size) != NULL;
}

/* Answers that a request is not one that imaged makes: it names what is wrong with it. */
int tree_refuse(int edge_fd, const HandRequest *request, const char *what);
/* Answers with what a jail or an unpacking reported. stage and object say what was being done to what. */
int tree_fail_report(int edge_fd, const HandRequest *request, const char *stage, const char *object, const Report *report);
/* Answers that a system call of ours failed, and logs it: the disk, most often. Returns 0. */
int tree_fail_errno(int edge_fd, const HandRequest *request, const char *stage, const char *object, int error);

/* All layers are there; else answers and sets *ret_missing. */
int tree_check_layers(const Trees *trees, int edge_fd, const HandRequest *request, const uint8_t (*layers)[32], uint32_t n,
                      bool *ret_missing);
/* After the answer: a stage that was not committed goes, as far as it came. */
void tree_discard(const Trees *trees, TreesStage *stage);
