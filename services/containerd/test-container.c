/* SPDX-License-Identifier: Apache-2.0 */

/* The container object: its states, its table, its rows, and how lists choose. */

#include "ipc/edges/runtime-spec.pb-c.h"
#include "lib/test.h"
#include "services/containerd/containerd.h"
#include "services/json-text.h"
#include "services/containerd/runtime-table.h"
#include "services/containerd/status.h"
#include "services/containerd/stop-signal.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static char id_buffer[16][ID_LENGTH + 1];

/* An id that begins with these digits. */
static const char *id_of(unsigned slot, const char *digits)
{
        memset(id_buffer[slot], '0', ID_LENGTH);
        memcpy(id_buffer[slot], digits, strlen(digits));
        return id_buffer[slot];
}

typedef struct World {
        Containerd containerd;
        ConfigContainerd config;
        ConfigCommon common;
        char path[64];
} World;

static void world_open(World *w, const char *boot_id)
{
        w->containerd = (Containerd){.config = &w->config, .common = &w->common};
        assert_ok(container_store_open(&w->containerd.store, w->path, boot_id));
}

static void world_init(World *w)
{
        *w = (World){.path = "/tmp/bulkhead-test-container.XXXXXX"};
        w->config.n_runtimes = 2;
        (void)str_copy(w->config.runtimes[0].handler, CONFIG_NAME_MAX, "crun");
        (void)str_copy(w->config.runtimes[1].handler, CONFIG_NAME_MAX, "runc");
        assert_true(mkdtemp(w->path) != NULL);
        (void)snprintf(w->path + strlen(w->path), sizeof(w->path) - strlen(w->path), "/db");
        world_open(w, "boot-1");
}

static void world_close(World *w)
{
        container_table_done(&w->containerd.containers);
        container_store_done(&w->containerd.store);
}

static void world_done(World *w)
{
        static const char *const suffixes[] = {"", "-wal", "-shm"};
        char path[80];

        world_close(w);
        for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
                (void)snprintf(path, sizeof(path), "%s%s", w->path, suffixes[i]);
                (void)unlink(path);
        }
        *strrchr(w->path, '/') = '\0';
        assert_ok(rmdir(w->path));
}

static void record_of(Container *container, const char *label)
{
        Runtime__V1__ContainerStatus status = RUNTIME__V1__CONTAINER_STATUS__INIT;
        Runtime__V1__ContainerMetadata metadata = RUNTIME__V1__CONTAINER_METADATA__INIT;
        Runtime__V1__ImageSpec image = RUNTIME__V1__IMAGE_SPEC__INIT;
        Runtime__V1__ContainerStatus__LabelsEntry first = RUNTIME__V1__CONTAINER_STATUS__LABELS_ENTRY__INIT, last = first;
        Runtime__V1__ContainerStatus__LabelsEntry *labels[] = {&first, &last};
        Bulkhead__RuntimeSpec__RuntimeSpec spec = BULKHEAD__RUNTIME_SPEC__RUNTIME_SPEC__INIT;
        Bulkhead__RuntimeSpec__ProcessSpec process = BULKHEAD__RUNTIME_SPEC__PROCESS_SPEC__INIT;
        Runtime__V1__ContainerConfig config = RUNTIME__V1__CONTAINER_CONFIG__INIT;
        uint8_t *bytes[3];
        size_t n[3];

        metadata.name = container->name;
        status.id = container->id;
        status.metadata = &metadata;
        status.image = &image;
        first.key = last.key = (char *)"app";
        first.value = (char *)"old";
        last.value = (char *)label;
        status.labels = labels;
        status.n_labels = 2;
        status.stop_signal = RUNTIME__V1__SIGNAL__SIGNAL_SIGUSR1;
        process.uid = 7;
        spec.process = &process;
        assert_ok(decode_pack(&status.base, &bytes[0], &n[0]));
        assert_ok(decode_pack(&spec.base, &bytes[1], &n[1]));
        assert_ok(decode_pack(&config.base, &bytes[2], &n[2]));
        assert_ok(container_set_record(container, bytes[0], n[0], bytes[1], n[1], bytes[2], n[2]));
}

static Container *world_add(World *w, const char *id, const char *pod_id, const char *name, uint32_t attempt, const char *label)
{
        Container *container = NULL;

        assert_ok(container_new(&container, &w->containerd, id, pod_id, name, attempt));
        container->created_nsec = 1000;
        assert_ok(container_table_add(&w->containerd.containers, container));
        assert_ok(container_store_insert(&w->containerd.store, container));
        record_of(container, label);
        assert_ok(container_store_record(&w->containerd.store, container, container->state));
        assert_ok(container_set_state(container, CONTAINER_STATE_CREATED, "test"));
        return container;
}

static void test_table(void)
{
        World w;
        Container *found = NULL, *twin = NULL;

        world_init(&w);
        Container *b = world_add(&w, id_of(1, "bb1"), id_of(0, "f"), "b", 0, "x");
        Container *a = world_add(&w, id_of(2, "aa"), id_of(0, "f"), "a", 0, "x");
        Container *c = world_add(&w, id_of(3, "bb2"), id_of(0, "f"), "a", 1, "x");
        const ContainerTable *table = &w.containerd.containers;
        for (size_t i = 1; i < table->n; i++)
                assert_true(strcmp(table->items[i - 1]->id, table->items[i]->id) < 0);
        assert_true(container_table_find(table, b->id) == b);
        assert_true(container_table_find(table, "bb1") == NULL);
        assert_eq_int(container_table_resolve(table, "bb", &found), CONTAINER_TABLE_E_AMBIGUOUS);
        assert_ok(container_table_resolve(table, "bb2", &found));
        assert_true(found == c);
        assert_ok(container_table_resolve(table, a->id, &found));
        assert_eq_int(container_table_resolve(table, "", &found), CONTAINER_TABLE_E_NOT_FOUND);
        assert_eq_int(container_table_resolve(table, "c", &found), CONTAINER_TABLE_E_NOT_FOUND);
        assert_true(container_table_find_key(table, id_of(0, "f"), "a", 1) == c);
        assert_true(container_table_find_key(table, id_of(0, "f"), "a", 2) == NULL);
        assert_ok(container_new(&twin, &w.containerd, a->id, id_of(0, "f"), "z", 0));
        assert_eq_int(container_table_add(&w.containerd.containers, twin), CONTAINER_TABLE_E_EXISTS);
        (void)container_free(twin);
        /* One that is still being made is nobody's business. */
        c->state = CONTAINER_STATE_CREATING;
        assert_ok(container_table_resolve(table, "bb", &found));
        assert_true(found == b);
        world_done(&w);
}

/* Runs the change in a child: it must abort unless the change is legal. */
static bool change_is_legal(Container *container, ContainerState state)
{
        pid_t pid = fork();
        int status = 0;

        assert_true(pid >= 0);
        if (pid == 0) {
                struct rlimit none = {0};
                (void)setrlimit(RLIMIT_CORE, &none);
                (void)close(STDERR_FILENO);
                container->has_row = false;
                _exit(container_set_state(container, state, "test") == 0 ? 0 : 1);
        }
        assert_true(waitpid(pid, &status, 0) == pid);
        return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void test_states(void)
{
        static const bool legal[CONTAINER_STATE_N][CONTAINER_STATE_N] = {
                [CONTAINER_STATE_CREATING] = {[CONTAINER_STATE_CREATED] = true},
                [CONTAINER_STATE_CREATED] = {[CONTAINER_STATE_STARTING] = true, [CONTAINER_STATE_EXITED] = true},
                [CONTAINER_STATE_STARTING] = {[CONTAINER_STATE_RUNNING] = true, [CONTAINER_STATE_EXITED] = true},
                [CONTAINER_STATE_RUNNING] = {[CONTAINER_STATE_EXITED] = true},
        };
        static const int cri[CONTAINER_STATE_N] = {0, 0, 0, 1, 2, 3};
        World w;

        world_init(&w);
        Container *container = world_add(&w, id_of(1, "a"), id_of(0, "f"), "a", 0, "x");
        for (ContainerState from = 0; from < CONTAINER_STATE_N; from++) {
                container->state = from;
                assert_eq_int(container_cri_state(container), cri[from]);
                for (ContainerState to = 0; to < CONTAINER_STATE_N; to++)
                        if (change_is_legal(container, to) != legal[from][to])
                                test_fail("%s -> %s", container_state_name(from), container_state_name(to));
        }
        container->state = CONTAINER_STATE_RUNNING;
        container->started_nsec = 500;
        container->end = (ContainerEnd){.exit_code = 0, .finished_nsec = 400};
        assert_ok(container_set_exited(container));
        assert_eq_str(container->reason, "Completed");
        assert_eq_int(container->finished_nsec, 500);
        world_done(&w);
}

static void test_rows(void)
{
        World w;
        Container *found;
        const char *a = id_of(1, "a"), *b = id_of(2, "b"), *c = id_of(3, "c"), *pod = id_of(0, "f");
        sqlite3 *raw = NULL;

        world_init(&w);
        Container *container = world_add(&w, a, pod, "a", 3, "x");
        container->runtime = 1;
        container->pid = 77;
        assert_ok(container_store_record(&w.containerd.store, container, container->state));
        assert_ok(container_set_state(container, CONTAINER_STATE_STARTING, "test"));
        container->started_nsec = 2000;
        assert_ok(container_set_state(container, CONTAINER_STATE_RUNNING, "test"));
        container->stop_deadline_usec = 123456;
        assert_ok(container_store_save(&w.containerd.store, container));
        (void)world_add(&w, b, pod, "b", 0, "x");
        (void)world_add(&w, c, pod, "c", 0, "x");
        assert_ok(container_new(&found, &w.containerd, id_of(4, "d"), pod, "a", 3));
        assert_eq_int(container_store_insert(&w.containerd.store, found), STORE_E_CONFLICT);
        (void)container_free(found);
        world_close(&w);

        /* Somebody spoils two rows: they are listed, own their names, and can be removed. */
        assert_eq_int(sqlite3_open(w.path, &raw), SQLITE_OK);
        char sql[256];
        (void)snprintf(sql, sizeof(sql), "UPDATE containers SET status = x'ffff' WHERE id = '%s';"
                                         "UPDATE containers SET handler = 'gone' WHERE id = '%s'", b, c);
        assert_eq_int(sqlite3_exec(raw, sql, NULL, NULL, NULL), SQLITE_OK);
        (void)sqlite3_close(raw);

        world_open(&w, "boot-1");
        assert_false(store_is_new_boot(w.containerd.store.store));
        assert_ok(container_store_load(&w.containerd.store, &w.containerd));
        assert_eq_int(w.containerd.containers.n, 3);
        found = container_table_find(&w.containerd.containers, a);
        assert_eq_int(found->state, CONTAINER_STATE_RUNNING);
        assert_eq_int(found->runtime, 1);
        assert_eq_int(found->pid, 77);
        assert_eq_int(found->started_nsec, 2000);
        assert_eq_int(found->stop_deadline_usec, 123456);
        assert_eq_int(found->record.stop_signal, SIGUSR1);
        assert_eq_int(found->record.uid, 7);
        for (size_t i = 0; i < 2; i++) {
                Runtime__V1__ContainerStatus status;
                StatusScratch scratch;
                found = container_table_find_key(&w.containerd.containers, pod, i ? "c" : "b", 0);
                assert_eq_int(found->state, CONTAINER_STATE_UNKNOWN);
                status_fill(found, &status, &scratch);
                assert_eq_int(status.state, RUNTIME__V1__CONTAINER_STATE__CONTAINER_UNKNOWN);
                assert_eq_str(status.id, found->id);
                assert_true(status.metadata->name[0] && status.image && status.image_ref[0] && status.created_at > 0);
        }
        uint64_t quarantined = 0;
        assert_ok(store_quarantined(w.containerd.store.store, "containers", &quarantined));
        assert_eq_int(quarantined, 2);
        assert_ok(container_store_remove(&w.containerd.store, found));
        assert_ok(store_quarantined(w.containerd.store.store, "containers", &quarantined));
        assert_eq_int(quarantined, 1);
        world_done(&w);
}

static void test_filters(void)
{
        World w;
        Runtime__V1__ContainerFilter filter = RUNTIME__V1__CONTAINER_FILTER__INIT;
        Runtime__V1__ContainerStateValue state = RUNTIME__V1__CONTAINER_STATE_VALUE__INIT;
        Runtime__V1__ContainerFilter__LabelSelectorEntry label = RUNTIME__V1__CONTAINER_FILTER__LABEL_SELECTOR_ENTRY__INIT,
                                                         *labels[] = {&label};

        world_init(&w);
        Container *container = world_add(&w, id_of(1, "abc"), id_of(2, "def"), "a", 0, "web");
        assert_true(status_matches(container, NULL));
        assert_true(status_matches(container, &filter));
        filter.id = (char *)"abc";
        filter.pod_sandbox_id = (char *)"def0";
        filter.state = &state;
        state.state = RUNTIME__V1__CONTAINER_STATE__CONTAINER_CREATED;
        label.key = (char *)"app";
        label.value = (char *)"web";
        filter.label_selector = labels;
        filter.n_label_selector = 1;
        assert_true(status_matches(container, &filter));
        container->state = CONTAINER_STATE_STARTING; /* created, for the world */
        assert_true(status_matches(container, &filter));
        label.value = (char *)"old"; /* of a key that is there twice the last one counts */
        assert_false(status_matches(container, &filter));
        label.value = (char *)"web";
        label.key = (char *)"none";
        assert_false(status_matches(container, &filter));
        label.key = (char *)"app";
        filter.id = (char *)"abd";
        assert_false(status_matches(container, &filter));
        filter.id = (char *)"";
        filter.pod_sandbox_id = (char *)"e";
        assert_false(status_matches(container, &filter));
        filter.pod_sandbox_id = (char *)"";
        state.state = RUNTIME__V1__CONTAINER_STATE__CONTAINER_EXITED;
        assert_false(status_matches(container, &filter));
        container->state = CONTAINER_STATE_CREATING;
        assert_false(status_matches(container, NULL));
        world_done(&w);
}

static void test_stop_signals(void)
{
        static const struct {
                const char *text;
                int wanted;
        } rows[] = {{"SIGTERM", 15}, {"term", 15}, {"SigUsr1", 10}, {"9", 9}, {"64", 64}, {"SIGRTMIN", 34}, {"RTMIN+3", 37},
                    {"SIGRTMAX-1", 63}, {"SIGRTMIN+31", 0}, {"SIGRTMIN+", 0}, {"65", 0}, {"-1", 0}, {"", 0}, {"SIG", 0}, {"SIGNOPE", 0},
                    {"0x9", 0}, {" 9", 0}};

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
                assert_eq_int(stop_signal_of_text(rows[i].text), rows[i].wanted);
        assert_eq_int(stop_signal_of_cri(RUNTIME__V1__SIGNAL__SIGNAL_SIGTERM), SIGTERM);
        assert_eq_int(stop_signal_of_cri(RUNTIME__V1__SIGNAL__SIGNAL_SIGRTMAX), 64);
        assert_eq_int(stop_signal_of_cri(RUNTIME__V1__SIGNAL__SIGNAL_RUNTIME_DEFAULT), 0);
        assert_eq_int(stop_signal_of_cri((Runtime__V1__Signal)66), 0);
        for (int signal = 1; signal <= 64; signal++) {
                Runtime__V1__Signal cri = stop_signal_to_cri(signal);
                if (cri != RUNTIME__V1__SIGNAL__SIGNAL_RUNTIME_DEFAULT)
                        assert_eq_int(stop_signal_of_cri(cri), signal);
                else
                        assert_true(signal == 32 || signal == 33); /* glibc's own */
        }
}

static void test_versions(void)
{
        static const struct {
                const char *version;
                bool wanted;
        } rows[] = {{"crun version 1.8.1", true}, {"crun version 1.4", true}, {"crun version 1.3.9", false}, {"crun version 2.0", true},
                    {"runc version 1.1.5+ds1", true}, {"runc version 1.0.3", false}, {"runc version 1.1.0-rc.1", true}, {"runc version", false},
                    {"runc version x", false}, {"youki version 9.9", false}, {"", false}, {"crun version 99999999999.1", false}};

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
                if (runtime_version_has_recursive_readonly(rows[i].version) != rows[i].wanted)
                        test_fail("%s", rows[i].version);
        assert_true(runtime_version_has_userns("crun version 1.8.1") && runtime_version_has_userns("runc version 1.1.5+ds1"));
        assert_false(runtime_version_has_userns("runsc version release-1") || runtime_version_has_userns("crun version 1.3"));
}

static void test_json(void)
{
        Runtime__V1__ContainerConfig config = RUNTIME__V1__CONTAINER_CONFIG__INIT;
        Runtime__V1__ContainerMetadata metadata = RUNTIME__V1__CONTAINER_METADATA__INIT;
        Runtime__V1__ContainerConfig__LabelsEntry entry = RUNTIME__V1__CONTAINER_CONFIG__LABELS_ENTRY__INIT, *labels[] = {&entry};
        Runtime__V1__KeyValue env = RUNTIME__V1__KEY_VALUE__INIT, *envs[] = {&env};
        char *args[] = {(char *)"a\"b", (char *)"\\", (char *)"\n"};
        _cleanup_(json_text_done) JsonText json = {0};

        metadata.name = (char *)"x";
        config.metadata = &metadata;
        config.args = args;
        config.n_args = 3;
        entry.key = (char *)"k";
        entry.value = (char *)"\xe2\x98\x83";
        config.labels = labels;
        config.n_labels = 1;
        env.key = (char *)"E";
        env.value = (ProtobufCBinaryData){.data = (uint8_t *)"\xff\x01", .len = 2};
        config.envs = envs;
        config.n_envs = 1;
        config.tty = true;
        json_text_open(&json, NULL, '{');
        json_text_integer(&json, "n", -5);
        json_text_message(&json, "config", &config.base);
        json_text_close(&json, '}');
        assert_eq_str(json_text_end(&json), "{\"n\":-5,\"config\":{\"metadata\":{\"name\":\"x\"},\"args\":[\"a\\u0022b\",\"\\u005c\",\"\\u000a\"],"
                                        "\"envs\":[{\"key\":\"E\",\"value\":\"\\ufffd\\u0001\"}],\"labels\":{\"k\":\"\xe2\x98\x83\"},"
                                        "\"tty\":true}}");
}

int main(void)
{
        TEST_RUN(test_table);
        TEST_RUN(test_states);
        TEST_RUN(test_rows);
        TEST_RUN(test_filters);
        TEST_RUN(test_stop_signals);
        TEST_RUN(test_versions);
        TEST_RUN(test_json);
        return 0;
}
