/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* For hands: keeps the request that a permit seals, beside what was made for it. It is a length and a hash here: nothing reads it. */

#include "ipc/seal.h"

/* Writes what is in the sealed memory file into "request" in that directory, for root alone. max_bytes: what such a request may have on
 * its edge. 0, an outcome or -errno. */
enum { KEPT_REQUEST_E_LARGE = 1, KEPT_REQUEST_E_OTHER /* not the one that the permit seals */ };
int kept_request_save(int dir_fd, const Permit *permit, int request_fd, size_t max_bytes);
