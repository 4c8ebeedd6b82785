/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/adoption.h"

#include "ipc/edges/containerd-launch.rows.h"
#include "ipc/edges/containerd-sandboxd.rows.h"
#include "ipc/edges/containerd-setup.rows.h"
#include "ipc/edges/runtime-spec.pb-c.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/log.h"
#include "services/containerd/attach.h"
#include "services/containerd/operation.h"
#include "services/containerd/pod-end.h"
#include "services/containerd/recover.h"
#include <sys/stat.h>

#define ADOPTION_REQUEST_MAX (8 * 1024 * 1024)
#define ADOPTION_AGAIN_USEC UINT64_C(200000)
#define ADOPTION_AGAIN_MAX 50
#define ADOPTION_REASON "RecordLost"
#define ADOPTION_TEXT "what was recorded of it is lost or cannot be read; it goes on as it is: stop and remove it"

struct Adoption {
        Operation operation;
        Container *container; /* borrowed; owns us */
        unsigned n_asked;     /* sandboxd, which may be recovering too */
};

enum { ADOPTION_KEPT, ADOPTION_RECORD, ADOPTION_LEASE, ADOPTION_N };
static const Step adoption_steps[ADOPTION_N];

static Container *adoption_container(Operation *operation)
{
        return container_of(operation, Adoption, operation)->container;
}

static const Step *adoption_kept(Operation *operation)
{
        const Container *container = adoption_container(operation);
        SetupContainer verb = {0};

        (void)str_copy(verb.id, sizeof(verb.id), container->id);
        return operation_ask_flat(operation, container->containerd->setup, ROW_CONTAINERD_SETUP_ROOTFS_KEPT, &verb, NULL, 0,
                                  OPERATION_TIMEOUT_USEC);
}

/* The kept request; NULL: there is none that can be read. In the arena. 0 or -errno. */
static int adoption_read(int fd, DecodeArena *arena, const Runtime__V1__CreateContainerRequest **ret)
{
        ProtobufCMessage *message = NULL;
        struct stat st;

        *ret = NULL;
        if (fd < 0 || fstat(fd, &st) < 0 || st.st_size > ADOPTION_REQUEST_MAX)
                return 0;
        size_t n = (size_t)st.st_size;
        _cleanup_free_ uint8_t *bytes = malloc(MAX2(n, (size_t)1));
        if (!bytes)
                return error_origin(-ENOMEM);
        decode_arena_init(arena, decode_budget(n));
        if (fd_pread_full(fd, bytes, n, 0) < 0)
                return 0;
        int r = decode_message(arena, &runtime__v1__create_container_request__descriptor, bytes, n, &message);
        if (r == 0) {
                const Runtime__V1__CreateContainerRequest *request = container_of(message, Runtime__V1__CreateContainerRequest, base);
                if (request->config && request->config->metadata && request->config->image)
                        *ret = request;
        }
        return r < 0 ? fold(r) : 0;
}

static int adoption_keep_record(Container *container, const Runtime__V1__ContainerStatus *status,
                                const Runtime__V1__ContainerConfig *config)
{
        Bulkhead__RuntimeSpec__RuntimeSpec spec = BULKHEAD__RUNTIME_SPEC__RUNTIME_SPEC__INIT; /* nobody knows it any more */
        _cleanup_free_ uint8_t *status_bytes = NULL, *spec_bytes = NULL, *config_bytes = NULL;
        size_t n_status = 0, n_spec = 0, n_config = 0;

        int r = decode_pack(&status->base, &status_bytes, &n_status);
        if (r == 0)
                r = decode_pack(&spec.base, &spec_bytes, &n_spec);
        if (r == 0)
                r = decode_pack(&config->base, &config_bytes, &n_config);
        if (r == 0)
                r = container_set_record(container, TAKE_PTR(status_bytes), n_status, TAKE_PTR(spec_bytes), n_spec,
                                         TAKE_PTR(config_bytes), n_config);
        if (r == 0) {
                container->record.tty = config->tty;
                container->record.stdin_wanted = config->stdin;
        }
        return r < 0 ? fold(r) : r > 0 ? error_origin(-EINVAL) : 0;
}

/* The record as far as the request tells it: with its labels, by which kubelets know their containers. request: NULL if it is lost. */
static int adoption_make_record(Container *container, const Permit *permit, const Runtime__V1__CreateContainerRequest *request)
{
        Runtime__V1__ContainerConfig none = RUNTIME__V1__CONTAINER_CONFIG__INIT;
        const Runtime__V1__ContainerConfig *config = request ? request->config : &none;
        Runtime__V1__ContainerStatus status = RUNTIME__V1__CONTAINER_STATUS__INIT;
        Runtime__V1__ContainerMetadata metadata = RUNTIME__V1__CONTAINER_METADATA__INIT;
        Runtime__V1__ImageSpec image = RUNTIME__V1__IMAGE_SPEC__INIT;

        if (request) {
                char *name = strdup(config->metadata->name);
                if (!name)
                        return error_origin(-ENOMEM);
                free(container->name);
                container->name = name;
                container->attempt = config->metadata->attempt;
        }
        metadata.name = container->name;
        metadata.attempt = container->attempt;
        image.image = request ? config->image->image : (char *)"unknown";
        status.id = container->id;
        status.metadata = &metadata;
        status.image = &image;
        status.image_ref = image.image;
        status.n_labels = config->n_labels;
        status.labels = (Runtime__V1__ContainerStatus__LabelsEntry **)config->labels;
        status.n_annotations = config->n_annotations;
        status.annotations = (Runtime__V1__ContainerStatus__AnnotationsEntry **)config->annotations;
        status.n_mounts = config->n_mounts;
        status.mounts = config->mounts;
        status.log_path = (char *)permit->log_path;
        status.stop_signal = config->stop_signal;
        int r = adoption_keep_record(container, &status, config);
        return r < 0 ? fold(r) : 0;
}

/* What was kept is root's own: checked when it was written, and nobody else writes there. */
static const Step *adoption_on_kept(Operation *operation, const Answer *answer)
{
        Container *container = adoption_container(operation);
        const Runtime__V1__CreateContainerRequest *request = NULL;
        Permit permit = {0};
        DecodeArena arena = {0};

        if (answer->outcome == CHANNEL_E_TIMEOUT || answer->outcome == CHANNEL_E_LOST)
                return operation_sleep(operation, ADOPTION_AGAIN_USEC, operation->step);
        if (answer->outcome)
                log_warning("container %s: what it was made with is lost, too: %s", container->id, answer->text);
        else
                permit = ((const RootfsKept *)answer->frame->flat)->permit;
        _cleanup_fd_ int fd = answer->outcome ? -1 : frame_take_fd(answer->frame, 0);
        int r = adoption_read(fd, &arena, &request);
        if (r == 0)
                r = adoption_make_record(container, &permit, request);
        decode_arena_done(&arena);
        if (r < 0)
                return operation_break(operation, fold(r));
        if (id_is_valid(permit.pod_id))
                (void)str_copy(container->pod_id, sizeof(container->pod_id), permit.pod_id);
        uint64_t now = clock_boottime_usec();
        uint64_t age = permit.sealed_usec > 0 && permit.sealed_usec < now ? now - permit.sealed_usec : 0;
        if (container->created_nsec <= 0)
                container->created_nsec = clock_realtime_nsec() - (int64_t)age * 1000;
        return &adoption_steps[ADOPTION_RECORD];
}

static const Step *adoption_record(Operation *operation)
{
        const Container *container = adoption_container(operation);
        LaunchContainer verb = {0};

        (void)str_copy(verb.id, sizeof(verb.id), container->id);
        return operation_ask_flat(operation, container->containerd->launch, ROW_CONTAINERD_LAUNCH_LAUNCH_EXIT_RECORD, &verb, NULL, 0,
                                  OPERATION_TIMEOUT_USEC);
}

static const Step *adoption_on_record(Operation *operation, const Answer *answer)
{
        Container *container = adoption_container(operation);

        if (answer->outcome == CHANNEL_E_TIMEOUT || answer->outcome == CHANNEL_E_LOST)
                return operation_sleep(operation, ADOPTION_AGAIN_USEC, operation->step);
        const LaunchExit *exit = answer->outcome ? NULL : answer->frame->flat;
        if (exit && exit->exists && exit->record.started_nsec > 0)
                container->started_nsec = exit->record.started_nsec;
        return &adoption_steps[ADOPTION_LEASE];
}

/* The lease may be lost, too; and the pod knows which OCI runtime made the container. */
static const Step *adoption_lease(Operation *operation)
{
        Container *container = adoption_container(operation);
        Bulkhead__ContainerdSandboxd__LeaseTakeRequest request = BULKHEAD__CONTAINERD_SANDBOXD__LEASE_TAKE_REQUEST__INIT;

        container->has_lease = true;
        request.pod_id = container->pod_id;
        request.container_id = container->id;
        request.exists = true;
        return operation_ask(operation, container->containerd->sandboxd, ROW_CONTAINERD_SANDBOXD_LEASE_TAKE, &request.base,
                             OPERATION_TIMEOUT_USEC);
}

static const Step *adoption_on_lease(Operation *operation, const Answer *answer)
{
        Adoption *adoption = container_of(operation, Adoption, operation);
        Container *container = adoption->container;

        if (answer->outcome && answer->code != GRPC_STATUS_NOT_FOUND && adoption->n_asked++ < ADOPTION_AGAIN_MAX)
                return operation_sleep(operation, ADOPTION_AGAIN_USEC, operation->step);
        if (answer->outcome) {
                log_warning("container %s: its pod %.64s is not known: %s", container->id, container->pod_id, answer->text);
                container->has_lease = answer->code != GRPC_STATUS_NOT_FOUND;
                return STEP_DONE;
        }
        int row = runtime_find(container->containerd, container_of(answer->frame->message, Bulkhead__ContainerdSandboxd__LeaseTakeResponse,
                                                                    base)->runtime_handler);
        if (row >= 0)
                container->runtime = (uint32_t)row;
        return STEP_DONE;
}

static const Step adoption_steps[ADOPTION_N] = {
        [ADOPTION_KEPT] = {.name = "what was kept of it", .run = adoption_kept, .answered = adoption_on_kept},
        [ADOPTION_RECORD] = {.name = "exit record", .run = adoption_record, .answered = adoption_on_record},
        [ADOPTION_LEASE] = {.name = "lease on the pod", .run = adoption_lease, .answered = adoption_on_lease},
};

/* From here on it is as one that runs, for everything but what is told of it and what needs its spec. */
static int adoption_done(Operation *operation)
{
        Adoption *adoption = container_of(operation, Adoption, operation);
        Container *container = adoption->container;
        Containerd *containerd = container->containerd;

        log_error("container %s (\"%.80s\", pod %.13s): %s", container->id, container->name, container->pod_id, ADOPTION_TEXT);
        container->adoption = adoption_free(adoption);
        container->is_adopted = true;
        container->state = CONTAINER_STATE_RUNNING;
        free(container->reason);
        container->reason = strdup(ADOPTION_REASON);
        int r = container->reason ? container_set_message(container, ADOPTION_TEXT) : error_origin(-ENOMEM);
        if (r == 0)
                r = attach_begin(container);
        if (r == 0)
                r = pod_end_again(containerd);
        if (r == 0)
                r = recover_on_attached(containerd);
        return r < 0 ? fold(r) : 0;
}

Adoption *adoption_free(Adoption *adoption)
{
        if (!adoption)
                return NULL;
        operation_end(&adoption->operation);
        free(adoption);
        return NULL;
}

int adoption_begin(Container *container)
{
        Containerd *containerd = container->containerd;
        Adoption *adoption = calloc(1, sizeof(*adoption));

        if (!adoption)
                return error_origin(-ENOMEM);
        adoption->container = container;
        adoption->operation = (Operation){.noun = "adoption", .id = container->id, .base = containerd->base, .done = adoption_done,
                                          .fail = containerd_fail, .fail_userdata = containerd};
        container->adoption = adoption;
        int r = operation_run(&adoption->operation, &adoption_steps[ADOPTION_KEPT]);
        return r < 0 ? fold(r) : 0;
}

bool adoption_is_pending(const Containerd *containerd)
{
        for (size_t i = 0; i < containerd->containers.n; i++)
                if (containerd->containers.items[i]->adoption)
                        return true;
        return containerd->recovery != NULL;
}

bool adoption_is_blind(const Containerd *containerd)
{
        return store_was_replaced(containerd->store.store) && adoption_is_pending(containerd);
}
