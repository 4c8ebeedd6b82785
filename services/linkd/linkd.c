/* SPDX-License-Identifier: Apache-2.0 */
#include "services/linkd/linkd.h"
#include "lib/error.h"
#include "lib/log.h"
#include "lib/strings.h"
#include "policy/policy.h"
#include <event2/event.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

/* Everything that linkd-start says before linkd may act: the memory file, then either the configuration files (first life)
 * or what there is already (later lives). */
static int linkd_receive(Linkd *linkd, bool wait)
{
        ControlFrame *frame = &linkd->frame;
        int r = control_receive(linkd->start_fd, wait, frame);

        if (r)
                return r < 0 ? fold(r) : r == CONTROL_E_MALFORMED ? error_origin(-EPROTO) : r;
        if (linkd->founding && (frame->type == CONTROL_START_KEPT || frame->type == CONTROL_START_CHILD ||
                                frame->type == CONTROL_START_READY)) {
                log_error("the suite that runs was started by another build of linkd: stop and start it as a whole");
                r = -EPROTO;
        } else if (frame->type == CONTROL_START_MEMORY)
                r = linkd_memory_map(linkd, frame->fd);
        else if (frame->type == CONTROL_START_FILE)
                r = linkd_file_add(linkd, frame->file.path, frame->fd);
        else if (frame->type == CONTROL_START_KEPT)
                r = str_equal(frame->kept.name, LINKD_LOCK) ? 0 : linkd_keep(linkd, frame->kept.name, TAKE_FD(frame->fd));
        else if (frame->type == CONTROL_START_CHILD)
                r = linkd_daemon_up(linkd, &frame->child, TAKE_FD(frame->fd));
        else if (frame->type != CONTROL_START_FILES_END && frame->type != CONTROL_START_READY)
                r = -EPROTO;
        frame->fd = fd_close(frame->fd);
        return r ? fold(r) : 0;
}

static int linkd_own_dir(const Linkd *linkd, char to[CONFIG_PATH_MAX])
{
        ssize_t n = readlink("/proc/self/exe", to, CONFIG_PATH_MAX - 1);

        if (n < 0)
                return error_origin(negative_errno());
        to[n] = '\0';
        (void)dirname(to);
        for (int i = 1; i + 1 < linkd->argc; i += 2)
                if (str_equal(linkd->argv[i], "--libexec") && !str_copy(to, CONFIG_PATH_MAX, linkd->argv[i + 1]))
                        return error_origin(-ENAMETOOLONG);
        return 0;
}

/* The daemons' own cgroup, apart from that of whoever called us, and from those of shims and containers. Without a hierarchy
 * that can be written, they stay where linkd-start is. */
static void linkd_make_cgroup(const LinkdConfig *config, ControlPlan *plan)
{
        const char *root = config->containerd.cgroup_root, *instance = config->common.instance;
        size_t size = sizeof(plan->cgroup_dir);

        if (!root[0])
                return;
        int n = snprintf(plan->cgroup_dir, size, "%s/%s" CONFIG_CGROUP_DAEMONS, root, instance);
        (void)snprintf(plan->shims_dir, size, "%s%.200s", root, config->containerd.shims_cgroup);
        if ((size_t)n >= size || (mkdir(plan->cgroup_dir, 0755) < 0 && errno != EEXIST)) {
                log_warning("cannot make cgroup %s (%s): the daemons stay in the cgroup of whoever started them",
                            plan->cgroup_dir, strerror(errno));
                plan->cgroup_dir[0] = '\0';
        }
}

/* The first life: reads, probes, opens, makes keys; the last thing is the magic that tells later lives. */
static int linkd_found(Linkd *linkd, ControlPlan *plan)
{
        LinkdMemory *memory = linkd->memory;
        char own_dir[CONFIG_PATH_MAX];
        int r;

        memset(memory, 0, sizeof(*memory));
        r = linkd_files_read(linkd, &memory->written);
        linkd_files_drop(linkd);
        if (r)
                return r < 0 ? fold(r) : r;
        memory->in_force = memory->written;
        log_set_level(memory->in_force.common.log_level);
        r = linkd_own_dir(linkd, own_dir);
        if (r == 0)
                r = linkd_probe(&memory->in_force, own_dir, linkd->systemd);
        if (r)
                return fold(r);
        r = linkd_acquire(linkd, &memory->in_force);
        if (r) {
                /* It has said in words what a person can mend. */
                log_error("cannot start: %s", strerror(-r));
                log_debug("%s", error_trace());
                return CONFIG_E_INVALID;
        }
        (void)str_copy(plan->libexec_dir, sizeof(plan->libexec_dir), memory->in_force.common.libexec_dir);
        (void)str_copy(plan->runtime_dir, sizeof(plan->runtime_dir), memory->in_force.common.runtime_dir);
        (void)str_copy(plan->socket_path, sizeof(plan->socket_path), memory->in_force.socket_path);
        if (!linkd->systemd)
                linkd_make_cgroup(&memory->in_force, plan);
        memory->size = sizeof(*memory);
        memory->magic = LINKD_MEMORY_MAGIC;
        return 0;
}

static int linkd_announce(Linkd *linkd, const ControlPlan *plan)
{
        int r = 0;

        for (size_t i = 0; r == 0 && i < linkd->n_kept; i++) {
                ControlKept kept = {0};
                (void)str_copy(kept.name, sizeof(kept.name), linkd->kept[i].name);
                r = linkd_send_start(linkd, CONTROL_KEEP, &kept, linkd->kept[i].fd);
                if (str_equal(kept.name, LINKD_LOCK)) /* linkd-start's alone: it lasts as long as the suite */
                        linkd->kept[i].fd = fd_close(linkd->kept[i].fd);
        }
        return r ? fold(r) : linkd_send_start(linkd, CONTROL_PLAN, plan, -1);
}

static int linkd_spawn_all(Linkd *linkd)
{
        for (ProcessId p = PROCESS_LINKD_START + 1; p < PROCESS_N; p++) {
                const ControlRow row = {.process = p};
                int r = p == PROCESS_CONTAINERD_SHIM ? 0 : linkd_send_start(linkd, CONTROL_SPAWN, &row, -1);
                if (r)
                        return fold(r);
        }
        return 0;
}

static void linkd_end(Linkd *linkd, int r)
{
        linkd->result = r;
        (void)event_base_loopbreak(linkd->base);
}

static void linkd_on_start(evutil_socket_t fd, short what, void *userdata)
{
        Linkd *linkd = userdata;
        int r;

        do {
                r = linkd_receive(linkd, false);
                if (r == 0 && linkd->frame.type == CONTROL_START_FILES_END)
                        linkd_reload(linkd);
        } while (r == 0);
        if (r == CONTROL_E_EOF) {
                /* Nobody would start again what dies from now on, or us: an orderly end of the daemons (never of
                 * containers) lets the next suite take over. */
                log_error("linkd-start is gone; stopping the daemons");
                linkd_stop_all(linkd);
                linkd_end(linkd, 0);
        } else if (r < 0) {
                linkd_end(linkd, r);
        }
}

static void linkd_on_signal(evutil_socket_t fd, short what, void *userdata)
{
        struct signalfd_siginfo info;

        if (read(fd, &info, sizeof(info)) == sizeof(info))
                linkd_end(userdata, 0); /* linkd-start stops the others itself, and us last */
}

static void linkd_on_rewire(evutil_socket_t fd, short what, void *userdata)
{
        linkd_rewire(userdata);
}

static int linkd_prepare_loop(Linkd *linkd)
{
        struct event_config *config = event_config_new();
        sigset_t set;

        if (!config)
                return error_origin(-ENOMEM);
        (void)event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV);
        linkd->base = event_base_new_with_config(config);
        event_config_free(config);
        (void)sigemptyset(&set);
        (void)sigaddset(&set, SIGTERM);
        (void)sigaddset(&set, SIGINT);
        (void)sigaddset(&set, SIGHUP);
        if (!linkd->base || sigprocmask(SIG_SETMASK, &set, NULL) < 0)
                return error_origin(-ENOMEM);
        (void)sigdelset(&set, SIGHUP);
        linkd->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        if (linkd->signal_fd < 0)
                return error_origin(negative_errno());
        if (!linkd->systemd)
                linkd->start_event = event_new(linkd->base, linkd->start_fd, EV_READ | EV_PERSIST, linkd_on_start, linkd);
        linkd->signal_event = event_new(linkd->base, linkd->signal_fd, EV_READ | EV_PERSIST, linkd_on_signal, linkd);
        linkd->rewire_event = event_new(linkd->base, -1, 0, linkd_on_rewire, linkd);
        if ((!linkd->start_event && !linkd->systemd) || !linkd->signal_event || !linkd->rewire_event ||
            (linkd->start_event && event_add(linkd->start_event, NULL) < 0) || event_add(linkd->signal_event, NULL) < 0)
                return error_origin(-ENOMEM);
        return 0;
}

/* What linkd-start says before we may do anything. 0: the memory file and, in the first life, the configuration files. */
static int linkd_start_begin(Linkd *linkd)
{
        int r;

        do {
                r = linkd_receive(linkd, true);
                if (r)
                        return r < 0 ? fold(r) : r;
        } while (linkd->frame.type != CONTROL_START_MEMORY);
        linkd->founding = !linkd_memory_is_filled(linkd);
        while (linkd->founding && linkd->frame.type != CONTROL_START_FILES_END) {
                r = linkd_receive(linkd, true);
                if (r)
                        return r < 0 ? fold(r) : r;
        }
        return 0;
}

/* Confined: linkd-start is told what to keep and to start, or tells what there is. */
static int linkd_start_serve(Linkd *linkd, bool first, const ControlPlan *plan)
{
        int r = first ? linkd_announce(linkd, plan) : 0;

        while (r == 0 && !first && linkd->frame.type != CONTROL_START_READY)
                r = linkd_receive(linkd, true);
        if (r == 0)
                r = linkd_spawn_all(linkd);
        return r < 0 ? fold(r) : r;
}

static int linkd_run(Linkd *linkd)
{
        ControlPlan plan = {0};

        int r = sodium_init() < 0 ? error_origin(-EIO) : linkd_prepare_loop(linkd);
        if (r == 0)
                r = linkd->systemd ? linkd_systemd_begin(linkd) : linkd_start_begin(linkd);
        bool first = linkd->founding;
        if (r == 0 && first)
                r = linkd_found(linkd, &plan);
        if (r)
                return r < 0 ? fold(r) : r;
        linkd->founding = false;
        log_set_level(linkd->memory->in_force.common.log_level);
        r = policy_enter(POLICY_LINKD, &linkd->memory->in_force.common);
        if (r == 0)
                r = linkd->systemd ? linkd_systemd_serve(linkd, first) : linkd_start_serve(linkd, first, &plan);
        if (r)
                return r < 0 ? fold(r) : r;
        if (event_base_dispatch(linkd->base) < 0)
                return error_origin(-EIO);
        return linkd->result ? fold(linkd->result) : 0;
}

static void linkd_done(Linkd *linkd)
{
        for (size_t i = 0; i < PROCESS_N; i++) {
                if (linkd->daemons[i].event)
                        event_free(linkd->daemons[i].event);
                linkd->daemons[i].control_fd = fd_close(linkd->daemons[i].control_fd);
        }
        linkd_systemd_done(linkd);
        linkd_files_drop(linkd);
        for (size_t i = 0; i < linkd->n_kept; i++)
                linkd->kept[i].fd = fd_close(linkd->kept[i].fd);
        if (linkd->start_event)
                event_free(linkd->start_event);
        if (linkd->signal_event)
                event_free(linkd->signal_event);
        if (linkd->rewire_event)
                event_free(linkd->rewire_event);
        if (linkd->base)
                event_base_free(linkd->base);
        if (linkd->memory)
                (void)munmap(linkd->memory, sizeof(*linkd->memory));
        linkd->signal_fd = fd_close(linkd->signal_fd);
        linkd->start_fd = fd_close(linkd->start_fd);
}

int linkd_main(int argc, char **argv)
{
        _cleanup_free_ Linkd *linkd = calloc(1, sizeof(*linkd));

        log_init("linkd", LOG_LEVEL_INFO);
        bool systemd = linkd_systemd_is_parent();
        if (!linkd || (!systemd && fcntl(CONTROL_FD, F_SETFD, FD_CLOEXEC) < 0)) {
                log_error("there is no control channel on fd %d: this program is started by `bulkhead up` or its unit, not by hand",
                          CONTROL_FD);
                return 2;
        }
        linkd->argc = argc;
        linkd->argv = argv;
        linkd->systemd = systemd;
        linkd->start_fd = systemd ? -1 : CONTROL_FD;
        linkd->signal_fd = linkd->notify_fd = linkd->reload_fd = -1;
        linkd->frame.fd = -1;
        for (size_t i = 0; i < PROCESS_N; i++)
                linkd->daemons[i].control_fd = linkd->doors[i].fd = linkd->doors[i].kill_fd = linkd->doors[i].stored_fd = -1;
        int r = linkd_run(linkd);
        if (r < 0)
                log_error("ending: %s", error_trace());
        linkd_done(linkd);
        return r ? 1 : 0;
}
