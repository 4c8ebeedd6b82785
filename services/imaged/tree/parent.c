/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/tree/parent.h"
#include "lib/error.h"
#include "services/imaged/tree/whiteout.h"

#include <assert.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>

#define PARENT_LINKS_MAX 40 /* as many as the kernel follows in one path (MAXSYMLINKS) */
#define PARENT_FLAGS (O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

void parent_done(Parent *parent)
{
        parent_forget(parent);
}

void parent_forget(Parent *parent)
{
        parent->fd = fd_close(parent->fd);
}

static int parent_refuse(Parent *parent, const char *problem)
{
        parent->problem = problem;
        return PARENT_E_REFUSED;
}

/* Opens a path without a symlink in it, the usual case, in one system call. -1 with errno. */
static int parent_openat2(int root_fd, const char *path)
{
        struct open_how how = {
                .flags = PARENT_FLAGS,
                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
        };

        return (int)syscall(SYS_openat2, root_fd, *path ? path : ".", &how, sizeof(how));
}

/* hides: a whiteout stood there, so the directory hides what lies below it. */
static int parent_make(Parent *parent, int dir_fd, const char *name, bool hides)
{
        _cleanup_fd_ int fd = -1;
        int r;

        if (mkdirat(dir_fd, name, 0755) < 0)
                return error_origin(negative_errno());
        fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return error_origin(negative_errno());
        parent->n_made++;
        r = whiteout_mark_implicit(fd);
        if (r == 0 && hides)
                r = whiteout_make_opaque(fd);
        return r ? fold(r) : 0;
}

/* A walk down from the root. rest is what is still to be walked; done is where we are, without a symlink in it. */
typedef struct ParentWalk {
        int fd;  /* owned; where we are */
        bool make;
        unsigned n_links;
        size_t n_own; /* the last n_own bytes of rest are the entry's own; before them stands what links said */
        size_t n_done;
        char done[PATH_BYTES];
        char rest[PATH_BYTES];
} ParentWalk;

/* The component just taken from rest came out of a link: what links lead to must exist, nothing is made there. */
static bool parent_walk_is_link(const ParentWalk *walk)
{
        return strlen(walk->rest) >= walk->n_own;
}

static void parent_walk_done(ParentWalk *walk)
{
        walk->fd = fd_close(walk->fd);
}

static int parent_walk_to(Parent *parent, ParentWalk *walk)
{
        walk->fd = fd_close(walk->fd);
        walk->done[walk->n_done] = 0;
        walk->fd = parent_openat2(parent->root_fd, walk->done);
        return walk->fd < 0 ? error_origin(negative_errno()) : 0;
}

static int parent_walk_up(Parent *parent, ParentWalk *walk)
{
        while (walk->n_done > 0 && walk->done[--walk->n_done] != '/')
                ;
        int r = parent_walk_to(parent, walk);
        return r ? fold(r) : 0;
}

/* Puts the link's target before the rest. */
static int parent_walk_link(Parent *parent, ParentWalk *walk, const char *name)
{
        char target[PATH_BYTES];
        ssize_t n = readlinkat(walk->fd, name, target, sizeof(target));
        size_t n_rest = strlen(walk->rest);

        if (n < 0)
                return error_origin(negative_errno());
        if (++walk->n_links > PARENT_LINKS_MAX)
                return parent_refuse(parent, "its parent is a loop of symlinks");
        if ((size_t)n + 1 + n_rest >= PATH_BYTES)
                return parent_refuse(parent, "its parent is a symlink that leads to a path longer than one can be");
        memmove(walk->rest + n + 1, walk->rest, n_rest + 1);
        memcpy(walk->rest, target, (size_t)n);
        walk->rest[n] = '/';
        walk->n_own = MIN2(walk->n_own, n_rest);
        if (target[0] == '/') {
                walk->n_done = 0;
                int r = parent_walk_to(parent, walk);
                return r ? fold(r) : 0;
        }
        return 0;
}

/* The component cannot be opened as a directory: it is missing, a symlink, a whiteout, or something else. */
static int parent_walk_special(Parent *parent, ParentWalk *walk, const char *name, bool *ret_again)
{
        struct stat st;
        int r;

        *ret_again = true;
        if (fstatat(walk->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
                if (errno != ENOENT)
                        return error_origin(negative_errno());
                if (parent_walk_is_link(walk))
                        return parent_refuse(parent, "its parent is a symlink to what is no directory of this layer");
                if (!walk->make)
                        return parent_refuse(parent, "it is not in this layer");
                r = parent_make(parent, walk->fd, name, false);
                return r ? fold(r) : 0;
        }
        if (S_ISLNK(st.st_mode)) {
                *ret_again = false;
                return parent_walk_link(parent, walk, name);
        }
        if (whiteout_is(&st) && walk->make && !parent_walk_is_link(walk)) {
                if (unlinkat(walk->fd, name, 0) < 0)
                        return error_origin(negative_errno());
                r = parent_make(parent, walk->fd, name, true);
                return r ? fold(r) : 0;
        }
        return parent_refuse(parent, "its parent is not a directory");
}

static int parent_walk_component(Parent *parent, ParentWalk *walk, const char *name)
{
        size_t n = strlen(name);
        bool again = false;
        int fd;

        do {
                fd = openat(walk->fd, name, PARENT_FLAGS);
                if (fd < 0) {
                        int r;

                        if (again || (errno != ENOENT && errno != ENOTDIR && errno != ELOOP))
                                return error_origin(negative_errno());
                        r = parent_walk_special(parent, walk, name, &again);
                        if (r || !again)
                                return r;
                }
        } while (fd < 0);
        (void)fd_close(walk->fd);
        walk->fd = fd;
        if (walk->n_done + 1 + n >= PATH_BYTES)
                return parent_refuse(parent, "its parent's path is longer than one can be");
        if (walk->n_done > 0)
                walk->done[walk->n_done++] = '/';
        memcpy(walk->done + walk->n_done, name, n + 1);
        walk->n_done += n;
        return 0;
}

static int parent_walk(Parent *parent, ParentWalk *walk)
{
        int r;

        r = parent_walk_to(parent, walk);
        if (r)
                return fold(r);
        while (*walk->rest) {
                size_t n = strcspn(walk->rest, "/");
                char name[PATH_COMPONENT_MAX + 1];

                if (n > PATH_COMPONENT_MAX)
                        return parent_refuse(parent, "its parent is a symlink to a name longer than one can be");
                memcpy(name, walk->rest, n);
                name[n] = 0;
                n += walk->rest[n] == '/';
                memmove(walk->rest, walk->rest + n, strlen(walk->rest + n) + 1);
                if (!*name || strcmp(name, ".") == 0)
                        continue;
                if (strcmp(name, "..") == 0)
                        r = parent_walk_up(parent, walk);
                else
                        r = parent_walk_component(parent, walk, name);
                if (r)
                        return r;
        }
        return 0;
}

int parent_open(Parent *parent, const char *path, size_t n_path, bool make, int *ret_fd)
{
        _cleanup_(parent_walk_done) ParentWalk walk = {.fd = -1, .make = make, .n_own = PATH_BYTES};
        int r;

        assert(n_path < PATH_BYTES);
        if (parent->fd >= 0 && parent->n_path == n_path && memcmp(parent->path, path, n_path) == 0) {
                *ret_fd = parent->fd;
                return 0;
        }
        parent_forget(parent);
        memcpy(parent->path, path, n_path);
        parent->path[n_path] = 0;
        parent->n_path = n_path;
        parent->fd = parent_openat2(parent->root_fd, parent->path);
        if (parent->fd < 0) {
                if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
                        return error_origin(negative_errno());
                memcpy(walk.rest, parent->path, n_path + 1);
                r = parent_walk(parent, &walk);
                if (r)
                        return r < 0 ? fold(r) : r;
                parent->fd = TAKE_FD(walk.fd);
        }
        *ret_fd = parent->fd;
        return 0;
}
