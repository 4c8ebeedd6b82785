/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a container or pod uses, read from files of its cgroup that are kept open: pread and parse, nothing else, so reading
 * costs some microseconds and waits for nobody. The text is the kernel's; the parsers take exactly its formats, skip lines
 * that they do not know, and never fail: what is not there is USAGE_UNKNOWN.
 *
 * A rate needs two samples. There is no timer: the older one is that of an earlier request. usage_rate() keeps a base
 * sample; when a request comes at least USAGE_RATE_WINDOW after it, the rate since then is computed and remembered, and the
 * new sample becomes the base; until then the remembered rate is told. So a kubelet that asks every 10 s is told the mean of
 * its last 10 s, and a second asker in between cannot make the window so short that the number is noise. The first sample
 * is taken when the files are opened. */

#include "ipc/cgroup-file.h"

#define USAGE_UNKNOWN UINT64_MAX
#define USAGE_UNLIMITED (UINT64_MAX - 1) /* "max"; in version 1 anything above USAGE_UNLIMITED_V1 */
#define USAGE_UNLIMITED_V1 (UINT64_C(1) << 62)
#define USAGE_RATE_WINDOW_USEC UINT64_C(1000000)
#define USAGE_DEVICES_MAX 16
#define USAGE_INTERFACES_MAX 16
#define USAGE_INTERFACE_NAME_MAX 16 /* IFNAMSIZ */
#define USAGE_TEXT_MAX 16384        /* of one file; what is longer is cut at the last whole line */

typedef struct UsagePressure {
        bool is_known;
        double avg10, avg60, avg300; /* percent of wall time */
        uint64_t total_usec;
} UsagePressure;

typedef struct UsagePressures {
        UsagePressure some, full;
} UsagePressures;

typedef struct UsageDevice {
        uint32_t major, minor;
        uint64_t read_bytes, write_bytes, reads, writes;
} UsageDevice;

typedef struct UsageInterface {
        char name[USAGE_INTERFACE_NAME_MAX];
        uint64_t rx_bytes, rx_packets, rx_errors, rx_dropped;
        uint64_t tx_bytes, tx_packets, tx_errors, tx_dropped;
} UsageInterface;

typedef struct UsageInterfaces {
        size_t n;
        UsageInterface items[USAGE_INTERFACES_MAX];
} UsageInterfaces;

/* One sample. Every number may be USAGE_UNKNOWN. */
typedef struct Usage {
        int64_t time_nsec; /* CLOCK_REALTIME */
        uint64_t cpu_nsec, cpu_user_nsec, cpu_system_nsec;
        uint64_t cpu_periods, cpu_throttled_periods, cpu_throttled_nsec;
        uint64_t memory_bytes, memory_inactive_file_bytes, memory_anon_bytes, memory_cache_bytes, memory_mapped_bytes,
                memory_kernel_bytes, memory_peak_bytes;
        uint64_t page_faults, major_page_faults; /* all of them, major ones included, as the kernel counts */
        uint64_t memory_failures; /* how often the limit was hit */
        uint64_t oom_kills;
        uint64_t swap_bytes;
        uint64_t processes, threads, threads_max;
        uint64_t hugetlb_2m_bytes, hugetlb_2m_peak_bytes, hugetlb_1g_bytes, hugetlb_1g_peak_bytes;
        UsagePressures cpu, memory, io;
        size_t n_devices;
        UsageDevice devices[USAGE_DEVICES_MAX];
} Usage;

/* fds by CgroupFile, and which version's each one is. */
typedef struct UsageFiles {
        int fds[CGROUP_FILE_N]; /* owned; -1 */
        uint8_t versions[CGROUP_FILE_N];
} UsageFiles;

void usage_files_init(UsageFiles *files);
void usage_files_done(UsageFiles *files);
/* Takes the fd (in any case); one that was there is closed. False: there is no such file or version. */
bool usage_files_take(UsageFiles *files, uint32_t file, uint32_t version, int fd);

/* Which files a sample is made from: those below CGROUP_FILE_POD_N always. */
enum {
        USAGE_WITH_SWAP = 1 << 0,
        USAGE_WITH_PROCESSES = 1 << 1,
        USAGE_WITH_METRICS = 1 << 2, /* everything */
};
void usage_read(const UsageFiles *files, uint32_t with, Usage *ret);
/* memory that cannot be dropped: usage without inactive file pages. */
uint64_t usage_working_set(const Usage *usage);

/* Interfaces but lo of an open /proc/net/dev. */
void usage_read_interfaces(int fd, UsageInterfaces *ret);

typedef struct UsageRate {
        uint64_t base_usec; /* CLOCK_MONOTONIC; 0: no sample yet */
        uint64_t base_cpu_nsec;
        uint64_t nano_cores; /* USAGE_UNKNOWN until there are two samples */
} UsageRate;
#define USAGE_RATE_NULL ((UsageRate){.nano_cores = USAGE_UNKNOWN})
/* The rate to tell now; takes the sample in. */
uint64_t usage_rate(UsageRate *rate, uint64_t now_usec, uint64_t cpu_nsec);

/* The parsers, for tests and the fuzz target. text ends with a NUL. */
uint64_t usage_parse_number(const char *text);
typedef struct UsageKey {
        const char *key;
        uint32_t n;      /* its length */
        uint32_t offset; /* of a uint64_t in `to` */
} UsageKey;
/* "key value" lines. */
void usage_parse_keys(const char *text, const UsageKey *keys, size_t n_keys, void *to);
void usage_parse_pressure(const char *text, UsagePressures *ret);
/* Version 2's io.stat; version 1's blkio files, where `operations` says which of the two is read. Adds to what is there. */
void usage_parse_io(const char *text, uint32_t version, bool operations, UsageDevice devices[USAGE_DEVICES_MAX], size_t *n_devices);
void usage_parse_interfaces(const char *text, UsageInterfaces *ret);
