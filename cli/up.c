/* SPDX-License-Identifier: Apache-2.0 */

/* bulkhead up: starts bulkhead-linkd-start, in front or behind. Behind, it returns when all processes are ready, and when they
 * cannot be, it shows what they said. */

#include "cli/cli.h"
#include "lib/fd.h"
#include "lib/strings.h"
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define UP_ARGUMENTS_MAX 128
#define UP_PATH_MAX 512
#define UP_LOG_DEFAULT "/var/log/bulkhead.log"
#define UP_APPARMOR "bulkhead-default" /* deploy/apparmor */
#define UP_READY_MSEC (60 * 1000)
#define UP_USAGE "up [--foreground] [--config FILE] [--set KEY=VALUE]... [--log FILE] [--libexec DIR]"

typedef struct Up {
        char libexec[UP_PATH_MAX];
        char program[UP_PATH_MAX + 32];
        char config[PATH_MAX];
        const char *log;
        bool foreground;
        char *arguments[UP_ARGUMENTS_MAX + 6]; /* borrowed; of linkd-start */
        size_t n_arguments;
} Up;

static bool up_is_installed_at(Up *up, const char *directory)
{
        return snprintf(up->program, sizeof(up->program), "%s/bulkhead-linkd-start", directory) < (int)sizeof(up->program) &&
               access(up->program, X_OK) == 0 && str_copy(up->libexec, sizeof(up->libexec), directory);
}

/* Beside this program as it was installed, or all in one directory. */
static bool up_find_programs(Up *up)
{
        char own[UP_PATH_MAX], path[UP_PATH_MAX];

        if (up->libexec[0])
                return up_is_installed_at(up, memcpy(path, up->libexec, sizeof(path)));
        ssize_t n = readlink("/proc/self/exe", own, sizeof(own) - 1);
        if (n < 0)
                return false;
        own[n] = '\0';
        const char *directory = dirname(own);
        return (snprintf(path, sizeof(path), "%s/../libexec/bulkhead", directory) < (int)sizeof(path) &&
                up_is_installed_at(up, path)) ||
               up_is_installed_at(up, directory) || up_is_installed_at(up, "/usr/libexec/bulkhead");
}

static bool up_read_arguments(Up *up, int argc, char **argv)
{
        up->log = UP_LOG_DEFAULT;
        up->arguments[up->n_arguments++] = (char *)(uintptr_t)"bulkhead-linkd-start";
        for (int i = 1; i < argc; i++) {
                if (str_equal(argv[i], "--foreground")) {
                        up->foreground = true;
                } else if (i + 1 == argc || up->n_arguments + 2 > UP_ARGUMENTS_MAX) {
                        return false;
                } else if (str_equal(argv[i], "--log")) {
                        up->log = argv[++i];
                } else if (str_equal(argv[i], "--libexec")) {
                        if (!str_copy(up->libexec, sizeof(up->libexec), argv[++i]))
                                return false;
                } else if (str_equal(argv[i], "--config")) {
                        /* The suite does not run in this directory. */
                        up->arguments[up->n_arguments++] = argv[i++];
                        up->arguments[up->n_arguments++] = realpath(argv[i], up->config) ? up->config : argv[i];
                } else if (str_equal(argv[i], "--set")) {
                        up->arguments[up->n_arguments++] = argv[i++];
                        up->arguments[up->n_arguments++] = argv[i];
                } else {
                        return false;
                }
        }
        return true;
}

static int up_exec(Up *up, int ready_fd)
{
        char number[16];

        if (ready_fd >= 0) {
                (void)snprintf(number, sizeof(number), "%d", ready_fd);
                up->arguments[up->n_arguments++] = (char *)(uintptr_t)"--ready-fd";
                up->arguments[up->n_arguments++] = number;
        }
        up->arguments[up->n_arguments++] = (char *)(uintptr_t)"--libexec";
        up->arguments[up->n_arguments++] = up->libexec;
        (void)execv(up->program, up->arguments);
        return cli_fail("cannot start %s: %s", up->program, strerror(errno));
}

/* What the suite wrote since we started it. */
static void up_show_log(int log_fd, off_t from)
{
        char buffer[4096];
        ssize_t n;

        while ((n = pread(log_fd, buffer, sizeof(buffer), from)) > 0) {
                (void)fwrite(buffer, 1, (size_t)n, stderr);
                from += n;
        }
}

/* Under systemd a unit loads it. Here nothing does: no process of the suite may, and this program only looks. */
static void up_hint_apparmor(void)
{
        enum { LIST_MAX = 1024 * 1024 };
        _cleanup_free_ char *enabled = NULL, *list = NULL;
        size_t n = 0;

        if (fd_read_file(AT_FDCWD, "/sys/module/apparmor/parameters/enabled", 64, &enabled, &n) != 0 || n == 0 || enabled[0] != 'Y')
                return;
        if (fd_read_file(AT_FDCWD, "/sys/kernel/security/apparmor/profiles", LIST_MAX, &list, &n) == 0 &&
            (str_has_prefix(list, UP_APPARMOR " (") || strstr(list, "\n" UP_APPARMOR " (")))
                return;
        printf("Containers run without AppArmor, and those that ask for RuntimeDefault are refused: its profile " UP_APPARMOR
               " is not loaded. Load it with: apparmor_parser -r /etc/apparmor.d/" UP_APPARMOR "\n");
}

static int up_wait(const Up *up, pid_t pid, int ready_fd, int log_fd, off_t from)
{
        struct pollfd poll_fd = {.fd = ready_fd, .events = POLLIN};
        char byte;

        int r = poll(&poll_fd, 1, UP_READY_MSEC);
        if (r == 0)
                return cli_fail("not all processes are ready after %d s (process %d goes on trying); see %s",
                                UP_READY_MSEC / 1000, pid, up->log);
        if (r > 0 && read(ready_fd, &byte, 1) == 1) {
                printf("The suite is ready: process %d, log in %s. It is stopped with: kill %d\n", pid, up->log, pid);
                up_hint_apparmor();
                return 0;
        }
        (void)waitpid(pid, NULL, 0);
        up_show_log(log_fd, from);
        return cli_fail("the suite did not start; the lines above are from %s", up->log);
}

static int up_behind(Up *up)
{
        int ready[2];

        _cleanup_fd_ int log_fd = open(up->log, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
        if (log_fd < 0)
                return cli_fail("cannot open the log %s: %s; name another with --log", up->log, strerror(errno));
        off_t from = lseek(log_fd, 0, SEEK_END);
        _cleanup_fd_ int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (null_fd < 0 || pipe2(ready, O_CLOEXEC) < 0)
                return cli_fail("cannot start: %s", strerror(errno));
        _cleanup_fd_ int ready_fd = ready[0], told_fd = ready[1];

        pid_t pid = fork();
        if (pid < 0)
                return cli_fail("cannot start a process: %s", strerror(errno));
        if (pid == 0) {
                (void)setsid();
                if (chdir("/") < 0 || fcntl(told_fd, F_SETFD, 0) < 0 || dup2(null_fd, STDIN_FILENO) < 0 ||
                    dup2(log_fd, STDOUT_FILENO) < 0 || dup2(log_fd, STDERR_FILENO) < 0)
                        _exit(1);
                _exit(up_exec(up, told_fd));
        }
        told_fd = fd_close(told_fd);
        return up_wait(up, pid, ready_fd, log_fd, from);
}

int up_main(int argc, char **argv)
{
        Up up = {0};

        if (!up_read_arguments(&up, argc, argv))
                return cli_usage(UP_USAGE);
        if (!up_find_programs(&up))
                return cli_fail("there is no bulkhead-linkd-start beside this program or in /usr/libexec/bulkhead; name its "
                                "directory with --libexec");
        if (geteuid() != 0)
                return cli_fail("only root can start the suite; each process gives up what it does not need by itself");
        return up.foreground ? up_exec(&up, -1) : up_behind(&up);
}
