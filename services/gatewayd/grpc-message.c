/* SPDX-License-Identifier: Apache-2.0 */
#include "services/gatewayd/grpc-message.h"

static int grpc_message_begin(GrpcMessage *m, size_t max_bytes, Budget *budget)
{
        const uint8_t *p = m->prefix;
        size_t length = ((size_t)p[1] << 24) | ((size_t)p[2] << 16) | ((size_t)p[3] << 8) | p[4];

        if (p[0] == 1)
                return GRPC_MESSAGE_E_COMPRESSED;
        if (p[0] != 0)
                return GRPC_MESSAGE_E_FLAG;
        if (length > max_bytes)
                return GRPC_MESSAGE_E_TOO_LARGE;
        /* All or nothing: calls that wait for the rest of their memory could wait for each other. Pages are not touched
         * before their bytes arrive. */
        if (!budget_charge(budget, &m->charge, length))
                return GRPC_MESSAGE_E_BUDGET;
        m->bytes = malloc(MAX2(length, (size_t)1));
        if (!m->bytes) {
                budget_release(&m->charge);
                return GRPC_MESSAGE_E_BUDGET;
        }
        m->length = length;
        return 0;
}

int grpc_message_feed(GrpcMessage *m, const uint8_t *bytes, size_t n, size_t max_bytes, Budget *budget)
{
        if (m->n_prefix < GRPC_PREFIX_BYTES) {
                size_t piece = MIN2(n, GRPC_PREFIX_BYTES - m->n_prefix);
                memcpy(m->prefix + m->n_prefix, bytes, piece);
                m->n_prefix += piece;
                bytes += piece;
                n -= piece;
                if (m->n_prefix < GRPC_PREFIX_BYTES)
                        return 0;
                int r = grpc_message_begin(m, max_bytes, budget);
                if (r)
                        return r;
        }
        if (n > m->length - m->n_bytes)
                return GRPC_MESSAGE_E_EXTRA;
        if (n > 0)
                memcpy(m->bytes + m->n_bytes, bytes, n);
        m->n_bytes += n;
        return 0;
}

bool grpc_message_is_complete(const GrpcMessage *m)
{
        return m->bytes && m->n_bytes == m->length;
}

void grpc_message_done(GrpcMessage *m)
{
        free(m->bytes);
        budget_release(&m->charge);
        *m = (GrpcMessage){0};
}

void grpc_prefix_encode(uint8_t to[GRPC_PREFIX_BYTES], size_t n_bytes)
{
        to[0] = 0;
        to[1] = (uint8_t)(n_bytes >> 24);
        to[2] = (uint8_t)(n_bytes >> 16);
        to[3] = (uint8_t)(n_bytes >> 8);
        to[4] = (uint8_t)n_bytes;
}
