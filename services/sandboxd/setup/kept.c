/* SPDX-License-Identifier: Apache-2.0 */

/* What is kept of a pod beside its pins: the permit that it was made with and the request that this seals. Root's own, so that a
 * brain that lost its database, or one row of it, knows the pod again; and the cgroup parent that leases are looked up under is
 * the request's and not a brain's. Nothing here reads the request: it is a length and a hash. */

#include "ipc/cgroup-path.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "services/kept-request.h"
#include "services/sandboxd/setup/setup.h"
#include <fcntl.h>
#include <stdio.h>

#define KEPT_REQUEST_MAX (4 * 1024 * 1024) /* what a RunPodSandbox may have on its edge */

static int kept_open_dir(const Setup *setup, const char *pod_id, int *ret_fd)
{
        char path[SETUP_PATH_MAX];
        int r = pod_path(setup, pod_id, POD_PATH_PINS, path);
        if (r < 0)
                return fold(r);
        *ret_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        return *ret_fd < 0 ? negative_errno() : 0;
}

int kept_save(const Setup *setup, const Permit *permit, int request_fd, Refusal *refusal)
{
        _cleanup_fd_ int dir_fd = -1;
        int r = kept_open_dir(setup, permit->id, &dir_fd);
        if (r < 0)
                return error_origin(r);
        r = kept_request_save(dir_fd, permit, request_fd, KEPT_REQUEST_MAX);
        if (r == KEPT_REQUEST_E_LARGE)
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT, "pod %s: its request has more than %d bytes", permit->id,
                                   KEPT_REQUEST_MAX);
        if (r == KEPT_REQUEST_E_OTHER)
                return refusal_set(refusal, GRPC_STATUS_PERMISSION_DENIED, "pod %s: the request is not the one that its permit seals",
                                   permit->id);
        if (r == 0)
                r = fd_write_file(dir_fd, "permit", permit, sizeof(*permit), 0600);
        return r < 0 ? fold(r) : 0;
}

/* Whole, of this pod, and with ends: what was written here was checked before. 1: there is none. */
static int kept_read_permit(int dir_fd, const char *pod_id, Permit *permit)
{
        _cleanup_fd_ int fd = openat(dir_fd, "permit", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return 1;
        return fd_pread_full(fd, permit, sizeof(*permit), 0) < 0 || permit->id[ID_LENGTH] != '\0' || !str_equal(permit->id, pod_id) ||
               permit->cgroup_parent[SEAL_PATH_MAX - 1] != '\0';
}

int kept_open(const Setup *setup, const char *pod_id, SetupKept *kept, int *ret_fd)
{
        _cleanup_fd_ int dir_fd = -1;
        *kept = (SetupKept){0};
        *ret_fd = -1;
        if (kept_open_dir(setup, pod_id, &dir_fd) < 0 || kept_read_permit(dir_fd, pod_id, &kept->permit) != 0)
                return 0;
        *ret_fd = openat(dir_fd, "request", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        kept->exists = *ret_fd >= 0;
        return 0;
}

int kept_look_at_lease(const Setup *setup, const SetupLease *verb, SetupLeased *leased, Refusal *refusal)
{
        Permit permit;
        char path[CGROUP_PATH_MAX], text[256] = "";
        _cleanup_fd_ int dir_fd = -1;
        _cleanup_(cgroup_dirs_done) CgroupDirs dirs = CGROUP_DIRS_NULL;
        *leased = (SetupLeased){0};
        if (verb->container_id[ID_LENGTH] != '\0' || !id_is_valid(verb->container_id))
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT, "setup_lease: not a container's id");
        if (kept_open_dir(setup, verb->pod_id, &dir_fd) < 0 || kept_read_permit(dir_fd, verb->pod_id, &permit) != 0 ||
            !cgroup_path_compose(path, setup->config->systemd_cgroups, permit.cgroup_parent, verb->container_id))
                return refusal_set(refusal, GRPC_STATUS_NOT_FOUND, "pod %s: its cgroup parent was not kept", verb->pod_id);
        if (cgroup_dirs_open(&setup->cgroups, path, &dirs) < 0 || dirs.v2_fd < 0)
                return 0; /* it has none any more */
        _cleanup_fd_ int fd = openat(dirs.v2_fd, "cgroup.events", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
        /* Gone between two of our calls; every other trouble is no proof that nothing runs. */
        if (n < 0 && (errno == ENOENT || errno == ENODEV))
                return 0;
        leased->populated = n < 0 || !strstr(text, "populated 0");
        return 0;
}

void kept_forget(const Setup *setup, const char *pod_id)
{
        _cleanup_fd_ int dir_fd = -1;
        if (kept_open_dir(setup, pod_id, &dir_fd) < 0)
                return;
        (void)unlinkat(dir_fd, "request", 0);
        (void)unlinkat(dir_fd, "permit", 0);
}
