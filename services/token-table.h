/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The tokens of stream URLs that were handed out and not presented yet: random, good once, for a minute, and no more than so
 * many at a time (the figures of the kubelet's own streaming server). */

#include "lib/list.h"

#define TOKEN_BYTES 32
#define TOKEN_LENGTH (2 * TOKEN_BYTES) /* lower-case hexadecimal digits */
#define TOKENS_MAX 1000
#define TOKEN_USEC (UINT64_C(60) * 1000000)

struct event;
struct event_base;

/* Embedded in what it is for. */
typedef struct Token {
        List link; /* in TokenTable.tokens, oldest first */
        uint64_t expires_usec; /* CLOCK_MONOTONIC */
        char text[TOKEN_LENGTH + 1]; /* "": presented, or never minted */
} Token;

typedef struct TokenTable {
        List tokens;
        size_t n;
        struct event *timer; /* owned; armed while there are tokens */
        uint64_t lifetime_usec; /* TOKEN_USEC, but in tests */
        void (*on_expired)(void *userdata, Token *token); /* forgotten already; its owner goes */
        void *userdata;
} TokenTable;

/* 0 or -errno. */
int token_table_init(TokenTable *table, struct event_base *base, void (*on_expired)(void *userdata, Token *token), void *userdata);
/* Empty by then. Also for one that is all zero. */
void token_table_done(TokenTable *table);

enum { TOKEN_E_FULL = 1 };
/* 0, TOKEN_E_FULL or -errno. */
int token_mint(TokenTable *table, Token *token);
/* The token with that text, which is used up by it; NULL if there is none. */
Token *token_present(TokenTable *table, const void *text, size_t n);
/* Idempotent. */
void token_forget(TokenTable *table, Token *token);
