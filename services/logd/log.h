/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The logs under way: one Log per container, its streams on the event loop. */

#include "ipc/channel.h"
#include "lib/strings.h"
#include "services/logd/log-journal.h"
#include "services/logd/tap.h"

struct event;
struct event_base;
typedef struct Log Log;
typedef struct LogTable LogTable;

typedef struct LogStream {
        Log *log;            /* borrowed; contains us */
        int fd;              /* owned; -1: absent or ended */
        struct event *event; /* owned */
} LogStream;

struct Log {
        List link; /* in LogTable.logs */
        LogTable *table;
        char id[ID_LENGTH + 1];
        LogJournal journal;
        LogStream streams[LOG_RECORD_STREAMS];
        struct event *retry;    /* owned; armed while the file takes nothing */
        struct event *deadline; /* owned; armed while closing */
        struct event *held;     /* owned; pending while a client that is behind holds the container back */
        uint64_t held_until_usec; /* CLOCK_MONOTONIC; 0: nobody does */
        struct event *silence;  /* owned; armed while a line is unfinished: a prompt is shown without its newline */
        List taps; /* Tap.link: who is attached */
        bool is_discarded; /* read and kept nowhere: there is no journal */
        bool blocked;
        bool told_blocked;
        bool truncated;
        bool closing;
        bool close_is_answered; /* as pending: the file takes nothing, and containerd need not wait for it */
        uint32_t drain_msec;
        ReplyTo close_to;
};

struct LogTable {
        List logs;
        struct event_base *base; /* borrowed */
        uint8_t *scratch;        /* owned, LOG_OUTPUT_BYTES */
        void (*on_blocked)(void *userdata, Log *log);
        void *userdata;
        TapTable taps;
};

int log_table_init(LogTable *table, struct event_base *base);
void log_table_done(LogTable *table);
Log *log_table_find(LogTable *table, const char *id);

/* Takes the fds in any case. file_fd and memfd -1: what is written is read and kept nowhere. 0, or LOG_JOURNAL_E_RECORD, or -errno. */
int log_new(Log **ret, LogTable *table, const char *id, int file_fd, int memfd, const int fds[LOG_RECORD_STREAMS]);
Log *log_free(Log *log);
DEFINE_CLEANUP(Log, log_free)
/* Answers to once everything is written, or drain_msec have passed. A file that takes nothing then keeps the log open, and what is in
 * the pipes, until it takes all of it. */
int log_close(Log *log, ReplyTo to, uint32_t drain_msec);
int log_reopen(Log *log, int file_fd);
