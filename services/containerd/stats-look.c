/* SPDX-License-Identifier: Apache-2.0 */

/* What is looked at by hands: writable layers (a jail of imaged-tree walks them) and the processes' file descriptors. One container
 * at a time of each kind; a look begins when somebody asks for statistics and goes on with the next container that is due for as
 * long as the asking is fresh. */

#include "services/containerd/stats.h"

#include "ipc/edges/containerd-imaged.rows.h"
#include "ipc/edges/containerd-setup.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/log.h"
#include <sys/statfs.h>

#define LOOK_FRESH_USEC (20 * USEC_PER_SEC)
#define LOOK_PROCESSES_USEC (10 * USEC_PER_SEC)
#define LOOK_TIMEOUT_USEC (60 * USEC_PER_SEC)
#define LOOK_MEASURE_FIRST_USEC (10 * USEC_PER_SEC) /* while a layer changes; the kubelet looks every 10 s */
#define LOOK_MEASURE_LAST_USEC (60 * USEC_PER_SEC)

static int look_measure(Containerd *containerd);
static int look_processes(Containerd *containerd);

/* The container that the answer is about, if it is still there. */
static Container *look_of(const Containerd *containerd, const char *id)
{
        Container *container = container_table_find(&containerd->containers, id);
        return container && container->stats ? container : NULL;
}

static void look_at_filesystem(Containerd *containerd)
{
        struct statfs fs;

        if (statfs("/state", &fs) == 0)
                containerd->filesystem = (Filesystem){.bytes = (uint64_t)fs.f_blocks * (uint64_t)fs.f_bsize, .inodes = fs.f_files,
                                                      .inodes_free = fs.f_ffree};
}

static void look_take_measure(Containerd *containerd, Stats *stats, const Answer *answer)
{
        const Bulkhead__ContainerdImaged__WritableMeasureResponse *measured =
                container_of(answer->frame->message, Bulkhead__ContainerdImaged__WritableMeasureResponse, base);

        bool is_same = stats->measured_nsec && stats->bytes == measured->bytes && stats->inodes == measured->inodes;
        stats->bytes = measured->bytes;
        stats->inodes = measured->inodes;
        stats->measured_nsec = clock_realtime_nsec();
        stats->measure_interval_usec = is_same ? MIN2(MAX2(stats->measure_interval_usec, LOOK_MEASURE_FIRST_USEC) * 2, LOOK_MEASURE_LAST_USEC)
                                              : LOOK_MEASURE_FIRST_USEC;
        /* The file system has just answered a whole walk, so it will answer this. */
        look_at_filesystem(containerd);
}

static int look_on_measured(void *userdata, const Answer *answer)
{
        Containerd *containerd = userdata;
        Container *container = look_of(containerd, containerd->measure.id);

        containerd->measure.call = 0;
        if (container) {
                if (answer->outcome == 0)
                        look_take_measure(containerd, container->stats, answer);
                else
                        log_debug("container %s: its writable layer is not measured: %s", container->id, answer->text);
                container->stats->measure_usec = clock_monotonic_usec() + MAX2(container->stats->measure_interval_usec, LOOK_MEASURE_FIRST_USEC);
        }
        int r = look_measure(containerd);
        return r < 0 ? fold(r) : 0;
}

static int look_measure(Containerd *containerd)
{
        Bulkhead__ContainerdImaged__WritableMeasureRequest request = BULKHEAD__CONTAINERD_IMAGED__WRITABLE_MEASURE_REQUEST__INIT;
        StatsLook *look = &containerd->measure;
        uint64_t now = clock_monotonic_usec();
        const Container *due = NULL;

        if (look->call || now > look->wanted_usec + LOOK_FRESH_USEC)
                return 0;
        for (size_t i = 0; i < containerd->containers.n; i++) {
                const Container *container = containerd->containers.items[i];
                if (container->state == CONTAINER_STATE_CREATING || container->remove || !container->stats || container->stats->measure_usec > now)
                        continue;
                if (!due || container->stats->measure_usec < due->stats->measure_usec)
                        due = container;
        }
        if (!due)
                return 0;
        (void)str_copy(look->id, sizeof(look->id), due->id);
        request.container_id = look->id;
        int r = channel_call(containerd->imaged, ROW_CONTAINERD_IMAGED_WRITABLE_MEASURE, &request.base, NULL, 0, now + LOOK_TIMEOUT_USEC,
                             look_on_measured, containerd, &look->call);
        return r < 0 ? fold(r) : 0;
}

static int look_on_processes(void *userdata, const Answer *answer)
{
        Containerd *containerd = userdata;
        Container *container = look_of(containerd, containerd->processes.id);

        containerd->processes.call = 0;
        if (container) {
                container->stats->look_usec = clock_monotonic_usec() + LOOK_PROCESSES_USEC;
                if (answer->outcome == 0) {
                        container->stats->processes = ((const UsageOpened *)answer->frame->flat)->processes;
                        container->stats->processes_nsec = clock_realtime_nsec();
                }
        }
        int r = look_processes(containerd);
        return r < 0 ? fold(r) : 0;
}

static int look_processes(Containerd *containerd)
{
        StatsLook *look = &containerd->processes;
        UsageOpen verb = {.look = 1};
        uint64_t now = clock_monotonic_usec();
        const Container *due = NULL;

        if (look->call || now > look->wanted_usec + LOOK_FRESH_USEC)
                return 0;
        for (size_t i = 0; i < containerd->containers.n; i++) {
                const Container *container = containerd->containers.items[i];
                if (container->state != CONTAINER_STATE_RUNNING || container->exit_seen || !container->stats || container->stats->look_usec > now)
                        continue;
                if (!due || container->stats->look_usec < due->stats->look_usec)
                        due = container;
        }
        if (!due)
                return 0;
        (void)str_copy(look->id, sizeof(look->id), due->id);
        (void)str_copy(verb.id, sizeof(verb.id), due->id);
        int r = channel_call_flat(containerd->setup, ROW_CONTAINERD_SETUP_USAGE_OPEN, &verb, NULL, 0, now + LOOK_TIMEOUT_USEC,
                                  look_on_processes, containerd, &look->call);
        return r < 0 ? fold(r) : 0;
}

int stats_look(Containerd *containerd, bool metrics)
{
        uint64_t now = clock_monotonic_usec();

        containerd->measure.wanted_usec = now;
        int r = look_measure(containerd);
        if (r == 0 && metrics) {
                containerd->processes.wanted_usec = now;
                r = look_processes(containerd);
        }
        return r < 0 ? fold(r) : 0;
}

void stats_look_begin(Containerd *containerd)
{
        containerd->filesystem = (Filesystem){UINT64_MAX, UINT64_MAX, UINT64_MAX};
        look_at_filesystem(containerd);
}

void stats_look_end(Containerd *containerd)
{
        if (containerd->measure.call)
                channel_cancel(containerd->imaged, containerd->measure.call);
        if (containerd->processes.call)
                channel_cancel(containerd->setup, containerd->processes.call);
        containerd->measure.call = containerd->processes.call = 0;
}
