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
        uint32_t n_looks, n_tells;
        bool is_resumed;        /* streamd has its session */
        bool is_unsure;         /* it had, before its edge was lost */
        bool tty;               /* and that has a terminal */
        bool has_terminal;      /* its shim keeps it still */
        uint32_t columns, rows; /* the window's last size */
};

#define ORPHAN_TELL_USEC UINT64_C(100000)
#define ORPHAN_TELLS_MAX 100

enum { ORPHAN_RECONNECT, ORPHAN_STATUS, ORPHAN_OWNER, ORPHAN_RELEASE, ORPHAN_TELL, ORPHAN_DELETE, ORPHAN_N };
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
                return &orphan_steps[ORPHAN_OWNER];
        if (status && status->record.state == EXIT_STATE_EXITED) {
                orphan->has_exited = true;
                orphan->exit_code = status->record.exit_code;
        }
        return &orphan_steps[ORPHAN_TELL];
}

/* The shim keeps a terminal for its size as long as streamd has its session. It comes back when we do, but not in the same moment. */
static const Step *orphan_owner(Operation *operation)
{
        Orphan *orphan = orphan_of(operation);

        orphan->has_terminal = true;
        if (orphan->is_resumed && orphan->tty) {
                int r = shim_link_resize(orphan->shim, orphan->columns, orphan->rows);
                log_info("exec %s: it goes on with its client", operation->id);
                return r < 0 ? operation_break(operation, fold(r)) : STEP_WAIT;
        }
        if (!orphan->is_resumed && !orphan->containerd->sessions_are_told && orphan->n_looks++ < ORPHAN_TELLS_MAX)
                return operation_sleep(operation, ORPHAN_TELL_USEC, operation->step);
        return &orphan_steps[ORPHAN_RELEASE];
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
        Orphan *orphan = orphan_of(operation);

        orphan->has_terminal = false;
        if (answer->outcome || orphan->has_exited)
                return &orphan_steps[ORPHAN_TELL];
        if (!orphan->is_resumed)
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
        [ORPHAN_OWNER] = {.name = "ask who has its streams", .run = orphan_owner},
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

static Orphan *orphan_find(Containerd *containerd, const char *id)
{
        list_for_each(i, &containerd->orphans) {
                Orphan *orphan = container_of(i, Orphan, link);
                if (str_equal(orphan->id, id))
                        return orphan;
        }
        return NULL;
}

bool orphan_resume(Containerd *containerd, const char *id, bool tty)
{
        Orphan *orphan = orphan_find(containerd, id);

        if (!orphan)
                return false;
        orphan->is_resumed = true;
        orphan->is_unsure = false;
        orphan->tty = tty;
        return true;
}

int orphan_resize(Containerd *containerd, const char *id, uint32_t columns, uint32_t rows)
{
        Orphan *orphan = orphan_find(containerd, id);

        if (!orphan || !orphan->is_resumed)
                return 0;
        orphan->columns = columns;
        orphan->rows = rows;
        int r = orphan->has_terminal && orphan->shim ? shim_link_resize(orphan->shim, columns, rows) : 0;
        return r < 0 ? fold(r) : 0;
}

static int orphan_leave(Orphan *orphan)
{
        orphan->is_resumed = orphan->is_unsure = false;
        /* While something is under way, that goes by what is said here. */
        int r = orphan->has_terminal && operation_is_idle(&orphan->operation)
                        ? operation_run(&orphan->operation, &orphan_steps[ORPHAN_RELEASE]) : 0;
        return r < 0 ? fold(r) : 0;
}

int orphan_close(Containerd *containerd, const char *id)
{
        Orphan *orphan = orphan_find(containerd, id);
        int r = orphan && orphan->is_resumed ? orphan_leave(orphan) : 0;

        return r < 0 ? fold(r) : 0;
}

void orphan_on_streamd_lost(Containerd *containerd)
{
        list_for_each(i, &containerd->orphans) {
                Orphan *orphan = container_of(i, Orphan, link);
                orphan->is_unsure = orphan->is_resumed;
        }
}

int orphan_on_told(Containerd *containerd)
{
        list_for_each_safe(i, next, &containerd->orphans) {
                Orphan *orphan = container_of(i, Orphan, link);
                int r = orphan->is_unsure ? orphan_leave(orphan) : 0;
                if (r < 0)
                        return fold(r);
        }
        return 0;
}

int orphan_adopt(Containerd *containerd, const char *id)
{
        if (orphan_find(containerd, id)) /* for streamd's sake */
                return 0;
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
