/* SPDX-License-Identifier: Apache-2.0 */

/* usage: bulkhead-linkd-start [--libexec DIR] [--config FILE] [--ready-fd N] [--set KEY=VALUE]...
 *        bulkhead-linkd-start --reload [--config FILE]    under systemd: gives linkd the configuration anew */

#include "lib/clock.h"
#include "lib/error.h"
#include "lib/log.h"
#include "lib/pages.h"
#include "lib/strings.h"
#include "services/endowment.h"
#include "services/linkd/config-files.h"
#include "services/linkd/start/start.h"
#include "services/linkd/tls-files.h"
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

static int start_send(Start *start, ControlType type, const void *body, int fd)
{
        int channel_fd = start->children[PROCESS_LINKD].channel_fd;
        int r = channel_fd < 0 ? CONTROL_E_EOF : control_send(channel_fd, type, body, NULL, 0, fd);
        return r < 0 ? fold(r) : 0; /* linkd died meanwhile: its next life is told everything again */
}

static int start_send_child(Start *start, ProcessId process)
{
        const StartChild *child = &start->children[process];
        const ControlChild body = {.process = process, .pid = child->pid, .incarnation = child->incarnation};

        return start_send(start, CONTROL_START_CHILD, &body, child->pid ? child->channel_fd : -1);
}

static int start_send_file(void *userdata, const char *path, int fd)
{
        ControlFile file = {0};

        (void)str_copy(file.path, sizeof(file.path), path);
        return start_send(userdata, CONTROL_START_FILE, &file, fd);
}

/* Opened anew: linkd gets it, and a linkd to come. */
static int start_send_kept(void *userdata, const ControlKept *kept, int fd)
{
        Start *start = userdata;

        for (size_t i = 0; i < start->n_kept; i++)
                if (str_equal(start->kept[i].name.name, kept->name))
                        (void)dup3(fd, start->kept[i].fd, O_CLOEXEC);
        return start_send(start, CONTROL_START_KEPT, kept, fd);
}

/* The configuration and conf.d beside it, in order, after what it names and a reload renews: linkd must not open files. */
static int start_send_files(Start *start)
{
        int r = tls_files_open(start->plan.runtime_dir, start_send_kept, start);
        r = r ? r : config_files_open(start->config, start_send_file, start);
        return r ? r : start_send(start, CONTROL_START_FILES_END, NULL, -1);
}

/* A fresh linkd reads files; one that comes back finds everything in the memory file, and its daemons alive. */
static int start_linkd(Start *start)
{
        int r = start_child(start, PROCESS_LINKD);
        if (r || start->children[PROCESS_LINKD].pid == 0)
                return r;
        r = start_send(start, CONTROL_START_MEMORY, NULL, start->memory_fd);
        if (r == 0 && !start->planned)
                return start_send_files(start);
        for (size_t i = 0; r == 0 && i < start->n_kept; i++)
                r = start_send(start, CONTROL_START_KEPT, &start->kept[i].name, start->kept[i].fd);
        for (ProcessId p = PROCESS_LINKD_START + 1; r == 0 && p < PROCESS_N; p++)
                if (start->children[p].incarnation > 0)
                        r = start_send_child(start, p);
        return r ? r : start_send(start, CONTROL_START_READY, NULL, -1);
}

/* The fixed table: whatever linkd says, only these are ever executed, under these names. */
static bool start_is_program(uint32_t process)
{
        return process < PROCESS_N && process != PROCESS_LINKD && process != PROCESS_LINKD_START &&
               process != PROCESS_CONTAINERD_SHIM;
}

static int start_spawn(Start *start, uint32_t process)
{
        if (!start->planned || !start_is_program(process))
                return error_origin(-EPROTO);
        if (start->children[process].pid)
                return 0;
        int r = start_child(start, (ProcessId)process);
        return r || start->children[process].pid == 0 ? r : start_send_child(start, (ProcessId)process);
}

static int start_on_frame(Start *start, ControlFrame *frame)
{
        if (frame->type == CONTROL_PLAN || frame->type == CONTROL_KEEP) {
                /* Obeyed before the first daemon starts: a linkd that was taken over later changes neither. */
                if (start->planned || (frame->type == CONTROL_KEEP && start->n_kept == START_KEPT_MAX))
                        return error_origin(-EPROTO);
                if (frame->type == CONTROL_PLAN) {
                        start->plan = frame->plan;
                        start->planned = true;
                } else {
                        start->kept[start->n_kept++] = (StartKept){.name = frame->kept, .fd = TAKE_FD(frame->fd)};
                }
        } else if (frame->type == CONTROL_SPAWN) {
                return start_spawn(start, frame->row.process);
        } else if (frame->type == CONTROL_KILL) {
                if (start_is_program(frame->row.process) && start->children[frame->row.process].pid)
                        (void)kill(start->children[frame->row.process].pid, SIGKILL);
        } else if (frame->type == CONTROL_STATUS) {
                if (frame->status.ready && start->ready_fd >= 0 && write(start->ready_fd, "1", 1) != 0)
                        start->ready_fd = fd_close(start->ready_fd);
                pages_give_back(); /* everything is started */
        } else {
                return error_origin(-EPROTO);
        }
        return 0;
}

/* SIGCHLD tells of linkd's end; what linkd says wrongly makes us start a new one. */
static void start_on_linkd(Start *start)
{
        StartChild *linkd = &start->children[PROCESS_LINKD];
        int r = control_receive(linkd->channel_fd, false, &start->frame);

        if (r == 0) {
                r = start_on_frame(start, &start->frame);
                start->frame.fd = fd_close(start->frame.fd);
        }
        if (r && r != CONTROL_E_AGAIN) {
                linkd->channel_fd = fd_close(linkd->channel_fd);
                if (linkd->pid && r != CONTROL_E_EOF)
                        (void)kill(linkd->pid, SIGKILL);
        }
}

static int start_reap(Start *start)
{
        pid_t pid;
        int status, r = 0;

        while (r == 0 && (pid = waitpid(-1, &status, WNOHANG)) > 0) {
                for (ProcessId p = 0; p < PROCESS_N; p++) {
                        if (start->children[p].pid != pid)
                                continue;
                        start_child_ended(start, p, status);
                        if (p == PROCESS_LINKD && !start->planned)
                                return -ECANCELED; /* it has said what is wrong */
                        if (p != PROCESS_LINKD)
                                r = start_send_child(start, p);
                }
        }
        return r;
}

static int start_on_signal(Start *start)
{
        struct signalfd_siginfo info;

        while (read(start->signal_fd, &info, sizeof(info)) == sizeof(info)) {
                if (info.ssi_signo == SIGHUP && start->planned)
                        (void)start_send_files(start); /* a file that cannot be opened is in the log; all stays as it is */
                else if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
                        start->stopping = true;
        }
        return start_reap(start);
}

static int start_due(Start *start, int *ret_timeout_msec)
{
        uint64_t now = clock_monotonic_usec(), next = USEC_INFINITY;

        for (ProcessId p = 0; p < PROCESS_N; p++) {
                if (start->children[p].due_usec && start->children[p].due_usec <= now) {
                        int r = p == PROCESS_LINKD ? start_linkd(start) : start_spawn(start, p);
                        if (r)
                                return fold(r);
                }
                if (start->children[p].due_usec)
                        next = MIN2(next, start->children[p].due_usec);
        }
        *ret_timeout_msec = next == USEC_INFINITY ? -1 : next <= now ? 0 : (int)((next - now) / 1000 + 1);
        return 0;
}

static int start_run(Start *start)
{
        int timeout_msec = -1;
        int r = start_linkd(start);

        while (r == 0 && !start->stopping) {
                r = start_due(start, &timeout_msec);
                struct pollfd fds[] = {
                        {.fd = start->signal_fd, .events = POLLIN},
                        {.fd = start->children[PROCESS_LINKD].channel_fd, .events = POLLIN},
                };
                if (r == 0 && poll(fds, ARRAY_SIZE(fds), timeout_msec) < 0 && errno != EINTR)
                        r = error_origin(negative_errno());
                if (r == 0 && fds[1].revents)
                        start_on_linkd(start);
                if (r == 0 && fds[0].revents)
                        r = start_on_signal(start);
        }
        if (start->planned)
                log_info("stopping; containers keep running");
        start_stop_all(start);
        if (start->plan.socket_path[0])
                (void)unlink(start->plan.socket_path);
        /* While containers run, their shims keep the second one. */
        if (start->plan.cgroup_dir[0] && rmdir(start->plan.cgroup_dir) == 0)
                (void)rmdir(start->plan.shims_dir);
        return r;
}

static int start_prepare(Start *start)
{
        sigset_t set;

        for (size_t i = 0; i < PROCESS_N; i++)
                start->children[i].channel_fd = -1;
        start->memory_fd = memfd_create("bulkhead-linkd", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (start->memory_fd < 0 || ftruncate(start->memory_fd, START_MEMORY_BYTES) < 0 ||
            fcntl(start->memory_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
                return error_origin(negative_errno());
        (void)sigemptyset(&set);
        (void)sigaddset(&set, SIGTERM);
        (void)sigaddset(&set, SIGINT);
        (void)sigaddset(&set, SIGHUP);
        (void)sigaddset(&set, SIGCHLD);
        (void)sigaddset(&set, SIGPIPE);
        (void)sigprocmask(SIG_SETMASK, &set, NULL);
        (void)sigdelset(&set, SIGPIPE);
        start->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        return start->signal_fd < 0 ? error_origin(negative_errno()) : 0;
}

/* Under systemd, where linkd is not our child but has a socket: it gets the files, and its log says what it makes of them. */
static int start_reload(Start *start)
{
        int r = endowment_open_control(PROCESS_LINKD);
        if (r)
                return fold(r);
        start->children[PROCESS_LINKD].channel_fd = CONTROL_FD;
        (void)str_copy(start->plan.runtime_dir, CONFIG_PATH_MAX, dirname(getenv("BULKHEAD_CONTROL")));
        return start_send_files(start);
}

static bool start_read_arguments(Start *start, int argc, char **argv)
{
        uint64_t n;

        start->argv = argv;
        start->ready_fd = -1;
        if (readlink("/proc/self/exe", start->own_dir, sizeof(start->own_dir) - 1) > 0)
                (void)dirname(start->own_dir);
        start->reload = argc > 1 && str_equal(argv[1], "--reload");
        for (int i = start->reload ? 2 : 1; i < argc; i += 2) {
                if (i + 1 == argc)
                        return false;
                if (str_equal(argv[i], "--config"))
                        start->config = argv[i + 1];
                else if (str_equal(argv[i], "--libexec") && str_copy(start->own_dir, sizeof(start->own_dir), argv[i + 1]))
                        continue;
                else if (str_equal(argv[i], "--ready-fd") && u64_parse(argv[i + 1], 1 << 20, &n)) {
                        start->ready_fd = fcntl((int)n, F_SETFD, FD_CLOEXEC) == 0 ? (int)n : -1;
                        argv[i + 1][0] = '\0'; /* means nothing to linkd */
                } else if (!str_equal(argv[i], "--set"))
                        return false;
        }
        return true;
}

int main(int argc, char **argv)
{
        _cleanup_free_ Start *start = calloc(1, sizeof(*start));

        log_init("linkd-start", LOG_LEVEL_INFO);
        if (!start || !start_read_arguments(start, argc, argv)) {
                log_error("usage: bulkhead-linkd-start [--libexec DIR] [--config FILE] [--ready-fd N] [--set KEY=VALUE]...");
                return 2;
        }
        if (geteuid() != 0) {
                log_error("only root can start the suite: each daemon gives up what it does not need by itself");
                return 1;
        }
        int r = start->reload ? start_reload(start) : start_prepare(start);
        if (r == 0 && !start->reload)
                r = start_run(start);
        if (r && r != -ECANCELED)
                log_error("ending: %s", error_trace());
        return r ? 1 : 0;
}
