/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/checkpoint.h"

#include "ipc/edges/containerd-imaged.rows.h"
#include "ipc/edges/containerd-launch.rows.h"
#include "ipc/edges/gatewayd-containerd.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "services/containerd/spec.h"

#define CHECKPOINT_DEFAULT_SEC 120
#define CHECKPOINT_ANSWER_USEC (UINT64_C(5) * 1000000) /* for what the hand says of its own deadline */
#define CHECKPOINT_LOST_MAX 3
#define CHECKPOINT_SETTLE_USEC (UINT64_C(500) * 1000)
#define CHECKPOINT_SETTLE_MAX 10

struct Checkpoint {
        Operation operation;
        Container *container; /* borrowed; owns us */
        Frame *call;          /* owned, kept */
        ReplyTo to;
        uint32_t owner_id;
        uint64_t deadline_usec; /* CLOCK_MONOTONIC */
        int stream_fd;          /* owned; what imaged tells */
        unsigned n_lost, n_settled;
        Failure failure;
};

enum { CHECKPOINT_EXPORT, CHECKPOINT_LAUNCH, CHECKPOINT_SETTLE, CHECKPOINT_N };
static const Step checkpoint_steps[CHECKPOINT_N];

Checkpoint *checkpoint_free(Checkpoint *checkpoint)
{
        if (!checkpoint)
                return NULL;
        operation_end(&checkpoint->operation);
        if (checkpoint->to.channel)
                (void)reply_fail(checkpoint->to, GRPC_STATUS_ABORTED, "checkpoint container %s: it is being removed",
                                 checkpoint->operation.id);
        checkpoint->stream_fd = fd_close(checkpoint->stream_fd);
        (void)frame_free(checkpoint->call);
        free(checkpoint);
        return NULL;
}
DEFINE_CLEANUP(Checkpoint, checkpoint_free)

static const Bulkhead__GatewaydContainerd__CheckpointContainerCall *checkpoint_call(const Checkpoint *checkpoint)
{
        return container_of(checkpoint->call->message, Bulkhead__GatewaydContainerd__CheckpointContainerCall, base);
}

static uint64_t checkpoint_left_usec(const Checkpoint *checkpoint)
{
        uint64_t now = clock_monotonic_usec();

        return checkpoint->deadline_usec > now ? checkpoint->deadline_usec - now : 0;
}

static const Step *checkpoint_fail(Checkpoint *checkpoint, uint32_t code, const char *why)
{
        (void)failure_set(&checkpoint->failure, code, "checkpoint container %s (\"%.80s\"): %s: %s", checkpoint->container->id,
                          checkpoint->container->name, checkpoint->operation.step->name, why);
        return STEP_DONE;
}

static const Step *checkpoint_export(Operation *operation)
{
        Checkpoint *checkpoint = container_of(operation, Checkpoint, operation);
        Bulkhead__ContainerdImaged__WritableExportRequest request = BULKHEAD__CONTAINERD_IMAGED__WRITABLE_EXPORT_REQUEST__INIT;

        request.container_id = checkpoint->container->id;
        request.owner_id = checkpoint->owner_id;
        return operation_ask(operation, checkpoint->container->containerd->imaged, ROW_CONTAINERD_IMAGED_WRITABLE_EXPORT, &request.base,
                             checkpoint_left_usec(checkpoint));
}

static const Step *checkpoint_on_export(Operation *operation, const Answer *answer)
{
        Checkpoint *checkpoint = container_of(operation, Checkpoint, operation);

        if (answer->outcome)
                return checkpoint_fail(checkpoint, answer->code, answer->text);
        checkpoint->stream_fd = fd_close(checkpoint->stream_fd);
        checkpoint->stream_fd = frame_take_fd(answer->frame, 0);
        return &checkpoint_steps[CHECKPOINT_LAUNCH];
}

static int checkpoint_describe(const Checkpoint *checkpoint, int *ret_fd)
{
        const Container *container = checkpoint->container;
        const Runtime__V1__ContainerStatus *status = container->record.status;
        Bulkhead__RuntimeSpec__CheckpointSpec spec = BULKHEAD__RUNTIME_SPEC__CHECKPOINT_SPEC__INIT;
        _cleanup_free_ uint8_t *bytes = NULL;
        size_t n = 0;

        spec.name = container->name;
        spec.image = status->image ? status->image->image : spec.image;
        spec.image_ref = status->image_ref;
        spec.runtime = (char *)(uintptr_t)container->containerd->config->runtimes[container->runtime].handler;
        spec.created_nsec = container->created_nsec;
        spec.started_nsec = container->started_nsec;
        spec.pid = container->pid;
        int r = decode_pack(&spec.base, &bytes, &n);
        if (r == 0)
                r = fd_memfd_sealed("checkpoint", bytes, n, ret_fd);
        return r < 0 ? fold(r) : 0;
}

static const Step *checkpoint_launch(Operation *operation)
{
        Checkpoint *checkpoint = container_of(operation, Checkpoint, operation);
        const Container *container = checkpoint->container;
        const Bulkhead__GatewaydContainerd__CheckpointContainerCall *call = checkpoint_call(checkpoint);
        uint64_t left = checkpoint_left_usec(checkpoint);
        LaunchCheckpoint verb = {.runtime = container->runtime, .flags = container->record.tty ? LAUNCH_FLAG_TTY : 0,
                                 .timeout_sec = (uint32_t)(left / USEC_PER_SEC)};
        _cleanup_fd_ int request_fd = -1, spec_fd = -1, stream_fd = TAKE_FD(checkpoint->stream_fd);

        if (verb.timeout_sec == 0)
                return checkpoint_fail(checkpoint, GRPC_STATUS_DEADLINE_EXCEEDED, "its time is over; give it a longer timeout");
        memcpy(&verb.permit, call->permit.data, sizeof(verb.permit));
        int r = fd_memfd_sealed("request", call->request.data, call->request.len, &request_fd);
        if (r == 0)
                r = checkpoint_describe(checkpoint, &spec_fd);
        if (r < 0)
                return operation_break(operation, fold(r));
        return operation_ask_flat(operation, container->containerd->launch, ROW_CONTAINERD_LAUNCH_LAUNCH_CHECKPOINT, &verb,
                                  (const int[]){spec_fd, request_fd, stream_fd}, 3, left + CHECKPOINT_ANSWER_USEC);
}

/* A launch that was killed has a child that goes on, and holds the container's lock: the next one waits for it, and does all of it anew. */
static const Step *checkpoint_on_launch(Operation *operation, const Answer *answer)
{
        Checkpoint *checkpoint = container_of(operation, Checkpoint, operation);

        if (answer->outcome == CHANNEL_E_LOST && checkpoint->n_lost++ < CHECKPOINT_LOST_MAX)
                return &checkpoint_steps[CHECKPOINT_EXPORT];
        if (answer->outcome) {
                if (answer->outcome == CHANNEL_E_TIMEOUT) /* it still works on it, and lets it run on at its end: the caller need not wait */
                        checkpoint->n_settled = CHECKPOINT_SETTLE_MAX;
                (void)checkpoint_fail(checkpoint, answer->code, answer->text);
                return &checkpoint_steps[CHECKPOINT_SETTLE];
        }
        log_info("container %s (%s): its checkpoint is made", checkpoint->container->id, checkpoint->container->name);
        return STEP_DONE;
}

/* If whoever worked on it was killed, it stands still until launch looks at it. */
static const Step *checkpoint_settle(Operation *operation)
{
        const Container *container = container_of(operation, Checkpoint, operation)->container;
        LaunchContainer verb = {.runtime = container->runtime};

        (void)str_copy(verb.id, sizeof(verb.id), container->id);
        return operation_ask_flat(operation, container->containerd->launch, ROW_CONTAINERD_LAUNCH_LAUNCH_EXIT_RECORD, &verb, NULL, 0,
                                  OPERATION_TIMEOUT_USEC);
}

static const Step *checkpoint_on_settle(Operation *operation, const Answer *answer)
{
        Checkpoint *checkpoint = container_of(operation, Checkpoint, operation);

        if (answer->outcome) {
                log_warning("container %s: after a checkpoint that failed: %s", operation->id, answer->text);
                return STEP_DONE;
        }
        const LaunchExit *exit = answer->frame->flat;
        if (!exit->in_checkpoint)
                return STEP_DONE;
        if (checkpoint->n_settled++ < CHECKPOINT_SETTLE_MAX) /* whoever has it lets it run on; or is killed, and the next look does */
                return operation_sleep(operation, CHECKPOINT_SETTLE_USEC, operation->step);
        log_warning("container %s: after a checkpoint that failed: containerd-launch still works on it, and lets it run on at its end",
                    operation->id);
        return STEP_DONE;
}

static const Step checkpoint_steps[CHECKPOINT_N] = {
        [CHECKPOINT_SETTLE] = {.name = "run on", .run = checkpoint_settle, .answered = checkpoint_on_settle},
        [CHECKPOINT_EXPORT] = {.name = "its files", .run = checkpoint_export, .answered = checkpoint_on_export},
        [CHECKPOINT_LAUNCH] = {.name = "its processes", .run = checkpoint_launch, .answered = checkpoint_on_launch, .once = true},
};

static int checkpoint_done(Operation *operation)
{
        Checkpoint *checkpoint = container_of(operation, Checkpoint, operation);
        Runtime__V1__CheckpointContainerResponse response = RUNTIME__V1__CHECKPOINT_CONTAINER_RESPONSE__INIT;
        ReplyTo to = checkpoint->to;
        int r;

        checkpoint->to = REPLY_TO_NULL;
        r = failure_is_set(&checkpoint->failure) ? reply_fail(to, checkpoint->failure.code, "%s", checkpoint->failure.text)
                                                 : reply_send(to, &response.base, NULL, 0);
        checkpoint->container->checkpoint = checkpoint_free(checkpoint);
        return r < 0 ? fold(r) : 0;
}

/* ---- the request ---- */

/* Whether the container's runtime can, and its node. */
static void checkpoint_check_runtime(const Container *container, Failure *failure)
{
        const Containerd *containerd = container->containerd;
        const RuntimeState *state = &containerd->runtimes.states[container->runtime];
        const ConfigRuntime *config = &containerd->config->runtimes[container->runtime];

        if (!state->is_probed)
                (void)failure_set(failure, GRPC_STATUS_UNAVAILABLE, "checkpoint container %s: its OCI runtime is not probed yet; try again",
                                  container->id);
        else if (!(state->features & LAUNCH_FEATURE_CHECKPOINT))
                (void)failure_set(failure, GRPC_STATUS_UNIMPLEMENTED,
                                  "checkpoint container %s: its OCI runtime %.200s (%.100s) does not say that it can checkpoint; use one "
                                  "that does: runc, or a crun built with CRIU", container->id, config->path, state->version);
        else if (!(state->criu & LAUNCH_CRIU_PROGRAM) ||
                 (str_has_prefix(state->version, "crun version") && !(state->criu & LAUNCH_CRIU_LIBRARY)))
                (void)failure_set(failure, GRPC_STATUS_UNIMPLEMENTED,
                                  "checkpoint container %s: this node has no %s, which the OCI runtime %.200s checkpoints with; install it "
                                  "(Debian: apt install criu libcriu2)", container->id,
                                  state->criu & LAUNCH_CRIU_PROGRAM ? "libcriu.so.2" : "criu", config->path);
}

static void checkpoint_check_container(const Container *container, Failure *failure)
{
        if (container->checkpoint)
                (void)failure_set(failure, GRPC_STATUS_ABORTED, "checkpoint container %s: another checkpoint of it is under way; wait for it",
                                  container->id);
        else if (container->is_adopted)
                (void)failure_set(failure, GRPC_STATUS_FAILED_PRECONDITION,
                                  "checkpoint container %s: what is recorded of it is lost, so nobody knows what it is made of; stop and "
                                  "remove it", container->id);
        else if (container->state != CONTAINER_STATE_RUNNING || container->exit_seen || container->remove || container->stop)
                (void)failure_set(failure, GRPC_STATUS_FAILED_PRECONDITION,
                                  "checkpoint container %s (\"%.80s\"): it is %s%s; only one that runs has something to keep",
                                  container->id, container->name, container_state_name(container->state),
                                  container->remove ? " and being removed" : container->stop ? " and being stopped"
                                  : container->exit_seen ? " and its process has ended" : "");
}

/* What was told wrongly is gatewayd's or the kubelet's fault. *ret_sec: how long it may take. */
static int checkpoint_check_call(const Container *container, const Bulkhead__GatewaydContainerd__CheckpointContainerCall *call,
                                 int64_t *ret_sec, Failure *failure)
{
        ProtobufCMessage *message = NULL;
        DecodeArena arena;

        decode_arena_init(&arena, decode_budget(call->request.len));
        int r = decode_message(&arena, &runtime__v1__checkpoint_container_request__descriptor, call->request.data, call->request.len, &message);
        if (r > 0 || (r == 0 && call->permit.len != sizeof(Permit)))
                (void)failure_set(failure, GRPC_STATUS_INTERNAL, "checkpoint container %s: the call came without a request or a permit",
                                  container->id);
        if (r == 0 && !failure_is_set(failure)) {
                const Runtime__V1__CheckpointContainerRequest *request =
                        container_of(message, Runtime__V1__CheckpointContainerRequest, base);
                if (*request->location != '/')
                        (void)failure_set(failure, GRPC_STATUS_INVALID_ARGUMENT,
                                          "checkpoint container %s: location \"%.200s\": it must be the absolute path of a file that is to be made",
                                          container->id, request->location);
                else if (request->timeout < 0)
                        (void)failure_set(failure, GRPC_STATUS_INVALID_ARGUMENT, "checkpoint container %s: timeout %lld is negative",
                                          container->id, (long long)request->timeout);
                *ret_sec = request->timeout > 0 ? MIN2(request->timeout, (int64_t)LAUNCH_CHECKPOINT_SEC_MAX) : CHECKPOINT_DEFAULT_SEC;
        }
        decode_arena_done(&arena);
        return r < 0 ? fold(r) : 0;
}

/* The first host id of its user namespace. */
static int checkpoint_owner(const Container *container, uint32_t *ret)
{
        ProtobufCMessage *message = NULL;
        DecodeArena arena;

        decode_arena_init(&arena, 2 * decode_budget(container->record.n_spec));
        int r = decode_message(&arena, &bulkhead__runtime_spec__runtime_spec__descriptor, container->record.spec_bytes,
                               container->record.n_spec, &message);
        if (r == 0) {
                const RuntimeSpec *spec = container_of(message, RuntimeSpec, base);
                *ret = spec->namespaces & PERMIT_FLAG_USERNS ? spec->userns_host_id : 0;
        }
        decode_arena_done(&arena);
        return r < 0 ? fold(r) : r > 0 ? error_origin(-EBADMSG) : 0;
}

int checkpoint_request(Container *container, Frame *frame)
{
        Containerd *containerd = container->containerd;
        ReplyTo to = frame_reply_to(frame);
        Failure failure = {0};
        int64_t seconds = 0;
        int r = 0;

        checkpoint_check_container(container, &failure);
        if (!failure_is_set(&failure))
                r = checkpoint_check_call(container, container_of(frame->message, Bulkhead__GatewaydContainerd__CheckpointContainerCall, base),
                                          &seconds, &failure);
        if (r == 0 && !failure_is_set(&failure))
                checkpoint_check_runtime(container, &failure);
        if (r == 0 && failure.code == GRPC_STATUS_UNIMPLEMENTED)
                r = runtime_probe(containerd); /* it may be installed before the next call */
        if (r == 0 && failure_is_set(&failure))
                return reply_fail(to, failure.code, "%s", failure.text);
        _cleanup_(checkpoint_freep) Checkpoint *checkpoint = r == 0 ? calloc(1, sizeof(*checkpoint)) : NULL;
        if (r < 0 || !checkpoint)
                return r < 0 ? fold(r) : error_origin(-ENOMEM);
        checkpoint->container = container;
        checkpoint->stream_fd = -1;
        checkpoint->deadline_usec = clock_monotonic_usec() + (uint64_t)seconds * USEC_PER_SEC;
        checkpoint->operation = (Operation){.noun = "checkpoint", .id = container->id, .base = containerd->base, .done = checkpoint_done,
                                            .fail = containerd_fail, .fail_userdata = containerd};
        r = checkpoint_owner(container, &checkpoint->owner_id);
        if (r < 0)
                return fold(r);
        checkpoint->call = frame_keep(frame);
        checkpoint->to = to;
        container->checkpoint = TAKE_PTR(checkpoint);
        r = operation_run(&container->checkpoint->operation, &checkpoint_steps[CHECKPOINT_EXPORT]);
        return r < 0 ? fold(r) : 0;
}
