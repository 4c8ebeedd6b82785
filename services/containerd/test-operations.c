/* SPDX-License-Identifier: Apache-2.0 */

/* The operations over scripted neighbours: in which order things are done, and undone when a stage fails; who is answered. */

#include "services/containerd/adoption.h"
#include "services/containerd/container.h"
#include "services/containerd/remove.h"
#include "services/containerd/test-peers.h"
#include "services/containerd/update.h"

#define ASK(name) ROW_GATEWAYD_CONTAINERD_##name

#define MADE "lease_take image_get user_lookup writable_prepare rootfs_prepare launch_create log_open usage_open "
#define GONE_FROM_LAUNCH "launch_delete rootfs_remove launch_delete writable_remove lease_release "

static void begin(Peers *p)
{
        p->log[0] = '\0';
        p->n_answers = 0;
        p->text[0] = '\0';
}

static void created(Peers *p, char digit)
{
        char name[] = {digit, '\0'};

        peers_create(p, name, "/bin/true", digit);
        peers_settle(p);
        assert_eq_int(p->outcome, 0);
        begin(p);
}

static void started(Peers *p, char digit)
{
        created(p, digit);
        peers_ask(p, ASK(START_CONTAINER), digit, 0);
        peers_settle(p);
        assert_eq_int(p->outcome, 0);
        begin(p);
}

static Container *only(Peers *p)
{
        assert_eq_int(p->containerd.containers.n, 1);
        return p->containerd.containers.items[0];
}

static void test_create_in_order(void)
{
        Peers p;

        peers_init(&p);
        peers_create(&p, "web", "/bin/true", 'a');
        peers_settle(&p);
        assert_eq_int(p.n_answers, 1);
        assert_eq_int(p.outcome, 0);
        assert_eq_str(p.log, MADE);
        assert_eq_int(only(&p)->state, CONTAINER_STATE_CREATED);
        assert_eq_str(only(&p)->record.status->log_path, "/logs/0.log");
        peers_done(&p);
}

/* Each stage fails in turn: everything before it is undone, in reverse, and nothing else is touched. */
static void test_create_is_undone(void)
{
        static const struct {
                const char *fail_at, *undone;
        } rows[] = {
                {"lease_take", "lease_release "},
                {"image_get", "image_release lease_release "},
                {"user_lookup", "image_release lease_release "},
                {"writable_prepare", "writable_remove lease_release "},
                {"rootfs_prepare", "rootfs_remove writable_remove lease_release "},
                {"launch_create", GONE_FROM_LAUNCH},
                {"log_open", GONE_FROM_LAUNCH},
        };

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                char wanted[512];
                Peers p;
                peers_init(&p);
                p.fail_at = rows[i].fail_at;
                p.fail_code = GRPC_STATUS_FAILED_PRECONDITION;
                peers_create(&p, "web", "/bin/true", 'a');
                peers_settle(&p);
                (void)snprintf(wanted, sizeof(wanted), "%.*s%s %s", (int)(strstr(MADE, rows[i].fail_at) - MADE), MADE, rows[i].fail_at,
                               rows[i].undone);
                assert_eq_str(p.log, wanted);
                assert_eq_int(p.n_answers, 1);
                assert_eq_int(p.outcome, CHANNEL_E_FAILED);
                assert_eq_int(p.code, GRPC_STATUS_FAILED_PRECONDITION);
                assert_true(strstr(p.text, "\"web\"") && strstr(p.text, rows[i].fail_at));
                assert_eq_int(p.containerd.containers.n, 0);
                /* And the name is free. */
                p.fail_at = "";
                peers_create(&p, "web", "/bin/true", 'b');
                peers_settle(&p);
                assert_eq_int(p.outcome, 0);
                peers_done(&p);
        }
}

/* A hand that keeps the log to itself. */
static void test_a_root_without_a_log(void)
{
        Peers p;

        peers_init(&p);
        p.loses_log = true;
        peers_create(&p, "web", "/bin/true", 'a');
        peers_settle(&p);
        assert_eq_int(p.outcome, CHANNEL_E_FAILED);
        assert_true(strstr(p.text, "without the log") != NULL);
        assert_eq_str(p.log, "lease_take image_get user_lookup writable_prepare rootfs_prepare rootfs_remove writable_remove lease_release ");
        assert_eq_int(p.containerd.containers.n, 0);
        peers_done(&p);
}

/* What the runtime itself refuses is told when the container is started, as kubelets expect. */
static void test_a_command_that_is_not_there(void)
{
        Peers p;

        for (int stop = 0; stop < 2; stop++) {
                peers_init(&p);
                p.fail_at = "launch_create";
                p.fail_code = GRPC_STATUS_UNKNOWN;
                peers_create(&p, "web", "/nosuch", 'a');
                peers_settle(&p);
                assert_eq_int(p.outcome, 0);
                assert_eq_int(only(&p)->state, CONTAINER_STATE_CREATED);
                peers_ask(&p, stop ? ASK(STOP_CONTAINER) : ASK(START_CONTAINER), 'a', 0);
                peers_settle(&p);
                assert_eq_int(p.outcome, stop ? 0 : CHANNEL_E_FAILED);
                assert_eq_int(only(&p)->state, CONTAINER_STATE_EXITED);
                assert_eq_int(only(&p)->exit_code, 128);
                assert_eq_str(only(&p)->reason, "StartError");
                assert_true(strstr(only(&p)->message, "launch_create fails") != NULL);
                assert_true(strstr(p.log, "launch_start") == NULL);
                peers_done(&p);
        }
}

/* A container whose launch was checked, and whose runtime is still at it. */
static void in_the_making(Peers *p)
{
        peers_init(p);
        p->tells_checked = true;
        p->silent_at = "launch_create";
        peers_create(p, "web", "/bin/true", 'a');
        peers_settle(p);
        assert_eq_int(p->n_answers, 1);
        assert_eq_int(p->outcome, 0);
        assert_eq_int(only(p)->state, CONTAINER_STATE_CREATED);
        assert_true(container_is_in_making(only(p)));
        p->silent_at = "";
        begin(p);
}

/* CreateContainer does not wait for the runtime; what comes next does. */
static void test_what_waits_for_the_runtime(void)
{
        const struct {
                const MessageRow *row;
                const char *after;
                ContainerState state;
        } rows[] = {
                {ASK(START_CONTAINER), "log_open usage_open launch_start ", CONTAINER_STATE_RUNNING},
                {ASK(STOP_CONTAINER), "log_open usage_open cgroup_kill cgroup_kill cgroup_read log_close shim_quit launch_delete rootfs_remove lease_release ",
                 CONTAINER_STATE_EXITED},
                {ASK(REMOVE_CONTAINER), "log_open usage_open log_close launch_delete rootfs_remove writable_remove lease_release ", CONTAINER_STATE_N},
        };

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                Peers p;

                in_the_making(&p);
                p.exit_at_kill = true;
                /* A retry gets the same one, at once. */
                peers_create(&p, "web", "/bin/true", 'b');
                peers_settle(&p);
                assert_eq_int(p.n_answers, 1);
                assert_eq_str(p.text, only(&p)->id);
                peers_ask(&p, rows[i].row, 'a', 0);
                peers_settle(&p);
                assert_eq_int(p.n_answers, 1);
                assert_eq_str(p.log, "");
                assert_ok(peers_answer_create(&p, p.silent));
                peers_settle(&p);
                assert_eq_int(p.n_answers, 2);
                assert_eq_int(p.outcome, 0);
                assert_eq_str(p.log, rows[i].after);
                if (rows[i].state == CONTAINER_STATE_N)
                        assert_eq_int(p.containerd.containers.n, 0);
                else
                        assert_eq_int(only(&p)->state, rows[i].state);
                peers_done(&p);
        }
}

/* Whatever it is that fails then, it is told when the container is started. */
static void test_a_runtime_that_fails_late(void)
{
        static const uint32_t codes[] = {GRPC_STATUS_UNKNOWN, GRPC_STATUS_INTERNAL};

        for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
                Peers p;

                in_the_making(&p);
                peers_ask(&p, ASK(START_CONTAINER), 'a', 0);
                peers_settle(&p);
                assert_ok(reply_fail(p.silent, codes[i], "it cannot"));
                peers_settle(&p);
                assert_eq_int(p.n_answers, 1);
                assert_eq_int(p.outcome, CHANNEL_E_FAILED);
                assert_true(strstr(p.text, "it cannot") != NULL);
                assert_eq_int(only(&p)->state, CONTAINER_STATE_EXITED);
                assert_eq_str(only(&p)->reason, "StartError");
                assert_true(strstr(p.log, "launch_start") == NULL);
                peers_done(&p);
        }
}

/* launch is restarted meanwhile, or we are: whether the runtime made it is looked for; here it did not. */
static void test_a_launch_that_is_lost(void)
{
        for (int ours = 0; ours < 2; ours++) {
                Peers p;
                int pair[2];

                in_the_making(&p);
                if (ours) {
                        peers_close(&p);
                        peers_open(&p);
                } else {
                        channel_disconnect(p.peers[3].theirs);
                        peers_settle(&p);
                        assert_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
                        assert_ok(channel_connect(p.peers[3].ours, pair[0], 2));
                        assert_ok(channel_connect(p.peers[3].theirs, pair[1], 2));
                }
                peers_settle(&p);
                assert_true(strstr(p.log, "launch_reconnect") && strstr(p.log, "launch_exit_record"));
                assert_true(container_is_unstartable(only(&p)));
                begin(&p);
                peers_ask(&p, ASK(START_CONTAINER), 'a', 0);
                peers_settle(&p);
                assert_eq_int(p.outcome, CHANNEL_E_FAILED);
                assert_eq_str(only(&p)->reason, "StartError");
                assert_true(strstr(only(&p)->message, "restarted meanwhile") != NULL);
                peers_ask(&p, ASK(REMOVE_CONTAINER), 'a', 0);
                peers_settle(&p);
                assert_eq_int(p.containerd.containers.n, 0);
                peers_done(&p);
        }
}

static void test_retries(void)
{
        Peers p;
        char first[ID_LENGTH + 1];

        /* The same one attaches to what is under way. */
        peers_init(&p);
        p.silent_at = "image_get";
        peers_create(&p, "web", "/bin/true", 'a');
        peers_create(&p, "web", "/bin/true", 'b');
        peers_settle(&p);
        assert_eq_int(p.n_answers, 0);
        assert_eq_str(p.log, "lease_take image_get ");
        p.silent_at = "";
        assert_ok(peers_answer_message(&p, ROW_CONTAINERD_IMAGED_IMAGE_GET, p.silent));
        peers_settle(&p);
        assert_eq_int(p.n_answers, 2);
        assert_eq_str(p.log, MADE);
        (void)str_copy(first, sizeof(first), p.text);
        assert_eq_str(only(&p)->id, first);
        /* And gets the one that is there. */
        begin(&p);
        peers_create(&p, "web", "/bin/true", 'c');
        peers_settle(&p);
        assert_eq_str(p.text, first);
        assert_eq_str(p.log, "");
        /* Another one takes the place of one that was not started. */
        peers_create(&p, "web", "/bin/false", 'd');
        peers_settle(&p);
        assert_eq_str(p.log, "log_close launch_delete rootfs_remove writable_remove lease_release " MADE);
        assert_eq_int(only(&p)->id[0], 'd');
        assert_eq_str(p.text, only(&p)->id);
        /* But not of one that was. */
        peers_ask(&p, ASK(START_CONTAINER), 'd', 0);
        peers_settle(&p);
        peers_create(&p, "web", "/bin/true", 'e');
        peers_settle(&p);
        assert_eq_int(p.code, GRPC_STATUS_ALREADY_EXISTS);
        assert_true(strstr(p.text, only(&p)->id) != NULL);
        peers_done(&p);
}

/* Another configuration while the first is being made: that one is undone, its caller hears it, then the second is made. */
static void test_another_configuration(void)
{
        Peers p;

        peers_init(&p);
        p.silent_at = "user_lookup";
        peers_create(&p, "web", "/bin/true", 'a');
        peers_settle(&p);
        peers_create(&p, "web", "/bin/false", 'b');
        peers_settle(&p);
        assert_eq_int(p.n_answers, 0);
        p.silent_at = "";
        assert_ok(peers_answer_message(&p, ROW_CONTAINERD_IMAGED_USER_LOOKUP, p.silent));
        peers_settle(&p);
        assert_eq_int(p.n_answers, 2);
        assert_eq_str(p.log, "lease_take image_get user_lookup image_release lease_release " MADE);
        assert_eq_int(only(&p)->id[0], 'b');
        peers_done(&p);
}

static void test_an_end(void)
{
        Peers p;

        peers_init(&p);
        started(&p, 'a');
        peers_shim_ends(&p, 3);
        peers_settle(&p);
        assert_eq_str(p.log, "cgroup_kill cgroup_read log_close shim_quit launch_delete rootfs_remove lease_release ");
        assert_eq_int(only(&p)->state, CONTAINER_STATE_EXITED);
        assert_eq_int(only(&p)->exit_code, 3);
        assert_eq_str(only(&p)->reason, "Error");
        assert_true(only(&p)->has_ended && !only(&p)->has_lease && !only(&p)->shim && only(&p)->pidfd < 0);
        begin(&p);
        peers_ask(&p, ASK(STOP_CONTAINER), 'a', 10);
        peers_ask(&p, ASK(REMOVE_CONTAINER), 'a', 0);
        peers_settle(&p);
        assert_eq_int(p.n_answers, 2);
        assert_eq_str(p.log, "writable_remove "); /* the rest went when it ended */
        assert_eq_int(p.containerd.containers.n, 0);
        /* Once more is as good. */
        peers_ask(&p, ASK(STOP_CONTAINER), 'a', 10);
        peers_ask(&p, ASK(REMOVE_CONTAINER), 'a', 0);
        peers_settle(&p);
        assert_eq_int(p.n_answers, 4);
        assert_eq_int(p.outcome, 0);
        peers_done(&p);
}

/* One that has no row: looked for, told as unknown, and how it ends is not cleared away before it is removed. */
static void test_an_adoption(void)
{
        static const RootfsKept kept = {.permit = {.pod_id = PEERS_POD, .log_path = "/logs/c"}};
        static const LaunchReconnected gone = {.alive = 0};
        Container *container;
        Peers p;
        char id[ID_LENGTH + 1];

        peers_init(&p);
        memset(id, 'c', ID_LENGTH);
        id[ID_LENGTH] = '\0';
        assert_ok(container_new(&container, &p.containerd, id, "", "unknown", 0));
        container->state = CONTAINER_STATE_UNKNOWN;
        assert_ok(container_table_add(&p.containerd.containers, container));
        begin(&p);
        p.silent_at = "rootfs_kept";
        assert_ok(adoption_begin(container));
        peers_settle(&p);
        assert_true(adoption_is_pending(&p.containerd));
        peers_ask(&p, ASK(STOP_CONTAINER), 'c', 10); /* nobody may think that it has ended */
        peers_settle(&p);
        assert_eq_int(p.code, GRPC_STATUS_UNAVAILABLE);

        p.silent_at = "launch_reconnect";
        assert_ok(reply_send_packed(p.silent, &kept, sizeof(kept), NULL, 0));
        peers_settle(&p);
        assert_eq_str(p.log, "rootfs_kept launch_exit_record lease_take launch_reconnect ");
        assert_true(container->is_adopted && container->has_lease && !adoption_is_pending(&p.containerd));
        assert_eq_int(container_cri_state(container), RUNTIME__V1__CONTAINER_STATE__CONTAINER_UNKNOWN);
        assert_eq_str(container_state_text(container), "unknown");
        assert_eq_str(container->pod_id, PEERS_POD);
        assert_eq_str(container->record.status->log_path, "/logs/c");
        assert_eq_str(container->reason, "RecordLost");

        /* Neither shim nor record nor process: it has ended, nobody knows how. */
        p.silent_at = "";
        assert_ok(reply_send_packed(p.silent, &gone, sizeof(gone), NULL, 0));
        peers_settle(&p);
        assert_eq_int(container->state, CONTAINER_STATE_EXITED);
        assert_eq_int(container_cri_state(container), RUNTIME__V1__CONTAINER_STATE__CONTAINER_EXITED);
        assert_eq_int(container->exit_code, 255);
        assert_true(container->has_ended && !container->has_lease && !strstr(p.log, "launch_delete"));
        begin(&p);
        peers_ask(&p, ASK(REMOVE_CONTAINER), 'c', 0);
        peers_settle(&p);
        assert_eq_str(p.log, "launch_delete rootfs_remove writable_remove ");
        assert_eq_int(p.containerd.containers.n, 0);
        peers_done(&p);
}

/* The process ends before the runtime's start is answered: running first, then exited. */
static void test_an_end_during_the_start(void)
{
        Peers p;

        peers_init(&p);
        created(&p, 'a');
        p.silent_at = "launch_start";
        peers_ask(&p, ASK(START_CONTAINER), 'a', 0);
        peers_settle(&p);
        peers_shim_ends(&p, 0);
        peers_settle(&p);
        assert_eq_int(only(&p)->state, CONTAINER_STATE_STARTING);
        assert_ok(reply_send_packed(p.silent, NULL, 0, NULL, 0));
        peers_settle(&p);
        assert_eq_int(p.n_answers, 1);
        assert_eq_int(p.outcome, 0);
        assert_eq_int(only(&p)->state, CONTAINER_STATE_EXITED);
        assert_eq_str(only(&p)->reason, "Completed");
        assert_true(only(&p)->started_nsec > 0 && only(&p)->started_nsec <= only(&p)->finished_nsec);
        peers_done(&p);
}

static void test_a_start_that_fails(void)
{
        Peers p;

        peers_init(&p);
        created(&p, 'a');
        p.fail_at = "launch_start";
        p.exit_at_kill = true;
        peers_ask(&p, ASK(START_CONTAINER), 'a', 0);
        peers_settle(&p);
        assert_eq_int(p.n_answers, 1);
        assert_eq_int(p.outcome, CHANNEL_E_FAILED);
        assert_true(strstr(p.text, "launch_start fails") != NULL);
        assert_eq_int(only(&p)->state, CONTAINER_STATE_EXITED);
        assert_eq_int(only(&p)->exit_code, 128);
        assert_eq_str(only(&p)->reason, "StartError");
        begin(&p);
        peers_ask(&p, ASK(START_CONTAINER), 'a', 0);
        peers_settle(&p);
        assert_eq_int(p.code, GRPC_STATUS_FAILED_PRECONDITION);
        peers_done(&p);
}

static void test_stops(void)
{
        Peers p;

        /* At once: no signal. */
        peers_init(&p);
        started(&p, 'a');
        p.exit_at_kill = true;
        peers_ask(&p, ASK(STOP_CONTAINER), 'a', 0);
        peers_settle(&p);
        assert_eq_int(p.n_answers, 1);
        assert_eq_str(p.log, "cgroup_kill cgroup_kill cgroup_read log_close shim_quit launch_delete rootfs_remove lease_release ");
        assert_eq_int(only(&p)->exit_code, 137);
        peers_done(&p);

        /* With grace: the signal, then nothing; a second stop shortens it. */
        peers_init(&p);
        started(&p, 'a');
        p.exit_at_kill = true;
        peers_ask(&p, ASK(STOP_CONTAINER), 'a', 1000);
        peers_settle(&p);
        assert_eq_str(p.log, "signal_send ");
        assert_eq_int(p.n_answers, 0);
        uint64_t deadline = only(&p)->stop_deadline_usec;
        assert_true(deadline > clock_monotonic_usec() + 900 * USEC_PER_SEC);
        peers_ask(&p, ASK(STOP_CONTAINER), 'a', 2000);
        peers_settle(&p);
        assert_eq_int(only(&p)->stop_deadline_usec, deadline);
        peers_ask(&p, ASK(STOP_CONTAINER), 'a', 0);
        peers_settle(&p);
        assert_eq_int(p.n_answers, 3);
        assert_eq_int(only(&p)->state, CONTAINER_STATE_EXITED);
        peers_done(&p);

        /* It is killed again if it does not end. */
        peers_init(&p);
        started(&p, 'a');
        peers_ask(&p, ASK(STOP_CONTAINER), 'a', 0);
        peers_settle(&p);
        assert_eq_str(p.log, "cgroup_kill ");
        const struct timeval later = {.tv_sec = 5, .tv_usec = 200000};
        (void)event_base_loopexit(p.base, &later);
        (void)event_base_dispatch(p.base);
        assert_eq_str(p.log, "cgroup_kill cgroup_kill ");
        peers_done(&p);
}

static void test_removal_of_what_runs(void)
{
        Peers p;

        peers_init(&p);
        started(&p, 'a');
        p.exit_at_kill = true;
        peers_ask(&p, ASK(REMOVE_CONTAINER), 'a', 0);
        peers_ask(&p, ASK(REMOVE_CONTAINER), 'a', 0);
        peers_settle(&p);
        assert_eq_int(p.n_answers, 2);
        assert_eq_str(p.log, "cgroup_kill cgroup_kill cgroup_read log_close shim_quit launch_delete rootfs_remove writable_remove "
                             "lease_release ");
        assert_eq_int(p.containerd.containers.n, 0);
        peers_done(&p);
}

/* What cannot be cleared away at the end delays nothing; the removal does it, and tells. */
static void test_an_end_that_is_not_cleared(void)
{
        static const char *const rows[] = {"launch_delete", "rootfs_remove"};

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                Peers p;

                peers_init(&p);
                started(&p, 'a');
                p.exit_at_kill = true;
                p.fail_at = rows[i];
                peers_ask(&p, ASK(STOP_CONTAINER), 'a', 0);
                peers_settle(&p);
                assert_eq_int(p.outcome, 0);
                assert_true(only(&p)->has_ended && !only(&p)->is_cleared && !only(&p)->has_lease);
                peers_ask(&p, ASK(REMOVE_CONTAINER), 'a', 0);
                peers_settle(&p);
                assert_eq_int(p.outcome, CHANNEL_E_FAILED);
                p.fail_at = "";
                begin(&p);
                peers_ask(&p, ASK(REMOVE_CONTAINER), 'a', 0);
                peers_settle(&p);
                assert_eq_int(p.outcome, 0);
                assert_eq_str(p.log, "launch_delete rootfs_remove writable_remove ");
                peers_done(&p);
        }
}

static void test_a_removal_that_fails(void)
{
        Peers p;

        peers_init(&p);
        created(&p, 'a');
        p.fail_at = "rootfs_remove";
        peers_ask(&p, ASK(REMOVE_CONTAINER), 'a', 0);
        peers_settle(&p);
        assert_eq_int(p.outcome, CHANNEL_E_FAILED);
        assert_true(strstr(p.text, "root file system") != NULL);
        assert_true(only(&p)->is_removing);
        p.fail_at = "";
        begin(&p);
        peers_ask(&p, ASK(REMOVE_CONTAINER), 'a', 0);
        peers_settle(&p);
        assert_eq_int(p.outcome, 0);
        assert_eq_str(p.log, "launch_delete rootfs_remove writable_remove lease_release ");
        peers_done(&p);
}

/* A second life of the daemon: what was being made is undone, what ran is asked for. */
static void test_a_restart(void)
{
        Peers p;

        peers_init(&p);
        started(&p, 'a');
        p.silent_at = "rootfs_prepare";
        peers_create(&p, "half", "/bin/true", 'b');
        peers_settle(&p);
        assert_eq_int(p.containerd.containers.n, 2);
        peers_close(&p);
        begin(&p);
        p.silent_at = "";
        peers_open(&p);
        peers_settle(&p);
        assert_true(strstr(p.log, "launch_reconnect") && strstr(p.log, "launch_exit_record"));
        assert_true(strstr(p.log, "launch_delete") && strstr(p.log, "writable_remove"));
        assert_eq_int(only(&p)->id[0], 'a');
        /* Its shim is not there any more, nor anything in its cgroup: nobody knows how it ended. */
        assert_eq_int(only(&p)->state, CONTAINER_STATE_EXITED);
        assert_eq_int(only(&p)->exit_code, 255);
        assert_eq_str(only(&p)->reason, "ShimLost");
        assert_true(p.containerd.is_ready);
        peers_done(&p);
}

/* logd is restarted: it gets the streams again from the shim; and the log of one that ends meanwhile waits for it. */
static void test_logd_comes_back(void)
{
        Peers p;

        peers_init(&p);
        started(&p, 'a');
        assert_true(only(&p)->log_is_open);
        assert_ok(log_link_on_logd(&p.containerd, false));
        assert_false(only(&p)->log_is_open);
        assert_ok(log_link_on_logd(&p.containerd, true));
        peers_settle(&p);
        assert_eq_str(p.log, "shim_streams ");
        peers_done(&p);
}

static void update(Peers *p, char digit, int64_t shares, const char *cpus)
{
        Bulkhead__GatewaydContainerd__UpdateContainerResourcesCall call =
                BULKHEAD__GATEWAYD_CONTAINERD__UPDATE_CONTAINER_RESOURCES_CALL__INIT;
        Runtime__V1__UpdateContainerResourcesRequest request = RUNTIME__V1__UPDATE_CONTAINER_RESOURCES_REQUEST__INIT;
        Runtime__V1__LinuxContainerResources limits = RUNTIME__V1__LINUX_CONTAINER_RESOURCES__INIT;
        Permit permit = {.verb = PERMIT_VERB_UPDATE};

        memset(permit.pod_id, digit, ID_LENGTH);
        memset(permit.id, 'e', ID_LENGTH);
        limits.cpu_shares = shares;
        limits.cpuset_cpus = (char *)cpus;
        request.container_id = permit.pod_id;
        request.linux = &limits;
        _cleanup_free_ uint8_t *bytes = NULL;
        assert_ok(decode_pack(&request.base, &bytes, &call.request.len));
        call.request.data = bytes;
        call.id = permit.id;
        call.permit = (ProtobufCBinaryData){.data = (uint8_t *)&permit, .len = sizeof(permit)};
        assert_ok(channel_call(p->gatewayd, ASK(UPDATE_CONTAINER_RESOURCES), &call.base, NULL, 0, USEC_INFINITY, peers_on_answer, p, NULL));
        peers_settle(p);
}

static const Runtime__V1__LinuxContainerResources *limits_of(Peers *p)
{
        return only(p)->record.status->resources->linux;
}

/* Told only while somebody listens; one that is gone is not among its pod's containers. */
static void test_notices(void)
{
        Bulkhead__GatewaydContainerd__ContainerEventsWanted wanted = BULKHEAD__GATEWAYD_CONTAINERD__CONTAINER_EVENTS_WANTED__INIT;
        Peers p;

        peers_init(&p);
        created(&p, 'a');
        assert_eq_str(p.notices, "");
        wanted.wanted = true;
        assert_ok(channel_event(p.gatewayd, ASK(CONTAINER_EVENTS_WANTED), &wanted.base));
        peers_settle(&p);
        started(&p, 'b');
        assert_eq_str(p.notices, "created-b-2 started-b-2 ");
        peers_shim_ends(&p, 3);
        peers_settle(&p);
        assert_eq_str(p.notices, "created-b-2 started-b-2 stopped-b-2 ");
        p.notices[0] = '\0';
        peers_ask(&p, ASK(REMOVE_CONTAINER), 'b', 0);
        peers_settle(&p);
        assert_eq_str(p.notices, "deleted-b-1 ");
        p.notices[0] = '\0';
        p.fail_at = "launch_create"; /* it was never there */
        peers_create(&p, "never", "/bin/true", 'c');
        peers_settle(&p);
        assert_eq_int(p.outcome, CHANNEL_E_FAILED);
        wanted.wanted = false;
        assert_ok(channel_event(p.gatewayd, ASK(CONTAINER_EVENTS_WANTED), &wanted.base));
        p.fail_at = "";
        peers_ask(&p, ASK(REMOVE_CONTAINER), 'a', 0);
        peers_settle(&p);
        assert_eq_str(p.notices, "");
        peers_done(&p);
}

/* What the hand could do is in the record, and what it could not is not. */
static void test_updates(void)
{
        Peers p;

        peers_init(&p);
        created(&p, 'a');
        update(&p, 'a', 100, "");
        assert_eq_int(p.outcome, 0);
        assert_eq_str(p.log, "launch_update ");
        assert_eq_int(limits_of(&p)->cpu_shares, 100);
        begin(&p);
        update(&p, 'a', 0, "0-");
        assert_eq_int(p.code, GRPC_STATUS_INVALID_ARGUMENT);
        assert_eq_str(p.log, "");
        p.fail_at = "launch_update";
        update(&p, 'a', 200, "0");
        assert_eq_int(p.code, p.fail_code);
        assert_true(strstr(p.text, "its limits are as before") != NULL);
        assert_eq_int(limits_of(&p)->cpu_shares, 100);
        p.fail_at = "";
        update(&p, 'a', 0, "0");
        assert_eq_int(limits_of(&p)->cpu_shares, 100);
        assert_eq_str(limits_of(&p)->cpuset_cpus, "0");
        update(&p, 'b', 1, "");
        assert_eq_int(p.code, GRPC_STATUS_NOT_FOUND);
        peers_done(&p);
}

/* One after the other; those that wait when the container is removed hear of it. */
static void test_updates_in_a_row(void)
{
        Peers p;

        peers_init(&p);
        created(&p, 'a');
        p.silent_at = "launch_update";
        for (int64_t shares = 10; shares < 13; shares++)
                update(&p, 'a', shares, "");
        assert_eq_int(p.n_answers, 0);
        assert_eq_str(p.log, "launch_update ");
        p.silent_at = "";
        assert_ok(reply_send_packed(p.silent, NULL, 0, NULL, 0));
        peers_settle(&p);
        assert_eq_int(p.n_answers, 3);
        assert_eq_int(limits_of(&p)->cpu_shares, 12);
        for (int i = 0; i < 20; i++) {
                p.silent_at = "launch_update";
                update(&p, 'a', 50, "");
        }
        assert_eq_int(p.n_answers, 3 + 4);
        assert_eq_int(p.code, GRPC_STATUS_RESOURCE_EXHAUSTED);
        p.silent_at = "";
        peers_ask(&p, ASK(REMOVE_CONTAINER), 'a', 0);
        peers_settle(&p);
        assert_eq_int(p.n_answers, 3 + 20 + 1);
        peers_done(&p);
}

/* The brain ends while the hand works: the next one has it done again, and knows of it. */
static void test_an_update_over_a_restart(void)
{
        Peers p;

        peers_init(&p);
        started(&p, 'a');
        p.silent_at = "launch_update";
        update(&p, 'a', 77, "");
        assert_eq_int(limits_of(&p)->cpu_shares, 0);
        for (int life = 0; life < 2; life++) {
                peers_close(&p);
                begin(&p);
                p.silent_at = "launch_reconnect";
                peers_open(&p);
                peers_settle(&p);
                assert_eq_int(only(&p)->update_bytes != NULL, life == 0);
                assert_ok(update_again(only(&p))); /* as when its shim has answered */
                peers_settle(&p);
                assert_eq_int(strstr(p.log, "launch_update ") != NULL, life == 0);
                assert_eq_int(limits_of(&p)->cpu_shares, 77);
        }
        peers_done(&p);
}

int main(void)
{
        TEST_RUN(test_create_in_order);
        TEST_RUN(test_create_is_undone);
        TEST_RUN(test_a_root_without_a_log);
        TEST_RUN(test_a_command_that_is_not_there);
        TEST_RUN(test_what_waits_for_the_runtime);
        TEST_RUN(test_a_runtime_that_fails_late);
        TEST_RUN(test_a_launch_that_is_lost);
        TEST_RUN(test_retries);
        TEST_RUN(test_another_configuration);
        TEST_RUN(test_an_end);
        TEST_RUN(test_an_adoption);
        TEST_RUN(test_an_end_during_the_start);
        TEST_RUN(test_a_start_that_fails);
        TEST_RUN(test_stops);
        TEST_RUN(test_removal_of_what_runs);
        TEST_RUN(test_an_end_that_is_not_cleared);
        TEST_RUN(test_a_removal_that_fails);
        TEST_RUN(test_a_restart);
        TEST_RUN(test_logd_comes_back);
        TEST_RUN(test_notices);
        TEST_RUN(test_updates);
        TEST_RUN(test_updates_in_a_row);
        TEST_RUN(test_an_update_over_a_restart);
        return 0;
}
