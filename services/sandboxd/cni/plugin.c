/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "services/sandboxd/cni/cni.h"
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define PLUGIN_OUTPUT_MAX (1024 * 1024)
#define PLUGIN_DRAIN_USEC (100 * 1000) /* for what a plugin that has ended may still have in its pipes */

int plugin_open(const ConfigCni *config, const char *name, char text[1024])
{
        const struct open_how how = {.flags = O_RDONLY | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
        /* CVE-2021-20206: a plugin named ../../bin/sh. */
        if (!*name || strchr("._-", *name) || name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-")]) {
                snprintf(text, 1024, "\"%s\" is not a plugin's name", name);
                return -1;
        }
        snprintf(text, 1024, "there is no plugin %s in %s; install it there", name, config->bin_dirs[0]);
        for (uint32_t i = 0; i < config->n_bin_dirs; i++) {
                struct stat st;
                _cleanup_fd_ int dir_fd = open(config->bin_dirs[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
                _cleanup_fd_ int fd = dir_fd < 0 ? -1 : (int)syscall(SYS_openat2, dir_fd, name, &how, sizeof(how));
                if (fd < 0 || fstat(fd, &st) < 0)
                        continue;
                if (S_ISREG(st.st_mode) && st.st_uid == 0 && !(st.st_mode & 022) && (st.st_mode & 0100))
                        return TAKE_FD(fd);
                snprintf(text, 1024, "%s/%s must be an executable file that only root can write", config->bin_dirs[i], name);
        }
        return -1;
}

static _Noreturn void plugin_exec(const ConfigCni *config, const CniTask *task, const TalkRun *run, const int fds[4])
{
        static const char *const commands[] = {"", "ADD", "DEL", "CHECK", "STATUS"};
        char path[16 + CONFIG_BIN_DIRS_MAX * CONFIG_PATH_MAX] = "CNI_PATH=";
        char command[32], id[96], netns[192], arguments[sizeof(run->arguments) + 16];
        for (uint32_t i = 0; i < config->n_bin_dirs; i++) {
                size_t n = strlen(path);
                snprintf(path + n, sizeof(path) - n, "%s%s", i ? ":" : "", config->bin_dirs[i]);
        }
        snprintf(command, sizeof(command), "CNI_COMMAND=%s", commands[run->command]);
        snprintf(id, sizeof(id), "CNI_CONTAINERID=%s", task->pod_id);
        snprintf(netns, sizeof(netns), "CNI_NETNS=%s%s", task->network_pin[0] ? CNI_NETNS_DIR "/" : "", task->network_pin);
        snprintf(arguments, sizeof(arguments), "CNI_ARGS=%s", run->arguments);
        const char *const argv[] = {run->plugin, NULL};
        const char *const envp[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", path, command, id, netns,
                                    "CNI_IFNAME=eth0", arguments, NULL};

        /* It must not outlive the one who holds the pod's lock. The program stays open: a script's interpreter reads it. */
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || setsid() < 0 || chdir("/") < 0)
                _exit(126);
        umask(022);
        for (int i = 0; i < 4; i++)
                if (dup2(fds[i], i) < 0 || fcntl(i, F_SETFD, 0) < 0)
                        _exit(126);
        syscall(SYS_close_range, 4, ~0U, 0);
        syscall(SYS_execveat, 3, "", argv, envp, AT_EMPTY_PATH);
        _exit(126);
}

/* Ends everything below this process except keep. As the subreaper it becomes the parent of whatever a plugin started, in
 * whichever session or cgroup, as soon as that one's parent is gone: it is ended in the next round. */
static void plugin_end_all(pid_t keep)
{
        for (bool found = true; found;) {
                _cleanup_free_ char *text = NULL;
                size_t n;
                found = false;
                if (fd_read_file(AT_FDCWD, "/proc/thread-self/children", 65536, &text, &n) < 0)
                        return;
                char *end = text;
                for (long pid; (pid = strtol(end, &end, 10)) > 0;)
                        if (pid != keep && kill((pid_t)pid, SIGKILL) == 0)
                                found = waitpid((pid_t)pid, NULL, 0) == pid || found;
        }
}

/* Reads what is there; keeps the first size bytes, counts all. False: end of file. */
static bool plugin_read(int fd, char *buffer, size_t size, size_t *n)
{
        char chunk[8192];
        ssize_t r = read(fd, chunk, sizeof(chunk));
        if (r <= 0)
                return r < 0 && (errno == EAGAIN || errno == EINTR);
        if (*n < size)
                memcpy(buffer + *n, chunk, MIN2((size_t)r, size - *n));
        *n += (size_t)r;
        return true;
}

/* Waits for the end of the plugin and of its output, within the deadline. */
static size_t plugin_wait(pid_t pid, int pidfd, int pipes[2], uint32_t timeout_sec, char *output, TalkRan *ran)
{
        uint64_t deadline = clock_monotonic_usec() + timeout_sec * USEC_PER_SEC;
        size_t n_output = 0, n_text = 0;
        bool ended = false;
        while (n_output <= PLUGIN_OUTPUT_MAX && (!ended || pipes[0] >= 0 || pipes[1] >= 0)) {
                uint64_t now = clock_monotonic_usec();
                struct pollfd fds[] = {{pipes[0], POLLIN, 0}, {pipes[1], POLLIN, 0}, {ended ? -1 : pidfd, POLLIN, 0}};
                if (now >= deadline || (poll(fds, 3, (int)((deadline - now) / 1000 + 1)) < 0 && errno != EINTR))
                        break;
                if (fds[0].revents && !plugin_read(pipes[0], output, PLUGIN_OUTPUT_MAX, &n_output))
                        pipes[0] = fd_close(pipes[0]);
                if (fds[1].revents && !plugin_read(pipes[1], ran->text, sizeof(ran->text) - 1, &n_text))
                        pipes[1] = fd_close(pipes[1]);
                if (fds[2].revents && waitpid(pid, &ran->status, 0) == pid) {
                        ended = true;
                        deadline = MIN2(deadline, clock_monotonic_usec() + PLUGIN_DRAIN_USEC);
                }
        }
        ran->how = n_output > PLUGIN_OUTPUT_MAX ? TALK_HOW_TOO_MUCH : ended ? TALK_HOW_ENDED : TALK_HOW_TIMEOUT;
        return MIN2(n_output, PLUGIN_OUTPUT_MAX);
}

int plugin_run(const ConfigCni *config, const CniTask *task, const TalkRun *run, int input_fd, pid_t keep, TalkRan *ran, int *ret_output_fd)
{
        int output[2], errors[2];
        _cleanup_fd_ int program_fd = plugin_open(config, run->plugin, ran->text);
        ran->how = TALK_HOW_MISSING;
        if (program_fd < 0)
                return 0;
        *ran = (TalkRan){0};
        /* On a failure below the process of this request ends, and all of this with it. */
        if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 || pipe2(output, O_CLOEXEC) < 0 || pipe2(errors, O_CLOEXEC) < 0)
                return error_origin(negative_errno());
        pid_t pid = fork();
        if (pid == 0)
                plugin_exec(config, task, run, (int[]){input_fd, output[1], errors[1], program_fd});
        close(output[1]);
        close(errors[1]);
        _cleanup_fd_ int pidfd = pid < 0 ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);
        _cleanup_free_ char *buffer = malloc(PLUGIN_OUTPUT_MAX);
        if (pidfd < 0 || !buffer)
                return error_origin(negative_errno());
        int pipes[2] = {output[0], errors[0]};
        size_t n = plugin_wait(pid, pidfd, pipes, task->timeout_sec, buffer, ran);
        if (ran->how != TALK_HOW_ENDED || ran->status != 0)
                plugin_end_all(keep);
        fd_close(pipes[0]);
        fd_close(pipes[1]);
        int r = fd_memfd_sealed("cni-output", buffer, n, ret_output_fd);
        return r < 0 ? fold(r) : 0;
}
