/* SPDX-License-Identifier: Apache-2.0 */

/* The exit record. It is written before the process is reaped: as long as the record says "created", the number in it is that
 * process and no other. */

#include "services/containerd/shim/shim.h"

#include <signal.h>
#include <sys/wait.h>

#include "lib/clock.h"
#include "lib/error.h"
#include "lib/fd.h"

int64_t shim_oom_kills(int events_fd)
{
        char text[512];
        ssize_t n = events_fd < 0 ? -1 : pread(events_fd, text, sizeof(text) - 1, 0);
        if (n <= 0)
                return -1;
        text[n] = '\0';
        const char *count = strstr(text, "oom_kill ");
        return count ? strtol(count + strlen("oom_kill "), NULL, 10) : -1;
}

void shim_see_events(Shim *shim)
{
        int64_t n = shim_oom_kills(shim->events_fd);
        if (n > 0)
                shim->oom_killed = true;
        if (n < 0)
                shim->events_fd = fd_close(shim->events_fd);
}

/* systemd removes a scope with its last process, and what the kernel counted with it, sometimes before we come to look. Then what is
 * killed and had a slice in which the kernel has killed since is taken for one of those. */
static bool shim_was_oom_killed(Shim *shim, int wait_status)
{
        shim_see_events(shim);
        if (shim->oom_killed || shim->events_fd >= 0 || shim->slice_fd < 0)
                return shim->oom_killed;
        return WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGKILL && shim_oom_kills(shim->slice_fd) > shim->slice_kills;
}

int shim_write_record(Shim *shim, uint32_t state, int wait_status)
{
        int fd = shim->record_fd;
        ExitRecord *record = &shim->record, kept;
        bool oom_killed = state != EXIT_STATE_CREATED && shim_was_oom_killed(shim, wait_status);
        if (pread(fd, &kept, sizeof(kept), 0) == (ssize_t)sizeof(kept) && kept.started_nsec != 0)
                record->started_nsec = kept.started_nsec;
        record->magic = EXIT_RECORD_MAGIC;
        record->state = state;
        if (state != EXIT_STATE_CREATED) {
                record->oom_killed = oom_killed;
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
