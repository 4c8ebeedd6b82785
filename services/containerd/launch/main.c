/* SPDX-License-Identifier: Apache-2.0 */

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "ipc/cgroup-path.h"
#include "ipc/edges/containerd-launch.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/grpc-status.h"
#include "lib/log.h"
#include "services/containerd/launch/launch.h"
#include "services/containerd/launch/render-ask.h"
#include "services/containerd/runtime/checkpoint.h"
#include "services/containerd/runtime/limits.h"
#include "services/containerd/runtime/place.h"
#include "services/containerd/runtime/runtime.h"
#include "services/containerd/runtime/source.h"
#include "services/containerd/runtime/spawn.h"
#include "services/containerd/shim/shim-start.h"

#define LAUNCH_SHIM_WAIT_MSEC 120000

int verdict_set(Verdict *verdict, uint32_t code, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        verdict->code = code;
        (void)vsnprintf(verdict->text, sizeof(verdict->text), format, args);
        va_end(args);
        return 1;
}

static int launch_answer(int edge_fd, const HandRequest *request, int r, const Verdict *verdict, const void *flat)
{
        if (r == 0)
                return hand_reply(edge_fd, request, flat, NULL, 0);
        return r > 0 ? hand_fail(edge_fd, request, verdict->code, "%s", verdict->text)
                     : hand_fail(edge_fd, request, GRPC_STATUS_INTERNAL, "%s: %s", request->row->name, error_trace());
}

static int launch_check(const Launch *launch, const char *id, uint32_t runtime, Verdict *verdict)
{
        if (id[ID_LENGTH] != '\0' || !id_is_valid(id))
                return verdict_set(verdict, GRPC_STATUS_INVALID_ARGUMENT, "containerd-launch: not an id");
        if (runtime >= launch->config->n_runtimes)
                return verdict_set(verdict, GRPC_STATUS_INVALID_ARGUMENT, "%s: there is no runtime %u", id, runtime);
        return 0;
}

static Runtime launch_runtime(const Launch *launch, uint32_t row)
{
        return (Runtime){.path = launch->config->runtimes[row].path, .runtime_dir = launch->common->runtime_dir,
                         .systemd_cgroups = launch->config->systemd_cgroups};
}

/* arguments: the runtime's verb first. words: what it wrote. */
static int launch_run(const Launch *launch, uint32_t row, const char *const *arguments, char words[RUNTIME_WORDS_MAX],
                      Verdict *verdict)
{
        const Runtime runtime = launch_runtime(launch, row);
        int r = runtime_run(&runtime, arguments, words);
        if (r <= 0)
                return r < 0 ? fold(r) : 0;
        return verdict_set(verdict, r == RUNTIME_E_UNUSABLE ? GRPC_STATUS_FAILED_PRECONDITION : GRPC_STATUS_UNKNOWN,
                           "%s %s failed: %s", runtime_name(&runtime), arguments[0], words);
}

/* Starts the shim, in a session and a cgroup of its own, so that neither our end nor that of a unit or pod reaches it, and passes
 * on what it answers. */
static int launch_shim(const Launch *launch, const ShimStart *start, int edge_fd, const HandRequest *request, Verdict *verdict)
{
        _cleanup_(wire_frame_done) WireFrame frame = WIRE_FRAME_NULL;
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return error_origin(negative_errno());
        int r = wire_send(pair[0], SHIM_FRAME_START, 0, 0, start, sizeof(*start), NULL, 0);
        pid_t pid = r == 0 ? spawn_shim(launch->common, launch->cgroup_fd, start->id, pair[1]) : -1;
        r = pid < 0 ? error_origin(negative_errno()) : 0;
        (void)close(pair[1]);
        struct pollfd p = {.fd = pair[0], .events = POLLIN};
        if (r == 0 && poll(&p, 1, LAUNCH_SHIM_WAIT_MSEC) != 1)
                (void)kill(-pid, SIGKILL); /* with the runtime, which hangs: it is of the same session */
        if (r == 0)
                r = wire_receive(pair[0], true, &frame);
        (void)close(pair[0]);
        if (!start->is_exec && source_drop(launch->common, start->id) < 0) /* the runtime has mounted them; what is left goes with the directory */
                log_warning("%s: %s", start->id, error_trace());
        const ShimReport *report = (const void *)frame.payload;
        if (r != 0 || frame.header.length != sizeof(*report))
                return verdict_set(verdict, GRPC_STATUS_INTERNAL, "%s: its shim ended without a word; remove it", start->id);
        if (report->code != 0)
                return verdict_set(verdict, report->code, "%s: %.1023s", start->id, report->created.text);
        return hand_reply(edge_fd, request, &report->created, frame.fds, frame.n_fds);
}

static void launch_compose(const Launch *launch, const LaunchCreate *verb, bool is_exec, ShimStart *start)
{
        char cgroup[CGROUP_PATH_MAX];
        *start = (ShimStart){.flags = verb->flags, .is_exec = is_exec, .systemd_cgroups = launch->config->systemd_cgroups,
                             .common = *launch->common};
        (void)str_copy(start->id, sizeof(start->id), verb->permit.id);
        (void)str_copy(start->container, sizeof(start->container), is_exec ? verb->permit.pod_id : verb->permit.id);
        (void)str_copy(start->runtime, sizeof(start->runtime), launch->config->runtimes[verb->runtime].path);
        if (!is_exec && cgroup_path_compose(cgroup, start->systemd_cgroups, verb->permit.cgroup_parent, start->id))
                (void)snprintf(start->cgroup, sizeof(start->cgroup), "%s%s", launch->config->cgroup_root, cgroup);
}

/* One launch or update of an id at a time: two that pass their checks could write one document between them, which nobody checked.
 * Held until the fd is closed; waited for: a launch that has answered may be about to end. */
static int launch_lock(const Launch *launch, bool is_exec, const char *id, Verdict *verdict)
{
        char path[PLACE_PATH_MAX];
        int fd = -1;
        place_path(path, launch->common, is_exec ? PLACE_EXEC : PLACE_CONTAINER, id, "");
        int r = place_lock_path(path, LOCK_EX, &fd);
        if (r < 0)
                (void)verdict_set(verdict, GRPC_STATUS_FAILED_PRECONDITION, "%s: its root file system is not prepared: %s", id, strerror(-r));
        return fd;
}

/* Whoever asked for the container need not wait for the runtime. A brain that is gone hears of it by launch_reconnect. */
static void launch_tell_checked(int edge_fd, const char *id)
{
        LaunchChecked checked = {0};
        (void)str_copy(checked.id, sizeof(checked.id), id);
        (void)hand_event(edge_fd, ROW_CONTAINERD_LAUNCH_LAUNCH_CHECKED, &checked, NULL, 0);
}

/* Asked for a container or for a process in one, with the sealed request and a typed spec. The confined child re-checks the seal and
 * that the spec asks for no more than the request, or than the container has; an id is good once. At worst a taken-over
 * containerd gets a container or a process that the kubelet asked for, with less than it asked. */
static int launch_make(const Launch *launch, int edge_fd, HandRequest *request, bool is_exec)
{
        const LaunchCreate *verb = (const void *)request->frame.payload;
        const Permit *permit = &verb->permit;
        Verdict verdict = {0};
        ShimStart start;
        char path[PLACE_PATH_MAX];
        struct stat st;
        _cleanup_fd_ int container_fd = -1;
        int r = launch_check(launch, permit->id, verb->runtime, &verdict);
        if (r == 0)
                r = launch_check(launch, permit->pod_id, verb->runtime, &verdict);
        if (r == 0 && !is_exec && !(verb->flags & (LAUNCH_FLAG_TTY | LAUNCH_FLAG_STDOUT)))
                r = verdict_set(&verdict, GRPC_STATUS_INVALID_ARGUMENT, "%s: it has neither terminal nor stdout", permit->id);
        if (r != 0)
                return launch_answer(edge_fd, request, r, &verdict, NULL);
        launch_compose(launch, verb, is_exec, &start);
        if (is_exec && place_make_exec(launch->common, start.container, start.id, &container_fd) < 0)
                r = verdict_set(&verdict, GRPC_STATUS_NOT_FOUND, "exec: there is no container %s here", start.container);
        _cleanup_fd_ int lock_fd = r == 0 ? launch_lock(launch, is_exec, start.id, &verdict) : -1;
        if (lock_fd < 0)
                r = 1;
        place_path(path, launch->common, PLACE_EXIT, start.id, "");
        if (r == 0 && lstat(path, &st) == 0) /* the document of one that exists must stay what it is */
                r = verdict_set(&verdict, GRPC_STATUS_ALREADY_EXISTS, "%s: it was started before; remove it first", start.id);
        const RenderJob job = {.permit = permit, .kind = is_exec ? RENDER_KIND_EXEC : RENDER_KIND_CREATE, .flags = verb->flags, .spec_fd = request->frame.fds[0],
                               .request_fd = request->frame.fds[1], .container_fd = container_fd};
        place_path(path, launch->common, is_exec ? PLACE_EXEC : PLACE_CONTAINER, start.id,
                   is_exec ? "/process.json" : "/config.json");
        if (r == 0) {
                r = hand_check_spent(launch->hand, start.id);
                r = r == 0 ? render_run(launch, &job, path, &verdict)
                  : r > 0 ? verdict_set(&verdict, GRPC_STATUS_PERMISSION_DENIED, "%s: its permit was used before; a permit is good once", start.id) : r;
                if (r != 0 && is_exec)
                        place_undo_exec(launch->common, start.id);
        }
        if (r == 0 && !is_exec)
                launch_tell_checked(edge_fd, start.id);
        if (r == 0)
                r = launch_shim(launch, &start, edge_fd, request, &verdict);
        return r == 0 ? 0 : launch_answer(edge_fd, request, r, &verdict, NULL);
}

static int on_launch_create(void *context, int edge_fd, HandRequest *request)
{
        return launch_make(context, edge_fd, request, false);
}

_Static_assert(sizeof(LaunchExec) == sizeof(LaunchCreate) && offsetof(LaunchExec, flags) == offsetof(LaunchCreate, flags),
               "both verbs are one struct");
static int on_launch_exec(void *context, int edge_fd, HandRequest *request)
{
        return launch_make(context, edge_fd, request, true);
}

/* Asked to let a created container run. Can only start what launch_create made. The time goes into the record first: the shim keeps
 * it when it writes the end. */
static int on_launch_start(void *context, int edge_fd, HandRequest *request)
{
        const Launch *launch = context;
        const LaunchContainer *verb = (const void *)request->frame.payload;
        Verdict verdict = {0};
        char words[RUNTIME_WORDS_MAX];
        int64_t now = clock_realtime_nsec();
        int r = launch_check(launch, verb->id, verb->runtime, &verdict);
        _cleanup_fd_ int fd = r == 0 ? place_open_record(launch->common, verb->id, O_WRONLY) : -1;
        if (r == 0 && pwrite(fd, &now, sizeof(now), offsetof(ExitRecord, started_nsec)) != (ssize_t)sizeof(now))
                r = verdict_set(&verdict, GRPC_STATUS_NOT_FOUND, "container %s: it was not created here", verb->id);
        const char *const arguments[] = {"start", verb->id, NULL};
        if (r == 0 && !place_is_started(launch->common, verb->id))
                r = launch_run(launch, verb->runtime, arguments, words, &verdict);
        if (r > 0 && place_is_started(launch->common, verb->id))
                r = 0; /* by the child of a launch that was killed, a moment ago */
        return launch_answer(edge_fd, request, r, &verdict, NULL);
}

/* Asked to take away a container or an exec. A container that still runs is killed by its runtime, with its cgroup. Under the lock of a
 * launch of that exec, and a record goes only if its permit was spent before: whatever is asked at the same time, none is good twice. */
static int on_launch_delete(void *context, int edge_fd, HandRequest *request)
{
        const Launch *launch = context;
        const LaunchContainer *verb = (const void *)request->frame.payload;
        Verdict verdict = {0};
        struct stat st;
        char words[RUNTIME_WORDS_MAX], path[PLACE_PATH_MAX];
        _cleanup_fd_ int lock_fd = -1;
        int r = launch_check(launch, verb->id, verb->runtime, &verdict);
        place_path(path, launch->common, PLACE_OCI, verb->id, "");
        const char *const arguments[] = {"delete", "--force", verb->id, NULL};
        if (r == 0)
                place_wait_made(launch->common, launch->cgroup_fd, verb->id);
        if (r == 0 && lstat(path, &st) == 0)
                r = launch_run(launch, verb->runtime, arguments, words, &verdict);
        if (r == 0 && (place_remove_cgroup(launch->cgroup_fd, verb->id) < 0 || place_lock_exec(launch->common, verb->id, &lock_fd) < 0 ||
                       place_remove_cgroup(launch->cgroup_fd, verb->id) < 0))
                r = verdict_set(&verdict, GRPC_STATUS_UNAVAILABLE, "%s: its launch or its shim does not end; try again", verb->id);
        place_path(path, launch->common, PLACE_EXIT, verb->id, "");
        bool has_record = r == 0 && lstat(path, &st) == 0;
        if (has_record)
                r = hand_spend(launch->hand, verb->id);
        if (r == 0)
                r = place_remove(launch->common, verb->id, has_record);
        return launch_answer(edge_fd, request, r, &verdict, NULL);
}

/* Asked to change a container's limits. The confined child checks the seal and takes the values from the sealed request alone; what the
 * runtime could not do to its end is undone. At worst a taken-over containerd repeats the last update that the kubelet asked for. */
static int on_launch_update(void *context, int edge_fd, HandRequest *request)
{
        const Launch *launch = context;
        const LaunchUpdate *verb = (const void *)request->frame.payload;
        RenderJob job = {.permit = &verb->permit, .kind = RENDER_KIND_LIMITS, .spec_fd = -1, .request_fd = request->frame.fds[0]};
        Verdict verdict = {0};
        char words[RUNTIME_WORDS_MAX], path[PLACE_PATH_MAX];
        const char *id = verb->permit.pod_id;
        int r = launch_check(launch, id, verb->runtime, &verdict);
        _cleanup_fd_ int lock_fd = r == 0 ? launch_lock(launch, false, id, &verdict) : -1;
        if (r == 0 && lock_fd < 0)
                r = 1;
        if (r == 0 && limits_are_known(launch->common, id))
                job.kind = RENDER_KIND_UPDATE;
        for (; r == 0 && job.kind <= RENDER_KIND_UPDATE; job.kind++) {
                _cleanup_fd_ int fd = limits_open(launch->common, id, job.kind == RENDER_KIND_LIMITS, path);
                job.container_fd = fd;
                if (fd < 0)
                        r = verdict_set(&verdict, GRPC_STATUS_NOT_FOUND, "update: there is no container %s here", id);
                else
                        r = render_run(launch, &job, path, &verdict);
        }
        if (r == 0 && limits_take_turn(launch->common, id, verb->permit.sealed_usec) != 0)
                r = verdict_set(&verdict, GRPC_STATUS_PERMISSION_DENIED, "update: container %s had a later one since", id);
        if (r == 0) {
                const Runtime runtime = launch_runtime(launch, verb->runtime);
                r = limits_apply(launch->common, &runtime, id, words);
                if (r > 0)
                        (void)verdict_set(&verdict, GRPC_STATUS_UNKNOWN, "%s update failed: %s", runtime_name(&runtime), words);
        }
        return launch_answer(edge_fd, request, r, &verdict, NULL);
}

/* What a checkpoint says of itself, and CRIU's own words where they are the reason. */
static int launch_checkpoint_failed(const Launch *launch, const Permit *permit, const Checkpoint *checkpoint, Verdict *verdict)
{
        Verdict why = {0};
        _cleanup_fd_ int log_fd = checkpoint->is_undumped ? checkpoint_open_log(checkpoint) : -1;
        const RenderJob job = {.permit = permit, .kind = RENDER_KIND_WHY, .spec_fd = -1, .request_fd = -1, .container_fd = log_fd};
        if (log_fd >= 0)
                (void)render_run(launch, &job, "/dev/null", &why);
        return verdict_set(verdict, why.code == GRPC_STATUS_RESOURCE_EXHAUSTED ? why.code : checkpoint->code, "%.700s%s%.450s", checkpoint->text,
                           why.code ? "; " : "", why.text);
}

/* Asked to write a container down. The confined child checks the seal and says where the sealed request has the archive; another one
 * makes it, of what CRIU wrote and of a stream that it alone reads. Once: whoever asks again did not hear the answer. At worst a taken-over
 * containerd has other words about the container, and other changed files, in the one archive that the kubelet asked for. */
static int on_launch_checkpoint(void *context, int edge_fd, HandRequest *request)
{
        const Launch *launch = context;
        const LaunchCheckpoint *verb = (const void *)request->frame.payload;
        char location[RENDER_PATH_MAX] = "";
        Checkpoint checkpoint = CHECKPOINT_NULL;
        RenderJob job = {.permit = &verb->permit, .kind = RENDER_KIND_CHECKPOINT, .spec_fd = request->frame.fds[0], .container_fd = -1,
                         .request_fd = request->frame.fds[1], .stream_fd = request->frame.fds[2], .ret_location = location};
        Verdict verdict = {0};
        int r = launch_check(launch, verb->permit.pod_id, verb->runtime, &verdict);
        if (r == 0)
                r = render_run(launch, &job, "/dev/null", &verdict);
        const Runtime runtime = launch_runtime(launch, r == 0 ? verb->runtime : 0);
        if (r == 0)
                r = checkpoint_begin(&checkpoint, launch->common, &runtime, verb->permit.pod_id, verb->timeout_sec);
        int spent = r == 0 ? hand_check_spent(launch->hand, verb->permit.id) : 0; /* under the lock */
        if (r == 0 && spent == 0)
                r = checkpoint_dump(&checkpoint, location, verb->flags & LAUNCH_FLAG_TTY);
        job = (RenderJob){.permit = job.permit, .kind = RENDER_KIND_ARCHIVE, .spec_fd = job.spec_fd, .request_fd = -1, .container_fd = -1,
                          .stream_fd = job.stream_fd, .result_fd = checkpoint.archive_fd, .deadline_usec = checkpoint.deadline_usec};
        if (r == 0 && spent == 0)
                r = render_run(launch, &job, NULL, &verdict);
        if (r == 0 && spent == 0)
                r = checkpoint_commit(&checkpoint);
        if (r == 0)
                r = spent < 0 ? fold(spent) : spent > 0 ? 0 : hand_spend(launch->hand, verb->permit.id);
        if (r > 0 && checkpoint.code)
                r = launch_checkpoint_failed(launch, &verb->permit, &checkpoint, &verdict);
        checkpoint_done(&checkpoint); /* before the answer: then it runs, and the next one can begin */
        return launch_answer(edge_fd, request, r, &verdict, NULL);
}

/* Whoever worked on its checkpoint may have been killed. true: somebody works on it. */
static bool launch_settle(const Launch *launch, const LaunchContainer *verb)
{
        const Runtime runtime = launch_runtime(launch, verb->runtime < launch->config->n_runtimes ? verb->runtime : 0);
        return checkpoint_undo(launch->common, &runtime, verb->id);
}

static int on_launch_reconnect(void *context, int edge_fd, HandRequest *request)
{
        const Launch *launch = context;
        const LaunchContainer *verb = (const void *)request->frame.payload;
        Verdict verdict = {0};
        _cleanup_fd_ int fd = -1;
        int r = launch_check(launch, verb->id, 0, &verdict);
        if (r != 0)
                return launch_answer(edge_fd, request, r, &verdict, NULL);
        place_wait_made(launch->common, launch->cgroup_fd, verb->id);
        (void)launch_settle(launch, verb);
        LaunchReconnected reconnected = {.alive = place_socket(launch->common, verb->id, false, &fd) == 0};
        return hand_reply(edge_fd, request, &reconnected, &fd, fd >= 0 ? 1 : 0);
}

static int on_launch_list(void *context, int edge_fd, HandRequest *request)
{
        const Launch *launch = context;
        const LaunchList *verb = (const void *)request->frame.payload;
        LaunchListed listed = {0};
        Verdict verdict = {0};
        int r = place_list(launch->common, verb->offset, &listed);
        return launch_answer(edge_fd, request, r, &verdict, &listed);
}

static int on_launch_probe(void *context, int edge_fd, HandRequest *request)
{
        const Launch *launch = context;
        const LaunchProbe *verb = (const void *)request->frame.payload;
        static const char *const arguments[] = {"--version", NULL};
        LaunchProbed probed = {0};
        Verdict verdict = {0};
        char words[RUNTIME_WORDS_MAX] = "there is no such runtime";
        if (verb->runtime < launch->config->n_runtimes)
                probed.present = launch_run(launch, verb->runtime, arguments, words, &verdict) == 0;
        (void)snprintf(probed.version, sizeof(probed.version), "%.255s", words);
        probed.criu = checkpoint_probe_criu();
        const Runtime runtime = launch_runtime(launch, probed.present ? verb->runtime : 0);
        _cleanup_fd_ int fd = -1;
        if (probed.present && runtime_features(&runtime, &fd) == 0) {
                const RenderJob job = {.kind = RENDER_KIND_FEATURES, .spec_fd = -1, .request_fd = -1, .container_fd = fd,
                                       .ret_features = &probed.features};
                probed.has_features = render_run(launch, &job, "/dev/null", &verdict) == 0;
        }
        return hand_reply(edge_fd, request, &probed, NULL, 0);
}

static int on_launch_exit_record(void *context, int edge_fd, HandRequest *request)
{
        const Launch *launch = context;
        const LaunchContainer *verb = (const void *)request->frame.payload;
        Verdict verdict = {0};
        LaunchExit result = {0};
        int r = launch_check(launch, verb->id, 0, &verdict);
        if (r == 0)
                result.in_checkpoint = launch_settle(launch, verb);
        _cleanup_fd_ int fd = r == 0 ? place_open_record(launch->common, verb->id, O_RDONLY) : -1;
        result.exists = fd >= 0 && pread(fd, &result.record, sizeof(result.record), 0) == (ssize_t)sizeof(result.record);
        return launch_answer(edge_fd, request, r, &verdict, &result);
}

static int launch_acquire(void *context)
{
        Launch *launch = context;
        launch->common = hand_config(launch->hand);
        launch->config = hand_section(launch->hand, sizeof(ConfigContainerd));
        launch->n_refused = mmap(NULL, sizeof(*launch->n_refused), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        int r = launch->n_refused == MAP_FAILED ? error_origin(-ENOMEM) : place_make_directories(launch->common);
        return r < 0 ? fold(r) : 0;
}

/* Anew for each request: the cgroup is a unit's under systemd, and comes again with that. */
static int launch_enter_child(void *context)
{
        Launch *launch = context;
        int r = place_make_cgroup(launch->config, &launch->cgroup_fd);
        return r < 0 ? fold(r) : 0;
}

int main(int argc, char **argv)
{
        static const HandHandler handlers[] = {EDGE_CONTAINERD_LAUNCH_HANDLERS_B};
        static const HandSpec spec = {
                .process = PROCESS_CONTAINERD_LAUNCH,
                .edge = EDGE_CONTAINERD_LAUNCH,
                .schema = &edge_schema_containerd_launch,
                .handlers = handlers,
                .context_size = sizeof(Launch),
                .fork_per_request = true,
                .acquire = launch_acquire,
                .enter_child = launch_enter_child,
        };
        return hand_main(&spec, argc, argv);
}
