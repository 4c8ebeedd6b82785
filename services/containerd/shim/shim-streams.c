/* SPDX-License-Identifier: Apache-2.0 */

#include "services/containerd/shim/shim.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "ipc/log-record.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "lib/grpc-status.h"
#include "services/containerd/runtime/place.h"

#define SHIM_PIPE_BYTES (1024 * 1024)

/* Preallocated, so that a full file system cannot take it away; new, so that an id (and with it a permit) is good once. */
int shim_make_record(Shim *shim, ShimReport *report)
{
        shim->record_fd = place_open_record(&shim->start->common, shim->start->id, O_RDWR | O_CREAT | O_EXCL);
        if (shim->record_fd < 0)
                return errno == EEXIST ? shim_refuse(report, GRPC_STATUS_ALREADY_EXISTS, "it was started before; remove it first")
                                       : error_origin(negative_errno());
        shim->has_record = true;
        int r = fd_write_full(shim->record_fd, &shim->record, sizeof(shim->record));
        return r < 0 ? fold(r) : 0;
}

static int shim_pipe(int *ret_read, int *ret_write)
{
        int pair[2];
        if (pipe2(pair, O_CLOEXEC) < 0)
                return error_origin(negative_errno());
        /* Refused beyond a user's share: then it stays what it is. */
        (void)fcntl(pair[0], F_SETPIPE_SZ, SHIM_PIPE_BYTES);
        *ret_read = pair[0];
        *ret_write = pair[1];
        return 0;
}

static int shim_make_commit_record(Shim *shim)
{
        shim->commit_fd = memfd_create("log-record", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (shim->commit_fd < 0 || ftruncate(shim->commit_fd, LOG_RECORD_BYTES) < 0 ||
            fcntl(shim->commit_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0)
                return error_origin(negative_errno());
        return 0;
}

int shim_make_streams(Shim *shim)
{
        uint32_t flags = shim->start->flags;
        int pair[2], r = 0;
        if (flags & LAUNCH_FLAG_TTY)
                flags = 0; /* the runtime makes the terminal */
        if (flags & LAUNCH_FLAG_STDIN)
                r = shim_pipe(&shim->inner[0], &shim->stdin_fd);
        if (r == 0 && flags & LAUNCH_FLAG_STDOUT)
                r = shim_pipe(&shim->stdout_fd, &shim->inner[1]);
        if (r == 0 && flags & LAUNCH_FLAG_STDERR)
                r = shim_pipe(&shim->stderr_fd, &shim->inner[2]);
        if (r == 0 && !shim->start->is_exec)
                r = shim_make_commit_record(shim);
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(shim->inner); i++)
                if (shim->inner[i] < 0 && (shim->inner[i] = open("/dev/null", O_RDWR | O_CLOEXEC)) < 0)
                        r = error_origin(negative_errno());
        if (r == 0)
                r = place_socket(&shim->start->common, shim->start->id, true, &shim->listener_fd);
        if (r < 0)
                return fold(r);
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return error_origin(negative_errno());
        shim->edge_fd = pair[0];
        shim->peer_fd = pair[1];
        return 0;
}
