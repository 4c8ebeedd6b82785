/* SPDX-License-Identifier: Apache-2.0 */

/* The log file of a container, at the path that the sealed request named and nowhere else. The kubelet's log directory may be
 * mounted into pods, so what lies there can be hostile: no symlink is followed below the log root, and what is opened must
 * be a regular file with one name. */

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "lib/error.h"
#include "lib/grpc-status.h"
#include "services/containerd/setup/setup.h"

#define LOG_FILE_RESOLVE (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)

static int log_file_openat(int dir_fd, const char *path, uint64_t flags, uint64_t mode)
{
        struct open_how how = {.flags = flags | O_CLOEXEC | O_NOFOLLOW, .mode = mode, .resolve = LOG_FILE_RESOLVE};
        return (int)syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));
}

/* Opens the directory of path beneath the root, making what is missing (0755, as the kubelet does). */
static int log_file_open_parent(int root_fd, char *path, int *ret_fd, const char **ret_name)
{
        _cleanup_fd_ int dir_fd = log_file_openat(root_fd, ".", O_PATH | O_DIRECTORY, 0);
        if (dir_fd < 0)
                return error_origin(negative_errno());
        char *component = path;
        for (char *slash; (slash = strchr(component, '/')); component = slash + 1) {
                *slash = '\0';
                if (!*component)
                        continue;
                if (mkdirat(dir_fd, component, 0755) < 0 && errno != EEXIST)
                        return error_origin(negative_errno());
                int next = log_file_openat(dir_fd, component, O_PATH | O_DIRECTORY, 0);
                if (next < 0)
                        return error_origin(negative_errno());
                (void)fd_close(dir_fd);
                dir_fd = next;
        }
        *ret_name = component;
        *ret_fd = TAKE_FD(dir_fd);
        return 0;
}

/* Asked for the log of a container that has a kept permit. At worst creates, or opens for writing, the file whose path the
 * kubelet sealed. */
int log_file_open(Setup *setup, const char *id, int *ret_fd, Refusal *refusal)
{
        Permit permit;
        int r = rootfs_permit(setup, id, &permit, refusal);
        if (r)
                return r < 0 ? fold(r) : r;
        if (str_is_empty(permit.log_path))
                return refusal_set(refusal, GRPC_STATUS_FAILED_PRECONDITION, "container %s: its request names no log path", id);
        const char *root = setup->config->log_root;
        size_t n_root = str_equal(root, "/") ? 0 : strlen(root);
        if (strncmp(permit.log_path, root, n_root) != 0 || permit.log_path[n_root] != '/')
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT,
                                   "container %s: log path %.200s is not beneath log_root %.200s; change one of them", id,
                                   permit.log_path, root);

        _cleanup_fd_ int dir_fd = -1;
        const char *name = NULL;
        r = log_file_open_parent(setup->log_root_fd, permit.log_path + n_root, &dir_fd, &name);
        if (r < 0)
                return refusal_set(refusal, GRPC_STATUS_FAILED_PRECONDITION,
                                   "container %s: the directory of its log cannot be opened: %s", id, strerror(-r));
        _cleanup_fd_ int fd = log_file_openat(dir_fd, name, O_WRONLY | O_CREAT | O_NONBLOCK | O_NOCTTY, 0640);
        struct stat st;
        if (fd < 0 || fstat(fd, &st) < 0)
                return refusal_set(refusal, GRPC_STATUS_FAILED_PRECONDITION, "container %s: its log %.200s cannot be opened: %s", id,
                                   name, strerror(errno));
        if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
                return refusal_set(refusal, GRPC_STATUS_FAILED_PRECONDITION,
                                   "container %s: its log %.200s is not a regular file with one name; remove it", id, name);
        *ret_fd = TAKE_FD(fd);
        return 0;
}
