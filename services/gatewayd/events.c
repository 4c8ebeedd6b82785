/* SPDX-License-Identifier: Apache-2.0 */

/* containerd tells of containers, sandboxd of pods, each in order and only while somebody listens. An event of the one needs the other's
 * half of the answer (the pod's status, the containers' statuses): it is asked for at once, and events wait for theirs in the order in
 * which they came. CRI has no message for "something is missing", so a gap ends the stream with a status: kubelets then list anew and
 * subscribe again. That is what happens when a brain is restarted, when events were lost on the way, and, to the one that does it alone,
 * when a subscriber does not read. */

#include "ipc/cri/api.pb-c.h" /* before stdio.h: fields of CRI messages are named stdout and stderr */
#include "services/gatewayd/events.h"

#include "ipc/decode.h"
#include "ipc/edges/gatewayd-containerd.rows.h"
#include "ipc/edges/gatewayd-sandboxd.rows.h"
#include "lib/error.h"
#include "lib/log.h"
#include "services/gatewayd/gatewayd.h"

#define EVENTS_SUBSCRIBERS_MAX 32
#define EVENTS_UNREAD_BYTES_MAX (256 * 1024) /* of one subscriber; all of them leave room for everybody else's calls */
#define EVENTS_PENDING_MAX 1024
#define EVENTS_PENDING_BYTES_MAX (16 * 1024 * 1024) /* of events and answers, as received and decoded */
#define EVENTS_ANSWER_USEC (2 * USEC_PER_SEC) /* then an event goes out with the half that is known */
#define EVENTS_AGAIN "; list pods and containers, and subscribe again"

typedef struct Subscriber {
        Pending pending; /* first */
        List link;       /* Events.subscribers */
        Gatewayd *gatewayd;
        GrpcCall *call;
        uint64_t from; /* the first event that is its own */
} Subscriber;

typedef struct Event {
        List link; /* Events.pending */
        Gatewayd *gatewayd;
        uint64_t number;
        const Runtime__V1__ContainerEventResponse *told; /* in the frame */
        Frame *frame;                                    /* owned */
        Frame *answer;                                   /* owned; the other half; NULL: none yet, or it cannot be had */
        Channel *asked;                                  /* borrowed */
        uint32_t request_id;                             /* 0: nobody is asked any more */
        BudgetCharge charge;                             /* of frame and answer */
} Event;

static Event *event_done(Event *event)
{
        Events *events = &event->gatewayd->events;
        if (event->request_id)
                channel_cancel(event->asked, event->request_id);
        list_remove(&event->link);
        events->n_pending--;
        budget_release(&event->charge);
        (void)frame_free(event->frame);
        (void)frame_free(event->answer);
        free(event);
        return NULL;
}

static void events_forget(Events *events)
{
        list_for_each_safe(i, n, &events->pending)
                (void)event_done(container_of(i, Event, link));
}

/* Tells the brains whether to tell. Without a peer there is nobody to tell; it is told when it is there. */
static int events_want(Gatewayd *gatewayd, EdgeId edge, bool wanted)
{
        Channel *channel = service_channel(gatewayd->service, edge);
        if (!channel_is_connected(channel))
                return 0;
        if (edge == EDGE_GATEWAYD_CONTAINERD) {
                Bulkhead__GatewaydContainerd__ContainerEventsWanted message = BULKHEAD__GATEWAYD_CONTAINERD__CONTAINER_EVENTS_WANTED__INIT;
                message.wanted = wanted;
                return fold(channel_event(channel, ROW_GATEWAYD_CONTAINERD_CONTAINER_EVENTS_WANTED, &message.base));
        }
        Bulkhead__GatewaydSandboxd__PodEventsWanted message = BULKHEAD__GATEWAYD_SANDBOXD__POD_EVENTS_WANTED__INIT;
        message.wanted = wanted;
        return fold(channel_event(channel, ROW_GATEWAYD_SANDBOXD_POD_EVENTS_WANTED, &message.base));
}

static int events_want_both(Gatewayd *gatewayd, bool wanted)
{
        int r = events_want(gatewayd, EDGE_GATEWAYD_CONTAINERD, wanted);
        return r < 0 ? fold(r) : fold(events_want(gatewayd, EDGE_GATEWAYD_SANDBOXD, wanted));
}

/* ---- subscribers ---- */

static void events_leave(Subscriber *subscriber, GrpcStatus status, const char *text)
{
        Gatewayd *gatewayd = subscriber->gatewayd;
        GrpcCall *call = subscriber->call;
        call->userdata = NULL;
        list_remove(&subscriber->link);
        free(subscriber);
        if (--gatewayd->events.n_subscribers == 0) {
                events_forget(&gatewayd->events);
                if (events_want_both(gatewayd, false) < 0)
                        log_warning("events that nobody wants are not switched off: %s", error_trace());
        }
        grpc_call_fail(call, status, text);
}

static void events_on_cancel(Pending *pending)
{
        events_leave(container_of(pending, Subscriber, pending), GRPC_STATUS_CANCELLED, "nobody listens any more");
}

static void events_leave_all(Gatewayd *gatewayd, GrpcStatus status, const char *text)
{
        events_forget(&gatewayd->events);
        list_for_each_safe(i, n, &gatewayd->events.subscribers)
                events_leave(container_of(i, Subscriber, link), status, text);
}

/* Somebody who is left began early enough for this event. They are in the order in which they began. */
static bool events_is_wanted(const Events *events, uint64_t number)
{
        const Subscriber *oldest = list_first(&events->subscribers, Subscriber, link);
        return oldest && oldest->from <= number;
}

/* Whoever has listened longest waits for most; what only it still waited for goes with it. */
static void events_leave_oldest(Gatewayd *gatewayd)
{
        Events *events = &gatewayd->events;
        Subscriber *oldest = list_first(&events->subscribers, Subscriber, link);
        if (!oldest)
                return;
        log_warning("%zu events wait and take %zu bytes: the client that has listened longest is told that it misses some", events->n_pending,
                    events->held.used_bytes);
        events_leave(oldest, GRPC_STATUS_DATA_LOSS,
                     "GetContainerEvents: more happened than could be told" EVENTS_AGAIN);
        list_for_each_safe(i, n, &events->pending) {
                Event *event = container_of(i, Event, link);
                if (!events_is_wanted(events, event->number))
                        (void)event_done(event);
        }
}

/* What a frame takes while an event holds it. False: there was no room, and the event is gone with those that waited for it. */
static bool events_charge(Event *event, const Frame *frame)
{
        Gatewayd *gatewayd = event->gatewayd;
        Events *events = &gatewayd->events;
        uint64_t number = event->number;
        while (events->n_pending > EVENTS_PENDING_MAX ||
               !budget_charge(&events->held, &event->charge, frame->wire.header.length + frame->arena.used_bytes)) {
                events_leave_oldest(gatewayd);
                if (!events_is_wanted(events, number))
                        return false;
        }
        return true;
}

int events_subscribe(Gatewayd *gatewayd, GrpcCall *call)
{
        Events *events = &gatewayd->events;
        static const EdgeId edges[] = {EDGE_GATEWAYD_CONTAINERD, EDGE_GATEWAYD_SANDBOXD};
        if (events->is_stopping) {
                grpc_call_fail(call, GRPC_STATUS_UNAVAILABLE, "GetContainerEvents: the runtime is shutting down");
                return 0;
        }
        if (events->n_subscribers >= EVENTS_SUBSCRIBERS_MAX) {
                grpc_call_fail(call, GRPC_STATUS_RESOURCE_EXHAUSTED, "GetContainerEvents: too many clients listen already; end one of them");
                return 0;
        }
        for (size_t i = 0; i < ARRAY_SIZE(edges); i++)
                if (!channel_is_connected(service_channel(gatewayd->service, edges[i]))) {
                        grpc_call_fail(call, GRPC_STATUS_UNAVAILABLE, "GetContainerEvents: a daemon is being restarted; try again");
                        return 0;
                }
        Subscriber *subscriber = calloc(1, sizeof(*subscriber));
        if (!subscriber)
                return error_origin(-ENOMEM);
        *subscriber = (Subscriber){.pending = {.cancel = events_on_cancel}, .gatewayd = gatewayd, .call = call, .from = events->number + 1};
        list_append(&events->subscribers, &subscriber->link);
        call->userdata = &subscriber->pending;
        grpc_call_drop_request(call);
        if (++events->n_subscribers == 1) {
                int r = events_want_both(gatewayd, true);
                if (r < 0)
                        return fold(r);
        }
        grpc_call_begin(call);
        return 0;
}

/* Those who do not read are told so, and hold up nobody. */
static int events_send(Subscriber *subscriber, const uint8_t *packed, size_t n)
{
        GrpcCall *call = subscriber->call;
        int r = GRPC_CALL_E_FULL;
        if (call->queued_bytes == 0 || call->queued_bytes + n <= EVENTS_UNREAD_BYTES_MAX) {
                void *copy = malloc(MAX2(n, (size_t)1));
                if (!copy)
                        return error_origin(-ENOMEM);
                memcpy(copy, packed, n);
                r = grpc_call_send(call, copy, n);
                if (r != 0)
                        free(copy);
        }
        if (r != 0)
                events_leave(subscriber, GRPC_STATUS_DATA_LOSS, "GetContainerEvents: events are missing, for they were not read in time" EVENTS_AGAIN);
        return 0;
}

/* ---- events ---- */

static int events_deliver(Event *event)
{
        Events *events = &event->gatewayd->events;
        Runtime__V1__ContainerEventResponse response = *event->told;
        const ProtobufCMessage *answer = event->answer ? event->answer->message : NULL;
        _cleanup_free_ uint8_t *packed = NULL;
        size_t n = 0;
        if (answer && answer->descriptor == &runtime__v1__pod_sandbox_status_response__descriptor)
                response.pod_sandbox_status = container_of(answer, Runtime__V1__PodSandboxStatusResponse, base)->status;
        else if (answer) {
                const Bulkhead__GatewaydContainerd__PodStatusesResponse *statuses =
                        container_of(answer, Bulkhead__GatewaydContainerd__PodStatusesResponse, base);
                response.n_containers_statuses = statuses->n_statuses;
                response.containers_statuses = statuses->statuses;
        }
        int r = decode_pack(&response.base, &packed, &n);
        list_for_each_safe(i, next, &events->subscribers) {
                Subscriber *subscriber = container_of(i, Subscriber, link);
                if (r == 0 && event->number >= subscriber->from)
                        r = events_send(subscriber, packed, n);
        }
        return r < 0 ? fold(r) : 0;
}

/* The last subscriber that leaves takes the events with it. */
static int events_pump(Gatewayd *gatewayd)
{
        Events *events = &gatewayd->events;
        for (;;) {
                Event *event = list_first(&events->pending, Event, link);
                if (!event || event->request_id)
                        return 0;
                uint64_t number = event->number;
                int r = events_deliver(event);
                if (r < 0)
                        return fold(r);
                event = list_first(&events->pending, Event, link);
                if (event && event->number == number)
                        (void)event_done(event);
        }
}

static int events_on_answer(void *userdata, const Answer *answer)
{
        Event *event = userdata;
        Gatewayd *gatewayd = event->gatewayd;
        event->request_id = 0;
        if (answer->outcome == 0 && events_charge(event, answer->frame))
                event->answer = frame_keep(answer->frame);
        return fold(events_pump(gatewayd));
}

static int events_ask(Event *event, const char *pod_id, bool is_container)
{
        uint64_t deadline = clock_monotonic_usec() + EVENTS_ANSWER_USEC;
        Service *service = event->gatewayd->service;
        if (is_container) {
                Runtime__V1__PodSandboxStatusRequest request = RUNTIME__V1__POD_SANDBOX_STATUS_REQUEST__INIT;
                request.pod_sandbox_id = (char *)pod_id;
                event->asked = service_channel(service, EDGE_GATEWAYD_SANDBOXD);
                return fold(channel_call(event->asked, ROW_GATEWAYD_SANDBOXD_POD_SANDBOX_STATUS, &request.base, NULL, 0, deadline,
                                         events_on_answer, event, &event->request_id));
        }
        Bulkhead__GatewaydContainerd__PodStatusesRequest request = BULKHEAD__GATEWAYD_CONTAINERD__POD_STATUSES_REQUEST__INIT;
        request.pod_id = (char *)pod_id;
        event->asked = service_channel(service, EDGE_GATEWAYD_CONTAINERD);
        return fold(channel_call(event->asked, ROW_GATEWAYD_CONTAINERD_POD_STATUSES, &request.base, NULL, 0, deadline, events_on_answer,
                                 event, &event->request_id));
}

static int events_take(Gatewayd *gatewayd, EdgeId edge, Frame *frame, uint64_t sequence, const char *pod_id,
                       const Runtime__V1__ContainerEventResponse *told)
{
        Events *events = &gatewayd->events;
        uint64_t last = events->sequences[edge];
        events->sequences[edge] = sequence;
        if (events->n_subscribers == 0 || !told)
                return 0;
        if (last != 0 && sequence != last + 1) {
                log_warning("events were lost between %s and here; whoever listens is told", topology_edges[edge].name);
                events_leave_all(gatewayd, GRPC_STATUS_DATA_LOSS, "GetContainerEvents: more happened than could be told" EVENTS_AGAIN);
                return 0;
        }
        Event *event = calloc(1, sizeof(*event));
        if (!event)
                return error_origin(-ENOMEM);
        *event = (Event){.gatewayd = gatewayd, .number = ++events->number, .told = told, .frame = frame_keep(frame)};
        list_append(&events->pending, &event->link);
        events->n_pending++;
        if (!events_charge(event, frame))
                return 0;
        return fold(events_ask(event, pod_id, edge == EDGE_GATEWAYD_CONTAINERD));
}

int on_container_event(void *userdata, Frame *frame)
{
        const Bulkhead__GatewaydContainerd__ContainerEvent *notice =
                container_of(frame->message, Bulkhead__GatewaydContainerd__ContainerEvent, base);
        return fold(events_take(userdata, EDGE_GATEWAYD_CONTAINERD, frame, notice->sequence, notice->pod_id, notice->event));
}

int on_pod_event(void *userdata, Frame *frame)
{
        const Bulkhead__GatewaydSandboxd__PodEvent *notice = container_of(frame->message, Bulkhead__GatewaydSandboxd__PodEvent, base);
        return fold(events_take(userdata, EDGE_GATEWAYD_SANDBOXD, frame, notice->sequence, notice->pod_id, notice->event));
}

/* ---- */

int events_on_changed(Gatewayd *gatewayd, EdgeId edge, bool connected)
{
        gatewayd->events.sequences[edge] = 0;
        if (gatewayd->events.n_subscribers == 0)
                return 0;
        if (connected)
                return fold(events_want(gatewayd, edge, true));
        events_leave_all(gatewayd, GRPC_STATUS_UNAVAILABLE,
                         edge == EDGE_GATEWAYD_CONTAINERD ? "GetContainerEvents: containerd is being restarted, events may be missing" EVENTS_AGAIN
                                                          : "GetContainerEvents: sandboxd is being restarted, events may be missing" EVENTS_AGAIN);
        return 0;
}

void events_stop(Gatewayd *gatewayd)
{
        gatewayd->events.is_stopping = true;
        events_leave_all(gatewayd, GRPC_STATUS_UNAVAILABLE, "GetContainerEvents: the runtime is shutting down" EVENTS_AGAIN);
}

void events_init(Events *events)
{
        list_init(&events->subscribers);
        list_init(&events->pending);
        events->held.limit_bytes = EVENTS_PENDING_BYTES_MAX;
}

/* After the server is gone, which has ended every call. */
void events_done(Events *events)
{
        if (events->pending.next)
                events_forget(events);
}
