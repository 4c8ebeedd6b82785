/* SPDX-License-Identifier: Apache-2.0 */
#include "services/streamd/byte-queue.h"
#include "lib/error.h"
#include <assert.h>

#define BYTE_QUEUE_MIN ((size_t)512)

void byte_queue_done(ByteQueue *queue)
{
        free(queue->bytes);
        *queue = BYTE_QUEUE_NULL;
}

int byte_queue_append(ByteQueue *queue, const void *bytes, size_t n)
{
        size_t length = byte_queue_length(queue);

        if (n == 0)
                return 0;
        if (queue->start > 0 && queue->end + n > queue->size) {
                memmove(queue->bytes, queue->bytes + queue->start, length);
                queue->start = 0;
                queue->end = length;
        }
        if (queue->end + n > queue->size) {
                size_t size = MAX2(queue->size, BYTE_QUEUE_MIN);
                while (size < length + n)
                        size *= 2;
                uint8_t *grown = realloc(queue->bytes, size);
                if (!grown)
                        return error_origin(-ENOMEM);
                queue->bytes = grown;
                queue->size = size;
        }
        memcpy(queue->bytes + queue->end, bytes, n);
        queue->end += n;
        return 0;
}

void byte_queue_consume(ByteQueue *queue, size_t n)
{
        assert(n <= byte_queue_length(queue));
        queue->start += n;
        if (queue->start == queue->end)
                byte_queue_done(queue);
}
