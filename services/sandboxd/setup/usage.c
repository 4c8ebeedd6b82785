/* SPDX-License-Identifier: Apache-2.0 */

/* What sandboxd reads a pod's usage from, opened once and kept by sandboxd. /proc/net/dev shows the network namespace of whoever
 * opens it, for as long as it is open; so a child enters the pod's, opens it and hands it over. The hand itself never leaves
 * the host's namespaces. */

#include "ipc/cgroup-path.h"
#include "ipc/errand.h"
#include "lib/error.h"
#include "services/sandboxd/setup/setup.h"
#include <fcntl.h>
#include <sched.h>

enum { USAGE_NET_DEV = 1 };

static int usage_look(void *userdata, int socket_fd)
{
        const int *network_fd = userdata;
        char byte = 0;

        if (setns(*network_fd, CLONE_NEWNET) < 0)
                return 1;
        int fd = open("/proc/thread-self/net/dev", O_RDONLY | O_CLOEXEC);
        return fd < 0 || wire_send(socket_fd, USAGE_NET_DEV, 0, 0, &byte, 1, &fd, 1) != 0;
}

/* -1 in ret_fd: the pod has no network namespace of its own (any more). */
static int usage_open_net_dev(const Setup *setup, const Permit *permit, int *ret_fd)
{
        char path[SETUP_PATH_MAX];

        *ret_fd = -1;
        if (!pod_has_pin(permit->flags, POD_PATH_NETWORK))
                return 0;
        int r = pod_path(setup, permit->id, POD_PATH_NETWORK, path);
        if (r < 0)
                return fold(r);
        _cleanup_fd_ int network_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (network_fd < 0)
                return 0;
        _cleanup_(wire_frame_done) WireFrame frame = WIRE_FRAME_NULL;
        int status;
        r = errand_run(usage_look, &network_fd, &frame, &status);
        if (r < 0)
                return fold(r);
        if (r == 0 && frame.header.id == USAGE_NET_DEV)
                *ret_fd = wire_frame_take_fd(&frame, 0);
        return 0;
}

int usage_open(const Setup *setup, const SetupUsage *verb, CgroupFiles *ret, int ret_fds[CGROUP_FILES_PER_FRAME], Refusal *refusal)
{
        const Permit *permit = &verb->permit;
        const uint8_t *key = hand_permit_key(setup->hand);
        char path[CGROUP_PATH_MAX];
        _cleanup_(cgroup_dirs_done) CgroupDirs dirs = CGROUP_DIRS_NULL;
        int net_fd = -1;

        if (!key || permit_check_seal(permit, PERMIT_VERB_RUN_POD, key) != 0) /* it reads only, as long as the pod lives */
                return refusal_set(refusal, GRPC_STATUS_PERMISSION_DENIED,
                                   "setup_usage: the permit is not one that gatewayd sealed for a pod");
        if (cgroup_path_parent(path, setup->config->systemd_cgroups, permit->cgroup_parent))
                (void)cgroup_dirs_open(&setup->cgroups, path, &dirs); /* not there before its first container is */
        int r = usage_open_net_dev(setup, permit, &net_fd);
        if (r < 0)
                return fold(r);
        cgroup_files_open(&dirs, 0, CGROUP_FILE_POD_N, CGROUP_FILE_POD_N, ret, ret_fds);
        if (net_fd >= 0) {
                ret->files[ret->n] = CGROUP_FILE_NET_DEV;
                ret->versions[ret->n] = 2;
                ret_fds[ret->n++] = net_fd;
        }
        return 0;
}
_Static_assert(CGROUP_FILE_POD_N < CGROUP_FILES_PER_FRAME, "a pod's files travel in one frame");
