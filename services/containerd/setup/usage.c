/* SPDX-License-Identifier: Apache-2.0 */

/* What containerd reads usage from: files of the container's cgroup, opened once and kept by containerd; and what cannot be kept
 * open, a look at the file descriptors of the container's processes. Of /proc only names and link targets are read here, but for
 * one line of the kernel's own text. */

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

#include "lib/error.h"
#include "lib/grpc-status.h"
#include "services/containerd/setup/setup.h"

static void usage_look_at_fds(int process_fd, UsageProcesses *processes)
{
        int fd = openat(process_fd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        if (!dir) {
                (void)fd_close(fd);
                return;
        }
        for (struct dirent *entry; processes->n_fds < USAGE_DESCRIPTORS_MAX && (entry = readdir(dir));) {
                char target[16];
                if (entry->d_name[0] == '.')
                        continue;
                processes->n_fds++;
                ssize_t n = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target));
                if (n > 8 && memcmp(target, "socket:[", 8) == 0)
                        processes->n_sockets++;
        }
        (void)closedir(dir);
}

/* "Max open files            1024                 4096                 files" */
static uint64_t usage_soft_open_files(int process_fd)
{
        static const char begin[] = "\nMax open files ";
        char text[2048];
        _cleanup_fd_ int fd = openat(process_fd, "limits", O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
        text[n > 0 ? n : 0] = '\0';
        const char *line = strstr(text, begin);
        if (!line)
                return UINT64_MAX;
        line += sizeof(begin) - 1;
        line += strspn(line, " ");
        return *line >= '0' && *line <= '9' ? strtoull(line, NULL, 10) : UINT64_MAX;
}

static void usage_look_at_process(pid_t pid, UsageProcesses *processes)
{
        char path[32];
        (void)snprintf(path, sizeof(path), "/proc/%d", (int)pid);
        _cleanup_fd_ int process_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (process_fd < 0)
                return; /* it has ended */
        if (processes->n_processes++ == 0)
                processes->soft_open_files = usage_soft_open_files(process_fd);
        usage_look_at_fds(process_fd, processes);
}

static void usage_look(int cgroup_fd, UsageProcesses *processes)
{
        *processes = (UsageProcesses){.soft_open_files = UINT64_MAX};
        /* With the systemd driver crun keeps the processes one cgroup deeper than the scope. */
        _cleanup_fd_ int fd = openat(cgroup_fd, "container/cgroup.procs", O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                fd = openat(cgroup_fd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
        FILE *procs = fd < 0 ? NULL : fdopen(fd, "re");
        if (!procs)
                return;
        fd = -1; /* the stream's */
        char line[16];
        while (processes->n_processes < USAGE_PROCESSES_MAX && fgets(line, sizeof(line), procs)) {
                long pid = strtol(line, NULL, 10);
                if (pid > 0 && pid <= INT32_MAX)
                        usage_look_at_process((pid_t)pid, processes);
        }
        (void)fclose(procs);
}

int usage_open(Setup *setup, const UsageOpen *verb, UsageOpened *opened, int ret_fds[CGROUP_FILES_PER_FRAME], Refusal *refusal)
{
        _cleanup_(cgroup_dirs_done) CgroupDirs dirs = CGROUP_DIRS_NULL;
        int r = cgroup_open(setup, verb->id, &dirs, refusal);
        if (r == -ENOENT)
                return refusal_set(refusal, GRPC_STATUS_NOT_FOUND, "container %s: it has no cgroup (any more)", verb->id);
        if (r)
                return r < 0 ? fold(r) : r;
        *opened = (UsageOpened){0};
        cgroup_files_open(&dirs, verb->first, verb->end, CGROUP_FILES_PER_FRAME, &opened->files, ret_fds);
        if (verb->look)
                usage_look(dirs.v2_fd, &opened->processes);
        return 0;
}
