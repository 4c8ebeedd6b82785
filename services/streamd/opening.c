/* SPDX-License-Identifier: Apache-2.0 */
#include "services/streamd/opening.h"
#include "ipc/edges/streamd-containerd.pb-c.h"
#include "ipc/edges/streamd-containerd.rows.h"
#include "ipc/edges/streamd-sandboxd.pb-c.h"
#include "ipc/edges/streamd-sandboxd.rows.h"
#include "lib/error.h"

static Opening *opening_free(Opening *opening)
{
        list_remove(&opening->link);
        free(opening);
        return NULL;
}

int opening_refuse(Streamd *streamd, EdgeId edge, const Frame *frame)
{
        Channel *owner = service_channel(streamd->service, edge);
        int r;

        if (edge == EDGE_STREAMD_SANDBOXD) {
                Bulkhead__StreamdSandboxd__ForwardClose close = BULKHEAD__STREAMD_SANDBOXD__FORWARD_CLOSE__INIT;
                close.session_id = ((const Bulkhead__StreamdSandboxd__ForwardOpened *)frame->message)->session_id;
                r = channel_event(owner, ROW_STREAMD_SANDBOXD_FORWARD_CLOSE, &close.base);
        } else {
                Bulkhead__StreamdContainerd__SessionClose close = BULKHEAD__STREAMD_CONTAINERD__SESSION_CLOSE__INIT;
                close.session_id = ((const Bulkhead__StreamdContainerd__SessionOpened *)frame->message)->session_id;
                r = channel_event(owner, ROW_STREAMD_CONTAINERD_SESSION_CLOSE, &close.base);
        }
        return r < 0 ? fold(r) : 0;
}

static int opening_on_answer(void *userdata, const Answer *answer)
{
        Opening *opening = userdata;
        Streamd *streamd = opening->streamd;
        Connection *connection = opening->connection;
        EdgeId edge = opening->edge;

        (void)opening_free(opening);
        if (connection) {
                connection_on_opened(connection, answer);
                return 0;
        }
        int r = answer->outcome == 0 ? opening_refuse(streamd, edge, answer->frame) : 0;
        return r ? fold(r) : 0;
}

/* Without a deadline: the client's own ends in opening_leave(), which loses no answer. */
static int opening_ask(Opening *opening, const char *token)
{
        Channel *owner = service_channel(opening->streamd->service, opening->edge);
        ProtobufCBinaryData bytes = {.data = (uint8_t *)(uintptr_t)token, .len = strlen(token)};
        int r;

        if (opening->edge == EDGE_STREAMD_SANDBOXD) {
                Bulkhead__StreamdSandboxd__ForwardOpen open = BULKHEAD__STREAMD_SANDBOXD__FORWARD_OPEN__INIT;
                open.token = bytes;
                r = channel_call(owner, ROW_STREAMD_SANDBOXD_FORWARD_OPEN, &open.base, NULL, 0, USEC_INFINITY, opening_on_answer,
                                 opening, &opening->request_id);
        } else {
                Bulkhead__StreamdContainerd__SessionOpen open = BULKHEAD__STREAMD_CONTAINERD__SESSION_OPEN__INIT;
                open.token = bytes;
                r = channel_call(owner, ROW_STREAMD_CONTAINERD_SESSION_OPEN, &open.base, NULL, 0, USEC_INFINITY, opening_on_answer,
                                 opening, &opening->request_id);
        }
        return r ? fold(r) : 0;
}

int opening_new(Connection *connection, Opening **ret)
{
        Opening *opening = calloc(1, sizeof(*opening));

        if (!opening)
                return error_origin(-ENOMEM);
        opening->streamd = connection->streamd;
        opening->connection = connection;
        opening->edge = connection_edge(connection);
        list_append(&connection->streamd->openings, &opening->link);
        int r = opening_ask(opening, connection->handshake.token);
        if (r) {
                (void)opening_free(opening);
                return fold(r);
        }
        *ret = opening;
        return 0;
}

void opening_leave(Opening *opening)
{
        opening->connection->opening = NULL;
        opening->connection = NULL;
        channel_withdraw(service_channel(opening->streamd->service, opening->edge), opening->request_id);
}

void openings_free(Streamd *streamd)
{
        list_for_each_safe(i, next, &streamd->openings) {
                Opening *opening = container_of(i, Opening, link);
                channel_cancel(service_channel(streamd->service, opening->edge), opening->request_id);
                (void)opening_free(opening);
        }
}
