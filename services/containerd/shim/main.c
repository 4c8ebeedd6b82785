/* SPDX-License-Identifier: Apache-2.0 */

/* Started by containerd-launch; makes the container's streams and its exit record, runs the OCI runtime once as root, then becomes
 * a user of its own that can do nothing but wait, and stays until containerd lets it go. Linked statically with libc alone,
 * because there is one of these per container. */

#include "services/containerd/shim/shim.h"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>

#include "ipc/wire.h"
#include "lib/error.h"
#include "lib/grpc-status.h"
#include "policy/policy.h"
#include "services/containerd/runtime/place.h"

int shim_refuse(ShimReport *report, uint32_t code, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        report->code = code;
        (void)vsnprintf(report->created.text, sizeof(report->created.text), format, args);
        va_end(args);
        return SHIM_E_REFUSED;
}

/* Of a uid's own, so that nobody else's limits are shared: containers' ids are random, so are these. */
static uint32_t shim_uid(const ShimStart *start)
{
        uint8_t bytes[ID_LENGTH / 2] = {0};
        (void)hex_decode(bytes, sizeof(bytes), start->id);
        return start->common.user_base + SHIM_UIDS_OFFSET + ((uint32_t)bytes[0] << 8 | bytes[1]) % SHIM_UIDS;
}

/* Signals that ended children raise are read, never handled; blocked only now, so that the runtime had none blocked. */
static int shim_watch_children(Shim *shim)
{
        sigset_t set;
        (void)sigemptyset(&set);
        (void)sigaddset(&set, SIGCHLD);
        (void)sigaddset(&set, SIGPIPE);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return error_origin(negative_errno());
        (void)sigdelset(&set, SIGPIPE);
        shim->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        return shim->signal_fd < 0 ? error_origin(negative_errno()) : 0;
}

/* Runs as root, and gives all of it up: afterwards the container can be started. */
static int shim_begin(Shim *shim, ShimReport *report)
{
        /* Also what the container's processes leave behind comes to us, and not to whoever started launch. */
        if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
                return error_origin(negative_errno());
        int r = shim_make_record(shim, report);
        if (r == 0)
                r = shim_make_streams(shim);
        if (r == 0)
                r = shim_run_runtime(shim, report);
        if (r == 0)
                r = shim_write_record(shim, EXIT_STATE_CREATED, 0);
        if (r == 0)
                r = shim_watch_children(shim);
        if (r != 0)
                return r < 0 ? fold(r) : r;
        r = policy_enter_as(POLICY_CONTAINERD_SHIM, &shim->start->common, shim_uid(shim->start));
        if (r < 0)
                return fold(r);
        shim->confined = true;
        return 0;
}

/* In the order of the rows launch_create and launch_exec. launch may be gone: then the exit record and the listener tell. */
static void shim_report(Shim *shim, const ShimReport *report)
{
        const int all[] = {shim->peer_fd, shim->pidfd, shim->commit_fd, shim->tty_fd, shim->stdout_fd, shim->stderr_fd,
                           shim->stdin_fd};
        int fds[ARRAY_SIZE(all)];
        size_t n = 0;
        for (size_t i = 0; i < ARRAY_SIZE(all) && report->code == 0; i++)
                if (all[i] >= 0 && (report->created.started || i == 0))
                        fds[n++] = all[i];
        (void)wire_send(SHIM_FD_REPORT, SHIM_FRAME_REPORT, 0, 0, report, sizeof(*report), fds, n);
        shim->peer_fd = fd_close(shim->peer_fd);
}

static int shim_main(Shim *shim)
{
        _cleanup_(wire_frame_done) WireFrame frame = WIRE_FRAME_NULL;
        ShimReport report = {0};
        int r = wire_receive(SHIM_FD_REPORT, false, &frame);
        if (r != 0 || frame.header.id != SHIM_FRAME_START || frame.header.length != sizeof(ShimStart) ||
            fcntl(SHIM_FD_REPORT, F_SETFD, FD_CLOEXEC) < 0)
                return 2;
        shim->start = (const ShimStart *)(const void *)frame.payload;
        r = shim_begin(shim, &report);
        if (r < 0)
                (void)shim_refuse(&report, GRPC_STATUS_INTERNAL, "its shim failed: %s", error_trace());
        report.created.started = r == 0;
        if (r != 0 && !shim->confined)
                shim_undo(shim);
        /* An exec that the runtime refused is an answer, not a failure. */
        if (shim->start->is_exec && report.code == GRPC_STATUS_UNKNOWN)
                report.code = 0;
        shim_report(shim, &report);
        (void)close(SHIM_FD_REPORT);
        shim->start = NULL;
        return r == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
        Shim shim = SHIM_NULL;
        if (argc == 2 && str_equal(argv[1], "--version")) {
                (void)dprintf(STDOUT_FILENO, "bulkhead-containerd-shim %s\n", BULKHEAD_VERSION);
                return 0;
        }
        int r = shim_main(&shim);
        if (r != 0)
                return r;
        (void)malloc_trim(0);
        return shim_serve(&shim) < 0 ? 1 : 0;
}
