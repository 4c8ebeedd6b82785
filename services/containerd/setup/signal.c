/* SPDX-License-Identifier: Apache-2.0 */

/* Signals to a container's first process, through its pidfd. */

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>

#include "lib/error.h"
#include "lib/grpc-status.h"
#include "services/containerd/setup/setup.h"

/* The process of a pidfd: its number, 0 when it was reaped, -1 when this is not a pidfd of our namespace. */
static int signal_pid_of(int pidfd)
{
        char path[64];
        (void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
        _cleanup_free_ char *text = NULL;
        size_t n = 0;
        if (fd_read_file(AT_FDCWD, path, 4096, &text, &n) < 0)
                return -1;
        const char *line = strstr(text, "\nPid:");
        if (!line)
                return -1;
        long pid = strtol(line + 5, NULL, 10);
        return pid < 0 ? 0 : (int)pid;
}

/* Whether the text of /proc/<pid>/cgroup says that the process is in this cgroup of version 2, or below it. What stands before the path
 * is the hierarchy's root as this node shows it. */
static bool signal_is_in_cgroup(const char *text, const char *cgroup)
{
        const char *line = str_has_prefix(text, "0::") ? text : strstr(text, "\n0::");
        if (!line)
                return false;
        const char *end = line + 1 + strcspn(line + 1, "\n");
        size_t n = strlen(cgroup);
        for (const char *at = strstr(line, cgroup); at && at + n <= end; at = strstr(at + 1, cgroup))
                if (at[n] == '\n' || at[n] == '\0' || at[n] == '/')
                        return true;
        return false;
}

/* Asked to signal the holder of a pidfd. Re-checks that it lives in the cgroup that the container's kept permit names, before and
 * after (a number can be reused, a pidfd cannot). At worst a container of ours gets a signal. */
int signal_send(Setup *setup, const SignalSend *verb, int pidfd, Refusal *refusal)
{
        int pid = signal_pid_of(pidfd);
        if (pid == 0)
                return 0; /* it has ended: nothing to signal */
        if (pid < 0)
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT, "signal_send: not a pidfd of this node");
        if (verb->signal < 1 || verb->signal > SIGRTMAX)
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT, "container %s: %d is not a signal", verb->id, verb->signal);
        char cgroup[CGROUP_PATH_MAX];
        int r = cgroup_find(setup, verb->id, cgroup, refusal);
        if (r)
                return r < 0 ? fold(r) : r;

        char path[64];
        (void)snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
        _cleanup_free_ char *text = NULL;
        size_t n = 0;
        r = fd_read_file(AT_FDCWD, path, 64 * 1024, &text, &n);
        if (signal_pid_of(pidfd) != pid)
                return 0;
        if (r < 0)
                return fold(r);
        if (!signal_is_in_cgroup(text, cgroup))
                return refusal_set(refusal, GRPC_STATUS_PERMISSION_DENIED, "container %s: process %d is not in its cgroup", verb->id, pid);
        if (syscall(SYS_pidfd_send_signal, pidfd, verb->signal, NULL, 0) < 0 && errno != ESRCH)
                return refusal_set(refusal, GRPC_STATUS_INTERNAL, "container %s: signal %d was not delivered: %s", verb->id,
                                   verb->signal, strerror(errno));
        return 0;
}
