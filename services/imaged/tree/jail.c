/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/tree/jail.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "policy/policy.h"

#include <assert.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define JAIL_PLACE "/jail" /* the empty directory of the policy row */
#define JAIL_ATTRIBUTES (MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC)

/* The tree as a detached mount of its own: made here, because only a mount of our own namespace can be cloned, and attached in
 * the jail's. A directory fd would not do: its ".." leads out. */
static int jail_clone_tree(const JailSpec *spec, int *ret)
{
        struct mount_attr attributes = {
                .attr_set = JAIL_ATTRIBUTES | (spec->follows ? 0 : MOUNT_ATTR_NOSYMFOLLOW),
                .propagation = MS_PRIVATE,
        };
        _cleanup_fd_ int fd = open_tree(spec->tree_fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);

        if (fd < 0 || mount_setattr(fd, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) < 0)
                return error_origin(negative_errno());
        *ret = TAKE_FD(fd);
        return 0;
}

/* The layers under short names: all options of a mount must fit into a page, and 128 paths do not. */
static int jail_link_layers(const JailSpec *spec)
{
        if (mkdir("layers", 0700) < 0 || mkdir("layers/none", 0700) < 0)
                return error_origin(negative_errno());
        for (uint32_t i = 0; i < spec->n_layers; i++) {
                char target[CONFIG_PATH_MAX + 80], name[32], hex[ID_LENGTH + 1];

                hex_encode(hex, spec->layers[i], 32);
                (void)snprintf(target, sizeof(target), "%s/layers/%s", spec->config->state_dir, hex);
                (void)snprintf(name, sizeof(name), "layers/%u", i);
                if (symlink(target, name) < 0)
                        return error_origin(negative_errno());
        }
        return 0;
}

/* The working directory is the jail's root to be. overlayfs wants two lower layers at least: the last is an empty directory. */
static int jail_mount_image(const JailSpec *spec)
{
        char options[64 + SEAL_LAYERS_MAX * 4];
        size_t n;
        int r;

        r = jail_link_layers(spec);
        if (r)
                return fold(r);
        n = (size_t)snprintf(options, sizeof(options), "userxattr,lowerdir=");
        for (uint32_t i = spec->n_layers; i > 0; i--)
                n += (size_t)snprintf(options + n, sizeof(options) - n, "%u:", i - 1);
        (void)snprintf(options + n, sizeof(options) - n, "none");
        if (mkdir("image", 0755) < 0 || chdir("layers") < 0 ||
            mount("overlay", "../image", "overlay", MS_RDONLY | MS_NODEV | MS_NOSUID | MS_NOEXEC, options) < 0 ||
            chdir("..") < 0)
                return error_origin(negative_errno());
        return 0;
}

/* Through the short names of jail_link_layers(). */
static int jail_mount_apart(const JailSpec *spec)
{
        struct mount_attr attributes = {.attr_set = JAIL_ATTRIBUTES | MOUNT_ATTR_NOSYMFOLLOW | MOUNT_ATTR_RDONLY};

        if (mkdir("apart", 0755) < 0)
                return error_origin(negative_errno());
        for (uint32_t i = 0; i < spec->n_layers; i++) {
                _cleanup_fd_ int fd = -1;
                char from[32], to[32];

                (void)snprintf(from, sizeof(from), "layers/%u", i);
                (void)snprintf(to, sizeof(to), "apart/%u", i);
                fd = open_tree(AT_FDCWD, from, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
                if (fd < 0 || mount_setattr(fd, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) < 0 || mkdir(to, 0755) < 0 ||
                    move_mount(fd, "", AT_FDCWD, to, MOVE_MOUNT_F_EMPTY_PATH) < 0)
                        return error_origin(negative_errno());
        }
        return 0;
}

static int jail_mount_frame(const JailSpec *spec, int tree_mount)
{
        int r;

        if (mount("jail", JAIL_PLACE, "tmpfs", MS_NODEV | MS_NOSUID | MS_NOEXEC, "mode=0755,size=2m,nr_inodes=1024") < 0 ||
            chdir(JAIL_PLACE) < 0)
                return error_origin(negative_errno());
        r = jail_mount_image(spec);
        if (r == 0 && spec->apart)
                r = jail_mount_apart(spec);
        if (r)
                return fold(r);
        if (tree_mount >= 0 &&
            (mkdir("tree", 0755) < 0 || move_mount(tree_mount, "", AT_FDCWD, "tree", MOVE_MOUNT_F_EMPTY_PATH) < 0))
                return error_origin(negative_errno());
        return 0;
}

static int jail_enter_root(const JailSpec *spec, int tree_mount)
{
        struct mount_attr read_only = {.attr_set = MOUNT_ATTR_RDONLY};
        int r;

        if (spec->n_layers > 0) {
                r = jail_mount_frame(spec, tree_mount);
                if (r)
                        return fold(r);
        } else if (move_mount(tree_mount, "", AT_FDCWD, JAIL_PLACE, MOVE_MOUNT_F_EMPTY_PATH) < 0 || chdir(JAIL_PLACE) < 0) {
                return error_origin(negative_errno());
        }
        /* pivot_root(2): with the same directory twice the old root lies over the new one until it is detached. */
        if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
                return error_origin(negative_errno());
        if (spec->n_layers > 0 && mount_setattr(AT_FDCWD, "/", 0, &read_only, sizeof(read_only)) < 0)
                return error_origin(negative_errno());
        return 0;
}

int jail_close_others(int a, int b)
{
        unsigned low = (unsigned)MIN2(a, b < 0 ? a : b), high = (unsigned)MAX2(a, b);

        if ((low > 0 && close_range(0, low - 1, 0) < 0) ||
            (high > low + 1 && close_range(low + 1, high - 1, 0) < 0) || close_range(high + 1, ~0u, 0) < 0)
                return error_origin(negative_errno());
        return 0;
}

/* In the child, the first process of its namespace. What it is asked: see the spec, which is ours. What it can at worst do once
 * it has looked at the tree: spoil that tree. Every privilege goes before the first byte of it is read. */
static int jail_enter(const JailSpec *spec, int tree_mount, int report_fd)
{
        int r;

        r = jail_enter_root(spec, tree_mount);
        if (r == 0)
                r = jail_close_others(report_fd, spec->keep_fd);
        if (r == 0)
                r = policy_enter_as(POLICY_TREE_JAIL, spec->config, 0);
        if (r)
                return fold(r);
        /* After the change of capabilities, which resets it. The parent may be gone already: then the report has no reader. */
        if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
                return error_origin(negative_errno());
        (void)umask(0);
        return 0;
}

static int jail_main(const JailSpec *spec, int tree_mount, int report_fd)
{
        Report report = {0};
        int r;

        r = jail_enter(spec, tree_mount, report_fd);
        if (r)
                (void)report_fail(&report, GRPC_STATUS_INTERNAL, "building the jail failed: %s", error_trace());
        else
                (void)spec->run(spec->argument, &report);
        if (report_write(report_fd, &report) < 0)
                return 1;
        if (spec->streams && report.code == 0)
                (void)spec->after(spec->argument, &report);
        return 0;
}

int jail_start(const JailSpec *spec, Jail *ret)
{
        _cleanup_fd_ int tree_mount = -1, read_fd = -1, write_fd = -1;
        int pipe_fds[2], r;
        long pid;

        assert(spec->n_layers <= SEAL_LAYERS_MAX && (spec->n_layers > 0 || spec->tree_fd >= 0));
        if (pipe2(pipe_fds, O_CLOEXEC) < 0)
                return error_origin(negative_errno());
        read_fd = pipe_fds[0];
        write_fd = pipe_fds[1];
        if (spec->tree_fd >= 0) {
                r = jail_clone_tree(spec, &tree_mount);
                if (r)
                        return fold(r);
        }
        pid = syscall(SYS_clone, CLONE_NEWNS | CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);
        if (pid < 0)
                return error_origin(negative_errno());
        if (pid == 0)
                _exit(jail_main(spec, tree_mount, write_fd));
        *ret = (Jail){.pid = (pid_t)pid, .report_fd = TAKE_FD(read_fd)};
        return 0;
}

/* Milliseconds for poll. */
static int jail_left(uint64_t deadline_usec)
{
        uint64_t now = clock_monotonic_usec();

        if (deadline_usec == USEC_INFINITY)
                return -1;
        return deadline_usec <= now ? 0 : (int)MIN2((deadline_usec - now) / 1000 + 1, 1000000);
}

int jail_read_report(Jail *jail, uint64_t deadline_usec, Report *ret)
{
        struct pollfd fd = {.fd = jail->report_fd, .events = POLLIN};
        int r;

        for (;;) {
                r = poll(&fd, 1, jail_left(deadline_usec));
                if (r > 0)
                        break;
                if (r < 0 && errno != EINTR)
                        return error_origin(negative_errno());
                if (r == 0 && clock_monotonic_usec() >= deadline_usec) {
                        *ret = (Report){0};
                        (void)report_fail(ret, GRPC_STATUS_DEADLINE_EXCEEDED, "it took too long and was ended");
                        jail_done(jail);
                        return 0;
                }
        }
        /* A report is smaller than a pipe's page and is written at once: reading it cannot hang. */
        r = report_read(jail->report_fd, ret);
        return r ? fold(r) : 0;
}

int jail_wait(Jail *jail, uint64_t deadline_usec)
{
        int status;

        if (jail->pid == 0)
                return 0;
        /* The report's pipe closes when the last process of the jail is gone, and tells so to poll. */
        struct pollfd fd = {.fd = jail->report_fd, .events = 0};
        while (!(fd.revents & POLLHUP)) {
                int r = poll(&fd, 1, jail_left(deadline_usec));

                if (r < 0 && errno != EINTR)
                        return error_origin(negative_errno());
                if (r == 0 && clock_monotonic_usec() >= deadline_usec)
                        break;
        }
        if (!(fd.revents & POLLHUP))
                (void)kill(jail->pid, SIGKILL);
        while (waitpid(jail->pid, &status, 0) < 0)
                if (errno != EINTR)
                        return error_origin(negative_errno());
        jail->pid = 0;
        jail->report_fd = fd_close(jail->report_fd);
        return 0;
}

int jail_finish(Jail *jail, uint64_t deadline_usec, Report *ret)
{
        int r;

        r = jail_read_report(jail, deadline_usec, ret);
        if (r == 0)
                r = jail_wait(jail, deadline_usec);
        jail_done(jail);
        return r ? fold(r) : 0;
}

void jail_done(Jail *jail)
{
        if (jail->pid > 0) {
                (void)kill(jail->pid, SIGKILL);
                while (waitpid(jail->pid, NULL, 0) < 0 && errno == EINTR)
                        ;
        }
        jail->pid = 0;
        jail->report_fd = fd_close(jail->report_fd);
}

int jail_run(const JailSpec *spec, uint64_t timeout_usec, Report *ret)
{
        _cleanup_(jail_done) Jail jail = JAIL_NULL;
        int r;

        r = jail_start(spec, &jail);
        if (r == 0)
                r = jail_finish(&jail, clock_monotonic_usec() + timeout_usec, ret);
        return r ? fold(r) : 0;
}
