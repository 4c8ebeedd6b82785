/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/launch/box.h"

#include "lib/fd.h"
#include "lib/grpc-status.h"
#include <poll.h>
#include <sys/stat.h>

static void box_no_fds(Box *box)
{
        box->shim_fd = box->pidfd = box->commit_fd = box->tty_fd = box->stdout_fd = box->stderr_fd = box->stdin_fd = -1;
}

MountSpec *box_mount(Box *box, Bulkhead__RuntimeSpec__MountSpec__Kind kind, const char *destination)
{
        MountSpec *mount = &box->mounts[box->spec.n_mounts];
        assert_true(box->spec.n_mounts < BOX_MOUNTS_MAX);
        bulkhead__runtime_spec__mount_spec__init(mount);
        mount->kind = kind;
        mount->destination = (char *)(uintptr_t)destination;
        box->mount_list[box->spec.n_mounts++] = mount;
        return mount;
}

static const char *box_capabilities[] = {
        "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID",
        "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
};

void box_init(Box *box, const BoxHost *host, const char *script)
{
        *box = (Box){.host = host, .flags = LAUNCH_FLAG_STDOUT | LAUNCH_FLAG_STDERR};
        box_no_fds(box);
        seal_id_new(box->id);
        seal_id_new(box->pod_id);
        runtime__v1__create_container_request__init(&box->request);
        runtime__v1__container_config__init(&box->config);
        runtime__v1__linux_container_config__init(&box->linux_config);
        runtime__v1__linux_container_security_context__init(&box->context);
        runtime__v1__namespace_option__init(&box->namespaces);
        runtime__v1__capability__init(&box->capability);
        runtime__v1__linux_container_resources__init(&box->limits);
        runtime__v1__pod_sandbox_config__init(&box->pod);
        runtime__v1__linux_pod_sandbox_config__init(&box->linux_pod);
        box->request.pod_sandbox_id = box->pod_id;
        box->request.config = &box->config;
        box->request.sandbox_config = &box->pod;
        box->pod.linux = &box->linux_pod;
        box->linux_pod.cgroup_parent = (char *)(uintptr_t)"/kubepods/pod1";
        box->config.linux = &box->linux_config;
        box->linux_config.security_context = &box->context;
        box->linux_config.resources = &box->limits;
        box->context.namespace_options = &box->namespaces;
        box->context.capabilities = &box->capability;
        box->namespaces.network = RUNTIME__V1__NAMESPACE_MODE__NODE;
        box->namespaces.ipc = RUNTIME__V1__NAMESPACE_MODE__NODE;
        box->namespaces.pid = RUNTIME__V1__NAMESPACE_MODE__CONTAINER;

        box->args[0] = (char *)(uintptr_t)"/bin/sh";
        box->args[1] = (char *)(uintptr_t)"-c";
        box->args[2] = (char *)(uintptr_t)script;
        box->config.command = box->args;
        box->config.n_command = 3;

        bulkhead__runtime_spec__runtime_spec__init(&box->spec);
        bulkhead__runtime_spec__process_spec__init(&box->process);
        bulkhead__runtime_spec__seccomp_spec__init(&box->seccomp);
        bulkhead__runtime_spec__resources_spec__init(&box->resources);
        box->spec.container_id = box->id;
        box->spec.pod_id = box->pod_id;
        box->spec.process = &box->process;
        box->spec.seccomp = &box->seccomp;
        box->spec.resources = &box->resources;
        box->spec.cgroup_parent = box->linux_pod.cgroup_parent;
        box->spec.namespaces = PERMIT_FLAG_HOST_NETWORK | PERMIT_FLAG_HOST_IPC;
        box->spec.mounts = box->mount_list;
        box->process.args = box->args;
        box->process.n_args = 3;
        box->process.cwd = (char *)(uintptr_t)"/";
        box->process.capabilities = (char **)(uintptr_t)box_capabilities;
        box->process.n_capabilities = ARRAY_SIZE(box_capabilities);
        static ProtobufCBinaryData env[] = {{.data = (uint8_t *)(uintptr_t)"PATH=/bin", .len = 9}};
        box->process.env = env;
        box->process.n_env = 1;
        box_mount(box, MOUNT_KIND(PROC), "/proc");
        box_mount(box, MOUNT_KIND(DEV), "/dev");
        box_mount(box, MOUNT_KIND(DEVPTS), "/dev/pts");
        box_mount(box, MOUNT_KIND(SYSFS), "/sys")->readonly = true;
}

static void box_pack(const ProtobufCMessage *message, uint8_t **ret, size_t *ret_n)
{
        *ret_n = protobuf_c_message_get_packed_size(message);
        *ret = malloc(*ret_n + 1);
        protobuf_c_message_pack(message, *ret);
}

static void box_seal(Box *box, PermitVerb verb, uint32_t flags, const char *cgroup_parent, const void *request, size_t n)
{
        uint8_t key[SEAL_KEY_BYTES];
        memcpy(key, box->host->stage->key, sizeof(key));
        key[0] ^= box->forge;
        box->permit = (Permit){.version = 1, .verb = verb, .flags = flags};
        memcpy(box->permit.magic, "BHPERMIT", 8);
        memcpy(box->permit.id, box->id, sizeof(box->id));
        memcpy(box->permit.pod_id, box->pod_id, sizeof(box->pod_id));
        snprintf(box->permit.cgroup_parent, sizeof(box->permit.cgroup_parent), "%s", cgroup_parent);
        permit_seal(&box->permit, request, n, key);
}

static void box_take_fds(Box *box, WireFrame *frame, bool is_exec)
{
        size_t i = 0;
        box->shim_fd = wire_frame_take_fd(frame, i++);
        if (!box->created.started)
                return;
        box->pidfd = wire_frame_take_fd(frame, i++);
        if (!is_exec)
                box->commit_fd = wire_frame_take_fd(frame, i++);
        if (box->flags & LAUNCH_FLAG_TTY) {
                box->tty_fd = wire_frame_take_fd(frame, i++);
                return;
        }
        if (box->flags & LAUNCH_FLAG_STDOUT)
                box->stdout_fd = wire_frame_take_fd(frame, i++);
        if (box->flags & LAUNCH_FLAG_STDERR)
                box->stderr_fd = wire_frame_take_fd(frame, i++);
        if (box->flags & LAUNCH_FLAG_STDIN)
                box->stdin_fd = wire_frame_take_fd(frame, i++);
        assert_eq_int(frame->n_fds, i);
}

/* Both verbs are one struct. */
static void box_call(Box *box, const MessageRow *row, const uint8_t *spec, size_t n_spec, const uint8_t *request, size_t n_request)
{
        LaunchCreate verb = {.permit = box->permit, .runtime = box->host->runtime, .flags = box->flags};
        int fds[2] = {-1, -1};
        StageAnswer answer;
        assert_ok(fd_memfd_sealed("spec", spec, n_spec, &fds[0]));
        assert_ok(fd_memfd_sealed("request", request, n_request, &fds[1]));
        stage_call(box->host->hand, row, &verb, fds, 2, &answer);
        close(fds[0]);
        close(fds[1]);
        box->code = answer.code;
        snprintf(box->text, sizeof(box->text), "%s", answer.text);
        if (answer.code == 0) {
                memcpy(&box->created, answer.frame.payload, sizeof(box->created));
                box_take_fds(box, &answer.frame, row == ROW_CONTAINERD_LAUNCH_LAUNCH_EXEC);
                if (!box->created.started)
                        snprintf(box->text, sizeof(box->text), "%s", box->created.text);
        }
        if (box->text[0])
                printf("# %s\n", box->text);
        stage_answer_done(&answer);
}

void box_create(Box *box)
{
        _cleanup_free_ uint8_t *spec = NULL, *request = NULL;
        size_t n_spec = 0, n_request = 0;
        box_pack(&box->spec.base, &spec, &n_spec);
        box_pack(&box->request.base, &request, &n_request);
        box_seal(box, PERMIT_VERB_CREATE_CONTAINER, 0, box->linux_pod.cgroup_parent, request, n_request);
        const char *run = box->host->stage->config.runtime_dir;
        char rootfs[1024];
        snprintf(rootfs, sizeof(rootfs), "%s/containers/%s/rootfs", run, box->id);
        /* A mount of its own, as an overlay is: crun makes private the mount that it lies on. */
        if (access(rootfs, F_OK) < 0)
                assert_ok(stage_run("mkdir -p %s/containers/%s && cp -a %s %s && mount --bind %s %s", run, box->id,
                                    box->host->image, rootfs, rootfs, rootfs));
        uint32_t n_events = box->host->hand->n_events;
        box_call(box, ROW_CONTAINERD_LAUNCH_LAUNCH_CREATE, spec, n_spec, request, n_request);
        /* Whoever asked is answered at launch_checked: it comes only after the checks. */
        bool is_refused = box->code == GRPC_STATUS_PERMISSION_DENIED || box->code == GRPC_STATUS_INVALID_ARGUMENT;
        if (box->code == 0 || is_refused)
                assert_eq_int(box->host->hand->n_events - n_events, box->code == 0 ? 1 : 0);
}

static LaunchContainer box_verb(const Box *box)
{
        LaunchContainer verb = {.runtime = box->host->runtime};
        memcpy(verb.id, box->id, sizeof(box->id));
        return verb;
}

uint32_t box_start(Box *box)
{
        LaunchContainer verb = box_verb(box);
        StageAnswer answer;
        stage_call(box->host->hand, ROW_CONTAINERD_LAUNCH_LAUNCH_START, &verb, NULL, 0, &answer);
        if (answer.code)
                printf("# start: %s\n", answer.text);
        snprintf(box->text, sizeof(box->text), "%s", answer.text);
        stage_answer_done(&answer);
        return answer.code;
}

void box_exec(Box *in, Box *box, const char *const *argv, uint32_t flags)
{
        Runtime__V1__ExecRequest request = RUNTIME__V1__EXEC_REQUEST__INIT;
        _cleanup_free_ uint8_t *spec = NULL, *packed = NULL;
        size_t n_spec = 0, n_packed = 0;
        *box = (Box){.host = in->host, .flags = flags, .process = in->process, .forge = box->forge};
        box_no_fds(box);
        seal_id_new(box->id);
        memcpy(box->pod_id, in->id, sizeof(box->pod_id));
        while (argv[request.n_cmd])
                request.n_cmd++;
        request.cmd = (char **)(uintptr_t)argv;
        request.container_id = in->id;
        box->process.args = request.cmd;
        box->process.n_args = request.n_cmd;
        box->process.terminal = request.tty = !!(flags & LAUNCH_FLAG_TTY);
        box_pack(&box->process.base, &spec, &n_spec);
        box_pack(&request.base, &packed, &n_packed);
        box_seal(box, PERMIT_VERB_EXEC, request.tty ? PERMIT_FLAG_TTY : 0, "", packed, n_packed);
        box_call(box, ROW_CONTAINERD_LAUNCH_LAUNCH_EXEC, spec, n_spec, packed, n_packed);
}

void box_read(int fd, char output[BOX_OUTPUT_MAX])
{
        size_t n = 0;
        for (;;) {
                struct pollfd p = {.fd = fd, .events = POLLIN};
                assert_eq_int(poll(&p, 1, 20000), 1);
                ssize_t got = read(fd, output + n, BOX_OUTPUT_MAX - 1 - n);
                if (got <= 0)
                        break;
                n += (size_t)got;
        }
        output[n] = '\0';
}

void box_wait(Box *box)
{
        _cleanup_(wire_frame_done) WireFrame frame = WIRE_FRAME_NULL;
        struct pollfd p = {.fd = box->shim_fd, .events = POLLIN};
        assert_eq_int(poll(&p, 1, 20000), 1);
        assert_ok(wire_receive(box->shim_fd, true, &frame));
        assert_eq_int(frame.header.id, ROW_ID_CONTAINERD_SHIM_SHIM_EXITED);
        assert_ok(row_check_body(&ROW_CONTAINERD_SHIM_SHIM_EXITED->body, &frame));
        memcpy(&box->record, frame.payload, sizeof(box->record));
        assert_eq_int(box->record.magic, EXIT_RECORD_MAGIC);
        assert_eq_int(box->record.state, EXIT_STATE_EXITED);
        assert_eq_int(box->record.pid, box->created.pid);
        assert_true(box->record.started_nsec > 0 && box->record.finished_nsec >= box->record.started_nsec);
}

uint32_t box_ask(Box *box, const MessageRow *row, const void *flat, WireFrame *ret)
{
        _cleanup_(wire_frame_done) WireFrame frame = WIRE_FRAME_NULL;
        uint32_t code = 0, id = ++box->last_request;
        assert_ok(wire_send(box->shim_fd, row->id, 0, id, flat, row->body.flat_size, NULL, 0));
        assert_ok(wire_receive(box->shim_fd, true, &frame));
        assert_eq_int(frame.header.request_id, id);
        if (frame.header.flags & WIRE_FLAG_ERROR) {
                code = ((const WireError *)(const void *)frame.payload)->code;
                printf("# shim: %.*s\n", (int)(frame.header.length - 4), frame.payload + 4);
        } else {
                assert_ok(row_check_body(&row->reply, &frame));
                if (ret) {
                        *ret = frame;
                        frame = WIRE_FRAME_NULL;
                }
        }
        return code;
}

void box_status(Box *box, ShimStatus *status)
{
        _cleanup_(wire_frame_done) WireFrame frame = WIRE_FRAME_NULL;
        assert_ok(box_ask(box, ROW_CONTAINERD_SHIM_SHIM_STATUS, NULL, &frame));
        memcpy(status, frame.payload, sizeof(*status));
}

bool box_reconnect(Box *box)
{
        LaunchContainer verb = box_verb(box);
        StageAnswer answer;
        stage_call(box->host->hand, ROW_CONTAINERD_LAUNCH_LAUNCH_RECONNECT, &verb, NULL, 0, &answer);
        assert_eq_int(answer.code, 0);
        bool alive = ((const LaunchReconnected *)(const void *)answer.frame.payload)->alive;
        box->shim_fd = fd_close(box->shim_fd);
        box->shim_fd = wire_frame_take_fd(&answer.frame, 0);
        assert_eq_int(alive, box->shim_fd >= 0);
        stage_answer_done(&answer);
        return alive;
}

ExitRecord box_exit_record(const Box *box, bool *ret_exists)
{
        LaunchContainer verb = box_verb(box);
        StageAnswer answer;
        LaunchExit result;
        stage_call(box->host->hand, ROW_CONTAINERD_LAUNCH_LAUNCH_EXIT_RECORD, &verb, NULL, 0, &answer);
        assert_eq_int(answer.code, 0);
        memcpy(&result, answer.frame.payload, sizeof(result));
        stage_answer_done(&answer);
        *ret_exists = result.exists;
        return result.record;
}

void box_delete(Box *box)
{
        LaunchContainer verb = box_verb(box);
        StageAnswer answer;
        bool exists = false;
        if (box->shim_fd >= 0 && box->record.state == EXIT_STATE_EXITED)
                assert_eq_int(box_ask(box, ROW_CONTAINERD_SHIM_SHIM_QUIT, NULL, NULL), 0);
        stage_call(box->host->hand, ROW_CONTAINERD_LAUNCH_LAUNCH_DELETE, &verb, NULL, 0, &answer);
        if (answer.code)
                printf("# delete: %s\n", answer.text);
        assert_eq_int(answer.code, 0);
        stage_answer_done(&answer);
        (void)box_exit_record(box, &exists);
        assert_false(exists);
        const char *run = box->host->stage->config.runtime_dir;
        assert_ok(stage_run("d=%s/containers/%s; if [ -d $d ]; then umount $d/rootfs && rm -rf $d; fi", run, box->id));
        assert_true(stage_run("find %s /sys/fs/cgroup -name '*%s*' 2>/dev/null | grep -q .", run, box->id) != 0);
        box_done(box);
}

void box_done(Box *box)
{
        int *const fds[] = {&box->shim_fd, &box->pidfd, &box->commit_fd, &box->tty_fd, &box->stdout_fd, &box->stderr_fd,
                            &box->stdin_fd};
        for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
                *fds[i] = fd_close(*fds[i]);
}

uint64_t box_status_field(const char *status, const char *name, int base)
{
        char key[64];
        snprintf(key, sizeof(key), "\n%s:", name);
        const char *at = strstr(status, key);
        assert_true(at != NULL);
        return strtoull(at + strlen(key), NULL, base);
}
