/* SPDX-License-Identifier: Apache-2.0 */

/* The unconfined side of rendering: starts the child and answers its questions with files and numbers of the host. */

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "lib/clock.h"
#include "lib/error.h"
#include "lib/grpc-status.h"
#include "lib/log.h"
#include "services/containerd/launch/launch.h"
#include "services/containerd/runtime/question.h"

#define RENDER_LATE_MSEC 2000 /* for a child that says itself that it is late */

/* What a child of this kind has to ask. */
static uint32_t render_questions(RenderKind kind)
{
        return kind == RENDER_KIND_CREATE ? ~QUESTION(RENDER_ASK_FILES)
               : QUESTION(RENDER_ASK_DONE) | (kind == RENDER_KIND_ARCHIVE ? QUESTION(RENDER_ASK_FILES) : 0);
}

static int render_left_msec(const RenderJob *job)
{
        uint64_t now = clock_monotonic_usec(), left = job->deadline_usec > now ? job->deadline_usec - now : 0;
        return job->deadline_usec == 0 ? -1 : (int)(left / 1000) + RENDER_LATE_MSEC;
}

/* The child has a limit of processor time: it asks, or ends. Where a container stands still for it, one that was taken over may neither say
 * nor hear anything: it has a limit of time, too. */
static int render_talk(const Launch *launch, const RenderJob *job, int ask_fd, RenderAsk *ret_done)
{
        const struct timeval left = {.tv_sec = render_left_msec(job) / 1000}; /* 0: for ever */
        struct pollfd waited = {.fd = ask_fd, .events = POLLIN};
        int r = setsockopt(ask_fd, SOL_SOCKET, SO_SNDTIMEO, &left, sizeof(left)) < 0 ? error_origin(negative_errno()) : 0;
        while (r == 0) {
                _cleanup_(wire_frame_done) WireFrame frame = WIRE_FRAME_NULL;
                if (poll(&waited, 1, render_left_msec(job)) == 0)
                        return error_origin(-ETIMEDOUT);
                r = wire_receive(ask_fd, false, &frame) == 0 ? question_answer(launch->common, launch->config, job->permit,
                                                                              render_questions(job->kind), ask_fd, &frame, ret_done)
                                                             : error_origin(-EPIPE);
        }
        return r < 0 ? fold(r) : 0;
}

int render_run(const Launch *launch, const RenderJob *job, const char *path, Verdict *verdict)
{
        RenderAsk done = {0};
        int pair[2], status = 0;
        const char *id = !job->permit ? "OCI runtime" : job->kind < RENDER_KIND_LIMITS ? job->permit->id : job->permit->pod_id;
        _cleanup_fd_ int result_fd = path ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600)
                                          : fcntl(job->result_fd, F_DUPFD_CLOEXEC, 0);
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
        if (r < 0 && pid > 0)
                (void)kill(pid, SIGKILL); /* what it would still do is for nobody */
        (void)waitpid(pid, &status, 0);
        if (r == -ETIMEDOUT || (r >= 0 && status == 0 && done.outcome == RENDER_E_LATE))
                return verdict_set(verdict, GRPC_STATUS_DEADLINE_EXCEEDED, "%s: it took longer than its timeout; nothing was kept", id);
        if (r < 0 || status != 0 || done.outcome < 0)
                return verdict_set(verdict, GRPC_STATUS_INTERNAL, "%s: its configuration cannot be rendered: status %d, %.900s", id,
                                   status, done.text[0] ? done.text : error_trace());
        if (done.outcome == 0 && job->ret_features)
                *job->ret_features = done.features;
        if (done.outcome == 0 && job->ret_location)
                memcpy(job->ret_location, done.text, sizeof(done.text));
        if (done.outcome == 0)
                return 0;
        if (done.outcome == RENDER_E_FULL)
                return verdict_set(verdict, GRPC_STATUS_RESOURCE_EXHAUSTED, "%s: the disk is full; free space: %.1000s", id, done.text);
        if (done.outcome == RENDER_E_REFUSED)
                return verdict_set(verdict, GRPC_STATUS_INVALID_ARGUMENT, "%s: %.1000s", id, done.text);
        log_warning("refused (%llu since the start): %s: %.1000s",
                    (unsigned long long)__atomic_add_fetch(launch->n_refused, 1, __ATOMIC_RELAXED), id, done.text);
        return verdict_set(verdict, GRPC_STATUS_PERMISSION_DENIED, "%s: refused: %.1000s", id, done.text);
}
