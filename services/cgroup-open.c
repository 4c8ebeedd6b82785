/* SPDX-License-Identifier: Apache-2.0 */
#include "services/cgroup-open.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/syscall.h>

/* Names are those of the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/. */
static const struct {
        const char *v2;
        CgroupV1 hierarchy;
        const char *v1;
} cgroup_files[CGROUP_FILE_N] = {
        [CGROUP_FILE_CPU_STAT] = {.v2 = "cpu.stat"},
        [CGROUP_FILE_MEMORY_STAT] = {"memory.stat", CGROUP_V1_MEMORY, "memory.stat"},
        [CGROUP_FILE_MEMORY_CURRENT] = {"memory.current", CGROUP_V1_MEMORY, "memory.usage_in_bytes"},
        [CGROUP_FILE_MEMORY_SWAP] = {.v2 = "memory.swap.current"}, /* version 1 has it in memory.stat */
        [CGROUP_FILE_CPU_PRESSURE] = {.v2 = "cpu.pressure"},
        [CGROUP_FILE_MEMORY_PRESSURE] = {.v2 = "memory.pressure"},
        [CGROUP_FILE_IO_PRESSURE] = {.v2 = "io.pressure"},
        [CGROUP_FILE_PROCS] = {.v2 = "cgroup.procs"},
        [CGROUP_FILE_IO_STAT] = {"io.stat", CGROUP_V1_BLKIO, "blkio.throttle.io_service_bytes_recursive"},
        [CGROUP_FILE_IO_SERVICED] = {NULL, CGROUP_V1_BLKIO, "blkio.throttle.io_serviced_recursive"},
        [CGROUP_FILE_CPU_BANDWIDTH] = {NULL, CGROUP_V1_CPU, "cpu.stat"},
        [CGROUP_FILE_PIDS_CURRENT] = {"pids.current", CGROUP_V1_PIDS, "pids.current"},
        [CGROUP_FILE_PIDS_MAX] = {"pids.max", CGROUP_V1_PIDS, "pids.max"},
        [CGROUP_FILE_MEMORY_EVENTS] = {"memory.events", CGROUP_V1_MEMORY, "memory.oom_control"},
        [CGROUP_FILE_MEMORY_FAILCNT] = {NULL, CGROUP_V1_MEMORY, "memory.failcnt"},
        [CGROUP_FILE_MEMORY_PEAK] = {"memory.peak", CGROUP_V1_MEMORY, "memory.max_usage_in_bytes"},
        [CGROUP_FILE_MEMORY_KERNEL] = {NULL, CGROUP_V1_MEMORY, "memory.kmem.usage_in_bytes"},
        [CGROUP_FILE_HUGETLB_2M] = {"hugetlb.2MB.current", CGROUP_V1_HUGETLB, "hugetlb.2MB.usage_in_bytes"},
        [CGROUP_FILE_HUGETLB_2M_PEAK] = {NULL, CGROUP_V1_HUGETLB, "hugetlb.2MB.max_usage_in_bytes"},
        [CGROUP_FILE_HUGETLB_1G] = {"hugetlb.1GB.current", CGROUP_V1_HUGETLB, "hugetlb.1GB.usage_in_bytes"},
        [CGROUP_FILE_HUGETLB_1G_PEAK] = {NULL, CGROUP_V1_HUGETLB, "hugetlb.1GB.max_usage_in_bytes"},
};

static const char *const cgroup_v1_names[CGROUP_V1_N] = {"cpu", "memory", "pids", "blkio", "hugetlb"};

void cgroup_dirs_done(CgroupDirs *dirs)
{
        dirs->v2_fd = fd_close(dirs->v2_fd);
        for (size_t i = 0; i < CGROUP_V1_N; i++)
                dirs->v1_fds[i] = fd_close(dirs->v1_fds[i]);
}

void cgroup_dirs_find(CgroupDirs *roots, const char *v2_path)
{
        *roots = CGROUP_DIRS_NULL;
        roots->v2_fd = open(v2_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (roots->v2_fd < 0)
                return;
        for (size_t i = 0; i < CGROUP_V1_N; i++) {
                char beside[32];
                (void)snprintf(beside, sizeof(beside), "../%s/tasks", cgroup_v1_names[i]);
                /* Only a version 1 hierarchy has a file `tasks`: where version 2's root is /sys/fs/cgroup, /sys/fs has no such. */
                if (faccessat(roots->v2_fd, beside, F_OK, 0) < 0)
                        continue;
                (void)snprintf(beside, sizeof(beside), "../%s", cgroup_v1_names[i]);
                roots->v1_fds[i] = openat(roots->v2_fd, beside, O_PATH | O_DIRECTORY | O_CLOEXEC);
        }
}

static int cgroup_open_beneath(int root_fd, const char *path)
{
        struct open_how how = {
                .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
        };
        if (root_fd < 0) {
                errno = ENOENT;
                return -1;
        }
        return (int)syscall(SYS_openat2, root_fd, path + 1, &how, sizeof(how));
}

int cgroup_dirs_open(const CgroupDirs *roots, const char *path, CgroupDirs *ret)
{
        *ret = CGROUP_DIRS_NULL;
        bool found = false;
        ret->v2_fd = cgroup_open_beneath(roots->v2_fd, path);
        int r = ret->v2_fd < 0 ? negative_errno() : 0;
        for (size_t i = 0; i < CGROUP_V1_N; i++) {
                ret->v1_fds[i] = cgroup_open_beneath(roots->v1_fds[i], path);
                found = found || ret->v1_fds[i] >= 0;
        }
        return found ? 0 : r;
}

static int cgroup_file_open(const CgroupDirs *dirs, uint32_t file, uint8_t *ret_version)
{
        int fd = -1;
        *ret_version = 2;
        if (cgroup_files[file].v2 && dirs->v2_fd >= 0)
                fd = openat(dirs->v2_fd, cgroup_files[file].v2, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd >= 0 || !cgroup_files[file].v1)
                return fd;
        int dir_fd = dirs->v1_fds[cgroup_files[file].hierarchy];
        *ret_version = 1;
        return dir_fd < 0 ? -1 : openat(dir_fd, cgroup_files[file].v1, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

void cgroup_files_open(const CgroupDirs *dirs, uint32_t first, uint32_t end, uint32_t most, CgroupFiles *ret, int ret_fds[CGROUP_FILES_PER_FRAME])
{
        *ret = (CgroupFiles){.next = CGROUP_FILE_N};
        for (size_t i = 0; i < CGROUP_FILES_PER_FRAME; i++)
                ret_fds[i] = -1;
        for (uint32_t file = first; file < MIN2(end, (uint32_t)CGROUP_FILE_N); file++) {
                uint8_t version;
                if (ret->n == MIN2(most, (uint32_t)CGROUP_FILES_PER_FRAME)) {
                        ret->next = file;
                        return;
                }
                int fd = cgroup_file_open(dirs, file, &version);
                if (fd < 0)
                        continue;
                ret_fds[ret->n] = fd;
                ret->files[ret->n] = (uint8_t)file;
                ret->versions[ret->n++] = version;
        }
}
