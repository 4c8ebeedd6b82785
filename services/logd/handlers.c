/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc/edges/containerd-logd.pb-c.h"
#include "lib/error.h"
#include "lib/grpc-status.h"
#include "lib/log.h"
#include "services/logd/logd.h"

typedef enum HandlersOpen { HANDLERS_OPEN_PIPES, HANDLERS_OPEN_TTY, HANDLERS_OPEN_DISCARD } HandlersOpen;

static int handlers_open(Logd *logd, Frame *frame, HandlersOpen how)
{
        const Bulkhead__ContainerdLogd__LogOpen *open = container_of(frame->message, Bulkhead__ContainerdLogd__LogOpen, base);
        ReplyTo to = frame_reply_to(frame);
        if (!id_is_valid(open->container_id))
                return reply_fail(to, GRPC_STATUS_INVALID_ARGUMENT, "log_open: \"%.80s\" is not a container id", open->container_id);

        /* A second open is containerd's after a restart of its own: it replaces the first, whose state is in the record; who is
         * attached stays so. */
        List taps = LIST_INIT(taps);
        Log *old = log_table_find(&logd->logs, open->container_id);
        if (old)
                tap_move(&taps, &old->taps);
        log_free(old);

        bool is_kept = how != HANDLERS_OPEN_DISCARD;
        size_t i = is_kept ? 2 : 0;
        int file_fd = is_kept ? frame_take_fd(frame, 0) : -1;
        int memfd = is_kept ? frame_take_fd(frame, 1) : -1;
        int fds[LOG_RECORD_STREAMS] = {frame_take_fd(frame, i), how == HANDLERS_OPEN_TTY ? -1 : frame_take_fd(frame, i + 1)};
        Log *log = NULL;
        int r = log_new(&log, &logd->logs, open->container_id, file_fd, memfd, fds);
        if (r == 0)
                tap_move(&log->taps, &taps);
        else
                tap_end(&taps);
        if (r == LOG_JOURNAL_E_RECORD)
                return reply_fail(to, GRPC_STATUS_FAILED_PRECONDITION, "log of container %s: its commit record is damaged, so its log cannot go on; "
                                         "remove the container", open->container_id);
        if (r < 0)
                return reply_fail(to, GRPC_STATUS_INTERNAL, "log of container %s: cannot be opened: %s", open->container_id, strerror(-r));

        Bulkhead__ContainerdLogd__LogOpened opened = BULKHEAD__CONTAINERD_LOGD__LOG_OPENED__INIT;
        opened.offset_bytes = log->journal.slot.offset;
        return reply_send(to, &opened.base, NULL, 0);
}

int on_log_open(void *userdata, Frame *frame)
{
        return handlers_open(userdata, frame, HANDLERS_OPEN_PIPES);
}

int on_log_open_tty(void *userdata, Frame *frame)
{
        return handlers_open(userdata, frame, HANDLERS_OPEN_TTY);
}

int on_log_discard(void *userdata, Frame *frame)
{
        return handlers_open(userdata, frame, HANDLERS_OPEN_DISCARD);
}

int on_log_reopen(void *userdata, Frame *frame)
{
        Logd *logd = userdata;
        const Bulkhead__ContainerdLogd__LogReopen *reopen =
                container_of(frame->message, Bulkhead__ContainerdLogd__LogReopen, base);
        ReplyTo to = frame_reply_to(frame);
        Log *log = log_table_find(&logd->logs, reopen->container_id);
        if (!log)
                return reply_fail(to, GRPC_STATUS_NOT_FOUND, "log of container %.80s is not open: the container is not running",
                                  reopen->container_id);
        if (log->is_discarded)
                return reply_fail(to, GRPC_STATUS_FAILED_PRECONDITION, "log of container %s: it has no log path", log->id);
        int r = log_reopen(log, frame_take_fd(frame, 0));
        if (r < 0)
                return reply_fail(to, GRPC_STATUS_INTERNAL, "log of container %s: the new file cannot be used: %s", log->id, strerror(-r));
        Bulkhead__ContainerdLogd__LogReopened reopened = BULKHEAD__CONTAINERD_LOGD__LOG_REOPENED__INIT;
        return reply_send(to, &reopened.base, NULL, 0);
}

int on_log_attach(void *userdata, Frame *frame)
{
        Logd *logd = userdata;
        const Bulkhead__ContainerdLogd__LogAttach *attach =
                container_of(frame->message, Bulkhead__ContainerdLogd__LogAttach, base);
        Bulkhead__ContainerdLogd__LogAttached attached = BULKHEAD__CONTAINERD_LOGD__LOG_ATTACHED__INIT;
        ReplyTo to = frame_reply_to(frame);
        int fds[TAP_STREAMS] = {-1, -1};
        size_t n = 0;
        Log *log = log_table_find(&logd->logs, attach->container_id);
        if (!log || log->closing)
                return reply_fail(to, GRPC_STATUS_NOT_FOUND, "output of container %.80s: it is not read here: the container is not running",
                                  attach->container_id);
        if (!id_is_valid(attach->session_id) || frame->wire.n_fds != (size_t)attach->stdout + (size_t)attach->stderr)
                return reply_fail(to, GRPC_STATUS_INVALID_ARGUMENT, "output of container %s: an attachment without its id or pipes", log->id);
        if (tap_find(&log->taps, attach->session_id))
                return reply_send(to, &attached.base, NULL, 0); /* it outlived containerd's connection */
        if (attach->stdout)
                fds[0] = frame_take_fd(frame, n++);
        if (attach->stderr)
                fds[1] = frame_take_fd(frame, n);
        int r = tap_new(&logd->logs.taps, &log->taps, log->id, attach->session_id, fds);
        return r < 0 ? fold(r) : reply_send(to, &attached.base, NULL, 0);
}

int on_log_attachment(void *userdata, Frame *frame)
{
        Logd *logd = userdata;
        const Bulkhead__ContainerdLogd__LogAttachment *request =
                container_of(frame->message, Bulkhead__ContainerdLogd__LogAttachment, base);
        Bulkhead__ContainerdLogd__LogAttachmentFound found = BULKHEAD__CONTAINERD_LOGD__LOG_ATTACHMENT_FOUND__INIT;
        Log *log = log_table_find(&logd->logs, request->container_id);
        const Tap *tap = log && !log->closing ? tap_find(&log->taps, request->session_id) : NULL;

        if (!tap)
                return reply_fail(frame_reply_to(frame), GRPC_STATUS_NOT_FOUND, "output of container %.80s: session %.80s does not have it",
                                  request->container_id, request->session_id);
        found.stdout = tap->pipes[0].fd >= 0;
        found.stderr = tap->pipes[1].fd >= 0;
        return reply_send(frame_reply_to(frame), &found.base, NULL, 0);
}

int on_log_detach(void *userdata, Frame *frame)
{
        Logd *logd = userdata;
        const Bulkhead__ContainerdLogd__LogDetach *detach =
                container_of(frame->message, Bulkhead__ContainerdLogd__LogDetach, base);
        Log *log = log_table_find(&logd->logs, detach->container_id);
        Tap *tap = log ? tap_find(&log->taps, detach->session_id) : NULL;

        if (!tap)
                tap = tap_find(&logd->logs.taps.lingering, detach->session_id);
        (void)tap_free(tap);
        return 0;
}

int on_log_close(void *userdata, Frame *frame)
{
        Logd *logd = userdata;
        const Bulkhead__ContainerdLogd__LogClose *close =
                container_of(frame->message, Bulkhead__ContainerdLogd__LogClose, base);
        ReplyTo to = frame_reply_to(frame);
        Log *log = log_table_find(&logd->logs, close->container_id);
        if (!log) {
                Bulkhead__ContainerdLogd__LogClosed closed = BULKHEAD__CONTAINERD_LOGD__LOG_CLOSED__INIT;
                return reply_send(to, &closed.base, NULL, 0);
        }
        int r = log_close(log, to, close->drain_msec);
        return r < 0 ? fold(r) : 0;
}
