/* SPDX-License-Identifier: Apache-2.0 */

/* Fuzz target: the input is what a client sends in SPDY/3.1, to a user of the session who answers data, ends streams and
 * resets some. The first byte cuts the input into pieces; its lowest bit puts frames into WebSocket messages. Besides, what
 * follows is read as a header block of its own, so that no compressor stands in the way. */

#include "services/streamd/be.h"
#include "services/streamd/fuzz.h"
#include "services/streamd/spdy-session.h"

#include <assert.h>

static int fuzz_on_stream(void *userdata, SpdyStream *stream, const SpdyHeaders *headers)
{
        stream->kind = (int)headers->n;
        for (size_t i = 0; i < headers->n; i++)
                stream->kind += (int)(strlen(headers->headers[i].name) + strlen(headers->headers[i].value));
        return spdy_headers_find(headers, "no") ? SPDY_E_REFUSED : 0;
}

static int fuzz_on_data(void *userdata, SpdyStream *stream, const uint8_t *bytes, size_t n)
{
        SpdySession *session = userdata;

        assert(n > 0);
        if (bytes[0] == 'R')
                return spdy_stream_reset(session, stream, SPDY_STATUS_CANCEL);
        return spdy_stream_send(session, stream, bytes, n, bytes[0] == 'F');
}

static int fuzz_on_end(void *userdata, SpdyStream *stream, bool reset)
{
        SpdySession *session = userdata;

        return reset || stream->kind % 2 ? 0 : spdy_stream_send(session, stream, NULL, 0, true);
}

static const SpdyHandlers fuzz_handlers = {fuzz_on_stream, fuzz_on_data, fuzz_on_end};

/* Each byte of the output is reachable, and a client could read it. */
static void fuzz_check(ByteQueue *out)
{
        byte_queue_consume(out, byte_queue_length(out));
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n_input)
{
        ByteQueue out = BYTE_QUEUE_NULL;
        SpdySession session;

        if (n_input < 1)
                return 0;
        uint8_t options = *input++;
        n_input--;
        spdy_session_init(&session, &fuzz_handlers, &session, &out, 8);
        session.in_websocket = options & 1;
        size_t step = options < 2 ? 4096 : options >> 1;
        fuzz_feed(input, n_input, step, (fuzz_check(&out), spdy_session_feed(&session, bytes, n)));
        assert(session.n_streams <= 8);
        assert(session.control.size <= 2 * SPDY_CONTROL_BYTES_MAX);
        spdy_session_done(&session);
        byte_queue_done(&out);

        SpdyInflater inflater = {0};
        SpdyHeaders headers;
        uint8_t block[7 + SPDY_BLOCK_BYTES_MAX] = {0x78, 0x01, 0x00};
        size_t n_block = MIN2(n_input, (size_t)SPDY_BLOCK_BYTES_MAX);
        block[3] = (uint8_t)n_block;
        block[4] = (uint8_t)(n_block >> 8);
        block[5] = (uint8_t)~block[3];
        block[6] = (uint8_t)~block[4];
        if (n_block > 0)
                memcpy(block + 7, input, n_block);
        if (spdy_headers_read(&inflater, block, 7 + n_block, &headers) == 0)
                for (size_t i = 0; i < headers.n; i++)
                        assert(*headers.headers[i].name && strlen(headers.headers[i].value) <= SPDY_FIELD_BYTES_MAX);
        spdy_inflater_done(&inflater);
        return 0;
}
