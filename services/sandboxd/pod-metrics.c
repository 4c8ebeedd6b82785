/* SPDX-License-Identifier: Apache-2.0 */

/* Metrics of pods and their containers, in pages: a message on an edge has at most DECODE_ELEMENTS_MAX elements. A page ends where
 * it is full, be it between two pods or inside one, and says where to go on; gatewayd puts the parts together. */

#include "services/sandboxd/stats.h"

#include "ipc/cgroup-path.h"
#include "ipc/edges/gatewayd-sandboxd.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "services/sandboxd/handlers.h"
#include "services/sandboxd/metric.h"

#define POD_METRICS_PER_PAGE 48 /* pods and containers; a container has some 600 elements */
#define POD_METRICS_BYTES_MAX (32 * 1024 * 1024)

static int pod_metrics_on_announced(void *userdata, const Answer *answer)
{
        return 0; /* whoever asks for metrics is answered with what there is then */
}

/* Who asks which metrics there are will ask for them: containerd opens the files that only they need. */
static int pod_metrics_announce(Sandboxd *sandboxd)
{
        Bulkhead__ContainerdSandboxd__PodUsageRequest request = BULKHEAD__CONTAINERD_SANDBOXD__POD_USAGE_REQUEST__INIT;
        char *none = (char *)protobuf_c_empty_string;
        request.metrics = true;
        request.n_pod_ids = 1;
        request.pod_ids = &none;
        return fold(channel_call(sandboxd_containerd(sandboxd), ROW_CONTAINERD_SANDBOXD_POD_USAGE, &request.base, NULL, 0,
                                 clock_monotonic_usec() + STATS_CONTAINERD_TIMEOUT, pod_metrics_on_announced, NULL, NULL));
}

int on_list_metric_descriptors(void *userdata, Frame *frame)
{
        DecodeArena arena;
        Runtime__V1__ListMetricDescriptorsResponse response = RUNTIME__V1__LIST_METRIC_DESCRIPTORS_RESPONSE__INIT;
        int r = pod_metrics_announce(userdata);
        if (r < 0)
                return fold(r);
        decode_arena_init(&arena, POD_METRICS_BYTES_MAX);
        r = metric_descriptors(&arena, &response.descriptors, &response.n_descriptors)
                        ? reply_send(frame_reply_to(frame), &response.base, NULL, 0)
                        : error_origin(-ENOMEM);
        decode_arena_done(&arena);
        return r < 0 ? fold(r) : 0;
}

static char *pod_metrics_cgroup(DecodeArena *arena, const Pod *pod, const char *container_id)
{
        char *path = decode_arena_alloc(arena, CGROUP_PATH_MAX);
        if (path && !(container_id ? cgroup_path_compose(path, stats_is_slice(pod), pod->permit.cgroup_parent, container_id)
                                   : cgroup_path_parent(path, stats_is_slice(pod), pod->permit.cgroup_parent)))
                path[0] = '\0';
        return path;
}

/* One page: pods and containers in the order of their ids, until it is full. */
typedef struct MetricsPage {
        DecodeArena arena;
        const PodUsageResponse *containers; /* borrowed */
        const char *state_dir;              /* borrowed */
        size_t n;                           /* pods and containers so far */
        const char *last_container;         /* borrowed; where the last pod was cut; NULL: it is told wholly */
        bool is_exhausted;                  /* the arena is */
} MetricsPage;

static int pod_metrics_compare_usage(const void *a, const void *b)
{
        const Bulkhead__ContainerdSandboxd__ContainerUsage *const *x = a, *const *y = b;
        return strcmp((*x)->stats->attributes->id, (*y)->stats->attributes->id);
}

/* The containers of a pod behind an id, in order: what containerd sent of others, or without what metrics need, is not told. */
static size_t pod_metrics_usages_of(const MetricsPage *page, const Pod *pod, const char *after, const Bulkhead__ContainerdSandboxd__ContainerUsage **ret)
{
        size_t n = 0;
        for (size_t i = 0; i < page->containers->n_containers; i++) {
                const Bulkhead__ContainerdSandboxd__ContainerUsage *usage = page->containers->containers[i];
                const Runtime__V1__ContainerAttributes *attributes = usage->stats ? usage->stats->attributes : NULL;
                if (str_equal(usage->pod_id, pod->id) && usage->figures && attributes && attributes->metadata && strcmp(attributes->id, after) > 0)
                        ret[n++] = usage;
        }
        qsort(ret, n, sizeof(*ret), pod_metrics_compare_usage);
        return n;
}

static bool pod_metrics_fill_container(MetricsPage *page, const Pod *pod, MetricLabels *labels, const Bulkhead__ContainerdSandboxd__ContainerUsage *usage,
                                 Runtime__V1__ContainerMetrics **ret)
{
        const Runtime__V1__ContainerAttributes *attributes = usage->stats->attributes;
        MetricList list = {.arena = &page->arena};
        Runtime__V1__ContainerMetrics *metrics = decode_arena_alloc(&page->arena, sizeof(*metrics));
        labels->container = attributes->metadata->name;
        labels->id = pod_metrics_cgroup(&page->arena, pod, attributes->id);
        labels->image = usage->figures->image;
        labels->name = attributes->id;
        metric_add_container(&list, labels, page->state_dir, usage);
        if (!metrics || list.is_full)
                return false;
        runtime__v1__container_metrics__init(metrics);
        metrics->container_id = attributes->id;
        metrics->n_metrics = list.n;
        metrics->metrics = list.items;
        *ret = metrics;
        return true;
}

/* after: NULL for the whole pod, else the container that was told last. */
static void pod_metrics_fill(MetricsPage *page, const Pod *pod, const char *after, Runtime__V1__PodSandboxMetrics *to)
{
        const Runtime__V1__PodSandboxMetadata *metadata = pod->request->config->metadata;
        MetricList list = {.arena = &page->arena};
        MetricLabels labels = {.container = "POD", .id = pod_metrics_cgroup(&page->arena, pod, NULL), .image = "", .name = pod->id,
                               .namespace_ = metadata->namespace_, .pod = metadata->name};
        UsageInterfaces interfaces = {0};
        if (!after)
                stats_read_interfaces(pod, &interfaces);
        metric_add_interfaces(&list, &labels, &interfaces);
        runtime__v1__pod_sandbox_metrics__init(to);
        to->pod_sandbox_id = (char *)pod->id;
        to->n_metrics = list.n;
        to->metrics = list.items;
        const Bulkhead__ContainerdSandboxd__ContainerUsage **usages =
                decode_arena_alloc(&page->arena, (page->containers->n_containers + 1) * sizeof(void *));
        to->container_metrics = decode_arena_alloc(&page->arena, (POD_METRICS_PER_PAGE + 1) * sizeof(void *));
        page->is_exhausted = !usages || !to->container_metrics || list.is_full;
        page->n++;
        size_t n = page->is_exhausted ? 0 : pod_metrics_usages_of(page, pod, after ? after : "", usages);
        for (size_t i = 0; i < n && !page->is_exhausted && !page->last_container; i++) {
                page->is_exhausted = !pod_metrics_fill_container(page, pod, &labels, usages[i], &to->container_metrics[to->n_container_metrics]);
                to->n_container_metrics++;
                if (++page->n >= POD_METRICS_PER_PAGE && i + 1 < n)
                        page->last_container = usages[i]->stats->attributes->id;
        }
}

static int pod_metrics_answer(StatsCall *call, const PodUsageResponse *containers)
{
        const Bulkhead__GatewaydSandboxd__PodMetricsRequest *request =
                container_of(call->frame->message, Bulkhead__GatewaydSandboxd__PodMetricsRequest, base);
        Bulkhead__GatewaydSandboxd__PodMetricsResponse response = BULKHEAD__GATEWAYD_SANDBOXD__POD_METRICS_RESPONSE__INIT;
        _cleanup_free_ Runtime__V1__PodSandboxMetrics *items = calloc(call->n_ids + 1, sizeof(*items));
        _cleanup_free_ Runtime__V1__PodSandboxMetrics **rows = calloc(call->n_ids + 1, sizeof(*rows));
        MetricsPage page = {.containers = containers, .state_dir = service_config(call->sandboxd->service)->state_dir};
        size_t i = 0;
        if (!items || !rows)
                return error_origin(-ENOMEM);
        decode_arena_init(&page.arena, POD_METRICS_BYTES_MAX);
        response.pod_metrics = rows;
        for (; i < call->n_ids && page.n < POD_METRICS_PER_PAGE && !page.is_exhausted; i++) {
                const Pod *pod = pods_find(call->sandboxd, call->ids[i]);
                bool is_rest = *request->after_container && str_equal(call->ids[i], request->after);
                if (!pod || pod->state != POD_STATE_READY)
                        continue;
                pod_metrics_fill(&page, pod, is_rest ? request->after_container : NULL, &items[response.n_pod_metrics]);
                rows[response.n_pod_metrics] = &items[response.n_pod_metrics];
                response.n_pod_metrics++;
        }
        if (i > 0 && (call->more || i < call->n_ids || page.last_container))
                response.next = call->ids[i - 1];
        if (page.last_container)
                response.next_container = (char *)page.last_container;
        ReplyTo to = frame_reply_to(call->frame);
        int r = !page.is_exhausted ? reply_send(to, &response.base, NULL, 0)
                                   : reply_fail(to, GRPC_STATUS_RESOURCE_EXHAUSTED, "pod_metrics: the metrics of %zu pods need more than %d MiB",
                                                call->n_ids, POD_METRICS_BYTES_MAX >> 20);
        decode_arena_done(&page.arena);
        return r < 0 ? fold(r) : 0;
}

static int pod_metrics_compare(const void *a, const void *b)
{
        return strcmp((*(const Pod *const *)a)->id, (*(const Pod *const *)b)->id);
}

static size_t pod_metrics_n_leases(const Pod *pod)
{
        size_t n = 0;
        list_for_each(i, &pod->leases)
                n++;
        return n;
}

int on_pod_metrics(void *userdata, Frame *frame)
{
        Sandboxd *sandboxd = userdata;
        const Bulkhead__GatewaydSandboxd__PodMetricsRequest *request =
                container_of(frame->message, Bulkhead__GatewaydSandboxd__PodMetricsRequest, base);
        size_t n = 0, n_containers = 0;
        list_for_each(i, &sandboxd->pods)
                n++;
        _cleanup_free_ Pod **pods = calloc(n + 1, sizeof(*pods));
        if (!pods)
                return error_origin(-ENOMEM);
        n = 0;
        list_for_each(i, &sandboxd->pods) {
                Pod *pod = container_of(i, Pod, link);
                int order = strcmp(pod->id, request->after);
                if (pod->state == POD_STATE_READY && (order > 0 || (order == 0 && *request->after_container)))
                        pods[n++] = pod;
        }
        qsort(pods, n, sizeof(*pods), pod_metrics_compare);
        if (n == 0) {
                Bulkhead__GatewaydSandboxd__PodMetricsResponse response = BULKHEAD__GATEWAYD_SANDBOXD__POD_METRICS_RESPONSE__INIT;
                return fold(reply_send(frame_reply_to(frame), &response.base, NULL, 0));
        }
        StatsCall *call = NULL;
        int r = stats_call_new(&call, sandboxd, frame, n, pod_metrics_answer);
        for (size_t i = 0; r == 0 && i < n; i++) {
                n_containers += 1 + pod_metrics_n_leases(pods[i]);
                call->more = call->n_ids > 0 && n_containers > POD_METRICS_PER_PAGE;
                if (call->more)
                        break;
                r = stats_mend(pods[i]);
                memcpy(call->ids[call->n_ids++], pods[i]->id, sizeof(pods[i]->id));
        }
        if (r < 0) {
                (void)stats_call_free(call);
                return fold(r);
        }
        return fold(stats_call_begin(call, true));
}
