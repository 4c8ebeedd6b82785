/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/tree/trees.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/log.h"
#include "services/imaged/tree/jail.h"
#include "services/imaged/tree/remove.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define TREES_STAGING "staging-"
#define TREES_TRASH "trash-"
#define TREES_RECORD_XATTR "trusted.bulkhead.layer"
#define TREES_RECORD_VERSION 1
/* Emptying one tree: millions of files on a slow disk. It holds nobody up. */
#define TREES_EMPTY_TIMEOUT (3600 * USEC_PER_SEC)

static const char *const trees_kind_names[TREES_KINDS] = {
        [TREE_KIND_LAYER] = "layers",
        [TREE_KIND_WRITABLE] = "writable",
        [TREE_KIND_IMPORT] = "imports",
};

const char *trees_kind_name(uint32_t kind)
{
        return trees_kind_names[kind];
}

int trees_open(Trees *trees, const ConfigCommon *config)
{
        *trees = TREES_NULL;
        trees->config = config;
        for (uint32_t kind = TREE_KIND_LAYER; kind < TREES_KINDS; kind++) {
                char path[CONFIG_PATH_MAX + 16];

                (void)snprintf(path, sizeof(path), "%s/%s", config->state_dir, trees_kind_names[kind]);
                trees->kind_fds[kind] = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (trees->kind_fds[kind] < 0)
                        return error_origin(negative_errno());
        }
        return 0;
}

void trees_done(Trees *trees)
{
        for (uint32_t kind = TREE_KIND_LAYER; kind < TREES_KINDS; kind++)
                trees->kind_fds[kind] = fd_close(trees->kind_fds[kind]);
}

static int trees_open_directory(int kind_fd, const char *name, int *ret_fd)
{
        int fd = openat(kind_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

        if (fd < 0)
                return errno == ENOENT ? TREES_E_NOT_FOUND : error_origin(negative_errno());
        *ret_fd = fd;
        return 0;
}

int trees_find(const Trees *trees, uint32_t kind, const char *name, int *ret_fd)
{
        int r = trees_open_directory(trees->kind_fds[kind], name, ret_fd);
        return r < 0 ? fold(r) : r;
}

static int trees_name(const char *prefix, const char *name, char to[TREES_NAME_MAX])
{
        uint64_t random;

        if (getrandom(&random, sizeof(random), 0) != sizeof(random))
                return error_origin(-EIO);
        (void)snprintf(to, TREES_NAME_MAX, "%s%.8s-%016llx", prefix, name, (unsigned long long)random);
        return 0;
}

/* A sweep may take a new stage in the moment before it is locked: then it is made anew. */
static int trees_stage_once(int kind_fd, const char *name, TreesStage *stage, bool *ret_locked)
{
        _cleanup_fd_ int fd = -1;
        int r;

        *ret_locked = false;
        r = trees_name(TREES_STAGING, name, stage->name);
        if (r)
                return fold(r);
        if (mkdirat(kind_fd, stage->name, 0700) < 0)
                return error_origin(negative_errno());
        r = trees_open_directory(kind_fd, stage->name, &fd);
        if (r)
                return r < 0 ? fold(r) : 0;
        if (flock(fd, LOCK_EX | LOCK_NB) < 0 || faccessat(kind_fd, stage->name, F_OK, 0) < 0)
                return 0;
        stage->fd = TAKE_FD(fd);
        *ret_locked = true;
        return 0;
}

int trees_stage(const Trees *trees, uint32_t kind, const char *name, mode_t mode, TreesStage *ret)
{
        TreesStage stage = {.kind = kind, .fd = -1};
        bool is_locked = false;

        for (unsigned tries = 0; tries < 3 && !is_locked; tries++) {
                int r = trees_stage_once(trees->kind_fds[kind], name, &stage, &is_locked);
                if (r)
                        return fold(r);
        }
        if (!is_locked)
                return error_origin(-EBUSY);
        *ret = stage;
        return fchmod(stage.fd, mode) < 0 ? error_origin(negative_errno()) : 0;
}

int trees_commit(const Trees *trees, TreesStage *stage, const char *name)
{
        int kind_fd = trees->kind_fds[stage->kind];

        if (renameat2(kind_fd, stage->name, kind_fd, name, RENAME_NOREPLACE) < 0)
                return errno == EEXIST ? TREES_E_EXISTS : error_origin(negative_errno());
        stage->name[0] = 0;
        stage->fd = fd_close(stage->fd);
        return 0;
}

static int trees_trash(int kind_fd, const char *name, char ret_trash[TREES_NAME_MAX])
{
        int r = trees_name(TREES_TRASH, name, ret_trash);

        if (r)
                return fold(r);
        if (renameat2(kind_fd, name, kind_fd, ret_trash, RENAME_NOREPLACE) < 0)
                return errno == ENOENT ? TREES_E_NOT_FOUND : error_origin(negative_errno());
        return 0;
}

int trees_abandon(const Trees *trees, TreesStage *stage, char ret_trash[TREES_NAME_MAX])
{
        int r = trees_trash(trees->kind_fds[stage->kind], stage->name, ret_trash);

        stage->name[0] = 0;
        stage->fd = fd_close(stage->fd);
        return r < 0 ? fold(r) : r;
}

int trees_take_away(const Trees *trees, uint32_t kind, const char *name, char ret_trash[TREES_NAME_MAX])
{
        int r = trees_trash(trees->kind_fds[kind], name, ret_trash);
        return r < 0 ? fold(r) : r;
}

static int trees_empty_in_jail(void *argument, Report *report)
{
        _cleanup_fd_ int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        RemoveFailure failure = {0};
        int r;

        if (fd < 0)
                return report_errno(report, errno, "opening", "/");
        r = remove_content(fd, &failure);
        if (r == REMOVE_E_LEFT)
                return report_fail(report, GRPC_STATUS_FAILED_PRECONDITION, "\"%s\": %s", failure.name, strerror(failure.error));
        return r ? report_errno(report, -r, "emptying", "it") : 0;
}

int trees_empty(const Trees *trees, uint32_t kind, const char *trash)
{
        int kind_fd = trees->kind_fds[kind];
        _cleanup_fd_ int fd = -1;
        Report report;
        int r;

        /* Most often nothing is in it, or somebody else emptied it. */
        if (unlinkat(kind_fd, trash, AT_REMOVEDIR) == 0 || errno == ENOENT)
                return 0;
        r = trees_open_directory(kind_fd, trash, &fd);
        if (r)
                return r < 0 ? fold(r) : 0;
        const JailSpec spec = {
                .config = trees->config,
                .tree_fd = fd,
                .keep_fd = -1,
                .run = trees_empty_in_jail,
        };
        r = jail_run(&spec, TREES_EMPTY_TIMEOUT, &report);
        if (r)
                return fold(r);
        if (report.code != 0)
                log_warning("%s/%s/%s cannot be removed: %s; it is tried again at the next start, or remove it by hand "
                            "(an attribute may forbid it: lsattr, chattr -R -i -a)",
                            trees->config->state_dir, trees_kind_names[kind], trash, report.text);
        else if (unlinkat(kind_fd, trash, AT_REMOVEDIR) < 0 && errno != ENOENT)
                return error_origin(negative_errno());
        return 0;
}

static int trees_sweep_name(const Trees *trees, uint32_t kind, const char *name)
{
        char trash[TREES_NAME_MAX];
        int r;

        if (str_has_prefix(name, TREES_TRASH) && str_copy(trash, sizeof(trash), name)) {
                r = trees_empty(trees, kind, trash);
                return r ? fold(r) : 0;
        }
        if (!str_has_prefix(name, TREES_STAGING))
                return 0;
        /* Who makes a tree holds its lock; this one is held until the name is another. */
        _cleanup_fd_ int fd = openat(trees->kind_fds[kind], name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
                return 0;
        r = trees_trash(trees->kind_fds[kind], name, trash);
        if (r)
                return r < 0 ? fold(r) : 0;
        r = trees_empty(trees, kind, trash);
        return r ? fold(r) : 0;
}

static void trees_closedir(DIR **dir)
{
        if (*dir)
                (void)closedir(*dir);
}

/* NULL with errno. */
static DIR *trees_opendir(int kind_fd)
{
        int fd = openat(kind_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);

        if (!dir)
                (void)fd_close(fd);
        return dir;
}

int trees_sweep(const Trees *trees)
{
        for (uint32_t kind = TREE_KIND_LAYER; kind < TREES_KINDS; kind++) {
                _cleanup_(trees_closedir) DIR *dir = trees_opendir(trees->kind_fds[kind]);

                if (!dir)
                        return error_origin(negative_errno());
                for (const struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
                        int r = trees_sweep_name(trees, kind, entry->d_name);
                        if (r)
                                return fold(r);
                }
        }
        return 0;
}

typedef struct TreesNames {
        char *bytes; /* owned; ID_LENGTH each, without terminators */
        size_t n, room;
} TreesNames;

static void trees_names_done(TreesNames *names)
{
        free(names->bytes);
}

static int trees_names_add(TreesNames *names, const char *name)
{
        if (names->n == names->room) {
                size_t room = MAX2(names->room * 2, 512);
                char *more = reallocarray(names->bytes, room, ID_LENGTH);

                if (!more)
                        return error_origin(-ENOMEM);
                names->bytes = more;
                names->room = room;
        }
        memcpy(names->bytes + names->n++ * ID_LENGTH, name, ID_LENGTH);
        return 0;
}

static int trees_compare(const void *a, const void *b)
{
        return memcmp(a, b, ID_LENGTH);
}

int trees_list(const Trees *trees, const TreeList *which, TreeListed *ret)
{
        _cleanup_(trees_closedir) DIR *dir = trees_opendir(trees->kind_fds[which->kind]);
        _cleanup_(trees_names_done) TreesNames names = {0};

        if (!dir)
                return error_origin(negative_errno());
        for (const struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
                int r = id_is_valid(entry->d_name) ? trees_names_add(&names, entry->d_name) : 0;
                if (r)
                        return fold(r);
        }
        if (names.n > 0)
                qsort(names.bytes, names.n, ID_LENGTH, trees_compare);
        *ret = (TreeListed){0};
        for (size_t i = which->offset; i < names.n && ret->n < TREE_LIST_MAX; i++)
                memcpy(ret->names[ret->n++], names.bytes + i * ID_LENGTH, ID_LENGTH);
        ret->more = which->offset + (uint64_t)ret->n < names.n;
        return 0;
}

int trees_record(int tree_fd, const TreesRecord *record)
{
        TreesRecord versioned = *record;

        versioned.version = TREES_RECORD_VERSION;
        if (fsetxattr(tree_fd, TREES_RECORD_XATTR, &versioned, sizeof(versioned), 0) < 0)
                return error_origin(negative_errno());
        return 0;
}

int trees_read_record(int tree_fd, TreesRecord *ret)
{
        TreesRecord record;
        ssize_t n = fgetxattr(tree_fd, TREES_RECORD_XATTR, &record, sizeof(record));

        if (n < 0 && errno != ENODATA && errno != ERANGE)
                return error_origin(negative_errno());
        if (n != sizeof(record) || record.version != TREES_RECORD_VERSION)
                return TREES_E_NOT_FOUND;
        *ret = record;
        return 0;
}
