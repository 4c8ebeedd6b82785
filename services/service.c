/* SPDX-License-Identifier: Apache-2.0 */

/* The order, for every brain alike: log, control channel on fd 3, configuration and keys and named fds until `go`, the
 * acquire hook (still as it was started), confinement, channels, the ready hook, the loop. linkd speaks first and only
 * fixed frames, so nothing is parsed before confinement. Edges are installed in the loop, whenever linkd sends one; a new
 * generation replaces the old one inside the channel. */

#include "services/service.h"
#include "ipc/control.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/pages.h"
#include "policy/policy.h"
#include "services/endowment.h"
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SERVICE_QUIET_USEC (PAGES_QUIET_MSEC * (USEC_PER_SEC / 1000))

#define SERVICE_SLICE_NSEC UINT64_C(200000)

struct Service {
        const ServiceSpec *spec; /* borrowed; a constant of main */
        void *context;           /* owned */
        struct event_base *base; /* owned */
        struct event *control_event; /* owned */
        struct event *signal_event;  /* owned */
        struct event *quiet_event;   /* owned */
        int control_fd;              /* owned */
        int signal_fd;               /* owned */
        Channel *channels[EDGE_N];   /* owned; NULL where the process has no such edge */
        uint32_t generations[EDGE_N]; /* as linkd said them */
        uint64_t violations[EDGE_N];  /* reported to linkd already */
        Endowment endowment;
        uint32_t row_state;
        bool is_stopping; /* asked to; perhaps not done with it */
        bool was_timer;   /* in this turn of the loop the quiet timer went off */
        uint64_t worked_usec; /* when there was last something to do */
        int result;
        ControlFrame frame;
};

static const char *service_name(const Service *service)
{
        return topology_processes[service->spec->process].name;
}

static int service_on_edge(Service *service, ControlFrame *frame)
{
        const ControlEdge *edge = &frame->edge;

        if (edge->edge >= EDGE_N || !service->channels[edge->edge])
                return error_origin(-EPROTO);
        log_debug("edge %s has generation %u", topology_edges[edge->edge].name, edge->generation);
        /* Replacing reports the old generation as lost, which linkd knows and ignores. */
        int r = channel_connect(service->channels[edge->edge], TAKE_FD(frame->fd), edge->generation);
        service->generations[edge->edge] = edge->generation;
        return r ? fold(r) : 0;
}

/* Between the channel and the service's own hook: linkd learns that an edge ended while both processes live. */
static void service_on_changed(void *userdata, Channel *channel, bool connected)
{
        Service *service = *(Service **)userdata;

        for (size_t i = 0; i < service->spec->n_edges; i++) {
                const ServiceEdge *edge = &service->spec->edges[i];
                EdgeId id = edge->schema->edge;
                uint64_t violations;

                if (service->channels[id] != channel)
                        continue;
                violations = channel_violations(channel);
                if (!connected && service->row_state != ROW_STATE_STOPPING) {
                        const ControlEdgeLost lost = {
                                .edge = id,
                                .generation = service->generations[id],
                                .violation = violations > service->violations[id],
                        };
                        service->violations[id] = violations;
                        if (lost.violation)
                                log_warning("edge %s: %s", topology_edges[id].name, channel_why(channel));
                        else
                                log_info("edge %s: %s", topology_edges[id].name, channel_why(channel));
                        (void)control_send(service->control_fd, CONTROL_EDGE_LOST, &lost, NULL, 0, -1);
                }
                if (edge->on_changed)
                        edge->on_changed(userdata, channel, connected);
        }
}

static void service_on_failed(void *userdata, Channel *channel, int r)
{
        (void)channel;
        service_fail(*(Service **)userdata, r);
}

/* Ends the loop cleanly: a daemon that is stopped keeps nothing open that the next one needs. */
static int service_on_stop(Service *service, const char *why, bool may_wait)
{
        bool is_first = !service->is_stopping;

        log_info("stopping: %s", why);
        service->is_stopping = true;
        if (may_wait && is_first && service->spec->stop && service->row_state == ROW_STATE_READY) {
                int r = service->spec->stop(service->context);
                if (r < 0)
                        return fold(r);
                if (r == SERVICE_E_LATER)
                        return 0;
        }
        service_stopped(service);
        return 0;
}

void service_stopped(Service *service)
{
        service->row_state = ROW_STATE_STOPPING;
        (void)event_base_loopbreak(service->base);
}

static int service_on_frame(Service *service, ControlFrame *frame)
{
        bool is_reload = frame->type == CONTROL_CONFIG && service->endowment.configured;

        int r = endowment_take(&service->endowment, frame);
        if (r == 0 && is_reload && service->spec->reload)
                return service->spec->reload(service->context);
        if (r != ENDOWMENT_E_OTHER)
                return r ? fold(r) : 0;
        if (frame->type == CONTROL_GO)
                return 0;
        if (frame->type == CONTROL_EDGE)
                return service_on_edge(service, frame);
        if (frame->type == CONTROL_STOP)
                return fold(service_on_stop(service, "linkd asked", true));
        return error_origin(-EPROTO);
}

static int service_receive(Service *service, bool wait)
{
        int r = control_receive(service->control_fd, wait, &service->frame);
        if (r == CONTROL_E_MALFORMED)
                return error_origin(-EPROTO);
        if (r)
                return r < 0 ? fold(r) : r;

        r = service_on_frame(service, &service->frame);
        service->frame.fd = fd_close(service->frame.fd);
        explicit_bzero(service->frame.bytes, MIN2(service->frame.length, sizeof(service->frame.bytes)));
        return r ? fold(r) : 0;
}

static void service_on_control(evutil_socket_t fd, short what, void *userdata)
{
        Service *service = userdata;
        int r;

        while (service->row_state != ROW_STATE_STOPPING && (r = service_receive(service, false)) != CONTROL_E_AGAIN) {
                if (r == CONTROL_E_EOF)
                        /* linkd-start holds a duplicate of the other end across restarts of linkd: both are gone, and
                         * nobody could ever wire us again. The next suite needs our database and our place. */
                        (void)service_on_stop(service, "linkd and linkd-start are gone", false);
                if (r < 0)
                        service_fail(service, r);
                if (r)
                        break;
        }
}

static void service_on_signal(evutil_socket_t fd, short what, void *userdata)
{
        struct signalfd_siginfo info;

        if (read(fd, &info, sizeof(info)) != sizeof(info))
                return;
        int r = service_on_stop(userdata, strsignal((int)info.ssi_signo), true);
        if (r < 0)
                service_fail(userdata, r);
}

/* Until `go` linkd has the word; the process has done nothing yet. */
static int service_configure(Service *service)
{
        const ControlHello hello = {
                .process = service->spec->process, .pid = getpid(), .version = BULKHEAD_VERSION};

        int r = control_send(service->control_fd, CONTROL_HELLO, &hello, NULL, 0, -1);
        if (r)
                return error_origin(r < 0 ? r : -ENOTCONN);
        do {
                r = service_receive(service, true);
                if (r)
                        return r < 0 ? fold(r) : error_origin(-ENOTCONN);
        } while (service->frame.type != CONTROL_GO);
        return service->endowment.configured ? 0 : error_origin(-EPROTO);
}

/* The timer is set by work, once, and goes off for the last time when there has been none for long enough: a process that has
 * nothing to do is not woken up. */
static void service_on_quiet(evutil_socket_t fd, short what, void *userdata)
{
        Service *service = userdata;
        uint64_t since_usec = clock_monotonic_usec() - service->worked_usec;

        service->was_timer = true;
        if (since_usec < SERVICE_QUIET_USEC) {
                const struct timeval rest = {.tv_sec = (time_t)((SERVICE_QUIET_USEC - since_usec) / USEC_PER_SEC),
                                             .tv_usec = (suseconds_t)((SERVICE_QUIET_USEC - since_usec) % USEC_PER_SEC)};
                (void)event_add(service->quiet_event, &rest);
                return;
        }
        if (service->spec->quiet)
                service->spec->quiet(service->context);
        pages_give_back();
}

/* Before confinement: signalfd4 and epoll_create1 are among what the filters still allow, but SIGTERM must be blocked
 * early, so that a stop during recovery is an orderly one. */
static int service_prepare_loop(Service *service)
{
        struct event_config *config = event_config_new();
        sigset_t set;

        if (!config)
                return error_origin(-ENOMEM);
        (void)event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV |
                                                    EVENT_BASE_FLAG_PRECISE_TIMER);
        service->base = event_base_new_with_config(config);
        event_config_free(config);
        if (!service->base)
                return error_origin(-ENOMEM);

        (void)signal(SIGPIPE, SIG_IGN);
        (void)sigemptyset(&set);
        (void)sigaddset(&set, SIGTERM);
        (void)sigaddset(&set, SIGINT);
        (void)sigaddset(&set, SIGHUP);
        if (sigprocmask(SIG_SETMASK, &set, NULL) < 0)
                return error_origin(negative_errno());
        (void)sigdelset(&set, SIGHUP); /* blocked and ignored: a hang-up of the terminal is not for daemons */
        service->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        if (service->signal_fd < 0)
                return error_origin(negative_errno());

        service->control_event =
                event_new(service->base, service->control_fd, EV_READ | EV_PERSIST, service_on_control, service);
        service->signal_event =
                event_new(service->base, service->signal_fd, EV_READ | EV_PERSIST, service_on_signal, service);
        service->quiet_event = evtimer_new(service->base, service_on_quiet, service);
        if (!service->control_event || !service->signal_event || !service->quiet_event || event_add(service->control_event, NULL) < 0 ||
            event_add(service->signal_event, NULL) < 0)
                return error_origin(-ENOMEM);
        return 0;
}

static int service_make_channels(Service *service)
{
        for (size_t i = 0; i < service->spec->n_edges; i++) {
                const ServiceEdge *edge = &service->spec->edges[i];
                EdgeId id = edge->schema->edge;
                const TopologyEdge *topology = &topology_edges[id];
                bool is_a = topology->ends[EDGE_SIDE_A] == service->spec->process;

                if (!is_a && topology->ends[EDGE_SIDE_B] != service->spec->process)
                        return error_origin(-EINVAL);
                if (topology->how != EDGE_HOW_WIRED)
                        continue; /* one channel per spawned peer, made by the service itself */

                const ChannelSpec spec = {
                        .schema = edge->schema,
                        .side = is_a ? EDGE_SIDE_A : EDGE_SIDE_B,
                        .handlers = edge->handlers,
                        .on_cancelled = edge->on_cancelled,
                        .on_changed = service_on_changed,
                        .on_failed = service_on_failed,
                        .userdata = service->context,
                };
                int r = channel_new(&service->channels[id], service->base, &spec);
                if (r)
                        return fold(r);
                channel_set_state(service->channels[id], service->row_state);
        }
        return 0;
}

/* Turn by turn, to see when there is nothing to do. A turn in which the timer went off is none of work. */
static int service_work(Service *service)
{
        static const struct timeval quiet = {.tv_sec = SERVICE_QUIET_USEC / USEC_PER_SEC, .tv_usec = SERVICE_QUIET_USEC % USEC_PER_SEC};

        /* A failure reported during ready would be forgotten by the loop's own start. */
        while (!service->result) {
                service->was_timer = false;
                int r = event_base_loop(service->base, EVLOOP_ONCE);
                if (r < 0)
                        return error_origin(-EIO);
                if (r > 0 || event_base_got_break(service->base))
                        break;
                if (service->was_timer)
                        continue;
                service->worked_usec = clock_monotonic_usec();
                if (!evtimer_pending(service->quiet_event, NULL))
                        (void)event_add(service->quiet_event, &quiet);
        }
        return service->result ? fold(service->result) : 0;
}

/* Since Linux 6.12 a short time slice is a wish to run soon after waking up, at the price of running for a short time: what kubelets ask
 * passes through several of us, and on a busy node each waits in line. The share of the processor stays the same. Older kernels do
 * not know it, and nothing depends on it. */
static void service_wish_promptness(void)
{
        struct {
                uint32_t size, policy;
                uint64_t flags;
                int32_t nice;
                uint32_t priority;
                uint64_t runtime, deadline, period; /* ns */
        } attributes = {.size = sizeof(attributes), .runtime = SERVICE_SLICE_NSEC};

        errno = 0;
        attributes.nice = getpriority(PRIO_PROCESS, 0);
        if (errno == 0)
                (void)syscall(SYS_sched_setattr, 0, &attributes, 0);
}

static int service_run(Service *service)
{
        const ServiceSpec *spec = service->spec;
        int r;

        if (sodium_init() < 0)
                return error_origin(-EIO);
        r = service_configure(service);
        if (r)
                return fold(r);
        r = service_prepare_loop(service);
        if (r)
                return fold(r);
        if (spec->is_prompt)
                service_wish_promptness();
        if (spec->acquire) {
                r = spec->acquire(service->context);
                if (r)
                        return fold(r);
        }
        r = policy_enter((PolicyId)spec->process, &service->endowment.common);
        if (r)
                return fold(r);
        r = service_make_channels(service);
        if (r)
                return fold(r);
        service_set_state(service, ROW_STATE_RECOVERING);
        if (spec->ready) {
                r = spec->ready(service->context);
                if (r)
                        return fold(r);
        }
        r = service_work(service);
        return r ? fold(r) : 0;
}

static void service_done(Service *service)
{
        if (service->context && service->spec->release)
                service->spec->release(service->context);
        for (size_t i = 0; i < EDGE_N; i++)
                channel_free(service->channels[i]);
        if (service->control_event)
                event_free(service->control_event);
        if (service->signal_event)
                event_free(service->signal_event);
        if (service->quiet_event)
                event_free(service->quiet_event);
        if (service->base)
                event_base_free(service->base);
        service->signal_fd = fd_close(service->signal_fd);
        service->control_fd = fd_close(service->control_fd);
        endowment_done(&service->endowment);
        free(service->context);
        free(service);
}

int service_main(const ServiceSpec *spec, int argc, char **argv)
{
        const char *name = topology_processes[spec->process].name;

        log_init(name, LOG_LEVEL_INFO);
        if (argc == 2 && str_equal(argv[1], "--version")) {
                printf("bulkhead-%s %s\n", name, BULKHEAD_VERSION);
                return 0;
        }
        if (endowment_open_control(spec->process) < 0)
                return 2;

        Service *service = calloc(1, sizeof(*service));
        if (!service) {
                log_error("cannot start: out of memory");
                return 1;
        }
        service->spec = spec;
        service->control_fd = CONTROL_FD;
        service->signal_fd = -1;
        service->row_state = ROW_STATE_RECOVERING;
        service->frame.fd = -1;
        service->context = calloc(1, MAX2(spec->context_size, sizeof(Service *)));
        int r = service->context ? 0 : error_origin(-ENOMEM);
        if (r == 0) {
                *(Service **)service->context = service;
                r = service_run(service);
        }
        if (r)
                log_error("ending: %s", error_trace());
        service_done(service);
        return r ? 1 : 0;
}

struct event_base *service_loop(Service *service)
{
        return service->base;
}

const ConfigCommon *service_config(const Service *service)
{
        return &service->endowment.common;
}

const void *service_section(const Service *service, size_t size)
{
        return endowment_section(&service->endowment, service_name(service), size);
}

Channel *service_channel(Service *service, EdgeId edge)
{
        return service->channels[edge];
}

const uint8_t *service_permit_key(const Service *service)
{
        return endowment_key(&service->endowment, CONTROL_KEY_PERMIT);
}

const uint8_t *service_statement_key(const Service *service)
{
        return endowment_key(&service->endowment, CONTROL_KEY_STATEMENT);
}

int service_take_fd(Service *service, const char *name)
{
        return endowment_take_fd(&service->endowment, name);
}

static void service_set_channels(Service *service, uint32_t row_state)
{
        service->row_state = row_state;
        for (size_t i = 0; i < EDGE_N; i++)
                if (service->channels[i])
                        channel_set_state(service->channels[i], row_state);
}

void service_serve(Service *service)
{
        service_set_channels(service, ROW_STATE_READY);
}

void service_set_state(Service *service, uint32_t row_state)
{
        const ControlState state = {.row_state = row_state};

        service_set_channels(service, row_state);
        /* If linkd cannot be told now, it is being restarted; it finds out by the edges that work. */
        (void)control_send(service->control_fd, CONTROL_STATE, &state, NULL, 0, -1);
        if (row_state == ROW_STATE_READY) {
                log_debug("ready");
                pages_give_back();
        }
}

void service_fail(Service *service, int r)
{
        service->result = r;
        (void)event_base_loopbreak(service->base);
}
