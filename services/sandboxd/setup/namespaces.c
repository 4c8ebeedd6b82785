/* SPDX-License-Identifier: Apache-2.0 */

/* Making a pod's namespaces. A child (the maker) leaves the host's namespaces for new ones, one after the other; the hand
 * itself never does. What needs the host's authority stays with the hand: the maps of a user namespace, and the mounts
 * that pin (a process in a user namespace of its own could not make them).
 *
 *      hand                                maker
 *      fork ------------------------------->  unshare(user)
 *      write uid_map, gid_map  <-- MAPS ----
 *                              --- go ----->  unshare(net, ipc, uts, pid), fork the init
 *                                             sethostname, lo up
 *      mount each pin          <-- PINS ----  fds of /proc/self/ns/...
 *                              --- go ----->  sysctls, inside
 *                              <-- DONE ----  lets the init stay, exits
 *
 * Order of user first: the others then belong to it, which is what gives the pod's root power over them and over nothing
 * else. A maker that fails says at what, exits, and takes the init with it. A hand that dies takes the maker with it: its
 * next read sees the end of the socket. */

#include "lib/error.h"
#include "lib/fd.h"
#include "lib/strings.h"
#include "services/sandboxd/hostname.h"
#include "services/sandboxd/setup/setup.h"
#include "services/sandboxd/sysctl.h"
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <linux/openat2.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/wait.h>

/* Ids of frames between the two; both are this file. */
enum { MAKER_MAPS = 1, MAKER_PINS, MAKER_DONE, MAKER_FAILED, MAKER_GO };

/* What the maker says with DONE and FAILED. */
typedef struct MakerReport {
        int32_t error;      /* errno */
        uint32_t code;      /* gRPC status */
        char what[512];     /* the stage, "" with DONE */
        char hostname[65];
} MakerReport;

typedef struct Maker {
        const SetupMake *make;
        const char *init_root; /* where the init mounts its root: a directory that exists */
        uint32_t init_id;
        int socket_fd;
        int go_fd; /* write end of the init's pipe; -1 without an init */
        pid_t init;
} Maker;

static _Noreturn void maker_fail(Maker *maker, uint32_t code, int error, const char *what)
{
        MakerReport report = {.error = error, .code = code};
        (void)str_copy(report.what, sizeof(report.what), what);
        (void)wire_send(maker->socket_fd, MAKER_FAILED, 0, 0, &report, sizeof(report), NULL, 0);
        if (maker->init > 0) {
                (void)kill(maker->init, SIGKILL);
                (void)waitpid(maker->init, NULL, 0);
        }
        _exit(1);
}

static void maker_wait(Maker *maker)
{
        WireFrame frame = WIRE_FRAME_NULL;
        int r = wire_receive(maker->socket_fd, false, &frame);
        bool go = r == 0 && frame.header.id == MAKER_GO;
        wire_frame_done(&frame);
        if (!go)
                maker_fail(maker, GRPC_STATUS_ABORTED, ECANCELED, "the hand stopped making the pod");
}

static void maker_start_init(Maker *maker)
{
        int go[2];
        if (pipe2(go, O_CLOEXEC) < 0)
                maker_fail(maker, GRPC_STATUS_INTERNAL, errno, "make the init's pipe");
        pid_t pid = fork();
        if (pid < 0)
                maker_fail(maker, GRPC_STATUS_RESOURCE_EXHAUSTED, errno, "start the pod's init");
        if (pid == 0)
                init_run(maker->init_root, maker->init_id, go[0]);
        close(go[0]);
        maker->go_fd = go[1];
        maker->init = pid;
}

static void maker_raise_loopback(Maker *maker)
{
        struct ifreq request = {.ifr_name = "lo"};
        _cleanup_fd_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &request) < 0)
                maker_fail(maker, GRPC_STATUS_INTERNAL, errno, "look at lo in the new network namespace");
        request.ifr_flags |= IFF_UP;
        if (ioctl(fd, SIOCSIFFLAGS, &request) < 0)
                maker_fail(maker, GRPC_STATUS_INTERNAL, errno, "bring up lo in the new network namespace");
}

/* /proc/sys shows the namespaces of whoever looks a name up: the maker's, which are the pod's by now. */
static int maker_write_sysctl(int sys_fd, const char *path, const char *value)
{
        const struct open_how how = {
                .flags = O_WRONLY | O_CLOEXEC,
                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
        };
        _cleanup_fd_ int fd = (int)syscall(SYS_openat2, sys_fd, path, &how, sizeof(how));
        if (fd < 0)
                return errno;
        size_t n = strlen(value);
        ssize_t written = write(fd, value, n);
        return written == (ssize_t)n ? 0 : written < 0 ? errno : EIO;
}

/* What a pod with a network of its own gets unless it says otherwise, as from the peers: its users may ping, and listen on any port.
 * The groups that may ping are of the kernel's own user namespace, so a pod with another has none to name. */
static const struct {
        SealSysctl sysctl;
        uint32_t flags; /* with one of these it is left alone */
} maker_sysctls[] = {
        {{"net.ipv4.ip_unprivileged_port_start", "0"}, PERMIT_FLAG_HOST_NETWORK},
        {{"net.ipv4.ping_group_range", "0 2147483647"}, PERMIT_FLAG_HOST_NETWORK | PERMIT_FLAG_USERNS},
};

static void maker_set_sysctl(Maker *maker, int sys_fd, const SealSysctl *sysctl)
{
        uint32_t flags = maker->make->permit.flags;
        char path[SYSCTL_NAME_MAX];
        Refusal refusal = {0};
        /* The second look of this hand, where it counts: right before the write. */
        if (sysctl_check(sysctl->name, sysctl->value, flags, path, &refusal) != 0)
                maker_fail(maker, refusal.code, EPERM, refusal.text);
        int error = maker_write_sysctl(sys_fd, path, sysctl->value);
        if (error == EACCES && flags & PERMIT_FLAG_USERNS && syscall(SYS_setresgid, 0, 0, 0) == 0 && syscall(SYS_setresuid, 0, 0, 0) == 0) {
                /* Newer kernels ask for the namespace's root, older ones for the host's. */
                error = maker_write_sysctl(sys_fd, path, sysctl->value);
        }
        if (error == 0)
                return;
        char what[512];
        snprintf(what, sizeof(what), "set sysctl %s to \"%s\" in the pod's namespaces%s", sysctl->name, sysctl->value,
                 error == ENOENT   ? " (this kernel has no such sysctl there)"
                 : error == EINVAL ? " (the kernel does not take this value)"
                                   : "");
        maker_fail(maker, error == ENOENT || error == EINVAL ? GRPC_STATUS_INVALID_ARGUMENT : GRPC_STATUS_INTERNAL, error, what);
}

static void maker_write_sysctls(Maker *maker)
{
        const SetupMake *make = maker->make;

        _cleanup_fd_ int sys_fd = open("/proc/sys", O_PATH | O_DIRECTORY | O_CLOEXEC);
        struct statfs fs;
        if (sys_fd < 0 || fstatfs(sys_fd, &fs) < 0 || fs.f_type != PROC_SUPER_MAGIC)
                maker_fail(maker, GRPC_STATUS_INTERNAL, errno ? errno : EINVAL, "open /proc/sys");
        for (size_t i = 0; i < ARRAY_SIZE(maker_sysctls); i++)
                if (!(make->permit.flags & maker_sysctls[i].flags))
                        maker_set_sysctl(maker, sys_fd, &maker_sysctls[i].sysctl);
        for (uint32_t i = 0; i < make->n_sysctls; i++)
                maker_set_sysctl(maker, sys_fd, &make->sysctls[i]);
}

static void maker_send_pins(Maker *maker)
{
        static const char *const paths[POD_PATH_N] = {
                [POD_PATH_USER] = "/proc/self/ns/user",
                [POD_PATH_IPC] = "/proc/self/ns/ipc",
                [POD_PATH_UTS] = "/proc/self/ns/uts",
                [POD_PATH_PID] = "/proc/self/ns/pid_for_children",
                [POD_PATH_NETWORK] = "/proc/self/ns/net",
        };
        int fds[WIRE_FDS_MAX];
        size_t n = 0;
        char byte = 0;
        for (PodPath which = 0; which < POD_PATH_N; which++) {
                if (!pod_has_pin(maker->make->permit.flags, which))
                        continue;
                fds[n] = open(paths[which], O_RDONLY | O_CLOEXEC);
                if (fds[n] < 0)
                        maker_fail(maker, GRPC_STATUS_INTERNAL, errno, "open a new namespace");
                n++;
        }
        if (wire_send(maker->socket_fd, MAKER_PINS, 0, 0, &byte, 1, fds, n) != 0)
                _exit(1);
}

static _Noreturn void maker_run(Maker *maker)
{
        const Permit *permit = &maker->make->permit;
        MakerReport report = {0};
        struct utsname uts;
        char byte = 0;
        int flags = 0;

        if (permit->flags & PERMIT_FLAG_USERNS) {
                if (unshare(CLONE_NEWUSER) < 0)
                        maker_fail(maker, GRPC_STATUS_FAILED_PRECONDITION, errno,
                                   "make a user namespace (see user.max_user_namespaces)");
                if (wire_send(maker->socket_fd, MAKER_MAPS, 0, 0, &byte, 1, NULL, 0) != 0)
                        _exit(1);
                maker_wait(maker);
        }
        for (PodPath which = 0; which < POD_PATH_N; which++)
                if (pod_has_pin(permit->flags, which) && which != POD_PATH_USER)
                        flags |= pod_pin_type(which);
        if (unshare(flags) < 0)
                maker_fail(maker, errno == ENOSPC ? GRPC_STATUS_RESOURCE_EXHAUSTED : GRPC_STATUS_INTERNAL, errno,
                           "make the pod's namespaces (see user.max_net_namespaces and its siblings)");
        if (flags & CLONE_NEWPID)
                maker_start_init(maker);
        if ((flags & CLONE_NEWUTS) && maker->make->hostname[0] &&
            sethostname(maker->make->hostname, strlen(maker->make->hostname)) < 0)
                maker_fail(maker, GRPC_STATUS_INTERNAL, errno, "set the pod's hostname");
        if (flags & CLONE_NEWNET)
                maker_raise_loopback(maker);
        maker_send_pins(maker);
        maker_wait(maker);
        maker_write_sysctls(maker);
        if (uname(&uts) < 0 || !str_copy(report.hostname, sizeof(report.hostname), uts.nodename))
                maker_fail(maker, GRPC_STATUS_INTERNAL, errno, "read the pod's hostname");
        if (maker->go_fd >= 0 && write(maker->go_fd, &byte, 1) != 1)
                maker_fail(maker, GRPC_STATUS_INTERNAL, errno, "let the pod's init stay: it ended early");
        (void)wire_send(maker->socket_fd, MAKER_DONE, 0, 0, &report, sizeof(report), NULL, 0);
        _exit(0);
}

/* A map of one line. The kernel takes it in one write, from a writer with SETUID (SETGID) over the parent namespace. */
static int namespaces_write_map(pid_t pid, const char *file, const Permit *permit)
{
        char path[64], line[64];
        snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
        int n = snprintf(line, sizeof(line), "%u %u %u\n", permit->userns_container_id, permit->userns_host_id,
                         permit->userns_length);
        _cleanup_fd_ int fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0)
                return error_origin(negative_errno());
        return write(fd, line, (size_t)n) == n ? 0 : error_origin(negative_errno());
}

static int namespaces_pin(const Setup *setup, const SetupMake *make, WireFrame *frame)
{
        size_t i = 0;
        for (PodPath which = 0; which < POD_PATH_N; which++) {
                if (!pod_has_pin(make->permit.flags, which))
                        continue;
                char path[SETUP_PATH_MAX], source[64];
                _cleanup_fd_ int ns_fd = wire_frame_take_fd(frame, i++);
                int r = pod_path(setup, make->permit.id, which, path);
                if (r < 0)
                        return fold(r);
                if (ns_fd < 0)
                        return error_origin(-EBADF);
                if (ioctl(ns_fd, NS_GET_NSTYPE) != pod_pin_type(which))
                        return error_origin(-EINVAL);
                _cleanup_fd_ int file_fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0444);
                if (file_fd < 0)
                        return error_origin(negative_errno());
                snprintf(source, sizeof(source), "/proc/self/fd/%d", ns_fd);
                if (mount(source, path, NULL, MS_BIND, NULL) < 0)
                        return error_origin(negative_errno());
        }
        return 0;
}

static int namespaces_go(int socket_fd)
{
        char byte = 0;
        return wire_send(socket_fd, MAKER_GO, 0, 0, &byte, 1, NULL, 0) == 0 ? 0 : error_origin(-EPIPE);
}

/* The hand's side of the conversation. */
static int namespaces_converse(const Setup *setup, const SetupMake *make, pid_t pid, int socket_fd, MakerReport *report)
{
        for (;;) {
                _cleanup_(wire_frame_done) WireFrame frame = WIRE_FRAME_NULL;
                int r = wire_receive(socket_fd, true, &frame);
                if (r != 0)
                        return r < 0 ? fold(r) : error_origin(-ECHILD); /* it was killed */
                switch (frame.header.id) {
                case MAKER_MAPS:
                        r = namespaces_write_map(pid, "uid_map", &make->permit);
                        if (r == 0)
                                r = namespaces_write_map(pid, "gid_map", &make->permit);
                        if (r == 0)
                                r = namespaces_go(socket_fd);
                        break;
                case MAKER_PINS:
                        r = namespaces_pin(setup, make, &frame);
                        if (r == 0)
                                r = namespaces_go(socket_fd);
                        break;
                case MAKER_DONE:
                case MAKER_FAILED:
                        if (frame.header.length != sizeof(*report))
                                return error_origin(-EPROTO);
                        memcpy(report, frame.payload, sizeof(*report));
                        return 0;
                default:
                        return error_origin(-EPROTO);
                }
                if (r < 0)
                        return fold(r);
        }
}

int namespaces_make(const Setup *setup, const SetupMake *make, char hostname[65], Refusal *refusal)
{
        char path[SETUP_PATH_MAX];
        Maker maker = {.make = make, .go_fd = -1};
        MakerReport report = {0};
        int pair[2];

        int r = pod_path(setup, make->permit.id, POD_PATH_PINS, path);
        if (r < 0)
                return fold(r);
        if (mkdir(path, 0755) < 0)
                return error_origin(negative_errno());
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return error_origin(negative_errno());
        _cleanup_fd_ int ours = pair[0];
        _cleanup_fd_ int theirs = pair[1];
        maker.socket_fd = theirs;
        maker.init_root = path;
        if (make->permit.flags & PERMIT_FLAG_USERNS)
                maker.init_id = make->permit.userns_length > 65534 ? 65534 : make->permit.userns_length - 1;
        else
                maker.init_id = hand_config(setup->hand)->user_base + PROCESS_SANDBOXD_SETUP;

        pid_t pid = fork();
        if (pid < 0)
                return error_origin(negative_errno());
        if (pid == 0) {
                ours = fd_close(ours);
                maker_run(&maker);
        }
        theirs = fd_close(theirs);
        r = namespaces_converse(setup, make, pid, ours, &report);
        ours = fd_close(ours); /* a maker that still waits for us ends now */
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                ;
        if (r < 0)
                return fold(r);
        if (report.what[0]) {
                report.what[sizeof(report.what) - 1] = '\0';
                return refusal_set(refusal, report.code, "pod %s: %s: %s", make->permit.id, report.what,
                                   strerror(report.error));
        }
        report.hostname[sizeof(report.hostname) - 1] = '\0';
        memcpy(hostname, report.hostname, sizeof(report.hostname));
        return 0;
}
