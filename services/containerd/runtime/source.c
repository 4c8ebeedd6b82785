/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/runtime/source.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "lib/error.h"
#include "lib/mount-tree.h"
#include "services/containerd/runtime/place.h"

#define SOURCE_MOUNTS_MAX 1024 /* what a spec can have at most */

static int source_make_directory(char *path)
{
        struct stat st;
        for (char *p = path + 1; stat(path, &st) < 0; p++) {
                p += strcspn(p, "/");
                char end = *p;
                *p = '\0';
                int r = *path != '/' || (mkdir(path, 0755) < 0 && errno != EEXIST) ? negative_errno() : 0;
                *p = end;
                if (r < 0)
                        return error_origin(r);
                if (end == '\0')
                        break;
        }
        return 0;
}

static int source_open(char path[SOURCE_PATH_MAX], bool make, int *ret_fd)
{
        char link[64], real[SOURCE_PATH_MAX];
        struct stat first, second;
        int r = make ? source_make_directory(path) : 0;
        if (r < 0)
                return fold(r);
        _cleanup_fd_ int fd = open(path, O_PATH | O_CLOEXEC);
        if (fd < 0)
                return error_origin(negative_errno());
        (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, real, sizeof(real) - 1);
        if (n < 0 || n == (ssize_t)sizeof(real) - 1)
                return error_origin(n < 0 ? negative_errno() : -ENAMETOOLONG);
        real[n] = '\0';
        _cleanup_fd_ int again = open(real, O_PATH | O_CLOEXEC | O_NOFOLLOW);
        if (again < 0 || fstat(fd, &first) < 0 || fstat(again, &second) < 0 || first.st_dev != second.st_dev ||
            first.st_ino != second.st_ino)
                return error_origin(-ESTALE);
        memcpy(path, real, (size_t)n + 1);
        *ret_fd = TAKE_FD(fd);
        return 0;
}

static bool source_path(char to[SOURCE_PATH_MAX], const char *directory, const char *kind, unsigned number)
{
        int n = snprintf(to, SOURCE_PATH_MAX, "%s/%s/%u", directory, kind, number);
        return n > 0 && n < SOURCE_PATH_MAX;
}

static int source_clone(int fd, const char *directory, unsigned number, int userns_fd)
{
        char path[SOURCE_PATH_MAX];
        _cleanup_fd_ int tree_fd = -1, target_fd = -1;
        struct stat st;
        if (number >= SOURCE_MOUNTS_MAX || fstat(fd, &st) < 0)
                return error_origin(-EINVAL);
        int r = mount_tree_clone(fd, "", MOUNT_TREE_RECURSIVE | MOUNT_TREE_SLAVE, userns_fd, &tree_fd);
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

int source_prepare(const ConfigCommon *common, const Permit *permit, char path[SOURCE_PATH_MAX], uint32_t flags, uint32_t number,
                   uint32_t *ret_restrictions)
{
        char directory[PLACE_PATH_MAX], pin[PLACE_PATH_MAX];
        _cleanup_fd_ int fd = -1, userns_fd = -1;
        place_path(directory, common, PLACE_CONTAINER, permit->id, "");
        place_path(pin, common, PLACE_USERNS, permit->pod_id, "");
        int r = source_open(path, flags & SOURCE_MAKE, &fd);
        if (r == 0 && flags & SOURCE_MAP)
                r = mount_tree_open_userns(pin, &userns_fd);
        if (r == 0 && flags & SOURCE_CLONE)
                r = source_clone(fd, directory, number, userns_fd);
        struct statvfs st;
        if (r == 0 && fstatvfs(fd, &st) < 0)
                r = error_origin(negative_errno());
        if (r == 0)
                *ret_restrictions = (st.f_flag & ST_NOSUID ? SOURCE_NOSUID : 0u) | (st.f_flag & ST_NODEV ? SOURCE_NODEV : 0u) |
                                    (st.f_flag & ST_NOEXEC ? SOURCE_NOEXEC : 0u);
        return r < 0 ? fold(r) : 0;
}

static int source_drop_kind(const char *directory, const char *kind)
{
        char path[SOURCE_PATH_MAX];
        int left = 0;
        for (unsigned i = 0; i < SOURCE_MOUNTS_MAX && source_path(path, directory, kind, i); i++) {
                while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
                        ;
                if (errno == ENOENT || errno == ENOTDIR)
                        break;
                if (rmdir(path) < 0 && (errno != ENOTDIR || unlink(path) < 0) && errno != ENOENT)
                        left = negative_errno();
        }
        int n = snprintf(path, sizeof(path), "%s/%s", directory, kind);
        if (left == 0 && n < SOURCE_PATH_MAX && rmdir(path) < 0 && errno != ENOENT)
                left = negative_errno();
        return left < 0 ? error_origin(left) : 0;
}

int source_drop(const ConfigCommon *common, const char *id)
{
        static const char *const kinds[] = {"mounts", "images"};
        char directory[PLACE_PATH_MAX];
        int left = 0;
        place_path(directory, common, PLACE_CONTAINER, id, "");
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
                int r = source_drop_kind(directory, kinds[i]);
                left = left < 0 ? left : r;
        }
        return left < 0 ? fold(left) : 0;
}
