/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "ipc/edges/containerd-setup.rows.h"
#include "lib/error.h"
#include "lib/grpc-status.h"
#include "services/containerd/setup/setup.h"

/* What every verb ends with: a failure of ours is told to the asker and does not end the hand, for one container's broken
 * directory must not take the others' hand away. */
static int setup_answer(int edge_fd, HandRequest *request, int r, const Refusal *refusal, const void *flat, int fd)
{
        if (r > 0)
                return hand_fail(edge_fd, request, refusal->code, "%s", refusal->text);
        if (r < 0)
                return hand_fail(edge_fd, request, GRPC_STATUS_INTERNAL, "%s: %s (%s)", request->row->name, strerror(-r),
                                 error_trace());
        return hand_reply(edge_fd, request, flat, &fd, fd >= 0 ? 1 : 0);
}

/* The id of every verb that has nothing else: a directory name, so nothing but an id may pass. */
static int setup_id(const HandRequest *request, const char **ret_id, Refusal *refusal)
{
        const SetupContainer *verb = (const void *)request->frame.payload;
        if (verb->id[ID_LENGTH] != '\0' || !id_is_valid(verb->id))
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT, "%s: not a container id", request->row->name);
        *ret_id = verb->id;
        return 0;
}

static int on_rootfs_prepare(void *context, int edge_fd, HandRequest *request)
{
        const RootfsPrepare *verb = (const void *)request->frame.payload;
        Refusal refusal = {0};
        _cleanup_fd_ int fd = -1;
        int request_fd = request->frame.n_fds > 0 ? request->frame.fds[0] : -1;
        int r = rootfs_prepare(context, verb, request_fd, &refusal);
        if (r == 0 && !str_is_empty(verb->permit.log_path))
                r = log_file_open(context, verb->permit.id, &fd, &refusal);
        return setup_answer(edge_fd, request, r, &refusal, NULL, fd);
}

static int on_rootfs_remove(void *context, int edge_fd, HandRequest *request)
{
        Refusal refusal = {0};
        const char *id = NULL;
        int r = setup_id(request, &id, &refusal);
        if (r == 0)
                r = rootfs_remove(context, id, &refusal);
        return setup_answer(edge_fd, request, r, &refusal, NULL, -1);
}

static int on_log_file_open(void *context, int edge_fd, HandRequest *request)
{
        Refusal refusal = {0};
        const char *id = NULL;
        _cleanup_fd_ int fd = -1;
        int r = setup_id(request, &id, &refusal);
        if (r == 0)
                r = log_file_open(context, id, &fd, &refusal);
        return setup_answer(edge_fd, request, r, &refusal, NULL, fd);
}

static int on_signal_send(void *context, int edge_fd, HandRequest *request)
{
        Refusal refusal = {0};
        const char *id = NULL;
        int r = setup_id(request, &id, &refusal);
        if (r == 0)
                r = signal_send(context, (const void *)request->frame.payload, request->frame.fds[0], &refusal);
        return setup_answer(edge_fd, request, r, &refusal, NULL, -1);
}

static int on_cgroup_kill(void *context, int edge_fd, HandRequest *request)
{
        Refusal refusal = {0};
        const char *id = NULL;
        int r = setup_id(request, &id, &refusal);
        if (r == 0)
                r = cgroup_kill(context, id, &refusal);
        return setup_answer(edge_fd, request, r, &refusal, NULL, -1);
}

static int on_cgroup_read(void *context, int edge_fd, HandRequest *request)
{
        Refusal refusal = {0};
        const char *id = NULL;
        CgroupRead values;
        int r = setup_id(request, &id, &refusal);
        if (r == 0)
                r = cgroup_read(context, id, &values, &refusal);
        return setup_answer(edge_fd, request, r, &refusal, &values, -1);
}

/* Asked: the files that tell what one container uses. Re-checked: the id, and the cgroup through the permit that was kept. At
 * worst a brain that was taken over reads counters of containers that it manages. */
static int on_usage_open(void *context, int edge_fd, HandRequest *request)
{
        Refusal refusal = {0};
        UsageOpened opened;
        int fds[CGROUP_FILES_PER_FRAME];
        const UsageOpen *verb = (const void *)request->frame.payload;
        const char *id = NULL;
        int r = setup_id(request, &id, &refusal);
        if (r == 0)
                r = usage_open(context, verb, &opened, fds, &refusal);
        if (r != 0)
                return setup_answer(edge_fd, request, r, &refusal, NULL, -1);
        r = hand_reply(edge_fd, request, &opened, fds, opened.files.n);
        for (uint32_t i = 0; i < opened.files.n; i++)
                fds[i] = fd_close(fds[i]);
        return r;
}

static int on_rootfs_list(void *context, int edge_fd, HandRequest *request)
{
        Refusal refusal = {0};
        RootfsListed listed = {0};
        const RootfsList *verb = (const void *)request->frame.payload;
        int r = rootfs_list(context, verb->offset, &listed, &refusal);
        return setup_answer(edge_fd, request, r, &refusal, &listed, -1);
}

/* Asked: the permit and the request that a container was made with. Reads only; at worst a brain that was taken over learns again
 * what it carried here. */
static int on_rootfs_kept(void *context, int edge_fd, HandRequest *request)
{
        Refusal refusal = {0};
        RootfsKept kept = {0};
        const char *id = NULL;
        _cleanup_fd_ int fd = -1;
        int r = setup_id(request, &id, &refusal);
        if (r == 0)
                r = kept_open(context, id, &kept, &fd, &refusal);
        return setup_answer(edge_fd, request, r, &refusal, &kept, fd);
}

static int on_image_mount(void *context, int edge_fd, HandRequest *request)
{
        Refusal refusal = {0};
        int r = image_volume_mount(context, (const void *)request->frame.payload, &refusal);
        return setup_answer(edge_fd, request, r, &refusal, NULL, -1);
}

/* Tries on its own what a user namespace needs; told nothing, leaves nothing. */
static int on_setup_probe(void *context, int edge_fd, HandRequest *request)
{
        const Refusal none = {0};
        SetupProbed probed;
        int r = idmap_probe(context, &probed);
        return setup_answer(edge_fd, request, r, &none, &probed, -1);
}

static int setup_open_dir(const char *base, const char *name, mode_t mode, int *ret_fd)
{
        char path[CONFIG_PATH_MAX + 32];
        (void)snprintf(path, sizeof(path), "%s/%s", base, name);
        if (mkdir(path, mode) < 0 && errno != EEXIST)
                return error_origin(negative_errno());
        *ret_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        return *ret_fd < 0 ? error_origin(negative_errno()) : 0;
}

static int setup_acquire(void *context)
{
        Setup *setup = context;
        const ConfigCommon *common = hand_config(setup->hand);
        setup->config = hand_section(setup->hand, sizeof(ConfigContainerd));
        int r = setup_open_dir(common->state_dir, "layers", 0700, &setup->layers_fd);
        if (r == 0)
                r = setup_open_dir(common->state_dir, "writable", 0700, &setup->writable_fd);
        if (r == 0)
                r = setup_open_dir(common->runtime_dir, "containers", 0711, &setup->containers_fd);
        if (r < 0)
                return fold(r);
        setup->log_root_fd = open(setup->config->log_root, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (setup->log_root_fd < 0)
                return error_origin(negative_errno());
        /* On a hybrid machine the hierarchies lie side by side, and limits are kept by those of version 1. */
        cgroup_dirs_find(&setup->cgroups, setup->config->cgroup_root);
        return 0;
}

int main(int argc, char **argv)
{
        static const HandHandler handlers[] = {EDGE_CONTAINERD_SETUP_HANDLERS_B};
        static const HandSpec spec = {
                .process = PROCESS_CONTAINERD_SETUP,
                .edge = EDGE_CONTAINERD_SETUP,
                .schema = &edge_schema_containerd_setup,
                .handlers = handlers,
                .context_size = sizeof(Setup),
                .fork_per_request = true,
                .acquire = setup_acquire,
        };
        return hand_main(&spec, argc, argv);
}
