/* SPDX-License-Identifier: Apache-2.0 */

/* What is not listed kills the process. Sets are small and named after what they are for, so that a row reads as a list of
 * abilities. Numbers and masks are those of the manual pages of the calls (clone(2), socket(2), prctl(2), fcntl(2)). */

#include "policy/rules.h"
#include <fcntl.h>
#include <linux/prctl.h>
#include <linux/sockios.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif
#define CLONE_NEW_ANY                                                                                                  \
        (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)
#define U32 UINT64_C(0xffffffff)

#define ALLOW(c, w) {.call = c, .action = RULE_ALLOW, .why = w}
#define ALLOW_IF(c, i, m, v, w) {.call = c, .action = RULE_ALLOW, .arguments = {{true, i, m, v}}, .why = w}
#define ALLOW_IF2(c, i, m, v, j, n, x, w)                                                                              \
        {.call = c, .action = RULE_ALLOW, .arguments = {{true, i, m, v}, {true, j, n, x}}, .why = w}
#define DENY(c, e, w) {.call = c, .action = RULE_ERRNO, .error = e, .why = w}
#define DENY_IF(c, e, i, m, v, w)                                                                                      \
        {.call = c, .action = RULE_ERRNO, .error = e, .arguments = {{true, i, m, v}}, .why = w}

#define SET(n)                                                                                                         \
        static const RuleSet set_##n = {.name = #n, .rules = rules_##n, .n_rules = ARRAY_SIZE(rules_##n)}

/* Every confined process. */
static const Rule rules_base[] = {
        ALLOW("read", "signalfd, timerfd, pipes, files"),
        ALLOW("write", "log lines, pipes, files"),
        ALLOW("readv", "buffers"),
        ALLOW("writev", "buffers, assertion messages"),
        ALLOW("recvmsg", "frames"),
        ALLOW("sendmsg", "frames"),
        ALLOW("recvfrom", "frames, stream bytes"),
        ALLOW("sendto", "frames, stream bytes"),
        ALLOW("close", "fds"),
        ALLOW("poll", "hand loop"),
        ALLOW("ppoll", "hand loop (architectures without poll)"),
        ALLOW("clock_gettime", "when the vDSO cannot answer"),
        ALLOW("gettimeofday", "when the vDSO cannot answer"),
        ALLOW("time", "when the vDSO cannot answer"),
        ALLOW("clock_nanosleep", "short waits of libraries"),
        ALLOW("nanosleep", "short waits of libraries"),
        ALLOW("getrandom", "ids, nonces, hash seeds, malloc"),
        ALLOW("getpid", "frames, logs"),
        ALLOW("gettid", "libc"),
        ALLOW("getppid", "logs"),
        ALLOW("getuid", "libraries ask who they are"),
        ALLOW("geteuid", "libraries ask who they are"),
        ALLOW("getgid", "libraries ask who they are"),
        ALLOW("getegid", "libraries ask who they are"),
        ALLOW("futex", "libc's locks"),
        ALLOW("sched_yield", "libc's locks"),
        ALLOW("rseq", "libc, in a new child"),
        ALLOW("set_robust_list", "libc, in a new child"),
        ALLOW_IF("mmap", 2, PROT_EXEC, 0, "memory that is never executable"),
        ALLOW_IF("mprotect", 2, PROT_EXEC, 0, "memory that is never executable"),
        ALLOW("munmap", "memory"),
        ALLOW("mremap", "realloc"),
        ALLOW("brk", "malloc"),
        ALLOW("madvise", "malloc gives memory back"),
        ALLOW("rt_sigaction", "signal dispositions"),
        ALLOW("rt_sigprocmask", "signal masks"),
        ALLOW("rt_sigreturn", "return from a handler"),
        ALLOW("restart_syscall", "a wait that was stopped and continued"),
        ALLOW("exit", "the end"),
        ALLOW("exit_group", "the end"),
        ALLOW_IF("fcntl", 1, U32, F_GETFD, "checks"),
        ALLOW_IF("fcntl", 1, U32, F_SETFD, "close-on-exec"),
        ALLOW_IF("fcntl", 1, U32, F_GETFL, "access mode of received fds"),
        ALLOW_IF("fcntl", 1, U32, F_SETFL, "non-blocking"),
        ALLOW_IF("fcntl", 1, U32, F_GET_SEALS, "received memory files"),
        ALLOW_IF("fcntl", 1, U32, F_ADD_SEALS, "memory files to be sent"),
        ALLOW_IF("fcntl", 1, U32, F_DUPFD_CLOEXEC, "a second owner of an fd"),
        ALLOW("fstat", "kind of received fds"),
        ALLOW_IF("newfstatat", 3, AT_EMPTY_PATH, AT_EMPTY_PATH, "fstat of libc"),
        ALLOW("fstatfs", "kind of received fds"),
        ALLOW_IF("waitid", 0, U32, P_PIDFD, "kind of received fds before Linux 6.9: is it a pidfd"),
        ALLOW("lseek", "files"),
        ALLOW("pread64", "sealed memory files, files"),
        ALLOW("pwrite64", "memory files, files"),
        ALLOW("memfd_create", "large payloads"),
        ALLOW("ftruncate", "memory files, files"),
        ALLOW("getsockopt", "SO_ERROR, SO_PEERCRED"),
        ALLOW("shutdown", "half-closed streams"),
        ALLOW("uname", "libc"),
        ALLOW("sysinfo", "qsort of libc"),
        DENY("open", EACCES, "libc and libraries look for files that are optional"),
        DENY("openat", EACCES, "libc and libraries look for files that are optional"),
        DENY("access", EACCES, "libc and libraries look for files that are optional"),
        DENY("faccessat", EACCES, "libc and libraries look for files that are optional"),
        DENY("faccessat2", EACCES, "libc and libraries look for files that are optional"),
        DENY("stat", EACCES, "libc and libraries look for files that are optional"),
        DENY("lstat", EACCES, "libc and libraries look for files that are optional"),
        DENY("statx", ENOSYS, "libc looks for files that are optional"),
        DENY("readlink", EACCES, "libc looks for files that are optional"),
        DENY("readlinkat", EACCES, "libc looks for files that are optional"),
        DENY("getcwd", EACCES, "libc asks for a directory that need not exist"),
        DENY_IF("newfstatat", EACCES, 3, AT_EMPTY_PATH, 0, "libc and libraries look for files that are optional"),
        DENY_IF("ioctl", ENOTTY, 1, U32, TCGETS, "isatty on log and pipes"),
        DENY_IF("prctl", EINVAL, 0, U32, PR_SET_VMA, "malloc names its arenas"),
        DENY("clone3", ENOSYS, "flags behind a pointer cannot be checked; libc falls back to clone"),
        DENY("getrlimit", EPERM, "libc sizes stacks"),
        DENY_IF("prlimit64", EPERM, 2, UINT64_MAX, 0, "libc sizes stacks"),
        DENY("sched_getaffinity", ENOSYS, "libraries count processors"),
        DENY("tgkill", EPERM, "abort(): it then ends by an invalid instruction"),
        DENY("kill", EPERM, "no signal leaves this process"),
};
SET(base);

/* libevent's loop. */
static const Rule rules_loop[] = {
        ALLOW("epoll_wait", "the loop"),
        ALLOW("epoll_pwait", "the loop"),
        ALLOW("epoll_ctl", "the loop"),
        ALLOW("epoll_create1", "a loop after confinement"),
        ALLOW("timerfd_create", "precise timers of the loop"),
        ALLOW("timerfd_settime", "precise timers of the loop"),
        ALLOW("eventfd2", "wake-ups of the loop"),
        ALLOW("signalfd4", "signals as events"),
};
SET(loop);

static const Rule rules_listener[] = {
        ALLOW("accept4", "connections of the inherited listener"),
        ALLOW("accept", "connections of the inherited listener"),
        ALLOW("getsockname", "the address for logs"),
        ALLOW("getpeername", "the address for logs"),
        ALLOW_IF("setsockopt", 1, U32, SOL_SOCKET, "buffers, keep-alive"),
        ALLOW_IF("setsockopt", 1, U32, 6 /* IPPROTO_TCP */, "no delay"),
};
SET(listener);

/* Edges are made here, and only here. */
static const Rule rules_wiring[] = {
        ALLOW_IF("socketpair", 0, U32, AF_UNIX, "the two ends of an edge"),
        ALLOW("accept4", "under systemd processes connect to their control sockets"),
};
SET(wiring);

static const Rule rules_pipes[] = {
        ALLOW("pipe2", "bytes between processes"),
        ALLOW("splice", "bytes between pipes"),
        ALLOW("dup3", "a child's standard streams"),
        ALLOW("dup2", "a child's standard streams"),
        ALLOW("close_range", "a child's fds"),
        ALLOW_IF("fcntl", 1, U32, F_SETPIPE_SZ, "fewer turns of a pipe that moves much"),
        ALLOW_IF("ioctl", 1, U32, FIONREAD, "bytes waiting in a pipe"),
        ALLOW_IF("ioctl", 1, U32, FIONBIO, "non-blocking"),
};
SET(pipes);

/* From linux/pidfd.h of Linux 6.15: a struct of 64 bytes. */
#define RULES_PIDFD_GET_INFO _IOC(_IOC_READ | _IOC_WRITE, 0xff, 11, 64)
static const Rule rules_pidfds[] = {
        ALLOW_IF("ioctl", 1, U32, RULES_PIDFD_GET_INFO, "how a container ended whose shim is gone"),
};
SET(pidfds);

static const Rule rules_terminal[] = {
        ALLOW_IF("ioctl", 1, U32, TIOCSWINSZ, "the window of a session changed"),
};
SET(terminal);

/* Files beneath a directory of its own: the root and Landlock say where. */
static const Rule rules_files[] = {
        ALLOW("open", "files of its own"),
        ALLOW("openat", "files of its own"),
        ALLOW("openat2", "files of its own, beneath a directory"),
        ALLOW("access", "does a file exist"),
        ALLOW("faccessat", "does a file exist"),
        ALLOW("faccessat2", "does a file exist"),
        ALLOW("stat", "files of its own"),
        ALLOW("lstat", "files of its own"),
        ALLOW("newfstatat", "files of its own"),
        ALLOW("statx", "files of its own"),
        ALLOW("statfs", "space left"),
        ALLOW("readlink", "SQLite resolves its path"),
        ALLOW("readlinkat", "SQLite resolves its path"),
        ALLOW("getcwd", "SQLite resolves its path"),
        ALLOW("getdents64", "lists"),
        ALLOW("fsync", "durability"),
        ALLOW("fdatasync", "durability"),
        ALLOW("sync_file_range", "write-back of blobs"),
        ALLOW("fallocate", "reserved room"),
        ALLOW("unlink", "files of its own"),
        ALLOW("unlinkat", "files of its own"),
        ALLOW("mkdir", "directories of its own"),
        ALLOW("mkdirat", "directories of its own"),
        ALLOW("rmdir", "directories of its own"),
        ALLOW("rename", "commit by renaming"),
        ALLOW("renameat", "commit by renaming"),
        ALLOW("renameat2", "commit by renaming"),
        ALLOW("linkat", "commit by linking"),
        ALLOW("fchmod", "modes of its own files"),
        ALLOW("fchown", "SQLite keeps a file's owner"),
        ALLOW("utimensat", "times of its own files"),
        ALLOW("umask", "modes of its own files"),
        ALLOW("copy_file_range", "blobs"),
        ALLOW("sendfile", "blobs"),
        ALLOW("fadvise64", "read once"),
        ALLOW("flock", "locks"),
        ALLOW_IF("fcntl", 1, U32, F_GETLK, "SQLite's locks"),
        ALLOW_IF("fcntl", 1, U32, F_SETLK, "SQLite's locks"),
        ALLOW_IF("fcntl", 1, U32, F_SETLKW, "SQLite's locks"),
        ALLOW_IF("fcntl", 1, U32, F_OFD_GETLK, "locks"),
        ALLOW_IF("fcntl", 1, U32, F_OFD_SETLK, "locks"),
};
SET(files);

/* Log files and commit records: fds only. */
static const Rule rules_log_files[] = {
        ALLOW("fdatasync", "a finished log"),
        ALLOW("fsync", "a finished log"),
        ALLOW("pwritev", "lines at the recorded offset"),
        ALLOW("preadv", "replay"),
        ALLOW("msync", "the commit record"),
        ALLOW("fallocate", "room for lines"),
};
SET(log_files);

/* A hand that handles each request in a child, or waits for one. */
static const Rule rules_fork[] = {
        ALLOW_IF("clone", 0, CLONE_NEW_ANY, 0, "a child per request; never a namespace"),
        ALLOW("fork", "a child per request"),
        ALLOW("wait4", "the end of a child"),
        ALLOW("waitid", "the end of a child"),
};
SET(fork);

/* A process whose children confine themselves further. All of it only takes away. */
static const Rule rules_restrict[] = {
        ALLOW("seccomp", "a second, smaller filter"),
        ALLOW_IF("prctl", 0, U32, PR_SET_SECCOMP, "a second, smaller filter"),
        ALLOW_IF("prctl", 0, U32, PR_SET_NO_NEW_PRIVS, "already set"),
        ALLOW_IF("prctl", 0, U32, PR_SET_DUMPABLE, "already set"),
        ALLOW_IF("prctl", 0, U32, PR_SET_NAME, "a child's name"),
        ALLOW_IF("prctl", 0, U32, PR_SET_PDEATHSIG, "a child ends with its parent"),
        ALLOW("landlock_create_ruleset", "a second, smaller set"),
        ALLOW("landlock_add_rule", "a second, smaller set"),
        ALLOW("landlock_restrict_self", "a second, smaller set"),
        ALLOW("prlimit64", "lower limits"),
        ALLOW("setrlimit", "lower limits"),
        ALLOW("getrlimit", "lower limits"),
        ALLOW("close_range", "what a child must not have"),
};
SET(restrict);

/* A root hand whose children drop to other users and smaller sets of capabilities. */
static const Rule rules_drop[] = {
        ALLOW_IF("prctl", 0, U32, PR_CAPBSET_READ, "drop capabilities"),
        ALLOW_IF("prctl", 0, U32, PR_CAPBSET_DROP, "drop capabilities"),
        ALLOW_IF("prctl", 0, U32, PR_SET_SECUREBITS, "no capabilities by being root"),
        ALLOW_IF("prctl", 0, U32, PR_GET_SECUREBITS, "no capabilities by being root"),
        ALLOW_IF("prctl", 0, U32, PR_CAP_AMBIENT, "drop capabilities"),
        ALLOW_IF("prctl", 0, U32, PR_SET_KEEPCAPS, "drop capabilities"),
        ALLOW("capget", "drop capabilities"),
        ALLOW("capset", "drop capabilities"),
        ALLOW("setgroups", "drop groups"),
        ALLOW("setresgid", "drop groups"),
        ALLOW("setresuid", "drop users"),
        ALLOW("setgid", "drop groups"),
        ALLOW("setuid", "drop users"),
        ALLOW("chroot", "an empty root"),
        ALLOW("chdir", "an empty root"),
        ALLOW("fchdir", "an empty root"),
        ALLOW("setsid", "a session of its own"),
};
SET(drop);

static const Rule rules_processes[] = {
        ALLOW("pidfd_open", "a child that cannot be mistaken for another"),
        ALLOW("pidfd_send_signal", "ends a child by its pidfd"),
        ALLOW("kill", "ends a child"),
        ALLOW("alarm", "a deadline"),
        ALLOW("setitimer", "a deadline"),
};
SET(processes);

static const Rule rules_mounts[] = {
        ALLOW("open_tree", "a detached mount"),
        ALLOW("move_mount", "attaches a mount"),
        ALLOW("mount_setattr", "nodev, nosuid, noexec, nosymfollow, id maps"),
        ALLOW("fsopen", "tmpfs, overlay"),
        ALLOW("fsconfig", "tmpfs, overlay"),
        ALLOW("fsmount", "tmpfs, overlay"),
        ALLOW("mount", "overlay and pins by path"),
        ALLOW("umount2", "the end of a mount"),
};
SET(mounts);

static const Rule rules_namespaces[] = {
        ALLOW("clone", "children in namespaces of their own"),
        ALLOW("unshare", "namespaces"),
        ALLOW("setns", "enters a namespace that was made for a pod"),
        ALLOW("pivot_root", "the root of a jail"),
        ALLOW("sethostname", "the host name of a new namespace"),
};
SET(namespaces);

/* The rest of what building and walking trees needs; with `files`. */
static const Rule rules_trees[] = {
        ALLOW("mknodat", "whiteouts, FIFOs; a device needs CAP_MKNOD, which the process lacks"),
        ALLOW("mknod", "whiteouts, FIFOs"),
        ALLOW("symlinkat", "symbolic links"),
        ALLOW("symlink", "symbolic links"),
        ALLOW("link", "hard links"),
        ALLOW("fchownat", "owners"),
        ALLOW("lchown", "owners"),
        ALLOW("chown", "owners"),
        ALLOW("fchmodat", "modes"),
        ALLOW("fchmodat2", "modes"),
        ALLOW("chmod", "modes"),
        ALLOW("futimesat", "times"),
        ALLOW("setxattr", "extended attributes"),
        ALLOW("lsetxattr", "extended attributes"),
        ALLOW("fsetxattr", "extended attributes"),
        ALLOW("getxattr", "extended attributes"),
        ALLOW("lgetxattr", "extended attributes"),
        ALLOW("fgetxattr", "extended attributes"),
        ALLOW("listxattr", "extended attributes"),
        ALLOW("llistxattr", "extended attributes"),
        ALLOW("flistxattr", "extended attributes"),
        ALLOW("removexattr", "extended attributes"),
        ALLOW("lremovexattr", "extended attributes"),
        ALLOW("fremovexattr", "extended attributes"),
        ALLOW("syncfs", "one sync per image"),
        ALLOW("fchdir", "walks"),
};
SET(trees);

/* A child that must not outlive its parent. Said after the change of user, which takes it back. */
static const Rule rules_tied[] = {
        ALLOW_IF("prctl", 0, U32, PR_SET_PDEATHSIG, "a child ends with its parent"),
};
SET(tied);

/* What a jail tells while somebody listens. */
static const Rule rules_streams[] = {
        ALLOW_IF("socketpair", 0, U32, AF_UNIX, "the two ends of what a jail tells of a container's files"),
};
SET(streams);

/* The jail alone: a mknodat that cannot make a device even where the capability is. */
static const Rule rules_jail[] = {
        ALLOW_IF2("mknodat", 2, S_IFMT, S_IFCHR, 3, U32, 0, "whiteouts"),
        ALLOW_IF("mknodat", 2, S_IFMT, S_IFIFO, "FIFOs"),
        ALLOW_IF("mknodat", 2, S_IFMT, S_IFREG, "files"),
        ALLOW("symlinkat", "symbolic links"),
        ALLOW("linkat", "hard links"),
        ALLOW("fchownat", "owners"),
        ALLOW("fchmodat", "modes"),
        ALLOW("fchmodat2", "modes"),
        ALLOW("setxattr", "extended attributes"),
        ALLOW("lsetxattr", "extended attributes"),
        ALLOW("fsetxattr", "extended attributes"),
        ALLOW("getxattr", "extended attributes"),
        ALLOW("lgetxattr", "extended attributes"),
        ALLOW("fgetxattr", "extended attributes"),
        ALLOW("llistxattr", "extended attributes"),
        ALLOW("flistxattr", "extended attributes"),
        ALLOW("lremovexattr", "extended attributes"),
        ALLOW("fremovexattr", "extended attributes"),
        ALLOW("syncfs", "one sync per image"),
        ALLOW("fchdir", "walks"),
};
SET(jail);

/* Registries. */
static const Rule rules_network[] = {
        ALLOW_IF("socket", 0, U32, AF_INET, "registries, name servers"),
        ALLOW_IF("socket", 0, U32, AF_INET6, "registries, name servers"),
        DENY_IF("socket", EAFNOSUPPORT, 0, U32, AF_UNIX, "libraries probe for name service daemons"),
        DENY_IF("socket", EAFNOSUPPORT, 0, U32, AF_NETLINK, "libraries list interfaces"),
        ALLOW_IF("socketpair", 0, U32, AF_UNIX, "libcurl's wake-up"),
        ALLOW("connect", "registries, name servers"),
        ALLOW("getsockname", "which address was used"),
        ALLOW("getpeername", "which address was reached"),
        ALLOW("setsockopt", "no delay, keep-alive, buffers"),
        ALLOW("sendmmsg", "name servers"),
        ALLOW("recvmmsg", "name servers"),
        ALLOW_IF("ioctl", 1, U32, FIONBIO, "non-blocking"),
        ALLOW("pipe2", "libcurl's wake-up"),
        ALLOW("eventfd2", "libcurl's wake-up"),
};
SET(network);

/* A pod's new network namespace: lo is brought up through an ioctl on any socket. */
static const Rule rules_network_setup[] = {
        ALLOW_IF("socket", 0, U32, AF_INET, "carries the ioctls for lo; a forwarded port of a pod"),
        ALLOW_IF("socket", 0, U32, AF_NETLINK, "addresses and links of a new namespace"),
        ALLOW_IF("ioctl", 1, U32, SIOCGIFFLAGS, "lo up"),
        ALLOW_IF("ioctl", 1, U32, SIOCSIFFLAGS, "lo up"),
        ALLOW_IF("ioctl", 1, U32, 0xb703 /* NS_GET_NSTYPE */, "a pin is the namespace it says"),
        ALLOW_IF("ioctl", 1, U32, 0xb701 /* NS_GET_USERNS */, "a pin belongs to the pod's user namespace"),
        ALLOW("bind", "netlink"),
        ALLOW_IF("socket", 0, U32, AF_INET6, "a forwarded port of a pod that listens on ::1"),
        ALLOW("connect", "a forwarded port, from within the pod's network namespace"),
        ALLOW("setsockopt", "netlink"),
};
SET(network_setup);

/* Making a pod's namespaces in a child, and the loop of a pod's init, whose own filter is smaller still. */
static const Rule rules_pod[] = {
        ALLOW_IF("socketpair", 0, U32, AF_UNIX, "the child that leaves the host's namespaces talks to the hand"),
        ALLOW("rt_sigtimedwait", "the init waits for children"),
        ALLOW("fchmodat", "modes of a pod's files"),
        ALLOW("fchownat", "a pod's files belong to its root"),
};
SET(pod);

/* Layers with the owners of a user namespace, put together in a child. */
static const Rule rules_idmap[] = {
        ALLOW_IF("ioctl", 1, U32, 0xb703 /* NS_GET_NSTYPE */, "the pin of a pod's user namespace is one"),
        ALLOW_IF("socketpair", 0, U32, AF_UNIX, "the child that mounts apart from the host hands over the overlay"),
};
SET(idmap);

/* The shim: waits, hands out its fds when containerd comes back. */
static const Rule rules_shim[] = {
        ALLOW("accept4", "containerd reconnects"),
        ALLOW("wait4", "the end of the container"),
        ALLOW("waitid", "the end of the container"),
        ALLOW("epoll_wait", "the loop"),
        ALLOW("epoll_pwait", "the loop"),
        ALLOW("epoll_ctl", "the loop"),
        ALLOW("fdatasync", "the exit record"),
};
SET(shim);

#define SETS(...) {&set_base, __VA_ARGS__}

const RuleSet *const rule_sets[POLICY_N][RULE_SETS_MAX] = {
        [POLICY_LINKD] = SETS(&set_loop, &set_wiring),
        [POLICY_GATEWAYD] = SETS(&set_loop, &set_listener),
        [POLICY_STREAMD] = SETS(&set_loop, &set_listener),
        [POLICY_IMAGED] = SETS(&set_loop, &set_files, &set_pipes),
        [POLICY_IMAGED_FETCH] = SETS(&set_loop, &set_network, &set_pipes, &set_fork, &set_restrict),
        [POLICY_IMAGED_PARSE] = SETS(&set_loop, &set_fork, &set_restrict),
        [POLICY_IMAGED_TREE] = SETS(&set_files, &set_trees, &set_mounts, &set_namespaces, &set_fork, &set_restrict,
                                    &set_drop, &set_processes, &set_pipes, &set_streams),
        [POLICY_SANDBOXD] = SETS(&set_loop, &set_files),
        [POLICY_SANDBOXD_SETUP] = SETS(&set_files, &set_mounts, &set_namespaces, &set_fork, &set_restrict,
                                       &set_drop, &set_processes, &set_pipes, &set_network_setup, &set_pod),
        [POLICY_CONTAINERD] = SETS(&set_loop, &set_files, &set_pipes, &set_pidfds),
        [POLICY_CONTAINERD_SETUP] = SETS(&set_files, &set_trees, &set_mounts, &set_namespaces, &set_fork, &set_restrict,
                                         &set_drop, &set_processes, &set_pipes, &set_idmap),
        [POLICY_CONTAINERD_SHIM] = SETS(&set_shim, &set_terminal),
        [POLICY_LOGD] = SETS(&set_loop, &set_log_files, &set_pipes),
        [POLICY_FETCH_CHILD] = SETS(&set_loop, &set_network, &set_tied),
        [POLICY_PARSE_CHILD] = SETS(&set_tied),
        [POLICY_DECOMPRESS_CHILD] = SETS(&set_tied),
        [POLICY_TREE_JAIL] = SETS(&set_files, &set_jail, &set_tied),
        [POLICY_RENDER_CHILD] = SETS(NULL),
        [POLICY_ARCHIVE_CHILD] = SETS(NULL),
        [POLICY_CNI_CHILD] = SETS(NULL),
};
