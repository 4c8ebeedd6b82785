/* SPDX-License-Identifier: Apache-2.0 */

#include "services/containerd/runtime/spawn.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "lib/fd.h"
#include "services/containerd/shim/shim-start.h"

/* Born in its cgroup: moving a process waits for every reader of the hierarchy. */
static pid_t spawn_fork(int cgroup_fd, const char *id)
{
        struct clone_args how = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD};
        if (cgroup_fd < 0)
                return fork();
        if (mkdirat(cgroup_fd, id, 0755) < 0 && errno != EEXIST)
                return -1;
        _cleanup_fd_ int fd = openat(cgroup_fd, id, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        how.cgroup = (uint64_t)fd;
        return fd < 0 ? -1 : (pid_t)syscall(SYS_clone3, &how, sizeof(how));
}

static _Noreturn void spawn_exec(const ConfigCommon *common, const char *id, int report_fd)
{
        char path[CONFIG_PATH_MAX + 32];
        char *arguments[] = {(char *)(uintptr_t)"bulkhead-containerd-shim", (char *)(uintptr_t)id, NULL};
        char *environment[] = {NULL};
        int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        (void)snprintf(path, sizeof(path), "%s/bulkhead-containerd-shim", common->libexec_dir);
        if (dup2(null_fd, STDIN_FILENO) == STDIN_FILENO && dup2(null_fd, STDOUT_FILENO) == STDOUT_FILENO &&
            dup2(report_fd, SHIM_FD_REPORT) == SHIM_FD_REPORT && fcntl(SHIM_FD_REPORT, F_SETFD, 0) == 0 &&
            syscall(SYS_close_range, SHIM_FD_REPORT + 1, ~0U, 0) == 0 && setsid() > 0)
                (void)execve(path, arguments, environment);
        _exit(127);
}

pid_t spawn_shim(const ConfigCommon *common, int cgroup_fd, const char *id, int report_fd)
{
        pid_t pid = spawn_fork(cgroup_fd, id);
        if (pid == 0)
                spawn_exec(common, id, report_fd);
        return pid;
}
