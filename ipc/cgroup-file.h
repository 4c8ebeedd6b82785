/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The files of a cgroup that usage is read from: opened by the hands, kept and read by the brains. Each has one place in
 * version 2 and one in version 1; a hand takes version 2's where the cgroup has it, else version 1's. So one machine can have
 * both (a hybrid one does), and the reader is told with every file which one it is. */

#include "lib/base.h"

typedef enum CgroupFile {
        /* What CRI stats need; a pod's cgroup is read through the first CGROUP_FILE_POD_N of them. */
        CGROUP_FILE_CPU_STAT,
        CGROUP_FILE_MEMORY_STAT,
        CGROUP_FILE_MEMORY_CURRENT,
        CGROUP_FILE_CPU_PRESSURE,
        CGROUP_FILE_MEMORY_PRESSURE,
        CGROUP_FILE_IO_PRESSURE,
        CGROUP_FILE_POD_N,
        CGROUP_FILE_MEMORY_SWAP = CGROUP_FILE_POD_N,
        CGROUP_FILE_PROCS,
        /* Only metrics need the rest. */
        CGROUP_FILE_STATS_N,
        CGROUP_FILE_IO_STAT = CGROUP_FILE_STATS_N,
        CGROUP_FILE_IO_SERVICED, /* version 1 alone: version 2 has operations beside bytes */
        CGROUP_FILE_CPU_BANDWIDTH, /* version 1 alone: version 2 has throttling in cpu.stat */
        CGROUP_FILE_PIDS_CURRENT,
        CGROUP_FILE_PIDS_MAX,
        CGROUP_FILE_MEMORY_EVENTS,
        CGROUP_FILE_MEMORY_FAILCNT, /* version 1 alone: version 2 has it in memory.events */
        CGROUP_FILE_MEMORY_PEAK,
        CGROUP_FILE_MEMORY_KERNEL, /* version 1 alone: version 2 has it in memory.stat */
        CGROUP_FILE_HUGETLB_2M,
        CGROUP_FILE_HUGETLB_2M_PEAK, /* version 1 alone: version 2 does not record it */
        CGROUP_FILE_HUGETLB_1G,
        CGROUP_FILE_HUGETLB_1G_PEAK,
        CGROUP_FILE_N,
        CGROUP_FILE_NET_DEV = CGROUP_FILE_N, /* no file of a cgroup: /proc/net/dev of a pod's network namespace */
} CgroupFile;

#define CGROUP_FILES_PER_FRAME 8 /* WIRE_FDS_MAX */

/* What a hand's answer says of the fds beside it. */
typedef struct CgroupFiles {
        uint32_t n;
        uint32_t next; /* go on here; CGROUP_FILE_N: that was all */
        uint8_t files[CGROUP_FILES_PER_FRAME];    /* CgroupFile of each fd */
        uint8_t versions[CGROUP_FILES_PER_FRAME]; /* 1 or 2 */
} CgroupFiles;
