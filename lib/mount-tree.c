/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/mount-tree.h"

#include "lib/error.h"
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/syscall.h>

static uint64_t mount_tree_attributes(unsigned flags)
{
        return (flags & MOUNT_TREE_READONLY ? MOUNT_ATTR_RDONLY : 0) | (flags & MOUNT_TREE_NOSUID ? MOUNT_ATTR_NOSUID : 0) |
               (flags & MOUNT_TREE_NODEV ? MOUNT_ATTR_NODEV : 0);
}

int mount_tree_restrict(int tree_fd, unsigned flags)
{
        struct mount_attr attributes = {.attr_set = mount_tree_attributes(flags)};
        return syscall(SYS_mount_setattr, tree_fd, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) < 0 ? error_origin(negative_errno()) : 0;
}

int mount_tree_clone(int dir_fd, const char *path, unsigned flags, int userns_fd, int *ret_fd)
{
        const unsigned recursive = flags & MOUNT_TREE_RECURSIVE ? AT_RECURSIVE : 0;
        struct mount_attr attributes = {
                .attr_set = mount_tree_attributes(flags) | (userns_fd >= 0 ? MOUNT_ATTR_IDMAP : 0),
                .propagation = flags & MOUNT_TREE_SLAVE ? MS_SLAVE : 0,
                .userns_fd = userns_fd >= 0 ? (uint64_t)userns_fd : 0,
        };
        _cleanup_fd_ int fd = (int)syscall(SYS_open_tree, dir_fd, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | recursive);
        if (fd < 0)
                return error_origin(negative_errno());
        if ((attributes.attr_set || attributes.propagation) && syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | recursive, &attributes, sizeof(attributes)) < 0)
                return error_origin(negative_errno());
        *ret_fd = TAKE_FD(fd);
        return 0;
}

int mount_tree_attach(int tree_fd, int dir_fd, const char *path)
{
        unsigned flags = MOVE_MOUNT_F_EMPTY_PATH | (*path ? 0 : MOVE_MOUNT_T_EMPTY_PATH);
        return syscall(SYS_move_mount, tree_fd, "", dir_fd, path, flags) < 0 ? error_origin(negative_errno()) : 0;
}

int mount_tree_open_userns(const char *path, int *ret_fd)
{
        _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
        if (fd < 0)
                return error_origin(negative_errno());
        /* Of anything but a namespace: ENOTTY. */
        if (ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWUSER)
                return error_origin(-EINVAL);
        *ret_fd = TAKE_FD(fd);
        return 0;
}
