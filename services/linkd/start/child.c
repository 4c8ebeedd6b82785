/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/log.h"
#include "lib/strings.h"
#include "services/linkd/start/start.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* In the child, until execve. The program gets: /dev/null, the log twice, its control channel as fd 3, a session and (where
 * there is one) the suite's cgroup, default signals, a fixed environment. Nothing of whoever called us. */
static void start_exec(const Start *start, const char *program, int channel_fd, char **argv)
{
        char path[CONFIG_PATH_MAX + 16], journal[128] = "";
        char *environment[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL, NULL};
        const char *stream = getenv("JOURNAL_STREAM");
        sigset_t none;

        if (stream && snprintf(journal, sizeof(journal), "JOURNAL_STREAM=%s", stream) < (int)sizeof(journal))
                environment[1] = journal;
        if (start->plan.cgroup_dir[0]) {
                (void)snprintf(path, sizeof(path), "%s/cgroup.procs", start->plan.cgroup_dir);
                int fd = open(path, O_WRONLY | O_CLOEXEC);
                if (fd < 0 || write(fd, "0", 1) != 1)
                        log_warning("cannot enter cgroup %s: %s", start->plan.cgroup_dir, strerror(errno));
        }
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(channel_fd, CONTROL_FD) < 0 ||
            close_range(CONTROL_FD + 1, ~0U, 0) < 0 || fcntl(CONTROL_FD, F_SETFD, 0) < 0 || chdir("/") < 0)
                return;
        (void)umask(022);
        (void)setsid();
        for (int i = 1; i < NSIG; i++)
                (void)signal(i, SIG_DFL);
        (void)sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
        (void)execve(program, argv, environment);
}

static void start_later(StartChild *child)
{
        child->due_usec = clock_monotonic_usec() + child->backoff_usec;
        child->backoff_usec = MIN2(MAX2(child->backoff_usec * 2, START_BACKOFF_MIN_USEC), START_BACKOFF_MAX_USEC);
}

int start_child(Start *start, ProcessId process)
{
        StartChild *child = &start->children[process];
        const char *name = topology_processes[process].name;
        char program[CONFIG_PATH_MAX + 64], title[64];
        char *argv[] = {title, NULL};
        int pair[2];

        child->due_usec = 0;
        (void)snprintf(title, sizeof(title), "bulkhead-%s", name);
        (void)snprintf(program, sizeof(program), "%s/%s",
                       process == PROCESS_LINKD ? start->own_dir : start->plan.libexec_dir, title);
        if (access(program, X_OK) < 0) {
                log_error("cannot start %s: %s: %s", name, program, strerror(errno));
                start_later(child);
                return 0;
        }
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return error_origin(negative_errno());
        _cleanup_fd_ int theirs = pair[1];
        child->channel_fd = fd_close(child->channel_fd);
        child->channel_fd = pair[0];

        pid_t pid = fork();
        if (pid < 0)
                return error_origin(negative_errno());
        if (pid == 0) {
                start->argv[0] = title; /* linkd reads its own part of our command line */
                start_exec(start, program, theirs, process == PROCESS_LINKD ? start->argv : argv);
                log_error("cannot start %s: %s", name, strerror(errno));
                _exit(127);
        }
        child->pid = pid;
        child->incarnation++;
        child->started_usec = clock_monotonic_usec();
        return 0;
}

void start_child_ended(Start *start, ProcessId process, int status)
{
        StartChild *child = &start->children[process];
        const char *name = topology_processes[process].name;

        if (WIFSIGNALED(status))
                log_warning("%s (process %d) was ended by signal %d%s", name, child->pid, WTERMSIG(status),
                            WTERMSIG(status) == SIGSYS ? ": a system call that its policy forbids" : "");
        else if (WEXITSTATUS(status) || !start->stopping)
                log_warning("%s (process %d) ended with code %d", name, child->pid, WEXITSTATUS(status));
        if (clock_monotonic_usec() - child->started_usec >= START_STABLE_USEC)
                child->backoff_usec = 0;
        child->pid = 0;
        start_later(child);
}

/* 0 first: who talks to the outside, then brains, then hands and the log, linkd last. */
static unsigned int start_stop_phase(ProcessId process)
{
        if (process == PROCESS_LINKD)
                return 3;
        if (process == PROCESS_GATEWAYD || process == PROCESS_STREAMD)
                return 0;
        return topology_processes[process].kind == PROCESS_KIND_BRAIN && process != PROCESS_LOGD ? 1 : 2;
}

static size_t start_signal(Start *start, unsigned int phase, int signal_number)
{
        size_t n = 0;

        for (ProcessId p = 0; p < PROCESS_N; p++) {
                if (start->children[p].pid == 0 || start_stop_phase(p) != phase)
                        continue;
                n++;
                if (signal_number)
                        (void)kill(start->children[p].pid, signal_number);
        }
        return n;
}

void start_stop_all(Start *start)
{
        uint64_t deadline_usec = clock_monotonic_usec() + START_STOP_USEC;

        start->stopping = true;
        for (unsigned int phase = 0; phase < 4; phase++) {
                (void)start_signal(start, phase, SIGTERM);
                while (start_signal(start, phase, 0) > 0) {
                        int status;
                        pid_t pid = waitpid(-1, &status, WNOHANG);

                        for (ProcessId p = 0; pid > 0 && p < PROCESS_N; p++)
                                if (start->children[p].pid == pid)
                                        start_child_ended(start, p, status);
                        if (pid > 0)
                                continue;
                        if (clock_monotonic_usec() >= deadline_usec)
                                (void)start_signal(start, phase, SIGKILL);
                        (void)poll(NULL, 0, 10);
                }
        }
}
