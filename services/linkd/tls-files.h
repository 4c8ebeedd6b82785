/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where the certificate and the key of streams lie: linkd writes it down as root, before its confinement, in a file that only root can
 * change, and root's linkd-start opens them anew at a reload. So a linkd that was taken over cannot say which files root opens. libc
 * only. */

#include "ipc/control.h"

/* As files they are handed over by. */
#define TLS_FILES_CERTIFICATE "tls-cert"
#define TLS_FILES_KEY "tls-key"

/* "" and "": there are none. 0 or -errno. */
int tls_files_note(const char *directory, const char *certificate, const char *key);
/* The fd is borrowed. */
typedef int (*TlsFilesCallback)(void *userdata, const ControlKept *name, int fd);
/* "": nothing is noted yet. Both or, if one cannot be opened (logged) or none is noted, none. 0 or what the callback returned. */
int tls_files_open(const char *directory, TlsFilesCallback callback, void *userdata);
