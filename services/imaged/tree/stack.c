/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/tree/stack.h"
#include "lib/error.h"
#include "services/imaged/tree/copy.h"
#include "services/imaged/tree/measure.h"
#include "services/imaged/tree/path.h"
#include "services/imaged/tree/whiteout.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define STACK_OPEN (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

typedef struct Stack {
        Report *report;
        int image_fd, tree_fd; /* owned */
        uint32_t n_layers;
        int layer_fds[SEAL_LAYERS_MAX]; /* owned */
        char path[PATH_BYTES]; /* of the directory that is looked at */
} Stack;

static void stack_done(Stack *stack)
{
        stack->image_fd = fd_close(stack->image_fd);
        stack->tree_fd = fd_close(stack->tree_fd);
        for (uint32_t i = 0; i < stack->n_layers; i++)
                stack->layer_fds[i] = fd_close(stack->layer_fds[i]);
}

static int stack_errno(Stack *stack, const char *what)
{
        return report_errno(stack->report, errno, what, stack->path);
}

/* What one layer says of a path. */
typedef enum StackFound {
        STACK_FOUND_NOTHING, /* the layers below say */
        STACK_FOUND_HIDDEN,  /* it is none, or something else, and the layers below do not count */
        STACK_FOUND_IMPLICIT,
        STACK_FOUND_IMPLICIT_LAST, /* the same, and the layers below do not count */
        STACK_FOUND_EXPLICIT,
} StackFound;

/* Where it is explicit, ret_fd is the directory. */
static int stack_find(Stack *stack, uint32_t layer, StackFound *ret, int *ret_fd)
{
        _cleanup_fd_ int fd = fcntl(stack->layer_fds[layer], F_DUPFD_CLOEXEC, 0);
        bool is_hiding = false;

        if (fd < 0)
                return stack_errno(stack, "looking for");
        for (const char *at = stack->path; *at;) {
                size_t n = strcspn(at, "/");
                char name[PATH_COMPONENT_MAX + 1];
                int next, opaque;

                memcpy(name, at, n);
                name[n] = 0;
                at += n + (at[n] == '/');
                next = openat(fd, name, STACK_OPEN);
                if (next < 0 && errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
                        return stack_errno(stack, "looking for");
                if (next < 0) {
                        *ret = errno == ENOENT && !is_hiding ? STACK_FOUND_NOTHING : STACK_FOUND_HIDDEN;
                        return 0;
                }
                (void)fd_close(fd);
                fd = next;
                opaque = whiteout_is_opaque(fd);
                if (opaque < 0)
                        return stack_errno(stack, "looking for");
                is_hiding |= opaque > 0;
        }
        int implicit = whiteout_is_implicit(fd);
        if (implicit < 0)
                return stack_errno(stack, "looking for");
        if (implicit) {
                *ret = is_hiding ? STACK_FOUND_IMPLICIT_LAST : STACK_FOUND_IMPLICIT;
                return 0;
        }
        *ret = STACK_FOUND_EXPLICIT;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* The directory that says how the path is to be; -1 if the uppermost one is right as it is. */
static int stack_find_source(Stack *stack, int *ret_fd)
{
        bool is_covered = false;

        *ret_fd = -1;
        for (uint32_t i = stack->n_layers; i > 0; i--) {
                StackFound found = STACK_FOUND_NOTHING;
                _cleanup_fd_ int fd = -1;
                int r;

                r = stack_find(stack, i - 1, &found, &fd);
                if (r)
                        return r;
                switch (found) {
                case STACK_FOUND_NOTHING:
                        break;
                case STACK_FOUND_IMPLICIT:
                        is_covered = true;
                        break;
                case STACK_FOUND_EXPLICIT:
                        if (is_covered)
                                *ret_fd = TAKE_FD(fd);
                        return 0;
                case STACK_FOUND_HIDDEN:
                case STACK_FOUND_IMPLICIT_LAST:
                        return 0;
                }
        }
        return 0;
}

/* A directory that was made without an entry is just like this. */
static int stack_is_ordinary(Stack *stack, int fd, bool *ret)
{
        char names[4096];
        struct stat st;
        ssize_t n;

        if (fstat(fd, &st) < 0)
                return stack_errno(stack, "reading");
        n = flistxattr(fd, names, sizeof(names));
        *ret = (st.st_mode & 07777) == 0755 && st.st_uid == 0 && st.st_gid == 0 && n >= 0;
        for (ssize_t at = 0; *ret && at < n; at += (ssize_t)strlen(names + at) + 1)
                if (!str_has_prefix(names + at, "user.overlay.") && !str_has_prefix(names + at, "trusted."))
                        *ret = false;
        return 0;
}

/* Opens name beneath both the merged image and the new layer, where it is made like the image's if it is missing. */
static int stack_descend(Stack *stack, int *image_fd, int *tree_fd, const char *name)
{
        _cleanup_fd_ int image_next = openat(*image_fd, name, STACK_OPEN), tree_next = -1;
        struct stat st;
        int r;

        if (image_next < 0 || fstat(*tree_fd, &st) < 0)
                return stack_errno(stack, "opening");
        if (mkdirat(*tree_fd, name, 0755) < 0) {
                if (errno != EEXIST)
                        return stack_errno(stack, "making");
                tree_next = openat(*tree_fd, name, STACK_OPEN);
                if (tree_next < 0)
                        return stack_errno(stack, "opening");
        } else {
                const struct timespec times[2] = {st.st_atim, st.st_mtim};

                stack->report->n_implicit++;
                tree_next = openat(*tree_fd, name, STACK_OPEN);
                /* The new entry changed the time that the directory above was given. */
                if (tree_next < 0 || futimens(*tree_fd, times) < 0)
                        return stack_errno(stack, "opening");
                r = copy_attributes(image_next, tree_next, 0, stack->path, stack->report);
                if (r)
                        return r;
        }
        (void)fd_close(*image_fd);
        (void)fd_close(*tree_fd);
        *image_fd = TAKE_FD(image_next);
        *tree_fd = TAKE_FD(tree_next);
        return 0;
}

static int stack_fix_with(Stack *stack, int source_fd)
{
        _cleanup_fd_ int image_fd = fcntl(stack->image_fd, F_DUPFD_CLOEXEC, 0);
        _cleanup_fd_ int tree_fd = fcntl(stack->tree_fd, F_DUPFD_CLOEXEC, 0);

        if (image_fd < 0 || tree_fd < 0)
                return stack_errno(stack, "opening");
        for (const char *at = stack->path; *at;) {
                size_t n = strcspn(at, "/");
                char name[PATH_COMPONENT_MAX + 1];
                int r;

                memcpy(name, at, n);
                name[n] = 0;
                at += n + (at[n] == '/');
                r = stack_descend(stack, &image_fd, &tree_fd, name);
                if (r)
                        return r;
        }
        return copy_attributes(source_fd, tree_fd, 0, stack->path, stack->report);
}

/* The path is a marked directory of some layer. */
static int stack_fix(Stack *stack)
{
        _cleanup_fd_ int source_fd = -1;
        bool is_ordinary;
        int r;

        r = stack_find_source(stack, &source_fd);
        if (r || source_fd < 0)
                return r;
        r = stack_is_ordinary(stack, source_fd, &is_ordinary);
        if (r || is_ordinary)
                return r;
        return stack_fix_with(stack, source_fd);
}

/* Looks at each directory below dir_fd, which is stack->path, the upper ones first. Takes dir_fd. */
static int stack_walk(Stack *stack, int dir_fd, unsigned depth)
{
        size_t n_path = strlen(stack->path);
        DIR *dir = fdopendir(dir_fd);
        int r = 0;

        if (!dir) {
                r = stack_errno(stack, "listing");
                (void)fd_close(dir_fd);
                return r;
        }
        if (depth > PATH_DEPTH_MAX)
                r = report_fail(stack->report, GRPC_STATUS_INVALID_ARGUMENT, "a layer is too deep");
        for (const struct dirent *entry = readdir(dir); entry && r == 0; entry = readdir(dir)) {
                size_t n = strlen(entry->d_name);
                int fd, implicit;

                if (entry->d_type != DT_DIR || str_equal(entry->d_name, ".") || str_equal(entry->d_name, ".."))
                        continue;
                if (n_path + 1 + n >= PATH_BYTES || n > PATH_COMPONENT_MAX) {
                        r = report_fail(stack->report, GRPC_STATUS_INVALID_ARGUMENT, "a path in a layer is too long");
                        break;
                }
                (void)snprintf(stack->path + n_path, PATH_BYTES - n_path, "%s%s", n_path > 0 ? "/" : "", entry->d_name);
                fd = openat(dirfd(dir), entry->d_name, STACK_OPEN);
                implicit = fd < 0 ? -1 : whiteout_is_implicit(fd);
                if (implicit < 0)
                        r = stack_errno(stack, "reading");
                else if (implicit)
                        r = stack_fix(stack);
                if (r == 0)
                        r = stack_walk(stack, TAKE_FD(fd), depth + 1);
                (void)fd_close(fd);
                stack->path[n_path] = 0;
        }
        (void)closedir(dir);
        return r;
}

static int stack_open(Stack *stack)
{
        stack->image_fd = open("/image", STACK_OPEN);
        stack->tree_fd = open("/tree", STACK_OPEN);
        if (stack->image_fd < 0 || stack->tree_fd < 0)
                return stack_errno(stack, "opening");
        for (uint32_t i = 0; i < stack->n_layers; i++) {
                char path[32];

                (void)snprintf(path, sizeof(path), "/apart/%u", i);
                stack->layer_fds[i] = open(path, STACK_OPEN);
                if (stack->layer_fds[i] < 0)
                        return report_errno(stack->report, errno, "opening", path);
        }
        return 0;
}

int stack_make(uint32_t n_layers, Report *report)
{
        _cleanup_(stack_done) Stack stack = {.report = report, .image_fd = -1, .tree_fd = -1, .n_layers = n_layers};
        Measure measure;
        int r;

        for (uint32_t i = 0; i < n_layers; i++)
                stack.layer_fds[i] = -1;
        r = stack_open(&stack);
        /* Nothing lies below the lowest. */
        for (uint32_t i = 1; i < n_layers && r == 0; i++) {
                int fd = openat(stack.layer_fds[i], ".", STACK_OPEN);

                stack.path[0] = 0;
                r = fd < 0 ? stack_errno(&stack, "opening") : stack_walk(&stack, fd, 1);
        }
        if (r)
                return r;
        r = measure_tree(stack.tree_fd, &measure);
        if (r)
                return report_fail(report, GRPC_STATUS_INTERNAL, "measuring what was made failed");
        report->bytes = measure.bytes;
        report->inodes = measure.inodes;
        return 0;
}
