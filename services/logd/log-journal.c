/* SPDX-License-Identifier: Apache-2.0 */
#include "services/logd/log-journal.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "lib/clock.h"
#include "lib/error.h"

static uint8_t *log_journal_region(const LogJournal *journal, unsigned stream)
{
        return (uint8_t *)journal->record + LOG_RECORD_HEAD_BYTES + (size_t)stream * LOG_RECORD_REGION_BYTES;
}

/* The one store that commits: everything before it is prepared, everything after it follows from it. */
static void log_journal_commit(LogJournal *journal, const LogSlot *next)
{
        journal->record->slots[(journal->sequence + 1) & 1] = *next;
        __atomic_store_n(&journal->record->sequence, journal->sequence + 1, __ATOMIC_SEQ_CST);
        journal->sequence++;
        journal->slot = *next;
        journal->pending = false;
}

/* The offset belongs to one file: a rotation that happened while we were dead, or a truncation, moves it. */
static int log_journal_check_file(LogJournal *journal)
{
        struct stat st;
        if (fstat(journal->file_fd, &st) < 0)
                return error_origin(negative_errno());
        if (journal->slot.device == st.st_dev && journal->slot.inode == st.st_ino &&
            journal->slot.offset <= (uint64_t)st.st_size)
                return 0;
        LogSlot next = journal->slot;
        next.device = st.st_dev;
        next.inode = st.st_ino;
        next.offset = (uint64_t)st.st_size;
        /* An announcement under way stays valid for the new sequence: it names bytes of the region, not of the file. */
        bool pending = journal->pending;
        if (pending) {
                journal->announcement.sequence = journal->sequence + 1;
                journal->record->announcement.sequence = journal->sequence + 1;
        }
        log_journal_commit(journal, &next);
        journal->pending = pending;
        return 0;
}

static bool log_slot_is_sane(const LogSlot *slot)
{
        for (unsigned i = 0; i < LOG_RECORD_STREAMS; i++) {
                const LogCarry *carry = &slot->carry[i];
                if (carry->length > LOG_FORMAT_PIECE_BYTES || carry->start > LOG_RECORD_REGION_BYTES ||
                    carry->length > LOG_RECORD_REGION_BYTES - carry->start)
                        return false;
        }
        return true;
}

static bool log_announcement_is_sane(const LogAnnouncement *a, const LogSlot *slot)
{
        return a->stream < LOG_RECORD_STREAMS && a->length > 0 && a->time_nsec >= 0 &&
               a->start == slot->carry[a->stream].start + slot->carry[a->stream].length &&
               a->start <= LOG_RECORD_REGION_BYTES && a->length <= LOG_RECORD_REGION_BYTES - a->start;
}

int log_journal_open(LogJournal *journal, int memfd, int file_fd, uint8_t *scratch)
{
        *journal = LOG_JOURNAL_NULL;
        journal->file_fd = file_fd;
        journal->scratch = scratch;
        journal->names[0] = "stdout";
        journal->names[1] = "stderr";

        struct stat st;
        if (fstat(memfd, &st) < 0)
                return error_origin(negative_errno());
        if (st.st_size != LOG_RECORD_BYTES)
                return LOG_JOURNAL_E_RECORD;
        void *p = mmap(NULL, LOG_RECORD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
        if (p == MAP_FAILED)
                return error_origin(negative_errno());
        journal->record = p;
        if (journal->record->magic == 0)
                journal->record->magic = LOG_RECORD_MAGIC;
        if (journal->record->magic != LOG_RECORD_MAGIC)
                return LOG_JOURNAL_E_RECORD;
        journal->sequence = journal->record->sequence;
        journal->slot = journal->record->slots[journal->sequence & 1];
        if (!log_slot_is_sane(&journal->slot))
                return LOG_JOURNAL_E_RECORD;

        LogAnnouncement a = journal->record->announcement;
        if (a.length > 0 && a.sequence == journal->sequence && !journal->slot.carry[a.stream % LOG_RECORD_STREAMS].ended) {
                if (!log_announcement_is_sane(&a, &journal->slot))
                        return LOG_JOURNAL_E_RECORD;
                size_t n = MIN2((size_t)a.length, sizeof(a.sentinel));
                journal->pending = memcmp(log_journal_region(journal, a.stream) + a.start, a.sentinel, n) != 0;
                journal->announcement = a;
        }
        return log_journal_check_file(journal);
}

void log_journal_done(LogJournal *journal)
{
        if (journal->record)
                (void)munmap(journal->record, LOG_RECORD_BYTES);
        (void)fd_close(journal->file_fd);
        *journal = LOG_JOURNAL_NULL;
}

/* Formats and writes what the announcement says was read, then commits. Same input, same bytes, however often. */
static int log_journal_finish(LogJournal *journal)
{
        const LogAnnouncement *a = &journal->announcement;
        LogCarry carry = journal->slot.carry[a->stream];
        uint8_t *region = log_journal_region(journal, a->stream);
        char prefix[LOG_FORMAT_PREFIX_BYTES];
        size_t n_prefix = log_format_prefix(prefix, a->time_nsec, journal->names[a->stream]);
        LogOutput output = {.fd = journal->file_fd, .offset = journal->slot.offset, .buffer = journal->scratch};

        size_t n = carry.length + a->length;
        size_t rest = log_format_lines(&output, prefix, n_prefix, region + carry.start, n);
        if (log_output_flush(&output) < 0) {
                journal->blocked_by = -output.failure;
                return LOG_JOURNAL_E_BLOCKED;
        }

        LogSlot next = journal->slot;
        next.offset = output.offset;
        next.lines += output.lines;
        next.carry[a->stream].start = rest ? (uint32_t)(carry.start + n - rest) : 0;
        next.carry[a->stream].length = (uint32_t)rest;
        log_journal_commit(journal, &next);
        return 0;
}

/* Makes room behind the carry by moving it to the region's head: a commit of its own, since the old place stays valid until
 * then. The carry is at most 16 KiB and stands far behind the head when room is short, so the two do not overlap. */
static void log_journal_relocate(LogJournal *journal, unsigned stream)
{
        LogSlot next = journal->slot;
        LogCarry *carry = &next.carry[stream];
        uint8_t *region = log_journal_region(journal, stream);
        memcpy(region, region + carry->start, carry->length);
        carry->start = 0;
        log_journal_commit(journal, &next);
}

/* Writes the stream's unfinished line and commits that it is written. Killed between the two, the next life writes at the same
 * place again, and what it writes there is never shorter: the same line, or the same and more. */
static int log_journal_write_rest(LogJournal *journal, unsigned stream, bool ended)
{
        LogCarry carry = journal->slot.carry[stream];
        char prefix[LOG_FORMAT_PREFIX_BYTES];
        size_t n_prefix = log_format_prefix(prefix, clock_realtime_nsec(), journal->names[stream]);
        LogOutput output = {.fd = journal->file_fd, .offset = journal->slot.offset, .buffer = journal->scratch};
        log_format_rest(&output, prefix, n_prefix, log_journal_region(journal, stream) + carry.start, carry.length);
        if (log_output_flush(&output) < 0) {
                journal->blocked_by = -output.failure;
                return LOG_JOURNAL_E_BLOCKED;
        }
        LogSlot next = journal->slot;
        next.offset = output.offset;
        next.lines += output.lines;
        next.carry[stream] = (LogCarry){.ended = ended};
        log_journal_commit(journal, &next);
        return 0;
}

int log_journal_flush(LogJournal *journal, unsigned stream)
{
        if (journal->pending || journal->slot.carry[stream].ended || journal->slot.carry[stream].length == 0)
                return 0;
        return log_journal_write_rest(journal, stream, false);
}

int log_journal_end(LogJournal *journal, unsigned stream)
{
        if (journal->slot.carry[stream].ended)
                return LOG_JOURNAL_E_END;
        if (journal->pending) {
                int r = log_journal_finish(journal);
                if (r)
                        return r;
        }
        int r = log_journal_write_rest(journal, stream, true);
        return r ? r : LOG_JOURNAL_E_END;
}

/* Bytes that are no text: a short read of UTF-8 or ASCII can never look like the sentinel. */
static int log_journal_sentinel(uint8_t sentinel[LOG_RECORD_SENTINEL_BYTES])
{
        if (getrandom(sentinel, LOG_RECORD_SENTINEL_BYTES, 0) != LOG_RECORD_SENTINEL_BYTES)
                return error_origin(-EIO);
        for (size_t i = 0; i < LOG_RECORD_SENTINEL_BYTES; i++)
                sentinel[i] |= 0xf8;
        return 0;
}

int log_journal_pump(LogJournal *journal, unsigned stream, int fd)
{
        int r = log_journal_check_file(journal);
        if (r < 0)
                return fold(r);
        if (journal->pending) {
                r = log_journal_finish(journal);
                if (r)
                        return r;
        }
        if (journal->slot.carry[stream].ended)
                return LOG_JOURNAL_E_END;

        int available = 0;
        if (ioctl(fd, FIONREAD, &available) < 0 || available <= 0) {
                /* Nothing can be announced, so nothing may be read: only look whether this is the end. */
                struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
                if (poll(&poll_fd, 1, 0) < 0)
                        return error_origin(negative_errno());
                bool ended = (poll_fd.revents & (POLLHUP | POLLERR)) && !(poll_fd.revents & POLLIN);
                return ended ? log_journal_end(journal, stream) : LOG_JOURNAL_E_IDLE;
        }
        LogCarry carry = journal->slot.carry[stream];
        if (LOG_RECORD_REGION_BYTES - (carry.start + carry.length) < LOG_FORMAT_PIECE_BYTES) {
                log_journal_relocate(journal, stream);
                carry = journal->slot.carry[stream];
        }
        uint32_t start = carry.start + carry.length;
        uint32_t n = (uint32_t)MIN2((size_t)available, (size_t)(LOG_RECORD_REGION_BYTES - start));
        LogAnnouncement a = {
                .sequence = journal->sequence,
                .stream = stream,
                .start = start,
                .length = n,
                .time_nsec = clock_realtime_nsec(),
        };
        r = log_journal_sentinel(a.sentinel);
        if (r < 0)
                return fold(r);
        uint8_t *to = log_journal_region(journal, stream) + start;
        memcpy(to, a.sentinel, MIN2((size_t)n, sizeof(a.sentinel)));
        /* The sequence is stored last: a half-written announcement counts for no sequence number. */
        LogAnnouncement *shared = &journal->record->announcement;
        __atomic_store_n(&shared->sequence, UINT64_MAX, __ATOMIC_SEQ_CST);
        uint64_t sequence = a.sequence;
        a.sequence = UINT64_MAX;
        *shared = a;
        __atomic_store_n(&shared->sequence, sequence, __ATOMIC_SEQ_CST);
        a.sequence = sequence;

        ssize_t got = read(fd, to, n);
        if (got < 0) {
                __atomic_store_n(&shared->sequence, UINT64_MAX, __ATOMIC_SEQ_CST);
                if (errno == EAGAIN || errno == EINTR)
                        return LOG_JOURNAL_E_IDLE;
                return errno == EIO ? LOG_JOURNAL_E_IDLE : error_origin(negative_errno());
        }
        if (got == 0) {
                __atomic_store_n(&shared->sequence, UINT64_MAX, __ATOMIC_SEQ_CST);
                return LOG_JOURNAL_E_IDLE;
        }
        if ((uint32_t)got != n) {
                /* Another reader of the pipe, or a terminal that changed its mind: what came is what counts. */
                a.length = (uint32_t)got;
                shared->length = a.length;
        }
        journal->announcement = a;
        journal->pending = true;
        if (journal->on_bytes)
                journal->on_bytes(journal->userdata, stream, to, (size_t)got);
        return log_journal_finish(journal);
}

int log_journal_reopen(LogJournal *journal, int file_fd)
{
        /* Bytes that were announced for the old file and could not be written follow into the new one. */
        journal->file_fd = fd_close(journal->file_fd);
        journal->file_fd = file_fd;
        return log_journal_check_file(journal);
}
