/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/pidfd-exit.h"

#include <sys/ioctl.h>
#include <sys/wait.h>

/* From linux/pidfd.h of Linux 6.15, which is newer than the headers of the platforms. */
typedef struct PidfdInfo {
        uint64_t mask;
        uint64_t cgroup_id;
        uint32_t pid, tgid, ppid;
        uint32_t ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
        int32_t exit_code;
} PidfdInfo;
_Static_assert(sizeof(PidfdInfo) == 64, "PIDFD_INFO_SIZE_VER0");
#define PIDFD_INFO_EXIT_ (UINT64_C(1) << 3)
#define PIDFD_GET_INFO_ _IOWR(0xff, 11, PidfdInfo)

/* As containers report it: the exit status, or 128 + the signal. wait_status as of waitpid(). */
static int32_t pidfd_exit_code(int wait_status)
{
        return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

int pidfd_exit_read(int pidfd, int32_t *ret_code)
{
        PidfdInfo info = {.mask = PIDFD_INFO_EXIT_};

        if (ioctl(pidfd, PIDFD_GET_INFO_, &info) < 0)
                return errno == ESRCH ? PIDFD_EXIT_E_NOT_YET : PIDFD_EXIT_E_UNKNOWN;
        if (!(info.mask & PIDFD_INFO_EXIT_))
                return PIDFD_EXIT_E_NOT_YET;
        *ret_code = pidfd_exit_code(info.exit_code);
        return 0;
}
