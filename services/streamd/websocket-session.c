/* SPDX-License-Identifier: Apache-2.0 */
#include "services/streamd/websocket-session.h"
#include "lib/error.h"
#include "services/streamd/be.h"

void websocket_session_init(WebsocketSession *session, const WebsocketHandlers *handlers, void *userdata, ByteQueue *out)
{
        *session = (WebsocketSession){.handlers = handlers, .userdata = userdata, .out = out};
}

int websocket_session_send(WebsocketSession *session, uint8_t opcode, const void *bytes, size_t n)
{
        uint8_t head[WEBSOCKET_HEAD_BYTES_MAX];

        if (session->closed)
                return 0;
        int r = byte_queue_append(session->out, head, websocket_write_head(head, opcode, n));
        if (r == 0)
                r = byte_queue_append(session->out, bytes, n);
        return r ? fold(r) : 0;
}

int websocket_session_close(WebsocketSession *session, uint16_t reason)
{
        uint8_t bytes[2];

        be16_write(bytes, reason);
        int r = websocket_session_send(session, WEBSOCKET_CLOSE, bytes, sizeof(bytes));
        session->closed = true;
        return r ? fold(r) : 0;
}

static int websocket_on_control(WebsocketSession *session)
{
        int r = 0;

        switch (session->head.opcode) {
        case WEBSOCKET_PING:
                r = websocket_session_send(session, WEBSOCKET_PONG, session->control, session->head.length);
                break;
        case WEBSOCKET_CLOSE:
                r = websocket_session_close(session, session->head.length == 1 ? WEBSOCKET_CLOSE_PROTOCOL
                                                                              : WEBSOCKET_CLOSE_NORMAL);
                if (r == 0)
                        return WEBSOCKET_E_GOODBYE;
                break;
        default:
                break; /* a pong of its own accord (5.5.3) */
        }
        return r ? fold(r) : 0;
}

/* What the head of a frame says, given the ones before it (5.4). */
static int websocket_on_head(WebsocketSession *session)
{
        const WebsocketHead *head = &session->head;

        session->n_head = 0;
        session->n_seen = 0;
        session->in_frame = true;
        if (head->opcode >= WEBSOCKET_CLOSE)
                return 0;
        if ((head->opcode == WEBSOCKET_CONTINUATION) != session->in_message)
                return WEBSOCKET_E_VIOLATION;
        if (!session->in_message)
                session->started = false;
        session->in_message = true;
        return 0;
}

static int websocket_feed_head(WebsocketSession *session, const uint8_t *bytes, size_t n, size_t *ret_taken)
{
        size_t had = session->n_head;
        size_t taken = MIN2(n, sizeof(session->head_bytes) - had);

        memcpy(session->head_bytes + had, bytes, taken);
        int r = websocket_head_parse(session->head_bytes, had + taken, &session->head);
        if (r == WEBSOCKET_E_INCOMPLETE) {
                session->n_head = had + taken;
                *ret_taken = taken;
                return 0;
        }
        if (r)
                return r;
        *ret_taken = session->head.n_bytes - had;
        return websocket_on_head(session);
}

static int websocket_feed_payload(WebsocketSession *session, uint8_t *bytes, size_t n, size_t *ret_taken)
{
        size_t taken = (size_t)MIN2((uint64_t)n, session->head.length - session->n_seen);
        bool end = session->n_seen + taken == session->head.length;

        websocket_unmask(&session->head, session->n_seen, bytes, taken);
        *ret_taken = taken;
        session->in_frame = !end;
        if (session->head.opcode >= WEBSOCKET_CLOSE) {
                if (taken > 0)
                        memcpy(session->control + session->n_seen, bytes, taken);
                session->n_seen += taken;
                return end ? websocket_on_control(session) : 0;
        }
        session->n_seen += taken;
        bool first = !session->started, last = end && session->head.fin;
        session->started = true;
        session->in_message = !last;
        return session->handlers->on_part(session->userdata, first, last, bytes, taken);
}

int websocket_session_feed(WebsocketSession *session, uint8_t *bytes, size_t n)
{
        if (session->broken)
                return WEBSOCKET_E_VIOLATION;
        /* A frame without payload is complete with its head. */
        while (n > 0 || (session->in_frame && session->head.length == 0)) {
                size_t taken = 0;
                int r = session->in_frame ? websocket_feed_payload(session, bytes, n, &taken)
                                          : websocket_feed_head(session, bytes, n, &taken);
                session->broken = r != 0;
                if (r == WEBSOCKET_E_VIOLATION) {
                        int close = websocket_session_close(session, WEBSOCKET_CLOSE_PROTOCOL);
                        return close ? fold(close) : r;
                }
                if (r)
                        return r < 0 ? fold(r) : r;
                bytes += taken;
                n -= taken;
        }
        return 0;
}
