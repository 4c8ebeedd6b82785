/* SPDX-License-Identifier: Apache-2.0 */

/* nghttp2's side of a connection: options, settings and callbacks. Callbacks never free the connection; what is wrong
 * with the peer is left in c->fault, and a call is freed only by on_stream_close and by its owner. */

#include "lib/error.h"
#include "services/gatewayd/h2-connection.h"
#include "services/gatewayd/h2-memory.h"

#define H2_STREAM_WINDOW_BYTES (1024 * 1024)
#define H2_CONNECTION_WINDOW_BYTES (4 * 1024 * 1024)
#define H2_SETTINGS_MAX 32
#define H2_CONTINUATIONS_MAX 8
#define H2_ACKS_MAX 128
/* A kubelet whose probes of all pods time out at once resets a stream for each. */
#define H2_RESET_BURST 600
#define H2_RESET_PER_SEC 100
/* Beyond the advertised list size a request is answered with an error; beyond this multiple the peer is attacking. */
#define H2_HEADER_EXCESS 4

typedef nghttp2_session_callbacks H2Callbacks;

static void h2_callbacks_freep(H2Callbacks **p)
{
        nghttp2_session_callbacks_del(*p);
}

static void h2_option_freep(nghttp2_option **p)
{
        nghttp2_option_del(*p);
}

static GrpcCall *h2_session_call(nghttp2_session *session, int32_t stream_id)
{
        return nghttp2_session_get_stream_user_data(session, stream_id);
}

static int h2_session_on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *userdata)
{
        H2Connection *c = userdata;
        const GrpcLimits *limits = &c->server->limits;
        GrpcCall *call = NULL;

        c->header_bytes = 0;
        if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
                return 0;
        if (c->n_calls >= limits->max_calls || c->server->n_calls >= limits->max_calls_total)
                return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                                 NGHTTP2_REFUSED_STREAM);
        if (grpc_call_new(&call, c, frame->hd.stream_id) < 0) {
                h2_connection_fault(c, "out of memory");
                return NGHTTP2_ERR_CALLBACK_FAILURE;
        }
        return nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, call);
}

static int h2_session_on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                                size_t n_name, const uint8_t *value, size_t n_value, uint8_t flags, void *userdata)
{
        H2Connection *c = userdata;
        GrpcCall *call = h2_session_call(session, frame->hd.stream_id);

        c->header_bytes += n_name + n_value + 32; /* RFC 9113, 6.5.2 */
        if (c->header_bytes > H2_HEADER_EXCESS * c->server->limits.max_header_bytes) {
                h2_connection_fault(c, "header list too large");
                return NGHTTP2_ERR_CALLBACK_FAILURE;
        }
        if (!call)
                return 0;
        if (c->header_bytes > c->server->limits.max_header_bytes)
                call->head.is_oversized = true;
        else
                grpc_call_on_header(call, (const char *)name, n_name, (const char *)value, n_value);
        return 0;
}

static int h2_session_on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *userdata)
{
        H2Connection *c = userdata;
        GrpcCall *call;

        if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK) && c->server->is_draining)
                h2_session_say_goodbye(c);
        if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
                return 0;
        call = h2_session_call(session, frame->hd.stream_id);
        if (!call)
                return 0;
        if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
                grpc_call_on_headers_end(call);
        if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
                grpc_call_on_request_end(call);
        return 0;
}

static int h2_session_on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *bytes,
                              size_t n, void *userdata)
{
        GrpcCall *call = h2_session_call(session, stream_id);
        if (call)
                grpc_call_on_data(call, bytes, n);
        return 0;
}

static int h2_session_on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code, void *userdata)
{
        GrpcCall *call = h2_session_call(session, stream_id);
        if (call) {
                (void)nghttp2_session_set_stream_user_data(session, stream_id, NULL);
                grpc_call_close(call, GRPC_CANCEL_CLIENT);
        }
        return 0;
}

static int h2_session_on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *userdata)
{
        H2Connection *c = userdata;

        /* nghttp2 has given up on the peer. */
        if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR)
                h2_connection_fault(c, "protocol error");
        /* A peer that makes us reset its streams pays for it like one that resets them itself. */
        if (frame->hd.type == NGHTTP2_RST_STREAM && frame->rst_stream.error_code != NGHTTP2_NO_ERROR &&
            !bucket_take(&c->meter.bucket, H2_PRICE_REMEDY, clock_monotonic_usec()))
                h2_connection_fault(c, "too many streams had to be reset");
        if (frame->hd.type == NGHTTP2_HEADERS && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
                bucket_give(&c->meter.bucket, H2_CREDIT_CALL);
                /* Answered before the request was complete: tell the client to stop sending (RFC 9113, 8.1). */
                if (nghttp2_session_get_stream_remote_close(session, frame->hd.stream_id) == 0)
                        return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                                         NGHTTP2_NO_ERROR);
        }
        return 0;
}

static int h2_session_on_not_sent(nghttp2_session *session, const nghttp2_frame *frame, int error, void *userdata)
{
        if (frame->hd.type == NGHTTP2_HEADERS && error != NGHTTP2_ERR_STREAM_CLOSED &&
            error != NGHTTP2_ERR_STREAM_CLOSING)
                return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                                 NGHTTP2_INTERNAL_ERROR);
        return 0;
}

static int h2_session_on_invalid(nghttp2_session *session, const nghttp2_frame *frame, int error, void *userdata)
{
        H2Connection *c = userdata;
        if (!bucket_take(&c->meter.bucket, H2_PRICE_INVALID, clock_monotonic_usec()))
                h2_connection_fault(c, "too many invalid frames");
        return 0;
}

static int h2_session_settings(H2Connection *c)
{
        const GrpcLimits *limits = &c->server->limits;
        const nghttp2_settings_entry entries[] = {
                {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits->max_streams},
                {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_STREAM_WINDOW_BYTES},
                {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)limits->max_header_bytes},
                {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
        };

        if (nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, entries, ARRAY_SIZE(entries)) < 0 ||
            nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, H2_CONNECTION_WINDOW_BYTES) < 0)
                return error_origin(-ENOMEM);
        return 0;
}

/* Windows bound what is in flight, not what we hold: the memory of a message is reserved or refused when its length is
 * known, so bytes are consumed as they come and nghttp2 may open the windows by itself. */
int h2_session_new(H2Connection *c)
{
        _cleanup_(h2_callbacks_freep) H2Callbacks *callbacks = NULL;
        _cleanup_(h2_option_freep) nghttp2_option *option = NULL;
        nghttp2_mem memory = h2_memory(&c->memory);

        if (nghttp2_session_callbacks_new(&callbacks) < 0 || nghttp2_option_new(&option) < 0)
                return error_origin(-ENOMEM);
        nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, h2_session_on_begin_headers);
        nghttp2_session_callbacks_set_on_header_callback(callbacks, h2_session_on_header);
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, h2_session_on_frame);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, h2_session_on_data);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, h2_session_on_stream_close);
        nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, h2_session_on_sent);
        nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, h2_session_on_not_sent);
        nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, h2_session_on_invalid);

        nghttp2_option_set_max_settings(option, H2_SETTINGS_MAX);
        nghttp2_option_set_max_continuations(option, H2_CONTINUATIONS_MAX);
        nghttp2_option_set_max_outbound_ack(option, H2_ACKS_MAX);
        nghttp2_option_set_stream_reset_rate_limit(option, H2_RESET_BURST, H2_RESET_PER_SEC);
        nghttp2_option_set_no_closed_streams(option, 1);

        if (nghttp2_session_server_new3(&c->session, callbacks, c, option, &memory) < 0)
                return error_origin(-ENOMEM);
        int r = h2_session_settings(c);
        return r ? fold(r) : 0;
}

void h2_session_feed(H2Connection *c, const uint8_t *bytes, size_t n)
{
        ssize_t r = nghttp2_session_mem_recv(c->session, bytes, n);

        if (r == NGHTTP2_ERR_BAD_CLIENT_MAGIC)
                h2_connection_fault(c, "not HTTP/2");
        else if (r == NGHTTP2_ERR_FLOODED)
                h2_connection_fault(c, "flood");
        else if (r == NGHTTP2_ERR_NOMEM)
                h2_connection_fault(c, "memory limit");
        else if (r < 0)
                h2_connection_fault(c, nghttp2_strerror((int)r));
}

void h2_session_say_goodbye(H2Connection *c)
{
        if (c->is_goaway_final)
                return;
        c->is_goaway_final = true;
        (void)nghttp2_submit_goaway(c->session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(c->session),
                                    NGHTTP2_NO_ERROR, NULL, 0);
        h2_connection_kick(c);
}
