/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A token that was presented to its owner. It outlives a client that leaves before the answer: what the owner has opened by then is
 * closed at the owner, whichever of cancel and answer was first. */

#include "services/streamd/connection.h"

typedef struct Opening {
        List link;              /* in Streamd.openings */
        Streamd *streamd;       /* borrowed; outlives us */
        Connection *connection; /* borrowed; NULL: its client has left */
        EdgeId edge;            /* the owner's */
        uint32_t request_id;    /* on it */
} Opening;

/* Asks the owner; the connection is told by connection_on_opened(). Nobody but the answer ends it. */
int opening_new(Connection *connection, Opening **ret);
/* The client leaves, or is not served. */
void opening_leave(Opening *opening);
/* What an answer has opened is not wanted. */
int opening_refuse(Streamd *streamd, EdgeId edge, const Frame *frame);
/* The end of all: no answer comes any more. */
void openings_free(Streamd *streamd);
