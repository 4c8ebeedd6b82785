/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One length-prefixed message on its way in: reserves all of its memory when the length is known, or refuses. */

#include "services/gatewayd/budget.h"

#define GRPC_PREFIX_BYTES 5

typedef struct GrpcMessage {
        uint8_t *bytes; /* owned; not NULL once the prefix is complete, also for an empty message */
        size_t n_bytes; /* received */
        size_t length;  /* announced */
        uint8_t prefix[GRPC_PREFIX_BYTES];
        size_t n_prefix;
        BudgetCharge charge;
} GrpcMessage;

/* Consumes the next bytes of the body. Outcomes: the flag byte is neither 0 nor 1; the message is compressed; it is
 * larger than max_bytes; memory for it is not available now; bytes follow the message. */
enum {
        GRPC_MESSAGE_E_FLAG = 1,
        GRPC_MESSAGE_E_COMPRESSED,
        GRPC_MESSAGE_E_TOO_LARGE,
        GRPC_MESSAGE_E_BUDGET,
        GRPC_MESSAGE_E_EXTRA,
};
int grpc_message_feed(GrpcMessage *m, const uint8_t *bytes, size_t n, size_t max_bytes, Budget *budget);

bool grpc_message_is_complete(const GrpcMessage *m);
/* Frees the bytes and the charge. */
void grpc_message_done(GrpcMessage *m);

void grpc_prefix_encode(uint8_t to[GRPC_PREFIX_BYTES], size_t n_bytes);
