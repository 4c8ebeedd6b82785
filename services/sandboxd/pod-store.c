/* SPDX-License-Identifier: Apache-2.0 */

/* What sandboxd remembers. A pod's row is written before anything is made for it and goes after everything is undone. */

#include "lib/error.h"
#include "lib/log.h"
#include "services/sandboxd/remnant.h"

#define POD_STORE_REQUEST_MAX (4 * 1024 * 1024)
#define POD_STORE_KEY_MAX 4096

static const char *const pod_store_migrations[] = {
        "CREATE TABLE pods (id TEXT PRIMARY KEY, pod_key TEXT NOT NULL UNIQUE, request BLOB NOT NULL, permit BLOB NOT NULL,"
        " state INTEGER NOT NULL, created_nsec INTEGER NOT NULL, network_pin TEXT NOT NULL, has_network INTEGER NOT NULL,"
        " init_pid INTEGER NOT NULL, result BLOB) WITHOUT ROWID;"
        "CREATE TABLE leases (container TEXT PRIMARY KEY, pod TEXT NOT NULL) WITHOUT ROWID;",
        "ALTER TABLE pods ADD COLUMN resources BLOB",
};

typedef struct PodStatements {
        StoreStatement *put, *rewrite, *remove, *put_lease, *remove_lease, *remove_leases, *remove_all_leases, *remove_nameless,
                *load, *load_leases;
} PodStatements;

int pod_store_open(Sandboxd *sandboxd, const char *path, const char *boot_id)
{
        const StoreSpec spec = {
                .path = path,
                .boot_id = boot_id,
                .migrations = pod_store_migrations,
                .n_migrations = ARRAY_SIZE(pod_store_migrations),
        };
        int r = store_open(&sandboxd->store, &spec);
        if (r)
                return r < 0 ? fold(r) : r;
        PodStatements *s = sandboxd->statements = calloc(1, sizeof(*s));
        if (!s)
                return error_origin(-ENOMEM);
        const StorePreparation all[] = {
                {&s->put, "INSERT INTO pods VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET state = excluded.state,"
                          " network_pin = excluded.network_pin, has_network = excluded.has_network, init_pid = excluded.init_pid,"
                          " result = excluded.result, resources = excluded.resources"},
                {&s->rewrite, "INSERT INTO pods VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET pod_key = excluded.pod_key,"
                              " request = excluded.request, permit = excluded.permit, state = excluded.state, created_nsec = excluded.created_nsec,"
                              " network_pin = excluded.network_pin, has_network = excluded.has_network, init_pid = excluded.init_pid,"
                              " result = excluded.result, resources = excluded.resources"},
                {&s->remove, "DELETE FROM pods WHERE id = ?"},
                {&s->put_lease, "INSERT OR REPLACE INTO leases VALUES (?, ?)"},
                {&s->remove_lease, "DELETE FROM leases WHERE container = ?"},
                {&s->remove_leases, "DELETE FROM leases WHERE pod = ?"},
                {&s->remove_all_leases, "DELETE FROM leases"},
                {&s->remove_nameless, "DELETE FROM pods WHERE typeof(id) <> 'text' OR length(id) <> 64 OR id GLOB '*[^0-9a-f]*'"},
                {&s->load, "SELECT id, request, permit, state, created_nsec, network_pin, has_network, init_pid, result, resources, pod_key FROM pods"},
                {&s->load_leases, "SELECT container, pod FROM leases"},
        };
        return fold(store_prepare_all(sandboxd->store, all, ARRAY_SIZE(all)));
}

void pod_store_close(Sandboxd *sandboxd)
{
        if (sandboxd->store)
                sandboxd->store = store_close(sandboxd->store);
        free(TAKE_PTR(sandboxd->statements));
}

static uint8_t *pod_store_copy(const void *bytes, size_t n)
{
        uint8_t *copy = malloc(n ? n : 1);
        if (copy)
                memcpy(copy, bytes, n);
        return copy;
}

/* What of the row can be read: the request, else the key. The pod is listed, and may be in use. */
static int pod_store_quarantine(Sandboxd *sandboxd, StoreStatement *row, const char *why)
{
        const char *id, *key = NULL;
        const void *request, *permit;
        size_t n_request, n_permit;
        int64_t created = 0;
        Pod *pod;
        if (!store_column_text(row, 0, ID_LENGTH, &id) || !id_is_valid(id)) {
                sandboxd->n_lost_ids++;
                log_error("a pod's row cannot be used: its id cannot be read; what there is of it is looked for on the node");
                return 0;
        }
        (void)store_column_text(row, 10, POD_STORE_KEY_MAX, &key);
        int r = remnant_new(&pod, sandboxd, id, key);
        if (r < 0)
                return fold(r);
        if (store_column_integer(row, 4, 1, INT64_MAX, &created))
                pod->created_nsec = created;
        if (store_column_blob(row, 2, sizeof(Permit), &permit, &n_permit) && n_permit == sizeof(Permit) &&
            store_column_blob(row, 1, POD_STORE_REQUEST_MAX, &request, &n_request)) {
                uint8_t *packed = pod_store_copy(request, n_request);
                if (!packed)
                        return error_origin(-ENOMEM);
                r = pod_set_request(pod, packed, n_request, permit); /* if it decodes */
        }
        char title[256];
        log_error("pod %s (%.13s): its row cannot be used: %s; it is listed as not ready and keeps its name, network and namespaces: "
                  "stop and remove it", pod_title(pod, title), id, why);
        return r < 0 ? fold(r) : 0;
}

static int pod_store_read_pod(void *userdata, StoreStatement *row, const char **ret_why)
{
        Sandboxd *sandboxd = userdata;
        const char *id, *pin;
        const void *request, *permit, *result = NULL, *resources = NULL;
        size_t n_request, n_permit, n_result = 0, n_resources = 0;
        int64_t state, created, has_network, init_pid;
        bool has_result = sqlite3_column_type(row, 8) != SQLITE_NULL;
        bool has_resources = sqlite3_column_type(row, 9) != SQLITE_NULL;
        if (!store_column_text(row, 0, ID_LENGTH, &id) || !id_is_valid(id) ||
            !store_column_blob(row, 1, POD_STORE_REQUEST_MAX, &request, &n_request) ||
            !store_column_blob(row, 2, sizeof(Permit), &permit, &n_permit) || n_permit != sizeof(Permit) ||
            !store_column_integer(row, 3, 0, POD_STATE_N - 1, &state) || !store_column_integer(row, 4, 0, INT64_MAX, &created) ||
            !store_column_text(row, 5, 127, &pin) || !store_column_integer(row, 6, 0, 1, &has_network) ||
            !store_column_integer(row, 7, 0, INT32_MAX, &init_pid) ||
            (has_result && !store_column_blob(row, 8, POD_STORE_REQUEST_MAX, &result, &n_result)) ||
            (has_resources && !store_column_blob(row, 9, POD_STORE_REQUEST_MAX, &resources, &n_resources))) {
                *ret_why = "a column of the pod is not what was written";
                return 1;
        }
        uint8_t *packed = pod_store_copy(request, n_request);
        if (!packed)
                return error_origin(-ENOMEM);
        Pod *pod;
        int r = pod_new(&pod, sandboxd, id, packed, n_request, permit);
        if (r == POD_E_REQUEST) {
                *ret_why = "its request does not decode";
                return 1;
        }
        if (r < 0)
                return fold(r);
        pod->state = (PodState)state;
        pod->created_nsec = created;
        pod->has_network = has_network;
        pod->init_pid = (int32_t)init_pid;
        (void)str_copy(pod->network_pin, sizeof(pod->network_pin), pin);
        list_append(&sandboxd->pods, &pod->link);
        if (has_resources) {
                pod->resources_packed = pod_store_copy(resources, n_resources);
                pod->n_resources_packed = n_resources;
                if (!pod->resources_packed)
                        return error_origin(-ENOMEM);
        }
        if (has_result) {
                packed = pod_store_copy(result, n_result);
                if (!packed)
                        return error_origin(-ENOMEM);
                r = pod_set_result(pod, packed, n_result); /* if it decodes: only what Status says of its address is in it */
                if (r < 0)
                        return fold(r);
        }
        return 0;
}

static int pod_store_on_pod(void *userdata, StoreStatement *row, const char **ret_why)
{
        int r = pod_store_read_pod(userdata, row, ret_why);
        if (r <= 0)
                return r < 0 ? fold(r) : 0;
        r = pod_store_quarantine(userdata, row, *ret_why);
        return r < 0 ? fold(r) : 1;
}

static int pod_store_on_lease(void *userdata, StoreStatement *row, const char **ret_why)
{
        Sandboxd *sandboxd = userdata;
        const char *container, *id;
        if (!store_column_text(row, 0, ID_LENGTH, &container) || !id_is_valid(container) || !store_column_text(row, 1, ID_LENGTH, &id) ||
            !id_is_valid(id)) {
                *ret_why = "a column of the lease is not what was written";
                return 1;
        }
        Pod *pod = pods_find(sandboxd, id);
        Lease *lease;
        int r = 0;
        if (!pod) { /* its row has lost its id, or is gone */
                log_error("pod %.13s: container %.13s holds a lease on it, but it has no row; it is listed as not ready: stop and remove it",
                          id, container);
                r = remnant_new(&pod, sandboxd, id, NULL);
        }
        if (r == 0)
                r = lease_new(&lease, pod, container);
        return fold(r);
}

int pod_store_load(Sandboxd *sandboxd)
{
        const PodStatements *s = sandboxd->statements;
        int r = store_each(sandboxd->store, s->load, "pods", pod_store_on_pod, sandboxd);
        /* What they were of is looked for instead, at every start until all of it has rows again. */
        if (r == 0 && sandboxd->n_lost_ids > 0)
                r = store_note_loss(sandboxd->store);
        if (r == 0 && sandboxd->n_lost_ids > 0)
                r = store_run(sandboxd->store, s->remove_nameless);
        /* Nothing of the last boot runs any more, so nothing holds a pod. */
        if (r >= 0 && store_is_new_boot(sandboxd->store))
                r = store_run(sandboxd->store, s->remove_all_leases);
        if (r >= 0 && !store_is_new_boot(sandboxd->store))
                r = store_each(sandboxd->store, s->load_leases, "leases", pod_store_on_lease, sandboxd);
        return r < 0 ? fold(r) : 0;
}

static int pod_store_write(Sandboxd *sandboxd, StoreStatement *statement, const Pod *pod)
{
        int r = store_run(sandboxd->store, statement, STORE_TEXT(pod->id), STORE_TEXT(pod->key),
                          STORE_BLOB(pod->packed, pod->n_packed), STORE_BLOB(&pod->permit, sizeof(pod->permit)), STORE_INTEGER(pod->state),
                          STORE_INTEGER(pod->created_nsec), STORE_TEXT(pod->network_pin), STORE_INTEGER(pod->has_network),
                          STORE_INTEGER(pod->init_pid), STORE_BLOB(pod->result_packed, pod->n_result_packed),
                          STORE_BLOB(pod->resources_packed, pod->n_resources_packed));
        if (r > 0)
                log_warning("pod %.13s: its state could not be recorded: %s", pod->id, store_error_text(sandboxd->store));
        return r < 0 ? fold(r) : r;
}

int pod_store_put(Sandboxd *sandboxd, const Pod *pod)
{
        return fold(pod_store_write(sandboxd, sandboxd->statements->put, pod));
}

int pod_store_rewrite(Sandboxd *sandboxd, const Pod *pod)
{
        int r = pod_store_write(sandboxd, sandboxd->statements->rewrite, pod);
        if (r == 0)
                r = store_unquarantine(sandboxd->store, "pods", pod->id);
        return r < 0 ? fold(r) : r;
}

int pod_store_delete(Sandboxd *sandboxd, const Pod *pod)
{
        int r = store_run(sandboxd->store, sandboxd->statements->remove_leases, STORE_TEXT(pod->id));
        if (r == 0)
                r = store_run(sandboxd->store, sandboxd->statements->remove, STORE_TEXT(pod->id));
        if (r == 0)
                r = store_unquarantine(sandboxd->store, "pods", pod->id);
        return r < 0 ? fold(r) : r;
}

int pod_store_put_lease(Sandboxd *sandboxd, const Pod *pod, const Lease *lease)
{
        int r = store_run(sandboxd->store, sandboxd->statements->put_lease, STORE_TEXT(lease->container_id), STORE_TEXT(pod->id));
        return r < 0 ? fold(r) : r;
}

int pod_store_delete_lease(Sandboxd *sandboxd, const char *container_id)
{
        int r = store_run(sandboxd->store, sandboxd->statements->remove_lease, STORE_TEXT(container_id));
        return r < 0 ? fold(r) : r;
}
