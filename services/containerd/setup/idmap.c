/* SPDX-License-Identifier: Apache-2.0 */

/* The root file system of a container whose pod has a user namespace: its layers have the namespace's owners. The writable layer is
 * not mapped: its files belong to the host's ids of the pod's users (imaged-tree made it so). */

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/stat.h>

#include "ipc/errand.h"
#include "lib/error.h"
#include "lib/grpc-status.h"
#include "lib/mount-tree.h"
#include "services/containerd/setup/stack.h"

#define IDMAP_PROBE_ID "1000000" /* any but the host's root */

/* A child in the namespace: does it map id 0 and the n after it to first, users and groups alike? */
static _Noreturn void idmap_look(int userns_fd, uint32_t first, uint32_t n)
{
        static const char *const files[] = {"/proc/self/uid_map", "/proc/self/gid_map"};
        char wanted[64], text[256] = "";
        if (setns(userns_fd, CLONE_NEWUSER) < 0)
                _exit(2);
        (void)snprintf(wanted, sizeof(wanted), "%10u %10u %10u\n", 0u, first, n); /* as the kernel writes it */
        for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
                _cleanup_fd_ int fd = open(files[i], O_RDONLY | O_CLOEXEC);
                ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
                if (got < 0)
                        _exit(3);
                text[got] = '\0';
                if (!str_equal(text, wanted))
                        _exit(1);
        }
        _exit(0);
}

int idmap_open(Setup *setup, const Permit *permit, int *ret_fd, Refusal *refusal)
{
        char path[CONFIG_PATH_MAX + ID_LENGTH + 32];
        _cleanup_fd_ int fd = -1;
        (void)snprintf(path, sizeof(path), "%s/ns/%s/user", hand_config(setup->hand)->runtime_dir, permit->pod_id);
        int r = mount_tree_open_userns(path, &fd);
        if (r < 0)
                return refusal_set(refusal, GRPC_STATUS_FAILED_PRECONDITION,
                                   "container %s: the user namespace of its pod is not at %s: %s; run the pod again", permit->id, path,
                                   strerror(-r));
        pid_t pid = fork();
        if (pid < 0)
                return error_origin(negative_errno());
        if (pid == 0)
                idmap_look(fd, permit->userns_host_id, permit->userns_length);
        int status = errand_wait(pid);
        if (status == 1)
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT,
                                   "container %s: its request maps its ids to %u and the %u after it, but its pod was made with another "
                                   "map; repeat the pod's userns_options", permit->id, permit->userns_host_id, permit->userns_length - 1);
        if (status != 0)
                return refusal_set(refusal, GRPC_STATUS_INTERNAL, "container %s: the map of its pod's user namespace cannot be read (%d)",
                                   permit->id, status);
        *ret_fd = TAKE_FD(fd);
        return 0;
}

int idmap_rootfs(Setup *setup, const Permit *permit, const Statement *statement, int target_fd, Refusal *refusal)
{
        _cleanup_(stack_done) Stack stack = STACK_NULL;
        _cleanup_fd_ int userns_fd = -1, overlay_fd = -1;
        char scratch[CONFIG_PATH_MAX + ID_LENGTH + 32];
        int error = 0;
        int r = idmap_open(setup, permit, &userns_fd, refusal);
        if (r == 0)
                r = stack_open_layers(setup, permit->id, statement, userns_fd, &stack, refusal);
        if (r)
                return r < 0 ? fold(r) : r;
        r = mount_tree_clone(setup->writable_fd, permit->id, MOUNT_TREE_NODEV | MOUNT_TREE_SLAVE, -1, &stack.writable);
        (void)snprintf(scratch, sizeof(scratch), "%s/containers/%s/rootfs", hand_config(setup->hand)->runtime_dir, permit->id);
        if (r == 0)
                r = stack_mount(&stack, scratch, "", &overlay_fd, &error);
        if (r > 0)
                return refusal_set(refusal, GRPC_STATUS_INTERNAL, "container %s: its %u layers with mapped owners: cannot %s: %s",
                                   permit->id, stack.n_layers, stack_stage(r), strerror(error));
        if (r == 0)
                r = mount_tree_attach(overlay_fd, target_fd, "");
        return r < 0 ? fold(r) : 0;
}

static _Noreturn void idmap_be_namespace(int ready_fd, int go_fd)
{
        char byte = 0;
        if (unshare(CLONE_NEWUSER) < 0)
                _exit(1);
        (void)(write(ready_fd, &byte, 1) == 1 && read(go_fd, &byte, 1));
        _exit(0);
}

static int idmap_write_map(pid_t pid, const char *file)
{
        static const char map[] = "0 " IDMAP_PROBE_ID " 1\n";
        char path[64];
        (void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
        _cleanup_fd_ int fd = open(path, O_WRONLY | O_CLOEXEC);
        return fd < 0 || write(fd, map, sizeof(map) - 1) < 0 ? error_origin(negative_errno()) : 0;
}

/* A user namespace that maps one id, for as long as the fd is open. */
static int idmap_make_userns(int *ret_fd)
{
        int ready[2], go[2];
        char path[64], byte;
        if (pipe2(ready, O_CLOEXEC) < 0)
                return error_origin(negative_errno());
        _cleanup_fd_ int ready_read = ready[0];
        _cleanup_fd_ int ready_write = ready[1];
        if (pipe2(go, O_CLOEXEC) < 0)
                return error_origin(negative_errno());
        _cleanup_fd_ int go_read = go[0];
        _cleanup_fd_ int go_write = go[1];
        pid_t pid = fork();
        if (pid < 0)
                return error_origin(negative_errno());
        if (pid == 0) {
                go_write = fd_close(go_write);
                idmap_be_namespace(ready_write, go_read);
        }
        ready_write = fd_close(ready_write);
        go_read = fd_close(go_read);
        int r = read(ready_read, &byte, 1) == 1 ? idmap_write_map(pid, "uid_map") : error_origin(-ENOSPC);
        if (r == 0)
                r = idmap_write_map(pid, "gid_map");
        (void)snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
        int fd = r == 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        if (r == 0 && fd < 0)
                r = error_origin(negative_errno());
        go_write = fd_close(go_write);
        (void)errand_wait(pid);
        if (r < 0)
                return fold(r);
        *ret_fd = fd;
        return 0;
}

int idmap_probe(Setup *setup, SetupProbed *probed)
{
        _cleanup_(stack_done) Stack stack = STACK_NULL;
        _cleanup_fd_ int userns_fd = -1, overlay_fd = -1;
        char scratch[CONFIG_PATH_MAX + 32];
        const char *what = "make a user namespace (see user.max_user_namespaces)";
        int error = 0;
        int r = idmap_make_userns(&userns_fd);
        if (r == 0) {
                what = "map the owners of the layer store's file system";
                r = mount_tree_clone(setup->layers_fd, "", STACK_LAYER_FLAGS, userns_fd, &stack.layers[0]);
                stack.n_layers = r == 0;
        }
        if (r == 0) {
                r = mount_tree_clone(setup->writable_fd, "", STACK_LAYER_FLAGS, userns_fd, &stack.layers[1]);
                stack.n_layers += r == 0;
        }
        (void)snprintf(scratch, sizeof(scratch), "%s/containers/probe", hand_config(setup->hand)->runtime_dir);
        if (r == 0 && mkdirat(setup->containers_fd, "probe", 0700) < 0 && errno != EEXIST)
                r = error_origin(negative_errno());
        if (r == 0) {
                r = stack_mount(&stack, scratch, "", &overlay_fd, &error);
                what = r > 0 ? stack_stage(r) : "put layers together";
                r = r > 0 ? -error : r;
        }
        (void)unlinkat(setup->containers_fd, "probe", AT_REMOVEDIR);
        *probed = (SetupProbed){.has_userns = r == 0};
        if (r < 0)
                (void)snprintf(probed->why, sizeof(probed->why), "cannot %s: %s", what, strerror(-r));
        return 0;
}
