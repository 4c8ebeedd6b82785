/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/root.h"
#include "lib/error.h"
#include "lib/strings.h"
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* Where the new root is mounted for the moment before it becomes the root; made by linkd-start. */
#define ROOT_STAGE "empty"

static int root_path(const ConfigCommon *config, char to[CONFIG_PATH_MAX * 2])
{
        int n = snprintf(to, CONFIG_PATH_MAX * 2, "%s/" ROOT_STAGE, config->runtime_dir);
        return n < 0 || n >= CONFIG_PATH_MAX * 2 ? error_origin(-ENAMETOOLONG) : 0;
}

static int root_attach_tmpfs(const char *path)
{
        _cleanup_fd_ int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);

        if (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "mode", "0755", 0) < 0 ||
            fsconfig(fs, FSCONFIG_SET_STRING, "size", "64k", 0) < 0 ||
            fsconfig(fs, FSCONFIG_SET_STRING, "nr_inodes", "64", 0) < 0 ||
            fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
                return error_origin(negative_errno());

        _cleanup_fd_ int mount_fd =
                fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
        if (mount_fd < 0 || move_mount(mount_fd, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
                return error_origin(negative_errno());
        return 0;
}

/* mkdir -p of an absolute path below the new root, which is the working directory. */
static int root_make_path(const char *path)
{
        char part[CONFIG_PATH_MAX * 2];

        if (!str_copy(part, sizeof(part), path + 1))
                return error_origin(-ENAMETOOLONG);
        for (char *p = part; *p; p++) {
                if (*p != '/')
                        continue;
                *p = '\0';
                if (mkdir(part, 0755) < 0 && errno != EEXIST)
                        return error_origin(negative_errno());
                *p = '/';
        }
        return mkdir(part, 0755) < 0 && errno != EEXIST ? error_origin(negative_errno()) : 0;
}

/* Opened before the new root covers anything: the host's directory as a detached mount of its own. */
static int root_clone_directory(const char *source, int *ret)
{
        struct mount_attr attributes = {
                .attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
                .propagation = MS_PRIVATE,
        };
        _cleanup_fd_ int fd = open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);

        if (fd < 0 || mount_setattr(fd, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) < 0)
                return error_origin(negative_errno());
        *ret = TAKE_FD(fd);
        return 0;
}

static int root_fill(const PolicyRow *row, const ConfigCommon *config, int fds[POLICY_DIRECTORIES_MAX])
{
        char path[CONFIG_PATH_MAX * 2];
        int r;

        for (size_t i = 0; row->directories[i].place != POLICY_PLACE_NONE; i++) {
                r = policy_directory_target(row, i, config, path);
                if (r == 0)
                        r = root_make_path(path);
                if (r)
                        return fold(r);
                if (fds[i] >= 0 && move_mount(fds[i], "", AT_FDCWD, path + 1, MOVE_MOUNT_F_EMPTY_PATH) < 0)
                        return error_origin(negative_errno());
        }
        /* Children of this process chroot to it. */
        r = root_path(config, path);
        if (r == 0)
                r = root_make_path(path);
        return r ? fold(r) : 0;
}

static int root_pivot(const PolicyRow *row, const ConfigCommon *config, int fds[POLICY_DIRECTORIES_MAX])
{
        struct mount_attr read_only = {.attr_set = MOUNT_ATTR_RDONLY};
        char stage[CONFIG_PATH_MAX * 2];

        int r = root_path(config, stage);
        if (r)
                return fold(r);
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                return error_origin(negative_errno());
        for (size_t i = 0; row->directories[i].place != POLICY_PLACE_NONE; i++) {
                char source[CONFIG_PATH_MAX * 2];
                r = policy_directory_source(row, i, config, source);
                if (r == 0 && source[0])
                        r = root_clone_directory(source, &fds[i]);
                if (r)
                        return fold(r);
        }
        r = root_attach_tmpfs(stage);
        if (r)
                return fold(r);
        if (chdir(stage) < 0)
                return error_origin(negative_errno());
        r = root_fill(row, config, fds);
        if (r)
                return fold(r);
        /* pivot_root(2): with the same directory twice the old root lies over the new one until it is detached. */
        if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0 ||
            mount_setattr(AT_FDCWD, "/", 0, &read_only, sizeof(read_only)) < 0)
                return error_origin(negative_errno());
        return 0;
}

int root_enter_fresh(const PolicyRow *row, const ConfigCommon *config)
{
        int fds[POLICY_DIRECTORIES_MAX] = {-1, -1, -1, -1, -1};

        _Static_assert(POLICY_DIRECTORIES_MAX == 5, "initialise them all");
        int r = root_pivot(row, config, fds);
        for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
                fds[i] = fd_close(fds[i]);
        return r ? fold(r) : 0;
}

int root_enter_empty(const ConfigCommon *config)
{
        char path[CONFIG_PATH_MAX * 2];

        int r = root_path(config, path);
        if (r)
                return fold(r);
        return chroot(path) < 0 || chdir("/") < 0 ? error_origin(negative_errno()) : 0;
}
