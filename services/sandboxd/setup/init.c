/* SPDX-License-Identifier: Apache-2.0 */

/* The init of a PID namespace that the containers of a pod share. It does what the kernel leaves to the first process
 * (reap what is orphaned) and holds the namespace. It is a fork of the hand, not a program: nothing is executed, its
 * pages are the hand's, and an image has no say in it.
 *
 * The pod's containers see it as process 1, so it must not lead them anywhere: an empty read-only root of its own, a
 * user that no container can be, no capability, not dumpable (so /proc/1 of it is closed to everybody but the host's
 * root), and a filter with the five system calls of its loop. It has no file descriptor but the maker's pipe. */

#include "lib/error.h"
#include "lib/fd.h"
#include "ipc/errand.h"
#include "services/sandboxd/setup/setup.h"
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#if defined(__x86_64__)
#define INIT_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define INIT_ARCH AUDIT_ARCH_AARCH64
#endif

#define INIT_END_MSEC 10000 /* a killed init has to wait for everything in its namespace */

static int init_enter_root(const char *root_path)
{
        /* Mounts of our own first: whatever is mounted below must not reach the host. */
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                return -1;
        if (mount("bulkhead-init", root_path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
                  "size=4k,nr_inodes=2,mode=0555") < 0)
                return -1;
        if (chdir(root_path) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 ||
            chdir("/") < 0)
                return -1;
        return mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

static int init_drop(uint32_t id)
{
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
        const struct __user_cap_data_struct none[2] = {0};

        /* Raw: glibc's wrappers would look for other threads. */
        (void)syscall(SYS_setgroups, 0, NULL); /* refused in a user namespace that has none to drop */
        if (syscall(SYS_setresgid, id, id, id) < 0 || syscall(SYS_setresuid, id, id, id) < 0 ||
            syscall(SYS_capset, &header, none) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0)
                return -1;
        return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static int init_filter(void)
{
        const struct sock_filter filter[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, INIT_ARCH, 1, 0),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_read, 6, 0),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_wait4, 5, 0),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigtimedwait, 4, 0),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close, 3, 0),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_restart_syscall, 2, 0),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 1, 0),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        const struct sock_fprog program = {.len = ARRAY_SIZE(filter), .filter = (struct sock_filter *)(uintptr_t)filter};
        return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

void init_run(const char *root_path, uint32_t id_in_namespace, int go_fd)
{
        char byte = 0;
        sigset_t all;

        (void)sigfillset(&all);
        if (setsid() < 0 || sigprocmask(SIG_SETMASK, &all, NULL) < 0 || signal(SIGCHLD, SIG_DFL) == SIG_ERR ||
            prctl(PR_SET_NAME, "bulkhead-init") < 0)
                _exit(1);
        if (dup2(go_fd, 0) < 0 || syscall(SYS_close_range, 1, ~0U, 0) < 0)
                _exit(2);
        if (init_enter_root(root_path) < 0)
                _exit(3);
        if (init_drop(id_in_namespace) < 0)
                _exit(4);
        if (init_filter() < 0)
                _exit(5);
        /* Until the namespace is pinned the maker is the only one who knows about us. */
        if (read(0, &byte, 1) != 1)
                _exit(6);
        close(0);
        for (;;) {
                static const struct timespec *const for_ever = NULL;
                while (wait4(-1, NULL, WNOHANG, NULL) > 0)
                        ;
                (void)sigtimedwait(&all, NULL, for_ever);
        }
}

/* In the pinned namespace: a pidfd of its first process, sent back. */
static _Noreturn void init_look(int socket_fd)
{
        int pidfd = (int)syscall(SYS_pidfd_open, 1, 0);
        char byte = 0;
        _exit(pidfd >= 0 && wire_send(socket_fd, 1, 0, 0, &byte, 1, &pidfd, 1) == 0 ? 0 : 1);
}

/* Only a child of who enters a process namespace is in it. */
static int init_enter_and_look(void *userdata, int socket_fd)
{
        const int *pin_fd = userdata;

        (void)prctl(PR_SET_DUMPABLE, 0); /* visible in the pod for a moment: closed to it */
        if (setns(*pin_fd, CLONE_NEWPID) < 0)
                return 1;
        pid_t pid = fork(); /* fails with ENOMEM when the namespace has lost its init */
        if (pid < 0)
                return 2;
        if (pid == 0)
                init_look(socket_fd);
        (void)errand_wait(pid);
        return 0;
}

int init_find(const char *pin_path, int *ret_pidfd)
{
        _cleanup_fd_ int pin_fd = open(pin_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (pin_fd < 0) {
                if (errno != ENOENT)
                        return error_origin(negative_errno());
                *ret_pidfd = -1;
                return 0;
        }
        _cleanup_(wire_frame_done) WireFrame frame = WIRE_FRAME_NULL;
        int status;
        int r = errand_run(init_enter_and_look, &pin_fd, &frame, &status);
        if (r < 0)
                return fold(r);
        int pidfd = r == 0 ? wire_frame_take_fd(&frame, 0) : -1;
        struct pollfd gone = {.fd = pidfd, .events = POLLIN};
        if (pidfd >= 0 && poll(&gone, 1, 0) > 0)
                pidfd = fd_close(pidfd);
        *ret_pidfd = pidfd;
        return 0;
}

int init_kill(const char *pin_path)
{
        _cleanup_fd_ int pidfd = -1;
        int r = init_find(pin_path, &pidfd);
        if (r < 0)
                return fold(r);
        if (pidfd < 0)
                return 0;
        if (syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
                return error_origin(negative_errno());
        struct pollfd gone = {.fd = pidfd, .events = POLLIN};
        int n = poll(&gone, 1, INIT_END_MSEC);
        if (n < 0)
                return error_origin(negative_errno());
        return n == 0 ? error_origin(-ETIMEDOUT) : 0;
}

/* "Pid:" of fdinfo(5): the process id as the reader's procfs counts. */
int init_pid(int pidfd, int32_t *ret_pid)
{
        char path[64];
        snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
        _cleanup_free_ char *text = NULL;
        size_t n;
        int r = fd_read_file(AT_FDCWD, path, 4096, &text, &n);
        if (r < 0)
                return fold(r);
        const char *line = strstr(text, "\nPid:");
        *ret_pid = line ? (int32_t)strtol(line + 5, NULL, 10) : 0;
        return 0;
}
