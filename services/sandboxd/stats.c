/* SPDX-License-Identifier: Apache-2.0 */

/* What pods use. The numbers of a pod's cgroup and interfaces are read here, from files that sandboxd-setup opened once; those of
 * its containers are containerd's, which is asked over the edge that the two have: facts travel between the daemons that own
 * them, and gatewayd, which parses what the network sends, joins nothing.
 *
 * A pod whose request names no cgroup parent has no cgroup of its own: its numbers are the sums of its containers'. */

#include "ipc/cgroup-path.h"
#include "ipc/edges/containerd-sandboxd.rows.h"
#include "ipc/edges/gatewayd-sandboxd.rows.h"
#include "ipc/edges/sandboxd-setup.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/log.h"
#include "services/sandboxd/handlers.h"
#include "services/sandboxd/stats.h"
#include "services/usage-message.h"

#define STATS_OPEN_TIMEOUT (30 * USEC_PER_SEC)
#define STATS_OPEN_AGAIN (1 * USEC_PER_SEC) /* the cgroup may be made with the first container */
#define STATS_FDS_MAX 3000 /* of the 4096 of our policy row */
#define STATS_DEFAULT_INTERFACE "eth0" /* what sandboxd-cni asks plugins for */

struct PodStats {
        Sandboxd *sandboxd; /* borrowed */
        UsageFiles files;
        UsageRate rate;
        int net_dev_fd;     /* owned; keeps the network namespace */
        uint32_t call;      /* to sandboxd-setup; 0: none */
        uint64_t opened_usec;
};

PodStats *stats_free(PodStats *stats)
{
        if (!stats)
                return NULL;
        if (stats->call)
                channel_cancel(sandboxd_setup(stats->sandboxd), stats->call);
        usage_files_done(&stats->files);
        stats->net_dev_fd = fd_close(stats->net_dev_fd);
        free(stats);
        return NULL;
}

static int stats_on_opened(void *userdata, const Answer *answer)
{
        Pod *pod = userdata;
        PodStats *stats = pod->stats;

        stats->call = 0;
        if (answer->outcome != 0) {
                log_warning("pod %.13s: what it uses cannot be read: %s", pod->id, answer->text);
                return 0;
        }
        const CgroupFiles *opened = answer->frame->flat;
        for (uint32_t i = 0; i < MIN2(opened->n, (uint32_t)CGROUP_FILES_PER_FRAME); i++) {
                int fd = frame_take_fd(answer->frame, i);
                if (opened->files[i] != CGROUP_FILE_NET_DEV) {
                        (void)usage_files_take(&stats->files, opened->files[i], opened->versions[i], fd);
                        continue;
                }
                (void)fd_close(stats->net_dev_fd);
                stats->net_dev_fd = fd;
        }
        return 0;
}

/* With more pods than a node can have, some have no numbers rather than that we run out of fds. */
static bool stats_has_room(const Sandboxd *sandboxd)
{
        size_t n = 0;
        list_for_each(i, &sandboxd->pods)
                n += CGROUP_FILE_POD_N + 1;
        return n <= STATS_FDS_MAX;
}

static int stats_open(Pod *pod)
{
        SetupUsage verb = {.permit = pod->permit};

        pod->stats->opened_usec = clock_monotonic_usec();
        if (!stats_has_room(pod->sandboxd))
                return 0;
        return fold(channel_call_flat(sandboxd_setup(pod->sandboxd), ROW_SANDBOXD_SETUP_SETUP_USAGE, &verb, NULL, 0,
                                      pod->stats->opened_usec + STATS_OPEN_TIMEOUT, stats_on_opened, pod, &pod->stats->call));
}

int stats_begin(Pod *pod)
{
        PodStats *stats = calloc(1, sizeof(*stats));
        if (!stats)
                return error_origin(-ENOMEM);
        stats->sandboxd = pod->sandboxd;
        stats->rate = USAGE_RATE_NULL;
        stats->net_dev_fd = -1;
        usage_files_init(&stats->files);
        pod->stats = stats_free(pod->stats);
        pod->stats = stats;
        return fold(stats_open(pod));
}

bool stats_is_slice(const Pod *pod)
{
        return str_has_suffix(pod->permit.cgroup_parent, ".slice");
}

static bool stats_has_cgroup(const Pod *pod)
{
        char path[CGROUP_PATH_MAX];
        return cgroup_path_parent(path, stats_is_slice(pod), pod->permit.cgroup_parent);
}

int stats_mend(Pod *pod)
{
        const PodStats *stats = pod->stats;
        if (pod->state != POD_STATE_READY)
                return 0;
        if (!stats)
                return fold(stats_begin(pod));
        bool lacks_cgroup = stats_has_cgroup(pod) && stats->files.fds[CGROUP_FILE_CPU_STAT] < 0;
        bool lacks_network = !pod_has_host_network(pod) && stats->net_dev_fd < 0;
        if (stats->call || (!lacks_cgroup && !lacks_network) || clock_monotonic_usec() < stats->opened_usec + STATS_OPEN_AGAIN)
                return 0;
        return fold(stats_open(pod));
}

/* Everything that one pod's message borrows from, but its containers, which are the answer's of containerd. */
typedef struct StatsItem {
        Usage usage;
        UsageMessage message;
        UsageInterfaces interfaces;
        Runtime__V1__PodSandboxStats stats;
        Runtime__V1__PodSandboxAttributes attributes;
        Runtime__V1__LinuxPodSandboxStats linux_stats;
        Runtime__V1__NetworkUsage network;
        Runtime__V1__NetworkInterfaceUsage interface_messages[USAGE_INTERFACES_MAX], *interface_rows[USAGE_INTERFACES_MAX];
        Runtime__V1__UInt64Value interface_values[USAGE_INTERFACES_MAX][4];
        Runtime__V1__ProcessUsage process;
        Runtime__V1__UInt64Value process_value;
} StatsItem;


static void stats_add(uint64_t *to, const Runtime__V1__UInt64Value *value)
{
        if (value)
                *to = (*to == USAGE_UNKNOWN ? 0 : *to) + value->value;
}

/* Sums of the containers' numbers. */
static uint64_t stats_sum(const Pod *pod, const PodUsageResponse *containers, Usage *usage)
{
        uint64_t nano_cores = USAGE_UNKNOWN, working_set = USAGE_UNKNOWN;

        memset(usage, 0xff, offsetof(Usage, cpu));
        usage->cpu = usage->memory = usage->io = (UsagePressures){0};
        usage->time_nsec = clock_realtime_nsec();
        for (size_t i = 0; i < containers->n_containers; i++) {
                const Runtime__V1__ContainerStats *stats = containers->containers[i]->stats;
                if (!stats || !str_equal(containers->containers[i]->pod_id, pod->id))
                        continue;
                if (stats->cpu) {
                        stats_add(&usage->cpu_nsec, stats->cpu->usage_core_nano_seconds);
                        stats_add(&nano_cores, stats->cpu->usage_nano_cores);
                }
                if (stats->memory) {
                        stats_add(&usage->memory_bytes, stats->memory->usage_bytes);
                        stats_add(&working_set, stats->memory->working_set_bytes);
                        stats_add(&usage->memory_anon_bytes, stats->memory->rss_bytes);
                        stats_add(&usage->page_faults, stats->memory->page_faults);
                        stats_add(&usage->major_page_faults, stats->memory->major_page_faults);
                }
        }
        if (working_set != USAGE_UNKNOWN && usage->memory_bytes != USAGE_UNKNOWN)
                usage->memory_inactive_file_bytes = usage->memory_bytes - MIN2(working_set, usage->memory_bytes);
        return nano_cores;
}

static void stats_fill_usage(Pod *pod, const PodUsageResponse *containers, StatsItem *item)
{
        const Runtime__V1__LinuxPodSandboxConfig *config = pod->request->config->linux;
        UsageLimits limits = {0};
        uint64_t nano_cores;

        if (config && config->resources && config->resources->memory_limit_in_bytes > 0)
                limits.memory_bytes = (uint64_t)config->resources->memory_limit_in_bytes;
        if (pod->stats && pod->stats->files.fds[CGROUP_FILE_CPU_STAT] >= 0) {
                usage_read(&pod->stats->files, 0, &item->usage);
                nano_cores = usage_rate(&pod->stats->rate, clock_monotonic_usec(), item->usage.cpu_nsec);
        } else {
                nano_cores = stats_sum(pod, containers, &item->usage);
        }
        usage_message_fill(&item->message, &item->usage, nano_cores, &limits);
        item->linux_stats.cpu = &item->message.cpu;
        item->linux_stats.memory = &item->message.memory;
        item->linux_stats.io = &item->message.io;
}

void stats_read_interfaces(const Pod *pod, UsageInterfaces *ret)
{
        ret->n = 0;
        if (!pod_has_host_network(pod) && pod->stats)
                usage_read_interfaces(pod->stats->net_dev_fd, ret);
}

static void stats_fill_network(const Pod *pod, StatsItem *item)
{
        if (pod_has_host_network(pod) || !pod->stats || pod->stats->net_dev_fd < 0)
                return;
        usage_read_interfaces(pod->stats->net_dev_fd, &item->interfaces);
        runtime__v1__network_usage__init(&item->network);
        item->network.timestamp = clock_realtime_nsec();
        item->network.interfaces = item->interface_rows;
        for (size_t i = 0; i < item->interfaces.n; i++) {
                usage_message_interface(&item->interface_messages[i], item->interface_values[i], &item->interfaces.items[i]);
                if (str_equal(item->interfaces.items[i].name, STATS_DEFAULT_INTERFACE))
                        item->network.default_interface = &item->interface_messages[i];
                else
                        item->interface_rows[item->network.n_interfaces++] = &item->interface_messages[i];
        }
        item->linux_stats.network = &item->network;
}

/* rows: room for as many as containerd told. Returns how many of them it took. */
static size_t stats_fill(Pod *pod, const PodUsageResponse *containers, StatsItem *item, Runtime__V1__ContainerStats **rows)
{
        const Runtime__V1__PodSandboxConfig *config = pod->request->config;
        uint64_t processes = USAGE_UNKNOWN;

        runtime__v1__pod_sandbox_stats__init(&item->stats);
        runtime__v1__pod_sandbox_attributes__init(&item->attributes);
        runtime__v1__linux_pod_sandbox_stats__init(&item->linux_stats);
        item->attributes.id = pod->id;
        item->attributes.metadata = config->metadata;
        item->attributes.n_labels = config->n_labels;
        item->attributes.labels = (Runtime__V1__PodSandboxAttributes__LabelsEntry **)config->labels;
        item->attributes.n_annotations = config->n_annotations;
        item->attributes.annotations = (Runtime__V1__PodSandboxAttributes__AnnotationsEntry **)config->annotations;
        item->stats.attributes = &item->attributes;
        item->stats.linux = &item->linux_stats;
        item->linux_stats.containers = rows;
        for (size_t i = 0; i < containers->n_containers; i++) {
                const Bulkhead__ContainerdSandboxd__ContainerUsage *usage = containers->containers[i];
                if (!usage->stats || !str_equal(usage->pod_id, pod->id))
                        continue;
                rows[item->linux_stats.n_containers++] = usage->stats;
                if (usage->processes != USAGE_UNKNOWN)
                        processes = (processes == USAGE_UNKNOWN ? 0 : processes) + usage->processes;
        }
        if (pod->state != POD_STATE_READY)
                return item->linux_stats.n_containers;
        stats_fill_usage(pod, containers, item);
        stats_fill_network(pod, item);
        runtime__v1__process_usage__init(&item->process);
        item->process.timestamp = item->usage.time_nsec;
        item->process.process_count = usage_message_value(&item->process_value, processes == USAGE_UNKNOWN ? 0 : processes);
        item->linux_stats.process = &item->process;
        return item->linux_stats.n_containers;
}
_Static_assert(sizeof(Runtime__V1__PodSandboxAttributes__LabelsEntry) == sizeof(Runtime__V1__PodSandboxConfig__LabelsEntry) &&
                       sizeof(Runtime__V1__PodSandboxAttributes__AnnotationsEntry) == sizeof(Runtime__V1__PodSandboxConfig__AnnotationsEntry),
               "entries of maps");

StatsCall *stats_call_free(StatsCall *call)
{
        if (!call)
                return NULL;
        (void)frame_free(call->frame);
        free(call->pod_ids);
        free(call->ids);
        free(call);
        return NULL;
}

static int stats_call_on_answer(void *userdata, const Answer *answer)
{
        _cleanup_(stats_call_freep) StatsCall *call = userdata;
        if (answer->outcome != 0)
                return fold(reply_fail(frame_reply_to(call->frame), GRPC_STATUS_UNAVAILABLE,
                                       "%s: containerd does not tell what containers use: %s; try again", call->frame->row->name, answer->text));
        return fold(call->answer(call, container_of(answer->frame->message, PodUsageResponse, base)));
}

int stats_call_begin(StatsCall *call, bool metrics)
{
        _cleanup_(stats_call_freep) StatsCall *owned = call;
        Bulkhead__ContainerdSandboxd__PodUsageRequest request = BULKHEAD__CONTAINERD_SANDBOXD__POD_USAGE_REQUEST__INIT;
        request.metrics = metrics;
        if (call->n_ids > 0) {
                call->pod_ids = calloc(call->n_ids, sizeof(*call->pod_ids));
                if (!call->pod_ids)
                        return error_origin(-ENOMEM);
                for (size_t i = 0; i < call->n_ids; i++)
                        call->pod_ids[i] = call->ids[i];
                request.n_pod_ids = call->n_ids;
                request.pod_ids = (char **)call->pod_ids;
        }
        int r = channel_call(sandboxd_containerd(call->sandboxd), ROW_CONTAINERD_SANDBOXD_POD_USAGE, &request.base, NULL, 0,
                             clock_monotonic_usec() + STATS_CONTAINERD_TIMEOUT, stats_call_on_answer, call, NULL);
        if (r < 0)
                return fold(r);
        (void)TAKE_PTR(owned);
        return 0;
}

int stats_call_new(StatsCall **ret, Sandboxd *sandboxd, Frame *frame, size_t n_ids,
                   int (*answer)(StatsCall *call, const PodUsageResponse *containers))
{
        _cleanup_(stats_call_freep) StatsCall *call = calloc(1, sizeof(*call));
        if (!call)
                return error_origin(-ENOMEM);
        call->ids = calloc(n_ids + 1, sizeof(*call->ids));
        if (!call->ids)
                return error_origin(-ENOMEM);
        call->sandboxd = sandboxd;
        call->answer = answer;
        call->frame = frame_keep(frame);
        *ret = TAKE_PTR(call);
        return 0;
}

static int stats_answer_one(StatsCall *call, const PodUsageResponse *containers)
{
        ReplyTo to = frame_reply_to(call->frame);
        Pod *pod = pods_find(call->sandboxd, call->ids[0]);
        if (!pod)
                return fold(reply_fail(to, GRPC_STATUS_NOT_FOUND, "pod %s does not exist any more", call->ids[0]));
        _cleanup_free_ StatsItem *item = calloc(1, sizeof(*item));
        _cleanup_free_ Runtime__V1__ContainerStats **rows = calloc(containers->n_containers + 1, sizeof(*rows));
        if (!item || !rows)
                return error_origin(-ENOMEM);
        (void)stats_fill(pod, containers, item, rows);
        Runtime__V1__PodSandboxStatsResponse response = RUNTIME__V1__POD_SANDBOX_STATS_RESPONSE__INIT;
        response.stats = &item->stats;
        return fold(reply_send(to, &response.base, NULL, 0));
}

int on_pod_sandbox_stats(void *userdata, Frame *frame)
{
        const Runtime__V1__PodSandboxStatsRequest *request = container_of(frame->message, Runtime__V1__PodSandboxStatsRequest, base);
        Pod *pod = pods_resolve(userdata, request->pod_sandbox_id);
        if (!pod)
                return fold(reply_fail(frame_reply_to(frame), GRPC_STATUS_NOT_FOUND, "pod %.80s does not exist", request->pod_sandbox_id));
        int r = stats_mend(pod);
        StatsCall *call = NULL;
        if (r == 0)
                r = stats_call_new(&call, userdata, frame, 1, stats_answer_one);
        if (r < 0)
                return fold(r);
        memcpy(call->ids[call->n_ids++], pod->id, sizeof(pod->id));
        return fold(stats_call_begin(call, false));
}

static bool stats_fits(const Pod *pod, const Runtime__V1__PodSandboxStatsFilter *asked)
{
        Runtime__V1__PodSandboxFilter filter = RUNTIME__V1__POD_SANDBOX_FILTER__INIT;
        if (pod->state != POD_STATE_READY)
                return false; /* it uses nothing any more */
        if (!asked)
                return true;
        filter.id = asked->id;
        filter.n_label_selector = asked->n_label_selector;
        filter.label_selector = (Runtime__V1__PodSandboxFilter__LabelSelectorEntry **)asked->label_selector;
        return status_fits(pod, &filter);
}
_Static_assert(sizeof(Runtime__V1__PodSandboxFilter__LabelSelectorEntry) == sizeof(Runtime__V1__PodSandboxStatsFilter__LabelSelectorEntry),
               "entries of maps");

static int stats_answer_list(StatsCall *call, const PodUsageResponse *containers)
{
        const Runtime__V1__ListPodSandboxStatsRequest *request =
                container_of(call->frame->message, Runtime__V1__ListPodSandboxStatsRequest, base);
        Runtime__V1__ListPodSandboxStatsResponse response = RUNTIME__V1__LIST_POD_SANDBOX_STATS_RESPONSE__INIT;
        size_t n = 0, n_rows = 0;
        list_for_each(i, &call->sandboxd->pods)
                n += stats_fits(container_of(i, Pod, link), request->filter);
        _cleanup_free_ StatsItem *items = calloc(n + 1, sizeof(*items));
        _cleanup_free_ Runtime__V1__PodSandboxStats **pointers = calloc(n + 1, sizeof(*pointers));
        _cleanup_free_ Runtime__V1__ContainerStats **rows = calloc(containers->n_containers + 1, sizeof(*rows));
        if (!items || !pointers || !rows)
                return error_origin(-ENOMEM);
        list_for_each(i, &call->sandboxd->pods) {
                Pod *pod = container_of(i, Pod, link);
                if (!stats_fits(pod, request->filter))
                        continue;
                StatsItem *item = &items[response.n_stats];
                n_rows += stats_fill(pod, containers, item, rows + n_rows);
                pointers[response.n_stats++] = &item->stats;
        }
        response.stats = pointers;
        return fold(reply_send(frame_reply_to(call->frame), &response.base, NULL, 0));
}

int on_list_pod_sandbox_stats(void *userdata, Frame *frame)
{
        Sandboxd *sandboxd = userdata;
        StatsCall *call = NULL;
        int r = stats_call_new(&call, sandboxd, frame, 0, stats_answer_list);
        if (r < 0)
                return fold(r);
        list_for_each(i, &sandboxd->pods) {
                r = stats_mend(container_of(i, Pod, link));
                if (r < 0) {
                        (void)stats_call_free(call);
                        return fold(r);
                }
        }
        return fold(stats_call_begin(call, false));
}
