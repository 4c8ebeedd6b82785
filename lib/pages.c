/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/pages.h"

#include "lib/base.h"
#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGES_STACK_BYTES ((uintptr_t)512 * 1024)

/* Segments that may not be written hold what the file holds: dropping their pages loses nothing. Those that may are left
 * alone, because their pages have no other copy once they are written, and the loader has written most of them. */
static int pages_drop_object(struct dl_phdr_info *object, size_t size, void *userdata)
{
        const uintptr_t page = *(const uintptr_t *)userdata;

        (void)size;
        for (size_t i = 0; i < object->dlpi_phnum; i++) {
                const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
                if (segment->p_type != PT_LOAD || segment->p_flags & PF_W)
                        continue;
                uintptr_t start = (object->dlpi_addr + segment->p_vaddr) & ~(page - 1);
                uintptr_t end = (object->dlpi_addr + segment->p_vaddr + segment->p_memsz + page - 1) & ~(page - 1);
                (void)madvise((void *)start, end - start, MADV_DONTNEED); /* refused: the pages stay, nothing else */
        }
        return 0;
}

/* Below the stack pointer nothing lives; one page is left for madvise's own frame. A main thread's stack has 128 MiB to itself
 * (mmap_base() of the kernel), so nothing else is in reach; the part that was never used is not mapped, and skipped. */
static void pages_drop_stack(uintptr_t page)
{
        uintptr_t end = ((uintptr_t)__builtin_frame_address(0) & ~(page - 1)) - page;

        (void)madvise((void *)(end - PAGES_STACK_BYTES), PAGES_STACK_BYTES, MADV_DONTNEED);
}

void pages_give_back(void)
{
        uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

        (void)malloc_trim(0);
        pages_drop_stack(page);
        (void)dl_iterate_phdr(pages_drop_object, &page);
}
