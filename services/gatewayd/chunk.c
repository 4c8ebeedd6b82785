/* SPDX-License-Identifier: Apache-2.0 */
#include "services/gatewayd/chunk.h"

#define CHUNK_TAG 0x0a /* field 1, length-delimited (protobuf's encoding document) */
#define CHUNK_LENGTH_BITS 35

/* The end of the object that begins there; 0 if none does. */
static size_t chunk_object_end(const uint8_t *bytes, size_t n, size_t at)
{
        uint64_t length = 0;

        if (at >= n || bytes[at++] != CHUNK_TAG)
                return 0;
        for (unsigned shift = 0; shift < CHUNK_LENGTH_BITS && at < n; shift += 7) {
                length |= (uint64_t)(bytes[at] & 0x7f) << shift;
                if (!(bytes[at++] & 0x80))
                        return length <= n - at ? at + (size_t)length : 0;
        }
        return 0;
}

size_t chunk_end(const uint8_t *bytes, size_t n, size_t at)
{
        size_t end = at;

        while (end < n) {
                size_t next = chunk_object_end(bytes, n, end);
                if (next == 0)
                        return 0;
                if (next - at > CHUNK_BYTES && end > at)
                        break;
                end = next;
        }
        return end;
}
