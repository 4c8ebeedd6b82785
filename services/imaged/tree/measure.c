/* SPDX-License-Identifier: Apache-2.0 */

/* One directory is open at a time, however deep the tree: on the way down it is noted where to go on in the parent's listing, and
 * the way up is "..", which is checked to be the directory that was left. */

#include "services/imaged/tree/measure.h"
#include "lib/error.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define MEASURE_BUFFER_BYTES 4096 /* of a listing; it is read again after each subdirectory */
#define MEASURE_BLOCK 512         /* unit of st_blocks, stat(2) */

typedef struct MeasureDirent {
        uint64_t ino;
        int64_t offset;
        unsigned short length;
        unsigned char type;
        char name[];
} MeasureDirent;

typedef struct MeasureLevel {
        dev_t device;
        ino_t inode;
        off_t offset;
} MeasureLevel;

typedef struct MeasureWalk {
        int fd; /* owned; the directory that is being read */
        MeasureLevel *levels; /* owned; of those above it */
        size_t n_levels, room;
        dev_t device;
        ino_t inode;   /* of fd */
        off_t offset;  /* where to go on in fd */
        uint64_t bytes;
        uint64_t inodes_whole;
        uint64_t inodes_parts; /* in units of 2^-32: a name of a file with n of them counts 1/n */
} MeasureWalk;

static void measure_walk_done(MeasureWalk *walk)
{
        walk->fd = fd_close(walk->fd);
        free(walk->levels);
}

static void measure_count(MeasureWalk *walk, const struct stat *st)
{
        uint64_t bytes = (uint64_t)st->st_blocks * MEASURE_BLOCK;

        if (S_ISDIR(st->st_mode) || st->st_nlink <= 1) {
                walk->bytes += bytes;
                walk->inodes_whole++;
        } else {
                walk->bytes += bytes / st->st_nlink;
                walk->inodes_parts += (UINT64_C(1) << 32) / st->st_nlink;
        }
}

static int measure_down(MeasureWalk *walk, const char *name, const struct stat *expected)
{
        _cleanup_fd_ int fd = openat(walk->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        struct stat st;

        /* Gone since it was listed. */
        if (fd < 0)
                return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : error_origin(negative_errno());
        if (fstat(fd, &st) < 0)
                return error_origin(negative_errno());
        if (st.st_ino != expected->st_ino || st.st_dev != expected->st_dev)
                return 0;
        if (walk->n_levels == MEASURE_DEPTH_MAX)
                return MEASURE_E_DEEP;
        if (walk->n_levels == walk->room) {
                size_t room = MAX2(walk->room * 2, 64);
                MeasureLevel *more = reallocarray(walk->levels, room, sizeof(*more));

                if (!more)
                        return error_origin(-ENOMEM);
                walk->levels = more;
                walk->room = room;
        }
        walk->levels[walk->n_levels++] = (MeasureLevel){
                .device = walk->device,
                .inode = walk->inode,
                .offset = walk->offset,
        };
        (void)fd_close(walk->fd);
        walk->fd = TAKE_FD(fd);
        walk->device = st.st_dev;
        walk->inode = st.st_ino;
        walk->offset = 0;
        return 0;
}

static int measure_up(MeasureWalk *walk)
{
        _cleanup_fd_ int fd = openat(walk->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        MeasureLevel level = walk->levels[walk->n_levels - 1];
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                return errno == ENOENT ? MEASURE_E_CHANGED : error_origin(negative_errno());
        if (st.st_ino != level.inode || st.st_dev != level.device)
                return MEASURE_E_CHANGED;
        if (lseek(fd, level.offset, SEEK_SET) < 0)
                return error_origin(negative_errno());
        walk->n_levels--;
        (void)fd_close(walk->fd);
        walk->fd = TAKE_FD(fd);
        walk->device = level.device;
        walk->inode = level.inode;
        walk->offset = level.offset;
        return 0;
}

/* Reads one piece of the listing. *ret_more: false at its end; a subdirectory was entered, or there may be more here, otherwise. */
static int measure_list(MeasureWalk *walk, bool *ret_more)
{
        char buffer[MEASURE_BUFFER_BYTES] __attribute__((aligned(8)));
        ssize_t n = syscall(SYS_getdents64, walk->fd, buffer, sizeof(buffer));

        if (n < 0 && errno != ENOENT) /* ENOENT: the directory was removed meanwhile */
                return error_origin(negative_errno());
        *ret_more = n > 0;
        for (ssize_t at = 0; at < n;) {
                const MeasureDirent *entry = (const MeasureDirent *)(buffer + at);
                struct stat st;

                at += entry->length;
                walk->offset = entry->offset;
                if (strcmp(entry->name, ".") == 0 || strcmp(entry->name, "..") == 0)
                        continue;
                if (fstatat(walk->fd, entry->name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
                        if (errno == ENOENT)
                                continue;
                        return error_origin(negative_errno());
                }
                measure_count(walk, &st);
                if (S_ISDIR(st.st_mode)) {
                        ino_t before = walk->inode;
                        int r = measure_down(walk, entry->name, &st);

                        if (r || walk->inode != before)
                                return r;
                }
        }
        return 0;
}

static int measure_walk(MeasureWalk *walk)
{
        for (;;) {
                bool more = false;
                int r = measure_list(walk, &more);

                if (r)
                        return r;
                if (more)
                        continue;
                if (walk->n_levels == 0)
                        return 0;
                r = measure_up(walk);
                if (r)
                        return r;
        }
}

int measure_tree(int dir_fd, Measure *ret)
{
        _cleanup_(measure_walk_done) MeasureWalk walk = {.fd = -1};
        struct stat st;

        walk.fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (walk.fd < 0 || fstat(walk.fd, &st) < 0)
                return error_origin(negative_errno());
        walk.device = st.st_dev;
        walk.inode = st.st_ino;
        measure_count(&walk, &st);
        int r = measure_walk(&walk);
        if (r)
                return r < 0 ? fold(r) : r;
        *ret = (Measure){
                .bytes = walk.bytes,
                .inodes = walk.inodes_whole + ((walk.inodes_parts + (UINT64_C(1) << 31)) >> 32),
        };
        return 0;
}
