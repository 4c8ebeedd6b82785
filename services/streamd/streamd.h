/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* streamd: serves the URLs of exec, attach and port-forward. It holds no authority over containers: it presents the bytes of
 * a URL's token to the owner of the object, and gets the fds of that one session. */

#include "lib/clock.h"
#include "lib/list.h"
#include "services/service.h"
#include "services/stream-share.h"

struct event;

#define STREAMD_HEAD_USEC (10 * USEC_PER_SEC)     /* to send the whole head */
#define STREAMD_OPEN_USEC (30 * USEC_PER_SEC)     /* for the owner's answer */
#define STREAMD_CREATION_USEC (30 * USEC_PER_SEC) /* for the client to open its streams, as kubelet's server has it */
#define STREAMD_FLUSH_USEC (30 * USEC_PER_SEC)    /* for the client to take the last bytes, without a pause longer than that */
#define STREAMD_LINGER_USEC (10 * USEC_PER_SEC)   /* for the client to close */
#define STREAMD_READ_BYTES (32 * 1024)            /* at a turn, from whatever is ready */
/* What waits for the client: above the first no more is read from processes, above the second none of its frames either,
 * which could only ask for more answers. */
#define STREAMD_OUT_HIGH (64 * 1024)
#define STREAMD_OUT_MAX (192 * 1024)
/* What waits for processes and pods: above it the client is not read. */
#define STREAMD_IN_HIGH (64 * 1024)

typedef struct Streamd {
        Service *service; /* borrowed; first member */
        const ConfigStreamd *config;
        struct TlsServer *tls;        /* owned; NULL: none */
        int listener_fd;              /* owned */
        struct event *listener_event; /* owned; disabled while there are too many connections, and all are served */
        List connections;             /* Connection.link */
        size_t n_connections;
        List sessions;  /* Session.link */
        List forwards;  /* Forward.link */
        List openings;  /* Opening.link */
        size_t n_pairs; /* of all connections: those that have a socket, or asked for one */
} Streamd;

/* Accepts again: one connection has ended. */
int streamd_update_listener(Streamd *streamd);
