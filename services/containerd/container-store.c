/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/container-store.h"

#include "lib/error.h"
#include "lib/log.h"
#include "services/containerd/containerd.h"

#define CONTAINER_STORE_BLOB_MAX (8 * 1024 * 1024)
#define CONTAINER_STORE_TEXT_MAX 4096

static const char *const container_store_migrations[] = {
        "CREATE TABLE containers ("
        " id TEXT PRIMARY KEY,"
        " pod_id TEXT NOT NULL,"
        " name TEXT NOT NULL,"
        " attempt INTEGER NOT NULL,"
        " fingerprint BLOB NOT NULL,"
        " handler TEXT NOT NULL,"
        " state INTEGER NOT NULL,"
        " pid INTEGER NOT NULL DEFAULT 0,"
        " status BLOB,"
        " spec BLOB,"
        " config BLOB,"
        " created_nsec INTEGER NOT NULL,"
        " started_nsec INTEGER NOT NULL DEFAULT 0,"
        " finished_nsec INTEGER NOT NULL DEFAULT 0,"
        " exit_code INTEGER NOT NULL DEFAULT 0,"
        " reason TEXT,"
        " message TEXT,"
        " stop_deadline_usec INTEGER NOT NULL DEFAULT 0,"
        " removing INTEGER NOT NULL DEFAULT 0,"
        " UNIQUE (pod_id, name, attempt)"
        ") WITHOUT ROWID",
        "ALTER TABLE containers ADD COLUMN update_call BLOB",
};

int container_store_open(ContainerStore *store, const char *path, const char *boot_id)
{
        const StoreSpec spec = {.path = path,
                                .boot_id = boot_id,
                                .migrations = container_store_migrations,
                                .n_migrations = ARRAY_SIZE(container_store_migrations)};
        const StorePreparation statements[] = {
                {&store->insert, "INSERT INTO containers (id, pod_id, name, attempt, fingerprint, handler, state, created_nsec)"
                                 " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"},
                {&store->record, "UPDATE containers SET handler = ?, status = ?, spec = ?, config = ?, state = ?, update_call = NULL WHERE id = ?"},
                {&store->save, "UPDATE containers SET state = ?, pid = ?, started_nsec = ?, finished_nsec = ?, exit_code = ?, reason = ?,"
                               " message = ?, stop_deadline_usec = ?, removing = ? WHERE id = ?"},
                {&store->update, "UPDATE containers SET update_call = ? WHERE id = ?"},
                {&store->remove, "DELETE FROM containers WHERE id = ?"},
                {&store->load, "SELECT id, pod_id, name, attempt, fingerprint, handler, state, pid, status, spec, config, created_nsec,"
                               " started_nsec, finished_nsec, exit_code, reason, message, stop_deadline_usec, removing, update_call FROM containers"},
        };

        int r = store_open(&store->store, &spec);
        if (r == 0)
                r = store_prepare_all(store->store, statements, ARRAY_SIZE(statements));
        return r < 0 ? fold(r) : r;
}

void container_store_done(ContainerStore *store)
{
        store->store = store_close(store->store);
}

static const char *container_store_handler(const Container *container)
{
        return container->containerd->config->runtimes[container->runtime].handler;
}

int container_store_insert(ContainerStore *store, Container *container)
{
        int r = store_run(store->store, store->insert, STORE_TEXT(container->id), STORE_TEXT(container->pod_id),
                          STORE_TEXT(container->name), STORE_INTEGER(container->attempt),
                          STORE_BLOB(container->fingerprint, sizeof(container->fingerprint)),
                          STORE_TEXT(container_store_handler(container)), STORE_INTEGER(container->state),
                          STORE_INTEGER(container->created_nsec));
        container->has_row = r == 0;
        return r < 0 ? fold(r) : r;
}

int container_store_record(ContainerStore *store, Container *container, ContainerState state)
{
        const ContainerRecord *record = &container->record;

        int r = store_run(store->store, store->record, STORE_TEXT(container_store_handler(container)), STORE_BLOB(record->status_bytes, record->n_status),
                          STORE_BLOB(record->spec_bytes, record->n_spec), STORE_BLOB(record->config_bytes, record->n_config),
                          STORE_INTEGER(state), STORE_TEXT(container->id));
        return r < 0 ? fold(r) : r;
}

int container_store_save(ContainerStore *store, Container *container)
{
        if (!container->has_row || container->is_adopted) /* what cannot be read stays as it is until it is removed */
                return 0;
        int r = store_run(store->store, store->save, STORE_INTEGER(container->state), STORE_INTEGER(container->pid),
                          STORE_INTEGER(container->started_nsec), STORE_INTEGER(container->finished_nsec),
                          STORE_INTEGER(container->exit_code), STORE_TEXT(container->reason), STORE_TEXT(container->message),
                          STORE_INTEGER(container->stop_deadline_usec), STORE_INTEGER(container->is_removing),
                          STORE_TEXT(container->id));
        if (r == STORE_E_FULL && !container->is_unwritten)
                log_warning("container %s: its state %s is not written: the disk of the state directory is full; it is written "
                            "when there is space again", container->id, container_state_name(container->state));
        container->is_unwritten = r != 0;
        if (r == STORE_E_FULL)
                containerd_pulse_soon(container->containerd);
        return r < 0 ? fold(r) : 0;
}

int container_store_update(ContainerStore *store, Container *container, const uint8_t *bytes, size_t n)
{
        int r = store_run(store->store, store->update, STORE_BLOB(bytes, n), STORE_TEXT(container->id));

        return r < 0 ? fold(r) : r;
}

int container_store_remove(ContainerStore *store, Container *container)
{
        if (!container->has_row)
                return 0;
        int r = store_run(store->store, store->remove, STORE_TEXT(container->id));
        if (r == 0) {
                container->has_row = false;
                if (container->state == CONTAINER_STATE_UNKNOWN || container->is_adopted)
                        r = store_unquarantine(store->store, "containers", container->id);
        }
        return r < 0 ? fold(r) : r;
}

static bool container_store_copy_blob(StoreStatement *row, int column, uint8_t **ret, size_t *ret_n)
{
        const void *bytes = NULL;
        size_t n = 0;

        if (!store_column_blob(row, column, CONTAINER_STORE_BLOB_MAX, &bytes, &n))
                return false;
        *ret = malloc(MAX2(n, (size_t)1));
        if (*ret && n > 0)
                memcpy(*ret, bytes, n);
        *ret_n = n;
        return *ret != NULL;
}

/* NULL is a text, too: there is none. */
static bool container_store_copy_text(StoreStatement *row, int column, char **ret)
{
        const char *text = NULL;

        if (sqlite3_column_type(row, column) == SQLITE_NULL)
                return true;
        if (!store_column_text(row, column, CONTAINER_STORE_TEXT_MAX, &text))
                return false;
        *ret = strdup(text);
        return *ret != NULL;
}

static bool container_store_read_record(Container *container, StoreStatement *row)
{
        _cleanup_free_ uint8_t *status = NULL, *spec = NULL, *config = NULL;
        size_t n_status, n_spec, n_config;

        if (sqlite3_column_type(row, 8) == SQLITE_NULL)
                return container->state == CONTAINER_STATE_CREATING;
        if (!container_store_copy_blob(row, 8, &status, &n_status) || !container_store_copy_blob(row, 9, &spec, &n_spec) ||
            !container_store_copy_blob(row, 10, &config, &n_config))
                return false;
        return container_set_record(container, TAKE_PTR(status), n_status, TAKE_PTR(spec), n_spec, TAKE_PTR(config),
                                    n_config) == 0;
}

static bool container_store_read(Container *container, StoreStatement *row, const char **ret_why)
{
        const ConfigContainerd *config = container->containerd->config;
        const void *fingerprint = NULL;
        const char *handler = NULL;
        size_t n = 0;
        int64_t state, pid, exit_code, deadline, removing;

        *ret_why = "a column has another type or size than was written";
        if (!store_column_blob(row, 4, FINGERPRINT_BYTES, &fingerprint, &n) || n != FINGERPRINT_BYTES ||
            !store_column_text(row, 5, CONFIG_NAME_MAX - 1, &handler) ||
            !store_column_integer(row, 6, 0, CONTAINER_STATE_UNKNOWN - 1, &state) ||
            !store_column_integer(row, 7, 0, INT32_MAX, &pid) ||
            !store_column_integer(row, 11, 1, INT64_MAX, &container->created_nsec) ||
            !store_column_integer(row, 12, 0, INT64_MAX, &container->started_nsec) ||
            !store_column_integer(row, 13, 0, INT64_MAX, &container->finished_nsec) ||
            !store_column_integer(row, 14, INT32_MIN, INT32_MAX, &exit_code) ||
            !container_store_copy_text(row, 15, &container->reason) || !container_store_copy_text(row, 16, &container->message) ||
            !store_column_integer(row, 17, 0, INT64_MAX, &deadline) || !store_column_integer(row, 18, 0, 1, &removing))
                return false;
        if (sqlite3_column_type(row, 19) != SQLITE_NULL &&
            !container_store_copy_blob(row, 19, &container->update_bytes, &container->n_update_bytes))
                return false;
        memcpy(container->fingerprint, fingerprint, FINGERPRINT_BYTES);
        container->pid = (int32_t)pid;
        container->exit_code = (int32_t)exit_code;
        container->stop_deadline_usec = (uint64_t)deadline;
        container->is_removing = removing;
        container->state = (ContainerState)state;

        *ret_why = "its runtime handler is no longer configured";
        while (container->runtime < config->n_runtimes && !str_equal(config->runtimes[container->runtime].handler, handler))
                container->runtime++;
        if (container->runtime == config->n_runtimes) {
                container->runtime = 0;
                return false;
        }
        *ret_why = "its record does not decode";
        return container_store_read_record(container, row);
}

static int container_store_on_row(void *userdata, StoreStatement *row, const char **ret_why)
{
        Containerd *containerd = userdata;
        _cleanup_(container_freep) Container *container = NULL;
        const char *id = NULL, *pod_id = NULL, *name = NULL;
        int64_t attempt = 0;

        *ret_why = "its id cannot be read";
        if (!store_column_text(row, 0, ID_LENGTH, &id) || !id_is_valid(id))
                return 1;
        bool is_named = store_column_text(row, 1, ID_LENGTH, &pod_id) && id_is_valid(pod_id) &&
                        store_column_text(row, 2, CONTAINER_NAME_MAX, &name) &&
                        store_column_integer(row, 3, 0, UINT32_MAX, &attempt);
        int r = container_new(&container, containerd, id, pod_id ? pod_id : "", name ? name : "unreadable", (uint32_t)attempt);
        if (r < 0)
                return fold(r);
        container->has_row = true;
        *ret_why = "its pod, name or attempt cannot be read";
        bool is_read = is_named && container_store_read(container, row, ret_why);
        if (!is_read) {
                container->state = CONTAINER_STATE_UNKNOWN;
                free(container->message);
                container->message = strdup(*ret_why);
                log_warning("container %s: its row cannot be used: %s; it is listed as unknown, remove it", id, *ret_why);
        }
        r = container_table_add(&containerd->containers, container);
        if (r)
                return r < 0 ? fold(r) : 1;
        (void)TAKE_PTR(container);
        return is_read ? 0 : 1;
}

int container_store_load(ContainerStore *store, Containerd *containerd)
{
        int r = store_each(store->store, store->load, "containers", container_store_on_row, containerd);
        return r < 0 ? fold(r) : 0;
}
