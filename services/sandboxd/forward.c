/* SPDX-License-Identifier: Apache-2.0 */
#include "services/sandboxd/forward.h"

#include "ipc/edges/gatewayd-sandboxd.pb-c.h"
#include "ipc/edges/sandboxd-setup.h"
#include "ipc/edges/sandboxd-setup.rows.h"
#include "ipc/edges/streamd-sandboxd.pb-c.h"
#include "ipc/edges/streamd-sandboxd.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/log.h"
#include "services/sandboxd/handlers.h"
#include "services/stream-share.h"

#define FORWARD_CONNECT_USEC ((SETUP_CONNECT_MSEC + 5000) * UINT64_C(1000))

typedef struct Forward {
        Token token; /* until it is presented */
        List link;   /* in ForwardTable.forwards */
        ForwardTable *table; /* borrowed; owns us */
        char pod_id[ID_LENGTH + 1];
        Permit permit; /* its id is the session's; the ports are in it */
        bool is_unsure;  /* streamd's edge was lost, and it has not said since that it has the session */
        bool is_resumed; /* it is of an earlier sandboxd: there is no permit but its id */
} Forward;

/* One connection that is asked for. It does not need its session any more. */
typedef struct ForwardCall {
        List link; /* in ForwardTable.calls */
        ForwardTable *table; /* borrowed; owns us */
        ReplyTo to;
        SetupConnect verb;
        bool is_asked;       /* sandboxd-setup makes it; else it waits for its turn */
        uint32_t request_id; /* if so */
} ForwardCall;

static Forward *forward_free(Forward *forward)
{
        forward->table->n_forwards--;
        token_forget(&forward->table->tokens, &forward->token);
        list_remove(&forward->link);
        free(forward);
        return NULL;
}

static ForwardCall *forward_call_free(ForwardCall *call)
{
        call->table->n_calls--;
        list_remove(&call->link);
        free(call);
        return NULL;
}

static void forward_on_expired(void *userdata, Token *token)
{
        (void)userdata;
        (void)forward_free(container_of(token, Forward, token));
}

int forward_table_new(Sandboxd *sandboxd)
{
        ForwardTable *table = calloc(1, sizeof(*table));

        if (!table)
                return error_origin(-ENOMEM);
        table->sandboxd = sandboxd;
        list_init(&table->forwards);
        list_init(&table->calls);
        sandboxd->forwards = table;
        int r = token_table_init(&table->tokens, service_loop(sandboxd->service), forward_on_expired, table);
        return r < 0 ? fold(r) : 0;
}

void forward_table_free(Sandboxd *sandboxd)
{
        ForwardTable *table = sandboxd->forwards;

        if (!table)
                return;
        list_for_each_safe(i, next, &table->forwards)
                (void)forward_free(container_of(i, Forward, link));
        list_for_each_safe(i, next, &table->calls) {
                ForwardCall *call = container_of(i, ForwardCall, link);
                channel_cancel(sandboxd_setup(sandboxd), call->request_id);
                (void)forward_call_free(call);
        }
        token_table_done(&table->tokens);
        free(table);
        sandboxd->forwards = NULL;
}

static Forward *forward_find(ForwardTable *table, const char *session_id)
{
        list_for_each(i, &table->forwards) {
                Forward *forward = container_of(i, Forward, link);
                if (!forward->token.text[0] && str_equal(forward->permit.id, session_id))
                        return forward;
        }
        return NULL;
}

static size_t forward_count(const ForwardTable *table, const char *pod_id)
{
        size_t n = 0;

        list_for_each(i, &table->forwards)
                n += str_equal(container_of(i, Forward, link)->pod_id, pod_id);
        return n;
}

static int forward_check(Sandboxd *sandboxd, const Bulkhead__GatewaydSandboxd__PortForwardCall *call, const Pod *pod,
                         const Permit *permit, Refusal *refusal)
{
        char title[256];

        if (!pod)
                return refusal_set(refusal, GRPC_STATUS_NOT_FOUND, "PortForward: there is no pod \"%.64s\"", permit->pod_id);
        if (!id_is_valid(call->id) || !str_equal(call->id, permit->id) || !str_equal(pod->id, permit->pod_id))
                return refusal_set(refusal, GRPC_STATUS_INTERNAL, "pod %s: its port-forward has no id or permit", pod_title(pod, title));
        if (pod->state != POD_STATE_READY)
                return refusal_set(refusal, GRPC_STATUS_FAILED_PRECONDITION, "pod %s (%.13s) is %s: no port of it can be forwarded",
                                   pod_title(pod, title), pod->id, pod_state_name(pod->state));
        if (forward_count(sandboxd->forwards, pod->id) >= STREAM_FORWARDS_POD_MAX)
                return refusal_set(refusal, GRPC_STATUS_RESOURCE_EXHAUSTED,
                                   "pod %s has %d port-forwards that are open or asked for, which is a pod's share: end some of them",
                                   pod_title(pod, title), STREAM_FORWARDS_POD_MAX);
        if (sandboxd->forwards->n_forwards >= STREAM_FORWARDS_MAX)
                return refusal_set(refusal, GRPC_STATUS_RESOURCE_EXHAUSTED,
                                   "pod %s: all pods together have %d port-forwards that are open or asked for, which is the most there "
                                   "may be: wait until some have ended", pod_title(pod, title), STREAM_FORWARDS_MAX);
        return 0;
}

int on_port_forward(void *userdata, Frame *frame)
{
        Sandboxd *sandboxd = userdata;
        ForwardTable *table = sandboxd->forwards;
        const Bulkhead__GatewaydSandboxd__PortForwardCall *call =
                container_of(frame->message, Bulkhead__GatewaydSandboxd__PortForwardCall, base);
        Runtime__V1__PortForwardResponse response = RUNTIME__V1__PORT_FORWARD_RESPONSE__INIT;
        const ConfigCommon *common = service_config(sandboxd->service);
        char url[sizeof(common->stream_url) + TOKEN_LENGTH + 16];
        Refusal refusal = {0};
        Permit permit;

        if (call->permit.len != sizeof(permit))
                return fold(reply_fail(frame_reply_to(frame), GRPC_STATUS_INTERNAL, "PortForward: the call came without a permit"));
        memcpy(&permit, call->permit.data, sizeof(permit));
        permit.id[ID_LENGTH] = permit.pod_id[ID_LENGTH] = '\0';
        if (forward_check(sandboxd, call, pods_resolve(sandboxd, permit.pod_id), &permit, &refusal))
                return fold(reply_fail(frame_reply_to(frame), refusal.code, "%s", refusal.text));
        Forward *forward = calloc(1, sizeof(*forward));
        if (!forward)
                return error_origin(-ENOMEM);
        *forward = (Forward){.table = table, .permit = permit};
        (void)str_copy(forward->pod_id, sizeof(forward->pod_id), permit.pod_id);
        list_append(&table->forwards, &forward->link);
        table->n_forwards++;
        int r = token_mint(&table->tokens, &forward->token);
        if (r == 0) {
                (void)snprintf(url, sizeof(url), "%s/portforward/%s", common->stream_url, forward->token.text);
                response.url = url;
                return fold(reply_send(frame_reply_to(frame), &response.base, NULL, 0));
        }
        (void)forward_free(forward);
        return r < 0 ? fold(r)
                     : fold(reply_fail(frame_reply_to(frame), GRPC_STATUS_RESOURCE_EXHAUSTED,
                                       "pod %s: %d URLs wait for their clients already; use them, or wait a minute", permit.pod_id,
                                       TOKENS_MAX));
}

int on_forward_open(void *userdata, Frame *frame)
{
        const Sandboxd *sandboxd = userdata;
        const Bulkhead__StreamdSandboxd__ForwardOpen *open =
                container_of(frame->message, Bulkhead__StreamdSandboxd__ForwardOpen, base);
        Bulkhead__StreamdSandboxd__ForwardOpened opened = BULKHEAD__STREAMD_SANDBOXD__FORWARD_OPENED__INIT;
        uint32_t ports[SEAL_PORTS_MAX];
        Token *token = token_present(&sandboxd->forwards->tokens, open->token.data, open->token.len);

        if (!token)
                return fold(reply_fail(frame_reply_to(frame), GRPC_STATUS_NOT_FOUND,
                                       "forward_open: the token is unknown, used or expired; ask for a new URL"));
        Forward *forward = container_of(token, Forward, token);
        opened.session_id = forward->permit.id;
        opened.pod_id = forward->pod_id;
        opened.ports = ports;
        while (opened.n_ports < SEAL_PORTS_MAX && forward->permit.ports[opened.n_ports] != 0) {
                ports[opened.n_ports] = forward->permit.ports[opened.n_ports];
                opened.n_ports++;
        }
        return fold(reply_send(frame_reply_to(frame), &opened.base, NULL, 0));
}

static int forward_calls_ask(ForwardTable *table);

static int forward_on_connected(void *userdata, const Answer *answer)
{
        ForwardCall *call = userdata;
        ForwardTable *table = call->table;
        Bulkhead__StreamdSandboxd__ForwardConnected connected = BULKHEAD__STREAMD_SANDBOXD__FORWARD_CONNECTED__INIT;
        int r;

        if (answer->outcome)
                r = reply_fail(call->to, answer->code, "%s", answer->text);
        else
                r = reply_send(call->to, &connected.base, answer->frame->wire.fds, 1);
        (void)forward_call_free(call);
        if (r == 0)
                r = forward_calls_ask(table);
        return r < 0 ? fold(r) : 0;
}

static size_t forward_calls_count(const ForwardTable *table, const char *pod_id, bool only_asked)
{
        size_t n = 0;

        list_for_each(i, &table->calls) {
                const ForwardCall *call = container_of(i, ForwardCall, link);
                n += (call->is_asked || !only_asked) && (!pod_id || str_equal(call->verb.permit.pod_id, pod_id));
        }
        return n;
}

/* Has sandboxd-setup make those whose turn it is: the first come, but of each pod only so many that a pod which takes no connection
 * does not hold up the others. */
static int forward_calls_ask(ForwardTable *table)
{
        size_t n_asked = forward_calls_count(table, NULL, true);

        list_for_each(i, &table->calls) {
                ForwardCall *call = container_of(i, ForwardCall, link);
                if (n_asked >= STREAM_CONNECTS_MAX)
                        break;
                if (call->is_asked || forward_calls_count(table, call->verb.permit.pod_id, true) >= STREAM_CONNECTS_POD_MAX)
                        continue;
                call->is_asked = true;
                n_asked++;
                int r = channel_call_flat(sandboxd_setup(table->sandboxd), ROW_SANDBOXD_SETUP_SETUP_CONNECT, &call->verb, NULL, 0,
                                          clock_monotonic_usec() + FORWARD_CONNECT_USEC, forward_on_connected, call, &call->request_id);
                if (r < 0)
                        return fold(r);
        }
        return 0;
}

/* The port is looked at here to say what is wrong; what bounds it is the permit, at sandboxd-setup. */
static int forward_connect_check(Sandboxd *sandboxd, const Forward *forward, uint32_t port, Refusal *refusal)
{
        if (!forward)
                return refusal_set(refusal, GRPC_STATUS_NOT_FOUND, "forward_connect: the session is over; ask for a new URL");
        const Pod *pod = pods_find(sandboxd, forward->pod_id);
        if (!pod || pod->state != POD_STATE_READY)
                return refusal_set(refusal, GRPC_STATUS_FAILED_PRECONDITION, "pod %s: port %u: the pod has ended", forward->pod_id, port);
        if (forward->is_resumed)
                return refusal_set(refusal, GRPC_STATUS_FAILED_PRECONDITION,
                                   "pod %s: port %u: sandboxd was restarted since this port-forward was asked for: its connections go on, "
                                   "for new ones start it again", forward->pod_id, port);
        if (port == 0 || port > UINT16_MAX)
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT, "pod %s: %u is not a port", forward->pod_id, port);
        if (sandboxd->forwards->n_calls >= STREAM_CALLS_MAX ||
            forward_calls_count(sandboxd->forwards, forward->pod_id, false) >= STREAM_CALLS_POD_MAX)
                return refusal_set(refusal, GRPC_STATUS_RESOURCE_EXHAUSTED,
                                   "pod %s: port %u: %d connections of this pod, or %d of all, wait to be made already: try again when "
                                   "some are, and look whether the pod takes them", forward->pod_id, port, STREAM_CALLS_POD_MAX,
                                   STREAM_CALLS_MAX);
        return 0;
}

int on_forward_connect(void *userdata, Frame *frame)
{
        Sandboxd *sandboxd = userdata;
        ForwardTable *table = sandboxd->forwards;
        const Bulkhead__StreamdSandboxd__ForwardConnect *connect =
                container_of(frame->message, Bulkhead__StreamdSandboxd__ForwardConnect, base);
        const Forward *forward = forward_find(table, connect->session_id);
        Refusal refusal = {0};

        if (forward_connect_check(sandboxd, forward, connect->port, &refusal))
                return fold(reply_fail(frame_reply_to(frame), refusal.code, "%s", refusal.text));
        ForwardCall *call = calloc(1, sizeof(*call));
        if (!call)
                return error_origin(-ENOMEM);
        *call = (ForwardCall){.table = table, .to = frame_reply_to(frame), .verb = {.permit = forward->permit, .port = connect->port}};
        list_append(&table->calls, &call->link);
        table->n_calls++;
        return fold(forward_calls_ask(table));
}

/* One that is being made is so until sandboxd-setup answers: it counts until then. */
void forward_cancelled(Sandboxd *sandboxd, uint32_t request_id)
{
        if (!sandboxd->forwards)
                return;
        list_for_each_safe(i, next, &sandboxd->forwards->calls) {
                ForwardCall *call = container_of(i, ForwardCall, link);
                if (!call->is_asked && call->to.request_id == request_id)
                        (void)forward_call_free(call);
        }
}

int on_forward_close(void *userdata, Frame *frame)
{
        const Sandboxd *sandboxd = userdata;
        const Bulkhead__StreamdSandboxd__ForwardClose *event =
                container_of(frame->message, Bulkhead__StreamdSandboxd__ForwardClose, base);
        Forward *forward = forward_find(sandboxd->forwards, event->session_id);

        if (forward)
                (void)forward_free(forward);
        return 0;
}

static int forward_tell_end(Sandboxd *sandboxd, const char *session_id)
{
        Bulkhead__StreamdSandboxd__ForwardEnded ended = BULKHEAD__STREAMD_SANDBOXD__FORWARD_ENDED__INIT;

        ended.session_id = (char *)(uintptr_t)session_id;
        ended.error = (char *)(uintptr_t)"the pod has ended";
        int r = channel_event(service_channel(sandboxd->service, EDGE_STREAMD_SANDBOXD), ROW_STREAMD_SANDBOXD_FORWARD_ENDED,
                              &ended.base);
        return r < 0 ? fold(r) : 0;
}

int forward_end_pod(Sandboxd *sandboxd, const char *pod_id)
{
        list_for_each_safe(i, next, &sandboxd->forwards->forwards) {
                Forward *forward = container_of(i, Forward, link);
                if (!str_equal(forward->pod_id, pod_id))
                        continue;
                int r = forward->token.text[0] ? 0 : forward_tell_end(sandboxd, forward->permit.id);
                (void)forward_free(forward);
                if (r < 0)
                        return fold(r);
        }
        return 0;
}

/* Of an earlier sandboxd, says streamd. What it gets by that is to hear of the pod's end. */
static int forward_resume(Sandboxd *sandboxd, const char *session_id, const char *pod_id)
{
        ForwardTable *table = sandboxd->forwards;
        const Pod *pod = pods_find(sandboxd, pod_id);

        /* Without containers the end of its network is under way, or behind it. */
        if (!pod || (pod->state != POD_STATE_READY && list_is_empty(&pod->leases)))
                return forward_tell_end(sandboxd, session_id);
        if (!id_is_valid(session_id) || table->n_forwards >= STREAM_FORWARDS_MAX ||
            forward_count(table, pod_id) >= STREAM_FORWARDS_POD_MAX)
                return 0;
        Forward *forward = calloc(1, sizeof(*forward));
        if (!forward)
                return error_origin(-ENOMEM);
        *forward = (Forward){.table = table, .is_resumed = true};
        (void)str_copy(forward->permit.id, sizeof(forward->permit.id), session_id);
        (void)str_copy(forward->pod_id, sizeof(forward->pod_id), pod_id);
        list_append(&table->forwards, &forward->link);
        table->n_forwards++;
        return 0;
}

int on_forward_resume(void *userdata, Frame *frame)
{
        const Sandboxd *sandboxd = userdata;
        const Bulkhead__StreamdSandboxd__ForwardResume *event =
                container_of(frame->message, Bulkhead__StreamdSandboxd__ForwardResume, base);
        Forward *forward = forward_find(sandboxd->forwards, event->session_id);

        if (!forward)
                return fold(forward_resume(userdata, event->session_id, event->pod_id));
        forward->is_unsure = false;
        return 0;
}

int on_forwards_told(void *userdata, Frame *frame)
{
        const Sandboxd *sandboxd = userdata;

        (void)frame;
        list_for_each_safe(i, next, &sandboxd->forwards->forwards) {
                Forward *forward = container_of(i, Forward, link);
                if (forward->is_unsure)
                        (void)forward_free(forward);
        }
        return 0;
}

void forward_on_streamd(Sandboxd *sandboxd, bool connected)
{
        if (connected || !sandboxd->forwards)
                return;
        list_for_each(i, &sandboxd->forwards->forwards) {
                Forward *forward = container_of(i, Forward, link);
                forward->is_unsure = !forward->token.text[0];
        }
}
