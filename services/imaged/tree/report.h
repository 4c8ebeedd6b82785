/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a jail says when it ends: one fixed struct through a pipe. Its reader distrusts it: numbers are numbers, the text is made
 * printable again, and nothing in it is acted on. */

#include "ipc/edges/imaged-tree.h"
#include "lib/grpc-status.h"

#define REPORT_TEXT_MAX 768

typedef struct Report {
        uint32_t code; /* gRPC status; 0: done, and the members below hold */
        char text[REPORT_TEXT_MAX];
        uint32_t is_opaque;  /* extract: the layer hides everything below it */
        uint64_t n_implicit; /* extract: directories without an entry; stack: directories made for them */
        uint64_t bytes;      /* on disk; read: of the file */
        uint64_t inodes;
        TreeUserFound user;
} Report;

/* Fills code and text unless there is a failure already: the first one counts. Always returns REPORT_E_FAILED. */
enum { REPORT_E_FAILED = 1 };
int report_fail(Report *report, uint32_t code, const char *format, ...) _printf_(3, 4);
/* The same for a failed system call: what could not be done, to what (hostile, made printable), and error as text. Codes: no
 * space or memory is RESOURCE_EXHAUSTED, a broken disk INTERNAL, everything else the content's fault. */
int report_errno(Report *report, int error, const char *what, const char *name);

/* Whole or nothing: 0 or -errno. */
int report_write(int fd, const Report *report);
/* Reads it and makes it safe: bounds, terminators, printable text, known code. A jail that ended without one has failed. 0 or -errno. */
int report_read(int fd, Report *ret);
