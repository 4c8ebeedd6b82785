/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Pieces of a packed list: messages that are cut between two objects, without being decoded. */

#include "lib/base.h"

#define CHUNK_BYTES (64 * 1024) /* or one object that is larger */

/* Where the piece that begins at at ends, in a list of n bytes whose only field is the first: n at last; 0: these are no objects. */
size_t chunk_end(const uint8_t *bytes, size_t n, size_t at);
