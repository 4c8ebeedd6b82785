/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/update.h"

#include "ipc/edges/containerd-launch.rows.h"
#include "ipc/edges/gatewayd-containerd.rows.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "services/containerd/spec-parts.h"

#define UPDATE_WAITING_MAX 16 /* of one container; kubelets send one at a time */

struct Update {
        Operation operation;
        Container *container; /* borrowed; owns us */
        Update *next;         /* owned; waits for us */
        ReplyTo to;
        uint8_t *bytes; /* owned; the packed call */
        size_t n_bytes;
        DecodeArena arena;
        const Bulkhead__GatewaydContainerd__UpdateContainerResourcesCall *call; /* in the arena, as is the next one */
        const Runtime__V1__UpdateContainerResourcesRequest *request;
        Failure failure;
};

enum { UPDATE_RECORD, UPDATE_LAUNCH, UPDATE_N };
static const Step update_steps[UPDATE_N];
static int update_done(Operation *operation);

/* The limits as they are asked for, as CreateContainer would check and compose them. */
typedef struct UpdateSpec {
        Runtime__V1__ContainerMetadata metadata;
        Runtime__V1__LinuxContainerConfig limits;
        Runtime__V1__ContainerConfig config;
        Runtime__V1__CreateContainerRequest request;
        SpecInput input;
} UpdateSpec;

static void update_spec_init(UpdateSpec *spec, const Container *container, const Runtime__V1__LinuxContainerResources *resources)
{
        *spec = (UpdateSpec){.metadata = RUNTIME__V1__CONTAINER_METADATA__INIT,
                             .limits = RUNTIME__V1__LINUX_CONTAINER_CONFIG__INIT,
                             .config = RUNTIME__V1__CONTAINER_CONFIG__INIT,
                             .request = RUNTIME__V1__CREATE_CONTAINER_REQUEST__INIT};
        spec->metadata.name = container->name;
        spec->limits.resources = (Runtime__V1__LinuxContainerResources *)(uintptr_t)resources;
        spec->config.metadata = &spec->metadata;
        spec->config.linux = &spec->limits;
        spec->request.config = &spec->config;
        spec->input.request = &spec->request;
}

Update *update_free(Update *update)
{
        while (update) {
                Update *next = TAKE_PTR(update->next);
                operation_end(&update->operation);
                if (update->to.channel)
                        (void)reply_fail(update->to, GRPC_STATUS_ABORTED, "update container %s: it is being removed",
                                         update->operation.id);
                decode_arena_done(&update->arena);
                free(update->bytes);
                free(update);
                update = next;
        }
        return NULL;
}

static void update_freep(Update **update)
{
        (void)update_free(*update);
}

/* Takes bytes. UPDATE_E_CALL: they are not what gatewayd packs. */
enum { UPDATE_E_CALL = 1 };
static int update_new(Update **ret, Container *container, uint8_t *bytes, size_t n, ReplyTo to)
{
        _cleanup_free_ uint8_t *owned = bytes;
        _cleanup_(update_freep) Update *update = calloc(1, sizeof(*update));
        ProtobufCMessage *call = NULL, *request = NULL;

        if (!update)
                return error_origin(-ENOMEM);
        update->container = container;
        update->bytes = TAKE_PTR(owned);
        update->n_bytes = n;
        update->operation = (Operation){.noun = "update", .id = container->id, .base = container->containerd->base,
                                        .done = update_done, .fail = containerd_fail, .fail_userdata = container->containerd};
        decode_arena_init(&update->arena, 2 * decode_budget(n));
        int r = decode_message(&update->arena, &bulkhead__gatewayd_containerd__update_container_resources_call__descriptor, bytes, n,
                               &call);
        if (r < 0)
                return fold(r);
        if (r > 0)
                return UPDATE_E_CALL;
        update->call = container_of(call, Bulkhead__GatewaydContainerd__UpdateContainerResourcesCall, base);
        r = decode_message(&update->arena, &runtime__v1__update_container_resources_request__descriptor, update->call->request.data,
                           update->call->request.len, &request);
        if (r < 0)
                return fold(r);
        if (r > 0 || update->call->permit.len != sizeof(Permit))
                return UPDATE_E_CALL;
        update->request = container_of(request, Runtime__V1__UpdateContainerResourcesRequest, base);
        update->to = to;
        *ret = TAKE_PTR(update);
        return 0;
}

/* ---- what was applied, into the record ---- */

/* The limit on memory and swap together follows the one on memory; containerd-launch does the same (launch/render-update.c). */
static void update_merge_memory(Runtime__V1__LinuxContainerResources *limits, const Runtime__V1__LinuxContainerResources *asked)
{
        int64_t swap = limits->memory_swap_limit_in_bytes;

        if (asked->memory_swap_limit_in_bytes != 0)
                limits->memory_swap_limit_in_bytes = asked->memory_swap_limit_in_bytes;
        else if (asked->memory_limit_in_bytes != 0 && swap > 0 &&
                 (swap == limits->memory_limit_in_bytes || swap < asked->memory_limit_in_bytes))
                limits->memory_swap_limit_in_bytes = asked->memory_limit_in_bytes;
        if (asked->memory_limit_in_bytes != 0)
                limits->memory_limit_in_bytes = asked->memory_limit_in_bytes;
}

static int update_merge_hugepages(DecodeArena *arena, Runtime__V1__LinuxContainerResources *limits,
                                  const Runtime__V1__LinuxContainerResources *asked)
{
        Runtime__V1__HugepageLimit **rows = arena_array(arena, limits->n_hugepage_limits + asked->n_hugepage_limits, sizeof(*rows));
        size_t n = 0;

        for (size_t i = 0; rows && i < limits->n_hugepage_limits; i++)
                rows[n++] = limits->hugepage_limits[i];
        for (size_t i = 0; rows && i < asked->n_hugepage_limits; i++) {
                size_t at = 0;
                while (at < n && !str_equal(rows[at]->page_size, asked->hugepage_limits[i]->page_size))
                        at++;
                rows[at] = asked->hugepage_limits[i];
                n = MAX2(n, at + 1);
        }
        limits->hugepage_limits = rows;
        limits->n_hugepage_limits = n;
        return rows ? 0 : error_origin(-ENOMEM);
}

static int update_merge_unified(DecodeArena *arena, Runtime__V1__LinuxContainerResources *limits,
                                const Runtime__V1__LinuxContainerResources *asked)
{
        Runtime__V1__LinuxContainerResources__UnifiedEntry **rows =
                arena_array(arena, limits->n_unified + asked->n_unified, sizeof(*rows));
        size_t n = 0;

        for (size_t i = 0; rows && i < limits->n_unified; i++)
                rows[n++] = limits->unified[i];
        for (size_t i = 0; rows && i < asked->n_unified; i++) {
                size_t at = 0;
                while (at < n && !str_equal(rows[at]->key, asked->unified[i]->key))
                        at++;
                rows[at] = asked->unified[i];
                n = MAX2(n, at + 1);
        }
        limits->unified = rows;
        limits->n_unified = n;
        return rows ? 0 : error_origin(-ENOMEM);
}

/* What is not said stays. oom_score_adj belongs to processes, not to a cgroup: the one that they were started with stays. */
static int update_merge(DecodeArena *arena, Runtime__V1__LinuxContainerResources *limits,
                        const Runtime__V1__LinuxContainerResources *asked, bool keeps_hugepages)
{
        int r = 0;

        if (asked->cpu_period != 0)
                limits->cpu_period = asked->cpu_period;
        if (asked->cpu_quota != 0)
                limits->cpu_quota = asked->cpu_quota;
        if (asked->cpu_shares != 0)
                limits->cpu_shares = asked->cpu_shares;
        if (!str_is_empty(asked->cpuset_cpus))
                limits->cpuset_cpus = asked->cpuset_cpus;
        if (!str_is_empty(asked->cpuset_mems))
                limits->cpuset_mems = asked->cpuset_mems;
        update_merge_memory(limits, asked);
        if (!keeps_hugepages)
                r = update_merge_hugepages(arena, limits, asked);
        if (r == 0)
                r = update_merge_unified(arena, limits, asked);
        return r < 0 ? fold(r) : 0;
}

/* The spec with the limits that are in force, packed. */
static int update_pack_spec(Update *update, const Runtime__V1__LinuxContainerResources *limits, uint8_t **ret, size_t *ret_n)
{
        const ContainerRecord *record = &update->container->record;
        ProtobufCMessage *message = NULL;
        UpdateSpec asked;
        DecodeArena arena;

        update_spec_init(&asked, update->container, limits);
        decode_arena_init(&arena, 2 * decode_budget(record->n_spec));
        int r = decode_message(&arena, &bulkhead__runtime_spec__runtime_spec__descriptor, record->spec_bytes, record->n_spec, &message);
        if (r == 0) {
                RuntimeSpec *spec = container_of(message, RuntimeSpec, base);
                SpecBuild build = {.input = &asked.input, .arena = &arena, .spec = spec, .failure = &update->failure};
                r = spec_build_resources(&build);
                if (r == 0)
                        r = decode_pack(&spec->base, ret, ret_n);
        }
        decode_arena_done(&arena);
        return r < 0 ? fold(r) : r > 0 ? error_origin(-ENOMEM) : 0;
}

static int update_apply(Update *update)
{
        Container *container = update->container;
        ContainerRecord *record = &container->record;
        Runtime__V1__ContainerStatus status = *record->status;
        Runtime__V1__ContainerResources resources = RUNTIME__V1__CONTAINER_RESOURCES__INIT;
        Runtime__V1__LinuxContainerResources limits = RUNTIME__V1__LINUX_CONTAINER_RESOURCES__INIT;
        _cleanup_free_ uint8_t *status_bytes = NULL, *spec_bytes = NULL;
        size_t n_status = 0, n_spec = 0;

        if (status.resources && status.resources->linux)
                limits = *status.resources->linux;
        resources.linux = &limits;
        status.resources = &resources;
        /* runc's update leaves them as they are, so the record does. */
        bool keeps_hugepages = str_has_prefix(container->containerd->runtimes.states[container->runtime].version, "runc version");
        int r = update->request->linux ? update_merge(&update->arena, &limits, update->request->linux, keeps_hugepages) : 0;
        if (r == 0)
                r = update_pack_spec(update, &limits, &spec_bytes, &n_spec);
        if (r == 0)
                r = decode_pack(&status.base, &status_bytes, &n_status);
        if (r < 0)
                return fold(r);
        uint8_t *config_bytes = TAKE_PTR(record->config_bytes);
        r = container_set_record(container, TAKE_PTR(status_bytes), n_status, TAKE_PTR(spec_bytes), n_spec, config_bytes,
                                 record->n_config);
        if (r == 0)
                r = container_store_record(&container->containerd->store, container, container->state);
        if (r == STORE_E_FULL) {
                /* The call stays in the row: after a restart it is done again. */
                log_warning("container %s: its new limits are in force, but not recorded: the disk of the state directory is full",
                            container->id);
                r = 0;
        }
        return r < 0 ? fold(r) : r > 0 ? error_origin(-ENOMEM) : 0;
}

/* ---- steps ---- */

static const Step *update_record(Operation *operation)
{
        Update *update = container_of(operation, Update, operation);
        Container *container = update->container;

        int r = container_store_update(&container->containerd->store, container, update->bytes, update->n_bytes);
        if (r < 0)
                return operation_break(operation, fold(r));
        if (r > 0) {
                (void)failure_set(&update->failure, GRPC_STATUS_RESOURCE_EXHAUSTED,
                                  "update container %s (\"%.80s\"): the disk of the state directory is full; its limits are as before",
                                  container->id, container->name);
                return STEP_DONE;
        }
        return &update_steps[UPDATE_LAUNCH];
}

static const Step *update_launch(Operation *operation)
{
        Update *update = container_of(operation, Update, operation);
        Container *container = update->container;
        LaunchUpdate verb = {.runtime = container->runtime};
        _cleanup_fd_ int request_fd = -1;

        memcpy(&verb.permit, update->call->permit.data, sizeof(verb.permit));
        int r = fd_memfd_sealed("request", update->call->request.data, update->call->request.len, &request_fd);
        if (r < 0)
                return operation_break(operation, fold(r));
        return operation_ask_flat(operation, container->containerd->launch, ROW_CONTAINERD_LAUNCH_LAUNCH_UPDATE, &verb, &request_fd, 1,
                                  OPERATION_TIMEOUT_USEC);
}

static const Step *update_on_launch(Operation *operation, const Answer *answer)
{
        Update *update = container_of(operation, Update, operation);
        Container *container = update->container;
        int r;

        if (answer->outcome) {
                (void)failure_set(&update->failure, answer->code, "update container %s (\"%.80s\"): its limits are as before: %s",
                                  container->id, container->name, answer->text);
                r = container_store_update(&container->containerd->store, container, NULL, 0);
        } else {
                log_info("container %s (%s): its limits have changed", container->id, container->name);
                r = update_apply(update);
        }
        return r < 0 ? operation_break(operation, fold(r)) : STEP_DONE;
}

static const Step update_steps[UPDATE_N] = {
        [UPDATE_RECORD] = {.name = "record the update", .run = update_record},
        [UPDATE_LAUNCH] = {.name = "OCI runtime", .run = update_launch, .answered = update_on_launch},
};

static int update_done(Operation *operation)
{
        Update *update = container_of(operation, Update, operation);
        Container *container = update->container;
        Runtime__V1__UpdateContainerResourcesResponse response = RUNTIME__V1__UPDATE_CONTAINER_RESOURCES_RESPONSE__INIT;
        int r = 0;

        if (!update->to.channel && failure_is_set(&update->failure))
                log_warning("%s", update->failure.text);
        if (update->to.channel)
                r = failure_is_set(&update->failure) ? reply_fail(update->to, update->failure.code, "%s", update->failure.text)
                                                     : reply_send(update->to, &response.base, NULL, 0);
        update->to = REPLY_TO_NULL;
        Update *next = container->update = TAKE_PTR(update->next);
        (void)update_free(update);
        if (r == 0 && next)
                r = operation_run(&next->operation, &update_steps[UPDATE_RECORD]);
        return r < 0 ? fold(r) : 0;
}

/* Its process is there, or will be. */
static bool update_is_possible(const Container *container)
{
        return (container->state == CONTAINER_STATE_CREATED || container->state == CONTAINER_STATE_STARTING ||
                container->state == CONTAINER_STATE_RUNNING) &&
               !container_is_unstartable(container) && !container->is_adopted && !container->exit_seen && !container->remove;
}

int update_request(Container *container, Frame *frame)
{
        ReplyTo to = frame_reply_to(frame);
        _cleanup_(update_freep) Update *update = NULL;
        uint8_t *bytes = NULL;
        size_t n = 0, n_waiting = 0;
        Failure failure = {0};

        if (!update_is_possible(container))
                return reply_fail(to, GRPC_STATUS_FAILED_PRECONDITION,
                                  "update container %s (\"%.80s\"): it is %s%s; only one that is created or running has limits that can "
                                  "change", container->id, container->name, container_state_text(container),
                                  container->remove ? " and being removed" : "");
        int r = decode_pack(frame->message, &bytes, &n);
        if (r == 0)
                r = update_new(&update, container, bytes, n, to);
        if (r < 0)
                return fold(r);
        if (r > 0 || !update)
                return reply_fail(to, GRPC_STATUS_INTERNAL, "update container %s: the call came without a request or a permit",
                                  container->id);
        if (update->request->linux) {
                UpdateSpec asked;
                update_spec_init(&asked, container, update->request->linux);
                if (spec_check_resources(&asked.input, &failure)) {
                        update->to = REPLY_TO_NULL;
                        return reply_fail(to, failure.code, "update %s", failure.text);
                }
        }
        Update **last = &container->update;
        for (; *last; last = &(*last)->next)
                n_waiting++;
        if (n_waiting >= UPDATE_WAITING_MAX) {
                update->to = REPLY_TO_NULL;
                return reply_fail(to, GRPC_STATUS_RESOURCE_EXHAUSTED, "update container %s: %zu updates wait already; try again",
                                  container->id, n_waiting);
        }
        *last = TAKE_PTR(update);
        if (n_waiting == 0)
                r = operation_run(&container->update->operation, &update_steps[UPDATE_RECORD]);
        return r < 0 ? fold(r) : 0;
}

int update_again(Container *container)
{
        if (!container->update_bytes || container->update)
                return 0;
        int r = update_new(&container->update, container, TAKE_PTR(container->update_bytes), container->n_update_bytes, REPLY_TO_NULL);
        if (r == UPDATE_E_CALL) {
                log_warning("container %s: the update that was under way cannot be read; its limits may be between two", container->id);
                return 0;
        }
        if (r == 0)
                r = operation_run(&container->update->operation, &update_steps[UPDATE_LAUNCH]);
        return r < 0 ? fold(r) : 0;
}
