/* SPDX-License-Identifier: Apache-2.0 */
#include "services/store.h"

#include "lib/clock.h"
#include "lib/error.h"
#include "lib/strings.h"
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

/* A database that works on a full disk.
 *
 * Removing a pod or a container is what frees space, and it has to be written down. A write-ahead log that is cut back
 * after each checkpoint needs free blocks for every commit, so the log is grown once, while there is room, and kept:
 * exclusive locking before WAL (no shared memory file), journal_size_limit -1 and PERSIST_WAL (never cut), one blob of
 * RESERVE_BYTES written with automatic checkpoints off (so that all of it goes through the log), deleted (its pages
 * become free pages of the database file, so that checkpoints need no new blocks either), and a checkpoint that makes the
 * log start from its beginning. From then on a checkpoint every WAL_PAGES pages stays far inside the reserve.
 *
 * synchronous=NORMAL: a commit is in the page cache, which outlives SIGKILL of this process; a power cut may lose the last
 * commits but not the file's consistency, and after a reboot the owner compares with what is there anyway. */
#define RESERVE_BYTES (4 * 1024 * 1024)
#define RESERVE_LOW_BYTES (1024 * 1024) /* below this many free bytes inside the file the reserve is made again */
#define WAL_PAGES "200"
#define CACHE_KIB "512"
#define STORE_ASIDE "%s.corrupt-%u"
#define STORE_ASIDE_MAX 100

struct Store {
        sqlite3 *database; /* owned */
        StoreStatement *begin, *commit, *rollback, *note, *unnote, *count;
        char *path;
        uint64_t n_noted;     /* rows in the quarantine */
        unsigned n_aside;     /* the newest broken file's number; 0: none lies beside ours */
        bool new_boot;
        bool is_replacement;  /* made now, in the place of a broken one */
        bool replaced;        /* the same, or earlier, and its owner has not got over it */
        bool reserved;
        char error[256];
};

static const char store_schema_own[] =
        "CREATE TABLE IF NOT EXISTS store_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
        "CREATE TABLE IF NOT EXISTS store_quarantine (origin TEXT NOT NULL, key TEXT NOT NULL, why TEXT NOT NULL,"
        " since INTEGER NOT NULL, PRIMARY KEY (origin, key)) WITHOUT ROWID;"
        "CREATE TABLE IF NOT EXISTS store_reserve (bytes BLOB);";

/* Outcome or errno of a result code of SQLite's. */
static int store_outcome(Store *store, int code)
{
        if (code == SQLITE_OK || code == SQLITE_DONE || code == SQLITE_ROW)
                return 0;
        snprintf(store->error, sizeof(store->error), "%s: %s (%d)", sqlite3_errstr(code),
                 store->database ? sqlite3_errmsg(store->database) : "no database", code);
        int system_errno = store->database ? sqlite3_system_errno(store->database) : 0;
        switch (code & 0xff) {
        case SQLITE_FULL:
                return STORE_E_FULL;
        case SQLITE_CONSTRAINT:
                return STORE_E_CONFLICT;
        case SQLITE_NOMEM:
                return error_origin(-ENOMEM);
        case SQLITE_IOERR:
                if (system_errno == ENOSPC || system_errno == EDQUOT)
                        return STORE_E_FULL;
                return error_origin(-EIO);
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
                return error_origin(-EBADMSG);
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
                return error_origin(-EBUSY);
        default:
                return error_origin(-EIO);
        }
}

static int store_exec(Store *store, const char *sql)
{
        return store_outcome(store, sqlite3_exec(store->database, sql, NULL, NULL, NULL));
}

/* The first column of the first row of a pragma or query, as an integer. */
static int store_query_integer(Store *store, const char *sql, int64_t *ret)
{
        sqlite3_stmt *statement = NULL;
        int code = sqlite3_prepare_v2(store->database, sql, -1, &statement, NULL);
        if (code == SQLITE_OK) {
                code = sqlite3_step(statement);
                if (code == SQLITE_ROW)
                        *ret = sqlite3_column_int64(statement, 0);
        }
        int r = store_outcome(store, code);
        sqlite3_finalize(statement);
        return r;
}

int store_prepare(Store *store, const char *sql, StoreStatement **ret)
{
        int code = sqlite3_prepare_v3(store->database, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL);
        int r = store_outcome(store, code);
        if (r > 0)
                return error_origin(-EIO); /* preparing writes nothing: no outcome of a write can come from it */
        return r < 0 ? fold(r) : 0;
}

int store_prepare_all(Store *store, const StorePreparation *preparations, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                int r = store_prepare(store, preparations[i].sql, preparations[i].ret);
                if (r < 0)
                        return fold(r);
        }
        return 0;
}

int store_run_values(Store *store, StoreStatement *statement, const StoreValue *values, size_t n)
{
        if ((size_t)sqlite3_bind_parameter_count(statement) != n)
                return error_origin(-EINVAL);
        int code = SQLITE_OK;
        for (size_t i = 1; i <= n && code == SQLITE_OK; i++) {
                const StoreValue *v = &values[i];
                switch (v->type) {
                case SQLITE_INTEGER:
                        code = sqlite3_bind_int64(statement, (int)i, v->integer);
                        break;
                case SQLITE_TEXT:
                        code = sqlite3_bind_text64(statement, (int)i, v->bytes, v->n, SQLITE_STATIC, SQLITE_UTF8);
                        break;
                case SQLITE_BLOB:
                        code = sqlite3_bind_blob64(statement, (int)i, v->bytes, v->n, SQLITE_STATIC);
                        break;
                default:
                        code = sqlite3_bind_null(statement, (int)i);
                        break;
                }
        }
        if (code == SQLITE_OK)
                code = sqlite3_step(statement);
        int r = store_outcome(store, code);
        sqlite3_reset(statement);
        sqlite3_clear_bindings(statement); /* the values are the caller's */
        return r;
}

static int store_note(Store *store, const char *origin, StoreStatement *row, const char *why)
{
        const char *key = (const char *)sqlite3_column_text(row, 0);
        int r = store_run(store, store->note, STORE_TEXT(origin), STORE_TEXT(key ? key : "?"),
                          STORE_TEXT(why ? why : "unreadable"), STORE_INTEGER(clock_realtime_nsec()));
        if (r == 0)
                store->n_noted += (uint64_t)sqlite3_changes(store->database);
        return r;
}

int store_each(Store *store, StoreStatement *statement, const char *origin, StoreRow on_row, void *userdata)
{
        int code, r = 0;
        while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
                const char *why = NULL;
                r = on_row(userdata, statement, &why);
                if (r > 0)
                        r = store_note(store, origin, statement, why);
                if (r > 0)
                        r = 0; /* the note finds no room: the row is still there, and is noted at the next start */
                if (r < 0)
                        break;
        }
        if (r == 0)
                r = store_outcome(store, code);
        sqlite3_reset(statement);
        if (r > 0)
                return error_origin(-EIO); /* reading has no outcomes of a write */
        return r < 0 ? fold(r) : 0;
}

int store_quarantined(Store *store, const char *origin, uint64_t *ret)
{
        int code = origin ? sqlite3_bind_text(store->count, 1, origin, -1, SQLITE_STATIC)
                          : sqlite3_bind_null(store->count, 1);
        uint64_t n = 0;
        if (code == SQLITE_OK)
                code = sqlite3_step(store->count);
        if (code == SQLITE_ROW)
                n = (uint64_t)sqlite3_column_int64(store->count, 0);
        int r = store_outcome(store, code);
        sqlite3_reset(store->count);
        sqlite3_clear_bindings(store->count);
        if (r != 0)
                return r < 0 ? fold(r) : error_origin(-EIO);
        *ret = n;
        return 0;
}

int store_unquarantine(Store *store, const char *origin, const char *key)
{
        int r = store_run(store, store->unnote, STORE_TEXT(origin), STORE_TEXT(key));
        if (r == 0)
                store->n_noted -= (uint64_t)sqlite3_changes(store->database);
        return r;
}

bool store_column_text(StoreStatement *row, int column, size_t max, const char **ret)
{
        if (sqlite3_column_type(row, column) != SQLITE_TEXT)
                return false;
        const char *s = (const char *)sqlite3_column_text(row, column);
        size_t n = (size_t)sqlite3_column_bytes(row, column);
        if (!s || n > max || strlen(s) != n)
                return false;
        *ret = s;
        return true;
}

bool store_column_blob(StoreStatement *row, int column, size_t max, const void **ret, size_t *ret_n)
{
        if (sqlite3_column_type(row, column) != SQLITE_BLOB)
                return false;
        size_t n = (size_t)sqlite3_column_bytes(row, column);
        if (n > max)
                return false;
        const void *bytes = sqlite3_column_blob(row, column);
        *ret = bytes ? bytes : ""; /* a blob of no bytes is NULL for SQLite */
        *ret_n = n;
        return true;
}

bool store_column_integer(StoreStatement *row, int column, int64_t min, int64_t max, int64_t *ret)
{
        if (sqlite3_column_type(row, column) != SQLITE_INTEGER)
                return false;
        int64_t v = sqlite3_column_int64(row, column);
        if (v < min || v > max)
                return false;
        *ret = v;
        return true;
}

int store_begin(Store *store)
{
        return store_run(store, store->begin);
}

int store_commit(Store *store)
{
        int r = store_run(store, store->commit);
        if (r != 0)
                store_rollback(store);
        return r;
}

void store_rollback(Store *store)
{
        if (!sqlite3_get_autocommit(store->database))
                (void)store_run(store, store->rollback);
}

/* Makes room in the log and in the file, if it is not there already. A disk that is full now is not an error: the store
 * works as long as there is room, and the reserve is made at the next start. */
static int store_reserve(Store *store, const char *path)
{
        int64_t free_pages = 0, page_bytes = 0;
        int r = store_query_integer(store, "PRAGMA freelist_count", &free_pages);
        if (r == 0)
                r = store_query_integer(store, "PRAGMA page_size", &page_bytes);
        if (r != 0)
                return r;
        _cleanup_free_ char *log_path = str_printf("%s-wal", path);
        if (!log_path)
                return error_origin(-ENOMEM);
        struct stat st;
        if (stat(log_path, &st) == 0 && st.st_size >= RESERVE_BYTES && free_pages * page_bytes >= RESERVE_LOW_BYTES) {
                store->reserved = true;
                return store_exec(store, "PRAGMA wal_autocheckpoint=" WAL_PAGES);
        }

        char sql[128];
        snprintf(sql, sizeof(sql), "PRAGMA wal_autocheckpoint=0; INSERT INTO store_reserve VALUES (zeroblob(%d))",
                 RESERVE_BYTES);
        r = store_exec(store, sql);
        if (r < 0)
                return fold(r);
        store->reserved = r == 0;
        r = store_exec(store, "DELETE FROM store_reserve; PRAGMA wal_checkpoint(restart);"
                              "PRAGMA wal_autocheckpoint=" WAL_PAGES);
        if (r > 0) { /* no room for the checkpoint: the log keeps what is in it */
                store->reserved = false;
                r = 0;
        }
        return r < 0 ? fold(r) : 0;
}

static int store_migrate(Store *store, const StoreSpec *spec)
{
        int64_t version = 0;
        int r = store_query_integer(store, "PRAGMA user_version", &version);
        if (r != 0)
                return r;
        if (version < 0 || (uint64_t)version > spec->n_migrations) {
                snprintf(store->error, sizeof(store->error), "schema version %lld is newer than this program's %zu",
                         (long long)version, spec->n_migrations);
                return STORE_E_VERSION;
        }
        for (size_t i = (size_t)version; i < spec->n_migrations; i++) {
                char sql[64];
                snprintf(sql, sizeof(sql), "PRAGMA user_version=%zu; COMMIT", i + 1);
                r = store_exec(store, "BEGIN IMMEDIATE");
                if (r == 0)
                        r = store_exec(store, spec->migrations[i]);
                if (r == 0)
                        r = store_exec(store, sql);
                if (r != 0) {
                        if (!sqlite3_get_autocommit(store->database))
                                (void)sqlite3_exec(store->database, "ROLLBACK", NULL, NULL, NULL);
                        return r == STORE_E_CONFLICT ? error_origin(-EIO) : r;
                }
        }
        return 0;
}

static int store_statements(Store *store)
{
        static const struct {
                size_t offset;
                const char *sql;
        } rows[] = {
                {offsetof(Store, begin), "BEGIN IMMEDIATE"},
                {offsetof(Store, commit), "COMMIT"},
                {offsetof(Store, rollback), "ROLLBACK"},
                {offsetof(Store, note), "INSERT OR IGNORE INTO store_quarantine VALUES (?, ?, ?, ?)"},
                {offsetof(Store, unnote), "DELETE FROM store_quarantine WHERE origin = ? AND key = ?"},
                {offsetof(Store, count), "SELECT count(*) FROM store_quarantine WHERE origin = ?1 OR ?1 IS NULL"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                int r = store_prepare(store, rows[i].sql, (StoreStatement **)((char *)store + rows[i].offset));
                if (r < 0)
                        return fold(r);
        }
        return 0;
}

static int store_boot(Store *store, const char *boot_id)
{
        StoreStatement *select, *update;
        int r = store_prepare(store, "SELECT value = ? FROM store_meta WHERE key = 'boot'", &select);
        if (r == 0)
                r = store_prepare(store, "INSERT OR REPLACE INTO store_meta VALUES ('boot', ?)", &update);
        if (r < 0)
                return fold(r);
        if (sqlite3_bind_text(select, 1, boot_id, -1, SQLITE_STATIC) != SQLITE_OK)
                return error_origin(-ENOMEM);
        bool same = sqlite3_step(select) == SQLITE_ROW && sqlite3_column_int(select, 0) == 1;
        sqlite3_reset(select);
        sqlite3_clear_bindings(select);
        store->new_boot = !store->is_replacement && (!same || str_is_empty(boot_id));
        return same ? 0 : store_run(store, update, STORE_TEXT(boot_id));
}

/* The note outlives this process: it may be killed before its owner has found again what was lost. */
int store_note_loss(Store *store)
{
        int r = store_exec(store, "INSERT OR REPLACE INTO store_meta VALUES ('replaced', '')");
        if (r == 0)
                store->replaced = true;
        return r < 0 ? fold(r) : r;
}

static int store_note_replacement(Store *store)
{
        int64_t n = 0;
        int r = store->is_replacement ? store_note_loss(store) : 0;
        if (r == 0)
                r = store_query_integer(store, "SELECT count(*) FROM store_meta WHERE key = 'replaced'", &n);
        if (r == 0)
                store->replaced = n > 0 || store->is_replacement;
        return r;
}

int store_replacement_done(Store *store)
{
        int r = store->replaced ? store_exec(store, "DELETE FROM store_meta WHERE key = 'replaced'") : 0;
        if (r == 0)
                store->replaced = false;
        return r;
}

/* Damage is found now, when the file can still be put aside, and not in the middle of an operation. */
static int store_check(Store *store)
{
        int64_t n_bad = 1;
        int r = store_query_integer(store, "SELECT count(*) FROM pragma_quick_check WHERE quick_check <> 'ok'", &n_bad);
        if (r != 0)
                return r;
        return n_bad == 0 ? 0 : error_origin(-EBADMSG);
}

/* -EBADMSG: not a database, or a broken one. */
static int store_open_file(Store *store, const StoreSpec *spec)
{
        /* SQLite makes files as the umask says: make it first, so that nobody but us ever reads it. */
        _cleanup_fd_ int fd = open(spec->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return errno == ENOSPC || errno == EDQUOT ? STORE_E_FULL : error_origin(negative_errno());
        fd = fd_close(fd);

        int r = store_outcome(store, sqlite3_open_v2(spec->path, &store->database,
                                                     SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
                                                             SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_EXRESCODE,
                                                     NULL));
        if (r != 0)
                return r;
        sqlite3_busy_timeout(store->database, 5000); /* a predecessor that is still dying */
        sqlite3_limit(store->database, SQLITE_LIMIT_ATTACHED, 0);
        int on = 1;
        if (sqlite3_db_config(store->database, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL) != SQLITE_OK ||
            sqlite3_file_control(store->database, "main", SQLITE_FCNTL_PERSIST_WAL, &on) != SQLITE_OK)
                return error_origin(-EIO);
        r = store_exec(store, "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
                              "PRAGMA journal_size_limit=-1; PRAGMA temp_store=MEMORY; PRAGMA trusted_schema=OFF;"
                              "PRAGMA cell_size_check=ON; PRAGMA mmap_size=0; PRAGMA cache_size=-" CACHE_KIB ";"
                              "PRAGMA foreign_keys=ON");
        if (r == 0)
                r = store_check(store);
        if (r == 0)
                r = store_exec(store, store_schema_own);
        if (r == 0)
                r = store_exec(store, "DELETE FROM store_quarantine"); /* the rows are still there, and are read again */
        if (r == 0)
                r = store_migrate(store, spec);
        if (r == 0)
                r = store_reserve(store, spec->path);
        if (r == 0)
                r = store_statements(store);
        if (r == 0)
                r = store_boot(store, spec->boot_id ? spec->boot_id : "");
        if (r == 0)
                r = store_note_replacement(store);
        return r;
}

static void store_close_file(Store *store)
{
        if (!store->database)
                return;
        sqlite3_stmt *statement;
        while ((statement = sqlite3_next_stmt(store->database, NULL)))
                sqlite3_finalize(statement);
        sqlite3_close(store->database);
        store->database = NULL;
}

/* The newest broken file that lies beside ours, until somebody takes it away: its number, 0 if there is none. */
static int store_find_aside(const char *path, unsigned *ret)
{
        unsigned last = 0;
        for (unsigned i = 1; i < STORE_ASIDE_MAX; i++) {
                _cleanup_free_ char *aside = str_printf(STORE_ASIDE, path, i);
                struct stat st;
                if (!aside)
                        return error_origin(-ENOMEM);
                if (lstat(aside, &st) == 0)
                        last = i;
        }
        *ret = last;
        return 0;
}

/* Moves a broken database out of the way, with its log: somebody may want to look at it. */
static int store_put_aside(const char *path)
{
        unsigned last = 0;
        int r = store_find_aside(path, &last);
        if (r < 0)
                return fold(r);
        if (last + 1 == STORE_ASIDE_MAX)
                return error_origin(-EEXIST);
        _cleanup_free_ char *aside = str_printf(STORE_ASIDE, path, last + 1);
        _cleanup_free_ char *log_path = str_printf("%s-wal", path);
        _cleanup_free_ char *log_aside = str_printf(STORE_ASIDE "-wal", path, last + 1);
        if (!aside || !log_path || !log_aside)
                return error_origin(-ENOMEM);
        if (rename(path, aside) < 0)
                return error_origin(negative_errno());
        if (rename(log_path, log_aside) < 0 && errno != ENOENT)
                return error_origin(negative_errno());
        return 0;
}

int store_open(Store **ret, const StoreSpec *spec)
{
        _cleanup_(store_closep) Store *store = calloc(1, sizeof(*store));
        if (!store)
                return error_origin(-ENOMEM);
        store->path = strdup(spec->path);
        if (!store->path)
                return error_origin(-ENOMEM);
        int r = store_open_file(store, spec);
        if (r == -EBADMSG) { /* the one errno that is compared: store_outcome() gives it for a broken file only */
                store_close_file(store);
                r = store_put_aside(spec->path);
                if (r < 0)
                        return fold(r);
                store->is_replacement = true;
                r = store_open_file(store, spec);
        }
        if (r == 0)
                r = store_find_aside(spec->path, &store->n_aside);
        if (r > 0)
                return r == STORE_E_CONFLICT ? error_origin(-EIO) : r;
        if (r < 0)
                return fold(r);
        *ret = TAKE_PTR(store);
        return 0;
}

void store_shrink(Store *store)
{
        (void)sqlite3_db_release_memory(store->database);
}

Store *store_close(Store *store)
{
        if (!store)
                return NULL;
        store_close_file(store);
        free(store->path);
        free(store);
        return NULL;
}

bool store_is_new_boot(const Store *store)
{
        return store->new_boot;
}

bool store_was_replaced(const Store *store)
{
        return store->replaced;
}

bool store_is_reserved(const Store *store)
{
        return store->reserved;
}

static void store_say(char to[STORE_TROUBLE_MAX], const char *format, ...) _printf_(2, 3);
static void store_say(char to[STORE_TROUBLE_MAX], const char *format, ...)
{
        size_t used = strlen(to);
        va_list arguments;
        va_start(arguments, format);
        if (used > 0 && used + 2 < STORE_TROUBLE_MAX)
                used += (size_t)snprintf(to + used, STORE_TROUBLE_MAX - used, "; ");
        (void)vsnprintf(to + used, STORE_TROUBLE_MAX - used, format, arguments);
        va_end(arguments);
}

bool store_trouble(const Store *store, char to[STORE_TROUBLE_MAX])
{
        const char *slash = strrchr(store->path, '/');
        const char *name = slash ? slash + 1 : store->path; /* what the owner sees as its path is not where it lies on the node */
        to[0] = '\0';
        if (store->n_aside > 0)
                store_say(to, "its database %s was broken and lies beside the new one as " STORE_ASIDE "; what was found again "
                          "without it is listed, with an unknown state: remove that, then remove the broken file and restart it",
                          name, name, store->n_aside);
        if (store->n_noted > 0)
                store_say(to, "%llu rows of its database %s cannot be read; the log says which, and what they were of is listed with an "
                          "unknown state: remove that", (unsigned long long)store->n_noted, name);
        if (!store->reserved)
                store_say(to, "its database %s has no room of its own, so that it stops on a full disk: free space and restart it", name);
        return to[0] != '\0';
}

const char *store_error_text(const Store *store)
{
        return store->error;
}
