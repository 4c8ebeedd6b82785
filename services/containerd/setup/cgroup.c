/* SPDX-License-Identifier: Apache-2.0 */

/* A container's cgroup, found by the sealed cgroup parent and the container's id. Files are opened by constant names. */

#include <fcntl.h>
#include <stdio.h>

#include "lib/error.h"
#include "lib/grpc-status.h"
#include "lib/log.h"
#include "services/containerd/setup/setup.h"

int cgroup_find(Setup *setup, const char *id, char ret_path[CGROUP_PATH_MAX], Refusal *refusal)
{
        Permit permit;
        int r = rootfs_permit(setup, id, &permit, refusal);
        if (r)
                return r < 0 ? fold(r) : r;
        if (setup->cgroups.v2_fd < 0)
                return refusal_set(refusal, GRPC_STATUS_FAILED_PRECONDITION, "container %s: this node has no cgroup v2 hierarchy", id);
        if (!cgroup_path_compose(ret_path, setup->config->systemd_cgroups, permit.cgroup_parent, id))
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT, "container %s: cgroup parent %.200s is not %s", id,
                                   permit.cgroup_parent, setup->config->systemd_cgroups ? "a slice" : "a cgroup path");
        return 0;
}

int cgroup_open(Setup *setup, const char *id, CgroupDirs *ret, Refusal *refusal)
{
        char path[CGROUP_PATH_MAX];
        int r = cgroup_find(setup, id, path, refusal);
        if (r)
                return r < 0 ? fold(r) : r;
        return cgroup_dirs_open(&setup->cgroups, path, ret);
}

/* Asked to end a container: kills every process of its cgroup, and of no other. */
int cgroup_kill(Setup *setup, const char *id, Refusal *refusal)
{
        _cleanup_(cgroup_dirs_done) CgroupDirs dirs = CGROUP_DIRS_NULL;
        int r = cgroup_open(setup, id, &dirs, refusal);
        if (r == -ENOENT || (r == 0 && dirs.v2_fd < 0))
                return 0;
        if (r)
                return r < 0 ? fold(r) : r;
        _cleanup_fd_ int fd = openat(dirs.v2_fd, "cgroup.kill", O_WRONLY | O_CLOEXEC);
        int result = fd < 0 ? negative_errno() : write(fd, "1", 1) == 1 ? 0 : negative_errno();
        /* systemd removes a scope that has become empty, between any two of our calls. */
        if (result == 0 || result == -ENODEV || faccessat(dirs.v2_fd, "cgroup.procs", F_OK, 0) < 0)
                return 0;
        return refusal_set(refusal, GRPC_STATUS_FAILED_PRECONDITION, "container %s: its cgroup's cgroup.kill: %s", id,
                           strerror(-result));
}

/* A runtime that fails after making the cgroup does not always remove it. The kernel refuses one that is not empty. */
void cgroup_remove(Setup *setup, const char *id)
{
        Refusal refusal;
        char path[CGROUP_PATH_MAX];

        if (cgroup_find(setup, id, path, &refusal) != 0)
                return;
        if (unlinkat(setup->cgroups.v2_fd, path + 1, AT_REMOVEDIR) == 0)
                log_info("container %.13s: removed the cgroup that its runtime left behind", id);
}

/* Reads a small file of the cgroup; an absent one (no such controller) reads as empty. */
static void cgroup_read_file(int dir_fd, const char *name, char *to, size_t size)
{
        to[0] = '\0';
        _cleanup_fd_ int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return;
        ssize_t n = read(fd, to, size - 1);
        to[n > 0 ? n : 0] = '\0';
}

/* The number behind `key ` at the start of a line; UINT64_MAX if there is none. */
static uint64_t cgroup_value(const char *text, const char *key)
{
        size_t n = strlen(key);
        for (const char *line = text; line && *line; line = strchr(line, '\n')) {
                if (*line == '\n')
                        line++;
                if (strncmp(line, key, n) == 0 && (n == 0 || line[n] == ' '))
                        return strtoull(line + n, NULL, 10);
        }
        return UINT64_MAX;
}

/* What a v1 hierarchy knows of memory, where version 2 does not have the controller. */
static void cgroup_read_memory_v1(int dir_fd, CgroupRead *values)
{
        char text[8192];
        cgroup_read_file(dir_fd, "memory.oom_control", text, sizeof(text));
        values->oom_kills = MIN2(values->oom_kills, cgroup_value(text, "oom_kill"));
        cgroup_read_file(dir_fd, "memory.usage_in_bytes", text, sizeof(text));
        if (text[0])
                values->memory_bytes = MIN2(values->memory_bytes, strtoull(text, NULL, 10));
        cgroup_read_file(dir_fd, "memory.stat", text, sizeof(text));
        values->memory_inactive_file_bytes = MIN2(values->memory_inactive_file_bytes, cgroup_value(text, "total_inactive_file"));
        values->memory_anon_bytes = MIN2(values->memory_anon_bytes, cgroup_value(text, "total_rss"));
        values->page_faults = MIN2(values->page_faults, cgroup_value(text, "total_pgfault"));
        values->major_page_faults = MIN2(values->major_page_faults, cgroup_value(text, "total_pgmajfault"));
}

int cgroup_read(Setup *setup, const char *id, CgroupRead *values, Refusal *refusal)
{
        memset(values, 0xff, sizeof(*values));
        values->exists = 0;
        values->populated = 0;
        _cleanup_(cgroup_dirs_done) CgroupDirs dirs = CGROUP_DIRS_NULL;
        int r = cgroup_open(setup, id, &dirs, refusal);
        if (r == -ENOENT || (r == 0 && dirs.v2_fd < 0))
                return 0;
        if (r)
                return r < 0 ? fold(r) : r;
        int dir_fd = dirs.v2_fd, memory_v1_fd = dirs.v1_fds[CGROUP_V1_MEMORY];
        char text[8192];
        values->exists = 1;
        cgroup_read_file(dir_fd, "cgroup.events", text, sizeof(text));
        values->populated = cgroup_value(text, "populated");
        cgroup_read_file(dir_fd, "memory.events", text, sizeof(text));
        values->oom_kills = cgroup_value(text, "oom_kill");
        cgroup_read_file(dir_fd, "memory.stat", text, sizeof(text));
        values->memory_inactive_file_bytes = cgroup_value(text, "inactive_file");
        values->memory_anon_bytes = cgroup_value(text, "anon");
        values->page_faults = cgroup_value(text, "pgfault");
        values->major_page_faults = cgroup_value(text, "pgmajfault");
        cgroup_read_file(dir_fd, "cpu.stat", text, sizeof(text));
        values->cpu_usec = cgroup_value(text, "usage_usec");
        static const struct {
                const char *file;
                size_t offset;
        } single[] = {
                {"memory.current", offsetof(CgroupRead, memory_bytes)},
                {"memory.swap.current", offsetof(CgroupRead, swap_bytes)},
                {"pids.current", offsetof(CgroupRead, pids)},
        };
        for (size_t i = 0; i < ARRAY_SIZE(single); i++) {
                cgroup_read_file(dir_fd, single[i].file, text, sizeof(text));
                if (text[0])
                        *(uint64_t *)((char *)values + single[i].offset) = strtoull(text, NULL, 10);
        }
        if (memory_v1_fd >= 0)
                cgroup_read_memory_v1(memory_v1_fd, values);
        return 0;
}
