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

/* Asked to signal the holder of a pidfd. Re-checks that it lives in the cgroup of that container, whose name carries the
 * container's id, before and after (a number can be reused, a pidfd cannot). At worst a container of ours gets a signal. */
int signal_send(const SignalSend *verb, int pidfd, Refusal *refusal)
{
        int pid = signal_pid_of(pidfd);
        if (pid == 0)
                return 0; /* it has ended: nothing to signal */
        if (pid < 0)
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT, "signal_send: not a pidfd of this node");
        if (verb->signal < 1 || verb->signal > SIGRTMAX)
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT, "container %s: %d is not a signal", verb->id, verb->signal);

        char path[64];
        (void)snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
        _cleanup_free_ char *text = NULL;
        size_t n = 0;
        int r = fd_read_file(AT_FDCWD, path, 64 * 1024, &text, &n);
        if (signal_pid_of(pidfd) != pid)
                return 0;
        if (r < 0)
                return fold(r);
        if (!strstr(text, verb->id))
                return refusal_set(refusal, GRPC_STATUS_PERMISSION_DENIED, "container %s: process %d is not in its cgroup", verb->id, pid);
        if (syscall(SYS_pidfd_send_signal, pidfd, verb->signal, NULL, 0) < 0 && errno != ESRCH)
                return refusal_set(refusal, GRPC_STATUS_INTERNAL, "container %s: signal %d was not delivered: %s", verb->id,
                                   verb->signal, strerror(errno));
        return 0;
}
