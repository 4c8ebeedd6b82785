/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The names of trees on disk, and how they come and go: staged under a name of their own, committed by one rename, taken away by
 * one rename, then emptied in a jail. A crash at any moment leaves staged or trashed names only, which trees_sweep() clears.
 * Nothing here looks inside a tree. */

#include "ipc/config.h"
#include "ipc/edges/imaged-tree.h"

#define TREES_KINDS (TREE_KIND_IMPORT + 1)
#define TREES_NAME_MAX 96

typedef struct Trees {
        const ConfigCommon *config; /* borrowed */
        int kind_fds[TREES_KINDS];  /* owned; by TREE_KIND_*, [0] is never used */
} Trees;
#define TREES_NULL ((Trees){.kind_fds = {-1, -1, -1, -1}})

int trees_open(Trees *trees, const ConfigCommon *config);
void trees_done(Trees *trees);
static inline bool trees_kind_is_valid(uint32_t kind)
{
        return kind >= TREE_KIND_LAYER && kind <= TREE_KIND_IMPORT;
}
const char *trees_kind_name(uint32_t kind);

enum { TREES_E_NOT_FOUND = 1, TREES_E_EXISTS };

/* A committed tree: O_RDONLY directory, owned by the caller. 0, TREES_E_NOT_FOUND or -errno. */
int trees_find(const Trees *trees, uint32_t kind, const char *name, int *ret_fd);

/* A tree in the making. Locked while its maker lives: the sweep of another process leaves it alone. */
typedef struct TreesStage {
        uint32_t kind;
        char name[TREES_NAME_MAX]; /* "" : none */
        int fd; /* owned; the directory */
} TreesStage;
#define TREES_STAGE_NULL ((TreesStage){.fd = -1})

int trees_stage(const Trees *trees, uint32_t kind, const char *name, mode_t mode, TreesStage *ret);
/* 0, TREES_E_EXISTS (the stage stays), or -errno. */
int trees_commit(const Trees *trees, TreesStage *stage, const char *name);
/* Renames the staged tree to a trash name, in name; the caller empties it. */
int trees_abandon(const Trees *trees, TreesStage *stage, char ret_trash[TREES_NAME_MAX]);

/* The committed tree is gone when this returns 0; what is left of it has the trash name. TREES_E_NOT_FOUND: there is none. */
int trees_take_away(const Trees *trees, uint32_t kind, const char *name, char ret_trash[TREES_NAME_MAX]);
/* Empties a trashed tree in a jail and removes it. 0 or -errno; what cannot be removed is logged and stays. */
int trees_empty(const Trees *trees, uint32_t kind, const char *trash);
/* Everything that earlier processes left staged or trashed, of all kinds. */
int trees_sweep(const Trees *trees);

/* Names of committed trees in order, from the offset-th on. */
int trees_list(const Trees *trees, const TreeList *which, TreeListed *ret);

/* What is known of a layer, kept with it out of reach of whatever runs in a jail (trusted.bulkhead.layer). */
typedef struct TreesRecord {
        uint32_t version;
        uint32_t is_opaque;
        uint32_t has_implicit; /* directories that are marked as such */
        uint32_t padding;
        uint64_t bytes;
        uint64_t inodes;
        uint8_t diff_id[32];
} TreesRecord;
int trees_record(int tree_fd, const TreesRecord *record);
/* 0, TREES_E_NOT_FOUND (none, or not of this version) or -errno. */
int trees_read_record(int tree_fd, TreesRecord *ret);
