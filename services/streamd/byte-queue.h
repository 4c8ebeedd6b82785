/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Bytes that wait for their turn, in one piece of memory that is given back as soon as none wait. Who appends decides how
 * many there may be. */

#include "lib/base.h"

typedef struct ByteQueue {
        uint8_t *bytes; /* owned; NULL while empty */
        size_t start, end;
        size_t size;
} ByteQueue;

#define BYTE_QUEUE_NULL ((ByteQueue){0})

static inline size_t byte_queue_length(const ByteQueue *queue)
{
        return queue->end - queue->start;
}

static inline const uint8_t *byte_queue_head(const ByteQueue *queue)
{
        return queue->bytes + queue->start;
}

/* 0 or -ENOMEM, with the queue as it was. */
int byte_queue_append(ByteQueue *queue, const void *bytes, size_t n);
/* Drops the first n, which must be there. */
void byte_queue_consume(ByteQueue *queue, size_t n);
/* Empty and without memory. */
void byte_queue_done(ByteQueue *queue);
