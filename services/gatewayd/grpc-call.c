/* SPDX-License-Identifier: Apache-2.0 */

/* A call has two halves. The stream half goes RECEIVING, WAITING, (STREAMING,) FINISHING, CLOSED; the owner half is
 * is_owned. Neither may free what the other still uses, so the call goes when both are through. A call whose client
 * left keeps counting against its connection's max_calls until its owner ends it: resetting streams faster than the
 * work behind them stops gains a peer nothing (CVE-2023-44487, CVE-2025-8671). */

#include "services/gatewayd/grpc-call.h"

#include "lib/error.h"
#include "services/gatewayd/grpc-server.h"
#include "services/gatewayd/grpc-text.h"
#include "services/gatewayd/h2-connection.h"

#include <assert.h>
#include <event2/event.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>

/* Clients bound the list of trailers, C-core at 8 KiB by default. */
#define GRPC_TEXT_BYTES_MAX 3072
#define GRPC_DETAILS_BYTES_MAX 3072
#define GRPC_PROGRESS_BYTES (64 * 1024)
#define GRPC_TIMEOUT_USEC_MAX (UINT64_C(366) * 24 * 3600 * USEC_PER_SEC)

/* One message on its way out. */
typedef struct GrpcChunk {
        List link; /* GrpcCall.queue */
        uint8_t prefix[GRPC_PREFIX_BYTES];
        uint8_t *bytes; /* owned */
        size_t n_bytes;
        size_t offset; /* sent, of prefix and bytes */
        BudgetCharge charge;
} GrpcChunk;

static void grpc_chunk_free(GrpcCall *call, GrpcChunk *chunk)
{
        list_remove(&chunk->link);
        call->queued_bytes -= chunk->n_bytes;
        budget_release(&chunk->charge);
        free(chunk->bytes);
        free(chunk);
}

static void grpc_call_set_state(GrpcCall *call, GrpcCallState state)
{
        switch (state) {
        case GRPC_CALL_RECEIVING:
                assert(false);
                break;
        case GRPC_CALL_WAITING:
                assert(call->state == GRPC_CALL_RECEIVING);
                break;
        case GRPC_CALL_STREAMING:
                assert(call->state == GRPC_CALL_WAITING);
                break;
        case GRPC_CALL_FINISHING:
                assert(call->state < GRPC_CALL_FINISHING);
                break;
        case GRPC_CALL_CLOSED:
                assert(call->state != GRPC_CALL_CLOSED);
                break;
        }
        call->state = state;
        call->progress_usec = clock_monotonic_usec();
        call->progress_bytes = 0;
}

int grpc_call_new(GrpcCall **ret, H2Connection *connection, int32_t stream_id)
{
        GrpcCall *call = calloc(1, sizeof(*call));
        if (!call)
                return error_origin(-ENOMEM);

        call->server = connection->server;
        call->connection = connection;
        call->stream_id = stream_id;
        call->deadline_usec = USEC_INFINITY;
        call->peer_pid = connection->peer_pid;
        call->peer_uid = connection->peer_uid;
        call->peer_gid = connection->peer_gid;
        call->http_status = "200";
        call->progress_usec = clock_monotonic_usec();
        list_init(&call->queue);
        list_append(&connection->calls, &call->link);
        connection->n_calls++;
        call->server->n_calls++;
        call->server->counters.n_calls++;
        *ret = call;
        return 0;
}

static void grpc_call_drop_queue(GrpcCall *call)
{
        while (!list_is_empty(&call->queue))
                grpc_chunk_free(call, container_of(call->queue.next, GrpcChunk, link));
}

/* Frees the call if both halves are through. */
static void grpc_call_collect(GrpcCall *call)
{
        if (call->state != GRPC_CALL_CLOSED || call->is_owned || call->is_in_callback)
                return;
        assert(list_is_empty(&call->queue));
        grpc_message_done(&call->request);
        if (call->connection) {
                if (call->connection->cursor == &call->link)
                        call->connection->cursor = call->link.next;
                call->connection->n_calls--;
        }
        list_remove(&call->link);
        call->server->n_calls--;
        if (call->deadline)
                event_free(call->deadline);
        free(call->status_text);
        free(call->status_details);
        free(call);
}

static void grpc_call_cancel(GrpcCall *call, GrpcCancel why)
{
        GrpcServer *server = call->server;

        if (!call->is_owned || call->is_cancelled)
                return;
        call->is_cancelled = true;
        bool was_in_callback = call->is_in_callback;
        call->is_in_callback = true;
        grpc_server_check(server, server->handlers.on_cancel(server->userdata, call, why));
        call->is_in_callback = was_in_callback;
        grpc_message_done(&call->request);
}

void grpc_call_orphan(GrpcCall *call)
{
        call->connection->n_calls--;
        list_remove(&call->link);
        call->connection = NULL;
        list_append(&call->server->orphans, &call->link);
        grpc_call_close(call, GRPC_CANCEL_DISCONNECT);
}

void grpc_call_close(GrpcCall *call, GrpcCancel why)
{
        if (call->state != GRPC_CALL_CLOSED)
                grpc_call_set_state(call, GRPC_CALL_CLOSED);
        grpc_call_drop_queue(call);
        grpc_call_cancel(call, why);
        grpc_call_collect(call);
}

void grpc_call_deliver(GrpcCall *call)
{
        GrpcServer *server = call->server;

        grpc_call_set_state(call, GRPC_CALL_WAITING);
        call->is_owned = true;
        call->is_in_callback = true;
        grpc_server_check(server, server->handlers.on_call(server->userdata, call));
        call->is_in_callback = false;
        grpc_call_collect(call);
}

/* ---- what is sent ---- */

static nghttp2_nv grpc_header(const char *name, const char *value)
{
        return (nghttp2_nv){
                .name = (uint8_t *)name,
                .namelen = strlen(name),
                .value = (uint8_t *)value,
                .valuelen = strlen(value),
                .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME, /* names are static */
        };
}

/* The headers that carry the status; returns their number, at most 3. The texts live in the caller's buffers. */
static size_t grpc_call_status_headers(const GrpcCall *call, nghttp2_nv *nv, char code[4], char *text, size_t size)
{
        size_t n = 0;

        (void)snprintf(code, 4, "%u", (unsigned)call->status % 1000);
        nv[n++] = grpc_header("grpc-status", code);
        if (call->status_text && grpc_text_encode(text, size, call->status_text) > 0)
                nv[n++] = grpc_header("grpc-message", text);
        if (call->status_details)
                nv[n++] = grpc_header("grpc-status-details-bin", call->status_details);
        return n;
}

static ssize_t grpc_call_on_read(nghttp2_session *session, int32_t stream_id, uint8_t *to, size_t n, uint32_t *flags,
                                 nghttp2_data_source *source, void *userdata)
{
        return grpc_call_read(source->ptr, to, n, flags);
}

static void grpc_call_submit_headers(GrpcCall *call)
{
        nghttp2_nv nv[6];
        size_t n = 0;
        char code[4], text[GRPC_TEXT_BYTES_MAX];
        nghttp2_data_provider provider = {.source.ptr = call, .read_callback = grpc_call_on_read};
        bool is_bare = call->state == GRPC_CALL_FINISHING && list_is_empty(&call->queue);

        nv[n++] = grpc_header(":status", call->http_status);
        nv[n++] = grpc_header("content-type", "application/grpc");
        nv[n++] = grpc_header("grpc-accept-encoding", "identity");
        if (is_bare)
                n += grpc_call_status_headers(call, nv + n, code, text, sizeof(text));
        call->is_headers_sent = true;
        int r = nghttp2_submit_response(call->connection->session, call->stream_id, nv, n, is_bare ? NULL : &provider);
        if (r < 0)
                h2_connection_reset(call->connection, call->stream_id, NGHTTP2_INTERNAL_ERROR);
}

/* There is something new to send, or the end of it is known. */
static void grpc_call_push(GrpcCall *call)
{
        if (!call->is_headers_sent)
                grpc_call_submit_headers(call);
        else if (call->is_deferred) {
                call->is_deferred = false;
                if (nghttp2_session_resume_data(call->connection->session, call->stream_id) < 0)
                        h2_connection_reset(call->connection, call->stream_id, NGHTTP2_INTERNAL_ERROR);
        }
        h2_connection_kick(call->connection);
}

static void grpc_call_submit_trailers(GrpcCall *call)
{
        nghttp2_nv nv[3];
        char code[4], text[GRPC_TEXT_BYTES_MAX];
        size_t n = grpc_call_status_headers(call, nv, code, text, sizeof(text));

        if (nghttp2_submit_trailer(call->connection->session, call->stream_id, nv, n) < 0)
                h2_connection_reset(call->connection, call->stream_id, NGHTTP2_INTERNAL_ERROR);
}

static size_t grpc_chunk_copy(GrpcChunk *chunk, uint8_t *to, size_t n)
{
        size_t copied = 0;

        if (chunk->offset < GRPC_PREFIX_BYTES) {
                copied = MIN2(n, GRPC_PREFIX_BYTES - chunk->offset);
                memcpy(to, chunk->prefix + chunk->offset, copied);
                chunk->offset += copied;
        }
        if (copied < n && chunk->offset >= GRPC_PREFIX_BYTES) {
                size_t at = chunk->offset - GRPC_PREFIX_BYTES;
                size_t piece = MIN2(n - copied, chunk->n_bytes - at);
                if (piece > 0)
                        memcpy(to + copied, chunk->bytes + at, piece);
                chunk->offset += piece;
                copied += piece;
        }
        return copied;
}

ssize_t grpc_call_read(GrpcCall *call, uint8_t *to, size_t n, uint32_t *flags)
{
        H2Connection *c = call->connection;
        size_t filled = 0;

        while (filled < n && !list_is_empty(&call->queue)) {
                GrpcChunk *chunk = container_of(call->queue.next, GrpcChunk, link);
                filled += grpc_chunk_copy(chunk, to + filled, n - filled);
                if (chunk->offset == GRPC_PREFIX_BYTES + chunk->n_bytes) {
                        grpc_chunk_free(call, chunk);
                        bucket_give(&c->meter.bucket, H2_CREDIT_CALL);
                }
        }
        bucket_give(&c->meter.bucket, (uint32_t)(filled / 4096));
        call->progress_bytes += filled;
        if (list_is_empty(&call->queue) || call->progress_bytes >= GRPC_PROGRESS_BYTES) {
                call->progress_usec = clock_monotonic_usec();
                call->progress_bytes = 0;
        }

        if (list_is_empty(&call->queue) && call->state == GRPC_CALL_FINISHING) {
                *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
                grpc_call_submit_trailers(call);
        } else if (filled == 0) {
                call->is_deferred = true;
                return NGHTTP2_ERR_DEFERRED;
        }
        return (ssize_t)filled;
}

static void grpc_call_set_status(GrpcCall *call, GrpcStatus status, const char *text)
{
        call->status = status;
        call->status_text = text ? strdup(text) : NULL; /* without memory the code alone has to do */
}

void grpc_call_refuse(GrpcCall *call, GrpcStatus status, const char *text)
{
        if (call->state >= GRPC_CALL_FINISHING)
                return;
        grpc_call_set_status(call, status, text);
        grpc_call_set_state(call, GRPC_CALL_FINISHING);
        if (!call->is_owned)
                grpc_message_done(&call->request);
        grpc_call_push(call);
}

void grpc_call_refuse_http(GrpcCall *call, const char *http_status, const char *text)
{
        call->http_status = http_status;
        grpc_call_refuse(call, GRPC_STATUS_INTERNAL, text);
}

/* Takes bytes if it returns true. */
static bool grpc_call_queue(GrpcCall *call, void *bytes, size_t n)
{
        GrpcChunk *chunk = calloc(1, sizeof(*chunk));
        if (!chunk)
                return false;
        if (!budget_charge(&call->connection->memory, &chunk->charge, n)) {
                free(chunk);
                return false;
        }
        grpc_prefix_encode(chunk->prefix, n);
        chunk->bytes = bytes;
        chunk->n_bytes = n;
        list_append(&call->queue, &chunk->link);
        call->queued_bytes += n;
        call->progress_usec = clock_monotonic_usec();
        grpc_server_arm_tick(call->server);
        return true;
}

/* ---- for the owner ---- */

/* The owner has ended the call: nothing of it may be touched after this. */
static void grpc_call_disown(GrpcCall *call)
{
        call->is_owned = false;
        if (call->deadline)
                (void)event_del(call->deadline);
        grpc_message_done(&call->request);
        grpc_call_collect(call);
}

void grpc_call_reply(GrpcCall *call, void *bytes, size_t n)
{
        _cleanup_free_ void *owned = bytes;
        char text[128];

        assert(call->is_owned);
        grpc_message_done(&call->request);
        if (!call->is_cancelled) {
                if (n > call->server->limits.max_message_bytes) {
                        (void)snprintf(text, sizeof(text), "the reply of %zu bytes is larger than %zu", n,
                                       call->server->limits.max_message_bytes);
                        grpc_call_refuse(call, GRPC_STATUS_RESOURCE_EXHAUSTED, text);
                } else if (!grpc_call_queue(call, owned, n)) {
                        grpc_call_refuse(call, GRPC_STATUS_RESOURCE_EXHAUSTED,
                                         "too many large requests and replies are under way, try again");
                } else {
                        owned = NULL;
                        grpc_call_refuse(call, GRPC_STATUS_OK, NULL);
                }
        }
        grpc_call_disown(call);
}

void grpc_call_fail_details(GrpcCall *call, GrpcStatus status, const char *text, const void *details, size_t n)
{
        assert(call->is_owned);
        if (!call->is_cancelled) {
                if (n > 0 && n <= GRPC_DETAILS_BYTES_MAX)
                        call->status_details = malloc(GRPC_BASE64_SIZE(n));
                if (call->status_details)
                        (void)grpc_base64_encode(call->status_details, details, n);
                grpc_call_refuse(call, status, text);
        }
        grpc_call_disown(call);
}

void grpc_call_fail(GrpcCall *call, GrpcStatus status, const char *text)
{
        grpc_call_fail_details(call, status, text, NULL, 0);
}

void grpc_call_finish(GrpcCall *call)
{
        grpc_call_fail_details(call, GRPC_STATUS_OK, NULL, NULL, 0);
}

int grpc_call_send(GrpcCall *call, void *bytes, size_t n)
{
        const GrpcLimits *limits = &call->server->limits;

        assert(call->is_owned);
        if (call->is_cancelled)
                return GRPC_CALL_E_CANCELLED;
        if (n > limits->max_message_bytes)
                return GRPC_CALL_E_TOO_LARGE;
        bool is_full = call->queued_bytes > 0 && call->queued_bytes + n > limits->queue_bytes;
        if (is_full || !grpc_call_queue(call, bytes, n)) {
                call->wants_writable = true;
                grpc_server_arm_tick(call->server);
                return GRPC_CALL_E_FULL;
        }
        if (call->state == GRPC_CALL_WAITING)
                grpc_call_set_state(call, GRPC_CALL_STREAMING);
        grpc_call_push(call);
        return 0;
}

Budget *grpc_call_budget(const GrpcCall *call)
{
        return &call->connection->memory;
}

void grpc_call_begin(GrpcCall *call)
{
        assert(call->is_owned);
        if (call->is_cancelled || call->state != GRPC_CALL_WAITING)
                return;
        grpc_call_set_state(call, GRPC_CALL_STREAMING);
        grpc_call_push(call);
}

void grpc_call_drop_request(GrpcCall *call)
{
        grpc_message_done(&call->request);
}

void grpc_call_check_writable(GrpcCall *call)
{
        GrpcServer *server = call->server;

        if (!call->wants_writable || !call->is_owned || call->is_cancelled ||
            call->queued_bytes > server->limits.queue_bytes / 2)
                return;
        call->wants_writable = false;
        if (server->handlers.on_writable)
                grpc_server_check(server, server->handlers.on_writable(server->userdata, call));
}

/* ---- time ---- */

/* Our side gives up: a status if the client can still get one, else a reset. */
static void grpc_call_abandon(GrpcCall *call, GrpcStatus status, const char *text, GrpcCancel why)
{
        GrpcChunk *chunk = list_first(&call->queue, GrpcChunk, link);

        if (call->state == GRPC_CALL_FINISHING || (chunk && chunk->offset > 0)) {
                call->progress_usec = clock_monotonic_usec();
                h2_connection_reset(call->connection, call->stream_id, NGHTTP2_CANCEL);
        } else {
                grpc_call_drop_queue(call);
                grpc_call_refuse(call, status, text);
        }
        grpc_call_cancel(call, why);
}

static void grpc_call_on_deadline(evutil_socket_t fd, short what, void *userdata)
{
        GrpcCall *call = userdata;

        if (call->state < GRPC_CALL_FINISHING)
                grpc_call_abandon(call, GRPC_STATUS_DEADLINE_EXCEEDED, "the call's deadline passed",
                                  GRPC_CANCEL_DEADLINE);
}

void grpc_call_set_timeout(GrpcCall *call, uint64_t timeout_usec)
{
        timeout_usec = MIN2(timeout_usec, GRPC_TIMEOUT_USEC_MAX);
        struct timeval tv = {
                .tv_sec = (time_t)(timeout_usec / USEC_PER_SEC),
                .tv_usec = (suseconds_t)(timeout_usec % USEC_PER_SEC),
        };

        call->deadline_usec = clock_monotonic_usec() + timeout_usec;
        call->deadline = evtimer_new(call->server->base, grpc_call_on_deadline, call);
        if (!call->deadline || evtimer_add(call->deadline, &tv) < 0)
                grpc_call_refuse(call, GRPC_STATUS_RESOURCE_EXHAUSTED, "out of memory");
        else if (timeout_usec == 0)
                grpc_call_refuse(call, GRPC_STATUS_DEADLINE_EXCEEDED, "the call's deadline passed");
}

bool grpc_call_tick(GrpcCall *call, uint64_t now_usec)
{
        const GrpcLimits *limits = &call->server->limits;
        uint64_t age_usec = now_usec - MIN2(call->progress_usec, now_usec);

        switch (call->state) {
        case GRPC_CALL_RECEIVING:
                if (age_usec > limits->request_usec)
                        grpc_call_refuse(call, GRPC_STATUS_DEADLINE_EXCEEDED, "the request did not arrive in time");
                return true;
        case GRPC_CALL_STREAMING:
                if (list_is_empty(&call->queue))
                        return call->wants_writable;
                break;
        case GRPC_CALL_FINISHING:
                break;
        case GRPC_CALL_WAITING:
                return call->wants_writable;
        case GRPC_CALL_CLOSED:
                return false;
        }
        if (age_usec > limits->stall_usec)
                grpc_call_abandon(call, GRPC_STATUS_UNAVAILABLE, "the client did not read", GRPC_CANCEL_STALL);
        return true;
}
