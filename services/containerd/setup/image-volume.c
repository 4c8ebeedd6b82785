/* SPDX-License-Identifier: Apache-2.0 */

/* Image volumes: another image's layers, read-only, for the runtime to mount from the container's directory. */

#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "lib/error.h"
#include "lib/grpc-status.h"
#include "services/containerd/setup/stack.h"

static int image_volume_check(Setup *setup, const ImageMount *verb, Refusal *refusal)
{
        const Permit *permit = &verb->permit;
        if (permit_check(permit, PERMIT_VERB_CREATE_CONTAINER, hand_permit_key(setup->hand)) != 0)
                return refusal_set(refusal, GRPC_STATUS_PERMISSION_DENIED, "image_mount: the permit is not gatewayd's");
        if (verb->n_volumes > SEAL_VOLUMES_MAX || verb->index >= verb->n_volumes ||
            permit_check_volumes(permit, verb->volumes, verb->n_volumes) != 0)
                return refusal_set(refusal, GRPC_STATUS_PERMISSION_DENIED,
                                   "container %s: these are not the image volumes of its request", permit->id);
        if (statement_check(&verb->statement, hand_statement_key(setup->hand)) != 0)
                return refusal_set(refusal, GRPC_STATUS_PERMISSION_DENIED, "container %s: the layer statement is not imaged's", permit->id);
        if (!str_equal(verb->statement.image_ref, verb->volumes[verb->index].image))
                return refusal_set(refusal, GRPC_STATUS_PERMISSION_DENIED,
                                   "container %s: image volume %u is of %.200s, the statement of %.200s", permit->id, verb->index,
                                   verb->volumes[verb->index].image, verb->statement.image_ref);
        if (verb->statement.n_layers == 0)
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT, "container %s: image %.200s has no layers to mount", permit->id,
                                   verb->statement.image_ref);
        return 0;
}

/* Takes away what an earlier try left, and makes a directory with nothing on it, or a place for a file. path: ours, beneath a
 * directory that only root walks. */
static int image_volume_make_target(const char *path, bool is_file)
{
        while (umount2(path, UMOUNT_NOFOLLOW | MNT_DETACH) == 0)
                ;
        if (unlinkat(AT_FDCWD, path, AT_REMOVEDIR) < 0 && errno != ENOENT && (errno != ENOTDIR || unlinkat(AT_FDCWD, path, 0) < 0))
                return error_origin(negative_errno());
        if (!is_file)
                return mkdirat(AT_FDCWD, path, 0700) < 0 ? error_origin(negative_errno()) : 0;
        _cleanup_fd_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        return fd < 0 ? error_origin(negative_errno()) : 0;
}

/* Asked for one image volume of a container, with the sealed request, the list of its image volumes that it seals, and imaged's
 * sealed list of layers for that one. Re-checks the three against each other; links in the image are not followed. At worst a
 * taken-over containerd mounts, read-only and for a container that the kubelet asked for, an image that it asked for there. */
int image_volume_mount(Setup *setup, const ImageMount *verb, Refusal *refusal)
{
        const Permit *permit = &verb->permit;
        _cleanup_(stack_done) Stack stack = STACK_NULL;
        _cleanup_fd_ int userns_fd = -1, overlay_fd = -1;
        char path[ID_LENGTH + 32], target[CONFIG_PATH_MAX + ID_LENGTH + 64];
        struct stat st;
        int error = 0;
        int r = image_volume_check(setup, verb, refusal);
        if (r == 0 && permit->flags & PERMIT_FLAG_USERNS)
                r = idmap_open(setup, permit, &userns_fd, refusal);
        if (r == 0)
                r = stack_open_layers(setup, permit->id, &verb->statement, userns_fd, &stack, refusal);
        if (r)
                return r < 0 ? fold(r) : r;
        const SealVolume *volume = &verb->volumes[verb->index];
        (void)snprintf(path, sizeof(path), "%s/images", permit->id);
        if (mkdirat(setup->containers_fd, path, 0711) < 0 && errno != EEXIST)
                return errno == ENOENT ? refusal_set(refusal, GRPC_STATUS_FAILED_PRECONDITION,
                                                     "container %s has no root file system here yet", permit->id)
                                       : error_origin(negative_errno());
        (void)snprintf(target, sizeof(target), "%s/containers/%s/%u", hand_config(setup->hand)->runtime_dir, path, verb->index);
        r = image_volume_make_target(target, false);
        if (r == 0)
                r = stack_mount(&stack, target, volume->sub_path, &overlay_fd, &error);
        if (r == STACK_E_PATH)
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT,
                                   "container %s: image volume of %.200s: image_sub_path \"%.200s\": %s; it is a path in the image, "
                                   "without symbolic links", permit->id, volume->image, volume->sub_path, strerror(error));
        if (r > 0)
                return refusal_set(refusal, GRPC_STATUS_INTERNAL, "container %s: image volume of %.200s: cannot %s: %s", permit->id,
                                   volume->image, stack_stage(r), strerror(error));
        if (r < 0)
                return fold(r);
        if (fstat(overlay_fd, &st) < 0)
                return error_origin(negative_errno());
        if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT,
                                   "container %s: image volume of %.200s: \"%.200s\" is neither a directory nor a file", permit->id,
                                   volume->image, volume->sub_path);
        r = image_volume_make_target(target, S_ISREG(st.st_mode));
        if (r == 0)
                r = mount_tree_restrict(overlay_fd, MOUNT_TREE_READONLY | MOUNT_TREE_NOSUID | MOUNT_TREE_NODEV);
        if (r == 0)
                r = mount_tree_attach(overlay_fd, AT_FDCWD, target);
        return r < 0 ? fold(r) : 0;
}
