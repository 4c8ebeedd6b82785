/* SPDX-License-Identifier: Apache-2.0 */

/* Layers that an overlay is to be mounted over, where they need something of their own first: the owners of a user namespace, or to
 * be a volume. An overlay cannot be mapped as a whole, and over detached layers it needs a very new kernel; so each layer is
 * mapped on its own, all of them are put together in a mount namespace that lives for that moment, and only the overlay comes
 * out of it. The host's mount table sees one mount:
 *
 *      hand                                          assembler
 *      clone each layer, perhaps with a map
 *      fork ---------------------------------------> unshare(mount), a tmpfs over an empty directory
 *                                                    layers to 0, 1, ..., the writable layer to w
 *                                                    overlay at m, a detached clone of it
 *      put it where it belongs <--- mount ---------- ends, and its namespace with it
 */

#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "ipc/errand.h"
#include "lib/error.h"
#include "lib/grpc-status.h"
#include "lib/mount-tree.h"
#include "services/containerd/setup/stack.h"

#define STACK_SCRATCH_OPTIONS "size=64k,nr_inodes=192,mode=0700" /* a directory per layer, and four */
#define STACK_OPTIONS_MAX 1024

void stack_done(Stack *stack)
{
        for (uint32_t i = 0; i < stack->n_layers; i++)
                (void)fd_close(stack->layers[i]);
        (void)fd_close(stack->writable);
}

int stack_open_layers(Setup *setup, const char *id, const Statement *statement, int userns_fd, Stack *stack, Refusal *refusal)
{
        for (uint32_t i = 0; i < statement->n_layers; i++) {
                char name[ID_LENGTH + 1];
                hex_encode(name, statement->layers[i], 32);
                int r = mount_tree_clone(setup->layers_fd, name, STACK_LAYER_FLAGS, userns_fd, &stack->layers[i]);
                if (r == -ENOENT)
                        return refusal_set(refusal, GRPC_STATUS_FAILED_PRECONDITION,
                                           "container %s: a layer of image %.200s is missing in the store; pull the image again",
                                           id, statement->image_ref);
                if (r < 0 && userns_fd < 0)
                        return fold(r);
                if (r < 0)
                        return refusal_set(refusal, GRPC_STATUS_FAILED_PRECONDITION,
                                           "container %s: the file system of %s/layers cannot give files other owners (an id-mapped "
                                           "mount): %s; use one that can (ext4, xfs, btrfs), or a pod without a user namespace",
                                           id, hand_config(setup->hand)->state_dir, strerror(-r));
                stack->n_layers = i + 1;
        }
        return 0;
}

/* "userxattr,volatile,lowerdir=2:1:0,upperdir=w/upper,workdir=w/work"; without a writable layer an empty one is the lowest, for an
 * overlay has two at least. */
static bool stack_options(const Stack *stack, char options[STACK_OPTIONS_MAX])
{
        size_t used = 0;
        int n = snprintf(options, STACK_OPTIONS_MAX, "userxattr%s,lowerdir=", stack->writable >= 0 ? ",volatile" : "");
        for (uint32_t i = stack->n_layers; n > 0 && i > 0; i--) {
                used += (size_t)n;
                n = snprintf(options + used, STACK_OPTIONS_MAX - used, "%s%u", i == stack->n_layers ? "" : ":", i - 1);
                if (n < 0 || (size_t)n >= STACK_OPTIONS_MAX - used)
                        return false;
        }
        used += (size_t)n;
        n = snprintf(options + used, STACK_OPTIONS_MAX - used, "%s", stack->writable >= 0 ? ",upperdir=w/upper,workdir=w/work" : ":e");
        return n > 0 && (size_t)n < STACK_OPTIONS_MAX - used;
}

/* In the child: the stages are exit codes, so that the hand can say which one it was. */
static const char *const stack_stages[] = {
        [STACK_E_NAMESPACE] = "make a mount namespace", [STACK_E_SCRATCH] = "mount a scratch directory",
        [STACK_E_LAYER] = "attach a layer",             [STACK_E_OVERLAY] = "mount the overlay",
        [STACK_E_PATH] = "find the sub path",           [STACK_E_SEND] = "hand it over",
};

const char *stack_stage(int outcome)
{
        return outcome > 0 && outcome <= STACK_E_SEND ? stack_stages[outcome] : "put the layers together";
}

static int stack_place(int tree_fd, const char *name)
{
        return mkdir(name, 0700) < 0 ? negative_errno() : mount_tree_attach(tree_fd, AT_FDCWD, name);
}

/* What an image has at a path that it did not write itself: no link of its is followed, and it is no other file system. */
static int stack_open_beneath(const char *path)
{
        const struct open_how how = {.flags = O_PATH | O_CLOEXEC,
                                     .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV};
        _cleanup_fd_ int root_fd = open("m", O_PATH | O_DIRECTORY | O_CLOEXEC);
        return root_fd < 0 ? -1 : (int)syscall(SYS_openat2, root_fd, *path ? path : ".", &how, sizeof(how));
}

static int stack_assemble(const Stack *stack, const char *scratch, const char *sub_path, int socket_fd)
{
        char options[STACK_OPTIONS_MAX], name[16], byte = 0;
        /* What is mounted here must not reach the host. */
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                return STACK_E_NAMESPACE;
        if (mount("bulkhead-layers", scratch, "tmpfs", MS_NOSUID | MS_NODEV, STACK_SCRATCH_OPTIONS) < 0 || chdir(scratch) < 0 ||
            mkdir("e", 0755) < 0 || mkdir("m", 0700) < 0)
                return STACK_E_SCRATCH;
        for (uint32_t i = 0; i < stack->n_layers; i++) {
                (void)snprintf(name, sizeof(name), "%u", i);
                if (stack_place(stack->layers[i], name) < 0)
                        return STACK_E_LAYER;
        }
        if (stack->writable >= 0 && stack_place(stack->writable, "w") < 0)
                return STACK_E_LAYER;
        if (!stack_options(stack, options) || mount("overlay", "m", "overlay", 0, options) < 0)
                return STACK_E_OVERLAY;
        int path_fd = stack_open_beneath(sub_path);
        if (path_fd < 0)
                return STACK_E_PATH;
        int fd = (int)syscall(SYS_open_tree, path_fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
        return fd >= 0 && wire_send(socket_fd, 1, 0, 0, &byte, 1, &fd, 1) == 0 ? 0 : STACK_E_SEND;
}

/* What is put together, and where in the child's own namespace. */
typedef struct StackErrand {
        const Stack *stack;
        const char *scratch;
        const char *sub_path;
} StackErrand;

static int stack_run(void *userdata, int socket_fd)
{
        const StackErrand *errand = userdata;
        int outcome = stack_assemble(errand->stack, errand->scratch, errand->sub_path, socket_fd);
        int error = errno;

        if (outcome != 0)
                (void)wire_send(socket_fd, 2, 0, 0, &error, sizeof(error), NULL, 0);
        return outcome;
}

int stack_mount(const Stack *stack, const char *scratch, const char *sub_path, int *ret_fd, int *ret_error)
{
        _cleanup_(wire_frame_done) WireFrame frame = WIRE_FRAME_NULL;
        StackErrand errand = {.stack = stack, .scratch = scratch, .sub_path = sub_path};
        int status;
        int r = errand_run(stack_run, &errand, &frame, &status);
        if (r < 0)
                return fold(r);
        if (r == 0 && status == 0 && frame.n_fds == 1) {
                *ret_fd = wire_frame_take_fd(&frame, 0);
                return 0;
        }
        if (r != 0 || status <= 0 || status > STACK_E_SEND || frame.header.length != sizeof(*ret_error))
                return error_origin(-ECHILD);
        memcpy(ret_error, frame.payload, sizeof(*ret_error));
        return status;
}
