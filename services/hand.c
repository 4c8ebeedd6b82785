/* SPDX-License-Identifier: Apache-2.0 */

/* The order, for every hand alike: log, control channel on fd 3, configuration and keys and named fds until `go`, acquire,
 * confinement, ready, then a poll on three things: signals, linkd, the brain. A request is handled top to bottom, here or
 * in a child of its own; a child that dies before it answered is answered for, so that the brain never waits for a
 * process that is gone. Needs libc only: the smallest hands are linked statically with it. */

#include "services/hand.h"
#include "ipc/control.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "lib/grpc-status.h"
#include "lib/log.h"
#include "lib/pages.h"
#include "policy/policy.h"
#include "services/endowment.h"
#include "services/spent.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#define HAND_CHILDREN_MAX 64

/* What is needed to answer for a child. */
typedef struct HandChild {
        pid_t pid; /* 0: free */
        const MessageRow *row;
        WireHeader header;
        uint32_t generation; /* of the edge that the request came on */
} HandChild;

struct Hand {
        const HandSpec *spec; /* borrowed; a constant of main */
        void *context;        /* owned */
        int control_fd;       /* owned */
        int signal_fd;        /* owned */
        int edge_fd;          /* owned; -1 while there is no brain */
        uint32_t generation;
        Endowment endowment;
        bool stopping;
        HandChild children[HAND_CHILDREN_MAX];
        size_t n_children;
        volatile uint32_t *answered; /* owned; one word per child, shared with the children */
        ControlFrame frame;
};

static const char *hand_name(const Hand *hand)
{
        return topology_processes[hand->spec->process].name;
}

static int hand_on_edge(Hand *hand, ControlFrame *frame)
{
        if (frame->edge.edge != hand->spec->edge)
                return error_origin(-EPROTO);
        if (frame->edge.generation <= hand->generation)
                return 0;
        /* The old generation goes first: what its children still answer vanishes with it. */
        hand->edge_fd = fd_close(hand->edge_fd);
        hand->edge_fd = TAKE_FD(frame->fd);
        hand->generation = frame->edge.generation;
        return 0;
}

static int hand_on_frame(Hand *hand, ControlFrame *frame)
{
        int r = endowment_take(&hand->endowment, frame);
        if (r != ENDOWMENT_E_OTHER)
                return r ? fold(r) : 0;
        if (frame->type == CONTROL_GO)
                return 0;
        if (frame->type == CONTROL_EDGE)
                return hand_on_edge(hand, frame);
        if (frame->type != CONTROL_STOP)
                return error_origin(-EPROTO);
        log_info("stopping: linkd asked");
        hand->stopping = true;
        return 0;
}

static int hand_receive_control(Hand *hand, bool wait)
{
        int r = control_receive(hand->control_fd, wait, &hand->frame);
        if (r == CONTROL_E_MALFORMED)
                return error_origin(-EPROTO);
        if (r)
                return r < 0 ? fold(r) : r;

        r = hand_on_frame(hand, &hand->frame);
        hand->frame.fd = fd_close(hand->frame.fd);
        explicit_bzero(hand->frame.bytes, MIN2(hand->frame.length, sizeof(hand->frame.bytes)));
        return r ? fold(r) : 0;
}

static int hand_on_control(Hand *hand)
{
        int r;

        do
                r = hand_receive_control(hand, false);
        while (r == 0 && !hand->stopping);
        if (r == CONTROL_E_EOF) {
                /* linkd-start holds a duplicate of the other end across restarts of linkd: both are gone. */
                log_info("stopping: linkd and linkd-start are gone");
                hand->stopping = true;
        }
        return r < 0 ? fold(r) : 0;
}

/* Until `go` linkd has the word; the process has done nothing yet. */
static int hand_configure(Hand *hand)
{
        const ControlHello hello = {.process = hand->spec->process, .pid = getpid(), .version = BULKHEAD_VERSION};

        int r = control_send(hand->control_fd, CONTROL_HELLO, &hello, NULL, 0, -1);
        if (r)
                return error_origin(r < 0 ? r : -ENOTCONN);
        do {
                r = hand_receive_control(hand, true);
                if (r)
                        return r < 0 ? fold(r) : error_origin(-ENOTCONN);
        } while (hand->frame.type != CONTROL_GO);
        return hand->endowment.configured ? 0 : error_origin(-EPROTO);
}

static int hand_prepare_signals(Hand *hand)
{
        sigset_t set;

        (void)sigemptyset(&set);
        (void)sigaddset(&set, SIGTERM);
        (void)sigaddset(&set, SIGINT);
        (void)sigaddset(&set, SIGHUP);
        (void)sigaddset(&set, SIGCHLD);
        (void)sigaddset(&set, SIGPIPE); /* blocked, not ignored: what a spawner's child executes must not inherit that */
        if (sigprocmask(SIG_SETMASK, &set, NULL) < 0)
                return error_origin(negative_errno());
        (void)sigdelset(&set, SIGHUP);
        (void)sigdelset(&set, SIGPIPE);
        hand->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        return hand->signal_fd < 0 ? error_origin(negative_errno()) : 0;
}

/* A child starts with the signals of a fresh process. In spawners that includes SIGPIPE, because the disposition survives
 * execve and would reach containers; the children of others see EPIPE instead. */
static void hand_reset_signals(const Hand *hand)
{
        sigset_t set;

        if (topology_processes[hand->spec->process].kind != PROCESS_KIND_SPAWNER)
                (void)signal(SIGPIPE, SIG_IGN);
        (void)sigemptyset(&set);
        (void)sigprocmask(SIG_SETMASK, &set, NULL);
}

static int hand_call(Hand *hand, HandRequest *request)
{
        const EdgeSchema *schema = hand->spec->schema;
        HandHandler handler = hand->spec->handlers[request->row - schema->rows];

        if (!handler)
                return error_origin(-ENOSYS);
        int r = handler(hand->context, hand->edge_fd, request);
        return r ? fold(r) : 0;
}

/* In the child. Returns its exit code. */
static int hand_child_run(Hand *hand, HandRequest *request)
{
        int r = 0;

        hand_reset_signals(hand);
        hand->signal_fd = fd_close(hand->signal_fd);
        hand->control_fd = fd_close(hand->control_fd);
        if (hand->spec->enter_child) {
                r = hand->spec->enter_child(hand->context);
                if (r)
                        (void)fold(r);
        }
        if (r == 0)
                r = hand_call(hand, request);
        if (r)
                log_error("%s: %s", request->row->name, error_trace());
        hand_request_done(request);
        return r ? 1 : 0;
}

static bool hand_is_at_limit(const Hand *hand, const MessageRow *row)
{
        size_t n = 0;

        for (size_t i = 0; i < HAND_CHILDREN_MAX; i++)
                n += hand->children[i].pid && hand->children[i].row == row;
        return row == hand->spec->limited_row && n >= hand->spec->limited_max;
}

static int hand_fork(Hand *hand, HandRequest *request)
{
        size_t i = 0;

        if (hand_is_at_limit(hand, request->row)) {
                int r = hand_fail(hand->edge_fd, request, GRPC_STATUS_RESOURCE_EXHAUSTED,
                                  "%s: %u are under way, as many as %s lets run at once; try again when one has ended", request->row->name,
                                  hand->spec->limited_max, hand_name(hand));
                return r ? fold(r) : 0;
        }
        while (i < HAND_CHILDREN_MAX && hand->children[i].pid)
                i++;
        hand->answered[i] = 0;
        request->answered = &hand->answered[i];

        pid_t pid = fork();
        if (pid == 0)
                _exit(hand_child_run(hand, request));
        if (pid < 0) {
                int r = negative_errno();
                log_warning("%s: cannot fork: %s", request->row->name, strerror(-r));
                if (request->row->kind == ROW_KIND_REQUEST)
                        (void)hand_fail(hand->edge_fd, request, GRPC_STATUS_RESOURCE_EXHAUSTED,
                                        "%s: %s cannot start a process for it (%s); try again", request->row->name,
                                        hand_name(hand), strerror(-r));
                return 0;
        }
        hand->children[i] = (HandChild){
                .pid = pid,
                .row = request->row,
                .header = request->frame.header,
                .generation = hand->generation,
        };
        hand->n_children++;
        return 0;
}

static void hand_lose_edge(Hand *hand, bool violation)
{
        const ControlEdgeLost lost = {.edge = hand->spec->edge, .generation = hand->generation, .violation = violation};

        hand->edge_fd = fd_close(hand->edge_fd);
        (void)control_send(hand->control_fd, CONTROL_EDGE_LOST, &lost, NULL, 0, -1);
}

/* A violation or the brain's end: linkd restarts or re-wires whoever it was. */
static int hand_on_edge_readable(Hand *hand)
{
        HandRequest request = HAND_REQUEST_NULL;
        const TopologyEdge *edge = &topology_edges[hand->spec->edge];
        EdgeSide peer = edge->ends[EDGE_SIDE_A] == hand->spec->process ? EDGE_SIDE_B : EDGE_SIDE_A;

        int r = hand_receive(hand->edge_fd, hand->spec->schema, peer, &request);
        if (r == 0) {
                r = hand->spec->fork_per_request ? hand_fork(hand, &request) : hand_call(hand, &request);
                hand_request_done(&request);
                return r ? fold(r) : 0;
        }
        hand_request_done(&request);
        if (r < 0)
                return fold(r);
        if (r == WIRE_E_AGAIN)
                return 0;
        if (r != WIRE_E_EOF)
                log_warning("edge %s: the peer broke the protocol (%s); closing it", edge->name, wire_outcome_name(r));
        hand_lose_edge(hand, r != WIRE_E_EOF);
        return 0;
}

static void hand_child_answer_for(Hand *hand, const HandChild *child, int status)
{
        const HandRequest request = {.row = child->row, .frame = {.header = child->header}};
        char how[64];

        if (WIFSIGNALED(status))
                (void)snprintf(how, sizeof(how), "signal %d", WTERMSIG(status));
        else
                (void)snprintf(how, sizeof(how), "exit code %d", WEXITSTATUS(status));
        log_error("%s: the child that handled it ended without an answer (%s)", child->row->name, how);
        if (child->row->kind == ROW_KIND_REQUEST && child->generation == hand->generation && hand->edge_fd >= 0)
                (void)hand_fail(hand->edge_fd, &request, GRPC_STATUS_INTERNAL,
                                "%s: the process of %s that handled it ended without an answer (%s); see its log",
                                child->row->name, hand_name(hand), how);
}

static void hand_reap(Hand *hand)
{
        pid_t pid;
        int status;

        while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
                size_t i = 0;

                while (i < HAND_CHILDREN_MAX && hand->children[i].pid != pid)
                        i++;
                if (i == HAND_CHILDREN_MAX) {
                        if (hand->spec->on_child)
                                hand->spec->on_child(hand->context, pid, status);
                        continue;
                }

                HandChild child = hand->children[i];
                hand->children[i] = (HandChild){0};
                hand->n_children--;
                if (!hand->answered[i] && !(child.row->kind == ROW_KIND_EVENT && WIFEXITED(status) &&
                                            WEXITSTATUS(status) == 0))
                        hand_child_answer_for(hand, &child, status);
        }
}

static void hand_on_signal(Hand *hand)
{
        struct signalfd_siginfo info;

        while (read(hand->signal_fd, &info, sizeof(info)) == sizeof(info)) {
                if (info.ssi_signo == SIGCHLD)
                        continue; /* reaped below, once for all of them */
                log_info("stopping: %s", strsignal((int)info.ssi_signo));
                hand->stopping = true;
        }
        hand_reap(hand);
}

static int hand_loop(Hand *hand)
{
        bool quiet = true;

        /* What runs is finished and answered before the end; linkd-start's patience bounds that. */
        while (!hand->stopping || hand->n_children > 0) {
                bool full = hand->n_children == HAND_CHILDREN_MAX;
                struct pollfd fds[] = {
                        {.fd = hand->signal_fd, .events = POLLIN},
                        {.fd = hand->stopping ? -1 : hand->control_fd, .events = POLLIN},
                        {.fd = hand->stopping || full ? -1 : hand->edge_fd, .events = POLLIN},
                };
                int r;

                /* A process that has nothing to do is not woken up: the wait ends by itself once after each work. */
                int n_ready = poll(fds, ARRAY_SIZE(fds), quiet ? -1 : PAGES_QUIET_MSEC);
                if (n_ready < 0) {
                        if (errno == EINTR)
                                continue;
                        return error_origin(negative_errno());
                }
                quiet = n_ready == 0;
                if (quiet)
                        pages_give_back();
                if (fds[0].revents)
                        hand_on_signal(hand);
                if (fds[1].revents) {
                        uint32_t before = hand->generation;

                        r = hand_on_control(hand);
                        if (r)
                                return fold(r);
                        if (hand->generation != before)
                                continue; /* what poll said was about the old edge */
                }
                if (fds[2].revents && !hand->stopping && hand->edge_fd >= 0) {
                        r = hand_on_edge_readable(hand);
                        if (r)
                                return fold(r);
                }
        }
        return 0;
}

static int hand_run(Hand *hand)
{
        const HandSpec *spec = hand->spec;
        const ControlState ready = {.row_state = ROW_STATE_READY};
        int r;

        if (spec->fork_per_request) {
                void *page = mmap(NULL, HAND_CHILDREN_MAX * sizeof(uint32_t), PROT_READ | PROT_WRITE,
                                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
                if (page == MAP_FAILED)
                        return error_origin(negative_errno());
                hand->answered = page;
        }
        r = hand_configure(hand);
        if (r)
                return fold(r);
        r = hand_prepare_signals(hand);
        if (r)
                return fold(r);
        if (spec->acquire) {
                r = spec->acquire(hand->context);
                if (r)
                        return fold(r);
        }
        r = policy_enter((PolicyId)spec->process, &hand->endowment.common);
        if (r)
                return fold(r);
        if (spec->ready) {
                r = spec->ready(hand->context);
                if (r)
                        return fold(r);
        }
        (void)control_send(hand->control_fd, CONTROL_STATE, &ready, NULL, 0, -1);
        pages_give_back();
        r = hand_loop(hand);
        return r ? fold(r) : 0;
}

static void hand_done(Hand *hand)
{
        hand->edge_fd = fd_close(hand->edge_fd);
        hand->signal_fd = fd_close(hand->signal_fd);
        hand->control_fd = fd_close(hand->control_fd);
        if (hand->answered)
                (void)munmap((void *)(uintptr_t)hand->answered, HAND_CHILDREN_MAX * sizeof(uint32_t));
        endowment_done(&hand->endowment);
        free(hand->context);
        free(hand);
}

int hand_main(const HandSpec *spec, int argc, char **argv)
{
        const char *name = topology_processes[spec->process].name;

        log_init(name, LOG_LEVEL_INFO);
        if (argc == 2 && str_equal(argv[1], "--version")) {
                printf("bulkhead-%s %s\n", name, BULKHEAD_VERSION);
                return 0;
        }
        if (endowment_open_control(spec->process) < 0)
                return 2;

        Hand *hand = calloc(1, sizeof(*hand));
        if (!hand) {
                log_error("cannot start: out of memory");
                return 1;
        }
        hand->spec = spec;
        hand->control_fd = CONTROL_FD;
        hand->signal_fd = -1;
        hand->edge_fd = -1;
        hand->frame.fd = -1;
        hand->context = calloc(1, MAX2(spec->context_size, sizeof(Hand *)));
        int r = hand->context ? 0 : error_origin(-ENOMEM);
        if (r == 0) {
                *(Hand **)hand->context = hand;
                r = hand_run(hand);
        }
        if (r)
                log_error("ending: %s", error_trace());
        hand_done(hand);
        return r ? 1 : 0;
}

const ConfigCommon *hand_config(const Hand *hand)
{
        return &hand->endowment.common;
}

const void *hand_section(const Hand *hand, size_t size)
{
        return endowment_section(&hand->endowment, hand_name(hand), size);
}

const uint8_t *hand_permit_key(const Hand *hand)
{
        return endowment_key(&hand->endowment, CONTROL_KEY_PERMIT);
}

const uint8_t *hand_statement_key(const Hand *hand)
{
        return endowment_key(&hand->endowment, CONTROL_KEY_STATEMENT);
}

int hand_spend(const Hand *hand, const char *id)
{
        int r = spent_add(hand_config(hand)->runtime_dir, id, clock_boottime_usec());
        return r < 0 ? fold(r) : 0;
}

int hand_check_spent(const Hand *hand, const char *id)
{
        int r = spent_check(hand_config(hand)->runtime_dir, id, clock_boottime_usec());
        return r < 0 ? fold(r) : r;
}

int hand_take_fd(Hand *hand, const char *name)
{
        return endowment_take_fd(&hand->endowment, name);
}
