/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/container.h"

#include "ipc/edges/runtime-spec.pb-c.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/log.h"
#include "services/containerd/adoption.h"
#include "services/containerd/attach.h"
#include "services/containerd/checkpoint.h"
#include "services/containerd/containerd.h"
#include "services/containerd/create.h"
#include "services/containerd/exit.h"
#include "services/containerd/log-link.h"
#include "services/containerd/notice.h"
#include "services/containerd/remove.h"
#include "services/containerd/shim-link.h"
#include "services/containerd/start.h"
#include "services/containerd/stats.h"
#include "services/containerd/stop-signal.h"
#include "services/containerd/stop.h"
#include "services/containerd/update.h"
#include <assert.h>
#include <signal.h>

static const struct {
        const char *name;
        uint32_t predecessors; /* 1 << ContainerState */
        bool has_notice;       /* whoever listens is told */
        Runtime__V1__ContainerEventType notice;
} container_states[CONTAINER_STATE_N] = {
        [CONTAINER_STATE_CREATING] = {.name = "creating"},
        [CONTAINER_STATE_CREATED] = {.name = "created", .predecessors = 1 << CONTAINER_STATE_CREATING, .has_notice = true,
                                     .notice = RUNTIME__V1__CONTAINER_EVENT_TYPE__CONTAINER_CREATED_EVENT},
        [CONTAINER_STATE_STARTING] = {.name = "starting", .predecessors = 1 << CONTAINER_STATE_CREATED},
        [CONTAINER_STATE_RUNNING] = {.name = "running", .predecessors = 1 << CONTAINER_STATE_STARTING, .has_notice = true,
                                     .notice = RUNTIME__V1__CONTAINER_EVENT_TYPE__CONTAINER_STARTED_EVENT},
        [CONTAINER_STATE_EXITED] = {.name = "exited",
                                    .predecessors = 1 << CONTAINER_STATE_CREATED | 1 << CONTAINER_STATE_STARTING |
                                                    1 << CONTAINER_STATE_RUNNING,
                                    .has_notice = true, .notice = RUNTIME__V1__CONTAINER_EVENT_TYPE__CONTAINER_STOPPED_EVENT},
        [CONTAINER_STATE_UNKNOWN] = {.name = "unknown"},
};

const char *container_state_name(ContainerState state)
{
        return (unsigned)state < CONTAINER_STATE_N ? container_states[state].name : "invalid";
}

int container_new(Container **ret, Containerd *containerd, const char *id, const char *pod_id, const char *name,
                  uint32_t attempt)
{
        _cleanup_(container_freep) Container *container = calloc(1, sizeof(*container));

        if (!container)
                return error_origin(-ENOMEM);
        container->containerd = containerd;
        container->pidfd = -1;
        container->log_streams = LOG_STREAMS_NULL;
        (void)str_copy(container->id, sizeof(container->id), id);
        (void)str_copy(container->pod_id, sizeof(container->pod_id), pod_id);
        container->attempt = attempt;
        container->name = strdup(name);
        if (!container->name)
                return error_origin(-ENOMEM);
        *ret = TAKE_PTR(container);
        return 0;
}

static void container_record_done(ContainerRecord *record)
{
        decode_arena_done(&record->arena);
        free(TAKE_PTR(record->status_bytes));
        free(TAKE_PTR(record->spec_bytes));
        free(TAKE_PTR(record->config_bytes));
        record->status = NULL;
}

Container *container_free(Container *container)
{
        if (!container)
                return NULL;
        container->create = create_free(container->create);
        container->start = start_free(container->start);
        container->stop = stop_free(container->stop);
        container->exit = exit_free(container->exit);
        container->remove = remove_free(container->remove);
        container->update = update_free(container->update);
        container->checkpoint = checkpoint_free(container->checkpoint);
        container->log_link = log_link_free(container->log_link);
        container->log_reopen = log_reopen_free(container->log_reopen);
        container->attach = attach_free(container->attach);
        container->adoption = adoption_free(container->adoption);
        container->stats = stats_free(container->stats);
        container->shim = shim_link_free(container->shim);
        container->pidfd = fd_close(container->pidfd);
        log_streams_done(&container->log_streams);
        container_record_done(&container->record);
        for (size_t i = 0; i < container->n_successors; i++)
                (void)frame_free(container->successors[i]);
        free(container->successors);
        free(container->update_bytes);
        free(container->name);
        free(container->reason);
        free(container->message);
        free(container);
        return NULL;
}

/* What later verbs need of the spec, so that it need not stay decoded. */
static int container_read_spec(ContainerRecord *record)
{
        DecodeArena arena;
        ProtobufCMessage *message = NULL;

        decode_arena_init(&arena, decode_budget(record->n_spec));
        int r = decode_message(&arena, &bulkhead__runtime_spec__runtime_spec__descriptor, record->spec_bytes, record->n_spec,
                               &message);
        if (r == 0) {
                const Bulkhead__RuntimeSpec__RuntimeSpec *spec = container_of(message, Bulkhead__RuntimeSpec__RuntimeSpec, base);
                record->privileged = spec->privileged;
                if (spec->process) {
                        record->uid = spec->process->uid;
                        record->gid = spec->process->gid;
                        record->no_new_privileges = spec->process->no_new_privileges;
                        record->tty = spec->process->terminal;
                }
        }
        decode_arena_done(&arena);
        return r ? CONTAINER_E_RECORD : 0;
}

int container_set_record(Container *container, uint8_t *status, size_t n_status, uint8_t *spec, size_t n_spec, uint8_t *config,
                         size_t n_config)
{
        ContainerRecord *record = &container->record;
        ProtobufCMessage *message = NULL;

        container_record_done(record);
        *record = (ContainerRecord){.status_bytes = status, .n_status = n_status, .spec_bytes = spec, .n_spec = n_spec,
                                    .config_bytes = config, .n_config = n_config};
        decode_arena_init(&record->arena, decode_budget(n_status));
        if (decode_message(&record->arena, &runtime__v1__container_status__descriptor, status, n_status, &message) != 0)
                return CONTAINER_E_RECORD;
        record->status = container_of(message, Runtime__V1__ContainerStatus, base);
        if (!record->status->metadata || !record->status->image)
                return CONTAINER_E_RECORD;
        record->stop_signal = stop_signal_of_cri(record->status->stop_signal);
        if (record->stop_signal == 0)
                record->stop_signal = SIGTERM;
        return container_read_spec(record);
}

static void container_change_state(Container *container, ContainerState state, const char *why)
{
        assert(container_states[state].predecessors & (1U << container->state));
        log_info("container %s (%s): %s -> %s: %s", container->id, container->name, container_states[container->state].name,
                 container_states[state].name, why);
        container->state = state;
}

int container_set_state(Container *container, ContainerState state, const char *why)
{
        container_change_state(container, state, why);
        int r = container_store_save(&container->containerd->store, container);
        if (r == 0 && container_states[state].has_notice)
                r = notice_send(container, container_states[state].notice);
        return r < 0 ? fold(r) : 0;
}

int container_enter_state(Container *container, ContainerState state, const char *why)
{
        container_change_state(container, state, why);
        int r = container_states[state].has_notice ? notice_send(container, container_states[state].notice) : 0;
        return r < 0 ? fold(r) : 0;
}

static int container_keep(char **to, const char *s)
{
        free(TAKE_PTR(*to));
        if (str_is_empty(s))
                return 0;
        *to = strdup(s);
        return *to ? 0 : error_origin(-ENOMEM);
}

int container_set_exited(Container *container)
{
        const ContainerEnd *end = &container->end;

        container->exit_code = end->exit_code;
        container->finished_nsec = MAX2(end->finished_nsec, container->started_nsec);
        int r = container_keep(&container->reason, end->reason ? end->reason : end->exit_code == 0 ? "Completed" : "Error");
        if (r == 0)
                r = container_keep(&container->message, end->message);
        if (r < 0)
                return fold(r);
        return container_set_state(container, CONTAINER_STATE_EXITED, container->reason);
}

int container_set_message(Container *container, const char *message)
{
        int r = container_keep(&container->message, message);

        return r < 0 ? fold(r) : 0;
}

const char *container_state_text(const Container *container)
{
        bool is_known = !container->is_adopted || container->state == CONTAINER_STATE_EXITED;
        return container_state_name(is_known ? container->state : CONTAINER_STATE_UNKNOWN);
}

bool container_is_unstartable(const Container *container)
{
        return container->state == CONTAINER_STATE_CREATED && container->pid == 0 && container->message;
}

bool container_is_in_making(const Container *container)
{
        bool is_early = container->state == CONTAINER_STATE_CREATED || container->state == CONTAINER_STATE_STARTING;

        return is_early && (container->create || (attach_is_open(container) && container->pid == 0));
}

Runtime__V1__ContainerState container_cri_state(const Container *container)
{
        switch (container->state) {
        case CONTAINER_STATE_CREATING:
        case CONTAINER_STATE_CREATED:
        case CONTAINER_STATE_STARTING:
                return RUNTIME__V1__CONTAINER_STATE__CONTAINER_CREATED;
        case CONTAINER_STATE_RUNNING:
                return container->is_adopted ? RUNTIME__V1__CONTAINER_STATE__CONTAINER_UNKNOWN
                                             : RUNTIME__V1__CONTAINER_STATE__CONTAINER_RUNNING;
        case CONTAINER_STATE_EXITED:
                return RUNTIME__V1__CONTAINER_STATE__CONTAINER_EXITED;
        case CONTAINER_STATE_UNKNOWN:
        case CONTAINER_STATE_N:
                break;
        }
        return RUNTIME__V1__CONTAINER_STATE__CONTAINER_UNKNOWN;
}
