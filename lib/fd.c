/* SPDX-License-Identifier: Apache-2.0 */

#include "lib/fd.h"
#include "lib/error.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#ifndef PID_FS_MAGIC
#define PID_FS_MAGIC 0x50494446 /* linux/magic.h since 6.9: pidfds have a file system of their own */
#endif

#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x20 /* linux/fcntl.h since 6.3 */
#endif

#define FD_SEALS_FIXED (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
#define FD_SEALS_SIZE (F_SEAL_SHRINK | F_SEAL_GROW)
#define FD_READ_FILE_CHUNK 4096
/* Pty masters: /dev/ptmx (5:2), and majors 128 to 135 (Documentation/admin-guide/devices.txt of the kernel). */
#define FD_PTMX_MAJOR 5
#define FD_PTMX_MINOR 2
#define FD_PTY_MASTER_MAJOR_FIRST 128
#define FD_PTY_MASTER_MAJOR_LAST 135

/* Anything opened O_PATH cannot be read or written and carries no proof of access: never a kind. */
static bool fd_is_path(int flags)
{
        return (flags & O_PATH) != 0;
}

static bool fd_is_readable(int flags)
{
        return !fd_is_path(flags) && (flags & O_ACCMODE) != O_WRONLY;
}

static bool fd_is_writable(int flags)
{
        return !fd_is_path(flags) && (flags & O_ACCMODE) != O_RDONLY;
}

static bool fd_is_pty_master(const struct stat *st)
{
        unsigned type;

        if (!S_ISCHR(st->st_mode))
                return false;
        type = major(st->st_rdev);
        return (type == FD_PTMX_MAJOR && minor(st->st_rdev) == FD_PTMX_MINOR) ||
               (type >= FD_PTY_MASTER_MAJOR_FIRST && type <= FD_PTY_MASTER_MAJOR_LAST);
}

/* A pidfd has no type in st_mode of its own before Linux 6.9 (an anonymous inode); its fdinfo has a Pid line always,
 * but no confined process sees /proc. What tells them apart everywhere: on pidfs by the file system, else an anonymous
 * inode on which waitid(P_PIDFD) answers anything but EBADF and EINVAL. */
static int fd_is_pidfd(int fd, bool *ret)
{
        siginfo_t info = {0};
        struct statfs fs;

        if (fstatfs(fd, &fs) < 0)
                return error_origin(negative_errno());
        if ((uint64_t)fs.f_type == PID_FS_MAGIC) {
                *ret = true;
                return 0;
        }
        if (fs.f_type != ANON_INODE_FS_MAGIC) {
                *ret = false;
                return 0;
        }
        *ret = waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG | WNOWAIT) == 0 ||
               (errno != EBADF && errno != EINVAL);
        return 0;
}

static int fd_is_on_tmpfs(int fd, bool *ret)
{
        struct statfs fs;

        if (fstatfs(fd, &fs) < 0)
                return error_origin(negative_errno());
        *ret = fs.f_type == TMPFS_MAGIC;
        return 0;
}

/* A memory file: tmpfs (a hugetlb memfd takes seals too, but lives on hugetlbfs), seals as asked. F_GET_SEALS fails
 * with EINVAL on files that cannot have any. F_SEAL_EXEC is neither asked nor refused: with vm.memfd_noexec=1 the
 * kernel sets it on every new one. */
static int fd_is_memfd(int fd, const struct stat *st, int flags, FdKind kind, bool *ret)
{
        bool is_tmpfs = false;
        int seals, r;

        r = fd_is_on_tmpfs(fd, &is_tmpfs);
        if (r < 0)
                return fold(r);
        seals = S_ISREG(st->st_mode) && is_tmpfs && !fd_is_path(flags) ? fcntl(fd, F_GET_SEALS) : -1;
        if (seals < 0)
                *ret = false;
        else if (kind == FD_KIND_MEMFD_SEALED)
                *ret = (seals & ~F_SEAL_EXEC) == FD_SEALS_FIXED && fd_is_readable(flags);
        else
                *ret = (seals & FD_SEALS_SIZE) == FD_SEALS_SIZE && (seals & F_SEAL_WRITE) == 0 &&
                       (flags & O_ACCMODE) == O_RDWR;
        return 0;
}

int fd_kind_check(int fd, FdKind kind)
{
        bool fits = false;
        struct stat st;
        int flags, r = 0;

        if (fd < 0)
                return FD_E_WRONG_KIND;
        flags = fcntl(fd, F_GETFL);
        if (flags < 0 || fstat(fd, &st) < 0)
                return error_origin(negative_errno());
        switch (kind) {
        case FD_KIND_NONE:
                break;
        case FD_KIND_PIPE_READ:
                fits = S_ISFIFO(st.st_mode) && !fd_is_path(flags) && (flags & O_ACCMODE) == O_RDONLY;
                break;
        case FD_KIND_PIPE_WRITE:
                fits = S_ISFIFO(st.st_mode) && !fd_is_path(flags) && (flags & O_ACCMODE) == O_WRONLY;
                break;
        case FD_KIND_SOCKET:
                fits = S_ISSOCK(st.st_mode) && !fd_is_path(flags);
                break;
        case FD_KIND_FILE_READ:
                fits = S_ISREG(st.st_mode) && fd_is_readable(flags);
                break;
        case FD_KIND_FILE_WRITE:
                fits = S_ISREG(st.st_mode) && fd_is_writable(flags);
                break;
        case FD_KIND_PIDFD:
                r = fd_is_pidfd(fd, &fits);
                break;
        case FD_KIND_MEMFD_SEALED:
        case FD_KIND_MEMFD_SHARED:
                r = fd_is_memfd(fd, &st, flags, kind, &fits);
                break;
        case FD_KIND_TTY:
                fits = fd_is_pty_master(&st) && (flags & O_ACCMODE) == O_RDWR && !fd_is_path(flags);
                break;
        case FD_KIND_EXIT_RECORD:
                if (S_ISREG(st.st_mode) && fd_is_readable(flags))
                        r = fd_is_on_tmpfs(fd, &fits);
                break;
        case FD_KIND_STREAM:
                fits = !fd_is_path(flags) && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) || fd_is_pty_master(&st));
                break;
        }
        if (r < 0)
                return fold(r);
        return fits ? 0 : FD_E_WRONG_KIND;
}

int fd_read_full(int fd, void *buffer, size_t n)
{
        for (size_t done = 0; done < n;) {
                ssize_t got = read(fd, (uint8_t *)buffer + done, n - done);

                if (got < 0 && errno == EINTR)
                        continue;
                if (got <= 0)
                        return error_origin(got < 0 ? negative_errno() : -EIO);
                done += (size_t)got;
        }
        return 0;
}

int fd_pread_full(int fd, void *buffer, size_t n, off_t offset)
{
        for (size_t done = 0; done < n;) {
                ssize_t got = pread(fd, (uint8_t *)buffer + done, n - done, offset + (off_t)done);

                if (got < 0 && errno == EINTR)
                        continue;
                if (got <= 0)
                        return error_origin(got < 0 ? negative_errno() : -EIO);
                done += (size_t)got;
        }
        return 0;
}

int fd_write_full(int fd, const void *buffer, size_t n)
{
        for (size_t done = 0; done < n;) {
                ssize_t put = write(fd, (const uint8_t *)buffer + done, n - done);

                if (put < 0 && errno == EINTR)
                        continue;
                if (put <= 0)
                        return error_origin(put < 0 ? negative_errno() : -EIO);
                done += (size_t)put;
        }
        return 0;
}

/* Size and content may change while we read (files in /proc have size 0): reads on until the end, never above max. */
int fd_read_file(int dir_fd, const char *path, size_t max, char **ret, size_t *ret_n)
{
        _cleanup_free_ char *bytes = NULL;
        _cleanup_fd_ int fd = -1;
        size_t n = 0, room = 0;

        fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return error_origin(negative_errno());
        for (;;) {
                ssize_t got;

                if (n + 1 >= room) {
                        char *more;

                        room = MIN2(room ? room * 2 : FD_READ_FILE_CHUNK, max + 2);
                        more = realloc(bytes, room);
                        if (!more)
                                return error_origin(-ENOMEM);
                        bytes = more;
                }
                got = read(fd, bytes + n, room - 1 - n);
                if (got < 0 && errno == EINTR)
                        continue;
                if (got < 0)
                        return error_origin(negative_errno());
                if (got == 0)
                        break;
                n += (size_t)got;
                if (n > max)
                        return error_origin(-EFBIG);
        }
        bytes[n] = 0;
        *ret = TAKE_PTR(bytes);
        if (ret_n)
                *ret_n = n;
        return 0;
}

int fd_write_file(int dir_fd, const char *path, const void *bytes, size_t n, mode_t mode)
{
        _cleanup_fd_ int fd = -1;
        int r;

        fd = openat(dir_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, mode);
        if (fd < 0)
                return error_origin(negative_errno());
        r = fd_write_full(fd, bytes, n);
        if (r < 0)
                return fold(r);
        return 0;
}

int fd_memfd_sealed(const char *name, const void *bytes, size_t n, int *ret)
{
        _cleanup_fd_ int fd = -1;
        int r;

        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0)
                return error_origin(negative_errno());
        r = fd_write_full(fd, bytes, n);
        if (r < 0)
                return fold(r);
        if (fcntl(fd, F_ADD_SEALS, FD_SEALS_FIXED) < 0)
                return error_origin(negative_errno());
        *ret = TAKE_FD(fd);
        return 0;
}

int fd_set_nonblock(int fd, bool nonblock)
{
        int flags = fcntl(fd, F_GETFL);

        if (flags < 0)
                return error_origin(negative_errno());
        flags = nonblock ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
        if (fcntl(fd, F_SETFL, flags) < 0)
                return error_origin(negative_errno());
        return 0;
}
