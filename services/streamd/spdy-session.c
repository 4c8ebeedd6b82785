/* SPDX-License-Identifier: Apache-2.0 */
#include "services/streamd/spdy-session.h"
#include "lib/error.h"
#include "services/streamd/websocket-frame.h"

/* Half of the window that a client starts with (2.6.8). */
#define SPDY_CREDIT_MIN (32 * 1024)

void spdy_session_init(SpdySession *session, const SpdyHandlers *handlers, void *userdata, ByteQueue *out,
                       size_t n_streams_max)
{
        *session = (SpdySession){
                .handlers = handlers,
                .userdata = userdata,
                .out = out,
                .n_streams_max = n_streams_max,
        };
        list_init(&session->streams);
}

static void spdy_stream_free(SpdySession *session, SpdyStream *stream)
{
        list_remove(&stream->link);
        session->n_streams--;
        free(stream);
}

void spdy_session_done(SpdySession *session)
{
        if (session->streams.next)
                list_for_each_safe(i, next, &session->streams)
                        spdy_stream_free(session, container_of(i, SpdyStream, link));
        spdy_inflater_done(&session->inflater);
        byte_queue_done(&session->control);
}

static int spdy_session_emit(SpdySession *session, const uint8_t *head, size_t n_head, const void *bytes, size_t n)
{
        uint8_t outer[WEBSOCKET_HEAD_BYTES_MAX];
        int r = 0;

        if (session->in_websocket)
                r = byte_queue_append(session->out, outer, websocket_write_head(outer, WEBSOCKET_BINARY, n_head + n));
        if (r == 0)
                r = byte_queue_append(session->out, head, n_head);
        if (r == 0)
                r = byte_queue_append(session->out, bytes, n);
        return r ? fold(r) : 0;
}

static int spdy_session_reset(SpdySession *session, uint32_t stream_id, uint32_t status)
{
        uint8_t frame[SPDY_WRITE_MAX];
        int r = spdy_session_emit(session, frame, spdy_write_reset(frame, stream_id, status), NULL, 0);

        return r ? fold(r) : 0;
}

static SpdyStream *spdy_session_find(const SpdySession *session, uint32_t id)
{
        list_for_each(i, &session->streams) {
                SpdyStream *stream = container_of(i, SpdyStream, link);
                if (stream->id == id)
                        return stream;
        }
        return NULL;
}

int spdy_stream_send(SpdySession *session, SpdyStream *stream, const void *bytes, size_t n, bool fin)
{
        uint8_t head[SPDY_WRITE_MAX];

        if (stream->out_ended)
                return 0;
        int r = spdy_session_emit(session, head, spdy_write_data_head(head, stream->id, n, fin), bytes, n);
        if (r)
                return fold(r);
        stream->out_ended = fin;
        if (fin && stream->in_ended)
                spdy_stream_free(session, stream);
        return 0;
}

int spdy_stream_reset(SpdySession *session, SpdyStream *stream, uint32_t status)
{
        int r = spdy_session_reset(session, stream->id, status);

        spdy_stream_free(session, stream);
        return r ? fold(r) : 0;
}

static int spdy_stream_end(SpdySession *session, SpdyStream *stream)
{
        if (stream->in_ended)
                return 0;
        stream->in_ended = true;
        uint32_t id = stream->id;
        int r = session->handlers->on_end(session->userdata, stream, false);
        if (r)
                return r < 0 ? fold(r) : r;
        stream = spdy_session_find(session, id); /* the handler may have ended the other direction */
        if (stream && stream->out_ended)
                spdy_stream_free(session, stream);
        return 0;
}

static int spdy_session_open(SpdySession *session, const SpdyControl *control, uint8_t flags, const SpdyHeaders *headers)
{
        uint8_t frame[SPDY_WRITE_MAX];

        if (control->stream_id % 2 == 0 || control->stream_id <= session->last_id)
                return SPDY_E_VIOLATION;
        session->last_id = control->stream_id;
        if (session->n_streams >= session->n_streams_max || (flags & SPDY_FLAG_UNIDIRECTIONAL))
                return spdy_session_reset(session, control->stream_id, SPDY_STATUS_REFUSED_STREAM);

        SpdyStream *stream = calloc(1, sizeof(*stream));
        if (!stream)
                return error_origin(-ENOMEM);
        stream->id = control->stream_id;
        list_append(&session->streams, &stream->link);
        session->n_streams++;
        int r = session->handlers->on_stream(session->userdata, stream, headers);
        if (r < 0)
                return fold(r);
        if (r > 0)
                return spdy_stream_reset(session, stream, SPDY_STATUS_REFUSED_STREAM);
        r = spdy_session_emit(session, frame, spdy_write_reply(frame, stream->id, !session->replied), NULL, 0);
        if (r)
                return fold(r);
        session->replied = true;
        return flags & SPDY_FLAG_FIN ? spdy_stream_end(session, stream) : 0;
}

static int spdy_session_on_headers(SpdySession *session, const SpdyControl *control)
{
        SpdyHeaders headers;
        int r = spdy_headers_read(&session->inflater, control->block, control->n_block, &headers);

        if (r < 0)
                return fold(r);
        if (r > 0)
                return SPDY_E_VIOLATION; /* all later blocks are lost with it */
        if (session->head.type == SPDY_SYN_STREAM)
                return spdy_session_open(session, control, session->head.flags, &headers);
        SpdyStream *stream = spdy_session_find(session, control->stream_id);
        return stream && session->head.type == SPDY_HEADERS && (session->head.flags & SPDY_FLAG_FIN)
                       ? spdy_stream_end(session, stream)
                       : 0;
}

static int spdy_session_on_reset(SpdySession *session, uint32_t stream_id)
{
        SpdyStream *stream = spdy_session_find(session, stream_id);

        if (!stream)
                return 0;
        stream->in_ended = stream->out_ended = true;
        int r = session->handlers->on_end(session->userdata, stream, true);
        if (r)
                return r < 0 ? fold(r) : r;
        stream = spdy_session_find(session, stream_id);
        if (stream)
                spdy_stream_free(session, stream);
        return 0;
}

static int spdy_session_on_control(SpdySession *session, const uint8_t *body)
{
        uint8_t frame[SPDY_WRITE_MAX];
        SpdyControl control;
        int r = spdy_control_parse(&session->head, body, &control);

        if (r)
                return r;
        switch (session->head.type) {
        case SPDY_SYN_STREAM:
        case SPDY_SYN_REPLY:
        case SPDY_HEADERS:
                r = spdy_session_on_headers(session, &control);
                break;
        case SPDY_RST_STREAM:
                r = spdy_session_on_reset(session, control.stream_id);
                break;
        case SPDY_PING:
                /* Even ids are answers to a ping of ours, and we send none (2.6.5). */
                if (control.value % 2 == 1)
                        r = spdy_session_emit(session, frame, spdy_write_ping(frame, control.value), NULL, 0);
                break;
        case SPDY_GOAWAY:
                return SPDY_E_GOODBYE;
        default:
                break;
        }
        return r < 0 ? fold(r) : r;
}

/* Gives back what was received, of the stream (0: of the connection). */
static int spdy_session_credit(SpdySession *session, uint32_t stream_id, uint32_t *n_credit, size_t n)
{
        uint8_t frame[SPDY_WRITE_MAX];

        *n_credit += (uint32_t)n;
        if (*n_credit < SPDY_CREDIT_MIN)
                return 0;
        int r = spdy_session_emit(session, frame, spdy_write_window_update(frame, stream_id, *n_credit), NULL, 0);
        *n_credit = 0;
        return r ? fold(r) : 0;
}

/* A part of a data frame; last: its end. What is for a stream that has ended is dropped: it may have been on its way. */
static int spdy_session_on_data(SpdySession *session, const uint8_t *bytes, size_t n, bool last)
{
        uint32_t id = session->head.stream_id;
        SpdyStream *stream = spdy_session_find(session, id);
        int r;

        if (id > session->last_id)
                return SPDY_E_VIOLATION;
        r = spdy_session_credit(session, 0, &session->n_credit, n);
        if (r)
                return fold(r);
        if (!stream || stream->in_ended)
                return 0;
        if (n > 0) {
                r = spdy_session_credit(session, id, &stream->n_credit, n);
                if (r == 0)
                        r = session->handlers->on_data(session->userdata, stream, bytes, n);
                if (r)
                        return r < 0 ? fold(r) : r;
                stream = spdy_session_find(session, id);
        }
        return stream && last && (session->head.flags & SPDY_FLAG_FIN) ? spdy_stream_end(session, stream) : 0;
}

static int spdy_session_feed_head(SpdySession *session, const uint8_t *bytes, size_t n, size_t *ret_taken)
{
        size_t taken = MIN2(n, SPDY_HEAD_BYTES - session->n_head);

        memcpy(session->head_bytes + session->n_head, bytes, taken);
        session->n_head += taken;
        *ret_taken = taken;
        if (session->n_head < SPDY_HEAD_BYTES)
                return 0;
        int r = spdy_head_parse(session->head_bytes, &session->head);
        if (r)
                return r;
        session->n_body_left = session->head.length;
        return 0;
}

static int spdy_session_feed_body(SpdySession *session, const uint8_t *bytes, size_t n, size_t *ret_taken)
{
        size_t taken = MIN2(n, session->n_body_left);
        int r = 0;

        session->n_body_left -= (uint32_t)taken;
        *ret_taken = taken;
        bool last = session->n_body_left == 0;
        if (last)
                session->n_head = 0;
        if (!session->head.control)
                return spdy_session_on_data(session, bytes, taken, last);
        if (last && byte_queue_length(&session->control) == 0)
                return spdy_session_on_control(session, bytes); /* in one piece */
        r = byte_queue_append(&session->control, bytes, taken);
        if (r == 0 && last) {
                ByteQueue body = session->control;
                session->control = BYTE_QUEUE_NULL;
                r = spdy_session_on_control(session, byte_queue_head(&body));
                byte_queue_done(&body);
        }
        return r < 0 ? fold(r) : r;
}

int spdy_session_feed(SpdySession *session, const uint8_t *bytes, size_t n)
{
        bool whole = false; /* a frame without a body is complete with its head */

        if (session->broken)
                return SPDY_E_VIOLATION;
        while (n > 0 || whole) {
                size_t taken = 0;
                int r = session->n_head < SPDY_HEAD_BYTES ? spdy_session_feed_head(session, bytes, n, &taken)
                                                          : spdy_session_feed_body(session, bytes, n, &taken);
                session->broken = r != 0;
                if (r)
                        return r < 0 ? fold(r) : r;
                bytes += taken;
                n -= taken;
                whole = session->n_head == SPDY_HEAD_BYTES && session->n_body_left == 0;
        }
        return 0;
}
