/* SPDX-License-Identifier: Apache-2.0 */

#include "lib/fd.h"
#include "lib/test.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define SEALS_FIXED (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
#define KINDS_N (FD_KIND_STREAM + 1)

/* Asserts that of all kinds exactly those of the mask fit. */
static void fd_fits_exactly(int fd, uint32_t mask)
{
        for (int kind = 0; kind < KINDS_N; kind++) {
                int r = fd_kind_check(fd, (FdKind)kind);

                if (r != ((mask >> kind) & 1 ? 0 : FD_E_WRONG_KIND))
                        test_fail("kind %d answers %d, mask %x", kind, r, mask);
        }
}
#define BIT(kind) (UINT32_C(1) << (kind))

static void fd_pipe_kinds(void)
{
        int p[2];

        assert_ok(pipe2(p, O_CLOEXEC));
        fd_fits_exactly(p[0], BIT(FD_KIND_PIPE_READ) | BIT(FD_KIND_STREAM));
        fd_fits_exactly(p[1], BIT(FD_KIND_PIPE_WRITE) | BIT(FD_KIND_STREAM));
        (void)close(p[0]);
        (void)close(p[1]);
}

static void fd_socket_kinds(void)
{
        int s[2];

        assert_ok(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s));
        fd_fits_exactly(s[0], BIT(FD_KIND_SOCKET) | BIT(FD_KIND_STREAM));
        (void)close(s[0]);
        (void)close(s[1]);
}

static void fd_file_kinds(void)
{
        char path[] = "/tmp/bulkhead-test-fd-XXXXXX";
        uint32_t tmpfs = 0;
        int fd, other;

        fd = mkostemp(path, O_CLOEXEC);
        assert_true(fd >= 0);
        if (fd_kind_check(fd, FD_KIND_EXIT_RECORD) == 0) /* /tmp may be a tmpfs */
                tmpfs = BIT(FD_KIND_EXIT_RECORD);
        fd_fits_exactly(fd, BIT(FD_KIND_FILE_READ) | BIT(FD_KIND_FILE_WRITE) | tmpfs);
        other = open(path, O_RDONLY | O_CLOEXEC);
        fd_fits_exactly(other, BIT(FD_KIND_FILE_READ) | tmpfs);
        (void)close(other);
        other = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
        fd_fits_exactly(other, BIT(FD_KIND_FILE_WRITE));
        (void)close(other);
        other = open(path, O_PATH | O_CLOEXEC);
        fd_fits_exactly(other, 0);
        (void)close(other);
        (void)close(fd);
        assert_ok(unlink(path));
}

static void fd_fifo_opened_both_ways_is_no_pipe_end(void)
{
        char path[] = "/tmp/bulkhead-test-fifo-XXXXXX";
        int fd;

        assert_true(mkdtemp(path));
        assert_ok(rmdir(path));
        assert_ok(mkfifo(path, 0600));
        fd = open(path, O_RDWR | O_CLOEXEC);
        assert_true(fd >= 0);
        fd_fits_exactly(fd, BIT(FD_KIND_STREAM));
        (void)close(fd);
        fd = open(path, O_PATH | O_CLOEXEC);
        fd_fits_exactly(fd, 0);
        (void)close(fd);
        assert_ok(unlink(path));
}

static void fd_directory_and_device_have_no_kind(void)
{
        int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        fd_fits_exactly(fd, 0);
        (void)close(fd);
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        fd_fits_exactly(fd, 0);
        (void)close(fd);
}

static void fd_tty_is_the_master_only(void)
{
        int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave;
        char name[64];

        if (master < 0)
                test_skip("no pty here: %s", strerror(errno));
        fd_fits_exactly(master, BIT(FD_KIND_TTY) | BIT(FD_KIND_STREAM));
        assert_ok(grantpt(master));
        assert_ok(unlockpt(master));
        assert_ok(ptsname_r(master, name, sizeof(name)));
        slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
        assert_true(slave >= 0);
        fd_fits_exactly(slave, 0);
        (void)close(slave);
        (void)close(master);
}

static void fd_pidfd_of_self_child_and_zombie(void)
{
        struct pollfd end = {.events = POLLIN};
        int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
        pid_t child;

        assert_true(fd >= 0);
        fd_fits_exactly(fd, BIT(FD_KIND_PIDFD));
        (void)close(fd);
        child = fork();
        if (child == 0)
                _exit(0);
        fd = (int)syscall(SYS_pidfd_open, child, 0);
        assert_true(fd >= 0);
        end.fd = fd;
        assert_eq_int(poll(&end, 1, 5000), 1);
        fd_fits_exactly(fd, BIT(FD_KIND_PIDFD)); /* checking must not reap it */
        assert_eq_int(waitpid(child, NULL, 0), child);
        fd_fits_exactly(fd, BIT(FD_KIND_PIDFD));
        (void)close(fd);
}

static void fd_anonymous_inode_is_no_pidfd(void)
{
        int fd = (int)syscall(SYS_eventfd2, 0, O_CLOEXEC);

        fd_fits_exactly(fd, 0);
        (void)close(fd);
}

static int fd_memfd(int seals, unsigned flags)
{
        int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);

        if (fd < 0)
                return -1;
        assert_ok(ftruncate(fd, flags & MFD_HUGETLB ? 0 : 8));
        assert_ok(fcntl(fd, F_ADD_SEALS, seals));
        return fd;
}

static void fd_memfd_kinds(void)
{
        const uint32_t file = BIT(FD_KIND_FILE_READ) | BIT(FD_KIND_FILE_WRITE) | BIT(FD_KIND_EXIT_RECORD);
        int fd;

        assert_ok(fd_memfd_sealed("test", "abc", 3, &fd));
        fd_fits_exactly(fd, file | BIT(FD_KIND_MEMFD_SEALED));
        (void)close(fd);
        for (int missing = 1; missing <= F_SEAL_WRITE; missing <<= 1) {
                fd = fd_memfd(SEALS_FIXED & ~missing, 0);
                assert_eq_int(fd_kind_check(fd, FD_KIND_MEMFD_SEALED), FD_E_WRONG_KIND);
                (void)close(fd);
        }
        fd = fd_memfd(F_SEAL_SHRINK | F_SEAL_GROW, 0);
        fd_fits_exactly(fd, file | BIT(FD_KIND_MEMFD_SHARED));
        (void)close(fd);
        fd = fd_memfd(F_SEAL_SHRINK, 0);
        fd_fits_exactly(fd, file);
        (void)close(fd);
        fd = fd_memfd(F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE, 0);
        fd_fits_exactly(fd, file);
        (void)close(fd);
        fd = memfd_create("test", MFD_CLOEXEC | 0x8 /* MFD_NOEXEC_SEAL */);
        if (fd >= 0) { /* Linux 6.3 */
                assert_ok(fcntl(fd, F_ADD_SEALS, SEALS_FIXED));
                fd_fits_exactly(fd, file | BIT(FD_KIND_MEMFD_SEALED));
                (void)close(fd);
        }
#ifdef F_SEAL_FUTURE_WRITE
        fd = fd_memfd(SEALS_FIXED | F_SEAL_FUTURE_WRITE, 0);
        fd_fits_exactly(fd, file);
        (void)close(fd);
#endif
}

static void fd_hugetlb_memfd_is_refused(void)
{
        int fd = fd_memfd(SEALS_FIXED, MFD_HUGETLB);

        if (fd < 0) {
                printf("skipped: no hugetlb memfd here: %s\n", strerror(errno));
                return;
        }
        assert_eq_int(fd_kind_check(fd, FD_KIND_MEMFD_SEALED), FD_E_WRONG_KIND);
        (void)close(fd);
}

static void fd_no_fd(void)
{
        assert_eq_int(fd_kind_check(-1, FD_KIND_PIPE_READ), FD_E_WRONG_KIND);
        assert_eq_int(fd_kind_check(9999, FD_KIND_PIPE_READ), -EBADF);
}

static void fd_full_reads_and_writes(void)
{
        char bytes[4] = "";
        int p[2];

        assert_ok(pipe2(p, O_CLOEXEC));
        assert_ok(fd_write_full(p[1], "abcdef", 6));
        assert_ok(fd_read_full(p[0], bytes, 4));
        assert_eq_mem(bytes, 4, "abcd", 4);
        (void)close(p[1]);
        assert_eq_int(fd_read_full(p[0], bytes, 4), -EIO);
        (void)close(p[0]);
        assert_eq_int(fd_write_full(9999, "a", 1), -EBADF);
}

static void fd_files(void)
{
        char dir[] = "/tmp/bulkhead-test-dir-XXXXXX", *bytes = NULL, big[9000];
        uint8_t part[3];
        size_t n = 0;
        int dir_fd, fd;

        assert_true(mkdtemp(dir));
        dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        memset(big, 'x', sizeof(big));
        assert_ok(fd_write_file(dir_fd, "f", big, sizeof(big), 0600));
        assert_ok(fd_read_file(dir_fd, "f", sizeof(big), &bytes, &n));
        assert_eq_mem(bytes, n, big, sizeof(big));
        assert_eq_int(bytes[n], 0);
        free(bytes);
        assert_eq_int(fd_read_file(dir_fd, "f", sizeof(big) - 1, &bytes, &n), -EFBIG);
        assert_ok(fd_write_file(dir_fd, "f", "", 0, 0600));
        assert_ok(fd_read_file(dir_fd, "f", 0, &bytes, &n));
        assert_eq_str(bytes, "");
        free(bytes);
        assert_eq_int(fd_read_file(dir_fd, "absent", 10, &bytes, &n), -ENOENT);
        assert_ok(symlinkat("f", dir_fd, "link"));
        assert_eq_int(fd_write_file(dir_fd, "link", "a", 1, 0600), -ELOOP);
        assert_ok(fd_read_file(AT_FDCWD, "/proc/self/comm", 100, &bytes, &n));
        assert_true(n > 0);
        free(bytes);
        assert_ok(fd_write_file(dir_fd, "f", "abcdef", 6, 0600));
        fd = openat(dir_fd, "f", O_RDONLY | O_CLOEXEC);
        assert_ok(fd_pread_full(fd, part, 3, 2));
        assert_eq_mem(part, 3, "cde", 3);
        assert_eq_int(fd_pread_full(fd, part, 3, 4), -EIO);
        (void)close(fd);
        assert_ok(unlinkat(dir_fd, "link", 0));
        assert_ok(unlinkat(dir_fd, "f", 0));
        (void)close(dir_fd);
        assert_ok(rmdir(dir));
}

static void fd_memfd_cannot_change(void)
{
        char bytes[3];
        int fd;

        assert_ok(fd_memfd_sealed("test", "abc", 3, &fd));
        assert_ok(fd_pread_full(fd, bytes, 3, 0));
        assert_eq_mem(bytes, 3, "abc", 3);
        assert_eq_int(fd_write_full(fd, "x", 1), -EPERM);
        assert_eq_int(ftruncate(fd, 1), -1);
        assert_eq_int(fcntl(fd, F_GETFD), FD_CLOEXEC);
        (void)close(fd);
}

static void fd_nonblock_toggles(void)
{
        int p[2];
        char c;

        assert_ok(pipe2(p, O_CLOEXEC));
        assert_ok(fd_set_nonblock(p[0], true));
        assert_eq_int(read(p[0], &c, 1), -1);
        assert_eq_int(errno, EAGAIN);
        assert_ok(fd_set_nonblock(p[0], false));
        assert_eq_int(fcntl(p[0], F_GETFL) & O_NONBLOCK, 0);
        (void)close(p[0]);
        (void)close(p[1]);
        assert_eq_int(fd_set_nonblock(9999, true), -EBADF);
}

int main(void)
{
        TEST_RUN(fd_pipe_kinds);
        TEST_RUN(fd_socket_kinds);
        TEST_RUN(fd_file_kinds);
        TEST_RUN(fd_fifo_opened_both_ways_is_no_pipe_end);
        TEST_RUN(fd_directory_and_device_have_no_kind);
        TEST_RUN(fd_tty_is_the_master_only);
        TEST_RUN(fd_pidfd_of_self_child_and_zombie);
        TEST_RUN(fd_anonymous_inode_is_no_pidfd);
        TEST_RUN(fd_memfd_kinds);
        TEST_RUN(fd_hugetlb_memfd_is_refused);
        TEST_RUN(fd_no_fd);
        TEST_RUN(fd_full_reads_and_writes);
        TEST_RUN(fd_files);
        TEST_RUN(fd_memfd_cannot_change);
        TEST_RUN(fd_nonblock_toggles);
        return 0;
}
