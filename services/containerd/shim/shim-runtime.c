/* SPDX-License-Identifier: Apache-2.0 */

/* The runtime's one run, while the shim is still root. The runtime inherits nothing but what is named here: the container's
 * streams, and the signals and limits of a fresh process. */

#include "services/containerd/shim/shim.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "lib/clock.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "lib/grpc-status.h"
#include "services/containerd/runtime/place.h"
#include "services/containerd/runtime/runtime.h"

#define SHIM_ARGUMENTS_MAX 20
#define SHIM_CONSOLE_WAIT_MSEC 2000 /* the runtime sends the terminal before it returns */
#define SHIM_FILES_MAX 1048576

/* A container's limits are those of this table where its spec sets no others: never what launch happened to inherit. */
static const struct {
        int resource;
        rlim_t soft, hard;
} shim_limits[] = {
        {RLIMIT_CPU, RLIM_INFINITY, RLIM_INFINITY},   {RLIMIT_FSIZE, RLIM_INFINITY, RLIM_INFINITY},
        {RLIMIT_DATA, RLIM_INFINITY, RLIM_INFINITY},  {RLIMIT_STACK, 8 << 20, RLIM_INFINITY},
        {RLIMIT_CORE, RLIM_INFINITY, RLIM_INFINITY},  {RLIMIT_RSS, RLIM_INFINITY, RLIM_INFINITY},
        {RLIMIT_NPROC, RLIM_INFINITY, RLIM_INFINITY}, {RLIMIT_NOFILE, SHIM_FILES_MAX, SHIM_FILES_MAX},
        {RLIMIT_MEMLOCK, 8 << 20, 8 << 20},           {RLIMIT_AS, RLIM_INFINITY, RLIM_INFINITY},
        {RLIMIT_LOCKS, RLIM_INFINITY, RLIM_INFINITY}, {RLIMIT_NICE, 0, 0},
        {RLIMIT_RTPRIO, 0, 0},                        {RLIMIT_RTTIME, RLIM_INFINITY, RLIM_INFINITY},
};

static void shim_set_limits(void)
{
        for (size_t i = 0; i < ARRAY_SIZE(shim_limits); i++) {
                __rlimit_resource_t resource = (__rlimit_resource_t)shim_limits[i].resource;
                struct rlimit limit = {.rlim_cur = shim_limits[i].soft, .rlim_max = shim_limits[i].hard}, now;
                /* A nested node may not raise its hard limits: then as much as there is. */
                if (setrlimit(resource, &limit) == 0 || getrlimit(resource, &now) < 0)
                        continue;
                limit.rlim_max = MIN2(limit.rlim_max, now.rlim_max);
                limit.rlim_cur = MIN2(limit.rlim_cur, limit.rlim_max);
                (void)setrlimit(resource, &limit);
        }
}

typedef struct ShimCommand {
        char root[PLACE_PATH_MAX], log[PLACE_PATH_MAX], document[PLACE_PATH_MAX], directory[PLACE_PATH_MAX];
        char pid_file[PLACE_PATH_MAX], console[PLACE_PATH_MAX];
        const char *arguments[SHIM_ARGUMENTS_MAX];
} ShimCommand;

/* The runtime's whole command line. What the container runs is in the document, never here. */
static void shim_command(const ShimStart *start, const Runtime *runtime, ShimCommand *command)
{
        const ConfigCommon *common = &start->common;
        Place place = start->is_exec ? PLACE_EXEC : PLACE_CONTAINER;
        size_t n = 0;
        place_path(command->root, common, PLACE_OCI, "", "");
        place_path(command->log, common, place, start->id, "/log");
        place_path(command->document, common, place, start->id, "/process.json");
        place_path(command->directory, common, place, start->id, "");
        place_path(command->pid_file, common, place, start->id, "/pid");
        place_path(command->console, common, PLACE_CONSOLE, start->id, "");
        command->arguments[n++] = runtime_name(runtime);
        command->arguments[n++] = "--root";
        command->arguments[n++] = command->root;
        command->arguments[n++] = "--log";
        command->arguments[n++] = command->log;
        if (start->systemd_cgroups)
                command->arguments[n++] = "--systemd-cgroup";
        command->arguments[n++] = start->is_exec ? "exec" : "create";
        if (start->is_exec)
                command->arguments[n++] = "--detach";
        command->arguments[n++] = start->is_exec ? "--process" : "--bundle";
        command->arguments[n++] = start->is_exec ? command->document : command->directory;
        command->arguments[n++] = "--pid-file";
        command->arguments[n++] = command->pid_file;
        if (start->flags & LAUNCH_FLAG_TTY) {
                command->arguments[n++] = "--console-socket";
                command->arguments[n++] = command->console;
        }
        command->arguments[n++] = start->container;
        command->arguments[n] = NULL;
}

static int shim_open_console(const char *path, int *ret_fd)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        if (!str_copy(address.sun_path, sizeof(address.sun_path), path))
                return error_origin(-ENAMETOOLONG);
        _cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)unlink(path);
        if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1) < 0)
                return error_origin(negative_errno());
        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* One message of the runtime's: the pty's master in its control data. Its text (the pty's name) is not looked at. */
static int shim_receive_terminal(int listener, int *ret_fd)
{
        struct pollfd p = {.fd = listener, .events = POLLIN};
        union {
                char buffer[CMSG_SPACE(sizeof(int))];
                struct cmsghdr align;
        } control;
        char name[256];
        struct iovec part = {.iov_base = name, .iov_len = sizeof(name)};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
        if (poll(&p, 1, SHIM_CONSOLE_WAIT_MSEC) != 1)
                return error_origin(-ETIMEDOUT);
        _cleanup_fd_ int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), tty_fd = -1;
        p.fd = fd;
        if (fd < 0 || poll(&p, 1, SHIM_CONSOLE_WAIT_MSEC) != 1 || recvmsg(fd, &message, MSG_CMSG_CLOEXEC) < 0)
                return error_origin(-EPROTO);
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int)))
                return error_origin(-EPROTO);
        memcpy(&tty_fd, CMSG_DATA(c), sizeof(tty_fd));
        if (fd_kind_check(tty_fd, FD_KIND_TTY) != 0)
                return error_origin(-EPROTO);
        *ret_fd = TAKE_FD(tty_fd);
        return 0;
}

/* The process cannot have been reaped (only we may), so the number is still its own. No pid file: it did not start; a process
 * that ended with 255 has one. */
static int shim_open_process(Shim *shim, const char *pid_file)
{
        char text[16] = "";
        uint64_t pid = 0;
        _cleanup_fd_ int fd = open(pid_file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
                return SHIM_E_REFUSED;
        text[strcspn(text, "\n")] = '\0';
        if (!u64_parse(text, INT32_MAX, &pid) || pid < 2)
                return error_origin(-EPROTO);
        shim->pidfd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
        if (shim->pidfd < 0)
                return error_origin(negative_errno());
        shim->record.pid = (int32_t)pid;
        return 0;
}

static _Noreturn void shim_exec_runtime(const Shim *shim, int runtime_fd, const ShimCommand *command)
{
        for (int i = 0; i < 3; i++)
                if (dup2(shim->inner[i], i) != i)
                        _exit(127);
        shim_set_limits();
        runtime_exec(runtime_fd, (char *const *)(uintptr_t)command->arguments);
}

int shim_run_runtime(Shim *shim, ShimReport *report)
{
        const ShimStart *start = shim->start;
        const Runtime runtime = {.path = start->runtime, .runtime_dir = start->common.runtime_dir};
        ShimCommand command;
        char words[RUNTIME_WORDS_MAX];
        int status = 0;
        _cleanup_fd_ int console_fd = -1, runtime_fd = -1;
        int r = runtime_open(&runtime, &runtime_fd, words);
        if (r > 0)
                return shim_refuse(report, GRPC_STATUS_FAILED_PRECONDITION, "%s", words);
        shim_command(start, &runtime, &command);
        (void)unlink(command.pid_file);
        if (r == 0 && start->flags & LAUNCH_FLAG_TTY)
                r = shim_open_console(command.console, &console_fd);
        if (r < 0)
                return fold(r);

        shim->record.started_nsec = clock_realtime_nsec();
        pid_t pid = fork();
        if (pid == 0)
                shim_exec_runtime(shim, runtime_fd, &command);
        if (pid < 0)
                return error_origin(negative_errno());
        /* From here on only the container's processes hold its ends, and only the runtime its image. */
        for (size_t i = 0; i < ARRAY_SIZE(shim->inner); i++)
                shim->inner[i] = fd_close(shim->inner[i]);
        runtime_fd = fd_close(runtime_fd);
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return error_origin(negative_errno());
        r = shim_open_process(shim, command.pid_file);
        if (r == 0 && status == 0 && console_fd >= 0)
                r = shim_receive_terminal(console_fd, &shim->tty_fd);
        if (console_fd >= 0)
                (void)unlink(command.console);
        runtime_read_log(command.log, words);
        if (r > 0 || (r == 0 && status != 0))
                return shim_refuse(report, GRPC_STATUS_UNKNOWN, "%s %s failed: %s", runtime_name(&runtime),
                                   start->is_exec ? "exec" : "create",
                                   words[0] ? words : WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "it did not say why");
        _cleanup_fd_ int cgroup_fd = start->cgroup[0] ? open(start->cgroup, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW) : -1;
        if (cgroup_fd >= 0) {
                shim->kill_fd = openat(cgroup_fd, "cgroup.kill", O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
                shim->events_fd = openat(cgroup_fd, "memory.events", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
                if (start->systemd_cgroups) {
                        shim->slice_fd = openat(cgroup_fd, "../memory.events", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
                        shim->slice_kills = shim_oom_kills(shim->slice_fd);
                }
        }
        report->created.pid = shim->record.pid;
        return r < 0 ? fold(r) : 0;
}

void shim_undo(Shim *shim)
{
        const ShimStart *start = shim->start;
        const Runtime runtime = {.path = start->runtime, .runtime_dir = start->common.runtime_dir,
                                 .systemd_cgroups = start->systemd_cgroups};
        const char *const arguments[] = {"delete", "--force", start->id, NULL};
        char words[RUNTIME_WORDS_MAX], path[PLACE_PATH_MAX];
        if (!shim->has_record)
                return;
        if (shim->pidfd >= 0)
                (void)syscall(SYS_pidfd_send_signal, shim->pidfd, SIGKILL, NULL, 0);
        place_path(path, &start->common, PLACE_OCI, start->id, "");
        if (!start->is_exec && faccessat(AT_FDCWD, path, F_OK, 0) == 0)
                (void)runtime_run(&runtime, arguments, words);
        (void)place_remove(&start->common, start->id, true);
}
