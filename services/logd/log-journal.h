/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Moves bytes from a container's pipes to its log file through the commit record (ipc/log-record.h), so that killing this
 * process at any instruction loses and doubles nothing. */

#include "ipc/log-record.h"
#include "services/logd/log-format.h"

typedef struct LogJournal {
        LogRecord *record;  /* owned mapping of the whole memfd, LOG_RECORD_BYTES */
        uint64_t sequence;  /* ours: the mapping is shared with the shim, so it is only written after the start */
        LogSlot slot;       /* in force */
        bool pending;       /* announced bytes were read and are not committed yet (a write failed) */
        LogAnnouncement announcement;
        int file_fd;        /* owned */
        int blocked_by;     /* errno (positive) of the last write that failed */
        const char *names[LOG_RECORD_STREAMS]; /* borrowed: "stdout", "stderr" */
        uint8_t *scratch;   /* borrowed: LOG_OUTPUT_BYTES, shared by all journals */
        /* May be NULL: sees what is read, once, whatever becomes of the write. What a predecessor had read is not told again. */
        void (*on_bytes)(void *userdata, unsigned stream, const uint8_t *bytes, size_t n);
        void *userdata;
} LogJournal;

#define LOG_JOURNAL_NULL ((LogJournal){.file_fd = -1})

enum {
        LOG_JOURNAL_E_IDLE = 1, /* nothing to read now */
        LOG_JOURNAL_E_END,      /* the stream has ended; its last line is written */
        LOG_JOURNAL_E_BLOCKED,  /* the file cannot take more (ENOSPC, EDQUOT, EIO): the bytes are kept, try again */
        LOG_JOURNAL_E_RECORD,   /* the memfd holds nonsense */
};

/* Maps the memfd and finishes what a killed predecessor had begun. Takes file_fd in any case; memfd is borrowed. */
int log_journal_open(LogJournal *journal, int memfd, int file_fd, uint8_t *scratch);
void log_journal_done(LogJournal *journal);

/* Reads at most one batch of the stream from fd and logs it. 0: something was logged, ask again; or an outcome. */
int log_journal_pump(LogJournal *journal, unsigned stream, int fd);
/* Later lines go to this file (taken), from its end on. */
int log_journal_reopen(LogJournal *journal, int file_fd);
/* Writes the unfinished line of a stream that has fallen silent (a prompt) as a piece tagged P; the stream goes on. */
int log_journal_flush(LogJournal *journal, unsigned stream);
/* Writes the unfinished line of the stream and marks it ended; for a drain that a deadline ends. */
int log_journal_end(LogJournal *journal, unsigned stream);
