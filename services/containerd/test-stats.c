/* SPDX-License-Identifier: Apache-2.0 */

/* Statistics over scripted neighbours: answers never wait for a hand, and looks go one at a time. */

#include "services/containerd/stats.h"
#include "services/containerd/test-peers.h"

static void begin(Peers *p)
{
        p->log[0] = '\0';
        p->n_answers = 0;
        p->outcome = -1;
}

static void create(Peers *p, char digit)
{
        char name[] = {digit, '\0'};

        peers_create(p, name, "/bin/true", digit);
        peers_settle(p);
        assert_eq_int(p->outcome, 0);
}

static void ask_list(Peers *p)
{
        assert_ok(channel_call_packed(p->gatewayd, ROW_GATEWAYD_CONTAINERD_LIST_CONTAINER_STATS, "", 0, USEC_INFINITY, peers_on_answer, p,
                                      NULL));
        peers_settle(p);
}

static size_t count(const Peers *p, const char *name)
{
        size_t n = 0;
        for (const char *at = p->log; (at = strstr(at, name)); at += strlen(name))
                n++;
        return n;
}

static void measured(Peers *p, uint64_t bytes)
{
        Bulkhead__ContainerdImaged__WritableMeasureResponse response = BULKHEAD__CONTAINERD_IMAGED__WRITABLE_MEASURE_RESPONSE__INIT;

        response.bytes = bytes;
        response.inodes = 2;
        assert_ok(reply_send(p->silent, &response.base, NULL, 0));
        peers_settle(p);
}

static Stats *stats_of(Peers *p, size_t i)
{
        return p->containerd.containers.items[i]->stats;
}

static void test_answers_without_files(void)
{
        Peers p;

        peers_init(&p);
        p.silent_at = "usage_open";
        create(&p, 'a');
        assert_eq_int(count(&p, "usage_open "), 1);
        begin(&p);
        peers_ask(&p, ROW_GATEWAYD_CONTAINERD_CONTAINER_STATS, 'a', 0);
        peers_settle(&p);
        assert_eq_int(p.n_answers, 1);
        assert_eq_int(p.outcome, 0);
        ask_list(&p);
        assert_eq_int(p.n_answers, 2);
        assert_eq_int(count(&p, "usage_open "), 0); /* it is under way */
        peers_done(&p);
}

static void test_a_new_layer_is_empty(void)
{
        Peers p;

        peers_init(&p);
        create(&p, 'a');
        assert_eq_int(stats_of(&p, 0)->bytes, 0);
        assert_eq_int(stats_of(&p, 0)->inodes, 1);
        assert_true(stats_of(&p, 0)->measured_nsec > 0);
        assert_eq_int(count(&p, "writable_measure "), 0); /* nobody has asked */
        peers_done(&p);
}

static void test_one_measurement_at_a_time(void)
{
        Peers p;

        peers_init(&p);
        create(&p, 'a');
        create(&p, 'b');
        begin(&p);
        p.silent_at = "writable_measure";
        ask_list(&p);
        ask_list(&p);
        ask_list(&p);
        assert_eq_int(p.n_answers, 3);
        assert_eq_int(p.outcome, 0);
        assert_eq_int(count(&p, "writable_measure "), 1);
        measured(&p, 4096); /* then it is the other's turn, */
        assert_eq_int(count(&p, "writable_measure "), 2);
        measured(&p, 8192); /* and then nobody's for a while */
        assert_eq_int(count(&p, "writable_measure "), 2);
        ask_list(&p);
        assert_eq_int(count(&p, "writable_measure "), 2);
        assert_eq_int(stats_of(&p, 0)->bytes + stats_of(&p, 1)->bytes, 4096 + 8192);
        /* The interval grows while nothing changes, and is short again when something does. */
        uint64_t first = stats_of(&p, 0)->measure_interval_usec;
        stats_of(&p, 0)->measure_usec = 0;
        ask_list(&p);
        measured(&p, stats_of(&p, 0)->bytes);
        assert_eq_int(stats_of(&p, 0)->measure_interval_usec, 2 * first);
        stats_of(&p, 0)->measure_usec = 0;
        ask_list(&p);
        measured(&p, 1);
        assert_eq_int(stats_of(&p, 0)->measure_interval_usec, first);
        peers_done(&p);
}

/* A container that goes while its layer is looked at: the answer is about nobody. */
static void test_a_container_that_goes(void)
{
        Peers p;

        peers_init(&p);
        create(&p, 'a');
        p.silent_at = "writable_measure";
        ask_list(&p);
        begin(&p);
        p.exit_at_kill = true;
        peers_ask(&p, ROW_GATEWAYD_CONTAINERD_REMOVE_CONTAINER, 'a', 0);
        peers_settle(&p);
        assert_eq_int(p.outcome, 0);
        assert_eq_int(p.containerd.containers.n, 0);
        measured(&p, 4096);
        begin(&p);
        ask_list(&p);
        assert_eq_int(p.n_answers, 1);
        assert_eq_int(p.outcome, 0);
        peers_done(&p);
}

int main(void)
{
        TEST_RUN(test_answers_without_files);
        TEST_RUN(test_a_new_layer_is_empty);
        TEST_RUN(test_one_measurement_at_a_time);
        TEST_RUN(test_a_container_that_goes);
        return 0;
}
