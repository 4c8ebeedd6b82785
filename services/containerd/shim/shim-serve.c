/* SPDX-License-Identifier: Apache-2.0 */

/* What is left of the shim once it is confined: a few fds to wait on, seven fixed messages, one record to write. */

#include "services/containerd/shim/shim.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "ipc/edges/containerd-shim.rows.h"
#include "ipc/hand-channel.h"
#include "lib/error.h"
#include "lib/grpc-status.h"

static int on_shim_status(Shim *shim, int fd, const HandRequest *request)
{
        ShimStatus status = {.record = shim->record, .confined = shim->confined};
        return hand_reply(fd, request, &status, &shim->pidfd, 1);
}

static int on_shim_streams(Shim *shim, int fd, const HandRequest *request)
{
        ShimStreams streams = {.tty = shim->tty_fd >= 0};
        const int all[] = {shim->commit_fd, shim->tty_fd, shim->stdout_fd, shim->stderr_fd,
                           shim->stdin_fd};
        int fds[ARRAY_SIZE(all)];
        for (size_t i = 0; i < ARRAY_SIZE(all); i++)
                if (all[i] >= 0)
                        fds[streams.n_fds++] = all[i];
        return hand_reply(fd, request, &streams, fds, streams.n_fds);
}

static int on_shim_release(Shim *shim, int fd, const HandRequest *request)
{
        const ShimRelease *release = (const void *)request->frame.payload;
        if (release->streams & SHIM_STREAM_STDIN)
                shim->stdin_fd = fd_close(shim->stdin_fd);
        if (release->streams & SHIM_STREAM_OUTPUT) {
                shim->commit_fd = fd_close(shim->commit_fd);
                shim->stdout_fd = fd_close(shim->stdout_fd);
                shim->stderr_fd = fd_close(shim->stderr_fd);
                shim->tty_fd = fd_close(shim->tty_fd);
        }
        return hand_reply(fd, request, NULL, NULL, 0);
}

static int on_shim_quit(Shim *shim, int fd, const HandRequest *request)
{
        if (shim->record.state == EXIT_STATE_CREATED)
                return hand_fail(fd, request, GRPC_STATUS_FAILED_PRECONDITION, "its process %d has not ended", shim->record.pid);
        shim->quit = true;
        return hand_reply(fd, request, NULL, NULL, 0);
}

static int on_shim_resize(Shim *shim, int fd, const HandRequest *request)
{
        const ShimResize *resize = (const void *)request->frame.payload;
        struct winsize size = {.ws_col = resize->columns, .ws_row = resize->rows};
        if (shim->tty_fd < 0)
                return hand_fail(fd, request, GRPC_STATUS_FAILED_PRECONDITION, "it has no terminal");
        if (ioctl(shim->tty_fd, TIOCSWINSZ, &size) < 0)
                return hand_fail(fd, request, GRPC_STATUS_INTERNAL, "its terminal takes no size: %s", strerror(errno));
        return hand_reply(fd, request, NULL, NULL, 0);
}

/* Asked to end the container: kills every process of its cgroup, and of no other, through an fd opened before the drop. */
static int on_shim_kill(Shim *shim, int fd, const HandRequest *request)
{
        if (shim->kill_fd < 0)
                return hand_fail(fd, request, GRPC_STATUS_FAILED_PRECONDITION, "it holds no cgroup.kill; signal its process");
        if (write(shim->kill_fd, "1", 1) != 1 && errno != ENODEV)
                return hand_fail(fd, request, GRPC_STATUS_INTERNAL, "cgroup.kill: %s", strerror(errno));
        return hand_reply(fd, request, NULL, NULL, 0);
}

typedef int (*ShimHandler)(Shim *shim, int fd, const HandRequest *request);
static const ShimHandler shim_handlers[] = {EDGE_CONTAINERD_SHIM_HANDLERS_B};

/* One request; what breaks the protocol loses its connection. launch gives containerd another. */
static int shim_on_edge(Shim *shim)
{
        HandRequest request = HAND_REQUEST_NULL;
        const EdgeSchema *schema = &edge_schema_containerd_shim;
        int fd = shim->edge_fd;
        int r = hand_receive(fd, schema, EDGE_SIDE_A, &request);
        if (r == 0)
                r = shim_handlers[request.row - schema->rows](shim, fd, &request);
        else if (r == WIRE_E_AGAIN)
                r = 0;
        hand_request_done(&request);
        if (r != 0)
                shim->edge_fd = fd_close(fd);
        return 0;
}

/* Only root reaches the socket's directory, so this is launch: the newest connection is containerd's. */
static void shim_on_listener(Shim *shim)
{
        int fd = accept4(shim->listener_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
                return;
        shim->edge_fd = fd_close(shim->edge_fd);
        shim->edge_fd = fd;
}

static void shim_tell_end(Shim *shim)
{
        int fd = shim->edge_fd;
        if (fd >= 0 && hand_event(fd, ROW_CONTAINERD_SHIM_SHIM_EXITED, &shim->record, NULL, 0) < 0)
                shim->edge_fd = fd_close(fd);
}

int shim_serve(Shim *shim)
{
        enum { SIGNAL, EDGE, LISTENER, EVENTS };
        struct pollfd fds[] = {
                [SIGNAL] = {.fd = shim->signal_fd, .events = POLLIN},
                [EDGE] = {.events = POLLIN},
                [LISTENER] = {.fd = shim->listener_fd, .events = POLLIN},
                [EVENTS] = {.fd = -1, .events = POLLPRI},
        };
        uint8_t info[128]; /* a signalfd_siginfo; that children ended is all it says */
        if (shim_reap(shim))
                shim_tell_end(shim);
        while (!shim->quit) {
                fds[EDGE].fd = shim->edge_fd;
                fds[EVENTS].fd = shim->slice_fd < 0 ? -1 : shim->events_fd; /* else they are there until the container is removed */
                int r = shim_sleep(fds, ARRAY_SIZE(fds));
                if (r < 0 && r != -EINTR)
                        return error_origin(r);
                if (fds[EVENTS].revents)
                        shim_see_events(shim);
                if (fds[SIGNAL].revents) {
                        while (read(shim->signal_fd, info, sizeof(info)) > 0)
                                ;
                        if (shim_reap(shim))
                                shim_tell_end(shim);
                }
                if (fds[EDGE].revents)
                        (void)shim_on_edge(shim);
                if (fds[LISTENER].revents)
                        shim_on_listener(shim);
        }
        return 0;
}
