/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* CRI log lines: `<RFC 3339 time with nanoseconds> <stream> <P|F> <content>\n`, a line longer than 16 KiB in pieces tagged P
 * but for the last (reference: kubelet's reader, cri-api constants.go). One time stamp and one write per batch. */

#include "lib/base.h"

#define LOG_FORMAT_PIECE_BYTES (16 * 1024)
#define LOG_FORMAT_PREFIX_BYTES 64
#define LOG_OUTPUT_BYTES (256 * 1024)

/* Where formatted bytes go: a buffer in front of pwrite(fd) at a running offset. */
typedef struct LogOutput {
        int fd;          /* borrowed */
        uint64_t offset; /* of the file, behind the buffered bytes once flushed */
        uint64_t lines;
        size_t used;
        int failure; /* negative errno of the first failed write; later appends do nothing */
        uint8_t *buffer; /* borrowed, LOG_OUTPUT_BYTES */
} LogOutput;

/* "2026-11-22T19:31:31.000000001Z stdout "; returns its length. time_nsec: CLOCK_REALTIME, not before 1970. */
size_t log_format_prefix(char to[LOG_FORMAT_PREFIX_BYTES], int64_t time_nsec, const char *stream);

/* Appends the complete lines of the n bytes; returns how many bytes at the end are an unfinished line (at most
 * LOG_FORMAT_PIECE_BYTES). */
size_t log_format_lines(LogOutput *output, const char *prefix, size_t n_prefix, const uint8_t *bytes, size_t n);
/* The unfinished line of a stream that has ended: one piece, tagged P as containerd does. */
void log_format_rest(LogOutput *output, const char *prefix, size_t n_prefix, const uint8_t *bytes, size_t n);

/* Writes what is buffered; 0 or the negative errno of the first failure. */
int log_output_flush(LogOutput *output);
