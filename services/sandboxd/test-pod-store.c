/* SPDX-License-Identifier: Apache-2.0 */

/* The rows of pods: what cannot be read is listed all the same, owns its name, and is whole again once it was written again. */

#include "lib/test.h"
#include "services/sandboxd/remnant.h"
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/bulkhead-test-pods.XXXXXX";
static char path[64];
static const char id_a[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
static const char id_b[] = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
static const char id_c[] = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc";

static void world_open(Sandboxd *w, const char *boot_id)
{
        *w = (Sandboxd){0};
        list_init(&w->pods);
        list_init(&w->leftovers);
        assert_ok(pod_store_open(w, path, boot_id));
        assert_ok(pod_store_load(w));
}

static void world_close(Sandboxd *w)
{
        list_for_each_safe(i, n, &w->pods)
                (void)pod_free(container_of(i, Pod, link));
        pod_store_close(w);
}

static void clean(void)
{
        char command[96];
        snprintf(command, sizeof(command), "rm -rf %s/*", dir);
        assert_eq_int(system(command), 0);
}

/* A READY pod, with a label, as CRI asks for one. */
static Pod *pod_add(Sandboxd *w, const char *id, const char *name, const char *namespace, const char *uid)
{
        PodRequest request = RUNTIME__V1__RUN_POD_SANDBOX_REQUEST__INIT;
        Runtime__V1__PodSandboxConfig config = RUNTIME__V1__POD_SANDBOX_CONFIG__INIT;
        Runtime__V1__PodSandboxMetadata metadata = RUNTIME__V1__POD_SANDBOX_METADATA__INIT;
        Runtime__V1__PodSandboxConfig__LabelsEntry label = RUNTIME__V1__POD_SANDBOX_CONFIG__LABELS_ENTRY__INIT, *labels = &label;
        Permit permit = {0};
        uint8_t *packed = NULL;
        size_t n = 0;
        Pod *pod;
        label.key = (char *)"app";
        label.value = (char *)"web";
        metadata.name = (char *)name;
        metadata.namespace_ = (char *)namespace;
        metadata.uid = (char *)uid;
        metadata.attempt = 7;
        config.metadata = &metadata;
        config.n_labels = 1;
        config.labels = &labels;
        request.config = &config;
        assert_ok(decode_pack(&request.base, &packed, &n));
        assert_ok(pod_new(&pod, w, id, packed, n, &permit));
        pod->state = POD_STATE_READY;
        pod->created_nsec = 12345;
        pod->has_network = true;
        (void)str_copy(pod->network_pin, sizeof(pod->network_pin), "bh-pin");
        list_append(&w->pods, &pod->link);
        assert_ok(pod_store_put(w, pod));
        return pod;
}

static void lease_add(Sandboxd *w, Pod *pod, const char *container)
{
        Lease *lease;
        assert_ok(lease_new(&lease, pod, container));
        assert_ok(pod_store_put_lease(w, pod, lease));
}

static void spoil(const char *sql)
{
        sqlite3 *database;
        assert_eq_int(sqlite3_open(path, &database), SQLITE_OK);
        assert_eq_int(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK);
        sqlite3_close(database);
}

static const Runtime__V1__PodSandboxMetadata *metadata_of(const Pod *pod)
{
        return pod->request->config->metadata;
}

/* Whatever column is spoilt: it is listed, by its name, as something that may be in use. */
static void test_quarantine(void)
{
        static const struct {
                const char *sql;
                bool has_request;
        } cases[] = {
                {"UPDATE pods SET request = x'ff' WHERE id LIKE 'a%'", false},
                {"UPDATE pods SET request = 5 WHERE id LIKE 'a%'", false},
                {"UPDATE pods SET permit = x'00' WHERE id LIKE 'a%'", false},
                {"UPDATE pods SET state = 99 WHERE id LIKE 'a%'", true},
                {"UPDATE pods SET created_nsec = 'x' WHERE id LIKE 'a%'", true},
                {"UPDATE pods SET network_pin = x'00' WHERE id LIKE 'a%'", true},
                {"UPDATE pods SET init_pid = -1 WHERE id LIKE 'a%'", true},
                {"UPDATE pods SET result = 'text' WHERE id LIKE 'a%'", true},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                Sandboxd w;
                char trouble[STORE_TROUBLE_MAX];
                world_open(&w, "boot-1");
                Pod *pod = pod_add(&w, id_a, "a_name", "a_space", "uid_1_2");
                (void)pod_add(&w, id_b, "other", "a_space", "uid");
                lease_add(&w, pod, id_c);
                world_close(&w);
                spoil(cases[i].sql);

                world_open(&w, "boot-1");
                pod = pods_resolve(&w, "aaa");
                assert_true(pod != NULL);
                assert_eq_int(pod->state, POD_STATE_UNKNOWN);
                assert_true(pod_is_listed(pod) && pod->is_unresolved && pod->has_network);
                assert_eq_str(metadata_of(pod)->name, "a_name");
                assert_eq_str(metadata_of(pod)->namespace_, "a_space");
                assert_eq_str(metadata_of(pod)->uid, "uid_1_2");
                assert_eq_int(metadata_of(pod)->attempt, 7);
                assert_eq_int(pod->request->config->n_labels, cases[i].has_request ? 1 : 0);
                assert_true(pods_find_key(&w, "6_7_a_name_a_space_uid_1_2_7") == pod);
                assert_true(pod_find_lease(pod, id_c) != NULL);
                assert_eq_int(pods_find(&w, id_b)->state, POD_STATE_READY);
                assert_true(store_trouble(w.store, trouble));
                assert_eq_int(w.n_lost_ids, 0);

                /* Once sandboxd-setup was asked it has a whole row, and stays what it is. */
                assert_ok(pod_store_rewrite(&w, pod));
                assert_false(store_trouble(w.store, trouble));
                world_close(&w);
                world_open(&w, "boot-1");
                pod = pods_find(&w, id_a);
                assert_eq_int(pod->state, POD_STATE_UNKNOWN);
                assert_false(pod->is_unresolved);
                assert_eq_str(metadata_of(pod)->name, "a_name");
                assert_true(pod_find_lease(pod, id_c) != NULL);
                assert_ok(pod_set_state(pod, POD_STATE_ENDING, "test"));
                assert_ok(pod_set_state(pod, POD_STATE_STOPPED, "test"));
                assert_ok(pod_store_delete(&w, pod));
                world_close(&w);
                world_open(&w, "boot-1");
                assert_true(pods_find(&w, id_a) == NULL);
                world_close(&w);
                clean();
        }
}

/* A key that says nothing: the pod is known by its id. */
static void test_nameless(void)
{
        static const char *const keys[] = {"''", "'5_5_a'", "'99_1_a_b_c_0'", "'1_1_a_b_c_x'", "'1_1_a_b__0'", "x'00'", "'18446744073709551615_1_a_b_c_0'"};
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
                Sandboxd w;
                char sql[128];
                world_open(&w, "boot-1");
                (void)pod_add(&w, id_a, "a", "b", "c");
                world_close(&w);
                snprintf(sql, sizeof(sql), "UPDATE pods SET request = x'ff', pod_key = %s", keys[i]);
                spoil(sql);
                world_open(&w, "boot-1");
                Pod *pod = pods_find(&w, id_a);
                assert_eq_str(metadata_of(pod)->name, "unknown");
                assert_eq_str(metadata_of(pod)->uid, id_a);
                world_close(&w);
                clean();
        }
}

/* A row whose id is gone: what there is is looked for, and only then the row goes. */
static void test_lost_id(void)
{
        Sandboxd w;
        Pod *pod;
        world_open(&w, "boot-1");
        (void)pod_add(&w, id_a, "a", "b", "c");
        (void)pod_add(&w, id_b, "d", "b", "c");
        world_close(&w);
        spoil("UPDATE pods SET id = 'aaa' WHERE id LIKE 'a%'");
        for (size_t i = 0; i < 2; i++) { /* it counts as a loss until that is over, whatever becomes of the process */
                world_open(&w, "boot-1");
                assert_eq_int(w.n_lost_ids, i == 0);
                assert_true(store_was_replaced(w.store));
                assert_true(pods_find(&w, id_b) != NULL);
                assert_true(pods_resolve(&w, "aaa") == NULL);
                if (i == 0)
                        world_close(&w);
        }
        assert_ok(remnant_new(&pod, &w, id_a, "1_1_a_b_c_7")); /* its pins were found */
        assert_ok(pod_store_rewrite(&w, pod));
        assert_ok(store_replacement_done(w.store));
        world_close(&w);
        world_open(&w, "boot-1");
        assert_false(store_was_replaced(w.store));
        assert_eq_int(pods_find(&w, id_a)->state, POD_STATE_UNKNOWN);
        assert_true(pods_find(&w, id_b) != NULL);
        world_close(&w);
        clean();
}

/* A lease says that there is a pod. */
static void test_lease_without_pod(void)
{
        Sandboxd w;
        world_open(&w, "boot-1");
        lease_add(&w, pod_add(&w, id_a, "a", "b", "c"), id_c);
        world_close(&w);
        spoil("DELETE FROM pods");
        world_open(&w, "boot-1");
        Pod *pod = pods_find(&w, id_a);
        assert_true(pod && pod->state == POD_STATE_UNKNOWN && pod->is_unresolved);
        assert_true(pod_find_lease(pod, id_c) != NULL);
        world_close(&w);
        clean();
}

/* With the machine everything ended that could hold a pod. */
static void test_new_boot(void)
{
        Sandboxd w;
        world_open(&w, "boot-1");
        lease_add(&w, pod_add(&w, id_a, "a", "b", "c"), id_c);
        world_close(&w);
        world_open(&w, "boot-1");
        assert_true(pod_find_lease(pods_find(&w, id_a), id_c) != NULL);
        world_close(&w);
        for (size_t i = 0; i < 2; i++) {
                world_open(&w, "boot-2");
                assert_eq_int(store_is_new_boot(w.store), i == 0);
                assert_true(pod_find_lease(pods_find(&w, id_a), id_c) == NULL);
                world_close(&w);
        }
        clean();
}

/* A request that does not decode leaves the pod what it was. */
static void test_set_request(void)
{
        Sandboxd w;
        world_open(&w, "boot-1");
        Pod *pod = pod_add(&w, id_a, "a", "b", "c");
        uint8_t *bytes = calloc(1, 4);
        const Permit permit = {.flags = 1};
        memset(bytes, 0xff, 4);
        assert_eq_int(pod_set_request(pod, bytes, 4, &permit), POD_E_REQUEST);
        assert_eq_str(metadata_of(pod)->name, "a");
        assert_eq_int(pod->permit.flags, 0);
        assert_eq_int(pod_set_request(pod, calloc(1, 1), 0, &permit), POD_E_REQUEST); /* no metadata */
        world_close(&w);
        clean();
}

int main(void)
{
        assert_true(mkdtemp(dir) != NULL);
        snprintf(path, sizeof(path), "%s/db", dir);
        TEST_RUN(test_quarantine);
        TEST_RUN(test_nameless);
        TEST_RUN(test_lost_id);
        TEST_RUN(test_lease_without_pod);
        TEST_RUN(test_new_boot);
        TEST_RUN(test_set_request);
        return rmdir(dir);
}
