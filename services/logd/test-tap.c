/* SPDX-License-Identifier: Apache-2.0 */
#include "services/logd/tap.h"

#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>

#include "lib/clock.h"
#include "lib/fd.h"
#include "lib/test.h"

#define ID "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
#define CHUNK ((size_t)256 * 1024)

typedef struct World {
        struct event_base *base;
        TapTable table;
        List taps;
        size_t n_lost;
        uint8_t *chunk;
} World;

static void on_lost(void *userdata, const Tap *tap)
{
        World *world = userdata;

        assert_eq_str(tap->session_id, "slow");
        world->n_lost++;
}

static void world_init(World *world)
{
        *world = (World){.base = event_base_new(), .chunk = malloc(CHUNK)};
        tap_table_init(&world->table, world->base, on_lost, world);
        list_init(&world->taps);
        for (size_t i = 0; i < CHUNK; i++)
                world->chunk[i] = (uint8_t)(i * 7 + i / 251);
}

static void world_done(World *world)
{
        list_for_each_safe(i, next, &world->taps)
                (void)tap_free(container_of(i, Tap, link));
        tap_table_done(&world->table);
        assert_eq_int(world->table.n_kept, 0);
        event_base_free(world->base);
        free(world->chunk);
}

/* Which streams: bit 0 stdout, bit 1 stderr. ret: the client's ends. */
static void attach(World *world, const char *session, unsigned streams, int ret[2])
{
        int fds[TAP_STREAMS] = {-1, -1}, pair[2];

        for (int i = 0; i < 2; i++) {
                ret[i] = -1;
                if (!(streams & (1U << i)))
                        continue;
                assert_ok(pipe2(pair, O_CLOEXEC));
                fds[i] = pair[1];
                ret[i] = pair[0];
                assert_ok(fd_set_nonblock(pair[0], true));
        }
        assert_ok(tap_new(&world->table, &world->taps, ID, session, fds));
}

/* What is there now. */
static size_t take(int fd, uint8_t *bytes, size_t n)
{
        size_t done = 0;

        while (done < n) {
                ssize_t got = read(fd, bytes + done, n - done);
                if (got <= 0)
                        break;
                done += (size_t)got;
        }
        return done;
}

static bool has_ended(int fd)
{
        uint8_t byte;

        return read(fd, &byte, 1) == 0;
}

static void test_each_gets_its_streams(void)
{
        World world;
        int both[2], err[2];
        uint8_t bytes[16];

        world_init(&world);
        attach(&world, "both", 3, both);
        attach(&world, "err", 2, err);
        tap_write(&world.taps, 0, (const uint8_t *)"out", 3);
        tap_write(&world.taps, 1, (const uint8_t *)"error", 5);
        assert_eq_mem(bytes, take(both[0], bytes, sizeof(bytes)), "out", 3);
        assert_eq_mem(bytes, take(both[1], bytes, sizeof(bytes)), "error", 5);
        assert_eq_mem(bytes, take(err[1], bytes, sizeof(bytes)), "error", 5);
        assert_true(tap_find(&world.taps, "both") && !tap_find(&world.taps, "none"));
        tap_end(&world.taps);
        assert_true(list_is_empty(&world.taps));
        assert_true(has_ended(both[0]) && has_ended(both[1]) && has_ended(err[1]));
        (void)close(both[0]);
        (void)close(both[1]);
        (void)close(err[1]);
        world_done(&world);
}

/* More than a pipe holds is kept, in order, also beyond the container's end. */
static void test_what_waits_comes(void)
{
        enum { N = 12 };
        World world;
        int out[2];
        uint8_t *bytes = malloc(CHUNK * N);
        size_t n = 0;

        world_init(&world);
        attach(&world, "late", 1, out);
        for (int i = 0; i < N / 2; i++)
                tap_write(&world.taps, 0, world.chunk, CHUNK);
        assert_true(tap_is_behind(&world.taps, CHUNK));
        assert_false(tap_is_behind(&world.taps, CHUNK * N));
        n += take(out[0], bytes, CHUNK * N);
        for (int i = 0; i < N / 2; i++)
                tap_write(&world.taps, 0, world.chunk, CHUNK);
        tap_end(&world.taps);
        uint64_t until = clock_monotonic_usec() + 20 * USEC_PER_SEC;
        while (!list_is_empty(&world.table.lingering) && clock_monotonic_usec() < until) {
                n += take(out[0], bytes + n, CHUNK * N - n);
                (void)event_base_loop(world.base, EVLOOP_NONBLOCK);
        }
        n += take(out[0], bytes + n, CHUNK * N - n);
        assert_eq_int(n, CHUNK * N);
        for (int i = 0; i < N; i++)
                assert_eq_mem(bytes + (size_t)i * CHUNK, CHUNK, world.chunk, CHUNK);
        assert_true(has_ended(out[0]));
        (void)close(out[0]);
        free(bytes);
        world_done(&world);
}

static void test_a_slow_one_goes(void)
{
        World world;
        int slow[2], quick[2];
        uint8_t *bytes = malloc(CHUNK * 2);
        size_t n = 0, n_written = 0;

        world_init(&world);
        attach(&world, "slow", 1, slow);
        attach(&world, "quick", 1, quick);
        while (n_written < 2 * TAP_KEPT_MAX) {
                tap_write(&world.taps, 0, world.chunk, CHUNK);
                n_written += CHUNK;
                for (size_t more = 1; more > 0; n += more) {
                        more = take(quick[0], bytes, CHUNK * 2);
                        (void)event_base_loop(world.base, EVLOOP_NONBLOCK);
                }
        }
        assert_eq_int(world.n_lost, 1);
        assert_true(!tap_find(&world.taps, "slow"));
        assert_eq_int(n, n_written);
        n = 0;
        for (size_t more = 1; more > 0; n += more)
                more = take(slow[0], bytes, CHUNK * 2);
        assert_true(n > 0 && n < CHUNK && has_ended(slow[0])); /* what its pipe held */
        (void)close(slow[0]);
        (void)close(quick[0]);
        free(bytes);
        world_done(&world);
}

static void test_let_go(void)
{
        World world;
        int slow[2], quick[2];

        world_init(&world);
        attach(&world, "slow", 1, slow);
        attach(&world, "quick", 2, quick);
        tap_write(&world.taps, 0, world.chunk, CHUNK);
        tap_let_go(&world.taps, CHUNK);
        assert_eq_int(world.n_lost, 0);
        tap_let_go(&world.taps, 0);
        assert_eq_int(world.n_lost, 1);
        assert_true(!tap_find(&world.taps, "slow") && tap_find(&world.taps, "quick"));
        (void)close(slow[0]);
        (void)close(quick[1]);
        world_done(&world);
}

/* All of them together have a bound, too. */
static void test_the_bound_of_all(void)
{
        enum { N = 6 };
        World world;
        int fds[N][2];

        world_init(&world);
        for (int i = 0; i < N; i++)
                attach(&world, "slow", 1, fds[i]);
        for (size_t n = 0; n + CHUNK < TAP_KEPT_MAX; n += CHUNK) {
                tap_write(&world.taps, 0, world.chunk, CHUNK);
                assert_true(world.table.n_kept <= TAP_KEPT_ALL_MAX);
        }
        assert_true(world.n_lost > 0 && world.n_lost < N);
        for (int i = 0; i < N; i++)
                (void)close(fds[i][0]);
        world_done(&world);
}

/* However many clients of one container do not read, those of another can be as far behind as if they were alone. */
static void test_the_bound_of_a_container(void)
{
        enum { N = 12 };
        World world;
        List others = LIST_INIT(others);
        int slow[N][2], pair[2];

        world_init(&world);
        for (int i = 0; i < N; i++)
                attach(&world, "slow", 1, slow[i]);
        for (size_t n = 0; n < 4 * TAP_KEPT_MAX; n += CHUNK) {
                tap_write(&world.taps, 0, world.chunk, CHUNK);
                assert_true(world.table.n_kept <= TAP_KEPT_CONTAINER_MAX);
        }
        assert_true(world.n_lost > 0);
        for (int i = 0; i < N; i++)
                (void)close(slow[i][0]);
        world.n_lost = 0;
        for (int i = 0; i < N; i++)
                attach(&world, "slow", 1, slow[i]);
        for (size_t n = 0; n < TAP_KEPT_CONTAINER_MAX / N - CHUNK; n += CHUNK)
                tap_write(&world.taps, 0, world.chunk, CHUNK);
        assert_ok(pipe2(pair, O_CLOEXEC));
        assert_ok(tap_new(&world.table, &others, ID, "other", (const int[TAP_STREAMS]){pair[1], -1}));
        for (size_t n = 0; n + CHUNK <= TAP_KEPT_MAX; n += CHUNK)
                tap_write(&others, 0, world.chunk, CHUNK);
        assert_true(tap_find(&others, "other"));
        assert_true(world.table.n_kept > TAP_KEPT_MAX + CHUNK); /* the others are behind as well */
        (void)tap_free(tap_find(&others, "other"));
        (void)close(pair[0]);
        for (int i = 0; i < N; i++)
                (void)close(slow[i][0]);
        world_done(&world);
}

static void test_a_client_closes(void)
{
        World world;
        int out[2];

        world_init(&world);
        attach(&world, "gone", 3, out);
        (void)close(out[0]);
        tap_write(&world.taps, 0, (const uint8_t *)"x", 1);
        assert_true(tap_find(&world.taps, "gone")); /* stderr is open still */
        (void)close(out[1]);
        tap_write(&world.taps, 1, (const uint8_t *)"x", 1);
        assert_true(!tap_find(&world.taps, "gone"));
        assert_eq_int(world.n_lost, 0);
        world_done(&world);
}

int main(void)
{
        (void)signal(SIGPIPE, SIG_IGN);
        TEST_RUN(test_each_gets_its_streams);
        TEST_RUN(test_what_waits_comes);
        TEST_RUN(test_a_slow_one_goes);
        TEST_RUN(test_let_go);
        TEST_RUN(test_the_bound_of_all);
        TEST_RUN(test_the_bound_of_a_container);
        TEST_RUN(test_a_client_closes);
        return 0;
}
