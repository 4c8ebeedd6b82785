/* SPDX-License-Identifier: Apache-2.0 */

#include "services/containerd/runtime/runtime.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "lib/clock.h"
#include "lib/error.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x10U /* Linux 6.3; memory files are otherwise executable unless a sysctl says no */
#endif
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2) /* close_range(2) */
#endif

#define RUNTIME_DEADLINE_USEC (60 * USEC_PER_SEC)
#define RUNTIME_ARGUMENTS_MAX 20

/* For an error text: one line of printable ASCII. */
static void runtime_printable(char to[RUNTIME_WORDS_MAX], const char *raw, size_t n)
{
        while (n > 0 && raw[n - 1] == '\n')
                n--;
        n = MIN2(n, RUNTIME_WORDS_MAX - 1);
        for (size_t i = 0; i < n; i++)
                to[i] = raw[i] >= 0x20 && raw[i] < 0x7f ? raw[i] : raw[i] == '\n' ? ' ' : '?';
        to[n] = '\0';
}

const char *runtime_name(const Runtime *runtime)
{
        const char *slash = strrchr(runtime->path, '/');
        return slash ? slash + 1 : runtime->path;
}

/* Exactly these seals: a runtime that finds one more clones itself again. */
static int runtime_copy(int from, off_t size, const char *name, int *ret_fd)
{
        _cleanup_fd_ int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
        if (fd < 0 && errno == EINVAL)
                fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0)
                return error_origin(negative_errno());
        while (size > 0) {
                ssize_t n = sendfile(fd, from, NULL, (size_t)size);
                if (n <= 0)
                        return error_origin(n < 0 ? negative_errno() : -EIO);
                size -= n;
        }
        if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
                return error_origin(negative_errno());
        *ret_fd = TAKE_FD(fd);
        return 0;
}

int runtime_open(const Runtime *runtime, int *ret_fd, char words[RUNTIME_WORDS_MAX])
{
        struct stat st;
        _cleanup_fd_ int fd = open(runtime->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0 || fstat(fd, &st) < 0) {
                (void)snprintf(words, RUNTIME_WORDS_MAX, "OCI runtime %s: %s; install it, or name another in the configuration",
                               runtime->path, strerror(errno));
                return RUNTIME_E_UNUSABLE;
        }
        if (!S_ISREG(st.st_mode) || st.st_uid != 0 || (st.st_mode & 022) != 0 || (st.st_mode & 0100) == 0) {
                (void)snprintf(words, RUNTIME_WORDS_MAX, "OCI runtime %s: it must be an executable file of root's that nobody else may "
                               "write", runtime->path);
                return RUNTIME_E_UNUSABLE;
        }
        int r = runtime_copy(fd, st.st_size, runtime_name(runtime), ret_fd);
        return r < 0 ? fold(r) : 0;
}

void runtime_exec(int runtime_fd, char *const *arguments)
{
        static char *const environment[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL};
        if (syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC) == 0 && chdir("/") == 0)
                (void)syscall(SYS_execveat, runtime_fd, "", arguments, environment, AT_EMPTY_PATH);
        _exit(127);
}

/* Keeps the first bytes and reads on, so that the runtime never waits for us. False at the deadline. */
static bool runtime_listen(int fd, uint64_t limit_usec, char *raw, size_t size, size_t *ret_n)
{
        uint64_t deadline = clock_monotonic_usec() + limit_usec;
        char rest[1024];
        for (;;) {
                struct pollfd p = {.fd = fd, .events = POLLIN};
                uint64_t now = clock_monotonic_usec();
                if (now >= deadline || poll(&p, 1, (int)((deadline - now) / 1000) + 1) == 0)
                        return false;
                ssize_t n = *ret_n < size ? read(fd, raw + *ret_n, size - *ret_n) : read(fd, rest, sizeof(rest));
                if (n == 0 || (n < 0 && errno != EINTR))
                        return true;
                if (n > 0 && *ret_n < size)
                        *ret_n += (size_t)n;
        }
}

/* out_fd: its standard output, -1: that is among the words, too. */
static int runtime_run_to(const Runtime *runtime, const char *const *arguments, int out_fd, uint64_t limit_usec,
                          char words[RUNTIME_WORDS_MAX])
{
        char root[CONFIG_PATH_MAX + 8], raw[RUNTIME_WORDS_MAX];
        const char *argv[RUNTIME_ARGUMENTS_MAX] = {runtime_name(runtime), "--root", root};
        size_t n = 3, n_raw = 0;
        int pair[2], status = 0;
        _cleanup_fd_ int runtime_fd = -1, null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        int r = runtime_open(runtime, &runtime_fd, words);
        if (r != 0)
                return r < 0 ? fold(r) : r;
        (void)snprintf(root, sizeof(root), "%s/oci", runtime->runtime_dir);
        if (runtime->systemd_cgroups)
                argv[n++] = "--systemd-cgroup";
        while (*arguments && n < ARRAY_SIZE(argv) - 1)
                argv[n++] = *arguments++;
        if (pipe2(pair, O_CLOEXEC) < 0)
                return error_origin(negative_errno());
        pid_t pid = fork();
        if (pid == 0) {
                if (dup2(null_fd, STDIN_FILENO) < 0 || dup2(out_fd < 0 ? pair[1] : out_fd, STDOUT_FILENO) < 0 ||
                    dup2(pair[1], STDERR_FILENO) < 0)
                        _exit(127);
                runtime_exec(runtime_fd, (char *const *)(uintptr_t)argv);
        }
        (void)close(pair[1]);
        bool in_time = pid > 0 && runtime_listen(pair[0], limit_usec, raw, sizeof(raw), &n_raw);
        (void)close(pair[0]);
        if (pid < 0)
                return error_origin(-EAGAIN);
        if (!in_time)
                (void)kill(pid, SIGKILL);
        (void)waitpid(pid, &status, 0);
        runtime_printable(words, raw, n_raw);
        return status == 0 ? 0 : RUNTIME_E_FAILED;
}

int runtime_run(const Runtime *runtime, const char *const *arguments, char words[RUNTIME_WORDS_MAX])
{
        int r = runtime_run_to(runtime, arguments, -1, RUNTIME_DEADLINE_USEC, words);
        return r < 0 ? fold(r) : r;
}

int runtime_run_for(const Runtime *runtime, const char *const *arguments, uint64_t limit_usec, char words[RUNTIME_WORDS_MAX])
{
        int r = runtime_run_to(runtime, arguments, -1, limit_usec, words);
        return r < 0 ? fold(r) : r;
}

int runtime_features(const Runtime *runtime, int *ret_fd)
{
        static const char *const arguments[] = {"features", NULL};
        char words[RUNTIME_WORDS_MAX];
        _cleanup_fd_ int fd = memfd_create("features", MFD_CLOEXEC);
        if (fd < 0)
                return error_origin(negative_errno());
        int r = runtime_run_to(runtime, arguments, fd, RUNTIME_DEADLINE_USEC, words);
        if (r == 0)
                *ret_fd = TAKE_FD(fd);
        return r < 0 ? fold(r) : r;
}

void runtime_read_log(const char *path, char words[RUNTIME_WORDS_MAX])
{
        char raw[RUNTIME_WORDS_MAX];
        _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        ssize_t n = fd < 0 ? 0 : read(fd, raw, sizeof(raw));
        runtime_printable(words, raw, n > 0 ? (size_t)n : 0);
        (void)unlink(path);
}
