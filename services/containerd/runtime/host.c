/* SPDX-License-Identifier: Apache-2.0 */

#include "services/containerd/runtime/host.h"

#include <fcntl.h>
#include <fts.h>
#include <stdio.h>

#include "lib/strings.h"

#define HOST_PATH_MAX 4096

/* Where an O_PATH fd leads, as the kernel writes it. */
static int host_real_path(int fd, char to[HOST_PATH_MAX])
{
        char link[64];
        (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, to, HOST_PATH_MAX);
        if (n < 0 || n == HOST_PATH_MAX)
                return n < 0 ? negative_errno() : -ENAMETOOLONG;
        to[n] = '\0';
        return 0;
}

int host_open_profile(const char *directory, const char *path, int *ret_fd)
{
        char real[HOST_PATH_MAX], base[HOST_PATH_MAX], link[64];
        struct stat st;
        if (*path != '/')
                return -EINVAL;
        /* Looked at before it is opened: to open a device or a FIFO has effects. */
        _cleanup_fd_ int fd = open(path, O_PATH | O_CLOEXEC);
        _cleanup_fd_ int directory_fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || directory_fd < 0 || fstat(fd, &st) < 0)
                return negative_errno();
        int r = host_real_path(fd, real);
        if (r == 0)
                r = host_real_path(directory_fd, base);
        if (r < 0)
                return r;
        size_t n = strlen(base);
        if (n > 1 && (!str_has_prefix(real, base) || real[n] != '/'))
                return -EXDEV;
        if (!S_ISREG(st.st_mode))
                return -EINVAL;
        (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        *ret_fd = open(link, O_RDONLY | O_CLOEXEC);
        return *ret_fd < 0 ? negative_errno() : 0;
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
