/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/attach.h"

#include "ipc/edges/containerd-launch.rows.h"
#include "ipc/edges/containerd-setup.rows.h"
#include "ipc/edges/containerd-shim.rows.h"
#include "lib/error.h"
#include "lib/log.h"
#include "services/containerd/create.h"
#include "services/containerd/exit.h"
#include "services/containerd/log-link.h"
#include "services/containerd/pidfd-exit.h"
#include "services/containerd/recover.h"
#include "services/containerd/shim-link.h"
#include "services/containerd/start.h"
#include "services/containerd/stats.h"
#include "services/containerd/stop.h"
#include "services/containerd/update.h"
#include <event2/event.h>

#define ATTACH_LOOK_USEC (UINT64_C(1) * 1000000)
#define ATTACH_CODE_USEC UINT64_C(20000) /* until whoever inherited the process has reaped it */
#define ATTACH_CODES_MAX 50
#define ATTACH_LOST_CODE 255
#define ATTACH_UNMADE_TEXT "what the OCI runtime made of it is not known, because a daemon was restarted meanwhile; create another attempt"
#define ATTACH_LOST_TEXT "the shim of the container is gone, and with it the exit code"

struct Attach {
        Operation operation;
        Container *container; /* borrowed; owns us */
        struct event *ended;  /* owned; the pidfd is readable */
        uint32_t n_codes;
        bool is_watching;
};

enum { ATTACH_RECONNECT, ATTACH_STATUS, ATTACH_RECORD, ATTACH_WATCH, ATTACH_CODE, ATTACH_LOOK, ATTACH_N };
static const Step attach_steps[ATTACH_N];

static Attach *attach_of(Operation *operation)
{
        return container_of(operation, Attach, operation);
}

static const Step *attach_launch_ask(Operation *operation, const MessageRow *row)
{
        const Container *container = attach_of(operation)->container;
        LaunchContainer verb = {.runtime = container->runtime};

        (void)str_copy(verb.id, sizeof(verb.id), container->id);
        return operation_ask_flat(operation, container->containerd->launch, row, &verb, NULL, 0, OPERATION_TIMEOUT_USEC);
}

/* launch does not answer: as long as that is so nothing is known. */
static const Step *attach_later(Operation *operation, const Answer *answer)
{
        log_warning("container %s: %s: %s; trying again", operation->id, operation->step->name, answer->text);
        return operation_sleep(operation, ATTACH_LOOK_USEC, &attach_steps[ATTACH_RECONNECT]);
}

static const Step *attach_reconnect(Operation *operation)
{
        return attach_launch_ask(operation, ROW_CONTAINERD_LAUNCH_LAUNCH_RECONNECT);
}

static const Step *attach_on_reconnect(Operation *operation, const Answer *answer)
{
        Container *container = attach_of(operation)->container;

        if (answer->outcome)
                return attach_later(operation, answer);
        const LaunchReconnected *reconnected = answer->frame->flat;
        int fd = reconnected->alive ? frame_take_fd(answer->frame, 0) : -1;
        if (fd < 0)
                return &attach_steps[ATTACH_RECORD];
        int r = exit_link_shim(container, fd);
        return r < 0 ? operation_break(operation, fold(r)) : &attach_steps[ATTACH_STATUS];
}

static const Step *attach_status(Operation *operation)
{
        return operation_ask_flat(operation, attach_of(operation)->container->shim->channel, ROW_CONTAINERD_SHIM_SHIM_STATUS, NULL,
                                  NULL, 0, OPERATION_TIMEOUT_USEC);
}

static const Step *attach_saw_end(Operation *operation, const ExitRecord *record)
{
        int r = exit_see(attach_of(operation)->container, record);

        return r < 0 ? operation_break(operation, fold(r)) : STEP_DONE;
}

static bool attach_record_is_final(const ExitRecord *record)
{
        return record->magic == EXIT_RECORD_MAGIC && (record->state == EXIT_STATE_EXITED || record->state == EXIT_STATE_FAILED);
}

static const Step *attach_on_status(Operation *operation, const Answer *answer)
{
        Container *container = attach_of(operation)->container;

        if (answer->outcome)
                return &attach_steps[ATTACH_RECONNECT];
        const ShimStatus *status = answer->frame->flat;
        int pidfd = frame_take_fd(answer->frame, 0);
        if (pidfd >= 0) {
                (void)fd_close(container->pidfd);
                container->pidfd = pidfd;
        }
        container->pid = status->record.pid;
        return attach_record_is_final(&status->record) ? attach_saw_end(operation, &status->record) : STEP_DONE;
}

static const Step *attach_record(Operation *operation)
{
        Container *container = attach_of(operation)->container;

        container->shim = shim_link_free(container->shim);
        return attach_launch_ask(operation, ROW_CONTAINERD_LAUNCH_LAUNCH_EXIT_RECORD);
}

/* CreateContainer was answered, but neither a shim nor a record is here: the launch was cut off, or the runtime said no and nobody
 * heard it. */
static const Step *attach_saw_nothing(Operation *operation)
{
        Container *container = attach_of(operation)->container;

        log_warning("container %s: %s", operation->id, ATTACH_UNMADE_TEXT);
        container->log_is_lost = true;
        int r = container_set_message(container, ATTACH_UNMADE_TEXT);
        if (r == 0)
                r = container_store_save(&container->containerd->store, container);
        return r < 0 ? operation_break(operation, fold(r)) : STEP_DONE;
}

static const Step *attach_on_record(Operation *operation, const Answer *answer)
{
        if (answer->outcome)
                return attach_later(operation, answer);
        const LaunchExit *exit = answer->frame->flat;
        if (exit->exists && attach_record_is_final(&exit->record))
                return attach_saw_end(operation, &exit->record);
        if (!exit->exists && container_is_in_making(attach_of(operation)->container))
                return attach_saw_nothing(operation);
        if (attach_of(operation)->container->state == CONTAINER_STATE_EXITED) /* how is known; all of it was cleared away */
                return &attach_steps[ATTACH_LOOK];
        log_warning("container %s: its shim is gone; its process is watched, its log may have lost lines", operation->id);
        return &attach_steps[ATTACH_WATCH];
}

static void attach_on_pidfd(evutil_socket_t fd, short what, void *userdata)
{
        Attach *attach = userdata;
        Containerd *containerd = attach->container->containerd;

        (void)fd;
        (void)what;
        int r = operation_run(&attach->operation, &attach_steps[ATTACH_CODE]);
        if (r < 0)
                containerd_fail(containerd, fold(r));
}

static const Step *attach_watch(Operation *operation)
{
        Attach *attach = attach_of(operation);
        Container *container = attach->container;

        attach->is_watching = true;
        int r = container->stop_deadline_usec > 0 && !container->stop ? stop_again(container) : 0;
        if (r == 0)
                r = recover_on_attached(container->containerd);
        if (r < 0)
                return operation_break(operation, fold(r));
        if (container->pidfd < 0)
                return &attach_steps[ATTACH_LOOK];
        attach->ended = event_new(container->containerd->base, container->pidfd, EV_READ, attach_on_pidfd, attach);
        if (!attach->ended || event_add(attach->ended, NULL) < 0)
                return operation_break(operation, error_origin(-ENOMEM));
        return STEP_WAIT;
}

/* Linux 6.15 keeps the code for whoever holds a pidfd; before that it is lost with the parent. It is never guessed. */
static const Step *attach_code(Operation *operation)
{
        Attach *attach = attach_of(operation);
        Container *container = attach->container;
        int32_t exit_code = ATTACH_LOST_CODE;

        int r = pidfd_exit_read(container->pidfd, &exit_code);
        if (r == PIDFD_EXIT_E_NOT_YET && attach->n_codes++ < ATTACH_CODES_MAX)
                return operation_sleep(operation, ATTACH_CODE_USEC, operation->step);
        if (r == 0)
                r = exit_see_unknown(container, exit_code, NULL, "");
        else
                r = exit_see_unknown(container, ATTACH_LOST_CODE, "ShimLost", ATTACH_LOST_TEXT);
        return r < 0 ? operation_break(operation, fold(r)) : STEP_DONE;
}

static const Step *attach_look(Operation *operation)
{
        const Container *container = attach_of(operation)->container;
        SetupContainer verb = {0};

        (void)str_copy(verb.id, sizeof(verb.id), container->id);
        return operation_ask_flat(operation, container->containerd->setup, ROW_CONTAINERD_SETUP_CGROUP_READ, &verb, NULL, 0,
                                  OPERATION_TIMEOUT_USEC);
}

static const Step *attach_on_look(Operation *operation, const Answer *answer)
{
        const CgroupRead *values = answer->outcome ? NULL : answer->frame->flat;

        if (answer->outcome == CHANNEL_E_TIMEOUT || answer->outcome == CHANNEL_E_LOST || (values && values->exists && values->populated == 1))
                return operation_sleep(operation, ATTACH_LOOK_USEC, operation->step);
        int r = exit_see_unknown(attach_of(operation)->container, ATTACH_LOST_CODE, "ShimLost", ATTACH_LOST_TEXT);
        return r < 0 ? operation_break(operation, fold(r)) : STEP_DONE;
}

static const Step attach_steps[ATTACH_N] = {
        [ATTACH_RECONNECT] = {.name = "reconnect to its shim", .run = attach_reconnect, .answered = attach_on_reconnect},
        [ATTACH_STATUS] = {.name = "ask its shim", .run = attach_status, .answered = attach_on_status, .once = true},
        [ATTACH_RECORD] = {.name = "read its exit record", .run = attach_record, .answered = attach_on_record},
        [ATTACH_WATCH] = {.name = "watch its process", .run = attach_watch},
        [ATTACH_CODE] = {.name = "ask the kernel for its exit code", .run = attach_code},
        [ATTACH_LOOK] = {.name = "look at its cgroup", .run = attach_look, .answered = attach_on_look},
};

/* What was wanted of it before goes on. */
static int attach_done(Operation *operation)
{
        Attach *attach = attach_of(operation);
        Container *container = attach->container;
        Containerd *containerd = container->containerd;
        int r = 0;

        container->attach = attach_free(attach);
        if (!container->exit_seen) {
                r = log_link_begin(container);
                if (r == 0 && container->pid > 0)
                        r = stats_begin(container, false);
                if (r == 0 && container->state == CONTAINER_STATE_STARTING && !container->start)
                        r = start_again(container);
                if (r == 0 && container->stop_deadline_usec > 0 && !container->stop)
                        r = stop_again(container);
                if (r == 0)
                        r = update_again(container);
        }
        if (r == 0)
                r = create_made(container);
        if (r == 0)
                r = recover_on_attached(containerd);
        return r < 0 ? fold(r) : 0;
}

bool attach_is_open(const Container *container)
{
        return container->attach && !container->attach->is_watching;
}

Attach *attach_free(Attach *attach)
{
        if (!attach)
                return NULL;
        operation_end(&attach->operation);
        if (attach->ended)
                event_free(attach->ended);
        free(attach);
        return NULL;
}

int attach_begin(Container *container)
{
        Containerd *containerd = container->containerd;

        if (container->attach)
                return 0;
        Attach *attach = calloc(1, sizeof(*attach));
        if (!attach)
                return error_origin(-ENOMEM);
        attach->container = container;
        attach->operation = (Operation){.noun = "attach", .id = container->id, .base = containerd->base, .done = attach_done,
                                        .fail = containerd_fail, .fail_userdata = containerd};
        container->attach = attach;
        int r = operation_run(&attach->operation, &attach_steps[ATTACH_RECONNECT]);
        return r < 0 ? fold(r) : 0;
}
