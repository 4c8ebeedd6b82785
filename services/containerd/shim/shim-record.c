/* SPDX-License-Identifier: Apache-2.0 */

/* The exit record. It is written before the process is reaped: as long as the record says "created", the number in it is that
 * process and no other. */

#include "services/containerd/shim/shim.h"

#include <signal.h>
#include <sys/wait.h>

#include "lib/clock.h"
#include "lib/error.h"

int shim_write_record(Shim *shim, uint32_t state, int wait_status)
{
        int fd = shim->record_fd;
        ExitRecord *record = &shim->record, kept;
        if (pread(fd, &kept, sizeof(kept), 0) == (ssize_t)sizeof(kept) && kept.started_nsec != 0)
                record->started_nsec = kept.started_nsec;
        record->magic = EXIT_RECORD_MAGIC;
        record->state = state;
        if (state != EXIT_STATE_CREATED) {
                record->wait_status = wait_status;
                record->exit_code = WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
                record->finished_nsec = clock_realtime_nsec();
        }
        return pwrite(fd, record, sizeof(*record), 0) == (ssize_t)sizeof(*record) ? 0 : error_origin(negative_errno());
}

static int shim_wait_status(const siginfo_t *info)
{
        if (info->si_code == CLD_EXITED)
                return (info->si_status & 0xff) << 8;
        return info->si_status | (info->si_code == CLD_DUMPED ? 0x80 : 0);
}

bool shim_reap(Shim *shim)
{
        bool ended = false;
        for (;;) {
                siginfo_t info = {0};
                if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
                        return ended;
                if (info.si_pid == shim->record.pid && shim->record.state == EXIT_STATE_CREATED) {
                        (void)shim_write_record(shim, EXIT_STATE_EXITED, shim_wait_status(&info));
                        ended = true;
                }
                (void)waitpid(info.si_pid, NULL, WNOHANG);
        }
}
