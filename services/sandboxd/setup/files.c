/* SPDX-License-Identifier: Apache-2.0 */

/* The files that a pod's containers get: resolv.conf, hostname, /dev/shm. They are writable in the containers, as everywhere
 * else, so they lie on a tmpfs of 64 KiB (CVE-2020-8557: a container wrote its /etc/hosts until the node's disk was full),
 * and /dev/shm is one with the size that was asked for. */

#include "lib/error.h"
#include "lib/fd.h"
#include "services/sandboxd/setup/setup.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define FILES_OPTIONS "size=64k,nr_inodes=16,mode=0755"
#define FILES_SHM_BYTES (64u * 1024 * 1024)
#define FILES_HOST_RESOLV_PATH "/etc/resolv.conf"
#define FILES_HOST_RESOLV_MAX (32 * 1024) /* half of the tmpfs */
#define FILES_MOUNT_FLAGS (MS_NOSUID | MS_NODEV | MS_NOEXEC)

/* The user that is root in the pod's containers. */
static uint32_t files_owner(const SetupMake *make)
{
        return make->permit.flags & PERMIT_FLAG_USERNS ? make->permit.userns_host_id : 0;
}

static int files_write(int dir_fd, const char *name, const void *bytes, size_t n, uint32_t owner)
{
        int r = fd_write_file(dir_fd, name, bytes, n, 0644);
        if (r < 0)
                return fold(r);
        if (fchmodat(dir_fd, name, 0644, 0) < 0 || fchownat(dir_fd, name, owner, owner, AT_SYMLINK_NOFOLLOW) < 0)
                return error_origin(negative_errno());
        return 0;
}

static int files_write_resolv(int dir_fd, const SetupMake *make)
{
        if (make->resolv_conf[0]) {
                int r = files_write(dir_fd, "resolv.conf", make->resolv_conf, strlen(make->resolv_conf),
                                    files_owner(make));
                return r < 0 ? fold(r) : 0;
        }
        /* A host without the file has no name servers; neither has the pod then. */
        char text[FILES_HOST_RESOLV_MAX];
        _cleanup_fd_ int fd = open(FILES_HOST_RESOLV_PATH, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        ssize_t n = fd >= 0 ? read(fd, text, sizeof(text)) : 0;
        if (n < 0 || (fd < 0 && errno != ENOENT))
                return error_origin(negative_errno());
        int r = files_write(dir_fd, "resolv.conf", text, (size_t)n, files_owner(make));
        return r < 0 ? fold(r) : 0;
}

static int files_open(const Setup *setup, const char *id, int *ret_fd)
{
        char path[SETUP_PATH_MAX];
        int r = pod_path(setup, id, POD_PATH_FILES, path);
        if (r < 0)
                return fold(r);
        int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return error_origin(negative_errno());
        *ret_fd = fd;
        return 0;
}

static int files_make_shm(const Setup *setup, const SetupMake *make)
{
        char path[SETUP_PATH_MAX], options[128];
        int r = pod_path(setup, make->permit.id, POD_PATH_SHM, path);
        if (r < 0)
                return fold(r);
        snprintf(options, sizeof(options), "size=%u,mode=1777,uid=%u,gid=%u",
                 make->shm_bytes ? make->shm_bytes : FILES_SHM_BYTES, files_owner(make), files_owner(make));
        if (mkdir(path, 0755) < 0 || mount("shm", path, "tmpfs", FILES_MOUNT_FLAGS, options) < 0)
                return error_origin(negative_errno());
        return 0;
}

int files_make(const Setup *setup, const SetupMake *make)
{
        char path[SETUP_PATH_MAX];
        int r = pod_path(setup, make->permit.id, POD_PATH_FILES, path);
        if (r < 0)
                return fold(r);
        if (mkdir(path, 0755) < 0 || mount("bulkhead-pod", path, "tmpfs", FILES_MOUNT_FLAGS, FILES_OPTIONS) < 0)
                return error_origin(negative_errno());
        _cleanup_fd_ int dir_fd = -1;
        r = files_open(setup, make->permit.id, &dir_fd);
        if (r == 0)
                r = files_write_resolv(dir_fd, make);
        if (r == 0 && !(make->permit.flags & PERMIT_FLAG_HOST_IPC)) /* with the host's IPC it is the host's /dev/shm */
                r = files_make_shm(setup, make);
        return r < 0 ? fold(r) : 0;
}

int files_write_hostname(const Setup *setup, const SetupMake *make, const char *hostname)
{
        char line[80];
        _cleanup_fd_ int dir_fd = -1;
        int n = snprintf(line, sizeof(line), "%s\n", hostname);
        int r = files_open(setup, make->permit.id, &dir_fd);
        if (r == 0)
                r = files_write(dir_fd, "hostname", line, (size_t)n, files_owner(make));
        return r < 0 ? fold(r) : 0;
}
