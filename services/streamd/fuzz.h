/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the fuzz targets of streamd share. */

#include "lib/fuzz.h"

/* Feeds the bytes in pieces, each an exact-size copy that may be changed: feed(bytes, n) is 0 to go on. */
#define fuzz_feed(input, n_input, step, feed)                                                                          \
        do {                                                                                                           \
                for (size_t fuzz_i_ = 0; fuzz_i_ < (n_input); fuzz_i_ += (step)) {                                     \
                        size_t n = MIN2((size_t)(step), (n_input) - fuzz_i_);                                          \
                        _cleanup_free_ uint8_t *bytes = malloc(n);                                                     \
                        memcpy(bytes, (input) + fuzz_i_, n);                                                           \
                        if (feed)                                                                                      \
                                break;                                                                                 \
                }                                                                                                      \
        } while (0)
