/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* streamd: serves the URLs of exec, attach and port-forward. It holds no authority over containers: it presents the bytes of
 * a URL's token to the owner of the object, and gets the fds of that one session. */

#include "lib/list.h"
#include "services/service.h"
#include "services/streamd/http-head.h"

struct event;

#define STREAMD_CONNECTIONS_MAX 256
#define STREAMD_HEAD_USEC (10 * UINT64_C(1000000)) /* to send the whole head */
#define STREAMD_OPEN_USEC (30 * UINT64_C(1000000)) /* for the owner's answer */
#define STREAMD_LINGER_USEC (2 * UINT64_C(1000000)) /* for the client to read a refusal */
#define STREAMD_TOKEN_MAX 128

typedef struct Streamd {
        Service *service; /* borrowed; first member */
        const ConfigStreamd *config;
        int listener_fd;              /* owned */
        struct event *listener_event; /* owned; disabled while there are too many connections */
        List connections;             /* Connection.link */
        size_t n_connections;
} Streamd;

typedef enum ConnectionState {
        CONNECTION_STATE_HEAD,    /* reading the request's head */
        CONNECTION_STATE_OPENING, /* the owner was asked */
        CONNECTION_STATE_ENDING,  /* answered; waiting for the client to close */
} ConnectionState;

typedef enum ConnectionVerb { CONNECTION_VERB_EXEC, CONNECTION_VERB_ATTACH, CONNECTION_VERB_PORT_FORWARD } ConnectionVerb;

typedef struct Connection {
        List link;        /* in Streamd.connections */
        Streamd *streamd; /* borrowed; outlives us */
        int fd;           /* owned */
        ConnectionState state;
        ConnectionVerb verb;
        uint32_t request_id;  /* under way on the owner's edge, while OPENING */
        struct event *event;  /* owned: readable, or the state's deadline */
        size_t n_bytes;
        char bytes[HTTP_HEAD_BYTES_MAX];
} Connection;

/* Takes the fd. */
int connection_new(Streamd *streamd, int fd);
Connection *connection_free(Connection *connection);

/* Starts or stops accepting, as the number of connections allows. */
int streamd_update_listener(Streamd *streamd);
