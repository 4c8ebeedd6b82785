/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Port-forwards: a request waits under its token until streamd presents it; then each connection that streamd asks for is made by
 * sandboxd-setup with the request's permit, and its socket passed on. */

#include "services/sandboxd/sandboxd.h"
#include "services/token-table.h"

#define FORWARDS_MAX 1024   /* waiting and open */
#define FORWARD_CALLS_MAX 256 /* connections that are being made, of all sessions */

typedef struct ForwardTable {
        Sandboxd *sandboxd; /* borrowed; owns us */
        TokenTable tokens; /* Forward.token */
        List forwards;     /* Forward.link */
        size_t n_forwards;
        List calls;        /* ForwardCall.link */
        size_t n_calls;
} ForwardTable;

/* Sets sandboxd->forwards. 0 or -errno. */
int forward_table_new(Sandboxd *sandboxd);
void forward_table_free(Sandboxd *sandboxd);

/* The pod has no containers any more: its sessions end, and streamd is told to close their sockets. 0 or -errno. */
int forward_end_pod(Sandboxd *sandboxd, const char *pod_id);
/* streamd has a peer or lost it: with it went all its sessions. */
void forward_on_streamd(Sandboxd *sandboxd, bool connected);
