/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/create.h"

#include "ipc/edges/containerd-imaged.rows.h"
#include "ipc/edges/containerd-launch.rows.h"
#include "ipc/edges/containerd-sandboxd.rows.h"
#include "ipc/edges/containerd-setup.rows.h"
#include "ipc/edges/gatewayd-containerd.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "services/containerd/arena.h"
#include "services/containerd/attach.h"
#include "services/containerd/exit.h"
#include "services/containerd/log-link.h"
#include "services/containerd/record.h"
#include "services/containerd/remove.h"
#include "services/containerd/shim-link.h"
#include "services/containerd/spec.h"
#include "services/containerd/start.h"
#include "services/containerd/stats.h"
#include "services/containerd/stop.h"

#define CREATE_ARENA_BYTES (64 * 1024 * 1024)

typedef Bulkhead__ContainerdSandboxd__LeaseTakeResponse Lease;
typedef Bulkhead__ContainerdImaged__ImageGetResponse ImageGot;

struct Create {
        Operation operation;
        Container *container; /* borrowed; owns us */
        Waiters waiters;
        Failure failure;
        RemoveFrom undo_from;   /* what has to be undone first; REMOVE_FROM_ROW: nothing but the row */
        Frame *call;            /* owned: the request */
        DecodeArena arena;      /* the decoded request, the spec */
        Permit permit;
        SpecInput input;        /* borrows from the three frames */
        Frame *lease_frame, *image_frame, *user_frame; /* owned */
        const Lease *lease;     /* in its frame */
        const ImageGot *image;  /* in its frame */
        RuntimeSpec *spec;      /* in the arena */
        ImageMount *image_mount; /* in the arena; NULL without image volumes; index is of the one that is made */
        char *volume_ids[SEAL_VOLUMES_MAX]; /* in the arena; of those that are made */
        int log_fd;             /* owned; the log file, -1 without one */
        bool is_answered;       /* recorded and told: what follows is the runtime's own work, and nothing is undone any more */
        bool is_lost;           /* launch does not say what became of it */
};

/* Stages, in order. */
enum {
        CREATE_LEASE,
        CREATE_IMAGE,
        CREATE_USER,
        CREATE_WRITABLE,
        CREATE_SPEC,
        CREATE_ROOTFS,
        CREATE_VOLUME,
        CREATE_VOLUME_MOUNT,
        CREATE_LAUNCH,
        CREATE_LOG,
        CREATE_COMMIT,
        CREATE_N
};
static const Step create_steps[CREATE_N];

static const Bulkhead__GatewaydContainerd__CreateContainerCall *create_call(const Frame *frame)
{
        return container_of(frame->message, Bulkhead__GatewaydContainerd__CreateContainerCall, base);
}

/* What went wrong, told once; undoing begins when the operation is done. */
static const Step *create_fail(Create *create, uint32_t code, const char *why)
{
        const Container *container = create->container;

        (void)failure_set(&create->failure, code, "create container \"%.80s\" in pod %.12s: %s: %s", container->name,
                          container->pod_id, create->operation.step->name, why);
        return STEP_DONE;
}

static const Step *create_fail_answer(Create *create, const Answer *answer)
{
        return create_fail(create, answer->code, answer->text);
}

static const Step *create_next(Create *create)
{
        return failure_is_set(&create->failure) ? STEP_DONE : create->operation.step + 1;
}

/* Before a step that has an effect: what is left to undo if it fails or is cancelled. False: cancelled. */
static bool create_enter(Create *create, RemoveFrom undo_from)
{
        if (failure_is_set(&create->failure))
                return false;
        create->undo_from = undo_from;
        return true;
}

static const Step *create_lease(Operation *operation)
{
        Create *create = container_of(operation, Create, operation);
        Container *container = create->container;
        Bulkhead__ContainerdSandboxd__LeaseTakeRequest request = BULKHEAD__CONTAINERD_SANDBOXD__LEASE_TAKE_REQUEST__INIT;

        if (!create_enter(create, REMOVE_FROM_LEASE))
                return STEP_DONE;
        container->has_lease = true;
        request.pod_id = container->pod_id;
        request.container_id = container->id;
        return operation_ask(operation, container->containerd->sandboxd, ROW_CONTAINERD_SANDBOXD_LEASE_TAKE, &request.base,
                             OPERATION_TIMEOUT_USEC);
}

static const Step *create_on_lease(Operation *operation, const Answer *answer)
{
        Create *create = container_of(operation, Create, operation);
        Container *container = create->container;

        if (answer->outcome)
                return create_fail_answer(create, answer);
        create->lease_frame = frame_keep(answer->frame);
        create->lease = container_of(answer->frame->message, Lease, base);
        if (!str_equal(create->lease->pod_id, container->pod_id) || !create->lease->config)
                return create_fail(create, GRPC_STATUS_INTERNAL, "sandboxd answered for another pod, or without its config");
        int row = runtime_find(container->containerd, create->lease->runtime_handler);
        if (row < 0)
                return create_fail(create, GRPC_STATUS_INVALID_ARGUMENT,
                                   "the pod's runtime handler is not configured on this node (containerd.runtimes)");
        container->runtime = (uint32_t)row;
        create->input.pod = create->lease->config;
        create->input.pod_namespaces = create->lease->host_namespaces;
        create->input.network_pin = create->lease->network_namespace;
        create->input.userns_host_id = create->lease->userns_host_id;
        create->input.userns_length = create->lease->userns_length;
        create->input.has_recursive_readonly = runtime_has_recursive_readonly(container->containerd, container->runtime);
        if (spec_check_request(&create->input, &create->failure))
                return STEP_DONE;
        return create_next(create);
}

static const Step *create_image(Operation *operation)
{
        Create *create = container_of(operation, Create, operation);
        Bulkhead__ContainerdImaged__ImageGetRequest request = BULKHEAD__CONTAINERD_IMAGED__IMAGE_GET_REQUEST__INIT;

        if (!create_enter(create, REMOVE_FROM_IMAGE))
                return STEP_DONE;
        request.reference = create->input.request->config->image->image;
        request.container_id = create->container->id;
        return operation_ask(operation, create->container->containerd->imaged, ROW_CONTAINERD_IMAGED_IMAGE_GET, &request.base,
                             OPERATION_TIMEOUT_USEC);
}

static const Step *create_on_image(Operation *operation, const Answer *answer)
{
        Create *create = container_of(operation, Create, operation);

        if (answer->outcome)
                return create_fail_answer(create, answer);
        create->image_frame = frame_keep(answer->frame);
        create->image = container_of(answer->frame->message, ImageGot, base);
        if (!create->image->config || create->image->statement.len != sizeof(Statement))
                return create_fail(create, GRPC_STATUS_INTERNAL, "imaged answered without a configuration or a statement");
        create->input.image = create->image->config;
        return create_next(create);
}

static const Step *create_user(Operation *operation)
{
        Create *create = container_of(operation, Create, operation);
        Bulkhead__ContainerdImaged__UserLookupRequest request = BULKHEAD__CONTAINERD_IMAGED__USER_LOOKUP_REQUEST__INIT;
        char user[SPEC_USER_MAX];

        if (spec_user_choose(&create->input, user, &create->failure))
                return STEP_DONE;
        request.image_id = create->image->image_id;
        request.user = user;
        return operation_ask(operation, create->container->containerd->imaged, ROW_CONTAINERD_IMAGED_USER_LOOKUP, &request.base,
                             OPERATION_TIMEOUT_USEC);
}

static const Step *create_on_user(Operation *operation, const Answer *answer)
{
        Create *create = container_of(operation, Create, operation);

        if (answer->outcome)
                return create_fail_answer(create, answer);
        create->user_frame = frame_keep(answer->frame);
        create->input.user = container_of(answer->frame->message, UserLookup, base);
        return create_next(create);
}

static const Step *create_writable(Operation *operation)
{
        Create *create = container_of(operation, Create, operation);
        Bulkhead__ContainerdImaged__WritablePrepareRequest request =
                BULKHEAD__CONTAINERD_IMAGED__WRITABLE_PREPARE_REQUEST__INIT;

        if (!create_enter(create, REMOVE_FROM_WRITABLE))
                return STEP_DONE;
        if (spec_volumes_choose(&create->input, &create->arena, &request.volumes, &request.n_volumes, &create->failure))
                return STEP_DONE;
        request.container_id = create->container->id;
        request.image_id = create->image->image_id;
        request.owner_id = create->input.pod_namespaces & PERMIT_FLAG_USERNS ? create->input.userns_host_id : 0;
        return operation_ask(operation, create->container->containerd->imaged, ROW_CONTAINERD_IMAGED_WRITABLE_PREPARE,
                             &request.base, OPERATION_TIMEOUT_USEC);
}

static const Step *create_on_done(Operation *operation, const Answer *answer)
{
        Create *create = container_of(operation, Create, operation);

        return answer->outcome ? create_fail_answer(create, answer) : create_next(create);
}

/* The container of a TARGET namespace: of the same pod, and running. */
static const Step *create_choose_target(Create *create)
{
        const Runtime__V1__ContainerConfig *config = create->input.request->config;
        const Runtime__V1__NamespaceOption *options =
                config->linux && config->linux->security_context ? config->linux->security_context->namespace_options : NULL;
        Container *target = NULL;

        create->input.target_container = "";
        if (!options || options->pid != RUNTIME__V1__NAMESPACE_MODE__TARGET)
                return NULL;
        if (container_table_resolve(&create->container->containerd->containers, options->target_id, &target) != 0 ||
            !str_equal(target->pod_id, create->container->pod_id) || target->state != CONTAINER_STATE_RUNNING)
                return create_fail(create, GRPC_STATUS_FAILED_PRECONDITION,
                                   "the container whose PID namespace it shall join is not a running one of this pod");
        create->input.target_container = target->id;
        return NULL;
}

static const Step *create_spec(Operation *operation)
{
        Create *create = container_of(operation, Create, operation);

        const Step *failed = create_choose_target(create);
        if (failed)
                return failed;
        if (spec_compose(&create->input, &create->arena, &create->spec, &create->failure))
                return STEP_DONE;
        return create_next(create);
}

static const Step *create_rootfs(Operation *operation)
{
        Create *create = container_of(operation, Create, operation);
        RootfsPrepare verb = {.permit = create->permit};

        if (!create_enter(create, REMOVE_FROM_ROOTFS))
                return STEP_DONE;
        memcpy(&verb.statement, create->image->statement.data, sizeof(verb.statement));
        const ProtobufCBinaryData *request = &create_call(create->call)->request;
        _cleanup_fd_ int request_fd = -1;
        int r = fd_memfd_sealed("request", request->data, request->len, &request_fd);
        if (r < 0)
                return operation_break(operation, fold(r));
        return operation_ask_flat(operation, create->container->containerd->setup, ROW_CONTAINERD_SETUP_ROOTFS_PREPARE, &verb,
                                  &request_fd, 1, OPERATION_TIMEOUT_USEC);
}

/* The log comes with it: a hand's turn costs more than the opening. */
static const Step *create_on_rootfs(Operation *operation, const Answer *answer)
{
        Create *create = container_of(operation, Create, operation);

        if (answer->outcome)
                return create_fail_answer(create, answer);
        create->log_fd = fd_close(create->log_fd);
        create->log_fd = frame_take_fd(answer->frame, 0);
        if (create->log_fd < 0 && !str_is_empty(create->permit.log_path))
                return create_fail(create, GRPC_STATUS_INTERNAL, "containerd-setup answered without the log");
        return create_next(create);
}

/* What the permit seals of the request's image volumes. False: no memory. */
static bool create_list_volumes(Create *create)
{
        const Runtime__V1__ContainerConfig *config = create->input.request->config;

        for (size_t i = 0; i < config->n_mounts; i++) {
                const Runtime__V1__Mount *mount = config->mounts[i];
                if (!spec_mount_is_image(mount))
                        continue;
                if (!create->image_mount) {
                        create->image_mount = arena_array(&create->arena, 1, sizeof(*create->image_mount));
                        if (!create->image_mount)
                                return false;
                        *create->image_mount = (ImageMount){.permit = create->permit};
                }
                if (create->image_mount->n_volumes == SEAL_VOLUMES_MAX)
                        return true; /* gatewayd has sealed no more */
                SealVolume *volume = &create->image_mount->volumes[create->image_mount->n_volumes++];
                (void)str_copy(volume->image, sizeof(volume->image), mount->image->image);
                (void)str_copy(volume->sub_path, sizeof(volume->sub_path), mount->image_sub_path);
        }
        return true;
}

/* One image volume after the other: held in imaged, then mounted. */
static const Step *create_volume(Operation *operation)
{
        Create *create = container_of(operation, Create, operation);
        Bulkhead__ContainerdImaged__ImageGetRequest request = BULKHEAD__CONTAINERD_IMAGED__IMAGE_GET_REQUEST__INIT;

        if (failure_is_set(&create->failure))
                return STEP_DONE;
        if (!create->image_mount && !create_list_volumes(create))
                return create_fail(create, GRPC_STATUS_RESOURCE_EXHAUSTED, "its request takes too much memory");
        if (!create->image_mount || create->image_mount->index == create->image_mount->n_volumes)
                return &create_steps[CREATE_LAUNCH];
        request.reference = create->image_mount->volumes[create->image_mount->index].image;
        request.container_id = create->container->id;
        request.slot = create->image_mount->index + 1;
        return operation_ask(operation, create->container->containerd->imaged, ROW_CONTAINERD_IMAGED_IMAGE_GET, &request.base,
                             OPERATION_TIMEOUT_USEC);
}

/* The beginning of the text is what a kubelet looks for. */
static const Step *create_fail_volume(Create *create, uint32_t code, const char *why)
{
        const Container *container = create->container;

        (void)failure_set(&create->failure, code, "ImageVolumeMountFailed: container \"%.80s\" in pod %.12s: image volume of %.200s: %s",
                          container->name, container->pod_id, create->image_mount->volumes[create->image_mount->index].image, why);
        return STEP_DONE;
}

static const Step *create_on_volume(Operation *operation, const Answer *answer)
{
        Create *create = container_of(operation, Create, operation);

        if (answer->outcome)
                return create_fail_volume(create, answer->code, answer->text);
        const ImageGot *got = container_of(answer->frame->message, ImageGot, base);
        char *id = arena_text(&create->arena, got->image_id);
        if (got->statement.len != sizeof(Statement) || !id)
                return create_fail_volume(create, GRPC_STATUS_INTERNAL, "imaged answered without a statement");
        create->volume_ids[create->image_mount->index] = id;
        memcpy(&create->image_mount->statement, got->statement.data, sizeof(Statement));
        return create_next(create);
}

static const Step *create_volume_mount(Operation *operation)
{
        Create *create = container_of(operation, Create, operation);

        if (failure_is_set(&create->failure))
                return STEP_DONE;
        return operation_ask_flat(operation, create->container->containerd->setup, ROW_CONTAINERD_SETUP_IMAGE_MOUNT,
                                  create->image_mount, NULL, 0, OPERATION_TIMEOUT_USEC);
}

static const Step *create_on_volume_mount(Operation *operation, const Answer *answer)
{
        Create *create = container_of(operation, Create, operation);

        if (answer->outcome)
                return create_fail_volume(create, answer->code, answer->text);
        create->image_mount->index++;
        return failure_is_set(&create->failure) ? STEP_DONE : &create_steps[CREATE_VOLUME];
}

/* The spec and the request travel in sealed files, for the confined child of containerd-launch alone. */
static const Step *create_launch(Operation *operation)
{
        Create *create = container_of(operation, Create, operation);
        const Runtime__V1__ContainerConfig *config = create->input.request->config;
        const ProtobufCBinaryData *request = &create_call(create->call)->request;
        LaunchCreate verb = {.permit = create->permit, .runtime = create->container->runtime};
        _cleanup_free_ uint8_t *spec = NULL;
        _cleanup_fd_ int spec_fd = -1, request_fd = -1;
        size_t n = 0;

        if (!create_enter(create, REMOVE_FROM_LAUNCH))
                return STEP_DONE;
        verb.flags = config->tty ? LAUNCH_FLAG_TTY : LAUNCH_FLAG_STDOUT | LAUNCH_FLAG_STDERR;
        if (config->stdin)
                verb.flags |= LAUNCH_FLAG_STDIN;
        int r = decode_pack(&create->spec->base, &spec, &n);
        if (r == 0)
                r = fd_memfd_sealed("spec", spec, n, &spec_fd);
        if (r == 0)
                r = fd_memfd_sealed("request", request->data, request->len, &request_fd);
        if (r < 0)
                return operation_break(operation, fold(r));
        return operation_ask_flat(operation, create->container->containerd->launch, ROW_CONTAINERD_LAUNCH_LAUNCH_CREATE, &verb,
                                  (const int[]){spec_fd, request_fd}, 2, OPERATION_TIMEOUT_USEC);
}

/* The runtime said no: to a command that is not in the image, above all. What it says belongs into the status of a container
 * that has ended, where people and kubelets look for it, so it is told when the container is started. */
static const Step *create_keep_refusal(Create *create, const char *text)
{
        Container *container = create->container;

        log_warning("container %s (%s): %s; starting it will fail", container->id, container->name, text);
        container->log_is_lost = true;
        int r = container_set_message(container, text);
        return r < 0 ? operation_break(&create->operation, fold(r)) : &create_steps[CREATE_COMMIT];
}

static const Step *create_on_launch_failed(Create *create, const Answer *answer)
{
        bool is_refusal = answer->outcome == CHANNEL_E_FAILED && (answer->code == GRPC_STATUS_UNKNOWN || create->is_answered);

        if (is_refusal)
                return create_keep_refusal(create, answer->text);
        create->is_lost = create->is_answered;
        return create->is_lost ? STEP_DONE : create_fail_answer(create, answer);
}

static const Step *create_on_launch(Operation *operation, const Answer *answer)
{
        Create *create = container_of(operation, Create, operation);
        Container *container = create->container;

        if (answer->outcome)
                return create_on_launch_failed(create, answer);
        const LaunchCreated *created = answer->frame->flat;
        container->pid = created->pid;
        int r = exit_link_shim(container, frame_take_fd(answer->frame, 0));
        if (r < 0)
                return operation_break(operation, fold(r));
        container->pidfd = frame_take_fd(answer->frame, 1);
        /* The shim keeps stdin's write end, for whoever attaches. */
        LogStreams streams = {.commit_fd = frame_take_fd(answer->frame, 2), .fds = {-1, -1}, .tty = create->spec->process->terminal};
        streams.fds[0] = frame_take_fd(answer->frame, 3);
        streams.fds[1] = streams.tty ? -1 : frame_take_fd(answer->frame, 4);
        container->log_streams = streams;
        return create_next(create);
}

static const Step *create_log(Operation *operation)
{
        Create *create = container_of(operation, Create, operation);

        if (failure_is_set(&create->failure))
                return STEP_DONE;
        return log_open_ask(operation, create->container, create->log_fd);
}

static const Step *create_on_log(Operation *operation, const Answer *answer)
{
        Create *create = container_of(operation, Create, operation);

        if (answer->outcome && create->is_answered) {
                log_warning("container %s: its log cannot be handed to logd: %s; trying again", operation->id, answer->text);
                return create_next(create);
        }
        if (answer->outcome)
                return create_fail_answer(create, answer);
        create->container->log_is_open = true;
        log_streams_done(&create->container->log_streams);
        return create_next(create);
}

/* From here on it is a container for everybody. 0, STORE_E_FULL or -errno. */
static int create_record(Create *create)
{
        Container *container = create->container;
        const RecordInput record = {
                .container = container,
                .input = &create->input,
                .spec = create->spec,
                .image_id = create->image->image_id,
                .image_ref = create->image->image_ref,
                .image_tag = create->image->n_repo_tags > 0 ? create->image->repo_tags[0] : "",
                .volume_ids = (const char *const *)create->volume_ids,
                .arena = &create->arena,
                .log_path = create->permit.log_path,
        };

        int r = record_make(&record);
        if (r == 0)
                r = container_store_record(&container->containerd->store, container, CONTAINER_STATE_CREATED);
        if (r == STORE_E_FULL)
                (void)create_fail(create, GRPC_STATUS_RESOURCE_EXHAUSTED,
                                  "the disk of the runtime's state directory is full; free space and try again");
        if (r == 0)
                r = container_enter_state(container, CONTAINER_STATE_CREATED, create->operation.step->name);
        return r < 0 ? fold(r) : r;
}

static const Step *create_commit(Operation *operation)
{
        Create *create = container_of(operation, Create, operation);
        Container *container = create->container;

        if (failure_is_set(&create->failure))
                return STEP_DONE;
        int r = create->is_answered ? 0 : create_record(create);
        if (r == 0)
                r = container_store_save(&container->containerd->store, container); /* with what the runtime made of it */
        return r < 0 ? operation_break(operation, fold(r)) : STEP_DONE;
}

int create_on_checked(Container *container)
{
        Create *create = container->create;
        Runtime__V1__CreateContainerResponse response = RUNTIME__V1__CREATE_CONTAINER_RESPONSE__INIT;

        if (!create || create->is_answered || create->operation.step != &create_steps[CREATE_LAUNCH] ||
            failure_is_set(&create->failure))
                return 0;
        int r = create_record(create);
        if (r)
                return r < 0 ? fold(r) : 0; /* a failure is told when launch has answered */
        create->is_answered = true;
        response.container_id = container->id;
        r = waiters_reply(&create->waiters, &response.base);
        return r < 0 ? fold(r) : 0;
}

bool create_is_open(const Create *create)
{
        return !create->is_answered;
}

static const Step create_steps[CREATE_N] = {
        [CREATE_LEASE] = {.name = "lease on the pod", .run = create_lease, .answered = create_on_lease},
        [CREATE_IMAGE] = {.name = "image", .run = create_image, .answered = create_on_image},
        [CREATE_USER] = {.name = "user", .run = create_user, .answered = create_on_user},
        [CREATE_WRITABLE] = {.name = "writable layer", .run = create_writable, .answered = create_on_done},
        [CREATE_SPEC] = {.name = "spec", .run = create_spec},
        [CREATE_ROOTFS] = {.name = "root file system", .run = create_rootfs, .answered = create_on_rootfs},
        [CREATE_VOLUME] = {.name = "image volume", .run = create_volume, .answered = create_on_volume},
        [CREATE_VOLUME_MOUNT] = {.name = "mount of an image volume", .run = create_volume_mount, .answered = create_on_volume_mount},
        [CREATE_LAUNCH] = {.name = "OCI runtime", .run = create_launch, .answered = create_on_launch, .once = true},
        [CREATE_LOG] = {.name = "log", .run = create_log, .answered = create_on_log},
        [CREATE_COMMIT] = {.name = "record", .run = create_commit},
};

static int create_done(Operation *operation)
{
        Create *create = container_of(operation, Create, operation);
        Container *container = create->container;
        Runtime__V1__CreateContainerResponse response = RUNTIME__V1__CREATE_CONTAINER_RESPONSE__INIT;
        int r;

        container->create = NULL;
        if (failure_is_set(&create->failure)) {
                log_warning("%s", create->failure.text);
                r = remove_undo(container, create->undo_from, &create->waiters, &create->failure);
                (void)create_free(create);
                return r < 0 ? fold(r) : 0;
        }
        response.container_id = container->id;
        r = container->pid > 0 && !container->exit_seen ? stats_begin(container, true) : 0;
        if (r == 0)
                r = waiters_reply(&create->waiters, &response.base);
        bool is_lost = create->is_lost && !container->remove;
        (void)create_free(create);
        if (r == 0)
                r = is_lost ? attach_begin(container) : container->shim ? log_link_begin(container) : 0;
        if (r == 0 && !is_lost)
                r = create_made(container);
        if (r == 0)
                r = exit_resume(container);
        return r < 0 ? fold(r) : 0;
}

int create_made(Container *container)
{
        int r = container->remove ? remove_on_made(container) : stop_on_made(container);

        if (r == 0 && !container->remove)
                r = start_on_made(container);
        return r < 0 ? fold(r) : 0;
}

Create *create_free(Create *create)
{
        if (!create)
                return NULL;
        operation_end(&create->operation);
        waiters_abandon(&create->waiters, "create container", create->operation.id);
        (void)frame_free(create->call);
        (void)frame_free(create->lease_frame);
        (void)frame_free(create->image_frame);
        (void)frame_free(create->user_frame);
        decode_arena_done(&create->arena);
        create->log_fd = fd_close(create->log_fd);
        free(create);
        return NULL;
}
DEFINE_CLEANUP(Create, create_free)

void create_cancel(Create *create, uint32_t code, const char *why)
{
        const Container *container = create->container;

        if (!create->is_answered)
                (void)failure_set(&create->failure, code, "create container \"%.80s\" in pod %.12s: %s: %s", container->name,
                          container->pod_id, create->operation.step ? create->operation.step->name : "begin", why);
}

/* Reads what the frame carries; refusals are answered here. 0, CREATE_E_ANSWERED or -errno. */
enum { CREATE_E_ANSWERED = 2 };
static int create_read(Create *create, Containerd *containerd, Frame *frame)
{
        const Bulkhead__GatewaydContainerd__CreateContainerCall *call = create_call(frame);
        ReplyTo to = frame_reply_to(frame);
        ProtobufCMessage *message = NULL;
        int r;

        if (call->permit.len != sizeof(Permit)) {
                r = reply_fail(to, GRPC_STATUS_INTERNAL, "create_container: its permit has %zu bytes", call->permit.len);
                return r < 0 ? fold(r) : CREATE_E_ANSWERED;
        }
        memcpy(&create->permit, call->permit.data, sizeof(create->permit));
        create->permit.id[ID_LENGTH] = create->permit.pod_id[ID_LENGTH] = '\0';
        create->permit.cgroup_parent[SEAL_PATH_MAX - 1] = create->permit.log_path[SEAL_PATH_MAX - 1] = '\0';
        decode_arena_init(&create->arena, CREATE_ARENA_BYTES);
        r = decode_message(&create->arena, &runtime__v1__create_container_request__descriptor, call->request.data,
                           call->request.len, &message);
        if (r || !id_is_valid(call->id) || !str_equal(call->id, create->permit.id) || !id_is_valid(create->permit.pod_id)) {
                r = reply_fail(to, GRPC_STATUS_INVALID_ARGUMENT, "create_container: the request does not decode (%s), or its permit "
                               "is for another container", decode_outcome_name(MAX2(r, 0)));
                return r < 0 ? fold(r) : CREATE_E_ANSWERED;
        }
        create->input = (SpecInput){
                .request = container_of(message, Runtime__V1__CreateContainerRequest, base),
                .container_id = create->permit.id,
                .pod_id = create->permit.pod_id,
                .cgroup_parent = create->permit.cgroup_parent,
                .node_hostname = containerd->hostname,
                .oom_score_adj_min = containerd->config->oom_score_adj_min,
                .user_base = containerd->common->user_base,
                .has_apparmor = containerd->has_apparmor,
                .has_selinux = containerd->has_selinux,
                .has_recursive_readonly = true, /* until the pod's handler is known */
        };
        if (spec_check_request(&create->input, &create->failure)) {
                r = reply_fail(to, create->failure.code, "%s", create->failure.text);
                return r < 0 ? fold(r) : CREATE_E_ANSWERED;
        }
        return 0;
}

static int create_queue(Container *before, Frame *frame)
{
        Frame **frames = realloc(before->successors, (before->n_successors + 1) * sizeof(*frames));

        if (!frames)
                return error_origin(-ENOMEM);
        before->successors = frames;
        frames[before->n_successors++] = frame_keep(frame);
        return CREATE_E_KEPT;
}

/* There is one with this pod, name and attempt: the same one, one that gives way, or one that stays. */
static int create_meet(Container *other, const uint8_t fingerprint[FINGERPRINT_BYTES], Frame *frame)
{
        Runtime__V1__CreateContainerResponse response = RUNTIME__V1__CREATE_CONTAINER_RESPONSE__INIT;
        bool is_same = memcmp(other->fingerprint, fingerprint, FINGERPRINT_BYTES) == 0;
        ReplyTo to = frame_reply_to(frame);
        int r;

        if (other->n_successors >= WAITERS_MAX) {
                r = reply_fail(to, GRPC_STATUS_RESOURCE_EXHAUSTED, "container \"%.80s\": %zu calls wait for it already; wait",
                               other->name, other->n_successors);
                return r < 0 ? fold(r) : 0;
        }
        bool is_open = other->create && create_is_open(other->create);
        if (is_open && is_same && !failure_is_set(&other->create->failure)) {
                r = waiters_add(&other->create->waiters, to);
                if (r == WAITERS_E_FULL)
                        r = reply_fail(to, GRPC_STATUS_RESOURCE_EXHAUSTED, "container \"%.80s\": too many calls wait for it; wait",
                                       other->name);
                return r < 0 ? fold(r) : 0;
        }
        if (is_open) {
                create_cancel(other->create, GRPC_STATUS_ABORTED, "another configuration of it was asked for meanwhile");
                return create_queue(other, frame);
        }
        if (other->remove)
                return create_queue(other, frame);
        if (other->state == CONTAINER_STATE_CREATING || (other->state == CONTAINER_STATE_CREATED && !is_same)) {
                r = create_queue(other, frame);
                if (r == CREATE_E_KEPT) {
                        int begun = remove_request(other, REPLY_TO_NULL);
                        r = begun < 0 ? fold(begun) : r;
                }
                return r;
        }
        if (is_same && other->state != CONTAINER_STATE_EXITED && other->state != CONTAINER_STATE_UNKNOWN) {
                response.container_id = other->id;
                r = reply_send(to, &response.base, NULL, 0);
                return r < 0 ? fold(r) : 0;
        }
        r = reply_fail(to, GRPC_STATUS_ALREADY_EXISTS,
                       "container \"%.80s\", attempt %u, of pod %.12s exists already: %s (%s); remove it, or ask for another "
                       "attempt", other->name, other->attempt, other->pod_id, other->id, container_state_text(other));
        return r < 0 ? fold(r) : 0;
}

/* The row first: from here on it owns its name, and a crash finds out what to undo. */
static int create_add(Create *create, Containerd *containerd, const uint8_t fingerprint[FINGERPRINT_BYTES], ReplyTo to,
                      Container **ret)
{
        const Runtime__V1__ContainerMetadata *metadata = create->input.request->config->metadata;
        _cleanup_(container_freep) Container *container = NULL;

        int r = container_new(&container, containerd, create->permit.id, create->permit.pod_id, metadata->name,
                              metadata->attempt);
        if (r < 0)
                return fold(r);
        memcpy(container->fingerprint, fingerprint, FINGERPRINT_BYTES);
        container->created_nsec = clock_realtime_nsec();
        r = container_table_add(&containerd->containers, container);
        if (r > 0)
                r = reply_fail(to, GRPC_STATUS_RESOURCE_EXHAUSTED, "container \"%.80s\": %s; remove containers first",
                               metadata->name, r == CONTAINER_TABLE_E_FULL ? "there are too many" : "its id exists");
        else if (r == 0 && (r = container_store_insert(&containerd->store, container)) == 0) {
                *ret = TAKE_PTR(container);
                return 0;
        } else if (r > 0) {
                (void)container_table_remove(&containerd->containers, container);
                r = reply_fail(to, GRPC_STATUS_RESOURCE_EXHAUSTED, "container \"%.80s\": the disk of the runtime's state "
                               "directory is full; free space and try again", metadata->name);
        } else if (r < 0) {
                (void)container_table_remove(&containerd->containers, container);
        }
        return r < 0 ? fold(r) : CREATE_E_ANSWERED;
}

int create_request(Containerd *containerd, Frame *frame)
{
        _cleanup_(create_freep) Create *create = calloc(1, sizeof(*create));
        uint8_t fingerprint[FINGERPRINT_BYTES];
        Container *container = NULL;
        ReplyTo to = frame_reply_to(frame);

        if (!create)
                return error_origin(-ENOMEM);
        create->log_fd = -1;
        create->undo_from = REMOVE_FROM_ROW;
        int r = create_read(create, containerd, frame);
        if (r)
                return r < 0 ? fold(r) : 0;
        r = fingerprint_make(&create->input.request->base, fingerprint);
        if (r < 0)
                return fold(r);
        const Runtime__V1__ContainerMetadata *metadata = create->input.request->config->metadata;
        Container *other =
                container_table_find_key(&containerd->containers, create->permit.pod_id, metadata->name, metadata->attempt);
        if (other)
                return create_meet(other, fingerprint, frame);
        if (strlen(metadata->name) > CONTAINER_NAME_MAX)
                return reply_fail(to, GRPC_STATUS_INVALID_ARGUMENT, "container name \"%.80s...\" is longer than %d", metadata->name,
                                  CONTAINER_NAME_MAX);
        r = create_add(create, containerd, fingerprint, to, &container);
        if (r)
                return r < 0 ? fold(r) : 0;

        create->container = container;
        create->call = frame_keep(frame);
        create->operation = (Operation){.noun = "create", .id = container->id, .base = containerd->base, .done = create_done,
                                        .fail = containerd_fail, .fail_userdata = containerd};
        r = waiters_add(&create->waiters, to);
        if (r == 0) {
                container->create = create;
                Operation *operation = &TAKE_PTR(create)->operation;
                r = operation_run(operation, &create_steps[CREATE_LEASE]);
        }
        return r < 0 ? fold(r) : CREATE_E_KEPT;
}
