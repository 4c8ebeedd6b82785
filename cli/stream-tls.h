/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The client's side of TLS, for a stream whose URL says https: OpenSSL's libssl, loaded only then. The server is verified: by the CAs
 * that are named, or by the system's. */

#include "cli/cli.h"
#include <sys/types.h>

typedef struct StreamTls StreamTls;

/* The handshake, on a connected socket that blocks still; the fd is borrowed. host: the URL's, an address. NULL after an error that was
 * told. */
StreamTls *stream_tls_new(int fd, const char *host, const StreamOptions *options);
StreamTls *stream_tls_free(StreamTls *tls);
/* As recv() and send(): a count, 0 for an end, -1 with errno, EAGAIN when the socket must be waited for. What was to be sent and was not
 * must be what is sent next. */
ssize_t stream_tls_receive(StreamTls *tls, void *bytes, size_t n);
ssize_t stream_tls_send(StreamTls *tls, const void *bytes, size_t n);
