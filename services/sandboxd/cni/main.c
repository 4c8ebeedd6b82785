/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc/edges/sandboxd-cni.rows.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "services/sandboxd/cni/cni.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

typedef struct Cni {
        Hand *hand;
        CniTask task;
        int dir_fd; /* the pod's cache, locked; -1 if the request needs none */
        pid_t child;
        uint32_t n_execs;
} Cni; /* each request has its own: a fork */

/* One frame of the child's. Outcomes are for the child; -errno: it broke the rules, or we cannot go on. */
static int cni_on_talk(Cni *cni, const WireFrame *frame, TalkRan *ran, int *ret_output_fd)
{
        const ConfigCni *config = hand_section(cni->hand, sizeof(*config));
        const TalkRun *run = (const void *)frame->payload;
        uint16_t id = frame->header.id;
        bool has_fd = frame->n_fds == 1 && fd_kind_check(frame->fds[0], FD_KIND_MEMFD_SEALED) == 0;

        if (id == TALK_SAVE && has_fd && cni->task.verb == CNI_VERB_ADD)
                return files_save(cni->dir_fd, frame->fds[0]);
        if (id == TALK_FORGET && (cni->task.verb == CNI_VERB_ADD || cni->task.verb == CNI_VERB_DEL)) {
                int r = hand_spend(cni->hand, cni->task.pod_id);
                return r < 0 ? fold(r) : unlinkat(cni->dir_fd, "cache", 0) < 0 && errno != ENOENT ? error_origin(negative_errno()) : 0;
        }
        if (frame->header.length != sizeof(*run) || !memchr(run->plugin, '\0', sizeof(run->plugin)) ||
            !memchr(run->arguments, '\0', sizeof(run->arguments)))
                return error_origin(-EPROTO);
        if (id == TALK_PROBE) {
                _cleanup_fd_ int program_fd = plugin_open(config, run->plugin, ran->text);
                ran->how = program_fd >= 0 ? TALK_HOW_ENDED : TALK_HOW_MISSING;
                return 0;
        }
        /* A verb runs its own command, and an ADD that fails is undone. */
        if (id != TALK_RUN || !has_fd || run->command > CNI_VERB_STATUS || cni->n_execs++ == 256 ||
            (run->command != cni->task.verb && (run->command != CNI_VERB_DEL || cni->task.verb != CNI_VERB_ADD)))
                return error_origin(-EPROTO);
        return plugin_run(config, &cni->task, run, frame->fds[0], cni->child, ran, ret_output_fd);
}

static int cni_converse(Cni *cni, int socket_fd, int edge_fd, HandRequest *request)
{
        for (;;) { /* until the child says DONE or FAILED */
                _cleanup_(wire_frame_done) WireFrame frame = WIRE_FRAME_NULL;
                _cleanup_fd_ int output_fd = -1;
                TalkRan ran = {0};
                int r = wire_receive(socket_fd, true, &frame);
                if (r == 0 && frame.header.id == TALK_DONE)
                        return hand_reply(edge_fd, request, &(CniRan){frame.n_fds > 0, cni->n_execs}, frame.fds, frame.n_fds);
                if (r == 0 && frame.header.id == TALK_FAILED && frame.header.length > sizeof(WireError)) {
                        const WireError *error = (const void *)frame.payload;
                        return hand_fail(edge_fd, request, error->code, "%.*s",
                                         (int)(frame.header.length - sizeof(WireError)), error->text);
                }
                if (r == 0)
                        r = cni_on_talk(cni, &frame, &ran, &output_fd);
                if (r == 0)
                        r = wire_send(socket_fd, TALK_RAN, 0, 0, &ran, sizeof(ran), &output_fd, output_fd >= 0);
                if (r != 0) /* positive: it died, of its filter, its limits or a bug */
                        return r < 0 ? fold(r) : error_origin(-EPIPE);
        }
}

static int cni_serve(Cni *cni, int edge_fd, HandRequest *request)
{
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return error_origin(negative_errno());
        cni->task.socket_fd = pair[1];
        cni->child = fork();
        if (cni->child == 0) {
                explicit_bzero((uint8_t *)(uintptr_t)hand_permit_key(cni->hand), SEAL_KEY_BYTES); /* nothing for a parser */
                child_run(&cni->task, hand_config(cni->hand));
        }
        close(pair[1]);
        int r = cni->child < 0 ? error_origin(-EAGAIN) : cni_converse(cni, pair[0], edge_fd, request);
        if (cni->child > 0 && kill(cni->child, SIGKILL) == 0)
                (void)waitpid(cni->child, NULL, 0);
        close(pair[0]);
        return r < 0 ? hand_fail(edge_fd, request, GRPC_STATUS_INTERNAL, "pod %s: %s: %s", cni->task.pod_id,
                                 request->row->name, error_trace()) : 0;
}

static const char *cni_check(Cni *cni, const CniRun *run)
{
        const uint8_t *key = hand_permit_key(cni->hand);
        char pin[sizeof(run->network_pin)], path[sizeof(CNI_NETNS_DIR) + sizeof(pin)];
        struct stat st;
        if (run->verb < CNI_VERB_ADD || run->verb > CNI_VERB_CHECK || run->pod_id[ID_LENGTH] || !id_is_valid(run->pod_id))
                return "no such verb, or not a pod's id";
        if (run->verb == CNI_VERB_ADD && (!key || permit_check(&run->permit, PERMIT_VERB_RUN_POD, key) != 0 ||
                                          strcmp(run->permit.id, run->pod_id) != 0))
                return "the permit is not one that gatewayd sealed for this pod within the last 15 minutes";
        if (run->verb == CNI_VERB_ADD && (run->permit.flags & PERMIT_FLAG_HOST_NETWORK))
                return "the permit says that it uses the host's network";
        snprintf(pin, sizeof(pin), "%sbh-%s", hand_config(cni->hand)->instance, run->pod_id);
        snprintf(path, sizeof(path), CNI_NETNS_DIR "/%s", pin);
        if (strncmp(run->network_pin, pin, sizeof(pin)) != 0 && (run->verb != CNI_VERB_DEL || run->network_pin[0]))
                return "not its own network namespace";
        if (run->network_pin[0] && stat(path, &st) == 0)
                cni->task.namespace_inode = st.st_ino;
        else if (run->verb != CNI_VERB_DEL) /* which is told that it is lost, by an empty name */
                return "its network namespace is not there";
        if (cni->task.namespace_inode)
                memcpy(cni->task.network_pin, pin, sizeof(pin));
        memcpy(cni->task.pod_id, run->pod_id, sizeof(run->pod_id));
        cni->task.permit = &run->permit;
        return NULL;
}

static void cni_begin(Cni *cni, uint32_t verb)
{
        const ConfigCni *config = hand_section(cni->hand, sizeof(*config));
        cni->task = (CniTask){.verb = verb, .request_fd = -1, .config_fd = -1, .cache_fd = -1, .timeout_sec = MAX2(config->timeout_sec, 1)};
        files_open_config(config, &cni->task);
}

/* Asked: attach a pod to the network, or take it off. Re-checked: gatewayd's seal for this pod (ADD), its own namespace, and
 * in the confined child that the port mappings are the request's; programs are root's own, below the configured directories.
 * At worst a brain that was taken over detaches pods. */
static int on_cni_run(void *context, int edge_fd, HandRequest *request)
{
        const CniRun *run = (const void *)request->frame.payload;
        Cni *cni = context;
        cni_begin(cni, run->verb);
        const char *refused = cni_check(cni, run);
        if (refused)
                return hand_fail(edge_fd, request, GRPC_STATUS_PERMISSION_DENIED, "pod %.64s: %s", run->pod_id, refused);
        if (files_lock(cni->hand, run->pod_id, run->verb == CNI_VERB_ADD, &cni->dir_fd) < 0)
                return hand_fail(edge_fd, request, GRPC_STATUS_INTERNAL, "pod %s: cannot keep what its network needs: %s",
                                 run->pod_id, error_trace());
        cni->task.cache_fd = openat(cni->dir_fd, "cache", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        cni->task.request_fd = request->frame.fds[0];
        int r = run->verb == CNI_VERB_ADD && hand_check_spent(cni->hand, run->pod_id) != 0
                        ? hand_fail(edge_fd, request, GRPC_STATUS_PERMISSION_DENIED, "pod %s: its permit was used before", run->pod_id)
                : cni->task.cache_fd < 0 && run->verb == CNI_VERB_DEL /* never attached, or detached already */
                        ? hand_reply(edge_fd, request, &(CniRan){0}, NULL, 0)
                        : cni_serve(cni, edge_fd, request);
        files_unlock(cni->hand, run->pod_id, cni->dir_fd);
        return r;
}

static int on_cni_status(void *context, int edge_fd, HandRequest *request)
{
        cni_begin(context, CNI_VERB_STATUS);
        return cni_serve(context, edge_fd, request);
}

static int on_cni_list(void *context, int edge_fd, HandRequest *request)
{
        CniListed listed;
        if (files_list(((Cni *)context)->hand, ((const CniList *)(const void *)request->frame.payload)->offset, &listed) < 0)
                return hand_fail(edge_fd, request, GRPC_STATUS_INTERNAL, "cni_list: %s", error_trace());
        return hand_reply(edge_fd, request, &listed, NULL, 0);
}

static const HandHandler handlers[] = {EDGE_SANDBOXD_CNI_HANDLERS_B};
int main(int argc, char **argv)
{
        static const HandSpec spec = {
                .process = PROCESS_SANDBOXD_CNI,
                .edge = EDGE_SANDBOXD_CNI,
                .schema = &edge_schema_sandboxd_cni,
                .handlers = handlers,
                .context_size = sizeof(Cni),
                .fork_per_request = true, /* a plugin that hangs holds up its own pod only */
        };
        return hand_main(&spec, argc, argv);
}
