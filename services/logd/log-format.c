/* SPDX-License-Identifier: Apache-2.0 */
#include "services/logd/log-format.h"

#include <assert.h>
#include <stdio.h>
#include <time.h>

#include "lib/clock.h"

size_t log_format_prefix(char to[LOG_FORMAT_PREFIX_BYTES], int64_t time_nsec, const char *stream)
{
        time_t seconds = (time_t)(time_nsec / NSEC_PER_SEC);
        struct tm tm;
        if (!gmtime_r(&seconds, &tm))
                memset(&tm, 0, sizeof(tm));
        int n = snprintf(to, LOG_FORMAT_PREFIX_BYTES, "%04d-%02d-%02dT%02d:%02d:%02d.%09dZ %s ",
                         (tm.tm_year + 1900) % 10000, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                         (int)(time_nsec % NSEC_PER_SEC), stream);
        assert(n > 0 && n < LOG_FORMAT_PREFIX_BYTES);
        return (size_t)n;
}

int log_output_flush(LogOutput *output)
{
        size_t done = 0;
        while (!output->failure && done < output->used) {
                ssize_t n = pwrite(output->fd, output->buffer + done, output->used - done, (off_t)output->offset);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0) {
                        output->failure = n < 0 ? negative_errno() : -ENOSPC;
                        break;
                }
                done += (size_t)n;
                output->offset += (uint64_t)n;
        }
        output->used = 0;
        return output->failure;
}

/* One record: prefix, tag, content (at most a piece), newline. */
static void log_output_record(LogOutput *output, const char *prefix, size_t n_prefix, char tag, const uint8_t *bytes,
                              size_t n)
{
        size_t need = n_prefix + 2 + n + 1;
        assert(need <= LOG_OUTPUT_BYTES);
        if (output->used + need > LOG_OUTPUT_BYTES)
                (void)log_output_flush(output);
        uint8_t *to = output->buffer + output->used;
        memcpy(to, prefix, n_prefix);
        to += n_prefix;
        *to++ = (uint8_t)tag;
        *to++ = ' ';
        memcpy(to, bytes, n);
        to[n] = '\n';
        output->used += need;
        output->lines++;
}

size_t log_format_lines(LogOutput *output, const char *prefix, size_t n_prefix, const uint8_t *bytes, size_t n)
{
        const uint8_t *end = bytes + n;
        while (bytes < end) {
                const uint8_t *newline = memchr(bytes, '\n', (size_t)(end - bytes));
                size_t line = (size_t)((newline ? newline : end) - bytes);
                while (line > LOG_FORMAT_PIECE_BYTES) {
                        log_output_record(output, prefix, n_prefix, 'P', bytes, LOG_FORMAT_PIECE_BYTES);
                        bytes += LOG_FORMAT_PIECE_BYTES;
                        line -= LOG_FORMAT_PIECE_BYTES;
                }
                if (!newline)
                        return line;
                log_output_record(output, prefix, n_prefix, 'F', bytes, line);
                bytes = newline + 1;
        }
        return 0;
}

void log_format_rest(LogOutput *output, const char *prefix, size_t n_prefix, const uint8_t *bytes, size_t n)
{
        if (n > 0)
                log_output_record(output, prefix, n_prefix, 'P', bytes, n);
}
