/* SPDX-License-Identifier: Apache-2.0 */

/* Runs only in the confined child. It decides which plugin runs with what, and reads what plugins print; the spawner runs them. A
 * verb is a walk along the network's list: ADD forwards, each plugin reading the result of the one before; DEL backwards, each
 * reading the result of ADD. What is needed for DEL is saved before the first plugin runs, so that DEL asks nobody: not the
 * configuration, which may have changed, and not the brain, which may have died. */

#include "ipc/decode.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "lib/strings.h"
#include "policy/policy.h"
#include "services/sandboxd/cni/cni.h"
#include "services/sandboxd/cni/network-config.h"
#include "services/sandboxd/cni/plugin-result.h"
#include "services/sandboxd/cni/pod-request.h"
#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define CHILD_FILE_MAX (8 * 1024 * 1024)
#define CHILD_CACHE_VERSION 1
/* Codes of the CNI specification, section 5.4, that mean something to who asked. */
#define CHILD_CNI_TRY_AGAIN 11
#define CHILD_CNI_NOT_AVAILABLE 50
#define CHILD_CNI_LIMITED 51

typedef struct Child {
        const CniTask *task;
        char title[ID_LENGTH + 16]; /* "pod <id>", for messages */
        NetworkConfig config;       /* the network of this walk */
        PodNetwork pod;             /* and what its plugins are told */
        json_t *result;             /* owned; of the last plugin of ADD, NULL: none */
        Refusal refusal;
} Child;

static _Noreturn void child_end(int code)
{
        _exit(code); /* whatever it holds goes with it */
}

static int child_refuse_memory(Child *child)
{
        return refusal_set(&child->refusal, GRPC_STATUS_RESOURCE_EXHAUSTED, "%s: out of memory", child->title);
}

/* Says one thing to the spawner and waits for RAN. fd is borrowed, -1: none. The end of the spawner is our end. */
static void child_talk(Child *child, uint16_t id, const void *body, size_t n, int fd, TalkRan *ran, WireFrame *frame)
{
        if (wire_send(child->task->socket_fd, id, 0, 0, body, n, &fd, fd >= 0 ? 1 : 0) != 0 ||
            wire_receive(child->task->socket_fd, true, frame) != 0 || frame->header.id != TALK_RAN ||
            frame->header.length != sizeof(*ran))
                child_end(1);
        memcpy(ran, frame->payload, sizeof(*ran));
        ran->text[sizeof(ran->text) - 1] = '\0';
}

static int child_memfd(Child *child, const void *bytes, size_t n, int *ret_fd)
{
        return fd_memfd_sealed("cni", bytes, n, ret_fd) < 0 ? child_refuse_memory(child) : 0;
}

/* Reads a file that the spawner opened. */
static int child_read(Child *child, int fd, const char *what, char **ret, size_t *ret_n)
{
        struct stat st;
        if (fstat(fd, &st) < 0 || st.st_size < 0 || st.st_size > CHILD_FILE_MAX)
                return refusal_set(&child->refusal, GRPC_STATUS_INVALID_ARGUMENT, "%s: %s is too large", child->title, what);
        char *bytes = malloc((size_t)st.st_size + 1);
        if (!bytes)
                return child_refuse_memory(child);
        if (fd_pread_full(fd, bytes, (size_t)st.st_size, 0) < 0) {
                free(bytes);
                return refusal_set(&child->refusal, GRPC_STATUS_INTERNAL, "%s: %s cannot be read", child->title, what);
        }
        bytes[st.st_size] = '\0';
        *ret = bytes;
        *ret_n = (size_t)st.st_size;
        return 0;
}

static const char *const child_verbs[] = {"", "ADD", "DEL", "CHECK", "STATUS"};

static int child_refuse_plugin(Child *child, size_t i, uint32_t verb, const TalkRan *ran, const char *output, size_t n_output)
{
        char said[400], shown[200];
        unsigned code = 0;
        GrpcStatus status = GRPC_STATUS_INTERNAL;
        char prefix[320];

        snprintf(prefix, sizeof(prefix), "%s: network %s: plugin %s: %s", child->title, child->config.name,
                 child->config.types[i], child_verbs[verb]);
        switch (ran->how) {
        case TALK_HOW_MISSING:
                str_printable(shown, sizeof(shown), ran->text, strlen(ran->text));
                return refusal_set(&child->refusal, GRPC_STATUS_FAILED_PRECONDITION, "%s: %s", prefix, shown);
        case TALK_HOW_TIMEOUT:
                return refusal_set(&child->refusal, GRPC_STATUS_DEADLINE_EXCEEDED,
                                   "%s: not done after %u s, so it was killed with all that it started; see whether what it waits "
                                   "for is up, or raise cni.timeout",
                                   prefix, child->task->timeout_sec);
        case TALK_HOW_TOO_MUCH:
                return refusal_set(&child->refusal, GRPC_STATUS_INTERNAL,
                                   "%s: its output is more than 1 MiB, so it was killed; check the plugin's version", prefix);
        default:
                break;
        }
        if (WIFSIGNALED(ran->status))
                return refusal_set(&child->refusal, GRPC_STATUS_INTERNAL, "%s: it was ended by signal %d; see the kernel's log", prefix,
                                   WTERMSIG(ran->status));
        plugin_error_text(output, n_output, ran->text, said, &code);
        if (code == CHILD_CNI_TRY_AGAIN || code == CHILD_CNI_NOT_AVAILABLE || code == CHILD_CNI_LIMITED)
                status = GRPC_STATUS_UNAVAILABLE;
        if (code != 0)
                return refusal_set(&child->refusal, status, "%s: %s (CNI error %u); see the plugin's documentation and its log", prefix,
                                   said, code);
        return refusal_set(&child->refusal, status, "%s: exit code %d: %s; see the plugin's documentation and its log", prefix,
                           WEXITSTATUS(ran->status), said);
}

/* Runs plugin i. previous may be NULL. ret_result (may be NULL) is owned: what an ADD printed. */
static int child_run_plugin(Child *child, size_t i, uint32_t verb, const json_t *previous, json_t **ret_result)
{
        TalkRun run = {.command = verb};
        TalkRan ran;
        _cleanup_(wire_frame_done) WireFrame frame = WIRE_FRAME_NULL;
        _cleanup_fd_ int input_fd = -1, output_fd = -1;

        _cleanup_free_ char *input = network_config_render(&child->config, i, child->pod.runtime, previous);
        if (!input)
                return child_refuse_memory(child);
        int r = child_memfd(child, input, strlen(input), &input_fd);
        if (r != 0)
                return r;
        (void)lseek(input_fd, 0, SEEK_SET); /* the plugin reads from the beginning */
        (void)str_copy(run.plugin, sizeof(run.plugin), child->config.types[i]);
        (void)str_copy(run.arguments, sizeof(run.arguments), child->pod.arguments);
        child_talk(child, TALK_RUN, &run, sizeof(run), input_fd, &ran, &frame);
        if (verb == CNI_VERB_DEL && ran.how == TALK_HOW_MISSING && !child->result)
                return 0; /* ADD was never through, and this one may be why: it holds nothing */
        _cleanup_free_ char *output = NULL;
        size_t n_output = 0;
        output_fd = wire_frame_take_fd(&frame, 0);
        if (output_fd >= 0) {
                r = child_read(child, output_fd, "what a plugin printed", &output, &n_output);
                if (r != 0)
                        return r;
        }
        if (ran.how != TALK_HOW_ENDED || ran.status != 0)
                return child_refuse_plugin(child, i, verb, &ran, output ? output : "", n_output);
        if (!ret_result)
                return 0;
        char why[256], shown[100];
        *ret_result = plugin_result_parse(output ? output : "", n_output, why);
        if (*ret_result)
                return 0;
        str_printable(shown, sizeof(shown), output ? output : "", MIN2(n_output, sizeof(shown)));
        return refusal_set(&child->refusal, GRPC_STATUS_INTERNAL,
                           "%s: network %s: plugin %s: %s: it printed no CNI result: %s: \"%s\"; check the plugin's version against "
                           "cniVersion %s",
                           child->title, child->config.name, child->config.types[i], child_verbs[verb], why, shown,
                           network_version_name(child->config.version));
}

/* Whether DEL and CHECK read the result of ADD: since 0.4.0. */
static const json_t *child_previous(const Child *child)
{
        return child->config.version >= NETWORK_VERSION_0_4_0 ? child->result : NULL;
}

/* All plugins are told, also after one has failed: what they hold is not connected. The first failure is the one told. */
static int child_walk_del(Child *child)
{
        Refusal first = {0};
        for (size_t i = child->config.n_plugins; i-- > 0;)
                if (child_run_plugin(child, i, CNI_VERB_DEL, child_previous(child), NULL) != 0 && first.code == 0)
                        first = child->refusal;
        if (first.code == 0) {
                TalkRan ran;
                WireFrame frame = WIRE_FRAME_NULL;
                child_talk(child, TALK_FORGET, NULL, 0, -1, &ran, &frame);
                wire_frame_done(&frame);
                return 0;
        }
        child->refusal = first;
        return 1;
}

static int child_walk_add(Child *child)
{
        for (size_t i = 0; i < child->config.n_plugins; i++) {
                json_t *next = NULL;
                int r = child_run_plugin(child, i, CNI_VERB_ADD, child->result, &next);
                if (r != 0)
                        return r;
                json_decref(child->result);
                child->result = next;
        }
        return 0;
}

static int child_save(Child *child, const Bulkhead__Cni__CniResult *result)
{
        Bulkhead__Cni__CniCache cache = BULKHEAD__CNI__CNI_CACHE__INIT;
        _cleanup_free_ char *config = network_config_text(&child->config);
        _cleanup_free_ char *runtime = json_dumps(child->pod.runtime, JSON_COMPACT);
        _cleanup_free_ uint8_t *packed = NULL;
        _cleanup_fd_ int fd = -1;
        size_t n;

        if (!config || !runtime)
                return child_refuse_memory(child);
        cache.version = CHILD_CACHE_VERSION;
        cache.config_json = config;
        cache.network_name = (char *)(uintptr_t)child->config.name;
        cache.cni_args = child->pod.arguments;
        cache.runtime_json = runtime;
        cache.namespace_inode = child->task->namespace_inode;
        if (result) {
                cache.result_json = result->result_json;
                cache.result = (Bulkhead__Cni__CniResult *)(uintptr_t)result;
        }
        if (decode_pack(&cache.base, &packed, &n) < 0)
                return child_refuse_memory(child);
        int r = child_memfd(child, packed, n, &fd);
        if (r != 0)
                return r;
        TalkRan ran;
        WireFrame frame = WIRE_FRAME_NULL;
        child_talk(child, TALK_SAVE, NULL, 0, fd, &ran, &frame);
        wire_frame_done(&frame);
        return 0;
}

/* The cache as it is on disk, in the arena. 1: there is none, or it cannot be read (a power cut may leave it empty). */
static int child_load(Child *child, DecodeArena *arena, const Bulkhead__Cni__CniCache **ret)
{
        _cleanup_free_ char *bytes = NULL;
        ProtobufCMessage *message;
        size_t n;

        if (child->task->cache_fd < 0 || child_read(child, child->task->cache_fd, "its cache", &bytes, &n) != 0)
                return 1;
        decode_arena_init(arena, decode_budget(n));
        if (decode_message(arena, &bulkhead__cni__cni_cache__descriptor, bytes, n, &message) != 0 ||
            container_of(message, Bulkhead__Cni__CniCache, base)->version != CHILD_CACHE_VERSION) {
                decode_arena_done(arena);
                return 1;
        }
        *ret = container_of(message, Bulkhead__Cni__CniCache, base);
        return 0;
}

/* Puts the child where ADD was: network, arguments and result of the cache. */
static int child_restore(Child *child, const Bulkhead__Cni__CniCache *cache)
{
        int r = network_config_parse(&child->config, "the network as it was at ADD", cache->config_json, strlen(cache->config_json),
                                     &child->refusal);
        if (r != 0)
                return r;
        child->pod.runtime = json_loads(cache->runtime_json, 0, NULL);
        child->result = cache->result_json[0] ? json_loads(cache->result_json, 0, NULL) : NULL;
        return str_copy(child->pod.arguments, sizeof(child->pod.arguments), cache->cni_args)
                       ? 0
                       : refusal_set(&child->refusal, GRPC_STATUS_INTERNAL, "%s: its cache is damaged", child->title);
}

static void child_clear(Child *child)
{
        network_config_done(&child->config);
        pod_network_done(&child->pod);
        json_decref(child->result);
        child->result = NULL;
}

static int child_read_config(Child *child)
{
        const CniTask *task = child->task;
        _cleanup_free_ char *bytes = NULL;
        size_t n;

        if (task->config_fd < 0)
                return refusal_set(&child->refusal, GRPC_STATUS_FAILED_PRECONDITION, "%s", task->config_text);
        int r = child_read(child, task->config_fd, task->config_name, &bytes, &n);
        return r != 0 ? r : network_config_parse(&child->config, task->config_name, bytes, n, &child->refusal);
}

static int child_send_result(Child *child, const ProtobufCMessage *message)
{
        _cleanup_free_ uint8_t *packed = NULL;
        _cleanup_fd_ int fd = -1;
        size_t n = 0;
        if (message) {
                if (decode_pack(message, &packed, &n) < 0)
                        return child_refuse_memory(child);
                int r = child_memfd(child, packed, n, &fd);
                if (r != 0)
                        return r;
        }
        (void)wire_send(child->task->socket_fd, TALK_DONE, 0, 0, NULL, 0, &fd, fd >= 0 ? 1 : 0);
        child_end(0);
}

/* An ADD that was through for this very namespace is answered from the cache; one that was not is undone first. */
static int child_settle(Child *child)
{
        const Bulkhead__Cni__CniCache *cache = NULL;
        DecodeArena arena;
        if (child_load(child, &arena, &cache) != 0)
                return 0;
        if (cache->result && cache->namespace_inode == child->task->namespace_inode)
                return child_send_result(child, &cache->result->base);
        int r = child_restore(child, cache);
        if (r == 0)
                r = child_walk_del(child);
        decode_arena_done(&arena);
        child_clear(child);
        return r;
}

static int child_decode_request(Child *child, DecodeArena *arena, const Bulkhead__Cni__CniRequest **ret)
{
        _cleanup_free_ char *bytes = NULL;
        ProtobufCMessage *message;
        size_t n;
        int r = child_read(child, child->task->request_fd, "its request", &bytes, &n);
        if (r != 0)
                return r;
        decode_arena_init(arena, decode_budget(n));
        r = decode_message(arena, &bulkhead__cni__cni_request__descriptor, bytes, n, &message);
        if (r != 0)
                return refusal_set(&child->refusal, GRPC_STATUS_INVALID_ARGUMENT, "%s: its request does not decode: %s", child->title,
                                   decode_outcome_name(r));
        *ret = container_of(message, Bulkhead__Cni__CniRequest, base);
        return 0;
}

/* After the first plugin has run. */
static int child_attach(Child *child)
{
        Bulkhead__Cni__CniResult result;
        int r = child_walk_add(child);
        if (r != 0)
                return r;
        if (plugin_result_fill(child->result, child->config.name, &result) < 0)
                return child_refuse_memory(child);
        if (result.n_ips == 0)
                return refusal_set(&child->refusal, GRPC_STATUS_INTERNAL,
                                   "%s: network %s: its plugins gave the pod no address; add an ipam section to %s", child->title,
                                   child->config.name, child->task->config_name);
        r = child_save(child, &result);
        return r != 0 ? r : child_send_result(child, &result.base);
}

static int child_add(Child *child)
{
        const Bulkhead__Cni__CniRequest *asked = NULL;
        DecodeArena arena;
        int r = child_decode_request(child, &arena, &asked);
        PodNetwork pod = {0};
        if (r == 0)
                r = pod_network_make(&pod, child->task->permit, asked, &child->refusal);
        if (r == 0)
                r = child_settle(child);
        if (r != 0)
                return r;
        child->pod = pod;
        r = child_read_config(child);
        if (r == 0)
                r = child_save(child, NULL);
        if (r != 0)
                return r;
        r = child_attach(child);
        if (r == 0)
                return 0;
        /* A failed ADD is undone, also by the plugins that it did not reach: they may have been reached in an earlier try. */
        Refusal failure = child->refusal;
        json_decref(child->result);
        child->result = NULL; /* that of half a list is not what DEL reads */
        if (child_walk_del(child) != 0) {
                size_t n = strlen(failure.text);
                snprintf(failure.text + n, sizeof(failure.text) - n, "; undoing it failed too and is tried again");
        }
        child->refusal = failure;
        return 1;
}

static int child_del(Child *child)
{
        const Bulkhead__Cni__CniCache *cache = NULL;
        DecodeArena arena;
        int r;
        if (child_load(child, &arena, &cache) == 0) {
                r = child_restore(child, cache);
        } else {
                /* Nothing that can be read is known about it: the network of today, and the id alone. */
                r = child_read_config(child);
                child->pod.runtime = json_object();
                snprintf(child->pod.arguments, sizeof(child->pod.arguments), "IgnoreUnknown=1;K8S_POD_INFRA_CONTAINER_ID=%s",
                         child->task->pod_id);
        }
        if (r == 0)
                r = child_walk_del(child);
        return r != 0 ? r : child_send_result(child, NULL);
}

static int child_check(Child *child)
{
        const Bulkhead__Cni__CniCache *cache = NULL;
        DecodeArena arena;
        if (child_load(child, &arena, &cache) != 0)
                return refusal_set(&child->refusal, GRPC_STATUS_NOT_FOUND, "%s: it is attached to no network", child->title);
        int r = child_restore(child, cache);
        if (r == 0 && (!child->result || child->config.disable_check || child->config.version < NETWORK_VERSION_0_4_0))
                return child_send_result(child, NULL); /* this network cannot be asked */
        for (size_t i = 0; r == 0 && i < child->config.n_plugins; i++)
                r = child_run_plugin(child, i, CNI_VERB_CHECK, child->result, NULL);
        return r != 0 ? r : child_send_result(child, NULL);
}

static int child_probe(Child *child, const char *type)
{
        TalkRun run = {.command = CNI_VERB_STATUS};
        TalkRan ran;
        WireFrame frame = WIRE_FRAME_NULL;
        (void)str_copy(run.plugin, sizeof(run.plugin), type);
        child_talk(child, TALK_PROBE, &run, sizeof(run), -1, &ran, &frame);
        wire_frame_done(&frame);
        if (ran.how == TALK_HOW_ENDED)
                return 0;
        return refusal_set(&child->refusal, GRPC_STATUS_FAILED_PRECONDITION, "%s: %s", child->task->config_name, ran.text);
}

static int child_status_of_plugins(Child *child)
{
        for (size_t i = 0; i < child->config.n_plugins; i++) {
                const char *ipam = network_config_ipam(&child->config, i);
                int r = child_probe(child, child->config.types[i]);
                if (r == 0 && ipam)
                        r = child_probe(child, ipam);
                if (r == 0 && child->config.version >= NETWORK_VERSION_1_1_0)
                        r = child_run_plugin(child, i, CNI_VERB_STATUS, NULL, NULL);
                if (r != 0)
                        return r;
        }
        return 0;
}

static int child_status(Child *child)
{
        Bulkhead__Cni__CniStatus status = BULKHEAD__CNI__CNI_STATUS__INIT;
        _cleanup_free_ char *text = NULL;
        snprintf(child->title, sizeof(child->title), "status");
        child->pod.runtime = json_object();
        int r = child_read_config(child);
        if (r == 0) {
                text = network_config_text(&child->config);
                if (!text)
                        return child_refuse_memory(child);
                status.network_name = (char *)(uintptr_t)child->config.name;
                status.config_json = text;
                status.n_plugins = child->config.n_plugins;
                status.plugins = (char **)(uintptr_t)child->config.types;
                r = child_status_of_plugins(child);
        }
        status.ready = r == 0;
        if (r != 0) {
                status.reason = (char *)"NetworkPluginNotReady"; /* what the kubelet's users search for */
                status.message = child->refusal.text;
        }
        return child_send_result(child, &status.base);
}

/* Fds that it needs move to the front, everything else is closed. */
static void child_keep_fds(CniTask *task)
{
        int *const kept[] = {&task->socket_fd, &task->request_fd, &task->config_fd, &task->cache_fd};
        for (size_t i = 0; i < ARRAY_SIZE(kept); i++) /* out of the way of the places below */
                if (*kept[i] >= 0)
                        *kept[i] = fcntl(*kept[i], F_DUPFD_CLOEXEC, 16);
        for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
                if (*kept[i] >= 0)
                        *kept[i] = dup3(*kept[i], 3 + (int)i, O_CLOEXEC);
        for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
                if (*kept[i] < 0)
                        (void)close(3 + (int)i);
        (void)syscall(SYS_close_range, 3 + ARRAY_SIZE(kept), ~0U, 0);
}

void child_run(const CniTask *given, const ConfigCommon *config)
{
        CniTask task = *given;
        Child child = {.task = &task};
        int r;

        snprintf(child.title, sizeof(child.title), "pod %s", task.pod_id);
        child_keep_fds(&task);
        json_object_seed(0); /* reads its seed once; later it could not */
        if (sodium_init() < 0 || policy_enter(POLICY_CNI_CHILD, config) < 0)
                child_end(1);
        switch (task.verb) {
        case CNI_VERB_ADD:
                r = child_add(&child);
                break;
        case CNI_VERB_DEL:
                r = child_del(&child);
                break;
        case CNI_VERB_CHECK:
                r = child_check(&child);
                break;
        default:
                r = child_status(&child);
                break;
        }
        if (r != 0)
                (void)wire_send_error(task.socket_fd, TALK_FAILED, 1, child.refusal.code, child.refusal.text);
        child_end(r != 0);
}
