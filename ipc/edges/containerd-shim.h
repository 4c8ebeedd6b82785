/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* containerd <-> containerd-shim: fixed frames, one socket per container or exec (and its successors after a reconnect).
 *
 * row 1 request shim_status: - -> ShimStatus from A reply-fds pidfd? states ANY
 * row 2 request shim_streams: - -> ShimStreams from A reply-fds memfd-shared?,any?,any?,any? states ANY
 * row 3 request shim_release: ShimRelease -> - from A states ANY
 * row 4 event shim_exited: ExitRecord from B
 * row 5 request shim_quit: - -> - from A states ANY
 * row 6 request shim_resize: ShimResize -> - from A states ANY
 * row 7 request shim_kill: - -> - from A states ANY
 */

#include "lib/base.h"

/* The truth about an end; the file <runtime_dir>/exits/<id> holds one, written in a single pwrite before it is reported. */
typedef struct ExitRecord {
        uint32_t magic;     /* EXIT_RECORD_MAGIC once written; the preallocated file is zero */
        uint32_t state;     /* EXIT_STATE_* */
        int32_t pid;
        int32_t wait_status; /* as of waitpid; exit code is 128 + signal for a killed process */
        int32_t exit_code;
        uint32_t oom_killed; /* bool: the kernel has killed something in its cgroup for want of memory */
        int64_t started_nsec, finished_nsec; /* CLOCK_REALTIME */
} ExitRecord;
#define EXIT_RECORD_MAGIC UINT32_C(0x42484558)
enum { EXIT_STATE_NONE = 0, EXIT_STATE_CREATED, EXIT_STATE_EXITED, EXIT_STATE_FAILED /* never started */ };

typedef struct ShimStatus {
        ExitRecord record;
        uint32_t confined; /* the drop has happened */
        uint32_t padding;
} ShimStatus;

typedef struct ShimStreams {
        uint32_t tty;
        uint32_t n_fds;
} ShimStreams;

enum { SHIM_STREAM_STDIN = 1 << 0, SHIM_STREAM_OUTPUT = 1 << 1 };
/* Closes the shim's copies: the log is drained and committed, or stdin has ended. */
typedef struct ShimRelease {
        uint32_t streams;
} ShimRelease;

typedef struct ShimResize {
        uint16_t columns, rows;
} ShimResize;
