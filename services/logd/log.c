/* SPDX-License-Identifier: Apache-2.0 */
#include "services/logd/log.h"

#include <event2/event.h>

#include "ipc/edges/containerd-logd.pb-c.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/log.h"

/* How long a file that takes nothing (a full disk) is left alone. The container is held back meanwhile: its pipe fills. */
#define LOG_RETRY_USEC 500000
/* How long a line may stand unfinished before what there is of it is logged. */
#define LOG_SILENCE_SEC 1
/* Between looks whether a client has caught up. */
#define LOG_HELD_USEC 10000

int log_table_init(LogTable *table, struct event_base *base)
{
        list_init(&table->logs);
        table->base = base;
        table->scratch = malloc(LOG_OUTPUT_BYTES);
        return table->scratch ? 0 : error_origin(-ENOMEM);
}

void log_table_done(LogTable *table)
{
        if (!table->base)
                return;
        list_for_each_safe(i, n, &table->logs)
                log_free(container_of(i, Log, link));
        tap_table_done(&table->taps);
        free(TAKE_PTR(table->scratch));
}

Log *log_table_find(LogTable *table, const char *id)
{
        list_for_each(i, &table->logs) {
                Log *log = container_of(i, Log, link);
                if (str_equal(log->id, id))
                        return log;
        }
        return NULL;
}

static void log_stream_stop(LogStream *stream)
{
        if (stream->event)
                event_free(TAKE_PTR(stream->event));
        stream->fd = fd_close(stream->fd);
}

Log *log_free(Log *log)
{
        if (!log)
                return NULL;
        for (unsigned i = 0; i < LOG_RECORD_STREAMS; i++)
                log_stream_stop(&log->streams[i]);
        if (log->retry)
                event_free(log->retry);
        if (log->deadline)
                event_free(log->deadline);
        if (log->held)
                event_free(log->held);
        if (log->silence)
                event_free(log->silence);
        list_for_each_safe(i, n, &log->taps)
                (void)tap_free(container_of(i, Tap, link));
        log_journal_done(&log->journal);
        list_remove(&log->link);
        free(log);
        return NULL;
}

static bool log_is_drained(const Log *log)
{
        return !log->blocked && log->streams[0].fd < 0 && log->streams[1].fd < 0;
}

/* Answers a close whose work is done; the log is gone then. */
static void log_closed(Log *log)
{
        if (log->close_is_answered) {
                log_info("log of container %s: complete; its file takes data again", log->id);
                log_free(log);
                return;
        }
        Bulkhead__ContainerdLogd__LogClosed closed = BULKHEAD__CONTAINERD_LOGD__LOG_CLOSED__INIT;
        closed.lines = log->journal.slot.lines;
        closed.truncated = log->truncated;
        (void)reply_send(log->close_to, &closed.base, NULL, 0);
        tap_end(&log->taps);
        log_free(log);
}

static void log_arm(Log *log)
{
        for (unsigned i = 0; i < LOG_RECORD_STREAMS; i++) {
                if (!log->streams[i].event)
                        continue;
                if (log->blocked || log->held_until_usec > 0)
                        (void)event_del(log->streams[i].event);
                else
                        (void)event_add(log->streams[i].event, NULL);
        }
}

static void log_wait_for_clients(Log *log)
{
        const struct timeval later = {.tv_usec = LOG_HELD_USEC};

        if (event_add(log->held, &later) == 0)
                return;
        log->held_until_usec = 0;
        log_arm(log);
}

/* A container that has ended is not held back: what is left of its output is within the bounds. */
static void log_look_at_clients(Log *log)
{
        if (log->held_until_usec > 0 || log->closing || !tap_is_behind(&log->taps, TAP_BEHIND))
                return;
        log->held_until_usec = clock_monotonic_usec() + TAP_HOLD_USEC;
        log_arm(log);
        log_wait_for_clients(log);
}

static void log_on_held(evutil_socket_t fd, short what, void *userdata)
{
        Log *log = userdata;

        (void)fd;
        (void)what;
        if (clock_monotonic_usec() >= log->held_until_usec)
                tap_let_go(&log->taps, TAP_CAUGHT_UP);
        if (!log->closing && tap_is_behind(&log->taps, TAP_CAUGHT_UP)) {
                log_wait_for_clients(log);
                return;
        }
        log->held_until_usec = 0;
        log_arm(log);
}

static int log_arm_deadline(Log *log)
{
        const struct timeval later = {.tv_sec = log->drain_msec / 1000, .tv_usec = (log->drain_msec % 1000) * 1000};

        return event_add(log->deadline, &later) < 0 ? error_origin(-ENOMEM) : 0;
}

static void log_set_blocked(Log *log, bool blocked)
{
        log->blocked = blocked;
        log_arm(log);
        if (!blocked) {
                log->told_blocked = false;
                if (log->closing && !event_pending(log->deadline, EV_TIMEOUT, NULL))
                        (void)log_arm_deadline(log); /* a left-over holder of a pipe must not keep it open for ever */
                return;
        }
        struct timeval later = {.tv_usec = LOG_RETRY_USEC};
        (void)event_add(log->retry, &later);
        if (!log->told_blocked) {
                log->told_blocked = true;
                if (log->table->on_blocked)
                        log->table->on_blocked(log->table->userdata, log);
        }
}

static void log_on_bytes(void *userdata, unsigned stream, const uint8_t *bytes, size_t n)
{
        Log *log = userdata;

        tap_write(&log->taps, stream, bytes, n);
}

/* One batch, thrown away but for who is attached. */
static int log_stream_discard(LogStream *stream)
{
        Log *log = stream->log;
        ssize_t n = read(stream->fd, log->table->scratch, LOG_OUTPUT_BYTES);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return LOG_JOURNAL_E_IDLE;
        if (n > 0)
                tap_write(&log->taps, (unsigned)(stream - log->streams), log->table->scratch, (size_t)n);
        return n > 0 ? 0 : LOG_JOURNAL_E_END; /* a terminal that nobody has open any more gives EIO */
}

/* One batch of one stream. A batch is bounded, so a flooding container cannot hold up its neighbours. */
static int log_stream_pump(LogStream *stream)
{
        Log *log = stream->log;
        int r = log->is_discarded ? log_stream_discard(stream)
                                  : log_journal_pump(&log->journal, (unsigned)(stream - log->streams), stream->fd);
        if (r < 0)
                return fold(r);
        if (r == LOG_JOURNAL_E_END)
                log_stream_stop(stream);
        else if (r == LOG_JOURNAL_E_BLOCKED)
                log_set_blocked(log, true);
        else if (log->journal.slot.carry[stream - log->streams].length > 0)
                (void)event_add(log->silence, &(struct timeval){.tv_sec = LOG_SILENCE_SEC});
        log_look_at_clients(log);
        if (log->closing && log_is_drained(log))
                log_closed(log);
        return 0;
}

static void log_on_readable(evutil_socket_t fd, short what, void *userdata)
{
        LogStream *stream = userdata;
        int r = log_stream_pump(stream);
        if (r < 0) {
                log_error("log of container %s: %s (%s)", stream->log->id, strerror(-r), error_trace());
                log_stream_stop(stream);
        }
}

static void log_on_silence(evutil_socket_t fd, short what, void *userdata)
{
        Log *log = userdata;
        /* Held back is not silent. */
        for (unsigned i = 0; i < LOG_RECORD_STREAMS && !log->blocked && log->held_until_usec == 0; i++)
                if (log->streams[i].fd >= 0 && log_journal_flush(&log->journal, i) == LOG_JOURNAL_E_BLOCKED)
                        log_set_blocked(log, true);
}

static void log_on_retry(evutil_socket_t fd, short what, void *userdata)
{
        Log *log = userdata;
        log->blocked = false;
        for (unsigned i = 0; i < LOG_RECORD_STREAMS && !log->blocked; i++)
                if (log->streams[i].fd >= 0 || log->journal.pending) {
                        int r = log->streams[i].fd >= 0 ? log_journal_pump(&log->journal, i, log->streams[i].fd)
                                                        : LOG_JOURNAL_E_IDLE;
                        if (r == LOG_JOURNAL_E_BLOCKED)
                                log->blocked = true;
                        else if (r == LOG_JOURNAL_E_END)
                                log_stream_stop(&log->streams[i]);
                }
        log_set_blocked(log, log->blocked);
        if (log->closing && log_is_drained(log))
                log_closed(log);
}

static void log_on_deadline(evutil_socket_t fd, short what, void *userdata)
{
        Log *log = userdata;
        if (log->blocked) {
                Bulkhead__ContainerdLogd__LogClosed pending = BULKHEAD__CONTAINERD_LOGD__LOG_CLOSED__INIT;
                pending.lines = log->journal.slot.lines;
                pending.pending = true;
                if (!log->close_is_answered)
                        (void)reply_send(log->close_to, &pending.base, NULL, 0);
                log->close_is_answered = true;
                return;
        }
        for (unsigned i = 0; i < LOG_RECORD_STREAMS; i++) {
                if (log->streams[i].fd < 0)
                        continue;
                log->truncated = true;
                if (log->is_discarded) {
                        log_stream_stop(&log->streams[i]);
                        continue;
                }
                /* What is in the pipe now still belongs to the log; what a left-over process writes later does not. The
                 * bound keeps a process that writes without end from holding up the close. */
                for (unsigned n = 0; n < 16 && log_journal_pump(&log->journal, i, log->streams[i].fd) == 0; n++)
                        ;
                (void)log_journal_end(&log->journal, i);
                log_stream_stop(&log->streams[i]);
        }
        log_closed(log);
}

int log_new(Log **ret, LogTable *table, const char *id, int file_fd, int memfd, const int fds[LOG_RECORD_STREAMS])
{
        _cleanup_fd_ int file = file_fd;
        _cleanup_fd_ int commit = memfd;
        _cleanup_(log_freep) Log *log = calloc(1, sizeof(*log));
        if (!log) {
                for (unsigned i = 0; i < LOG_RECORD_STREAMS; i++)
                        (void)fd_close(fds[i]);
                return error_origin(-ENOMEM);
        }
        log->table = table;
        log->journal = LOG_JOURNAL_NULL;
        list_init(&log->link);
        list_init(&log->taps);
        for (unsigned i = 0; i < LOG_RECORD_STREAMS; i++)
                log->streams[i] = (LogStream){.log = log, .fd = fds[i]};
        if (!str_copy(log->id, sizeof(log->id), id))
                return error_origin(-EINVAL);
        log->is_discarded = commit < 0;
        int r = log->is_discarded ? 0 : log_journal_open(&log->journal, commit, TAKE_FD(file), table->scratch);
        if (r < 0)
                return fold(r);
        if (r > 0)
                return r;
        log->journal.on_bytes = log_on_bytes;
        log->journal.userdata = log;
        log->retry = event_new(table->base, -1, 0, log_on_retry, log);
        log->deadline = event_new(table->base, -1, 0, log_on_deadline, log);
        log->silence = event_new(table->base, -1, 0, log_on_silence, log);
        log->held = event_new(table->base, -1, 0, log_on_held, log);
        if (!log->retry || !log->deadline || !log->silence || !log->held)
                return error_origin(-ENOMEM);
        for (unsigned i = 0; i < LOG_RECORD_STREAMS; i++) {
                LogStream *stream = &log->streams[i];
                if (stream->fd < 0)
                        continue;
                r = fd_set_nonblock(stream->fd, true);
                if (r < 0)
                        return fold(r);
                stream->event = event_new(table->base, stream->fd, EV_READ | EV_PERSIST, log_on_readable, stream);
                if (!stream->event || event_add(stream->event, NULL) < 0)
                        return error_origin(-ENOMEM);
        }
        list_append(&table->logs, &log->link);
        *ret = TAKE_PTR(log);
        return 0;
}

int log_close(Log *log, ReplyTo to, uint32_t drain_msec)
{
        log->closing = true;
        log->close_is_answered = false;
        log->close_to = to;
        log->drain_msec = drain_msec;
        if (log_is_drained(log)) {
                log_closed(log);
                return 0;
        }
        return fold(log_arm_deadline(log));
}

int log_reopen(Log *log, int file_fd)
{
        int r = log_journal_reopen(&log->journal, file_fd);
        if (r < 0)
                return fold(r);
        if (log->blocked)
                event_active(log->retry, EV_TIMEOUT, 0);
        return 0;
}
