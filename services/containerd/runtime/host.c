/* SPDX-License-Identifier: Apache-2.0 */

#include "services/containerd/runtime/host.h"

#include <dirent.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>

#include "lib/strings.h"

static int host_read_path(int fd, char to[HOST_PATH_MAX])
{
        char link[64];
        (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, to, HOST_PATH_MAX);
        if (n < 0 || n == HOST_PATH_MAX)
                return n < 0 ? negative_errno() : -ENAMETOOLONG;
        to[n] = '\0';
        return 0;
}

int host_real_path(int fd, const char *directory, char to[HOST_PATH_MAX])
{
        char base[HOST_PATH_MAX];
        int r = host_read_path(fd, to);
        if (r < 0 || !*directory)
                return r;
        _cleanup_fd_ int directory_fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
        r = directory_fd < 0 ? negative_errno() : host_read_path(directory_fd, base);
        if (r < 0)
                return r == -ENOENT ? -EXDEV : r;
        size_t n = strlen(base);
        return n > 1 && (!str_has_prefix(to, base) || (to[n] != '/' && to[n] != '\0')) ? -EXDEV : 0;
}

int host_open_profile(const char *directory, const char *path, int *ret_fd)
{
        char real[HOST_PATH_MAX], link[64];
        struct stat st;
        if (*path != '/')
                return -EINVAL;
        /* Looked at before it is opened: to open a device or a FIFO has effects. */
        _cleanup_fd_ int fd = open(path, O_PATH | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) < 0)
                return negative_errno();
        int r = host_real_path(fd, directory, real);
        if (r < 0)
                return r;
        if (!S_ISREG(st.st_mode))
                return -EINVAL;
        (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        *ret_fd = open(link, O_RDONLY | O_CLOEXEC);
        return *ret_fd < 0 ? negative_errno() : 0;
}

static int host_walk_files(const char *directory, uint32_t priority, HostFileCallback callback, void *userdata)
{
        char path[HOST_PATH_MAX];
        DIR *dir = opendir(directory);
        int r = 0;
        if (!dir)
                return errno == ENOENT ? 0 : negative_errno();
        for (struct dirent *entry; r == 0 && (entry = readdir(dir));) {
                const char *name = entry->d_name;
                struct stat st;
                if (name[0] == '.' || (!str_has_suffix(name, ".json") && !str_has_suffix(name, ".yaml") && !str_has_suffix(name, ".yml")) ||
                    fstatat(dirfd(dir), name, &st, 0) < 0 || !S_ISREG(st.st_mode))
                        continue;
                _cleanup_fd_ int fd = openat(dirfd(dir), name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
                (void)snprintf(path, sizeof(path), "%s/%s", directory, name);
                r = fd < 0 ? negative_errno() : callback(userdata, path, priority, fd);
        }
        (void)closedir(dir);
        return r;
}

int host_walk_cdi(HostFileCallback callback, void *userdata)
{
        static const char *const directories[] = {"/etc/cdi", "/var/run/cdi"}; /* the CDI specification's; the later one wins */
        int r = 0;
        for (size_t i = 0; i < ARRAY_SIZE(directories) && r == 0; i++)
                r = host_walk_files(directories[i], (uint32_t)i, callback, userdata);
        return r;
}

int host_walk_devices(char *path, HostDeviceCallback callback, void *userdata)
{
        char *const paths[] = {path, NULL};
        FTS *tree = fts_open(paths, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR | FTS_XDEV, NULL);
        int r = tree ? 0 : negative_errno();
        for (FTSENT *entry; r == 0 && (entry = fts_read(tree));) {
                const struct stat *st = entry->fts_statp;
                if (entry->fts_info == FTS_NS && entry->fts_level == 0)
                        r = -entry->fts_errno;
                if (entry->fts_info == FTS_DEFAULT && (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode)))
                        r = callback(userdata, entry->fts_path, st);
        }
        if (tree)
                (void)fts_close(tree);
        return r;
}
