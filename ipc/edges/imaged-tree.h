/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* imaged -> imaged-tree: fixed frames. Each request runs in a job process of its own; trees are only ever walked in jails.
 *   layers:    <state_dir>/layers/<hex of compressed digest>/        (root-owned store, mode 0700 above)
 *   writable:  <state_dir>/writable/<container id>/{upper,work,volumes/<i>}
 *   imports:   <state_dir>/imports/<id>/   extracted archives;  <state_dir>/import/<file>  what root put there
 * Beside them may stand staging-* and trash-*: trees that are being made or removed; imaged-tree removes what a crash left.
 *
 * A layer marks an opaque directory with user.overlay.opaque and a whiteout with a 0:0 device: whoever mounts an overlay over
 * layers must give the option `userxattr`. overlayfs ignores the mark on a layer's root, and knows no directory that a layer
 * merely passes through: so the layers of an image are not mounted as they are, but as tree_stack answers.
 *
 * row 1 request tree_unpack: TreeUnpack -> TreeUnpacked from A fds file-read
 * row 2 request tree_remove: TreeName -> - from A states ANY
 * row 3 request tree_measure: TreeName -> TreeMeasured from A
 * row 4 request tree_writable: TreeWritable -> - from A
 * row 5 request tree_user: TreeUser -> TreeUserFound from A
 * row 6 request tree_import: TreeImport -> TreeMeasured from A
 * row 7 request tree_read: TreeRead -> TreeReadOpened from A reply-fds pipe-read
 * row 8 request tree_list: TreeList -> TreeListed from A states ANY
 * row 9 request tree_sync: - -> - from A
 * row 10 request tree_stack: TreeStack -> TreeStacked from A
 * row 11 request tree_export: TreeExport -> - from A reply-fds socket
 */

#include "ipc/config.h"
#include "ipc/seal.h"

enum { TREE_KIND_LAYER = 1, TREE_KIND_WRITABLE, TREE_KIND_IMPORT };
enum { TREE_COMPRESSION_NONE = 0, TREE_COMPRESSION_GZIP, TREE_COMPRESSION_ZSTD };

/* A tree by its kind and name: 64 hexadecimal digits (layer digest, container id, import id). */
typedef struct TreeName {
        uint32_t kind;
        char name[ID_LENGTH + 1];
        char padding[3];
} TreeName;

/* The fd is the blob, a regular file, read from its first byte on (by pread: the offset, which others may share, does not
 * matter). An existing committed layer is success if its diff id is the expected one. */
typedef struct TreeUnpack {
        uint8_t layer[32]; /* compressed digest: names the tree */
        uint8_t diff_id[32]; /* expected digest of the uncompressed bytes: else nothing is committed */
        uint32_t compression; /* for logs: the decompressor goes by the blob's first bytes, the diff id judges the result */
        uint32_t max_entries;
        uint64_t max_bytes; /* uncompressed */
} TreeUnpack;

typedef struct TreeUnpacked {
        uint8_t diff_id[32]; /* what it really was */
        uint64_t bytes;      /* on disk, as measured in the jail */
        uint64_t inodes;
        uint32_t is_opaque;  /* bool: it hides every layer below it; tree_stack heeds it */
        uint32_t padding;
} TreeUnpacked;

/* What an image's layers (all of them unpacked, lowest first) are to be mounted as: the same without those that an opaque root
 * hides, and, where it is needed, with one more on top that was made for them: a layer with a file d/f and no entry for d must
 * not change d's mode and owner, and as overlayfs merges directories it would. Idempotent; the same layers give the same answer.
 * The made layer is a tree like any other: listed, removed, measured by its name. It belongs to this list of layers. */
typedef struct TreeStack {
        uint32_t n_layers;
        uint32_t padding;
        uint8_t layers[SEAL_LAYERS_MAX][32];
} TreeStack;
typedef struct TreeStacked {
        uint32_t n_layers;
        uint32_t is_made; /* bool: the last one was made here */
        uint64_t bytes;   /* of the made one */
        uint64_t inodes;
        uint8_t layers[SEAL_LAYERS_MAX][32];
} TreeStacked;

/* WRITABLE measures upper alone, what the container wrote. */
typedef struct TreeMeasured {
        uint64_t bytes;
        uint64_t inodes;
} TreeMeasured;

/* Makes writable/<container> with upper and work owned by owner_id, and volumes/<i> seeded from the image's directory (its owners
 * have owner_id added). Idempotent. A volume path that the image does not have gives an empty directory. */
typedef struct TreeWritable {
        char container[ID_LENGTH + 1];
        char padding[3];
        uint32_t owner_id;
        uint32_t n_volumes;
        uint32_t n_layers;
        char volumes[CONFIG_VOLUMES_MAX][CONFIG_VOLUME_PATH_MAX];
        uint8_t layers[SEAL_LAYERS_MAX][32]; /* lowest first; needed when n_volumes > 0 */
} TreeWritable;

/* /etc/passwd and /etc/group of the image, in a jail. Empty names mean uid/gid are given instead. A name that is not there, or one
 * that begins like a number, is INVALID_ARGUMENT; a uid that is not there is uid_known 0 with group 0. groups are
 * the memberships besides gid. */
typedef struct TreeUser {
        uint32_t n_layers;
        uint32_t uid, gid; /* UINT32_MAX: not given */
        uint32_t padding;
        char user[256];
        char group[256];
        uint8_t layers[SEAL_LAYERS_MAX][32];
} TreeUser;

#define TREE_GROUPS_MAX 128
typedef struct TreeUserFound {
        uint32_t uid, gid;
        uint32_t uid_known; /* a passwd line exists */
        uint32_t n_groups;
        uint32_t groups[TREE_GROUPS_MAX];
        char home[256];
        char username[256];
} TreeUserFound;

/* Extracts <state_dir>/import/<file> (a tar, maybe gzip) into imports/<id>. */
typedef struct TreeImport {
        char id[ID_LENGTH + 1];
        char file[256];
        char padding[3];
        uint32_t max_entries;
        uint64_t max_bytes;
} TreeImport;

/* What is in writable/<container>/upper and what it hides of the layers, through the socket (ipc/tree-stream.h), from the moment that its
 * reader says so. Owners have owner_id taken off. It lives until the socket is closed:
 * RESOURCE_EXHAUSTED beyond one of a container, or four of all. */
typedef struct TreeExport {
        char container[ID_LENGTH + 1];
        char padding[3];
        uint32_t owner_id;
        uint32_t n_layers;
        uint8_t layers[SEAL_LAYERS_MAX][32]; /* lowest first */
} TreeExport;

/* The content of a regular file of an import (path relative, resolved beneath it), through a pipe. NOT_FOUND if absent. */
typedef struct TreeRead {
        char id[ID_LENGTH + 1];
        char path[512];
        char padding[3];
        uint32_t max_bytes_mib;
} TreeRead;
typedef struct TreeReadOpened {
        uint64_t bytes; /* size of the file */
} TreeReadOpened;

#define TREE_LIST_MAX 512
/* Names of committed trees of a kind from the offset-th on, for reconciling after a restart. */
typedef struct TreeList {
        uint32_t kind;
        uint32_t offset;
} TreeList;
typedef struct TreeListed {
        uint32_t n;
        uint32_t more;
        char names[TREE_LIST_MAX][ID_LENGTH + 1];
} TreeListed;
