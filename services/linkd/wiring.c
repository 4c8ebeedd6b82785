/* SPDX-License-Identifier: Apache-2.0 */

/* Each daemon gets, in this order: configuration, keys, named fds, go; then its edges, each as soon as both sides are up. An
 * incarnation is one life of a daemon: what the memory file has noted for it has reached its socket, and survives us. */

#include "lib/error.h"
#include "lib/log.h"
#include "lib/pages.h"
#include "lib/strings.h"
#include "services/linkd/linkd.h"
#include "services/linkd/tls-files.h"
#include <event2/event.h>
#include <sys/socket.h>

/* Who seals and who checks; nobody else gets the key. */
static const struct {
        ControlKeyKind kind;
        ProcessId process;
} wiring_keys[] = {
        {CONTROL_KEY_PERMIT, PROCESS_GATEWAYD},          /* seals requests */
        {CONTROL_KEY_PERMIT, PROCESS_SANDBOXD_SETUP},    /* checks the fixed part */
        {CONTROL_KEY_PERMIT, PROCESS_SANDBOXD_CNI},      /* its confined child checks the request */
        {CONTROL_KEY_PERMIT, PROCESS_CONTAINERD_SETUP},  /* checks the fixed part */
        {CONTROL_KEY_PERMIT, PROCESS_CONTAINERD_LAUNCH}, /* its confined child checks the request */
        {CONTROL_KEY_STATEMENT, PROCESS_IMAGED},         /* seals which layers an image has */
        {CONTROL_KEY_STATEMENT, PROCESS_CONTAINERD_SETUP}, /* mounts only those */
};

static const struct {
        const char *name;
        ProcessId process;
} wiring_fds[] = {
        {"cri", PROCESS_GATEWAYD},
        {"stream", PROCESS_STREAMD},
        {TLS_FILES_CERTIFICATE, PROCESS_STREAMD},
        {TLS_FILES_KEY, PROCESS_STREAMD},
        {"ca", PROCESS_IMAGED_FETCH},
};

/* The section of a process, and its size; NULL and 0 if it has none. */
static const void *linkd_section(const LinkdConfig *config, ProcessId process, size_t *ret_size)
{
#define SECTION(member) (*ret_size = sizeof(config->member), (const void *)&config->member)
        switch (process) {
        case PROCESS_GATEWAYD:
                return SECTION(gatewayd);
        case PROCESS_STREAMD:
                return SECTION(streamd);
        case PROCESS_IMAGED:
                return SECTION(imaged);
        case PROCESS_IMAGED_FETCH:
                return SECTION(fetch);
        case PROCESS_SANDBOXD:
        case PROCESS_SANDBOXD_CNI:
                return SECTION(cni);
        case PROCESS_SANDBOXD_SETUP: /* pods lie in the cgroups of containers */
        case PROCESS_CONTAINERD:
        case PROCESS_CONTAINERD_SETUP:
        case PROCESS_CONTAINERD_LAUNCH:
                return SECTION(containerd);
        case PROCESS_LINKD:
        case PROCESS_LINKD_START:
        case PROCESS_IMAGED_PARSE:
        case PROCESS_IMAGED_TREE:
        case PROCESS_CONTAINERD_SHIM:
        case PROCESS_LOGD:
        case PROCESS_N:
                break;
        }
#undef SECTION
        *ret_size = 0;
        return NULL;
}

int linkd_send_start(Linkd *linkd, ControlType type, const void *body, int fd)
{
        if (linkd->systemd) {
                if (type == CONTROL_KILL)
                        linkd_systemd_kill(linkd, (ProcessId)((const ControlRow *)body)->process);
                int r = type == CONTROL_STATUS ? linkd_systemd_tell(linkd, ((const ControlStatus *)body)->ready) : 0;
                return r ? fold(r) : 0;
        }
        int r = control_send(linkd->start_fd, type, body, NULL, 0, fd);
        return r < 0 ? fold(r) : 0; /* its end is seen by the loop */
}

static void wiring_daemon_down(LinkdDaemon *daemon)
{
        if (daemon->event)
                event_free(daemon->event);
        daemon->event = NULL;
        daemon->control_fd = fd_close(daemon->control_fd);
}

/* It does not read, or talks nonsense: a new one is better than this one. */
static void wiring_kill(LinkdDaemon *daemon, const char *why)
{
        const ControlRow row = {.process = daemon->process};

        log_warning("%s: %s; it is started anew", topology_processes[daemon->process].name, why);
        /* Every copy of our end: under systemd a process that behaves ends by this already. */
        (void)shutdown(daemon->control_fd, SHUT_RDWR);
        wiring_daemon_down(daemon);
        (void)linkd_send_start(daemon->linkd, CONTROL_KILL, &row, -1);
}

static bool wiring_send(LinkdDaemon *daemon, ControlType type, const void *body, const void *tail, size_t n_tail, int fd)
{
        int r = control_send(daemon->control_fd, type, body, tail, n_tail, fd);

        if (r == CONTROL_E_EOF)
                wiring_daemon_down(daemon); /* linkd-start tells us of its next life */
        else if (r)
                wiring_kill(daemon, r < 0 ? strerror(-r) : "it does not read its control channel");
        return r == 0;
}

static bool wiring_send_config(LinkdDaemon *daemon)
{
        const LinkdConfig *config = &daemon->linkd->memory->in_force;
        ControlConfig body = {.common = config->common};
        size_t n;
        const void *section = linkd_section(config, daemon->process, &n);

        body.section_size = (uint32_t)n;
        return wiring_send(daemon, CONTROL_CONFIG, &body, section, n, -1);
}

static bool wiring_send_keys(LinkdDaemon *daemon)
{
        bool ok = true;

        for (size_t i = 0; ok && i < ARRAY_SIZE(wiring_keys); i++) {
                ControlKey key = {.kind = wiring_keys[i].kind};

                if (wiring_keys[i].process != daemon->process)
                        continue;
                memcpy(key.bytes, daemon->linkd->memory->keys[key.kind], sizeof(key.bytes));
                ok = wiring_send(daemon, CONTROL_KEY, &key, NULL, 0, -1);
                explicit_bzero(&key, sizeof(key));
        }
        return ok;
}

/* Those whose names begin with that. */
static bool wiring_send_fds(LinkdDaemon *daemon, const char *prefix)
{
        bool ok = true;

        for (size_t i = 0; ok && i < ARRAY_SIZE(wiring_fds); i++) {
                ControlNamedFd named = {0};
                int fd = linkd_kept(daemon->linkd, wiring_fds[i].name);

                if (wiring_fds[i].process != daemon->process || fd < 0 || !str_has_prefix(wiring_fds[i].name, prefix))
                        continue;
                (void)lseek(fd, 0, SEEK_SET); /* a file's offset is shared with its last reader */
                (void)str_copy(named.name, sizeof(named.name), wiring_fds[i].name);
                ok = wiring_send(daemon, CONTROL_NAMED_FD, &named, NULL, 0, fd);
        }
        return ok;
}

static bool wiring_configure(LinkdDaemon *daemon)
{
        LinkdRow *row = &daemon->linkd->memory->rows[daemon->process];

        if (row->incarnation == daemon->incarnation)
                return true;
        row->row_state = 0;
        if (!wiring_send_config(daemon) || !wiring_send_keys(daemon) || !wiring_send_fds(daemon, "") ||
            !wiring_send(daemon, CONTROL_GO, NULL, NULL, 0, -1))
                return false;
        row->incarnation = daemon->incarnation;
        return true;
}

/* Makes an edge that is not there yet between the current incarnations, or (again) one that ended. */
static int wiring_connect(Linkd *linkd, EdgeId id, bool again)
{
        const TopologyEdge *topology = &topology_edges[id];
        LinkdEdge *edge = &linkd->memory->edges[id];
        LinkdDaemon *daemons[2];
        int pair[2];

        if (topology->how != EDGE_HOW_WIRED)
                return 0;
        for (size_t side = 0; side < 2; side++) {
                daemons[side] = &linkd->daemons[topology->ends[side]];
                if (daemons[side]->control_fd < 0 ||
                    linkd->memory->rows[daemons[side]->process].incarnation != daemons[side]->incarnation)
                        return 0; /* when it comes up */
        }
        if (!again && edge->incarnations[0] == daemons[0]->incarnation && edge->incarnations[1] == daemons[1]->incarnation)
                return 0;
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return error_origin(negative_errno());

        _cleanup_fd_ int a = pair[0], b = pair[1];
        ControlEdge body = {.edge = id, .generation = ++linkd->memory->generation};
        edge->generation = body.generation;
        linkd->lost[id] = false;
        body.side = EDGE_SIDE_A;
        if (!wiring_send(daemons[0], CONTROL_EDGE, &body, NULL, 0, a))
                return 0;
        body.side = EDGE_SIDE_B;
        if (!wiring_send(daemons[1], CONTROL_EDGE, &body, NULL, 0, b))
                return 0;
        edge->incarnations[0] = daemons[0]->incarnation;
        edge->incarnations[1] = daemons[1]->incarnation;
        log_debug("edge %s: generation %u", topology->name, edge->generation);
        return 0;
}

static void wiring_tell_ready(Linkd *linkd)
{
        bool ready = true;

        for (ProcessId p = 0; p < PROCESS_N; p++) {
                const LinkdRow *row = &linkd->memory->rows[p];
                if (p == PROCESS_LINKD || p == PROCESS_LINKD_START || p == PROCESS_CONTAINERD_SHIM)
                        continue;
                ready = ready && linkd->daemons[p].control_fd >= 0 && row->incarnation == linkd->daemons[p].incarnation &&
                        row->row_state == ROW_STATE_READY;
        }
        if (ready == linkd->ready && linkd->announced)
                return;
        linkd->ready = ready;
        linkd->announced = true;
        if (ready) {
                log_info("all processes are ready; CRI on %s, streams on %s", linkd->memory->in_force.socket_path,
                         linkd->memory->in_force.common.stream_url);
                pages_give_back();
        }
        const ControlStatus status = {.ready = ready};
        (void)linkd_send_start(linkd, CONTROL_STATUS, &status, -1);
}

static void wiring_on_lost(LinkdDaemon *daemon, const ControlEdgeLost *lost)
{
        static const struct timeval later = {.tv_usec = LINKD_REWIRE_USEC};
        Linkd *linkd = daemon->linkd;

        if (lost->edge >= EDGE_N || lost->generation != linkd->memory->edges[lost->edge].generation)
                return; /* of an old generation: it was replaced */

        const TopologyEdge *edge = &topology_edges[lost->edge];
        ProcessId peer = edge->ends[0] == daemon->process ? edge->ends[1] : edge->ends[0];
        if (edge->ends[0] != daemon->process && edge->ends[1] != daemon->process)
                return;
        if (lost->violation && linkd->daemons[peer].control_fd >= 0)
                wiring_kill(&linkd->daemons[peer], "its peer says that it broke the protocol");
        /* Usually the peer died, and its next life brings a new generation before this timer. */
        linkd->lost[lost->edge] = true;
        (void)event_add(linkd->rewire_event, &later);
}

static void wiring_on_frame(LinkdDaemon *daemon, const ControlFrame *frame)
{
        const char *name = topology_processes[daemon->process].name;

        if (frame->type == CONTROL_HELLO) {
                if (frame->hello.process != daemon->process)
                        wiring_kill(daemon, "it says that it is another process");
                else if (!str_equal(frame->hello.version, BULKHEAD_VERSION))
                        log_warning("%s has version %s, linkd has %s", name, frame->hello.version, BULKHEAD_VERSION);
        } else if (frame->type == CONTROL_STATE) {
                daemon->linkd->memory->rows[daemon->process].row_state = frame->state.row_state;
                wiring_tell_ready(daemon->linkd);
        } else if (frame->type == CONTROL_EDGE_LOST) {
                wiring_on_lost(daemon, &frame->edge_lost);
        } else {
                wiring_kill(daemon, "it sent a frame that is not a daemon's to send");
        }
}

static void wiring_on_readable(evutil_socket_t fd, short what, void *userdata)
{
        LinkdDaemon *daemon = userdata;
        ControlFrame *frame = &daemon->linkd->frame;

        while (daemon->control_fd >= 0) {
                int r = control_receive(daemon->control_fd, false, frame);
                if (r == 0)
                        wiring_on_frame(daemon, frame);
                else if (r == CONTROL_E_EOF)
                        wiring_daemon_down(daemon);
                else if (r != CONTROL_E_AGAIN)
                        wiring_kill(daemon, "what it sent on its control channel is not a frame");
                frame->fd = fd_close(frame->fd);
                if (r)
                        break;
        }
}

void linkd_daemon_look(Linkd *linkd, ProcessId process)
{
        if (linkd->daemons[process].control_fd >= 0)
                wiring_on_readable(linkd->daemons[process].control_fd, EV_READ, &linkd->daemons[process]);
}

int linkd_daemon_up(Linkd *linkd, const ControlChild *child, int fd)
{
        LinkdDaemon *daemon = &linkd->daemons[child->process < PROCESS_N ? child->process : 0];
        _cleanup_fd_ int owned = fd;

        if (child->process >= PROCESS_N || (child->pid != 0) != (fd >= 0))
                return error_origin(-EPROTO);
        wiring_daemon_down(daemon);
        daemon->linkd = linkd;
        daemon->process = (ProcessId)child->process;
        daemon->incarnation = child->incarnation;
        if (fd >= 0) {
                daemon->control_fd = TAKE_FD(owned);
                daemon->event =
                        event_new(linkd->base, daemon->control_fd, EV_READ | EV_PERSIST, wiring_on_readable, daemon);
                if (!daemon->event || event_add(daemon->event, NULL) < 0)
                        return error_origin(-ENOMEM);
                log_debug("%s is process %d, life %u", topology_processes[daemon->process].name, child->pid,
                          child->incarnation);
                if (wiring_configure(daemon))
                        for (EdgeId e = 0; e < EDGE_N; e++)
                                if (topology_edges[e].ends[0] == daemon->process || topology_edges[e].ends[1] == daemon->process) {
                                        int r = wiring_connect(linkd, e, false);
                                        if (r)
                                                return fold(r);
                                }
        }
        wiring_tell_ready(linkd);
        return 0;
}

void linkd_rewire(Linkd *linkd)
{
        for (EdgeId e = 0; e < EDGE_N; e++)
                if (linkd->lost[e] && wiring_connect(linkd, e, true) < 0)
                        log_error("edge %s: %s", topology_edges[e].name, error_trace());
}

void linkd_configure_all(Linkd *linkd)
{
        for (ProcessId p = 0; p < PROCESS_N; p++)
                if (linkd->daemons[p].control_fd >= 0 && linkd->memory->rows[p].incarnation == linkd->daemons[p].incarnation)
                        (void)wiring_send_config(&linkd->daemons[p]);
}

/* The configuration after them has it look. One that is not up gets what is kept when it is. */
void linkd_renew_tls(Linkd *linkd)
{
        LinkdDaemon *streamd = &linkd->daemons[PROCESS_STREAMD];

        if (linkd_kept(linkd, TLS_FILES_CERTIFICATE) >= 0 && streamd->control_fd >= 0 &&
            linkd->memory->rows[PROCESS_STREAMD].incarnation == streamd->incarnation && wiring_send_fds(streamd, "tls-"))
                (void)wiring_send_config(streamd);
}

void linkd_stop_all(Linkd *linkd)
{
        for (ProcessId p = 0; p < PROCESS_N; p++) {
                LinkdDaemon *daemon = &linkd->daemons[p];
                if (daemon->control_fd >= 0)
                        (void)control_send(daemon->control_fd, CONTROL_STOP, NULL, NULL, 0, -1);
                wiring_daemon_down(daemon);
        }
}
