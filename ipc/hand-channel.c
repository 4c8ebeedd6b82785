/* SPDX-License-Identifier: Apache-2.0 */

#include "ipc/hand-channel.h"
#include "lib/error.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>

int hand_receive(int fd, const EdgeSchema *schema, EdgeSide from, HandRequest *request)
{
        _cleanup_(wire_frame_done) WireFrame frame = WIRE_FRAME_NULL;
        const MessageRow *row = NULL;
        int r;

        r = wire_receive(fd, edge_schema_has_fds(schema, from), &frame);
        if (r == 0)
                r = row_check(schema, from, &frame, &row);
        if (r != 0)
                return r < 0 ? fold(r) : r;
        if (frame.header.flags & WIRE_FLAG_CANCEL)
                return WIRE_E_AGAIN;
        hand_request_done(request);
        request->row = row;
        request->frame = frame;
        frame = WIRE_FRAME_NULL;
        return 0;
}

void hand_request_done(HandRequest *request)
{
        wire_frame_done(&request->frame);
        request->row = NULL;
}

/* Blocks until the frame is in the socket, also where the fd itself does not block. The brain that asked may be gone:
 * then nobody waits, and the next hand_receive() tells the caller. */
static int hand_send(int fd, uint16_t id, uint16_t flags, uint32_t request_id, const void *payload, size_t n,
                     const int *fds, size_t n_fds)
{
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        int r;

        for (;;) {
                r = wire_send(fd, id, flags, request_id, payload, n, fds, n_fds);
                if (r != WIRE_E_AGAIN)
                        break;
                if (poll(&p, 1, -1) < 0 && errno != EINTR)
                        return error_origin(negative_errno());
        }
        return r < 0 ? fold(r) : 0;
}

static int hand_answer(int fd, const HandRequest *request, const void *payload, size_t n, const int *fds, size_t n_fds)
{
        const MessageRow *row = request->row;
        int r;

        if (row->kind != ROW_KIND_REQUEST || n_fds < row->reply.fds.n_min || n_fds > row->reply.fds.n_max)
                return error_origin(-EINVAL);
        r = hand_send(fd, row->id, WIRE_FLAG_REPLY, request->frame.header.request_id, payload, n, fds, n_fds);
        if (r < 0)
                return fold(r);
        if (request->answered)
                *request->answered = 1;
        return 0;
}

int hand_reply(int fd, const HandRequest *request, const void *flat, const int *fds, size_t n_fds)
{
        if (request->row->reply.type)
                return error_origin(-EINVAL);
        int r = hand_answer(fd, request, flat, request->row->reply.flat_size, fds, n_fds);
        return r < 0 ? fold(r) : 0;
}

int hand_reply_packed(int fd, const HandRequest *request, const void *bytes, size_t n, const int *fds, size_t n_fds)
{
        const RowBody *reply = &request->row->reply;

        if (!reply->type)
                return error_origin(-EINVAL);
        if (n > reply->max_length)
                return error_origin(-EMSGSIZE);
        int r = hand_answer(fd, request, bytes, n, fds, n_fds);
        return r < 0 ? fold(r) : 0;
}

int hand_fail(int fd, const HandRequest *request, uint32_t code, const char *format, ...)
{
        uint8_t payload[sizeof(WireError) + WIRE_ERROR_TEXT_MAX + 1];
        const MessageRow *row = request->row;
        va_list args;
        int r;

        if (row->kind != ROW_KIND_REQUEST)
                return error_origin(-EINVAL);
        memcpy(payload, &code, sizeof(code));
        va_start(args, format);
        r = vsnprintf((char *)payload + sizeof(WireError), WIRE_ERROR_TEXT_MAX + 1, format, args);
        va_end(args);
        if (r < 0)
                return error_origin(-EINVAL);
        r = hand_send(fd, row->id, WIRE_FLAG_REPLY | WIRE_FLAG_ERROR, request->frame.header.request_id, payload,
                      sizeof(WireError) + MIN2((size_t)r, (size_t)WIRE_ERROR_TEXT_MAX), NULL, 0);
        if (r < 0)
                return fold(r);
        if (request->answered)
                *request->answered = 1;
        return 0;
}

int hand_event(int fd, const MessageRow *row, const void *flat, const int *fds, size_t n_fds)
{
        int r;

        if (row->kind != ROW_KIND_EVENT || n_fds < row->body.fds.n_min || n_fds > row->body.fds.n_max)
                return error_origin(-EINVAL);
        r = hand_send(fd, row->id, 0, 0, flat, row->body.flat_size, fds, n_fds);
        return r < 0 ? fold(r) : 0;
}
