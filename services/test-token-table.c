/* SPDX-License-Identifier: Apache-2.0 */
#include "services/token-table.h"

#include <event2/event.h>

#include "lib/clock.h"
#include "lib/test.h"

typedef struct World {
        struct event_base *base;
        TokenTable table;
        size_t n_expired;
} World;

static void on_expired(void *userdata, Token *token)
{
        World *world = userdata;

        assert_eq_str(token->text, "");
        world->n_expired++;
}

static void world_init(World *world)
{
        *world = (World){.base = event_base_new()};
        assert_ok(token_table_init(&world->table, world->base, on_expired, world));
}

static void world_done(World *world)
{
        assert_eq_int(world->table.n, 0);
        token_table_done(&world->table);
        event_base_free(world->base);
}

static void test_good_once(void)
{
        World world;
        Token a = {0}, b = {0};
        char text[TOKEN_LENGTH + 1];

        world_init(&world);
        assert_ok(token_mint(&world.table, &a));
        assert_ok(token_mint(&world.table, &b));
        assert_eq_int(strlen(a.text), TOKEN_LENGTH);
        assert_true(strcmp(a.text, b.text) != 0);
        (void)memcpy(text, a.text, sizeof(text));

        text[TOKEN_LENGTH - 1] = (char)(text[TOKEN_LENGTH - 1] == '0' ? '1' : '0');
        assert_true(!token_present(&world.table, text, TOKEN_LENGTH));
        (void)memcpy(text, a.text, sizeof(text));
        assert_true(!token_present(&world.table, text, TOKEN_LENGTH - 1));
        assert_true(!token_present(&world.table, "", 0));
        assert_true(token_present(&world.table, text, TOKEN_LENGTH) == &a);
        assert_true(!token_present(&world.table, text, TOKEN_LENGTH));

        token_forget(&world.table, &a);
        token_forget(&world.table, &b);
        token_forget(&world.table, &b);
        world_done(&world);
}

static void test_expires(void)
{
        World world;
        Token a = {0}, b = {0};
        char text[TOKEN_LENGTH + 1];

        world_init(&world);
        world.table.lifetime_usec = 0;
        assert_ok(token_mint(&world.table, &a));
        (void)memcpy(text, a.text, sizeof(text));
        assert_true(!token_present(&world.table, text, TOKEN_LENGTH)); /* before the timer came to it, too */
        uint64_t until = clock_monotonic_usec() + 20 * USEC_PER_SEC;
        while (world.n_expired == 0 && clock_monotonic_usec() < until)
                (void)event_base_loop(world.base, EVLOOP_ONCE);
        assert_eq_int(world.n_expired, 1);

        /* The next one's time is its own. */
        world.table.lifetime_usec = TOKEN_USEC;
        assert_ok(token_mint(&world.table, &b));
        (void)event_base_loop(world.base, EVLOOP_NONBLOCK);
        assert_eq_int(world.n_expired, 1);
        assert_true(token_present(&world.table, b.text, TOKEN_LENGTH) == &b);
        world_done(&world);
}

static void test_bounded(void)
{
        static Token tokens[TOKENS_MAX];
        World world;
        Token more = {0};

        world_init(&world);
        for (size_t i = 0; i < TOKENS_MAX; i++)
                assert_ok(token_mint(&world.table, &tokens[i]));
        assert_eq_int(token_mint(&world.table, &more), TOKEN_E_FULL);
        token_forget(&world.table, &tokens[500]);
        assert_ok(token_mint(&world.table, &more));
        token_forget(&world.table, &more);
        for (size_t i = 0; i < TOKENS_MAX; i++)
                token_forget(&world.table, &tokens[i]);
        world_done(&world);
}

int main(void)
{
        TEST_RUN(test_good_once);
        TEST_RUN(test_expires);
        TEST_RUN(test_bounded);
        return 0;
}
