/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Port-forwards: a request waits under its token until streamd presents it; then each connection that streamd asks for is made by
 * sandboxd-setup with the request's permit, and its socket passed on. */

#include "services/sandboxd/sandboxd.h"
#include "services/token-table.h"

typedef struct ForwardTable {
        Sandboxd *sandboxd; /* borrowed; owns us */
        TokenTable tokens; /* Forward.token */
        List forwards;     /* Forward.link */
        size_t n_forwards;
        List calls;        /* ForwardCall.link, in the order in which they came */
        size_t n_calls;
} ForwardTable;

/* Sets sandboxd->forwards. 0 or -errno. */
int forward_table_new(Sandboxd *sandboxd);
void forward_table_free(Sandboxd *sandboxd);

/* The pod has no containers any more: its sessions end, and streamd is told to close their sockets. 0 or -errno. */
int forward_end_pod(Sandboxd *sandboxd, const char *pod_id);
/* streamd's edge was lost: the next one says which sessions are still there (forward_resume), and that those were all. */
void forward_on_streamd(Sandboxd *sandboxd, bool connected);
/* streamd gave up a forward_connect. */
void forward_cancelled(Sandboxd *sandboxd, uint32_t request_id);
