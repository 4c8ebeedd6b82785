/* SPDX-License-Identifier: Apache-2.0 */

/* Fuzz target: the input is the head of a request, as far as it came. */

#include "services/streamd/fuzz.h"
#include "services/streamd/handshake.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        _cleanup_free_ char *copy = malloc(n + !n);
        char answer[HANDSHAKE_ANSWER_MAX];
        Handshake handshake;
        HttpHead head;

        if (n > 0)
                memcpy(copy, bytes, n);
        if (http_head_parse(copy, n, &head))
                return 0;
        assert(head.n_bytes <= n);
        if (handshake_read(&head, &handshake) == 0)
                assert(handshake_write(&handshake, answer) < sizeof(answer));
        return 0;
}
