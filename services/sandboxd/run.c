/* SPDX-License-Identifier: Apache-2.0 */

/* RunPodSandbox: intent, namespaces, network, READY; and the way back when one of them fails. A failed ADD is always followed
 * by DEL. Every step can be repeated by a restart: setup is idempotent by pod id, and an ADD whose end is unknown is undone. */

#include <event2/event.h>
#include <stdio.h>

#include "ipc/cgroup-path.h"
#include "ipc/edges/sandboxd-cni.h"
#include "ipc/edges/sandboxd-cni.rows.h"
#include "ipc/edges/sandboxd-setup.h"
#include "ipc/edges/sandboxd-setup.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/log.h"
#include "services/sandboxd/hostname.h"
#include "services/sandboxd/init-watch.h"
#include "services/sandboxd/leftover.h"
#include "services/sandboxd/network.h"
#include "services/sandboxd/sandboxd.h"
#include "services/sandboxd/sysctl.h"

#define RUN_SETUP_TIMEOUT (60 * USEC_PER_SEC)
#define RUN_RETRIES_MAX 5

/* "nameserver a\nsearch b c\noptions d\n" as resolv.conf(5) has it. */
static bool run_resolv_conf(const Runtime__V1__DNSConfig *dns, char to[SETUP_RESOLV_MAX], Refusal *refusal)
{
        size_t used = 0;
        to[0] = '\0';
        if (!dns)
                return true;
        const struct {
                const char *keyword;
                char **words;
                size_t n;
                bool one_line;
        } parts[] = {
                {"search", dns->searches, dns->n_searches, true},
                {"nameserver", dns->servers, dns->n_servers, false},
                {"options", dns->options, dns->n_options, true},
        };
        for (size_t p = 0; p < ARRAY_SIZE(parts); p++) {
                for (size_t i = 0; i < parts[p].n; i++) {
                        const char *word = parts[p].words[i];
                        bool first = i == 0 || !parts[p].one_line;
                        if (strpbrk(word, " \t\r\n") || !*word) {
                                (void)refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT, "its dns_config has \"%.80s\" as %s", word, parts[p].keyword);
                                return false;
                        }
                        int n = snprintf(to + used, SETUP_RESOLV_MAX - used, "%s%s %s", first && used ? "\n" : "", first ? parts[p].keyword : "", word);
                        used += n > 0 ? (size_t)n : 0;
                        if (used + 2 > SETUP_RESOLV_MAX) {
                                (void)refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT, "its dns_config is longer than %d bytes", SETUP_RESOLV_MAX);
                                return false;
                        }
                }
        }
        if (used) {
                to[used++] = '\n';
                to[used] = '\0';
        }
        return true;
}

static int run_check_userns(const Runtime__V1__LinuxPodSandboxConfig *linux_config, Refusal *refusal)
{
        const Runtime__V1__NamespaceOption *options =
                linux_config && linux_config->security_context ? linux_config->security_context->namespace_options : NULL;
        if (options && options->ipc != RUNTIME__V1__NAMESPACE_MODE__POD && options->ipc != RUNTIME__V1__NAMESPACE_MODE__NODE)
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT, "its ipc namespace must be POD or NODE");
        if (options && options->network != RUNTIME__V1__NAMESPACE_MODE__POD && options->network != RUNTIME__V1__NAMESPACE_MODE__NODE)
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT, "its network namespace must be POD or NODE");
        const Runtime__V1__UserNamespace *userns = options ? options->userns_options : NULL;
        if (!userns || userns->mode == RUNTIME__V1__NAMESPACE_MODE__NODE) {
                if (userns && (userns->n_uids || userns->n_gids))
                        return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT, "its user namespace is the node's and has mappings");
                return 0;
        }
        if (userns->mode != RUNTIME__V1__NAMESPACE_MODE__POD)
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT, "its user namespace must be POD or NODE");
        if (userns->n_uids != 1 || userns->n_gids != 1)
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT, "its user namespace must have exactly one mapping of uids and one of gids");
        /* What belongs to the host's namespaces cannot be mounted by a user namespace's root: /sys, /proc, /dev/mqueue. */
        const char *shared = options->network == RUNTIME__V1__NAMESPACE_MODE__NODE ? "network"
                             : options->pid == RUNTIME__V1__NAMESPACE_MODE__NODE   ? "pid"
                             : options->ipc == RUNTIME__V1__NAMESPACE_MODE__NODE   ? "ipc" : NULL;
        if (shared)
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT,
                                   "a user namespace together with the node's %s namespace is not supported; give it a %s namespace of its own",
                                   shared, shared);
        const Runtime__V1__IDMapping *uids = userns->uids[0], *gids = userns->gids[0];
        if (uids->host_id != gids->host_id || uids->container_id != gids->container_id || uids->length != gids->length)
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT, "its mappings of uids and gids differ, which is not supported");
        if (uids->container_id != 0 || uids->length == 0)
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT, "its user namespace does not map container id 0");
        return 0;
}

static bool run_path_climbs(const char *path)
{
        for (const char *p = path; (p = strstr(p, "..")); p += 2)
                if ((p == path || p[-1] == '/') && (p[2] == '/' || p[2] == '\0'))
                        return true;
        return false;
}

int run_check(const PodRequest *request, const Permit *permit, Refusal *refusal)
{
        const Runtime__V1__PodSandboxConfig *config = request->config;
        char path[SYSCTL_NAME_MAX], resolv[SETUP_RESOLV_MAX];
        if (str_is_empty(config->metadata->name) || str_is_empty(config->metadata->namespace_) || str_is_empty(config->metadata->uid))
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT, "its metadata needs name, namespace and uid");
        if (*config->hostname && !hostname_is_valid(config->hostname))
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT, "its hostname \"%.100s\" is not valid", config->hostname);
        if (*config->log_directory && (*config->log_directory != '/' || run_path_climbs(config->log_directory)))
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT, "its log_directory must be an absolute path without \"..\"");
        const Runtime__V1__LinuxPodSandboxConfig *linux_config = config->linux;
        if (linux_config && !cgroup_path_parent_is_valid(linux_config->cgroup_parent))
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT, "its cgroup_parent \"%.100s\" is not an absolute path without \"..\"",
                                   linux_config->cgroup_parent);
        if (linux_config && linux_config->n_sysctls > SEAL_SYSCTLS_MAX)
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT, "it has more than %d sysctls", SEAL_SYSCTLS_MAX);
        for (size_t i = 0; linux_config && i < linux_config->n_sysctls; i++)
                if (sysctl_check(linux_config->sysctls[i]->key, linux_config->sysctls[i]->value, permit->flags, path, refusal))
                        return 1;
        if (!run_resolv_conf(config->dns_config, resolv, refusal))
                return 1;
        const Runtime__V1__LinuxSandboxSecurityContext *security = linux_config ? linux_config->security_context : NULL;
        if (security && security->run_as_group && !security->run_as_user)
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT, "run_as_group needs run_as_user");
        return run_check_userns(linux_config, refusal);
}

static int run_undo(Pod *pod);

/* Notes why, and turns back. */
static int run_fail(Pod *pod, uint32_t code, const char *text)
{
        char title[256];
        (void)refusal_set(&pod->failure, code, "pod %s: %s: %s", pod_title(pod, title), pod->stage, text);
        int r = pod_set_state(pod, POD_STATE_UNDOING, pod->failure.text);
        if (r < 0)
                return fold(r);
        pod->tries = 0;
        return fold(run_undo(pod));
}

/* Everything is undone: the row goes, who waited is told, and a successor gets its turn. */
static int run_undone(Pod *pod)
{
        Sandboxd *sandboxd = pod->sandboxd;
        int r = pod_store_delete(sandboxd, pod);
        if (r < 0)
                return fold(r);
        if (!*pod->failure.text)
                (void)refusal_set(&pod->failure, GRPC_STATUS_ABORTED, "pod %.13s: its creation was interrupted and undone; try again", pod->id);
        reply_list_fail(&pod->runs, &pod->failure);
        PodSuccessor *successor = TAKE_PTR(pod->successor);
        (void)pod_free(pod);
        if (!successor)
                return 0;
        Pod *next;
        r = pod_new(&next, sandboxd, successor->id, successor->packed, successor->n_packed, &successor->permit);
        ReplyTo to = successor->to;
        free(successor);
        if (r > 0)
                return fold(reply_fail(to, GRPC_STATUS_INVALID_ARGUMENT, "RunPodSandbox: the request cannot be read"));
        if (r == 0)
                r = reply_list_add(&next->runs, to);
        return r < 0 ? fold(r) : fold(run_start(next));
}

static void run_on_retry(evutil_socket_t fd, short what, void *userdata)
{
        Pod *pod = userdata;
        Service *service = pod->sandboxd->service;
        int r = run_undo(pod);
        if (r < 0)
                service_fail(service, fold(r));
}

static int run_undo_later(Pod *pod)
{
        if (!pod->retry)
                pod->retry = event_new(service_loop(pod->sandboxd->service), -1, 0, run_on_retry, pod);
        struct timeval later = {.tv_sec = 1 << MIN2(pod->tries, 5u)};
        return !pod->retry || event_add(pod->retry, &later) < 0 ? error_origin(-ENOMEM) : 0;
}

static int run_on_undone(void *userdata, const Answer *answer)
{
        Pod *pod = userdata;
        pod->call = 0;
        if (answer->outcome == 0)
                return fold(run_undone(pod));
        log_warning("pod %.13s: its namespaces are not undone yet: %s", pod->id, answer->text);
        pod->tries++;
        return fold(run_undo_later(pod));
}

static int run_undo_namespaces(Pod *pod)
{
        SetupPod verb = {0};
        (void)str_copy(verb.pod_id, sizeof(verb.pod_id), pod->id);
        pod->call_channel = sandboxd_setup(pod->sandboxd);
        return fold(channel_call_flat(pod->call_channel, ROW_SANDBOXD_SETUP_SETUP_REMOVE, &verb, NULL, 0,
                                      clock_monotonic_usec() + RUN_SETUP_TIMEOUT, run_on_undone, pod, &pod->call));
}

static int run_on_network_undone(void *userdata, const Answer *answer)
{
        Pod *pod = userdata;
        pod->call = 0;
        if (answer->outcome == 0) {
                pod->has_network = false;
                return fold(run_undo_namespaces(pod));
        }
        log_warning("pod %.13s: its network is not undone yet: %s", pod->id, answer->text);
        if (++pod->tries < RUN_RETRIES_MAX)
                return fold(run_undo_later(pod));
        /* The pod's name is not held up. */
        int r = leftover_remove(pod->sandboxd, LEFTOVER_NETWORK, pod->id, true);
        return r < 0 ? fold(r) : fold(run_undone(pod)); /* its namespaces go with its network */
}

static int run_undo(Pod *pod)
{
        if (!pod->has_network)
                return fold(run_undo_namespaces(pod));
        return fold(network_delete(pod, run_on_network_undone));
}

static int run_ready(Pod *pod)
{
        pod->stage = "";
        if (pod->successor) {
                pod->stage = "replacing it";
                return fold(run_fail(pod, GRPC_STATUS_ABORTED, "another RunPodSandbox with a different configuration took its place"));
        }
        int r = pod_set_state(pod, POD_STATE_READY, "namespaces and network are made");
        if (r == 0)
                r = stats_begin(pod);
        if (r < 0)
                return fold(r);
        Runtime__V1__RunPodSandboxResponse response = RUNTIME__V1__RUN_POD_SANDBOX_RESPONSE__INIT;
        response.pod_sandbox_id = pod->id;
        reply_list_send(&pod->runs, &response.base);
        return 0;
}

static int run_on_added(void *userdata, const Answer *answer)
{
        Pod *pod = userdata;
        pod->call = 0;
        if (answer->outcome != 0)
                return fold(run_fail(pod, answer->outcome == CHANNEL_E_FAILED ? answer->code : GRPC_STATUS_UNAVAILABLE, answer->text));
        int r = network_take_result(pod, answer->frame);
        if (r < 0)
                return fold(r);
        if (r > 0)
                return fold(run_fail(pod, GRPC_STATUS_INTERNAL, "the network plugins' result cannot be read; check the plugins"));
        return fold(run_ready(pod));
}

static int run_add_network(Pod *pod)
{
        if (pod_has_host_network(pod))
                return fold(run_ready(pod));
        pod->stage = "setting up its network";
        pod->has_network = true;
        int r = pod_store_put(pod->sandboxd, pod); /* the intent */
        if (r < 0)
                return fold(r);
        if (r > 0)
                return fold(run_fail(pod, GRPC_STATUS_RESOURCE_EXHAUSTED, "no space left to record it; free space on the node"));
        return fold(network_add(pod, run_on_added));
}

static int run_on_made(void *userdata, const Answer *answer)
{
        Pod *pod = userdata;
        pod->call = 0;
        if (answer->outcome == CHANNEL_E_LOST && ++pod->tries < RUN_RETRIES_MAX)
                return fold(run_start(pod)); /* idempotent by pod id */
        if (answer->outcome != 0)
                return fold(run_fail(pod, answer->code, answer->text));
        const SetupMade *made = answer->frame->flat;
        memcpy(pod->network_pin, made->network_pin, sizeof(pod->network_pin));
        pod->network_pin[sizeof(pod->network_pin) - 1] = '\0';
        pod->init_pid = made->init_pid;
        int r = init_watch(pod, made->init_pid ? frame_take_fd(answer->frame, 0) : -1);
        if (r < 0)
                return fold(r);
        return fold(run_add_network(pod));
}

int run_start(Pod *pod)
{
        Sandboxd *sandboxd = pod->sandboxd;
        const Runtime__V1__PodSandboxConfig *config = pod->request->config;
        if (pod->created_nsec == 0) {
                pod->created_nsec = clock_realtime_nsec();
                int r = pod_store_put(sandboxd, pod);
                if (r) {
                        if (r > 0) {
                                char title[256];
                                (void)refusal_set(&pod->failure, GRPC_STATUS_RESOURCE_EXHAUSTED,
                                                  "pod %s: no space left to record it; free space on the node", pod_title(pod, title));
                                reply_list_fail(&pod->runs, &pod->failure);
                        }
                        (void)pod_free(pod);
                        return r < 0 ? fold(r) : 0;
                }
                list_append(&sandboxd->pods, &pod->link);
        }
        pod->stage = "making its namespaces";
        SetupMake *verb = calloc(1, sizeof(*verb));
        _cleanup_free_ void *owned = verb;
        if (!verb)
                return error_origin(-ENOMEM);
        verb->permit = pod->permit;
        (void)str_copy(verb->hostname, sizeof(verb->hostname), config->hostname);
        Refusal refusal;
        (void)run_resolv_conf(config->dns_config, verb->resolv_conf, &refusal);
        for (size_t i = 0; config->linux && i < config->linux->n_sysctls; i++) {
                SealSysctl *sysctl = &verb->sysctls[verb->n_sysctls++];
                (void)str_copy(sysctl->name, sizeof(sysctl->name), config->linux->sysctls[i]->key);
                (void)str_copy(sysctl->value, sizeof(sysctl->value), config->linux->sysctls[i]->value);
        }
        _cleanup_fd_ int request_fd = -1;
        int r = fd_memfd_sealed("request", pod->packed, pod->n_packed, &request_fd);
        if (r < 0)
                return fold(r);
        pod->call_channel = sandboxd_setup(sandboxd);
        return fold(channel_call_flat(pod->call_channel, ROW_SANDBOXD_SETUP_SETUP_MAKE, verb, &request_fd, 1,
                                      clock_monotonic_usec() + RUN_SETUP_TIMEOUT, run_on_made, pod, &pod->call));
}

int run_resume_undo(Pod *pod)
{
        pod->stage = "undoing";
        return fold(run_undo(pod));
}
