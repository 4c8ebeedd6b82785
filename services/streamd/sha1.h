/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* SHA-1 (RFC 3174), for the one place that asks for it: the answer to a WebSocket's key, which proves that a server means it
 * and keeps nothing secret. A cryptographic library would cost streamd more memory than all its sessions. */

#include "lib/base.h"

#define SHA1_BYTES 20

/* n is at most 119: two blocks with their padding. */
void sha1_short(const void *bytes, size_t n, uint8_t ret[static SHA1_BYTES]);
