/* SPDX-License-Identifier: Apache-2.0 */

/* What is kept of a container beside its root file system: its permit, and the request that this seals. Root's own, so that a brain
 * that lost its database knows again what runs here, instead of taking it away. The request is a length and a hash here. */

#include <fcntl.h>
#include <stdio.h>

#include "lib/error.h"
#include "lib/grpc-status.h"
#include "services/containerd/setup/setup.h"
#include "services/kept-request.h"

#define KEPT_REQUEST_MAX (8 * 1024 * 1024) /* what a CreateContainer may have on its edge */

int kept_save(int dir_fd, const Permit *permit, int request_fd, Refusal *refusal)
{
        int r = kept_request_save(dir_fd, permit, request_fd, KEPT_REQUEST_MAX);
        if (r == KEPT_REQUEST_E_LARGE)
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT, "container %s: its request has more than %d bytes", permit->id,
                                   KEPT_REQUEST_MAX);
        if (r == KEPT_REQUEST_E_OTHER)
                return refusal_set(refusal, GRPC_STATUS_PERMISSION_DENIED, "container %s: the request is not the one that its permit seals",
                                   permit->id);
        return r < 0 ? fold(r) : 0;
}

int kept_open(Setup *setup, const char *id, RootfsKept *kept, int *ret_fd, Refusal *refusal)
{
        char path[ID_LENGTH + 16];
        *ret_fd = -1;
        int r = rootfs_permit(setup, id, &kept->permit, refusal);
        if (r)
                return r < 0 ? fold(r) : r;
        (void)snprintf(path, sizeof(path), "%s/request", id);
        *ret_fd = openat(setup->containers_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        return 0;
}
