/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* File descriptors: full reads and writes, sealed memory files, and what kind of object one is. */

#include "lib/base.h"
#include <sys/types.h>

/* Kinds that a message row can ask for; fd_kind_check() verifies them with fstat, F_GETFL, F_GET_SEALS, fstatfs. */
typedef enum FdKind {
        FD_KIND_NONE,
        FD_KIND_PIPE_READ,
        FD_KIND_PIPE_WRITE,
        FD_KIND_SOCKET,        /* any AF_UNIX or inet socket */
        FD_KIND_FILE_READ,     /* regular file, readable */
        FD_KIND_FILE_WRITE,    /* regular file, writable or append */
        FD_KIND_PIDFD,
        FD_KIND_MEMFD_SEALED,  /* tmpfs, F_SEAL_SEAL|SHRINK|GROW|WRITE exactly */
        FD_KIND_MEMFD_SHARED,  /* tmpfs, read-write, SHRINK|GROW sealed: the log commit record */
        FD_KIND_TTY,           /* character device that is a pty master */
        FD_KIND_EXIT_RECORD,   /* regular file on tmpfs, readable */
        FD_KIND_STREAM,        /* `any` in rows: pipe end, socket or pty master */
} FdKind;

/* 0, FD_E_WRONG_KIND, or a negative errno. */
enum { FD_E_WRONG_KIND = 1 };
int fd_kind_check(int fd, FdKind kind);

/* Read or write exactly n bytes; -EIO at an early end. */
int fd_read_full(int fd, void *buffer, size_t n);
int fd_pread_full(int fd, void *buffer, size_t n, off_t offset);
int fd_write_full(int fd, const void *buffer, size_t n);

/* Reads a whole small file into an owned, NUL-terminated buffer; -EFBIG above max bytes. */
int fd_read_file(int dir_fd, const char *path, size_t max, char **ret, size_t *ret_n);
/* Writes the file in one go: O_WRONLY|O_CREAT|O_TRUNC|O_NOFOLLOW, mode. */
int fd_write_file(int dir_fd, const char *path, const void *bytes, size_t n, mode_t mode);

/* A memory file that holds the bytes and can never change again (SEAL, SHRINK, GROW, WRITE). The caller owns ret. */
int fd_memfd_sealed(const char *name, const void *bytes, size_t n, int *ret);

int fd_set_nonblock(int fd, bool nonblock);
