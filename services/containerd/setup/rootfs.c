/* SPDX-License-Identifier: Apache-2.0 */

/* The root file system of a container: an overlay over exactly the layers that imaged stated for the image that the permit
 * names. Layer directories are found by digest beneath the store, never by a path that a brain sent. */

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "lib/error.h"
#include "lib/grpc-status.h"
#include "services/containerd/runtime/source.h"
#include "services/containerd/setup/setup.h"

#define ROOTFS_OPTIONS_MAX 4096 /* mount(2) takes one page */

int refusal_set(Refusal *refusal, uint32_t code, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        refusal->code = code;
        (void)vsnprintf(refusal->text, sizeof(refusal->text), format, args);
        va_end(args);
        return 1;
}

static int rootfs_openat(int dir_fd, const char *path, uint64_t flags, uint64_t resolve)
{
        struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = resolve};
        return (int)syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));
}

int rootfs_permit(Setup *setup, const char *id, Permit *permit, Refusal *refusal)
{
        char path[ID_LENGTH + 16];
        (void)snprintf(path, sizeof(path), "%s/permit", id);
        _cleanup_fd_ int fd = rootfs_openat(setup->containers_fd, path, O_RDONLY, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
        if (fd < 0)
                return errno == ENOENT ? refusal_set(refusal, GRPC_STATUS_NOT_FOUND, "container %s has no root file system here", id)
                                       : error_origin(negative_errno());
        /* Only this hand writes here, and only after it has checked the seal. The seal itself is not asked again: its key is one of
         * the suite's life, and a container outlives a restart of the whole suite. */
        if (fd_read_full(fd, permit, sizeof(*permit)) < 0 || permit->verb != PERMIT_VERB_CREATE_CONTAINER ||
            permit->id[ID_LENGTH] != '\0' || !str_equal(permit->id, id) || permit->cgroup_parent[SEAL_PATH_MAX - 1] != '\0' ||
            permit->log_path[SEAL_PATH_MAX - 1] != '\0' || permit->image[SEAL_PATH_MAX - 1] != '\0')
                return refusal_set(refusal, GRPC_STATUS_FAILED_PRECONDITION, "container %s: its permit is damaged; remove the container", id);
        return 0;
}

/* Keeps the permit beside the rootfs. A second prepare with the same permit is a retry; another permit for the same id is a
 * replay or a forgery, and so is one whose container was here and is gone. */
static int rootfs_keep_permit(Setup *setup, int dir_fd, const Permit *permit, Refusal *refusal)
{
        Permit kept;
        _cleanup_fd_ int old = rootfs_openat(dir_fd, "permit", O_RDONLY, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
        if (old >= 0) {
                if (fd_read_full(old, &kept, sizeof(kept)) == 0 && memcmp(&kept, permit, sizeof(kept)) == 0)
                        return 0;
                return refusal_set(refusal, GRPC_STATUS_PERMISSION_DENIED,
                                   "container %s: its permit was used before with another request", permit->id);
        }
        int r = hand_check_spent(setup->hand, permit->id);
        if (r > 0) {
                (void)unlinkat(setup->containers_fd, permit->id, AT_REMOVEDIR); /* what was made of it just now */
                return refusal_set(refusal, GRPC_STATUS_PERMISSION_DENIED, "container %s: its permit was used before; a permit is good once",
                                   permit->id);
        }
        if (r == 0)
                r = fd_write_file(dir_fd, "permit.new", permit, sizeof(*permit), 0600);
        if (r < 0)
                return fold(r);
        return renameat(dir_fd, "permit.new", dir_fd, "permit") < 0 ? error_origin(negative_errno()) : 0;
}

static bool rootfs_append(char options[ROOTFS_OPTIONS_MAX], size_t *used, const char *key, const char *value)
{
        int n = snprintf(options + *used, ROOTFS_OPTIONS_MAX - *used, "%s%s", key, value);
        if (n < 0 || (size_t)n >= ROOTFS_OPTIONS_MAX - *used)
                return false;
        *used += (size_t)n;
        return true;
}

/* All layers fit into one page of options when named relative to the store: 128 layers of 64 digits would not, so the names
 * beyond that go one by one through the mount API that later kernels have. */
static int rootfs_mount_by_api(Setup *setup, const Statement *statement, int upper_fd, int work_fd, int target_fd)
{
        _cleanup_fd_ int fs_fd = (int)syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC);
        if (fs_fd < 0)
                return error_origin(negative_errno());
        char name[ID_LENGTH + 1], path[64];
        for (uint32_t i = statement->n_layers; i-- > 0;) {
                hex_encode(name, statement->layers[i], 32);
                _cleanup_fd_ int layer_fd = rootfs_openat(setup->layers_fd, name, O_PATH | O_DIRECTORY,
                                                          RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
                if (layer_fd < 0)
                        return error_origin(negative_errno());
                (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", layer_fd);
                if (syscall(SYS_fsconfig, fs_fd, FSCONFIG_SET_STRING, "lowerdir+", path, 0) < 0)
                        return error_origin(negative_errno());
        }
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", upper_fd);
        if (syscall(SYS_fsconfig, fs_fd, FSCONFIG_SET_STRING, "upperdir", path, 0) < 0)
                return error_origin(negative_errno());
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", work_fd);
        if (syscall(SYS_fsconfig, fs_fd, FSCONFIG_SET_STRING, "workdir", path, 0) < 0 ||
            syscall(SYS_fsconfig, fs_fd, FSCONFIG_SET_FLAG, "userxattr", NULL, 0) < 0 ||
            syscall(SYS_fsconfig, fs_fd, FSCONFIG_SET_FLAG, "volatile", NULL, 0) < 0 ||
            syscall(SYS_fsconfig, fs_fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
                return error_origin(negative_errno());
        _cleanup_fd_ int mount_fd = (int)syscall(SYS_fsmount, fs_fd, FSMOUNT_CLOEXEC, 0);
        if (mount_fd < 0 ||
            syscall(SYS_move_mount, mount_fd, "", target_fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
                return error_origin(negative_errno());
        return 0;
}

/* volatile: the upper layer dies with the container, so nothing of it needs to reach the disk at unmount. */
static int rootfs_mount(Setup *setup, const Statement *statement, int upper_fd, int work_fd, int target_fd)
{
        char options[ROOTFS_OPTIONS_MAX] = "userxattr,volatile,lowerdir=";
        size_t used = strlen(options);
        char name[ID_LENGTH + 1], path[64], target[64];
        bool fits = true;
        for (uint32_t i = statement->n_layers; fits && i-- > 0;) {
                hex_encode(name, statement->layers[i], 32);
                fits = rootfs_append(options, &used, i + 1 == statement->n_layers ? "" : ":", name);
        }
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", upper_fd);
        fits = fits && rootfs_append(options, &used, ",upperdir=", path);
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", work_fd);
        fits = fits && rootfs_append(options, &used, ",workdir=", path);
        if (!fits)
                return rootfs_mount_by_api(setup, statement, upper_fd, work_fd, target_fd);

        if (fchdir(setup->layers_fd) < 0)
                return error_origin(negative_errno());
        (void)snprintf(target, sizeof(target), "/proc/self/fd/%d", target_fd);
        int r = mount("overlay", target, "overlay", 0, options) < 0 ? negative_errno() : 0;
        if (chdir("/") < 0)
                return error_origin(negative_errno());
        return r < 0 ? error_origin(r) : 0;
}

/* OCI runtimes mount over /dev, /proc and /sys of the image; where one is a symlink, runtimes of this platform have followed
 * it to the host (CVE-2026-41579, CVE-2023-27561). A missing one is made by the runtime. */
static int rootfs_check_mount_points(int rootfs_fd, const char *id, Refusal *refusal)
{
        static const char *const points[] = {"dev", "proc", "sys"};
        for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
                _cleanup_fd_ int fd = rootfs_openat(rootfs_fd, points[i], O_PATH | O_NOFOLLOW, RESOLVE_BENEATH);
                if (fd < 0 && errno == ENOENT)
                        continue;
                struct stat st;
                if (fd < 0 || fstat(fd, &st) < 0)
                        return error_origin(negative_errno());
                if (!S_ISDIR(st.st_mode))
                        return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT,
                                           "container %s: /%s of its image is not a directory; use an image in which it is "
                                           "one or is missing", id, points[i]);
        }
        return 0;
}

static bool rootfs_is_mounted(int parent_fd)
{
        struct stat parent, root;
        return fstat(parent_fd, &parent) == 0 && fstatat(parent_fd, "rootfs", &root, AT_SYMLINK_NOFOLLOW) == 0 &&
               parent.st_dev != root.st_dev;
}

static int rootfs_unmount(int dir_fd)
{
        char path[64];
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d/rootfs", dir_fd);
        while (rootfs_is_mounted(dir_fd))
                if (umount2(path, UMOUNT_NOFOLLOW) < 0 && umount2(path, UMOUNT_NOFOLLOW | MNT_DETACH) < 0)
                        return error_origin(negative_errno());
        return 0;
}

/* Asked for a container's rootfs, with the sealed request and imaged's sealed list of layers. Re-checks both seals, that the
 * statement is for the permit's image, that each layer is a directory of the store. At worst a taken-over containerd mounts
 * the image that the kubelet asked for, for a container that the kubelet asked for, once. */
int rootfs_prepare(Setup *setup, const RootfsPrepare *verb, int request_fd, Refusal *refusal)
{
        const Permit *permit = &verb->permit;
        const Statement *statement = &verb->statement;
        if (permit_check(permit, PERMIT_VERB_CREATE_CONTAINER, hand_permit_key(setup->hand)) != 0)
                return refusal_set(refusal, GRPC_STATUS_PERMISSION_DENIED, "rootfs_prepare: the permit is not gatewayd's, or is older than 15 minutes");
        if (statement_check(statement, hand_statement_key(setup->hand)) != 0)
                return refusal_set(refusal, GRPC_STATUS_PERMISSION_DENIED,
                                   "container %s: the layer statement is not imaged's", permit->id);
        if (!str_equal(statement->image_ref, permit->image))
                return refusal_set(refusal, GRPC_STATUS_PERMISSION_DENIED,
                                   "container %s: the request names image %.200s, the statement %.200s", permit->id,
                                   permit->image, statement->image_ref);
        if (statement->n_layers == 0)
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT,
                                   "container %s: image %.200s has no layers, so there is nothing to run", permit->id,
                                   permit->image);

        /* 0710 and the group of the user namespace's root: the runtime walks here as that user; nobody else may. */
        bool userns = permit->flags & PERMIT_FLAG_USERNS;
        if (mkdirat(setup->containers_fd, permit->id, 0700) < 0 && errno != EEXIST)
                return error_origin(negative_errno());
        _cleanup_fd_ int dir_fd = rootfs_openat(setup->containers_fd, permit->id, O_RDONLY | O_DIRECTORY,
                                                RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
        if (dir_fd < 0 || fchown(dir_fd, 0, userns ? permit->userns_host_id : 0) < 0 ||
            fchmod(dir_fd, userns ? 0710 : 0700) < 0)
                return error_origin(negative_errno());
        int r = rootfs_keep_permit(setup, dir_fd, permit, refusal);
        if (r == 0 && request_fd >= 0)
                r = kept_save(dir_fd, permit, request_fd, refusal);
        if (r)
                return r < 0 ? fold(r) : r;
        if (mkdirat(dir_fd, "rootfs", 0755) < 0 && errno != EEXIST)
                return error_origin(negative_errno());

        if (!rootfs_is_mounted(dir_fd)) {
                char path[ID_LENGTH + 16];
                (void)snprintf(path, sizeof(path), "%s/upper", permit->id);
                _cleanup_fd_ int upper_fd = rootfs_openat(setup->writable_fd, path, O_PATH | O_DIRECTORY,
                                                          RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
                (void)snprintf(path, sizeof(path), "%s/work", permit->id);
                _cleanup_fd_ int work_fd = rootfs_openat(setup->writable_fd, path, O_PATH | O_DIRECTORY,
                                                         RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
                _cleanup_fd_ int target_fd = rootfs_openat(dir_fd, "rootfs", O_PATH | O_DIRECTORY,
                                                           RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
                if (upper_fd < 0 || work_fd < 0)
                        return refusal_set(refusal, GRPC_STATUS_FAILED_PRECONDITION,
                                           "container %s: its writable layer is missing; remove the container and create it "
                                           "again", permit->id);
                if (target_fd < 0)
                        return error_origin(negative_errno());
                r = userns ? idmap_rootfs(setup, permit, statement, target_fd, refusal)
                           : rootfs_mount(setup, statement, upper_fd, work_fd, target_fd);
                if (r > 0)
                        return r;
                if (r == -ENOENT)
                        return refusal_set(refusal, GRPC_STATUS_FAILED_PRECONDITION,
                                           "container %s: a layer of image %.200s is missing in the store; pull the image "
                                           "again", permit->id, permit->image);
                if (r < 0)
                        return refusal_set(refusal, GRPC_STATUS_INTERNAL, "container %s: its overlay of %u layers cannot be mounted: %s",
                                           permit->id, statement->n_layers, strerror(-r));
        }
        _cleanup_fd_ int rootfs_fd = rootfs_openat(dir_fd, "rootfs", O_RDONLY | O_DIRECTORY, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
        if (rootfs_fd < 0)
                return error_origin(negative_errno());
        r = rootfs_check_mount_points(rootfs_fd, permit->id, refusal);
        if (r) {
                rootfs_fd = fd_close(rootfs_fd);
                (void)rootfs_unmount(dir_fd);
        }
        return r < 0 ? fold(r) : r;
}

/* Asked to end a container's rootfs. Touches only that container's directory; at worst a container loses its own root. */
int rootfs_remove(Setup *setup, const char *id, Refusal *refusal)
{
        _cleanup_fd_ int dir_fd = rootfs_openat(setup->containers_fd, id, O_RDONLY | O_DIRECTORY,
                                                RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
        if (dir_fd < 0)
                return errno == ENOENT ? 0 : error_origin(negative_errno());
        int r = rootfs_unmount(dir_fd);
        if (r < 0)
                return refusal_set(refusal, GRPC_STATUS_INTERNAL, "container %s: its root file system cannot be unmounted: %s", id,
                                   strerror(-r));
        r = source_drop(hand_config(setup->hand), id); /* of a launch that was killed */
        if (r < 0)
                return refusal_set(refusal, GRPC_STATUS_INTERNAL, "container %s: its mounts cannot be unmounted: %s", id, strerror(-r));
        cgroup_remove(setup, id);
        if (faccessat(dir_fd, "permit", F_OK, AT_SYMLINK_NOFOLLOW) == 0 && hand_spend(setup->hand, id) < 0)
                return refusal_set(refusal, GRPC_STATUS_UNAVAILABLE, "container %s: that its permit is used up cannot be noted in %s/spent: %s; "
                                   "make room there", id, hand_config(setup->hand)->runtime_dir, error_trace());
        static const char *const files[] = {"permit", "permit.new", "request", "config.json", "pid"};
        for (size_t i = 0; i < ARRAY_SIZE(files); i++)
                if (unlinkat(dir_fd, files[i], 0) < 0 && errno != ENOENT)
                        return error_origin(negative_errno());
        if ((unlinkat(dir_fd, "rootfs", AT_REMOVEDIR) < 0 && errno != ENOENT) ||
            (unlinkat(setup->containers_fd, id, AT_REMOVEDIR) < 0 && errno != ENOENT))
                return refusal_set(refusal, GRPC_STATUS_INTERNAL, "container %s: its directory cannot be removed: %s", id, strerror(errno));
        return 0;
}

int rootfs_list(Setup *setup, uint32_t offset, RootfsListed *listed, Refusal *refusal)
{
        _cleanup_fd_ int fd = rootfs_openat(setup->containers_fd, ".", O_RDONLY | O_DIRECTORY, RESOLVE_BENEATH);
        if (fd < 0)
                return error_origin(negative_errno());
        DIR *dir = fdopendir(fd);
        if (!dir)
                return error_origin(negative_errno());
        (void)TAKE_FD(fd);
        uint32_t i = 0;
        for (struct dirent *entry; (entry = readdir(dir));) {
                if (!id_is_valid(entry->d_name) || i++ < offset)
                        continue;
                if (listed->n == SETUP_ROOTFS_LIST_MAX) {
                        listed->more = 1;
                        break;
                }
                (void)str_copy(listed->ids[listed->n++], ID_LENGTH + 1, entry->d_name);
        }
        (void)closedir(dir);
        return 0;
}
