/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Big-endian numbers as they stand on the wire, at any alignment. */

#include "lib/base.h"

static inline uint16_t be16(const uint8_t *bytes)
{
        return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static inline uint32_t be32(const uint8_t *bytes)
{
        return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static inline uint64_t be64(const uint8_t *bytes)
{
        return (uint64_t)be32(bytes) << 32 | be32(bytes + 4);
}

static inline void be16_write(uint8_t *to, uint16_t value)
{
        to[0] = (uint8_t)(value >> 8);
        to[1] = (uint8_t)value;
}

static inline void be32_write(uint8_t *to, uint32_t value)
{
        be16_write(to, (uint16_t)(value >> 16));
        be16_write(to + 2, (uint16_t)value);
}

static inline void be64_write(uint8_t *to, uint64_t value)
{
        be32_write(to, (uint32_t)(value >> 32));
        be32_write(to + 4, (uint32_t)value);
}
