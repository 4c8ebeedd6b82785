/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Made-up messages and fds for tests and fuzz seeds, from descriptors and kinds alone. */

#include "ipc/decode.h"
#include "ipc/wire.h"

/* A message with every field filled: two elements in repeated ones, one case of each oneof, children down to depth.
 * Lives in the arena, which must be large enough. */
ProtobufCMessage *sample_message(DecodeArena *arena, const ProtobufCMessageDescriptor *type, unsigned depth);

/* The packed body of a row's direction: a sample message, or a flat struct of zeros. Owned. */
void sample_body(const RowBody *body, uint8_t **ret, size_t *ret_n);

/* A new fd of the kind, owned by the caller; -1 where this machine has none (a pty). */
int sample_fd(FdKind kind);
/* One that is of no kind: a directory. */
int sample_fd_wrong(void);

/* Fills fds with the first n of a row's; false where one cannot be made. */
bool sample_fds(const RowFds *kinds, size_t n, int fds[WIRE_FDS_MAX]);
void sample_fds_done(int fds[WIRE_FDS_MAX]);
