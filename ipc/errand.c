/* SPDX-License-Identifier: Apache-2.0 */

#include "ipc/errand.h"

#include <sys/socket.h>
#include <sys/wait.h>

#include "lib/error.h"

int errand_wait(pid_t pid)
{
        int status;
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int errand_run(ErrandRun run, void *userdata, WireFrame *ret_frame, int *ret_status)
{
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return error_origin(negative_errno());
        _cleanup_fd_ int ours = pair[0];
        _cleanup_fd_ int theirs = pair[1];
        pid_t pid = fork();
        if (pid < 0)
                return error_origin(negative_errno());
        if (pid == 0) {
                ours = fd_close(ours);
                _exit(run(userdata, theirs));
        }
        theirs = fd_close(theirs);
        int r = wire_receive(ours, true, ret_frame);
        *ret_status = errand_wait(pid);
        return r < 0 ? fold(r) : r;
}
