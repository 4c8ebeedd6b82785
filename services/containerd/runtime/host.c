/* SPDX-License-Identifier: Apache-2.0 */

#include "services/containerd/runtime/host.h"

#include <fcntl.h>
#include <fts.h>
#include <linux/openat2.h>
#include <sys/syscall.h>

#include "lib/strings.h"

int host_open_beneath(const char *directory, const char *path, int *ret_fd)
{
        struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
                               .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
        size_t n = strlen(directory);
        if (*path == '/' && (!str_has_prefix(path, directory) || (n > 1 && path[n] != '/')))
                return -EPERM;
        path += *path == '/' ? n : 0;
        path += strspn(path, "/");
        _cleanup_fd_ int dir_fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
        *ret_fd = dir_fd < 0 ? -1 : (int)syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));
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
