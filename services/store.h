/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A brain's SQLite file: opened with the one recipe that keeps working on a full disk, its schema version, prepared
 * statements, transactions, and the list of rows that could not be read. */

#include "lib/base.h"
#include <sqlite3.h>

typedef struct Store Store;

/* Outcomes. FULL and CONFLICT come from writes: nothing was written, the store goes on. */
enum {
        STORE_E_FULL = 1, /* no space left (or the quota is used up) */
        STORE_E_CONFLICT, /* a UNIQUE or CHECK constraint refuses the row */
        STORE_E_VERSION,  /* store_open(): the file was written by a newer version of this service */
};

/* The n-th migration (from 1) leads from user_version n-1 to n. A released migration is never edited, only followed. */
typedef struct StoreSpec {
        const char *path;
        const char *boot_id; /* of this boot; "" if unknown: every start counts as a new boot */
        const char *const *migrations;
        size_t n_migrations;
} StoreSpec;

/* Opens or creates the file (mode 0600). A file that is not a database, or a broken one, is moved to <path>.corrupt-<n>
 * and a new one is made: store_was_replaced() and store_trouble() tell. 0, STORE_E_FULL, STORE_E_VERSION or -errno. */
int store_open(Store **ret, const StoreSpec *spec);
/* Finalises all statements that store_prepare() made. */
Store *store_close(Store *store);
DEFINE_CLEANUP(Store, store_close)

/* This boot is not the one in which the file was last opened: what lives in /run and in the kernel is gone. Never true of a
 * file that was made just now in the place of a broken one: nobody knows in which boot that was used. */
bool store_is_new_boot(const Store *store);
/* A broken file was put aside, in this start or an earlier one, and the owner has not said yet, with store_replacement_done(),
 * that it has found again what it knew. Until then what has no row here may be somebody's all the same. */
bool store_was_replaced(const Store *store);
int store_replacement_done(Store *store); /* 0, STORE_E_FULL or -errno */
/* Rows that do not even say whose they are count as that, too. 0, STORE_E_FULL or -errno */
int store_note_loss(Store *store);
/* The room for further writes on a full disk is there (probed at open). */
bool store_is_reserved(const Store *store);
/* Drops the pages of the file that are kept in memory; the next reads fetch theirs from the page cache. */
void store_shrink(Store *store);
/* What people should know of the file: a broken one lies beside it, rows cannot be read, a full disk would stop it. True if
 * there is something; to: what it is and what to do. For Status, and for the log at the start. */
#define STORE_TROUBLE_MAX 768
bool store_trouble(const Store *store, char to[STORE_TROUBLE_MAX]);
/* Why the last call failed, for the log; borrowed until the next call. */
const char *store_error_text(const Store *store);

/* A prepared statement lives until store_close(). -EIO if the SQL is wrong: a bug of ours. */
typedef sqlite3_stmt StoreStatement;
int store_prepare(Store *store, const char *sql, StoreStatement **ret);
typedef struct StorePreparation {
        StoreStatement **ret;
        const char *sql;
} StorePreparation;
int store_prepare_all(Store *store, const StorePreparation *preparations, size_t n);

typedef struct StoreValue {
        int type; /* SQLITE_INTEGER, SQLITE_TEXT, SQLITE_BLOB or SQLITE_NULL */
        int64_t integer;
        const void *bytes;
        size_t n;
} StoreValue;
#define STORE_INTEGER(v) ((StoreValue){.type = SQLITE_INTEGER, .integer = (int64_t)(v)})
#define STORE_TEXT(s) store_text(s)
#define STORE_BLOB(p, size) ((StoreValue){.type = (p) ? SQLITE_BLOB : SQLITE_NULL, .bytes = (p), .n = (size)})
static inline StoreValue store_text(const char *s)
{
        return (StoreValue){.type = s ? SQLITE_TEXT : SQLITE_NULL, .bytes = s, .n = s ? strlen(s) : 0};
}

/* Runs a statement that returns no rows, with its parameters in order: store_run(store, insert, STORE_TEXT(id), …).
 * Values are borrowed during the call. 0, STORE_E_FULL, STORE_E_CONFLICT or -errno. */
#define store_run(store, statement, ...)                                                                               \
        store_run_values((store), (statement), (const StoreValue[]){{0}, ##__VA_ARGS__},                               \
                         sizeof((const StoreValue[]){{0}, ##__VA_ARGS__}) / sizeof(StoreValue) - 1)
/* values[0] is unused (so that there may be none); n does not count it. */
int store_run_values(Store *store, StoreStatement *statement, const StoreValue *values, size_t n);

/* Reads all rows. on_row: 0 to go on; positive: this row cannot be read, why is what *ret_why points at, and it is
 * noted with column 0 as its key under `origin` (usually the table) and left where it is; negative ends the walk.
 * The row is read with the sqlite3_column functions or with the checked ones below. on_row must not write. */
typedef int (*StoreRow)(void *userdata, StoreStatement *row, const char **ret_why);
int store_each(Store *store, StoreStatement *statement, const char *origin, StoreRow on_row, void *userdata);
/* How many rows are noted as unreadable under origin (NULL: all). They stay noted until store_unquarantine() or the next start,
 * which reads them again. */
int store_quarantined(Store *store, const char *origin, uint64_t *ret);
/* The row with that key was removed, or could be read after all. */
int store_unquarantine(Store *store, const char *origin, const char *key);

/* Checked columns: false if the column has another type (or, for text, is above max bytes or holds a NUL). Borrowed
 * until the next row. */
bool store_column_text(StoreStatement *row, int column, size_t max, const char **ret);
bool store_column_blob(StoreStatement *row, int column, size_t max, const void **ret, size_t *ret_n);
bool store_column_integer(StoreStatement *row, int column, int64_t min, int64_t max, int64_t *ret);

/* Transactions do not nest; a single store_run() needs none. store_rollback() without one does nothing, so that
 * _cleanup_(store_rollbackp) Store *guard = store; undoes what an early return leaves half done. */
int store_begin(Store *store);
int store_commit(Store *store); /* 0, STORE_E_FULL (rolled back) or -errno */
void store_rollback(Store *store);
static inline void store_rollbackp(Store **store)
{
        if (*store)
                store_rollback(*store);
}
