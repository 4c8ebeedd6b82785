/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc/edges/sandboxd-setup.rows.h"
#include "lib/error.h"
#include "lib/log.h"
#include "services/sandboxd/hostname.h"
#include "services/sandboxd/setup/setup.h"
#include "services/sandboxd/sysctl.h"
#include <sys/utsname.h>

#define SETUP_SHM_BYTES_MIN (64u * 1024)
/* Users of the suite's processes and shims: a container that shares one could act on them. */
#define SETUP_RESERVED_IDS (1u << 20)

/* A failure of ours is told to the asker and does not end the hand: one pod's trouble is not the others'. */
static int setup_answer(int edge_fd, HandRequest *request, int r, const Refusal *refusal, const void *flat, int fd)
{
        if (r > 0)
                return hand_fail(edge_fd, request, refusal->code, "%s", refusal->text);
        if (r < 0) {
                log_error("%s: %s", request->row->name, error_trace());
                return hand_fail(edge_fd, request, GRPC_STATUS_INTERNAL, "%s: %s (%s)", request->row->name, strerror(-r),
                                 error_trace());
        }
        return hand_reply(edge_fd, request, flat, &fd, fd >= 0 ? 1 : 0);
}

/* A pod's id names directories: nothing but an id may pass. */
static int setup_pod_id(const HandRequest *request, const char **ret_id, Refusal *refusal)
{
        const SetupPod *verb = (const void *)request->frame.payload;
        if (verb->pod_id[ID_LENGTH] != '\0' || !id_is_valid(verb->pod_id))
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT, "%s: not a pod's id", request->row->name);
        *ret_id = verb->pod_id;
        return 0;
}

static bool setup_is_terminated(const char *array, size_t size)
{
        return memchr(array, '\0', size) != NULL;
}

static int setup_check_userns(const Setup *setup, const Permit *permit, Refusal *refusal)
{
        uint64_t first = permit->userns_host_id, end = first + permit->userns_length;
        uint64_t reserved = hand_config(setup->hand)->user_base;
        if (permit->userns_length == 0 || end > UINT32_MAX)
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT,
                                   "pod %s: its user namespace maps no ids, or ids beyond 2^32 - 2", permit->id);
        if (permit->userns_container_id != 0)
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT,
                                   "pod %s: its user namespace does not map id 0; map container ids from 0", permit->id);
        if (first == 0)
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT,
                                   "pod %s: its user namespace maps the host's root; give it other host ids", permit->id);
        if (first < reserved + SETUP_RESERVED_IDS && end > reserved)
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT,
                                   "pod %s: its user namespace maps host ids of this runtime (%llu to %llu); use others",
                                   permit->id, (unsigned long long)reserved,
                                   (unsigned long long)reserved + SETUP_RESERVED_IDS - 1);
        return 0;
}

static int setup_check_hostname(const SetupMake *make, Refusal *refusal)
{
        struct utsname uts;
        if (!setup_is_terminated(make->hostname, sizeof(make->hostname)))
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT, "pod %s: hostname without an end",
                                   make->permit.id);
        if (!make->hostname[0])
                return 0;
        if (!hostname_is_valid(make->hostname))
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT,
                                   "pod %s: \"%.64s\" is not a hostname: up to %d letters, digits, '-' and '.'",
                                   make->permit.id, make->hostname, HOSTNAME_MAX);
        if ((make->permit.flags & PERMIT_FLAG_HOST_NETWORK) &&
            (uname(&uts) < 0 || strcmp(uts.nodename, make->hostname) != 0))
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT,
                                   "pod %s: it uses the host's network and so has the host's name, not \"%s\"; leave "
                                   "hostname empty",
                                   make->permit.id, make->hostname);
        return 0;
}

static int setup_check(const Setup *setup, const SetupMake *make, Refusal *refusal)
{
        const uint8_t *key = hand_permit_key(setup->hand);
        const Permit *permit = &make->permit;
        int r;

        if (!key || permit_check(permit, PERMIT_VERB_RUN_POD, key) != 0)
                return refusal_set(refusal, GRPC_STATUS_PERMISSION_DENIED,
                                   "setup_make: the permit is not one that gatewayd sealed for a pod within the last 15 minutes");
        if ((permit->flags & PERMIT_FLAG_HOST_PID) && (permit->flags & PERMIT_FLAG_POD_PID))
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT,
                                   "pod %s: one process namespace, either the host's or its own", permit->id);
        if (permit->flags & PERMIT_FLAG_USERNS) {
                r = setup_check_userns(setup, permit, refusal);
                if (r != 0)
                        return r;
        }
        r = setup_check_hostname(make, refusal);
        if (r != 0)
                return r;
        if (!setup_is_terminated(make->resolv_conf, sizeof(make->resolv_conf)))
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT, "pod %s: resolv.conf without an end", permit->id);
        if (make->shm_bytes != 0 && make->shm_bytes < SETUP_SHM_BYTES_MIN)
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT, "pod %s: /dev/shm of %u bytes; at least %u",
                                   permit->id, make->shm_bytes, SETUP_SHM_BYTES_MIN);
        if (make->n_sysctls > SEAL_SYSCTLS_MAX || permit_check_pod_sysctls(permit, make->sysctls, make->n_sysctls) != 0)
                return refusal_set(refusal, GRPC_STATUS_PERMISSION_DENIED, "pod %s: its request has other sysctls", permit->id);
        for (uint32_t i = 0; i < make->n_sysctls; i++) {
                const SealSysctl *sysctl = &make->sysctls[i];
                char path[SYSCTL_NAME_MAX];
                Refusal why = {0};
                if (sysctl_check(sysctl->name, sysctl->value, permit->flags, path, &why) != 0)
                        return refusal_set(refusal, why.code, "pod %s: %s", permit->id, why.text);
        }
        return 0;
}

static int setup_check_unused(const Setup *setup, const char *id, Refusal *refusal)
{
        int r = hand_check_spent(setup->hand, id);
        if (r > 0)
                return refusal_set(refusal, GRPC_STATUS_PERMISSION_DENIED, "pod %s: its permit was used before; a permit is good once", id);
        return r < 0 ? fold(r) : 0;
}

static int setup_make(const Setup *setup, const SetupMake *make, int request_fd, SetupMade *made, int *ret_pidfd, Refusal *refusal)
{
        const char *id = make->permit.id;
        char hostname[65] = "";

        int r = setup_check(setup, make, refusal);
        if (r != 0)
                return r;
        r = pod_status(setup, id, made, ret_pidfd);
        if (r < 0)
                return fold(r);
        /* One whose init died is made anew: it is not in use yet, or the brain would have ended it. */
        if (made->exists && (made->init_alive || !(made->flags & PERMIT_FLAG_POD_PID)))
                return 0;
        *ret_pidfd = fd_close(*ret_pidfd);
        r = pod_remove(setup, id, refusal);
        if (r == 0)
                r = files_make(setup, make);
        if (r == 0)
                r = namespaces_make(setup, make, hostname, refusal);
        if (r == 0 && request_fd >= 0)
                r = kept_save(setup, &make->permit, request_fd, refusal);
        if (r == 0)
                r = files_write_hostname(setup, make, hostname);
        if (r == 0) {
                const PodRecord record = {
                        .flags = make->permit.flags,
                        .userns_host_id = make->permit.userns_host_id,
                        .userns_length = make->permit.userns_length,
                };
                r = pod_commit(setup, id, &record);
        }
        /* After it is there: whoever takes it away from now on notes it, whoever did so before has. */
        if (r == 0)
                r = setup_check_unused(setup, id, refusal);
        if (r == 0)
                r = pod_status(setup, id, made, ret_pidfd);
        if (r != 0) {
                Refusal second = {0};
                if (r < 0)
                        (void)fold(r);
                if (pod_remove(setup, id, &second) != 0)
                        log_error("%s", second.text);
        }
        return r;
}

/* Asked: namespaces and files of one pod. Re-checked: that gatewayd sealed this id for a pod with these flags; that the user
 * namespace maps neither root nor ours; hostname, lengths; that the sysctls are those
 * of the request, and a namespace's own. At worst a brain that was taken over chooses hostname,
 * resolv.conf and the size of /dev/shm of a pod that somebody asked for, once. */
static int on_setup_make(void *context, int edge_fd, HandRequest *request)
{
        Refusal refusal = {0};
        SetupMade made = {0};
        _cleanup_fd_ int pidfd = -1;
        int r = setup_make(context, (const void *)request->frame.payload, request->frame.n_fds > 0 ? request->frame.fds[0] : -1, &made, &pidfd,
                           &refusal);
        return setup_answer(edge_fd, request, r, &refusal, &made, pidfd);
}

/* Asked: the end of a pod's namespaces and files. At worst: a running pod loses its pins, its files and, where it shares a
 * PID namespace, its processes; that of pods only. */
static int on_setup_remove(void *context, int edge_fd, HandRequest *request)
{
        Refusal refusal = {0};
        const char *id = NULL;
        int r = setup_pod_id(request, &id, &refusal);
        if (r == 0 && pod_is_made(context, id))
                r = hand_spend(((Setup *)context)->hand, id);
        if (r == 0)
                r = pod_remove(context, id, &refusal);
        return setup_answer(edge_fd, request, r, &refusal, NULL, -1);
}

static int on_setup_list(void *context, int edge_fd, HandRequest *request)
{
        const SetupList *verb = (const void *)request->frame.payload;
        const Refusal none = {0};
        SetupListed listed;
        int r = pod_list(context, verb->offset, &listed);
        return setup_answer(edge_fd, request, r, &none, &listed, -1);
}

/* Reads only. The pidfd of an init lets the brain see its end; to signal it needs a permission that the brain lacks. */
static int on_setup_status(void *context, int edge_fd, HandRequest *request)
{
        Refusal refusal = {0};
        SetupMade made = {0};
        const char *id = NULL;
        _cleanup_fd_ int pidfd = -1;
        int r = setup_pod_id(request, &id, &refusal);
        if (r == 0)
                r = pod_status(context, id, &made, &pidfd);
        return setup_answer(edge_fd, request, r, &refusal, &made, pidfd);
}

/* Asked: the permit and the request that a pod was made with. Reads only; at worst a brain that was taken over learns again what it
 * carried here. */
static int on_setup_kept(void *context, int edge_fd, HandRequest *request)
{
        Refusal refusal = {0};
        SetupKept kept = {0};
        const char *id = NULL;
        _cleanup_fd_ int fd = -1;
        int r = setup_pod_id(request, &id, &refusal);
        if (r == 0)
                r = kept_open(context, id, &kept, &fd);
        return setup_answer(edge_fd, request, r, &refusal, &kept, fd);
}

/* Asked: does this container of this pod still run. Re-checked: both ids; where to look is the kept permit's word. At worst a brain
 * that was taken over learns that of a container whose id it knows. */
static int on_setup_lease(void *context, int edge_fd, HandRequest *request)
{
        Refusal refusal = {0};
        SetupLeased leased = {0};
        const char *id = NULL;
        int r = setup_pod_id(request, &id, &refusal);
        if (r == 0)
                r = kept_look_at_lease(context, (const void *)request->frame.payload, &leased, &refusal);
        return setup_answer(edge_fd, request, r, &refusal, &leased, -1);
}

/* Asked: the counters of one pod's cgroup and interfaces. Re-checked: that gatewayd sealed this pod with this cgroup parent. At
 * worst a brain that was taken over reads the counters of a pod that somebody asked for. */
static int on_setup_usage(void *context, int edge_fd, HandRequest *request)
{
        Refusal refusal = {0};
        CgroupFiles files = {0};
        int fds[CGROUP_FILES_PER_FRAME];
        int r = usage_open(context, (const void *)request->frame.payload, &files, fds, &refusal);
        if (r != 0)
                return setup_answer(edge_fd, request, r, &refusal, NULL, -1);
        r = hand_reply(edge_fd, request, &files, fds, files.n);
        for (uint32_t i = 0; i < files.n; i++)
                fds[i] = fd_close(fds[i]);
        return r;
}

static int setup_acquire(void *context)
{
        Setup *setup = context;
        setup->config = hand_section(setup->hand, sizeof(*setup->config));
        cgroup_dirs_find(&setup->cgroups, setup->config->cgroup_root);
        int r = pod_prepare_host(context);
        return r < 0 ? fold(r) : 0;
}

static const HandHandler handlers[] = {EDGE_SANDBOXD_SETUP_HANDLERS_B};

int main(int argc, char **argv)
{
        static const HandSpec spec = {
                .process = PROCESS_SANDBOXD_SETUP,
                .edge = EDGE_SANDBOXD_SETUP,
                .schema = &edge_schema_sandboxd_setup,
                .handlers = handlers,
                .context_size = sizeof(Setup),
                .acquire = setup_acquire,
                .on_child = connect_ended,
        };
        return hand_main(&spec, argc, argv);
}
