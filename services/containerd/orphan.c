/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/orphan.h"

#include "ipc/edges/containerd-launch.rows.h"
#include "ipc/edges/containerd-shim.rows.h"
#include "lib/error.h"
#include "lib/log.h"
#include "services/containerd/operation.h"
#include "services/containerd/session.h"
#include "services/containerd/shim-link.h"

struct Orphan {
        Operation operation;
        List link; /* in Containerd.orphans */
        Containerd *containerd; /* borrowed; owns us */
        char id[ID_LENGTH + 1];
        ShimLink *shim; /* owned; NULL without one */
        bool has_exited;
        int32_t exit_code;
        uint32_t n_tells;
};

#define ORPHAN_TELL_USEC UINT64_C(100000)
#define ORPHAN_TELLS_MAX 100

enum { ORPHAN_RECONNECT, ORPHAN_STATUS, ORPHAN_RELEASE, ORPHAN_TELL, ORPHAN_DELETE, ORPHAN_N };
static const Step orphan_steps[ORPHAN_N];

static Orphan *orphan_of(Operation *operation)
{
        return container_of(operation, Orphan, operation);
}

static const Step *orphan_launch_ask(Operation *operation, const MessageRow *row)
{
        const Orphan *orphan = orphan_of(operation);
        LaunchContainer verb = {0};

        (void)str_copy(verb.id, sizeof(verb.id), orphan->id);
        return operation_ask_flat(operation, orphan->containerd->launch, row, &verb, NULL, 0, OPERATION_TIMEOUT_USEC);
}

static int orphan_end(Orphan *orphan)
{
        int r = operation_is_idle(&orphan->operation) ? operation_run(&orphan->operation, &orphan_steps[ORPHAN_TELL]) : 0;

        return r < 0 ? fold(r) : 0;
}

static int orphan_on_exited(void *userdata, const ExitRecord *record)
{
        Orphan *orphan = userdata;

        orphan->has_exited = true;
        orphan->exit_code = record->exit_code;
        return orphan_end(orphan);
}

static int orphan_on_lost(void *userdata)
{
        return orphan_end(userdata);
}

static const Step *orphan_reconnect(Operation *operation)
{
        return orphan_launch_ask(operation, ROW_CONTAINERD_LAUNCH_LAUNCH_RECONNECT);
}

static const Step *orphan_on_reconnect(Operation *operation, const Answer *answer)
{
        Orphan *orphan = orphan_of(operation);
        const LaunchReconnected *reconnected = answer->outcome ? NULL : answer->frame->flat;
        int fd = reconnected && reconnected->alive ? frame_take_fd(answer->frame, 0) : -1;
        const ShimLinkSpec spec = {.on_exited = orphan_on_exited, .on_lost = orphan_on_lost, .fail = containerd_fail,
                                   .userdata = orphan, .fail_userdata = orphan->containerd};

        if (fd < 0)
                return &orphan_steps[ORPHAN_TELL];
        int r = shim_link_new(&orphan->shim, orphan->containerd->base, fd, &spec);
        return r < 0 ? operation_break(operation, fold(r)) : &orphan_steps[ORPHAN_STATUS];
}

static const Step *orphan_status(Operation *operation)
{
        return operation_ask_flat(operation, orphan_of(operation)->shim->channel, ROW_CONTAINERD_SHIM_SHIM_STATUS, NULL, NULL, 0,
                                  OPERATION_TIMEOUT_USEC);
}

static const Step *orphan_on_status(Operation *operation, const Answer *answer)
{
        Orphan *orphan = orphan_of(operation);
        const ShimStatus *status = answer->outcome ? NULL : answer->frame->flat;

        if (status && status->record.state == EXIT_STATE_CREATED)
                return &orphan_steps[ORPHAN_RELEASE];
        if (status && status->record.state == EXIT_STATE_EXITED) {
                orphan->has_exited = true;
                orphan->exit_code = status->record.exit_code;
        }
        return &orphan_steps[ORPHAN_TELL];
}

/* Whoever has its streams still (streamd, for a session) keeps them open; if nobody has, they break now and do not block the
 * command for ever. */
static const Step *orphan_release(Operation *operation)
{
        static const ShimRelease verb = {.streams = SHIM_STREAM_STDIN | SHIM_STREAM_OUTPUT};

        return operation_ask_flat(operation, orphan_of(operation)->shim->channel, ROW_CONTAINERD_SHIM_SHIM_RELEASE, &verb, NULL, 0,
                                  OPERATION_TIMEOUT_USEC);
}

static const Step *orphan_on_release(Operation *operation, const Answer *answer)
{
        const Orphan *orphan = orphan_of(operation);

        if (answer->outcome || orphan->has_exited)
                return &orphan_steps[ORPHAN_TELL];
        log_info("exec %s: it outlived its caller; it is left alone until it ends", operation->id);
        return STEP_WAIT;
}

/* streamd may have its session. It comes back when we do, but not in the same moment. */
static const Step *orphan_tell(Operation *operation)
{
        Orphan *orphan = orphan_of(operation);
        Channel *streamd = orphan->containerd->streamd;

        if (!channel_is_connected(streamd) && orphan->n_tells++ < ORPHAN_TELLS_MAX)
                return operation_sleep(operation, ORPHAN_TELL_USEC, operation->step);
        int r = session_tell_end(orphan->containerd, orphan->id, orphan->exit_code, orphan->has_exited ? "" :
                                 "the shim of the command is gone, and with it the exit code; run it again");
        return r < 0 ? operation_break(operation, fold(r)) : &orphan_steps[ORPHAN_DELETE];
}

static const Step *orphan_delete(Operation *operation)
{
        Orphan *orphan = orphan_of(operation);

        orphan->shim = shim_link_free(orphan->shim);
        return orphan_launch_ask(operation, ROW_CONTAINERD_LAUNCH_LAUNCH_DELETE);
}

static const Step *orphan_on_delete(Operation *operation, const Answer *answer)
{
        if (answer->outcome)
                log_warning("exec %s: what it left cannot be removed: %s", operation->id, answer->text);
        return STEP_DONE;
}

static const Step orphan_steps[ORPHAN_N] = {
        [ORPHAN_RECONNECT] = {.name = "reconnect to its shim", .run = orphan_reconnect, .answered = orphan_on_reconnect},
        [ORPHAN_STATUS] = {.name = "ask its shim", .run = orphan_status, .answered = orphan_on_status, .once = true},
        [ORPHAN_RELEASE] = {.name = "streams", .run = orphan_release, .answered = orphan_on_release, .once = true},
        [ORPHAN_TELL] = {.name = "tell its end", .run = orphan_tell},
        [ORPHAN_DELETE] = {.name = "clear away", .run = orphan_delete, .answered = orphan_on_delete},
};

static int orphan_done(Operation *operation)
{
        (void)orphan_free(orphan_of(operation));
        return 0;
}

Orphan *orphan_free(Orphan *orphan)
{
        if (!orphan)
                return NULL;
        operation_end(&orphan->operation);
        orphan->shim = shim_link_free(orphan->shim);
        list_remove(&orphan->link);
        free(orphan);
        return NULL;
}

void orphan_free_all(Containerd *containerd)
{
        while (!list_is_empty(&containerd->orphans))
                (void)orphan_free(list_first(&containerd->orphans, Orphan, link));
}

int orphan_adopt(Containerd *containerd, const char *id)
{
        Orphan *orphan = calloc(1, sizeof(*orphan));

        if (!orphan)
                return error_origin(-ENOMEM);
        orphan->containerd = containerd;
        (void)str_copy(orphan->id, sizeof(orphan->id), id);
        orphan->operation = (Operation){.noun = "orphan", .id = orphan->id, .base = containerd->base, .done = orphan_done,
                                        .fail = containerd_fail, .fail_userdata = containerd};
        list_append(&containerd->orphans, &orphan->link);
        int r = operation_run(&orphan->operation, &orphan_steps[ORPHAN_RECONNECT]);
        return r < 0 ? fold(r) : 0;
}
