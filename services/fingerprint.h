/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Tells whether two requests ask for the same: a hash that does not depend on the order of maps, which clients shuffle. */

#include "ipc/decode.h"

#define FINGERPRINT_BYTES 32

/* 0 or -errno. */
int fingerprint_make(const ProtobufCMessage *message, uint8_t ret[FINGERPRINT_BYTES]);
