/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* For hands: opens the files of one cgroup, read-only, by constant names beneath directories that the hand found. */

#include "ipc/cgroup-file.h"

/* Version 1 hierarchies that files are taken from. */
typedef enum CgroupV1 { CGROUP_V1_CPU, CGROUP_V1_MEMORY, CGROUP_V1_PIDS, CGROUP_V1_BLKIO, CGROUP_V1_HUGETLB, CGROUP_V1_N } CgroupV1;

/* Directories: of the hierarchies' roots, or of one cgroup in each of them. -1: there is none. */
typedef struct CgroupDirs {
        int v2_fd;
        int v1_fds[CGROUP_V1_N];
} CgroupDirs;
#define CGROUP_DIRS_NULL ((CgroupDirs){-1, {-1, -1, -1, -1, -1}})

void cgroup_dirs_done(CgroupDirs *dirs);
/* The roots: version 2's at that path (borrowed text), version 1's beside it as on a hybrid machine. */
void cgroup_dirs_find(CgroupDirs *roots, const char *v2_path);
/* The cgroup at this path ("/a/b") in every hierarchy that has it, beneath the root and without symbolic links. 0, or -errno
 * (-ENOENT) when not even one has it. */
int cgroup_dirs_open(const CgroupDirs *roots, const char *path, CgroupDirs *ret);
/* Opens what there is of files first to end, at most `most` of them: fds and what they are. The caller owns the fds. */
void cgroup_files_open(const CgroupDirs *dirs, uint32_t first, uint32_t end, uint32_t most, CgroupFiles *ret, int ret_fds[CGROUP_FILES_PER_FRAME]);
