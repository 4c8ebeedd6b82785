/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/error.h"
#include "services/linkd/linkd.h"
#include <sys/mman.h>
#include <sys/stat.h>

int linkd_memory_map(Linkd *linkd, int fd)
{
        struct stat st;

        if (fstat(fd, &st) < 0)
                return error_origin(negative_errno());
        if ((size_t)st.st_size < sizeof(LinkdMemory) || linkd->memory)
                return error_origin(-EPROTO);
        void *memory = mmap(NULL, sizeof(LinkdMemory), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (memory == MAP_FAILED)
                return error_origin(negative_errno());
        linkd->memory = memory;
        return 0;
}

bool linkd_memory_is_filled(const Linkd *linkd)
{
        /* A linkd of another build, after an upgrade in place, may have another layout: to it the file is empty. */
        return linkd->memory->magic == LINKD_MEMORY_MAGIC && linkd->memory->size == sizeof(LinkdMemory);
}
