/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the head of a request asks for, and the 101 that agrees: which verb, which token, SPDY/3.1 or WebSocket, which
 * sub-protocol. All of it is settled before the token is presented, which uses it up. */

#include "services/streamd/http-head.h"
#include "services/streamd/mux.h"

#define HANDSHAKE_TOKEN_MAX 128
#define HANDSHAKE_ANSWER_MAX 512

typedef enum HandshakeVerb { HANDSHAKE_EXEC, HANDSHAKE_ATTACH, HANDSHAKE_PORT_FORWARD } HandshakeVerb;

typedef struct Handshake {
        HandshakeVerb verb;
        char token[HANDSHAKE_TOKEN_MAX + 1]; /* base64url, as it stands in the URL */
        MuxMedium medium;
        const MuxProtocol *protocol; /* of exec and attach. A port-forward has one if it is in the channels of a WebSocket, else it is SPDY,
                                        in a WebSocket if that is the medium */
        const char *name;            /* the sub-protocol to be named in the answer; NULL: the client named none */
        char accept[BASE64_ENCODED_MAX(20) + 1]; /* WebSocket: the answer to its key */
} Handshake;

enum {
        HANDSHAKE_E_NOT_FOUND = 1, /* no such path, or no token */
        HANDSHAKE_E_METHOD,
        HANDSHAKE_E_UPGRADE, /* it asks for no upgrade, or for none that is known */
        HANDSHAKE_E_WEBSOCKET, /* not version 13, or no key */
        HANDSHAKE_E_PROTOCOL, /* no sub-protocol in common */
};

int handshake_read(const HttpHead *head, Handshake *ret);
/* Returns the length. */
size_t handshake_write(const Handshake *handshake, char to[static HANDSHAKE_ANSWER_MAX]);
/* "exec", "attach", "port-forward". */
const char *handshake_verb_name(HandshakeVerb verb);
