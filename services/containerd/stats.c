/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/stats.h"

#include "ipc/edges/containerd-sandboxd.rows.h"
#include "ipc/edges/containerd-setup.rows.h"
#include "ipc/edges/gatewayd-containerd.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/log.h"
#include "services/containerd/status.h"
#include "services/usage-message.h"

#define STATS_OPEN_TIMEOUT_USEC (30 * USEC_PER_SEC)
#define STATS_OPEN_AGAIN_USEC (5 * USEC_PER_SEC)
#define STATS_FDS_MAX 10000 /* of the 16384 of our policy row: a container has a pidfd and a socket besides */

static int stats_open(Container *container, uint32_t first, uint32_t end);

static int stats_new(Container *container)
{
        if (container->stats)
                return 0;
        Stats *stats = calloc(1, sizeof(*stats));
        if (!stats)
                return error_origin(-ENOMEM);
        stats->containerd = container->containerd;
        stats->rate = USAGE_RATE_NULL;
        usage_files_init(&stats->files);
        container->stats = stats;
        return 0;
}

static void stats_close(Stats *stats)
{
        if (stats->call)
                channel_cancel(stats->containerd->setup, stats->call);
        stats->call = 0;
        usage_files_done(&stats->files);
}

Stats *stats_free(Stats *stats)
{
        if (!stats)
                return NULL;
        stats_close(stats);
        free(stats);
        return NULL;
}

void stats_end(Container *container)
{
        if (container->stats)
                stats_close(container->stats);
}

static bool stats_is_alive(const Container *container)
{
        return !container->has_ended && container->state != CONTAINER_STATE_CREATING && container->state != CONTAINER_STATE_EXITED &&
               container->state != CONTAINER_STATE_UNKNOWN;
}

static int stats_on_opened(void *userdata, const Answer *answer)
{
        Container *container = userdata;
        Stats *stats = container->stats;

        stats->call = 0;
        if (answer->outcome) {
                /* The next request tries again. NOT_FOUND: it has ended meanwhile. */
                if (answer->code != GRPC_STATUS_NOT_FOUND)
                        log_warning("container %s: what it uses cannot be read: %s", container->id, answer->text);
                return 0;
        }
        const UsageOpened *opened = answer->frame->flat;
        for (uint32_t i = 0; i < MIN2(opened->files.n, (uint32_t)CGROUP_FILES_PER_FRAME); i++)
                (void)usage_files_take(&stats->files, opened->files.files[i], opened->files.versions[i], frame_take_fd(answer->frame, i));
        if (stats->first == 0) {
                Usage usage;
                usage_read(&stats->files, 0, &usage);
                (void)usage_rate(&stats->rate, clock_monotonic_usec(), usage.cpu_nsec);
                stats->processes = opened->processes;
                stats->processes_nsec = usage.time_nsec;
        }
        if (opened->files.next > stats->first && opened->files.next < stats->end) {
                int r = stats_open(container, opened->files.next, stats->end);
                return r < 0 ? fold(r) : 0;
        }
        stats->has_metrics = stats->end == CGROUP_FILE_N;
        return 0;
}

static int stats_open(Container *container, uint32_t first, uint32_t end)
{
        Stats *stats = container->stats;
        UsageOpen verb = {.first = first, .end = end, .look = first == 0};
        uint64_t now = clock_monotonic_usec();

        (void)str_copy(verb.id, sizeof(verb.id), container->id);
        stats->first = first;
        stats->end = end;
        stats->opened_usec = now;
        int r = channel_call_flat(container->containerd->setup, ROW_CONTAINERD_SETUP_USAGE_OPEN, &verb, NULL, 0,
                                  now + STATS_OPEN_TIMEOUT_USEC, stats_on_opened, container, &stats->call);
        return r < 0 ? fold(r) : 0;
}

/* With more containers than a node can have, some have no numbers rather than that we run out of fds. */
static bool stats_has_room(const Container *container, uint32_t end)
{
        return container->containerd->containers.n * end <= STATS_FDS_MAX;
}

int stats_begin(Container *container, bool is_new)
{
        int r = stats_new(container);

        if (r < 0)
                return fold(r);
        if (is_new) {
                /* imaged made it then: an empty directory. */
                container->stats->inodes = 1;
                container->stats->measured_nsec = container->created_nsec;
        }
        if (container->stats->call || container->stats->files.fds[CGROUP_FILE_CPU_STAT] >= 0)
                return 0;
        if (container->containerd->wants_metrics && stats_has_room(container, CGROUP_FILE_N))
                r = stats_open(container, 0, CGROUP_FILE_N);
        else if (stats_has_room(container, CGROUP_FILE_STATS_N))
                r = stats_open(container, 0, CGROUP_FILE_STATS_N);
        return r < 0 ? fold(r) : 0;
}

/* What is not open and should be: something went wrong (the hand was restarted), or metrics are wanted now. Not too often. */
static int stats_mend(Container *container)
{
        const Stats *stats = container->stats;
        bool has_files = stats && stats->files.fds[CGROUP_FILE_CPU_STAT] >= 0;

        if (!stats_is_alive(container) || container->attach || container->create || (stats && stats->call) ||
            (has_files && (stats->has_metrics || !container->containerd->wants_metrics || !stats_has_room(container, CGROUP_FILE_N))))
                return 0;
        if (!has_files && stats && clock_monotonic_usec() < stats->opened_usec + STATS_OPEN_AGAIN_USEC)
                return 0;
        int r = has_files ? stats_open(container, CGROUP_FILE_STATS_N, CGROUP_FILE_N) : stats_begin(container, false);
        return r < 0 ? fold(r) : 0;
}

/* Everything that one container's message borrows from. */
typedef struct StatsItem {
        Usage usage;
        UsageMessage message;
        StatusScratch scratch;
        Runtime__V1__ContainerStats stats;
        Runtime__V1__ContainerAttributes attributes;
        Runtime__V1__FilesystemUsage layer;
        Runtime__V1__FilesystemIdentifier layer_id;
        Runtime__V1__UInt64Value layer_values[2];
} StatsItem;

static const Runtime__V1__LinuxContainerResources *stats_limits(const Container *container)
{
        const Runtime__V1__ContainerStatus *status = container->record.status;
        return status && status->resources ? status->resources->linux : NULL;
}

static void stats_fill_layer(const Container *container, StatsItem *item)
{
        const Stats *stats = container->stats;

        if (!stats || stats->measured_nsec == 0)
                return;
        runtime__v1__filesystem_usage__init(&item->layer);
        runtime__v1__filesystem_identifier__init(&item->layer_id);
        item->layer_id.mountpoint = (char *)container->containerd->common->state_dir;
        item->layer.timestamp = stats->measured_nsec;
        item->layer.fs_id = &item->layer_id;
        item->layer.used_bytes = usage_message_value(&item->layer_values[0], stats->bytes);
        item->layer.inodes_used = usage_message_value(&item->layer_values[1], stats->inodes);
        item->stats.writable_layer = &item->layer;
}

static void stats_fill(Container *container, uint32_t with, StatsItem *item)
{
        Runtime__V1__ContainerStatus status;
        const Runtime__V1__LinuxContainerResources *limits = stats_limits(container);

        runtime__v1__container_stats__init(&item->stats);
        runtime__v1__container_attributes__init(&item->attributes);
        status_fill(container, &status, &item->scratch);
        item->attributes.id = status.id;
        item->attributes.metadata = status.metadata;
        item->attributes.n_labels = status.n_labels;
        item->attributes.labels = (Runtime__V1__ContainerAttributes__LabelsEntry **)status.labels;
        item->attributes.n_annotations = status.n_annotations;
        item->attributes.annotations = (Runtime__V1__ContainerAttributes__AnnotationsEntry **)status.annotations;
        item->stats.attributes = &item->attributes;
        stats_fill_layer(container, item);
        if (!stats_is_alive(container) || !container->stats) {
                memset(&item->usage, 0xff, offsetof(Usage, cpu));
                item->usage.n_devices = 0;
                return;
        }
        UsageLimits bounds = {0};
        if (limits) {
                bounds.memory_bytes = (uint64_t)MAX2(limits->memory_limit_in_bytes, INT64_C(0));
                if (bounds.memory_bytes && limits->memory_swap_limit_in_bytes > limits->memory_limit_in_bytes)
                        bounds.swap_bytes = (uint64_t)limits->memory_swap_limit_in_bytes - bounds.memory_bytes;
        }
        usage_read(&container->stats->files, with, &item->usage);
        uint64_t nano_cores = usage_rate(&container->stats->rate, clock_monotonic_usec(), item->usage.cpu_nsec);
        usage_message_fill(&item->message, &item->usage, nano_cores, &bounds);
        item->stats.cpu = &item->message.cpu;
        item->stats.memory = &item->message.memory;
        item->stats.swap = &item->message.swap;
        item->stats.io = &item->message.io;
}
_Static_assert(sizeof(Runtime__V1__ContainerAttributes__LabelsEntry) == sizeof(Runtime__V1__ContainerStatus__LabelsEntry) &&
                       sizeof(Runtime__V1__ContainerAttributes__AnnotationsEntry) == sizeof(Runtime__V1__ContainerStatus__AnnotationsEntry),
               "entries of maps");

int stats_reply(Container *container, ReplyTo to)
{
        Runtime__V1__ContainerStatsResponse response = RUNTIME__V1__CONTAINER_STATS_RESPONSE__INIT;
        StatsItem item;

        int r = stats_mend(container);
        if (r == 0)
                r = stats_look(container->containerd, false);
        if (r < 0)
                return fold(r);
        stats_fill(container, USAGE_WITH_SWAP, &item);
        response.stats = &item.stats;
        r = reply_send(to, &response.base, NULL, 0);
        return r < 0 ? fold(r) : 0;
}

int stats_list_reply(Containerd *containerd, const Runtime__V1__ContainerStatsFilter *asked, ReplyTo to)
{
        Runtime__V1__ListContainerStatsResponse response = RUNTIME__V1__LIST_CONTAINER_STATS_RESPONSE__INIT;
        Runtime__V1__ContainerFilter filter = RUNTIME__V1__CONTAINER_FILTER__INIT;
        size_t n = MAX2(containerd->containers.n, (size_t)1);
        _cleanup_free_ StatsItem *items = malloc(n * sizeof(*items));
        _cleanup_free_ Runtime__V1__ContainerStats **rows = calloc(n, sizeof(*rows));

        if (!items || !rows)
                return error_origin(-ENOMEM);
        int r = stats_look(containerd, false);
        if (asked) {
                filter.id = asked->id;
                filter.pod_sandbox_id = asked->pod_sandbox_id;
                filter.n_label_selector = asked->n_label_selector;
                filter.label_selector = (Runtime__V1__ContainerFilter__LabelSelectorEntry **)asked->label_selector;
        }
        for (size_t i = container_table_from(&containerd->containers, filter.id); r == 0 && i < containerd->containers.n; i++) {
                Container *container = containerd->containers.items[i];
                if (!str_has_prefix(container->id, filter.id))
                        break;
                if (!status_matches(container, &filter))
                        continue;
                r = stats_mend(container);
                StatsItem *item = &items[response.n_stats];
                stats_fill(container, USAGE_WITH_SWAP, item);
                rows[response.n_stats++] = &item->stats;
        }
        response.stats = rows;
        if (r == 0)
                r = reply_send(to, &response.base, NULL, 0);
        return r < 0 ? fold(r) : 0;
}
_Static_assert(sizeof(Runtime__V1__ContainerFilter__LabelSelectorEntry) == sizeof(Runtime__V1__ContainerStatsFilter__LabelSelectorEntry),
               "entries of maps");

/* A container for sandboxd: with numbers that only metrics have. */
typedef struct StatsPodItem {
        StatsItem item;
        Bulkhead__ContainerdSandboxd__ContainerUsage usage;
        Bulkhead__ContainerdSandboxd__ContainerFigures figures;
        Bulkhead__ContainerdSandboxd__DeviceFigures devices[USAGE_DEVICES_MAX];
        Bulkhead__ContainerdSandboxd__DeviceFigures *device_rows[USAGE_DEVICES_MAX];
} StatsPodItem;

static void stats_fill_devices(StatsPodItem *pod_item)
{
        const Usage *usage = &pod_item->item.usage;

        for (size_t i = 0; i < usage->n_devices; i++) {
                Bulkhead__ContainerdSandboxd__DeviceFigures *device = &pod_item->devices[i];
                bulkhead__containerd_sandboxd__device_figures__init(device);
                device->major = usage->devices[i].major;
                device->minor = usage->devices[i].minor;
                device->read_bytes = usage->devices[i].read_bytes;
                device->write_bytes = usage->devices[i].write_bytes;
                device->reads = usage->devices[i].reads;
                device->writes = usage->devices[i].writes;
                pod_item->device_rows[i] = device;
        }
        pod_item->figures.n_devices = usage->n_devices;
        pod_item->figures.devices = pod_item->device_rows;
}

static void stats_fill_figures(const Container *container, StatsPodItem *pod_item)
{
        Bulkhead__ContainerdSandboxd__ContainerFigures *to = &pod_item->figures;
        const Containerd *containerd = container->containerd;
        const Runtime__V1__LinuxContainerResources *limits = stats_limits(container);
        const Usage *usage = &pod_item->item.usage;
        const Stats *stats = container->stats;

        bulkhead__containerd_sandboxd__container_figures__init(to);
        if (container->record.status && container->record.status->image)
                to->image = container->record.status->image->image;
        to->started_at = container->started_nsec / NSEC_PER_SEC;
        to->cpu_user_nsec = usage->cpu_user_nsec;
        to->cpu_system_nsec = usage->cpu_system_nsec;
        to->cpu_periods = usage->cpu_periods;
        to->cpu_throttled_periods = usage->cpu_throttled_periods;
        to->cpu_throttled_nsec = usage->cpu_throttled_nsec;
        to->memory_cache_bytes = usage->memory_cache_bytes;
        to->memory_mapped_bytes = usage->memory_mapped_bytes;
        to->memory_kernel_bytes = usage->memory_kernel_bytes;
        to->memory_peak_bytes = usage->memory_peak_bytes;
        to->memory_failures = usage->memory_failures;
        to->oom_kills = usage->oom_kills;
        to->threads = usage->threads;
        to->threads_max = usage->threads_max == USAGE_UNLIMITED ? 0 : usage->threads_max;
        to->hugetlb_2m_bytes = usage->hugetlb_2m_bytes;
        to->hugetlb_2m_peak_bytes = usage->hugetlb_2m_peak_bytes;
        to->hugetlb_1g_bytes = usage->hugetlb_1g_bytes;
        to->hugetlb_1g_peak_bytes = usage->hugetlb_1g_peak_bytes;
        to->file_descriptors = to->sockets = to->soft_open_files = USAGE_UNKNOWN;
        if (stats && stats->processes_nsec && stats_is_alive(container)) {
                to->processes_at = stats->processes_nsec;
                to->file_descriptors = stats->processes.n_fds;
                to->sockets = stats->processes.n_sockets;
                to->soft_open_files = stats->processes.soft_open_files;
        }
        to->filesystem_bytes = containerd->filesystem.bytes;
        to->filesystem_inodes = containerd->filesystem.inodes;
        to->filesystem_inodes_free = containerd->filesystem.inodes_free;
        if (limits) {
                to->cpu_period = (uint64_t)MAX2(limits->cpu_period, INT64_C(0));
                to->cpu_quota = limits->cpu_quota;
                to->cpu_shares = (uint64_t)MAX2(limits->cpu_shares, INT64_C(0));
                to->memory_limit_bytes = (uint64_t)MAX2(limits->memory_limit_in_bytes, INT64_C(0));
                to->memory_swap_limit_bytes = (uint64_t)MAX2(limits->memory_swap_limit_in_bytes, INT64_C(0));
        }
        stats_fill_devices(pod_item);
}

static bool stats_is_asked(const Bulkhead__ContainerdSandboxd__PodUsageRequest *request, const char *pod_id)
{
        for (size_t i = 0; i < request->n_pod_ids; i++)
                if (str_equal(request->pod_ids[i], pod_id))
                        return true;
        return request->n_pod_ids == 0;
}

int stats_pods_reply(Containerd *containerd, const Frame *frame)
{
        const Bulkhead__ContainerdSandboxd__PodUsageRequest *request =
                container_of(frame->message, Bulkhead__ContainerdSandboxd__PodUsageRequest, base);
        Bulkhead__ContainerdSandboxd__PodUsageResponse response = BULKHEAD__CONTAINERD_SANDBOXD__POD_USAGE_RESPONSE__INIT;
        uint32_t with = request->metrics ? USAGE_WITH_METRICS : USAGE_WITH_SWAP | USAGE_WITH_PROCESSES;
        size_t n = 0;

        for (size_t i = 0; i < containerd->containers.n; i++)
                n += stats_is_asked(request, containerd->containers.items[i]->pod_id);
        _cleanup_free_ StatsPodItem *items = malloc(MAX2(n, (size_t)1) * sizeof(*items));
        _cleanup_free_ Bulkhead__ContainerdSandboxd__ContainerUsage **rows = calloc(MAX2(n, (size_t)1), sizeof(*rows));
        if (!items || !rows)
                return error_origin(-ENOMEM);
        int r = stats_look(containerd, request->metrics);
        containerd->wants_metrics = containerd->wants_metrics || request->metrics;
        for (size_t i = 0; r == 0 && i < containerd->containers.n; i++) {
                Container *container = containerd->containers.items[i];
                r = stats_mend(container);
                if (container->state == CONTAINER_STATE_CREATING || !stats_is_asked(request, container->pod_id))
                        continue;
                StatsPodItem *pod_item = &items[response.n_containers];
                stats_fill(container, with, &pod_item->item);
                bulkhead__containerd_sandboxd__container_usage__init(&pod_item->usage);
                pod_item->usage.pod_id = container->pod_id;
                pod_item->usage.stats = &pod_item->item.stats;
                pod_item->usage.processes = pod_item->item.usage.processes;
                if (request->metrics) {
                        stats_fill_figures(container, pod_item);
                        pod_item->usage.figures = &pod_item->figures;
                }
                rows[response.n_containers++] = &pod_item->usage;
        }
        response.containers = rows;
        if (r == 0)
                r = reply_send(frame_reply_to(frame), &response.base, NULL, 0);
        return r < 0 ? fold(r) : 0;
}
