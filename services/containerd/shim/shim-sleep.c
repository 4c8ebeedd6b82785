/* SPDX-License-Identifier: Apache-2.0 */

/* Waiting in little memory. There is one shim per container, and nearly all of its life is one poll(). What it ran to get there
 * (libc's start, the runtime's run, the confinement) stays mapped: 700 KiB of the file's pages, for the kernel maps 64 KiB
 * around each fault. So before it waits it gives back every page that is only a copy of its file; the few that it needs to
 * wake up come back from the page cache. System calls are made here without libc, whose pages they would bring back. */

#include "services/containerd/shim/shim.h"

#include <elf.h>
#include <link.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/syscall.h>

extern const char __executable_start[] __attribute__((visibility("hidden"))); /* ld: where the file's header is mapped */

#define SHIM_RANGES_MAX 8
#define SHIM_PAGE_BYTES 4096L
#define SHIM_STACK_BYTES (512 * 1024L)
#define SHIM_FRAME_BYTES 1024L /* more than shim_sleep() has on its stack */

#if defined(__x86_64__)
static inline __attribute__((always_inline)) long shim_call(long number, long a, long b, long c, long d, long e)
{
        register long r10 __asm__("r10") = d;
        register long r8 __asm__("r8") = e;
        __asm__ volatile("syscall" : "+a"(number) : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
        return number;
}
#elif defined(__aarch64__)
static inline __attribute__((always_inline)) long shim_call(long number, long a, long b, long c, long d, long e)
{
        register long x8 __asm__("x8") = number;
        register long x0 __asm__("x0") = a;
        register long x1 __asm__("x1") = b;
        register long x2 __asm__("x2") = c;
        register long x3 __asm__("x3") = d;
        register long x4 __asm__("x4") = e;
        __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
        return x0;
}
#else
#error "name this architecture's system call instruction"
#endif

/* One function, so that the way out of poll() is one page. */
__attribute__((noinline, aligned(1024))) int shim_sleep(struct pollfd *fds, size_t n)
{
        long starts[SHIM_RANGES_MAX], lengths[SHIM_RANGES_MAX];
        size_t n_ranges = 0;
        const ElfW(Ehdr) *header = (const void *)__executable_start;
        const ElfW(Phdr) *segments = (const void *)(__executable_start + header->e_phoff);
        for (size_t i = 0; i < header->e_phnum && n_ranges < SHIM_RANGES_MAX; i++) {
                if (segments[i].p_type != PT_LOAD || segments[i].p_flags & PF_W)
                        continue;
                /* Addresses in the file are relative to where it was mapped; only whole pages of this segment. */
                long end = (long)__executable_start + (long)(segments[i].p_vaddr + segments[i].p_memsz);
                starts[n_ranges] = ((long)__executable_start + (long)segments[i].p_vaddr) & -SHIM_PAGE_BYTES;
                lengths[n_ranges] = end - starts[n_ranges];
                n_ranges++;
        }
        for (size_t i = 0; i < n_ranges; i++)
                (void)shim_call(SYS_madvise, starts[i], lengths[i], MADV_DONTNEED, 0, 0);
        /* And the stack that the way here needed: nothing lives below the frame of a function that calls nothing, but what the
         * architecture lets it use there (128 bytes). A stack has 128 MiB to itself. */
        long below = ((long)__builtin_frame_address(0) - SHIM_FRAME_BYTES) & -SHIM_PAGE_BYTES;
        (void)shim_call(SYS_madvise, below - SHIM_STACK_BYTES, SHIM_STACK_BYTES, MADV_DONTNEED, 0, 0);
        long r = shim_call(SYS_ppoll, (long)fds, (long)n, 0, 0, 0);
        return r < 0 ? (int)r : 0;
}
