/* SPDX-License-Identifier: Apache-2.0 */

/* A line is written with one write(), so that lines of processes that share a standard error do not mix. Under systemd
 * (JOURNAL_STREAM is set) the level goes in front as <n> for the journal, and time and name, which it adds itself, do
 * not. */

#include "lib/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#define LOG_LINE_MAX 4096

typedef struct Log {
        const char *ident; /* borrowed */
        enum log_level max;
        bool journal;
} Log;

static Log log_state = {.ident = "bulkhead", .max = LOG_LEVEL_INFO};

void log_init(const char *ident, enum log_level max)
{
        log_state.ident = ident;
        log_state.max = max;
        log_state.journal = getenv("JOURNAL_STREAM") != NULL;
}

void log_set_level(enum log_level max)
{
        log_state.max = max;
}

static const char *log_level_name(enum log_level level)
{
        switch (level) {
        case LOG_LEVEL_ERROR:
                return "error";
        case LOG_LEVEL_WARNING:
                return "warning";
        case LOG_LEVEL_INFO:
                return "info";
        case LOG_LEVEL_DEBUG:
                return "debug";
        }
        return "?";
}

/* Text may quote what a peer sent: control characters (line breaks, terminal escapes) become '?'. */
static void log_sanitize(char *s)
{
        for (; *s; s++)
                if ((unsigned char)*s < 0x20 || *s == 0x7f)
                        *s = '?';
}

static size_t log_prefix(char *line, size_t size, enum log_level level)
{
        struct timespec now = {0};
        struct tm tm = {0};
        int n;

        if (log_state.journal) {
                n = snprintf(line, size, "<%d>", level);
        } else {
                (void)clock_gettime(CLOCK_REALTIME, &now);
                (void)gmtime_r(&now.tv_sec, &tm);
                n = snprintf(line, size, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ %s[%d] %s: ", tm.tm_year + 1900,
                             tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, now.tv_nsec / 1000000,
                             log_state.ident, (int)getpid(), log_level_name(level));
        }
        return n < 0 ? 0 : MIN2((size_t)n, size - 1);
}

void log_write(enum log_level level, const char *format, ...)
{
        char line[LOG_LINE_MAX];
        int saved = errno, n;
        size_t at, room;
        va_list args;

        if (level > log_state.max)
                return;
        at = log_prefix(line, sizeof(line), level);
        room = sizeof(line) - at - 1; /* one byte stays for the line's end */
        va_start(args, format);
        n = vsnprintf(line + at, room, format, args);
        va_end(args);
        log_sanitize(line + at);
        at += n < 0 ? 0 : MIN2((size_t)n, room - 1);
        line[at++] = '\n';
        /* Nobody can be told that the log is gone. */
        while (write(STDERR_FILENO, line, at) < 0 && errno == EINTR)
                continue;
        errno = saved;
}
