/* SPDX-License-Identifier: Apache-2.0 */

/* The unconfined side of rendering: starts the child and answers its questions with files and numbers of the host. */

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "lib/error.h"
#include "lib/grpc-status.h"
#include "lib/log.h"
#include "services/containerd/launch/launch.h"
#include "services/containerd/launch/render-ask.h"
#include "services/containerd/runtime/host.h"
#include "services/containerd/runtime/place.h"
#include "services/containerd/runtime/source.h"

static int render_answer(int ask_fd, uint16_t kind, const RenderAnswer *answer, int fd)
{
        return wire_send(ask_fd, kind, WIRE_FLAG_REPLY, 1, answer, sizeof(*answer), &fd, fd >= 0 ? 1 : 0) == 0 ? 0 : -EPIPE;
}

static int render_answer_device(void *userdata, const char *path, const struct stat *st)
{
        RenderAnswer answer = {.type = S_ISBLK(st->st_mode) ? 'b' : 'c', .major = major(st->st_rdev), .minor = minor(st->st_rdev),
                               .mode = st->st_mode, .uid = st->st_uid, .gid = st->st_gid};
        return str_copy(answer.path, sizeof(answer.path), path) ? render_answer(*(int *)userdata, RENDER_ASK_DEVICES, &answer, -1) : 0;
}

/* Asked about the host by the child that has checked the permit; 1 when it is done. What it can have done here, the config.json that
 * it writes could have the runtime do as well: it sees device numbers, a profile of the operator's, the exit record of a
 * container; it has a directory made, or a copy of a host path put where the runtime can mount it from, with the owners of this
 * pod's user namespace. */
static int render_serve(const Launch *launch, const RenderJob *job, int ask_fd, WireFrame *frame, RenderAsk *ret_done)
{
        RenderAsk *ask = (void *)frame->payload;
        RenderAnswer answer = {0};
        _cleanup_fd_ int fd = -1;
        if (frame->header.length != sizeof(*ask) || ask->text[sizeof(ask->text) - 1] != '\0')
                return error_origin(-EPROTO);
        switch (frame->header.id) {
        case RENDER_ASK_PROFILE:
                answer.result = host_open_beneath(launch->config->seccomp_dir, ask->text, &fd);
                break;
        case RENDER_ASK_RECORD:
                fd = id_is_valid(ask->text) ? place_open_record(launch->common, ask->text, O_RDONLY) : -1;
                answer.result = fd < 0 ? -ESRCH : 0;
                break;
        case RENDER_ASK_DEVICES:
                answer.result = host_walk_devices(ask->text, render_answer_device, &ask_fd);
                break;
        case RENDER_ASK_SOURCE:
                memcpy(answer.path, ask->text, sizeof(ask->text));
                answer.result = source_prepare(launch->common, job->permit, answer.path, ask->flags, ask->number);
                break;
        case RENDER_ASK_DONE:
                *ret_done = *ask;
                return 1;
        default:
                return error_origin(-EPROTO);
        }
        return render_answer(ask_fd, frame->header.id, &answer, fd);
}

/* The child has a limit of processor time: it asks, or ends. */
static int render_talk(const Launch *launch, const RenderJob *job, int ask_fd, RenderAsk *ret_done)
{
        int r = 0;
        while (r == 0) {
                _cleanup_(wire_frame_done) WireFrame frame = WIRE_FRAME_NULL;
                r = wire_receive(ask_fd, false, &frame);
                r = r == 0 ? render_serve(launch, job, ask_fd, &frame, ret_done) : error_origin(-EPIPE);
        }
        return r < 0 ? fold(r) : 0;
}

int render_run(const Launch *launch, const RenderJob *job, const char *path, Verdict *verdict)
{
        RenderAsk done = {0};
        int pair[2], status = 0;
        const char *id = job->kind < RENDER_KIND_LIMITS ? job->permit->id : job->permit->pod_id;
        _cleanup_fd_ int result_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (result_fd < 0)
                return verdict_set(verdict, GRPC_STATUS_FAILED_PRECONDITION, "%s: its root file system is not prepared: %s: %s", id,
                                   path, strerror(errno));
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return error_origin(negative_errno());
        pid_t pid = fork();
        if (pid == 0) {
                (void)close(pair[0]);
                render_child(launch, job, pair[1], result_fd);
        }
        (void)close(pair[1]);
        int r = pid < 0 ? error_origin(-EAGAIN) : render_talk(launch, job, pair[0], &done);
        (void)close(pair[0]);
        (void)waitpid(pid, &status, 0);
        if (r < 0 || status != 0 || done.outcome < 0)
                return verdict_set(verdict, GRPC_STATUS_INTERNAL, "%s: its configuration cannot be rendered: status %d, %.900s", id,
                                   status, done.text[0] ? done.text : error_trace());
        if (done.outcome == 0)
                return 0;
        if (done.outcome == RENDER_E_REFUSED)
                return verdict_set(verdict, GRPC_STATUS_INVALID_ARGUMENT, "%s: %.1000s", id, done.text);
        log_warning("refused (%llu since the start): %s: %.1000s",
                    (unsigned long long)__atomic_add_fetch(launch->n_refused, 1, __ATOMIC_RELAXED), id, done.text);
        return verdict_set(verdict, GRPC_STATUS_PERMISSION_DENIED, "%s: refused: %.1000s", id, done.text);
}
