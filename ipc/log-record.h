/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The commit record of one container's log: a memfd that containerd-launch makes, and that the shim holds beside the pipes, so
 * that no byte is lost or doubled when logd is killed. Holding a second pipe end keeps the pipe, not the bytes that a
 * killed reader had already taken out of it; so logd takes them out into this file:
 *
 *   1. announce: how many bytes (FIONREAD) of which stream will be read to where, at what time, with a sentinel put at
 *      that place; valid for the sequence number it carries;
 *   2. read exactly that many into the file;
 *   3. format, and pwrite at the committed offset of the log;
 *   4. fill the other slot with the new offset and carries, and commit with one 8-byte store of the sequence number.
 *
 * After a restart, an announcement for the current sequence number with its sentinel intact was not read; otherwise the
 * bytes are here, and steps 3 and 4 are done again with the same result. */

#include "lib/base.h"
#include <assert.h>

#define LOG_RECORD_MAGIC UINT64_C(0x42484c4f47303031)
#define LOG_RECORD_HEAD_BYTES 4096
#define LOG_RECORD_STREAMS 2 /* stdout (or the terminal), stderr */
#define LOG_RECORD_REGION_BYTES (256 * 1024)
#define LOG_RECORD_BYTES (LOG_RECORD_HEAD_BYTES + LOG_RECORD_STREAMS * LOG_RECORD_REGION_BYTES)
#define LOG_RECORD_SENTINEL_BYTES 16

/* The end of a line that has not come yet: bytes of the stream's region. */
typedef struct LogCarry {
        uint32_t start;
        uint32_t length;
        uint32_t ended; /* the stream is at its end and flushed */
        uint32_t padding;
} LogCarry;

typedef struct LogSlot {
        uint64_t offset; /* of the log file, where the next bytes go */
        uint64_t device, inode; /* of the log file that the offset belongs to */
        uint64_t lines;
        LogCarry carry[LOG_RECORD_STREAMS];
} LogSlot;

typedef struct LogAnnouncement {
        uint64_t sequence; /* it counts only for this sequence number */
        uint32_t stream;
        uint32_t start, length; /* in the stream's region */
        uint32_t padding;
        int64_t time_nsec; /* CLOCK_REALTIME of the batch: a replay writes the same bytes */
        uint8_t sentinel[LOG_RECORD_SENTINEL_BYTES];
} LogAnnouncement;

/* Head of the file; a fresh memfd is all zero, which is a valid empty record but for the magic. */
typedef struct LogRecord {
        uint64_t magic;
        uint64_t sequence; /* slots[sequence & 1] is in force */
        LogSlot slots[2];
        LogAnnouncement announcement;
} LogRecord;
static_assert(sizeof(LogRecord) <= LOG_RECORD_HEAD_BYTES, "the record's head is one page");
