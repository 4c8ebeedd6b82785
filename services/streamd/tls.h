/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* TLS of the stream listener, where it is configured: OpenSSL's libssl, loaded only then. Linked, it would cost every node half
 * a megabyte of relocations, more than streamd itself has, for what only few turn on. */

#include "lib/base.h"
#include <sys/types.h>

typedef struct TlsServer TlsServer;
typedef struct TlsPeer TlsPeer;

/* Before confinement, which forbids executable memory. -ENOENT (logged): there is no such library. */
int tls_server_load(TlsServer **ret);
/* After it. PEM: a certificate with its chain, and its key; borrowed fds of files, read from their beginning. -EINVAL (logged): what
 * they hold is not that. Again: clients that come from now on get these; after a failure, what was there before. */
int tls_server_configure(TlsServer *server, int certificate_fd, int key_fd);
TlsServer *tls_server_free(TlsServer *server);

/* The fd is borrowed, connected and non-blocking. */
int tls_peer_new(TlsServer *server, int fd, TlsPeer **ret);
TlsPeer *tls_peer_free(TlsPeer *peer);
/* As recv() and send(): a count, 0 for an end, -1 with errno, EAGAIN when the socket must be waited for. What was to be sent and was
 * not must be what is sent next. */
ssize_t tls_peer_receive(TlsPeer *peer, void *bytes, size_t n);
ssize_t tls_peer_send(TlsPeer *peer, const void *bytes, size_t n);
/* Bytes are here that no event will tell of. */
bool tls_peer_has_pending(const TlsPeer *peer);
/* Nothing more will be sent; tells the client. */
void tls_peer_end(TlsPeer *peer);
