/* SPDX-License-Identifier: Apache-2.0 */

/* Names, types and labels are cAdvisor's, as the kubelet's /metrics/cadvisor has them: dashboards and alerts are written for
 * these. A number that the kernel does not have is left out, never made up. Values are integers in CRI: seconds are whole ones. */

#include "services/sandboxd/metric.h"

#include "lib/clock.h"
#include "lib/strings.h"
#include <stdarg.h>
#include <stdio.h>

#define METRIC_LABELS_BASE 6
#define METRIC_LABELS_EXTRA 4
#define METRIC_CPU_PERIOD_DEFAULT 100000 /* microseconds; what the kernel takes when nothing is asked */
#define METRIC_CPU_SHARES_DEFAULT 1024

static const char *const metric_base_keys[METRIC_LABELS_BASE] = {"container", "id", "image", "name", "namespace", "pod"};

/*        id                              type     name                                             help                     extra labels */
#define METRICS(M)                                                                                                     \
        M(BLKIO_USAGE, COUNTER, "container_blkio_device_usage_total", "Bytes moved from and to a block device", "device", "major", "minor", "operation") \
        M(CPU_PERIODS, COUNTER, "container_cpu_cfs_periods_total", "Periods of the CPU quota that have passed") \
        M(CPU_THROTTLED_PERIODS, COUNTER, "container_cpu_cfs_throttled_periods_total", "Periods in which the CPU quota was used up") \
        M(CPU_THROTTLED_SECONDS, COUNTER, "container_cpu_cfs_throttled_seconds_total", "Time that was waited for the next period of the CPU quota") \
        M(CPU_SYSTEM, COUNTER, "container_cpu_system_seconds_total", "CPU time spent in the kernel, in seconds") \
        M(CPU_USAGE, COUNTER, "container_cpu_usage_seconds_total", "CPU time spent, in seconds", "cpu") \
        M(CPU_USER, COUNTER, "container_cpu_user_seconds_total", "CPU time spent outside the kernel, in seconds") \
        M(FILE_DESCRIPTORS, GAUGE, "container_file_descriptors", "Open file descriptors of all processes") \
        M(FS_INODES_FREE, GAUGE, "container_fs_inodes_free", "Inodes left on the file system of the writable layer", "device") \
        M(FS_INODES_TOTAL, GAUGE, "container_fs_inodes_total", "Inodes of the file system of the writable layer", "device") \
        M(FS_LIMIT, GAUGE, "container_fs_limit_bytes", "Size of the file system of the writable layer", "device") \
        M(FS_READ_BYTES, COUNTER, "container_fs_reads_bytes_total", "Bytes read from a block device", "device") \
        M(FS_READS, COUNTER, "container_fs_reads_total", "Reads from a block device", "device") \
        M(FS_USAGE, GAUGE, "container_fs_usage_bytes", "Bytes that the writable layer takes", "device") \
        M(FS_WRITE_BYTES, COUNTER, "container_fs_writes_bytes_total", "Bytes written to a block device", "device") \
        M(FS_WRITES, COUNTER, "container_fs_writes_total", "Writes to a block device", "device") \
        M(HUGETLB_PEAK, GAUGE, "container_hugetlb_max_usage_bytes", "The most huge page memory that was in use", "pagesize") \
        M(HUGETLB, GAUGE, "container_hugetlb_usage_bytes", "Huge page memory in use", "pagesize") \
        M(LAST_SEEN, GAUGE, "container_last_seen", "When these metrics were read, in seconds since the epoch") \
        M(MEMORY_CACHE, GAUGE, "container_memory_cache", "Bytes of page cache") \
        M(MEMORY_FAILCNT, COUNTER, "container_memory_failcnt", "How often the memory limit was hit") \
        M(MEMORY_FAILURES, COUNTER, "container_memory_failures_total", "Page faults", "failure_type", "scope") \
        M(MEMORY_KERNEL, GAUGE, "container_memory_kernel_usage", "Bytes of kernel memory") \
        M(MEMORY_MAPPED, GAUGE, "container_memory_mapped_file", "Bytes of files mapped into memory") \
        M(MEMORY_PEAK, GAUGE, "container_memory_max_usage_bytes", "The most memory that was in use") \
        M(MEMORY_RSS, GAUGE, "container_memory_rss", "Bytes of anonymous memory") \
        M(MEMORY_SWAP, GAUGE, "container_memory_swap", "Bytes of swap in use") \
        M(MEMORY_USAGE, GAUGE, "container_memory_usage_bytes", "Bytes of memory in use, whenever it was last touched") \
        M(MEMORY_WORKING_SET, GAUGE, "container_memory_working_set_bytes", "Bytes of memory that cannot simply be dropped") \
        M(NETWORK_RX_BYTES, COUNTER, "container_network_receive_bytes_total", "Bytes received", "interface") \
        M(NETWORK_RX_ERRORS, COUNTER, "container_network_receive_errors_total", "Errors while receiving", "interface") \
        M(NETWORK_RX_DROPPED, COUNTER, "container_network_receive_packets_dropped_total", "Packets dropped while receiving", "interface") \
        M(NETWORK_RX_PACKETS, COUNTER, "container_network_receive_packets_total", "Packets received", "interface") \
        M(NETWORK_TX_BYTES, COUNTER, "container_network_transmit_bytes_total", "Bytes sent", "interface") \
        M(NETWORK_TX_ERRORS, COUNTER, "container_network_transmit_errors_total", "Errors while sending", "interface") \
        M(NETWORK_TX_DROPPED, COUNTER, "container_network_transmit_packets_dropped_total", "Packets dropped while sending", "interface") \
        M(NETWORK_TX_PACKETS, COUNTER, "container_network_transmit_packets_total", "Packets sent", "interface") \
        M(OOM_EVENTS, COUNTER, "container_oom_events_total", "Processes ended because memory was out") \
        M(PRESSURE_CPU_STALLED, COUNTER, "container_pressure_cpu_stalled_seconds_total", "Time in which no process could run for want of CPU") \
        M(PRESSURE_CPU_WAITING, COUNTER, "container_pressure_cpu_waiting_seconds_total", "Time in which some process waited for CPU") \
        M(PRESSURE_IO_STALLED, COUNTER, "container_pressure_io_stalled_seconds_total", "Time in which no process could run for want of IO") \
        M(PRESSURE_IO_WAITING, COUNTER, "container_pressure_io_waiting_seconds_total", "Time in which some process waited for IO") \
        M(PRESSURE_MEMORY_STALLED, COUNTER, "container_pressure_memory_stalled_seconds_total", "Time in which no process could run for want of memory") \
        M(PRESSURE_MEMORY_WAITING, COUNTER, "container_pressure_memory_waiting_seconds_total", "Time in which some process waited for memory") \
        M(PROCESSES, GAUGE, "container_processes", "Processes") \
        M(SOCKETS, GAUGE, "container_sockets", "Open sockets of all processes") \
        M(SPEC_CPU_PERIOD, GAUGE, "container_spec_cpu_period", "Period of the CPU quota, in microseconds") \
        M(SPEC_CPU_QUOTA, GAUGE, "container_spec_cpu_quota", "CPU quota, in microseconds per period") \
        M(SPEC_CPU_SHARES, GAUGE, "container_spec_cpu_shares", "Share of the CPU") \
        M(SPEC_MEMORY_LIMIT, GAUGE, "container_spec_memory_limit_bytes", "Memory limit; 0: none") \
        M(SPEC_MEMORY_RESERVATION, GAUGE, "container_spec_memory_reservation_limit_bytes", "Memory reservation; 0: none") \
        M(SPEC_MEMORY_SWAP, GAUGE, "container_spec_memory_swap_limit_bytes", "Limit of memory and swap; 0: none") \
        M(START_TIME, GAUGE, "container_start_time_seconds", "When it was started, in seconds since the epoch") \
        M(THREADS, GAUGE, "container_threads", "Threads of all processes") \
        M(THREADS_MAX, GAUGE, "container_threads_max", "Limit of threads; 0: none") \
        M(ULIMITS_SOFT, GAUGE, "container_ulimits_soft", "Soft limits of the first process", "ulimit")

typedef enum MetricId {
#define M(id, ...) METRIC_##id,
        METRICS(M)
#undef M
        METRIC_N
} MetricId;

static const struct {
        Runtime__V1__MetricType type;
        const char *name, *help;
        const char *extra_keys[METRIC_LABELS_EXTRA];
} metric_rows[METRIC_N] = {
#define M(id, kind, text, what, ...) [METRIC_##id] = {RUNTIME__V1__METRIC_TYPE__##kind, text, what, {__VA_ARGS__}},
        METRICS(M)
#undef M
};

static size_t metric_n_extra(MetricId id)
{
        size_t n = 0;
        while (n < METRIC_LABELS_EXTRA && metric_rows[id].extra_keys[n])
                n++;
        return n;
}

bool metric_descriptors(DecodeArena *arena, Runtime__V1__MetricDescriptor ***ret, size_t *ret_n)
{
        Runtime__V1__MetricDescriptor **rows = decode_arena_alloc(arena, METRIC_N * sizeof(*rows));

        if (!rows)
                return false;
        for (size_t i = 0; i < METRIC_N; i++) {
                rows[i] = decode_arena_alloc(arena, sizeof(*rows[i]));
                char **keys = decode_arena_alloc(arena, (METRIC_LABELS_BASE + METRIC_LABELS_EXTRA) * sizeof(*keys));
                if (!rows[i] || !keys)
                        return false;
                runtime__v1__metric_descriptor__init(rows[i]);
                rows[i]->name = (char *)metric_rows[i].name;
                rows[i]->help = (char *)metric_rows[i].help;
                rows[i]->label_keys = keys;
                for (size_t k = 0; k < METRIC_LABELS_BASE; k++)
                        keys[rows[i]->n_label_keys++] = (char *)metric_base_keys[k];
                for (size_t k = 0; k < metric_n_extra((MetricId)i); k++)
                        keys[rows[i]->n_label_keys++] = (char *)metric_rows[i].extra_keys[k];
        }
        *ret = rows;
        *ret_n = METRIC_N;
        return true;
}

static bool metric_grow(MetricList *list)
{
        size_t n = MAX2(list->n_allocated * 2, (size_t)128);
        Runtime__V1__Metric **items = decode_arena_alloc(list->arena, n * sizeof(*items));

        if (!items)
                return false;
        if (list->n > 0)
                memcpy(items, list->items, list->n * sizeof(*items));
        list->items = items;
        list->n_allocated = n;
        return true;
}

/* Behind the value: as many extra labels as the metric has (const char *, outliving the list). */
static void metric_add(MetricList *list, const MetricLabels *base, MetricId id, int64_t seen_nsec, uint64_t value, ...)
{
        size_t n = METRIC_LABELS_BASE + metric_n_extra(id);
        const char *values[METRIC_LABELS_BASE + METRIC_LABELS_EXTRA] = {base->container, base->id, base->image, base->name,
                                                                        base->namespace_, base->pod};
        struct {
                Runtime__V1__Metric metric;
                Runtime__V1__UInt64Value value;
                char *labels[METRIC_LABELS_BASE + METRIC_LABELS_EXTRA];
        } *made;
        va_list extra;

        if (value == USAGE_UNKNOWN || list->is_full)
                return;
        made = decode_arena_alloc(list->arena, sizeof(*made));
        if (!made || (list->n == list->n_allocated && !metric_grow(list))) {
                list->is_full = true;
                return;
        }
        va_start(extra, value);
        for (size_t i = METRIC_LABELS_BASE; i < n; i++)
                values[i] = va_arg(extra, const char *);
        va_end(extra);
        runtime__v1__metric__init(&made->metric);
        runtime__v1__uint64_value__init(&made->value);
        for (size_t i = 0; i < n; i++)
                made->labels[i] = (char *)(values[i] ? values[i] : "");
        made->value.value = value;
        made->metric.name = (char *)metric_rows[id].name;
        made->metric.timestamp = seen_nsec;
        made->metric.metric_type = metric_rows[id].type;
        made->metric.n_label_values = n;
        made->metric.label_values = made->labels;
        made->metric.value = &made->value;
        list->items[list->n++] = &made->metric;
}

static const char *metric_text(MetricList *list, const char *text)
{
        size_t n = strlen(text) + 1;
        char *copy = decode_arena_alloc(list->arena, n);

        if (!copy) {
                list->is_full = true;
                return "";
        }
        memcpy(copy, text, n);
        return copy;
}

void metric_add_interfaces(MetricList *list, const MetricLabels *labels, const UsageInterfaces *interfaces)
{
        for (size_t i = 0; i < interfaces->n; i++) {
                const UsageInterface *from = &interfaces->items[i];
                const char *name = metric_text(list, from->name);
                metric_add(list, labels, METRIC_NETWORK_RX_BYTES, 0, from->rx_bytes, name);
                metric_add(list, labels, METRIC_NETWORK_RX_PACKETS, 0, from->rx_packets, name);
                metric_add(list, labels, METRIC_NETWORK_RX_ERRORS, 0, from->rx_errors, name);
                metric_add(list, labels, METRIC_NETWORK_RX_DROPPED, 0, from->rx_dropped, name);
                metric_add(list, labels, METRIC_NETWORK_TX_BYTES, 0, from->tx_bytes, name);
                metric_add(list, labels, METRIC_NETWORK_TX_PACKETS, 0, from->tx_packets, name);
                metric_add(list, labels, METRIC_NETWORK_TX_ERRORS, 0, from->tx_errors, name);
                metric_add(list, labels, METRIC_NETWORK_TX_DROPPED, 0, from->tx_dropped, name);
        }
}

static uint64_t metric_seconds(uint64_t nsec)
{
        return nsec == USAGE_UNKNOWN ? USAGE_UNKNOWN : nsec / (uint64_t)NSEC_PER_SEC;
}

static uint64_t metric_value(const Runtime__V1__UInt64Value *value)
{
        return value ? value->value : USAGE_UNKNOWN;
}

static void metric_add_pressure(MetricList *list, const MetricLabels *labels, const Runtime__V1__PsiStats *psi, MetricId stalled,
                                MetricId waiting)
{
        if (psi && psi->full)
                metric_add(list, labels, stalled, 0, metric_seconds(psi->full->total));
        if (psi && psi->some)
                metric_add(list, labels, waiting, 0, metric_seconds(psi->some->total));
}

static void metric_add_cpu(MetricList *list, const MetricLabels *labels, const Runtime__V1__CpuUsage *cpu,
                           const Bulkhead__ContainerdSandboxd__ContainerFigures *figures)
{
        metric_add(list, labels, METRIC_CPU_USAGE, 0, metric_seconds(metric_value(cpu->usage_core_nano_seconds)), "total");
        metric_add(list, labels, METRIC_CPU_USER, 0, metric_seconds(figures->cpu_user_nsec));
        metric_add(list, labels, METRIC_CPU_SYSTEM, 0, metric_seconds(figures->cpu_system_nsec));
        metric_add(list, labels, METRIC_CPU_PERIODS, 0, figures->cpu_periods);
        metric_add(list, labels, METRIC_CPU_THROTTLED_PERIODS, 0, figures->cpu_throttled_periods);
        metric_add(list, labels, METRIC_CPU_THROTTLED_SECONDS, 0, metric_seconds(figures->cpu_throttled_nsec));
        metric_add_pressure(list, labels, cpu->psi, METRIC_PRESSURE_CPU_STALLED, METRIC_PRESSURE_CPU_WAITING);
}

static void metric_add_memory(MetricList *list, const MetricLabels *labels, const Runtime__V1__MemoryUsage *memory,
                              const Bulkhead__ContainerdSandboxd__ContainerFigures *figures)
{
        metric_add(list, labels, METRIC_MEMORY_USAGE, 0, metric_value(memory->usage_bytes));
        metric_add(list, labels, METRIC_MEMORY_WORKING_SET, 0, metric_value(memory->working_set_bytes));
        metric_add(list, labels, METRIC_MEMORY_RSS, 0, metric_value(memory->rss_bytes));
        metric_add(list, labels, METRIC_MEMORY_CACHE, 0, figures->memory_cache_bytes);
        metric_add(list, labels, METRIC_MEMORY_MAPPED, 0, figures->memory_mapped_bytes);
        metric_add(list, labels, METRIC_MEMORY_KERNEL, 0, figures->memory_kernel_bytes);
        metric_add(list, labels, METRIC_MEMORY_PEAK, 0, figures->memory_peak_bytes);
        metric_add(list, labels, METRIC_MEMORY_FAILCNT, 0, figures->memory_failures);
        metric_add(list, labels, METRIC_OOM_EVENTS, 0, figures->oom_kills);
        /* The counters are those of the group with everything below it: for a container both scopes are one. */
        static const char *const scopes[] = {"container", "hierarchy"};
        for (size_t i = 0; i < ARRAY_SIZE(scopes); i++) {
                metric_add(list, labels, METRIC_MEMORY_FAILURES, 0, metric_value(memory->page_faults), "pgfault", scopes[i]);
                metric_add(list, labels, METRIC_MEMORY_FAILURES, 0, metric_value(memory->major_page_faults), "pgmajfault", scopes[i]);
        }
        metric_add(list, labels, METRIC_HUGETLB, 0, figures->hugetlb_2m_bytes, "2MB");
        metric_add(list, labels, METRIC_HUGETLB, 0, figures->hugetlb_1g_bytes, "1GB");
        metric_add(list, labels, METRIC_HUGETLB_PEAK, 0, figures->hugetlb_2m_peak_bytes, "2MB");
        metric_add(list, labels, METRIC_HUGETLB_PEAK, 0, figures->hugetlb_1g_peak_bytes, "1GB");
        metric_add_pressure(list, labels, memory->psi, METRIC_PRESSURE_MEMORY_STALLED, METRIC_PRESSURE_MEMORY_WAITING);
}

static void metric_add_device(MetricList *list, const MetricLabels *labels, const Bulkhead__ContainerdSandboxd__DeviceFigures *from)
{
        char text[32];

        (void)snprintf(text, sizeof(text), "%u:%u", from->major, from->minor);
        const char *device = metric_text(list, text);
        (void)snprintf(text, sizeof(text), "%u", from->major);
        const char *major = metric_text(list, text);
        (void)snprintf(text, sizeof(text), "%u", from->minor);
        const char *minor = metric_text(list, text);
        metric_add(list, labels, METRIC_BLKIO_USAGE, 0, from->read_bytes, device, major, minor, "Read");
        metric_add(list, labels, METRIC_BLKIO_USAGE, 0, from->write_bytes, device, major, minor, "Write");
        metric_add(list, labels, METRIC_FS_READ_BYTES, 0, from->read_bytes, device);
        metric_add(list, labels, METRIC_FS_WRITE_BYTES, 0, from->write_bytes, device);
        metric_add(list, labels, METRIC_FS_READS, 0, from->reads, device);
        metric_add(list, labels, METRIC_FS_WRITES, 0, from->writes, device);
}

static void metric_add_spec(MetricList *list, const MetricLabels *labels, const Bulkhead__ContainerdSandboxd__ContainerFigures *figures)
{
        metric_add(list, labels, METRIC_SPEC_CPU_PERIOD, 0, figures->cpu_period ? figures->cpu_period : METRIC_CPU_PERIOD_DEFAULT);
        if (figures->cpu_quota > 0)
                metric_add(list, labels, METRIC_SPEC_CPU_QUOTA, 0, (uint64_t)figures->cpu_quota);
        metric_add(list, labels, METRIC_SPEC_CPU_SHARES, 0, figures->cpu_shares ? figures->cpu_shares : METRIC_CPU_SHARES_DEFAULT);
        metric_add(list, labels, METRIC_SPEC_MEMORY_LIMIT, 0, figures->memory_limit_bytes);
        metric_add(list, labels, METRIC_SPEC_MEMORY_SWAP, 0, figures->memory_swap_limit_bytes);
        metric_add(list, labels, METRIC_SPEC_MEMORY_RESERVATION, 0, figures->memory_reservation_bytes);
        metric_add(list, labels, METRIC_START_TIME, 0, figures->started_at > 0 ? (uint64_t)figures->started_at : USAGE_UNKNOWN);
}

void metric_add_container(MetricList *list, const MetricLabels *labels, const char *device,
                          const Bulkhead__ContainerdSandboxd__ContainerUsage *usage)
{
        const Bulkhead__ContainerdSandboxd__ContainerFigures *figures = usage->figures;
        const Runtime__V1__ContainerStats *stats = usage->stats;
        const Runtime__V1__FilesystemUsage *layer = stats->writable_layer;

        metric_add(list, labels, METRIC_LAST_SEEN, 0, (uint64_t)(clock_realtime_nsec() / NSEC_PER_SEC));
        metric_add_spec(list, labels, figures);
        if (stats->cpu)
                metric_add_cpu(list, labels, stats->cpu, figures);
        if (stats->memory)
                metric_add_memory(list, labels, stats->memory, figures);
        if (stats->swap)
                metric_add(list, labels, METRIC_MEMORY_SWAP, 0, metric_value(stats->swap->swap_usage_bytes));
        if (stats->io)
                metric_add_pressure(list, labels, stats->io->psi, METRIC_PRESSURE_IO_STALLED, METRIC_PRESSURE_IO_WAITING);
        for (size_t i = 0; i < figures->n_devices; i++)
                metric_add_device(list, labels, figures->devices[i]);
        if (layer)
                metric_add(list, labels, METRIC_FS_USAGE, layer->timestamp, metric_value(layer->used_bytes), device);
        metric_add(list, labels, METRIC_FS_LIMIT, 0, figures->filesystem_bytes, device);
        metric_add(list, labels, METRIC_FS_INODES_TOTAL, 0, figures->filesystem_inodes, device);
        metric_add(list, labels, METRIC_FS_INODES_FREE, 0, figures->filesystem_inodes_free, device);
        metric_add(list, labels, METRIC_PROCESSES, 0, usage->processes);
        metric_add(list, labels, METRIC_THREADS, 0, figures->threads);
        metric_add(list, labels, METRIC_THREADS_MAX, 0, figures->threads_max);
        metric_add(list, labels, METRIC_FILE_DESCRIPTORS, figures->processes_at, figures->file_descriptors);
        metric_add(list, labels, METRIC_SOCKETS, figures->processes_at, figures->sockets);
        metric_add(list, labels, METRIC_ULIMITS_SOFT, figures->processes_at, figures->soft_open_files, "max_open_files");
}
