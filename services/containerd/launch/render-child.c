/* SPDX-License-Identifier: Apache-2.0 */

/* Runs only in the confined child, but for what it measures before. Verifies the seal, decodes request and spec, compares them, renders. It has no path, no network and no
 * capability, only the memory files it was given, a memory file to write to, and a parent to ask. */

#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#include "ipc/decode.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "policy/policy.h"
#include "services/containerd/launch/apparmor.h"
#include "services/containerd/launch/cdi-file.h"
#include "services/containerd/launch/launch.h"
#include "services/containerd/launch/render-archive.h"
#include "services/containerd/launch/render-ask.h"
#include "services/containerd/launch/render.h"
#include "services/containerd/launch/seccomp.h"
#include "services/containerd/runtime/place.h"

#define RENDER_INPUT_MAX (16 * 1024 * 1024)
#define RENDER_FILES_MAX 1048576 /* fs.nr_open of a fresh kernel */

typedef struct RenderChild {
        const Launch *launch;
        const RenderJob *job;
        const RenderFacts *facts;
        int ask_fd, result_fd;
        uint32_t *ret_features;
        char *text; /* of the refusal */
        size_t text_size;
} RenderChild;

/* Sends one question. */
static int render_child_ask(int ask_fd, uint16_t kind, const char *text)
{
        RenderAsk ask = {0};
        if (!str_copy(ask.text, sizeof(ask.text), text))
                return -ENAMETOOLONG;
        return wire_send(ask_fd, kind, 0, 0, &ask, sizeof(ask), NULL, 0) == 0 ? 0 : -EPIPE;
}

/* Receives one answer; ret_fd may be NULL. */
static int render_child_hear(int ask_fd, RenderAnswer *answer, int *ret_fd)
{
        _cleanup_(wire_frame_done) WireFrame frame = WIRE_FRAME_NULL;
        int r;
        do
                r = wire_receive(ask_fd, ret_fd != NULL, &frame);
        while (r == WIRE_E_AGAIN);
        if (r != 0 || frame.header.length != sizeof(*answer))
                return -EPIPE;
        memcpy(answer, frame.payload, sizeof(*answer));
        answer->path[sizeof(answer->path) - 1] = '\0';
        if (ret_fd && answer->result == 0)
                *ret_fd = wire_frame_take_fd(&frame, 0);
        return answer->result;
}

static int render_child_question(const RenderChild *child, uint16_t kind, const char *text, int *ret_fd)
{
        RenderAnswer answer;
        int r = render_child_ask(child->ask_fd, kind, text);
        return r < 0 ? r : render_child_hear(child->ask_fd, &answer, ret_fd);
}

/* Only what root alone may write is an operator's profile. */
static int render_child_profile(void *userdata, const char *path, char **ret_text, size_t *ret_n)
{
        _cleanup_fd_ int fd = -1;
        struct stat st;
        int r = render_child_question(userdata, RENDER_ASK_PROFILE, path, &fd);
        if (r < 0)
                return r;
        if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
                return -EINVAL;
        if (st.st_uid != 0 || (st.st_mode & 022) != 0)
                return -EPERM;
        if (st.st_size > SECCOMP_PROFILE_BYTES_MAX)
                return -EFBIG;
        _cleanup_free_ char *text = calloc(1, (size_t)st.st_size + 1);
        if (!text)
                return -ENOMEM;
        if (fd_pread_full(fd, text, (size_t)st.st_size, 0) < 0)
                return -EIO;
        *ret_text = TAKE_PTR(text);
        *ret_n = (size_t)st.st_size;
        return 0;
}

/* A file without a size: read to its end. */
static int render_child_apparmor(void *userdata, char **ret_list, size_t *ret_n)
{
        _cleanup_fd_ int fd = -1;
        int r = render_child_question(userdata, RENDER_ASK_APPARMOR, "", &fd);
        if (r < 0)
                return r;
        _cleanup_free_ char *list = malloc(APPARMOR_LIST_BYTES_MAX + 1);
        if (!list)
                return -ENOMEM;
        size_t n = 0;
        for (ssize_t got = 1; got > 0 && n < APPARMOR_LIST_BYTES_MAX; n += (size_t)got) {
                got = read(fd, list + n, APPARMOR_LIST_BYTES_MAX - n);
                if (got < 0)
                        return negative_errno();
        }
        if (n == APPARMOR_LIST_BYTES_MAX)
                return -EFBIG;
        list[n] = '\0';
        *ret_list = TAKE_PTR(list);
        *ret_n = n;
        return 0;
}

/* The first process of a container that has not ended: until its shim has written so, the number is its own. */
static int render_child_target(void *userdata, const char *id, int *ret_pid)
{
        ExitRecord record;
        _cleanup_fd_ int fd = -1;
        int r = render_child_question(userdata, RENDER_ASK_RECORD, id, &fd);
        if (r < 0)
                return r;
        if (fd_pread_full(fd, &record, sizeof(record), 0) < 0 || record.magic != EXIT_RECORD_MAGIC ||
            record.state != EXIT_STATE_CREATED)
                return -ESRCH;
        *ret_pid = record.pid;
        return 0;
}

static int render_child_devices(void *userdata, const char *path, RenderDeviceCallback callback, void *callback_userdata)
{
        const RenderChild *child = userdata;
        RenderAnswer answer;
        int failed = 0;
        int r = render_child_ask(child->ask_fd, RENDER_ASK_DEVICES, path);
        for (size_t n = 0; r == 0; n++) {
                r = render_child_hear(child->ask_fd, &answer, NULL);
                if (r < 0 || answer.type == 0)
                        break;
                if (failed == 0)
                        failed = n < RENDER_DEVICES_MAX ? callback(callback_userdata, &answer) : -E2BIG;
        }
        return r < 0 ? r : failed;
}

static int render_child_source(void *userdata, const RenderSource *source, char real[RENDER_PATH_MAX], uint32_t *ret_restrictions)
{
        const RenderChild *child = userdata;
        RenderAsk ask = {.flags = source->flags, .number = source->number};
        RenderAnswer answer;
        if (!str_copy(ask.text, sizeof(ask.text), source->path) || !str_copy(ask.within, sizeof(ask.within), source->within))
                return -ENAMETOOLONG;
        if (wire_send(child->ask_fd, RENDER_ASK_SOURCE, 0, 0, &ask, sizeof(ask), NULL, 0) != 0)
                return -EPIPE;
        int r = render_child_hear(child->ask_fd, &answer, NULL);
        if (r == 0 || r == -EXDEV) {
                memcpy(real, answer.path, RENDER_PATH_MAX);
                *ret_restrictions = answer.mode;
        }
        return r;
}

/* Of a file in the CDI directories: text NULL unless root alone may write it. */
static int render_child_cdi_file(const RenderAnswer *answer, int fd, RenderCdiCallback callback, void *userdata)
{
        _cleanup_free_ char *text = NULL;
        struct stat st;
        if (fstat(fd, &st) < 0)
                return -EIO;
        if (S_ISREG(st.st_mode) && st.st_uid == 0 && (st.st_mode & 022) == 0 && st.st_size <= CDI_FILE_BYTES_MAX) {
                text = calloc(1, (size_t)st.st_size + 1);
                if (!text)
                        return -ENOMEM;
                if (fd_pread_full(fd, text, (size_t)st.st_size, 0) < 0)
                        return -EIO;
        }
        return callback(userdata, answer->path, answer->priority, text, (size_t)st.st_size);
}

static int render_child_cdi_files(void *userdata, RenderCdiCallback callback, void *callback_userdata)
{
        const RenderChild *child = userdata;
        RenderAnswer answer;
        int failed = 0;
        int r = render_child_ask(child->ask_fd, RENDER_ASK_CDI, "");
        while (r == 0) {
                _cleanup_fd_ int fd = -1;
                r = render_child_hear(child->ask_fd, &answer, &fd);
                if (r < 0 || fd < 0)
                        break;
                if (failed == 0)
                        failed = render_child_cdi_file(&answer, fd, callback, callback_userdata);
        }
        return r < 0 ? r : failed;
}

static int render_child_read(const RenderChild *child, int fd, const char *what, uint8_t **ret, size_t *ret_n)
{
        struct stat st;
        if (fstat(fd, &st) < 0 || st.st_size > RENDER_INPUT_MAX) {
                (void)snprintf(child->text, child->text_size, "the %s is larger than %d bytes", what, RENDER_INPUT_MAX);
                return RENDER_E_REFUSED;
        }
        *ret_n = (size_t)st.st_size;
        *ret = malloc(*ret_n + 1);
        return *ret ? fd_pread_full(fd, *ret, *ret_n, 0) : error_origin(-ENOMEM);
}

static int render_child_decode(const RenderChild *child, DecodeArena *arena, int fd, const char *what,
                               const ProtobufCMessageDescriptor *type, ProtobufCMessage **ret)
{
        _cleanup_free_ uint8_t *bytes = NULL;
        size_t n = 0;
        int r = render_child_read(child, fd, what, &bytes, &n);
        if (r)
                return r;
        if (fd == child->job->request_fd && permit_check_request(child->job->permit, bytes, n) != 0) {
                (void)snprintf(child->text, child->text_size, "the request is not the one that its permit seals");
                return RENDER_E_FORBIDDEN;
        }
        decode_arena_init(arena, MIN2((size_t)DECODE_BUDGET_MAX, n * DECODE_BUDGET_FACTOR + DECODE_BUDGET_FLOOR));
        r = decode_message(arena, type, bytes, n, ret);
        if (r <= 0)
                return r;
        (void)snprintf(child->text, child->text_size, "the %s does not decode: %s", what, decode_outcome_name(r));
        return RENDER_E_REFUSED;
}

static int render_child_create(const RenderChild *child, Render *render, json_t **ret)
{
        const RenderJob *job = child->job;
        DecodeArena request_arena = {0}, spec_arena = {0};
        ProtobufCMessage *request = NULL, *spec = NULL;
        int r = render_child_decode(child, &request_arena, job->request_fd, "request",
                                    &runtime__v1__create_container_request__descriptor, &request);
        if (r == 0)
                r = render_child_decode(child, &spec_arena, job->spec_fd, "spec",
                                        &bulkhead__runtime_spec__runtime_spec__descriptor, &spec);
        if (r)
                return r;
        PermitCheck check = {
                .permit = job->permit,
                .request = (const Runtime__V1__CreateContainerRequest *)(const void *)request,
                .spec = (const RuntimeSpec *)(const void *)spec,
                .instance = child->launch->common->instance,
                .allow_privileged = child->launch->config->allow_privileged,
                .allow_host_paths = child->launch->config->allow_host_paths,
                .has_apparmor = child->facts->has_apparmor,
        };
        r = permit_check_create(&check);
        if (r == 0 && check.spec->process->terminal != !!(job->flags & LAUNCH_FLAG_TTY))
                r = permit_check_refuse(&check, "terminal %d: launch was asked otherwise", check.spec->process->terminal);
        if (r > 0)
                (void)str_copy(child->text, child->text_size, check.text);
        if (r)
                return r < 0 ? r : RENDER_E_FORBIDDEN;
        char host_base[PERMIT_CHECK_BASE_MAX];
        (void)permit_check_host_base(&check, host_base); /* without one a host path was refused just now */
        render->host_base = host_base;
        render->spec = check.spec;
        r = render_config(render, ret);
        if (r > 0)
                (void)str_copy(child->text, child->text_size, render->text);
        return r;
}

/* ExecSync and Exec agree in the fields that matter here; whether there is a terminal the permit says, for the third field of
 * the one is a timeout and of the other the terminal. */
static int render_child_exec(const RenderChild *child, Render *render, json_t **ret)
{
        const RenderJob *job = child->job;
        DecodeArena request_arena = {0}, spec_arena = {0};
        ProtobufCMessage *request_message = NULL, *spec = NULL;
        _cleanup_free_ uint8_t *json = NULL;
        size_t n = 0;
        int r = render_child_decode(child, &request_arena, job->request_fd, "request",
                                    &runtime__v1__exec_request__descriptor, &request_message);
        if (r == 0)
                r = render_child_decode(child, &spec_arena, job->spec_fd, "spec",
                                        &bulkhead__runtime_spec__process_spec__descriptor, &spec);
        if (r == 0)
                r = render_child_read(child, job->container_fd, "container's configuration", &json, &n);
        if (r)
                return r;
        const Runtime__V1__ExecRequest *request = (const Runtime__V1__ExecRequest *)(const void *)request_message;
        const ProcessSpec *process = (const ProcessSpec *)(const void *)spec;
        bool same = process->n_args == request->n_cmd;
        for (size_t i = 0; same && i < request->n_cmd; i++)
                same = str_equal(process->args[i], request->cmd[i]);
        if (!same)
                r = render_forbid(render, "args: they are not the request's cmd");
        else if (str_is_empty(request->container_id) || !str_has_prefix(job->permit->pod_id, request->container_id))
                r = render_forbid(render, "container_id %.64s: the permit is for container %s", request->container_id,
                                  job->permit->pod_id);
        else if (process->terminal != !!(job->permit->flags & PERMIT_FLAG_TTY) ||
                 process->terminal != !!(job->flags & LAUNCH_FLAG_TTY))
                r = render_forbid(render, "terminal %d: the request says otherwise", process->terminal);
        else
                r = render_exec(render, process, (const char *)json, n, ret);
        if (r > 0)
                (void)str_copy(child->text, child->text_size, render->text);
        return r;
}

/* Its values are the sealed request's own. */
static int render_child_limits(const RenderChild *child, Render *render, json_t **ret)
{
        const RenderJob *job = child->job;
        DecodeArena arena = {0};
        ProtobufCMessage *message = NULL;
        _cleanup_free_ uint8_t *json = NULL;
        size_t n = 0;
        int r = render_child_decode(child, &arena, job->request_fd, "request",
                                    &runtime__v1__update_container_resources_request__descriptor, &message);
        if (r == 0)
                r = render_child_read(child, job->container_fd, "document of the container's limits", &json, &n);
        if (r)
                return r;
        const Runtime__V1__UpdateContainerResourcesRequest *request =
                (const Runtime__V1__UpdateContainerResourcesRequest *)(const void *)message;
        if (str_is_empty(request->container_id) || !str_has_prefix(job->permit->pod_id, request->container_id))
                r = render_forbid(render, "container_id %.64s: the permit is for container %s", request->container_id,
                                  job->permit->pod_id);
        else if (job->kind == RENDER_KIND_LIMITS)
                r = render_update_first(render, (const char *)json, n, ret);
        else
                r = render_update(render, request->linux, (const char *)json, n, ret);
        if (r > 0)
                (void)str_copy(child->text, child->text_size, render->text);
        return r;
}

static int render_child_features(const RenderChild *child, Render *render, json_t **ret)
{
        _cleanup_free_ uint8_t *text = NULL;
        size_t n = 0;
        int r = render_child_read(child, child->job->container_fd, "document of the runtime's features", &text, &n);
        if (r == 0)
                r = render_features(render, (const char *)text, n, child->ret_features);
        if (r > 0 && render->text[0])
                (void)str_copy(child->text, child->text_size, render->text);
        return r;
}

static int render_child_checkpoint(const RenderChild *child, Render *render, json_t **ret)
{
        DecodeArena arena = {0};
        ProtobufCMessage *message = NULL;
        char location[RENDER_PATH_MAX];
        int r = render_child_decode(child, &arena, child->job->request_fd, "request",
                                    &runtime__v1__checkpoint_container_request__descriptor, &message);
        if (r == 0)
                r = render_checkpoint(render, child->job->permit,
                                      (const Runtime__V1__CheckpointContainerRequest *)(const void *)message, location);
        if (r >= 0 && (r == 0 || render->text[0]))
                (void)str_copy(child->text, child->text_size, r == 0 ? location : render->text);
        return r;
}

static int render_child_files(const RenderChild *child, Render *render, RenderArchive *archive)
{
        RenderAnswer answer;
        int failed = 0;
        int r = render_child_ask(child->ask_fd, RENDER_ASK_FILES, "");
        while (r == 0) {
                _cleanup_fd_ int fd = -1;
                r = render_child_hear(child->ask_fd, &answer, &fd);
                if (r < 0 || fd < 0)
                        break;
                if (failed == 0)
                        failed = render_archive_file(archive, answer.path, fd);
        }
        if (r == -ENOENT && failed == 0)
                return render_refuse(render, "its files are gone: it was removed meanwhile; nothing was kept");
        return r < 0 ? r : failed;
}

/* The documents first: tools need not read what is large to know what it is. */
static int render_child_archive(const RenderChild *child, Render *render, json_t **ret)
{
        const RenderJob *job = child->job;
        RenderArchive archive = {.fd = child->result_fd, .now_nsec = clock_realtime_nsec(), .parent_fd = child->ask_fd,
                                 .deadline_usec = job->deadline_usec > 0 ? job->deadline_usec : USEC_INFINITY};
        DecodeArena arena = {0};
        ProtobufCMessage *message = NULL;
        int r = render_child_decode(child, &arena, job->spec_fd, "spec", &bulkhead__runtime_spec__checkpoint_spec__descriptor, &message);
        if (r)
                return r;
        const Bulkhead__RuntimeSpec__CheckpointSpec *spec = (const Bulkhead__RuntimeSpec__CheckpointSpec *)(const void *)message;
        json_t *config = render_archive_config(spec, job->permit->pod_id, archive.now_nsec), *status = render_archive_status(spec);
        r = render_archive_json(&archive, "config.dump", config);
        if (r == 0)
                r = render_archive_json(&archive, "status", status);
        json_decref(config);
        json_decref(status);
        if (r == 0)
                r = render_archive_directory(&archive, "checkpoint/");
        if (r == 0)
                r = render_child_files(child, render, &archive);
        if (r == 0)
                r = render_archive_stream(&archive, render, job->stream_fd);
        if (r == 0)
                r = render_archive_end(&archive);
        if (r > 0)
                (void)str_copy(child->text, child->text_size, render->text);
        return r;
}

static int render_child_why(const RenderChild *child, Render *render, json_t **ret)
{
        _cleanup_free_ uint8_t *text = NULL;
        size_t n = 0;
        int r = render_child_read(child, child->job->container_fd, "log of the dump", &text, &n);
        if (r == 0)
                r = render_checkpoint_why(render, (const char *)text, n);
        if (r > 0 && render->text[0])
                (void)str_copy(child->text, child->text_size, render->text);
        return r;
}

static int render_child_run(const RenderChild *child)
{
        static const struct {
                uint32_t verb; /* PermitVerb; 0: it needs no permit */
                int (*render)(const RenderChild *child, Render *render, json_t **ret);
        } kinds[] = {
                [RENDER_KIND_CREATE] = {PERMIT_VERB_CREATE_CONTAINER, render_child_create},
                [RENDER_KIND_EXEC] = {PERMIT_VERB_EXEC, render_child_exec},
                [RENDER_KIND_LIMITS] = {PERMIT_VERB_UPDATE, render_child_limits},
                [RENDER_KIND_UPDATE] = {PERMIT_VERB_UPDATE, render_child_limits},
                [RENDER_KIND_FEATURES] = {0, render_child_features},
                [RENDER_KIND_CHECKPOINT] = {PERMIT_VERB_CHECKPOINT, render_child_checkpoint},
                [RENDER_KIND_ARCHIVE] = {PERMIT_VERB_CHECKPOINT, render_child_archive},
                [RENDER_KIND_WHY] = {0, render_child_why},
        };
        const Launch *launch = child->launch;
        const RenderHost host = {
                .profile = render_child_profile,
                .apparmor = render_child_apparmor,
                .target = render_child_target,
                .devices = render_child_devices,
                .source = render_child_source,
                .cdi_files = render_child_cdi_files,
                .userdata = (void *)(uintptr_t)child,
        };
        Render render = {.common = launch->common, .config = launch->config, .facts = child->facts, .host = &host};
        RenderKind kind = child->job->kind;
        json_t *json = NULL;
        const uint8_t *key = hand_permit_key(launch->hand);
        if (kinds[kind].verb && (!key || permit_check(child->job->permit, kinds[kind].verb, key) != 0)) {
                (void)snprintf(child->text, child->text_size, "its permit is not gatewayd's, or is older than 15 minutes");
                return RENDER_E_FORBIDDEN;
        }
        int r = kinds[kind].render(child, &render, &json);
        _cleanup_free_ char *text = r == 0 && json ? json_dumps(json, JSON_COMPACT) : NULL;
        if (r == 0 && json)
                r = !text ? -ENOMEM : fd_write_full(child->result_fd, text, strlen(text)) < 0 ? -EIO : 0;
        return r;
}

/* The runtime looks for the controller in the hierarchy that it uses: of a hybrid machine's, the old ones. */
static bool render_child_has_hugepages(bool has_unified)
{
        enum { CONTROLLERS_MAX = 4096 };
        _cleanup_free_ char *controllers = NULL;
        size_t n = 0;
        if (!has_unified)
                return faccessat(AT_FDCWD, "/sys/fs/cgroup/hugetlb", F_OK, 0) == 0;
        return fd_read_file(AT_FDCWD, "/sys/fs/cgroup/cgroup.controllers", CONTROLLERS_MAX, &controllers, &n) == 0 &&
               strstr(controllers, "hugetlb");
}

static bool render_child_has_apparmor(void)
{
        _cleanup_free_ char *text = NULL;
        size_t n = 0;
        return fd_read_file(AT_FDCWD, "/sys/module/apparmor/parameters/enabled", 64, &text, &n) == 0 && n > 0 && text[0] == 'Y';
}

/* Of this process before it gives them up, and of the node. The only thing done before the confinement. */
static void render_child_measure(const Launch *launch, const RenderJob *job, RenderFacts *facts)
{
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct data[2] = {0};
        char path[PLACE_PATH_MAX];
        struct statfs st;
        if (syscall(SYS_capget, &header, data) == 0)
                facts->capabilities = (uint64_t)data[1].permitted << 32 | data[0].permitted;
        bool may_raise = facts->capabilities & (UINT64_C(1) << CAP_SYS_RESOURCE);
        for (int i = 0; i < RENDER_RLIMITS; i++) {
                struct rlimit limit = {0};
                (void)getrlimit((__rlimit_resource_t)i, &limit);
                facts->rlimits[i] = may_raise ? UINT64_MAX : limit.rlim_max;
        }
        facts->rlimits[RLIMIT_NOFILE] = MIN2(facts->rlimits[RLIMIT_NOFILE], (uint64_t)RENDER_FILES_MAX);
        facts->has_unified = statfs("/sys/fs/cgroup", &st) == 0 && st.f_type == CGROUP2_SUPER_MAGIC;
        const char *swap = facts->has_unified ? "/proc/swaps" : "/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes";
        facts->has_memory_swap = faccessat(AT_FDCWD, swap, F_OK, 0) == 0;
        facts->has_hugepages = render_child_has_hugepages(facts->has_unified);
        facts->has_apparmor = render_child_has_apparmor();
        (void)snprintf(path, sizeof(path), "%s/ns/%.64s/uts", launch->common->runtime_dir,
                       job->permit ? job->permit->pod_id : "");
        facts->has_pod_uts = faccessat(AT_FDCWD, path, F_OK, 0) == 0;
}

static uint32_t render_child_kernel_version(void)
{
        struct utsname name;
        unsigned long major = 0, minor = 0;
        char *end = name.release;
        if (uname(&name) == 0)
                major = strtoul(name.release, &end, 10);
        if (*end == '.')
                minor = strtoul(end + 1, NULL, 10);
        return (uint32_t)(major << 16 | (minor & 0xffff));
}

/* All other fds of the parent: what holds a lock or an edge open must end with the parent alone. */
static int render_child_close(const RenderJob *job, int ask_fd, int result_fd)
{
        const int kept[] = {ask_fd, result_fd, job->spec_fd, job->request_fd, job->container_fd,
                            job->kind == RENDER_KIND_ARCHIVE ? job->stream_fd : -1};
        for (unsigned low = STDERR_FILENO + 1;;) {
                unsigned next = UINT_MAX;
                for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
                        if (kept[i] >= 0 && (unsigned)kept[i] >= low)
                                next = MIN2(next, (unsigned)kept[i]);
                if (next > low && syscall(SYS_close_range, low, next == UINT_MAX ? next : next - 1, 0) < 0)
                        return error_origin(negative_errno());
                if (next == UINT_MAX)
                        return 0;
                low = next + 1;
        }
}

void render_child(const Launch *launch, const RenderJob *job, int ask_fd, int result_fd)
{
        RenderAsk done = {0};
        RenderFacts facts = {.kernel_version = render_child_kernel_version()};
        const RenderChild child = {
                .launch = launch,
                .job = job,
                .facts = &facts,
                .ask_fd = ask_fd,
                .result_fd = result_fd,
                .ret_features = &done.features,
                .text = done.text,
                .text_size = sizeof(done.text),
        };
        int r = render_child_close(job, ask_fd, result_fd);
        render_child_measure(launch, job, &facts);
        if (r == 0)
                r = policy_enter(job->kind == RENDER_KIND_ARCHIVE ? POLICY_ARCHIVE_CHILD : POLICY_RENDER_CHILD, launch->common);
        if (r == 0)
                r = render_child_run(&child);
        if (r < 0)
                (void)snprintf(done.text, sizeof(done.text), "%s %s", strerror(-r), error_trace());
        done.outcome = r;
        _exit(wire_send(ask_fd, RENDER_ASK_DONE, 0, 0, &done, sizeof(done), NULL, 0) == 0 ? 0 : 1);
}
