/* SPDX-License-Identifier: Apache-2.0 */

/* The root file system of a container whose pod has a user namespace. An overlay cannot be mapped as a whole, and over detached
 * layers it needs a very new kernel; so each layer is mapped on its own, all of them are put together in a mount namespace that
 * lives for that moment, and only the overlay comes out of it. The host's mount table sees one mount, as for any container:
 *
 *      hand                                          assembler
 *      clone each layer, give it the pod's map
 *      fork ---------------------------------------> unshare(mount), a tmpfs over the (still empty) rootfs
 *                                                    layers to 0, 1, ..., the writable layer to w
 *                                                    overlay at m, a detached clone of it
 *      move it to rootfs      <--- mount ----------- ends, and its namespace with it
 *
 * The writable layer is not mapped: its files belong to the host's ids of the pod's users (imaged-tree made it so). */

#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "ipc/wire.h"
#include "lib/error.h"
#include "lib/grpc-status.h"
#include "lib/mount-tree.h"
#include "services/containerd/setup/setup.h"

#define IDMAP_SCRATCH_OPTIONS "size=64k,nr_inodes=192,mode=0700" /* a directory per layer, and three */
#define IDMAP_OPTIONS_MAX 1024
#define IDMAP_PROBE_ID "1000000" /* any but the host's root */
#define IDMAP_LAYER_FLAGS (MOUNT_TREE_READONLY | MOUNT_TREE_NODEV | MOUNT_TREE_SLAVE)

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

static int idmap_wait(pid_t pid)
{
        int status;
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
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
        int status = idmap_wait(pid);
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

typedef struct IdmapStack {
        int layers[SEAL_LAYERS_MAX]; /* owned; detached, lowest first */
        uint32_t n_layers;
        int writable; /* owned; detached, -1: none, the overlay cannot be written */
} IdmapStack;

#define IDMAP_STACK_NULL {.writable = -1}

static void idmap_stack_done(IdmapStack *stack)
{
        for (uint32_t i = 0; i < stack->n_layers; i++)
                (void)fd_close(stack->layers[i]);
        (void)fd_close(stack->writable);
}

/* "userxattr,volatile,lowerdir=2:1:0,upperdir=w/upper,workdir=w/work" */
static bool idmap_options(const IdmapStack *stack, char options[IDMAP_OPTIONS_MAX])
{
        size_t used = 0;
        int n = snprintf(options, IDMAP_OPTIONS_MAX, "userxattr%s,lowerdir=", stack->writable >= 0 ? ",volatile" : "");
        for (uint32_t i = stack->n_layers; n > 0 && i > 0; i--) {
                used += (size_t)n;
                n = snprintf(options + used, IDMAP_OPTIONS_MAX - used, "%s%u", i == stack->n_layers ? "" : ":", i - 1);
                if (n < 0 || (size_t)n >= IDMAP_OPTIONS_MAX - used)
                        return false;
        }
        used += (size_t)n;
        if (stack->writable < 0)
                return true;
        n = snprintf(options + used, IDMAP_OPTIONS_MAX - used, ",upperdir=w/upper,workdir=w/work");
        return n > 0 && (size_t)n < IDMAP_OPTIONS_MAX - used;
}

/* In the child: the stages are exit codes, so that the hand can say which one it was. */
enum { IDMAP_STAGE_NAMESPACE = 1, IDMAP_STAGE_SCRATCH, IDMAP_STAGE_LAYER, IDMAP_STAGE_OVERLAY, IDMAP_STAGE_SEND };
static const char *const idmap_stages[] = {
        "", "make a mount namespace", "mount a scratch directory", "attach a layer", "mount the overlay", "hand it over",
};

static int idmap_place(int tree_fd, const char *name)
{
        return mkdir(name, 0700) < 0 ? negative_errno() : mount_tree_attach(tree_fd, AT_FDCWD, name);
}

static int idmap_assemble(const IdmapStack *stack, const char *scratch, int socket_fd)
{
        char options[IDMAP_OPTIONS_MAX], name[16], byte = 0;
        /* What is mounted here must not reach the host. */
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                return IDMAP_STAGE_NAMESPACE;
        if (mount("bulkhead-layers", scratch, "tmpfs", MS_NOSUID | MS_NODEV, IDMAP_SCRATCH_OPTIONS) < 0 || chdir(scratch) < 0)
                return IDMAP_STAGE_SCRATCH;
        for (uint32_t i = 0; i < stack->n_layers; i++) {
                (void)snprintf(name, sizeof(name), "%u", i);
                if (idmap_place(stack->layers[i], name) < 0)
                        return IDMAP_STAGE_LAYER;
        }
        if (stack->writable >= 0 && idmap_place(stack->writable, "w") < 0)
                return IDMAP_STAGE_LAYER;
        if (!idmap_options(stack, options) || mkdir("m", 0700) < 0 || mount("overlay", "m", "overlay", 0, options) < 0)
                return IDMAP_STAGE_OVERLAY;
        int fd = (int)syscall(SYS_open_tree, AT_FDCWD, "m", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
        return fd >= 0 && wire_send(socket_fd, 1, 0, 0, &byte, 1, &fd, 1) == 0 ? 0 : IDMAP_STAGE_SEND;
}

/* The overlay over the stack, detached. scratch: a directory with nothing mounted on it; nothing stays there. 0, an
 * IDMAP_STAGE_* with errno in ret_error, or -errno. */
static int idmap_mount(const IdmapStack *stack, const char *scratch, int *ret_fd, int *ret_error)
{
        _cleanup_(wire_frame_done) WireFrame frame = WIRE_FRAME_NULL;
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return error_origin(negative_errno());
        _cleanup_fd_ int ours = pair[0];
        _cleanup_fd_ int theirs = pair[1];
        pid_t pid = fork();
        if (pid < 0)
                return error_origin(negative_errno());
        if (pid == 0) {
                int stage = idmap_assemble(stack, scratch, theirs);
                int error = errno;
                if (stage != 0)
                        (void)wire_send(theirs, 2, 0, 0, &error, sizeof(error), NULL, 0);
                _exit(stage);
        }
        theirs = fd_close(theirs);
        int r = wire_receive(ours, true, &frame);
        int status = idmap_wait(pid);
        if (r == 0 && status == 0 && frame.n_fds == 1) {
                *ret_fd = wire_frame_take_fd(&frame, 0);
                return 0;
        }
        if (r != 0 || status <= 0 || status > IDMAP_STAGE_SEND || frame.header.length != sizeof(*ret_error))
                return error_origin(-ECHILD);
        memcpy(ret_error, frame.payload, sizeof(*ret_error));
        return status;
}

static int idmap_stack_open(Setup *setup, const Permit *permit, const Statement *statement, int userns_fd, IdmapStack *stack,
                            Refusal *refusal)
{
        for (uint32_t i = 0; i < statement->n_layers; i++) {
                char name[ID_LENGTH + 1];
                hex_encode(name, statement->layers[i], 32);
                int r = mount_tree_clone(setup->layers_fd, name, IDMAP_LAYER_FLAGS, userns_fd, &stack->layers[i]);
                if (r == -ENOENT)
                        return refusal_set(refusal, GRPC_STATUS_FAILED_PRECONDITION,
                                           "container %s: a layer of image %.200s is missing in the store; pull the image again",
                                           permit->id, statement->image_ref);
                if (r < 0)
                        return refusal_set(refusal, GRPC_STATUS_FAILED_PRECONDITION,
                                           "container %s: the file system of %s/layers cannot give files other owners (an id-mapped "
                                           "mount): %s; use one that can (ext4, xfs, btrfs), or a pod without a user namespace",
                                           permit->id, hand_config(setup->hand)->state_dir, strerror(-r));
                stack->n_layers = i + 1;
        }
        return 0;
}

int idmap_rootfs(Setup *setup, const Permit *permit, const Statement *statement, int target_fd, Refusal *refusal)
{
        _cleanup_(idmap_stack_done) IdmapStack stack = IDMAP_STACK_NULL;
        _cleanup_fd_ int userns_fd = -1, overlay_fd = -1;
        char scratch[CONFIG_PATH_MAX + ID_LENGTH + 32];
        int error = 0;
        int r = idmap_open(setup, permit, &userns_fd, refusal);
        if (r == 0)
                r = idmap_stack_open(setup, permit, statement, userns_fd, &stack, refusal);
        if (r)
                return r < 0 ? fold(r) : r;
        r = mount_tree_clone(setup->writable_fd, permit->id, MOUNT_TREE_NODEV | MOUNT_TREE_SLAVE, -1, &stack.writable);
        (void)snprintf(scratch, sizeof(scratch), "%s/containers/%s/rootfs", hand_config(setup->hand)->runtime_dir, permit->id);
        if (r == 0)
                r = idmap_mount(&stack, scratch, &overlay_fd, &error);
        if (r > 0)
                return refusal_set(refusal, GRPC_STATUS_INTERNAL, "container %s: its %u layers with mapped owners: cannot %s: %s",
                                   permit->id, stack.n_layers, idmap_stages[r], strerror(error));
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
        (void)idmap_wait(pid);
        if (r < 0)
                return fold(r);
        *ret_fd = fd;
        return 0;
}

int idmap_probe(Setup *setup, SetupProbed *probed)
{
        _cleanup_(idmap_stack_done) IdmapStack stack = IDMAP_STACK_NULL;
        _cleanup_fd_ int userns_fd = -1, overlay_fd = -1;
        char scratch[CONFIG_PATH_MAX + 32];
        const char *what = "make a user namespace (see user.max_user_namespaces)";
        int error = 0;
        int r = idmap_make_userns(&userns_fd);
        if (r == 0) {
                what = "map the owners of the layer store's file system";
                r = mount_tree_clone(setup->layers_fd, "", IDMAP_LAYER_FLAGS, userns_fd, &stack.layers[0]);
                stack.n_layers = r == 0;
        }
        if (r == 0) {
                r = mount_tree_clone(setup->writable_fd, "", IDMAP_LAYER_FLAGS, userns_fd, &stack.layers[1]);
                stack.n_layers += r == 0;
        }
        (void)snprintf(scratch, sizeof(scratch), "%s/containers/probe", hand_config(setup->hand)->runtime_dir);
        if (r == 0 && mkdirat(setup->containers_fd, "probe", 0700) < 0 && errno != EEXIST)
                r = error_origin(negative_errno());
        if (r == 0) {
                r = idmap_mount(&stack, scratch, &overlay_fd, &error);
                what = r > 0 ? idmap_stages[r] : "put layers together";
                r = r > 0 ? -error : r;
        }
        (void)unlinkat(setup->containers_fd, "probe", AT_REMOVEDIR);
        *probed = (SetupProbed){.has_userns = r == 0};
        if (r < 0)
                (void)snprintf(probed->why, sizeof(probed->why), "cannot %s: %s", what, strerror(-r));
        return 0;
}
