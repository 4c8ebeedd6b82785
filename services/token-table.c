/* SPDX-License-Identifier: Apache-2.0 */
#include "services/token-table.h"

#include <event2/event.h>
#include <sys/random.h>

#include "lib/clock.h"
#include "lib/error.h"
#include "lib/strings.h"

void token_forget(TokenTable *table, Token *token)
{
        if (!token->text[0])
                return;
        token->text[0] = '\0';
        list_remove(&token->link);
        table->n--;
}

/* All live equally long, so the first one of the list is the next to expire. */
static void token_table_arm(TokenTable *table)
{
        const Token *first = list_first(&table->tokens, Token, link);
        uint64_t now = clock_monotonic_usec();

        if (!first) {
                (void)event_del(table->timer);
                return;
        }
        uint64_t usec = first->expires_usec > now ? first->expires_usec - now : 0;
        const struct timeval after = {.tv_sec = (time_t)(usec / USEC_PER_SEC), .tv_usec = (suseconds_t)(usec % USEC_PER_SEC)};
        (void)event_add(table->timer, &after); /* allocates nothing: it was added before */
}

static void token_table_expire(TokenTable *table)
{
        uint64_t now = clock_monotonic_usec();
        Token *token;

        while ((token = list_first(&table->tokens, Token, link)) && token->expires_usec <= now) {
                token_forget(table, token);
                table->on_expired(table->userdata, token);
        }
}

static void token_table_on_timer(evutil_socket_t fd, short what, void *userdata)
{
        (void)fd;
        (void)what;
        token_table_expire(userdata);
        token_table_arm(userdata);
}

int token_table_init(TokenTable *table, struct event_base *base, void (*on_expired)(void *userdata, Token *token), void *userdata)
{
        const struct timeval never = {.tv_sec = 3600};

        *table = (TokenTable){.lifetime_usec = TOKEN_USEC, .on_expired = on_expired, .userdata = userdata};
        list_init(&table->tokens);
        table->timer = event_new(base, -1, 0, token_table_on_timer, table);
        return table->timer && event_add(table->timer, &never) == 0 ? 0 : error_origin(-ENOMEM);
}

void token_table_done(TokenTable *table)
{
        if (!table->timer)
                return;
        event_free(table->timer);
        table->timer = NULL;
}

int token_mint(TokenTable *table, Token *token)
{
        uint8_t bytes[TOKEN_BYTES];

        token_table_expire(table);
        if (table->n >= TOKENS_MAX)
                return TOKEN_E_FULL;
        if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
                return error_origin(-EIO);
        hex_encode(token->text, bytes, sizeof(bytes));
        explicit_bzero(bytes, sizeof(bytes));
        token->expires_usec = clock_monotonic_usec() + table->lifetime_usec;
        list_append(&table->tokens, &token->link);
        if (table->n++ == 0)
                token_table_arm(table);
        return 0;
}

/* In a time that does not depend on where the first difference is. */
static bool token_is(const Token *token, const uint8_t *text)
{
        uint8_t difference = 0;

        for (size_t i = 0; i < TOKEN_LENGTH; i++)
                difference |= (uint8_t)token->text[i] ^ text[i];
        return difference == 0;
}

Token *token_present(TokenTable *table, const void *text, size_t n)
{
        Token *found = NULL;

        if (n != TOKEN_LENGTH)
                return NULL;
        list_for_each(i, &table->tokens) {
                Token *token = container_of(i, Token, link);
                if (token_is(token, text))
                        found = token;
        }
        if (!found || found->expires_usec <= clock_monotonic_usec())
                return NULL;
        token_forget(table, found);
        return found;
}
