/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/tree/remove.h"
#include "lib/error.h"
#include "lib/strings.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/syscall.h>

#define REMOVE_DEPTH 32             /* directories that are open at once */
#define REMOVE_BUFFER_BYTES 8192

/* As the kernel fills it: getdents64(2). */
typedef struct RemoveDirent {
        uint64_t ino;
        int64_t offset;
        unsigned short length;
        unsigned char type;
        char name[];
} RemoveDirent;

typedef struct RemoveWalk {
        int top_fd; /* borrowed */
        uint64_t n_moved;
        bool has_moved; /* in this round: top has more to do */
        RemoveFailure *failure;
        bool has_left;
} RemoveWalk;

static void remove_note(RemoveWalk *walk, const char *name)
{
        if (!walk->has_left) {
                walk->failure->error = errno;
                str_printable(walk->failure->name, sizeof(walk->failure->name), name, strlen(name));
        }
        walk->has_left = true;
}

/* The directory goes into the top one under a name that nothing has there. */
static bool remove_move_up(RemoveWalk *walk, int dir_fd, const char *name)
{
        char moved[32];

        for (unsigned tries = 0; tries < 1000; tries++) {
                (void)snprintf(moved, sizeof(moved), "moved-%llu", (unsigned long long)walk->n_moved++);
                if (renameat2(dir_fd, name, walk->top_fd, moved, RENAME_NOREPLACE) == 0) {
                        walk->has_moved = true;
                        return true;
                }
                if (errno != EEXIST)
                        return false;
        }
        return false;
}

static int remove_level(RemoveWalk *walk, int dir_fd, unsigned depth);

static int remove_name(RemoveWalk *walk, int dir_fd, const char *name, unsigned depth)
{
        _cleanup_fd_ int fd = -1;
        int r;

        if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
                return 0;
        if (errno != EISDIR) {
                remove_note(walk, name);
                return 0;
        }
        if (unlinkat(dir_fd, name, AT_REMOVEDIR) == 0)
                return 0;
        if (errno != ENOTEMPTY && errno != EEXIST) {
                remove_note(walk, name);
                return 0;
        }
        if (depth == REMOVE_DEPTH) {
                if (!remove_move_up(walk, dir_fd, name))
                        remove_note(walk, name);
                return 0;
        }
        fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0) {
                remove_note(walk, name);
                return 0;
        }
        r = remove_level(walk, fd, depth + 1);
        if (r)
                return fold(r);
        if (unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 && !walk->has_left)
                remove_note(walk, name);
        return 0;
}

static int remove_level(RemoveWalk *walk, int dir_fd, unsigned depth)
{
        char buffer[REMOVE_BUFFER_BYTES] __attribute__((aligned(8)));

        for (;;) {
                ssize_t n = syscall(SYS_getdents64, dir_fd, buffer, sizeof(buffer));

                if (n < 0)
                        return error_origin(negative_errno());
                if (n == 0)
                        return 0;
                for (ssize_t at = 0; at < n;) {
                        const RemoveDirent *entry = (const RemoveDirent *)(buffer + at);
                        int r = 0;

                        at += entry->length;
                        if (strcmp(entry->name, ".") != 0 && strcmp(entry->name, "..") != 0)
                                r = remove_name(walk, dir_fd, entry->name, depth);
                        if (r)
                                return fold(r);
                }
        }
}

int remove_content(int dir_fd, RemoveFailure *failure)
{
        RemoveWalk walk = {.top_fd = dir_fd, .failure = failure};
        int r;

        /* A file system may skip entries while others go; rounds end when one finds nothing new and moved nothing up. */
        do {
                walk.has_moved = false;
                walk.has_left = false;
                if (lseek(dir_fd, 0, SEEK_SET) < 0)
                        return error_origin(negative_errno());
                r = remove_level(&walk, dir_fd, 1);
                if (r)
                        return fold(r);
        } while (walk.has_moved);
        return walk.has_left ? REMOVE_E_LEFT : 0;
}

int remove_entry(int dir_fd, const char *name, RemoveFailure *failure)
{
        _cleanup_fd_ int fd = -1;
        int r;

        if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
                return 0;
        if (errno != EISDIR)
                return error_origin(negative_errno());
        fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return error_origin(negative_errno());
        r = remove_content(fd, failure);
        if (r)
                return r < 0 ? fold(r) : r;
        if (unlinkat(dir_fd, name, AT_REMOVEDIR) < 0)
                return error_origin(negative_errno());
        return 0;
}
