/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/runtime/source.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "lib/error.h"
#include "lib/mount-tree.h"
#include "services/containerd/runtime/host.h"
#include "services/containerd/runtime/place.h"

/* Opens the deepest thing on the way that is there; the rest of path, from the offset on, is missing. */
static int source_find(const char *path, bool make, int *ret_fd, size_t *ret_rest)
{
        char head[SOURCE_PATH_MAX];
        size_t n = strlen(path);
        int fd;
        memcpy(head, path, n + 1);
        while ((fd = open(n > 0 ? head : "/", O_PATH | O_CLOEXEC)) < 0 && errno == ENOENT && make && n > 0) {
                while (n > 0 && head[n - 1] != '/')
                        n--;
                while (n > 0 && head[n - 1] == '/')
                        n--;
                head[n] = '\0';
        }
        if (fd < 0)
                return error_origin(negative_errno());
        *ret_fd = fd;
        *ret_rest = n;
        return 0;
}

/* As mkdir -p, and through no link: whoever was asked allowed what lies here, not where somebody may let it lead meanwhile. */
static int source_make(char *rest, int *fd)
{
        for (char *name = rest; *name;) {
                name += strspn(name, "/");
                size_t n = strcspn(name, "/");
                char end = name[n];
                name[n] = '\0';
                int next = -1;
                if (*name && strcmp(name, ".") != 0) {
                        if (strcmp(name, "..") == 0)
                                return error_origin(-EINVAL);
                        if (mkdirat(*fd, name, 0755) < 0 && errno != EEXIST)
                                return error_origin(negative_errno());
                        next = openat(*fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
                        if (next < 0)
                                return error_origin(negative_errno());
                        (void)fd_close(*fd);
                        *fd = next;
                }
                name[n] = end;
                name += n;
        }
        return 0;
}

static int source_open(const RenderAsk *ask, char path[SOURCE_PATH_MAX], int *ret_fd)
{
        char real[HOST_PATH_MAX];
        struct stat first, second;
        _cleanup_fd_ int fd = -1;
        size_t rest = 0;
        int r = *path == '/' ? source_find(path, ask->flags & SOURCE_MAKE, &fd, &rest) : error_origin(-EINVAL);
        if (r == 0)
                r = host_real_path(fd, ask->within, real);
        if (r == -EXDEV && strlen(real) + strlen(path + rest) < SOURCE_PATH_MAX) {
                (void)memmove(path + strlen(real), path + rest, strlen(path + rest) + 1);
                memcpy(path, real, strlen(real));
        }
        if (r == 0 && path[rest]) {
                r = source_make(path + rest, &fd);
                if (r == 0)
                        r = host_real_path(fd, "", real);
        }
        if (r < 0)
                return fold(r);
        _cleanup_fd_ int again = ask->flags & SOURCE_CLONE ? -1 : open(real, O_PATH | O_CLOEXEC | O_NOFOLLOW);
        if (!(ask->flags & SOURCE_CLONE) &&
            (again < 0 || fstat(fd, &first) < 0 || fstat(again, &second) < 0 || first.st_dev != second.st_dev ||
             first.st_ino != second.st_ino))
                return error_origin(-ESTALE);
        memcpy(path, real, strlen(real) + 1);
        *ret_fd = TAKE_FD(fd);
        return 0;
}

static int source_clone(int fd, const char *directory, unsigned number, unsigned propagation, int userns_fd)
{
        char path[SOURCE_PATH_MAX];
        _cleanup_fd_ int tree_fd = -1, target_fd = -1;
        struct stat st;
        if (number >= SOURCE_MOUNTS_MAX || fstat(fd, &st) < 0)
                return error_origin(-EINVAL);
        int r = mount_tree_clone(fd, "", MOUNT_TREE_RECURSIVE | propagation, userns_fd, &tree_fd);
        if (r < 0)
                return fold(r);
        (void)snprintf(path, sizeof(path), "%s/mounts", directory);
        if (mkdir(path, 0711) < 0 && errno != EEXIST)
                return error_origin(negative_errno());
        if (!source_path(path, directory, "mounts", number))
                return error_origin(-ENAMETOOLONG);
        if (S_ISDIR(st.st_mode))
                r = mkdir(path, 0700) < 0 ? error_origin(negative_errno()) : 0;
        else
                target_fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (r == 0 && !S_ISDIR(st.st_mode) && target_fd < 0)
                r = error_origin(negative_errno());
        if (r == 0)
                r = mount_tree_attach(tree_fd, AT_FDCWD, path);
        return r < 0 ? fold(r) : 0;
}

int source_prepare(const ConfigCommon *common, const Permit *permit, const RenderAsk *ask, char path[SOURCE_PATH_MAX],
                   uint32_t *ret_restrictions)
{
        char directory[PLACE_PATH_MAX], pin[PLACE_PATH_MAX];
        _cleanup_fd_ int fd = -1, userns_fd = -1;
        place_path(directory, common, PLACE_CONTAINER, permit->id, "");
        place_path(pin, common, PLACE_USERNS, permit->pod_id, "");
        memcpy(path, ask->text, sizeof(ask->text));
        int r = source_open(ask, path, &fd);
        if (r == 0 && ask->flags & SOURCE_MAP)
                r = mount_tree_open_userns(pin, &userns_fd);
        if (r == 0 && ask->flags & SOURCE_CLONE)
                r = source_clone(fd, directory, ask->number, ask->flags & SOURCE_SHARE ? 0 : MOUNT_TREE_SLAVE, userns_fd);
        struct statvfs st;
        if (r == 0 && fstatvfs(fd, &st) < 0)
                r = error_origin(negative_errno());
        if (r == 0)
                *ret_restrictions = (st.f_flag & ST_NOSUID ? SOURCE_NOSUID : 0u) | (st.f_flag & ST_NODEV ? SOURCE_NODEV : 0u) |
                                    (st.f_flag & ST_NOEXEC ? SOURCE_NOEXEC : 0u);
        return r < 0 ? fold(r) : 0;
}
