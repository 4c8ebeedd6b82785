/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The vocabulary every file speaks: ownership attributes, arrays, container_of. Includes nothing of ours. */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
/* A buffer that is written before it is read, and too large to be cleared each time for nothing. */
#define _uninitialized_ __attribute__((uninitialized))
#define _printf_(a, b) __attribute__((format(printf, a, b)))
#define _unused_ __attribute__((unused))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN2(a, b) ((a) < (b) ? (a) : (b))
#define MAX2(a, b) ((a) > (b) ? (a) : (b))

#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

/* Hand over ownership: yields the value and leaves the variable empty, so that its cleanup attribute does nothing. */
#define TAKE_PTR(p)                                                                                                    \
        ({                                                                                                             \
                __typeof__(p) take_ptr_ = (p);                                                                         \
                (p) = NULL;                                                                                            \
                take_ptr_;                                                                                             \
        })
#define TAKE_FD(fd)                                                                                                    \
        ({                                                                                                             \
                int take_fd_ = (fd);                                                                                   \
                (fd) = -1;                                                                                             \
                take_fd_;                                                                                              \
        })

/* Closes fd if it is one and returns -1, without touching errno; for destructors: x->fd = fd_close(x->fd). */
static inline int fd_close(int fd)
{
        if (fd >= 0) {
                int saved = errno;
                (void)close(fd);
                errno = saved;
        }
        return -1;
}

static inline void fd_closep(int *fd)
{
        *fd = fd_close(*fd);
}

static inline void freep(void *p)
{
        free(*(void **)p);
}

#define _cleanup_fd_ _cleanup_(fd_closep)
#define _cleanup_free_ _cleanup_(freep)

/* Derives x_freep from x_free(X *) -> X *, for _cleanup_(x_freep). */
#define DEFINE_CLEANUP(type, func)                                                                                     \
        static inline void func##p(type **p)                                                                           \
        {                                                                                                              \
                if (*p)                                                                                                \
                        (void)func(*p);                                                                                \
        }

/* errno as a negative value; never 0 even if errno was lost. */
static inline int negative_errno(void)
{
        return errno > 0 ? -errno : -EIO;
}
