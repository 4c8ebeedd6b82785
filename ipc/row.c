/* SPDX-License-Identifier: Apache-2.0 */

/* The generic check of a frame against its row: the one place where a schema's promises are enforced. */

#include "ipc/wire.h"
#include "lib/error.h"

static int row_check_fds(const RowFds *fds, const WireFrame *frame)
{
        if (frame->n_fds < fds->n_min) /* check: row-fds-min */
                return WIRE_E_FDS;
        /* Behind the row's last one every kind is NONE, which nothing is: a surplus fd is of the wrong kind. */
        for (size_t i = 0; i < frame->n_fds; i++) {
                int r = fd_kind_check(frame->fds[i], (FdKind)fds->kinds[i]);

                if (r < 0)
                        return fold(r);
                if (r > 0) /* check: row-fd-kind */
                        return WIRE_E_FDS;
        }
        return 0;
}

int row_check_body(const RowBody *body, const WireFrame *frame)
{
        int r;

        if (frame->header.length > body->max_length) /* check: row-max-length */
                return WIRE_E_LENGTH;
        if (!body->type && frame->header.length != body->flat_size) /* check: row-flat-size */
                return WIRE_E_LENGTH;
        r = row_check_fds(&body->fds, frame);
        return r < 0 ? fold(r) : r;
}

int row_check(const EdgeSchema *schema, EdgeSide from, const WireFrame *frame, const MessageRow **ret)
{
        const MessageRow *row = edge_schema_find(schema, frame->header.id);
        bool is_cancel = frame->header.flags & WIRE_FLAG_CANCEL;
        int r;

        if (!row) /* check: row-unknown */
                return WIRE_E_UNKNOWN;
        if (frame->header.flags & WIRE_FLAG_REPLY) /* check: row-reply */
                return WIRE_E_UNKNOWN;
        if (row->sender != from) /* check: row-sender */
                return WIRE_E_UNKNOWN;
        if (row->kind == ROW_KIND_REQUEST && frame->header.request_id == 0) /* check: row-request-id */
                return WIRE_E_MALFORMED;
        if (row->kind == ROW_KIND_EVENT && frame->header.request_id != 0) /* check: row-event-id */
                return WIRE_E_MALFORMED;
        if (is_cancel && frame->n_fds > 0) /* check: cancel-fds */
                return WIRE_E_FDS;
        r = is_cancel ? 0 : row_check_body(&row->body, frame);
        if (r != 0)
                return r < 0 ? fold(r) : r;
        *ret = row;
        return 0;
}

static bool row_body_has_fds(const RowBody *body)
{
        return body->fds.n_max > 0 || body->max_length > WIRE_PAYLOAD_MAX;
}

bool edge_schema_has_fds(const EdgeSchema *schema, EdgeSide from)
{
        for (size_t i = 0; i < schema->n_rows; i++) {
                const MessageRow *row = &schema->rows[i];
                const RowBody *body = row->sender == from ? &row->body : &row->reply;

                if ((row->sender == from || row->kind == ROW_KIND_REQUEST) && row_body_has_fds(body))
                        return true;
        }
        return false;
}
