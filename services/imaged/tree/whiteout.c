/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/tree/whiteout.h"
#include "lib/error.h"
#include <sys/sysmacros.h>
#include <sys/xattr.h>

int whiteout_make(int dir_fd, const char *name)
{
        /* Needs no CAP_MKNOD: Linux 5.8 takes 0:0 from anyone. */
        if (mknodat(dir_fd, name, S_IFCHR, makedev(0, 0)) < 0)
                return error_origin(negative_errno());
        return 0;
}

int whiteout_make_opaque(int dir_fd)
{
        if (fsetxattr(dir_fd, WHITEOUT_XATTR, "y", 1, 0) < 0)
                return error_origin(negative_errno());
        return 0;
}

bool whiteout_is(const struct stat *st)
{
        return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

int whiteout_is_opaque(int dir_fd)
{
        char value[2];
        ssize_t n = fgetxattr(dir_fd, WHITEOUT_XATTR, value, sizeof(value));

        if (n < 0)
                return errno == ENODATA ? 0 : error_origin(negative_errno());
        return n == 1 && value[0] == 'y';
}

int whiteout_mark_implicit(int dir_fd)
{
        if (fsetxattr(dir_fd, WHITEOUT_IMPLICIT_XATTR, "y", 1, 0) < 0)
                return error_origin(negative_errno());
        return 0;
}

int whiteout_unmark_implicit(int dir_fd)
{
        if (fremovexattr(dir_fd, WHITEOUT_IMPLICIT_XATTR) < 0 && errno != ENODATA)
                return error_origin(negative_errno());
        return 0;
}

int whiteout_is_implicit(int dir_fd)
{
        if (fgetxattr(dir_fd, WHITEOUT_IMPLICIT_XATTR, NULL, 0) >= 0)
                return 1;
        return errno == ENODATA ? 0 : error_origin(negative_errno());
}
