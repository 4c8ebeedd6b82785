/* SPDX-License-Identifier: Apache-2.0 */
#include "services/streamd/mux.h"
#include "lib/error.h"
#include "lib/strings.h"

/* Of one message: what a client's buffers are made for. */
#define MUX_PIECE_MAX (32 * 1024)

enum {
        MUX_CHANNEL_NONE = -1,    /* the channel's byte is still to come */
        MUX_CHANNEL_CLOSE = 255,  /* the next byte says which one the client closes (v5) */
        MUX_CHANNEL_IGNORE = 256, /* one that means nothing from a client: bytes are dropped */
};

/* SPDY. */

static const char *const mux_names[MUX_STREAMS_N] = {"stdin", "stdout", "stderr", "error", "resize"};

static int mux_on_stream(void *userdata, SpdyStream *stream, const SpdyHeaders *headers)
{
        Mux *mux = userdata;
        const char *type = spdy_headers_find(headers, "streamtype");

        for (int i = 0; i < MUX_STREAMS_N; i++) {
                if (!str_equal(type, mux_names[i]))
                        continue;
                if (mux->opened[i])
                        break;
                stream->kind = i;
                mux->streams[i] = stream;
                mux->opened[i] = true;
                mux->missing[i] = false;
                return 0;
        }
        return SPDY_E_REFUSED;
}

static int mux_on_data(void *userdata, SpdyStream *stream, const uint8_t *bytes, size_t n)
{
        Mux *mux = userdata;

        if (stream->kind != MUX_STDIN && stream->kind != MUX_RESIZE)
                return 0;
        return mux->handlers->on_bytes(mux->userdata, (MuxStream)stream->kind, bytes, n);
}

static int mux_on_end(void *userdata, SpdyStream *stream, bool reset)
{
        Mux *mux = userdata;

        if (reset)
                mux->streams[stream->kind] = NULL;
        return stream->kind == MUX_STDIN ? mux->handlers->on_stdin_end(mux->userdata) : 0;
}

static const SpdyHandlers mux_spdy_handlers = {
        .on_stream = mux_on_stream,
        .on_data = mux_on_data,
        .on_end = mux_on_end,
};

/* WebSocket. */

/* The first byte of a message names its channel: as a number, or as a digit where the rest is base64. */
static void mux_choose_channel(Mux *mux, uint8_t byte)
{
        int channel = mux->protocol->base64 ? byte - '0' : byte;

        if (mux->protocol->version >= 5 && byte == MUX_CHANNEL_CLOSE)
                mux->channel = MUX_CHANNEL_CLOSE;
        else
                mux->channel = channel == MUX_STDIN || channel == MUX_RESIZE ? channel : MUX_CHANNEL_IGNORE;
}

static int mux_pass(Mux *mux, const uint8_t *bytes, size_t n)
{
        uint8_t decoded[BASE64_DECODED_MAX(1024)];
        size_t n_decoded;
        int r = 0;

        if (!mux->protocol->base64)
                return n > 0 ? mux->handlers->on_bytes(mux->userdata, (MuxStream)mux->channel, bytes, n) : 0;
        for (size_t at = 0; at < n && r == 0; at += 1024) {
                if (base64_decode(&mux->base64, bytes + at, MIN2(n - at, (size_t)1024), decoded, &n_decoded))
                        return WEBSOCKET_E_VIOLATION;
                if (n_decoded > 0)
                        r = mux->handlers->on_bytes(mux->userdata, (MuxStream)mux->channel, decoded, n_decoded);
        }
        return r;
}

static int mux_pass_end(Mux *mux)
{
        uint8_t decoded[2];
        size_t n;

        if (!mux->protocol->base64)
                return 0;
        if (base64_decode_end(&mux->base64, decoded, &n))
                return WEBSOCKET_E_VIOLATION;
        return n > 0 ? mux->handlers->on_bytes(mux->userdata, (MuxStream)mux->channel, decoded, n) : 0;
}

static int mux_on_part(void *userdata, bool first, bool last, uint8_t *bytes, size_t n)
{
        Mux *mux = userdata;
        int r = 0;

        if (first)
                mux->channel = MUX_CHANNEL_NONE;
        if (mux->channel == MUX_CHANNEL_NONE && n > 0) {
                mux_choose_channel(mux, *bytes++);
                n--;
        }
        if (mux->channel == MUX_CHANNEL_CLOSE && n > 0) {
                bool is_stdin = *bytes == MUX_STDIN;
                mux->channel = MUX_CHANNEL_IGNORE;
                return is_stdin ? mux->handlers->on_stdin_end(mux->userdata) : 0;
        }
        if (mux->channel == MUX_STDIN || mux->channel == MUX_RESIZE) {
                r = mux_pass(mux, bytes, n);
                if (r == 0 && last)
                        r = mux_pass_end(mux);
        }
        return r;
}

static const WebsocketHandlers mux_websocket_handlers = {.on_part = mux_on_part};

/* One message per piece, its channel ahead. */
static int mux_send_message(Mux *mux, MuxStream stream, const uint8_t *bytes, size_t n)
{
        uint8_t message[1 + MUX_PIECE_MAX];
        size_t piece_max = mux->protocol->base64 ? MUX_PIECE_MAX / 4 * 3 : MUX_PIECE_MAX;

        do {
                size_t piece = MIN2(n, piece_max), length = piece;
                if (mux->protocol->base64) {
                        message[0] = (uint8_t)('0' + stream);
                        length = base64_encode(message + 1, bytes, piece);
                } else {
                        message[0] = (uint8_t)stream;
                        if (piece > 0)
                                memcpy(message + 1, bytes, piece);
                }
                int r = websocket_session_send(&mux->websocket,
                                               mux->protocol->base64 ? WEBSOCKET_TEXT : WEBSOCKET_BINARY, message, 1 + length);
                if (r)
                        return fold(r);
                bytes += piece;
                n -= piece;
        } while (n > 0);
        return 0;
}

/* Both. */

void mux_init(Mux *mux, const MuxProtocol *protocol, const MuxHandlers *handlers, void *userdata, ByteQueue *out, bool has_stdin,
              bool has_stdout, bool has_stderr)
{
        *mux = (Mux){.protocol = protocol, .handlers = handlers, .userdata = userdata};
        if (protocol->medium == MUX_MEDIUM_WEBSOCKET) {
                websocket_session_init(&mux->websocket, &mux_websocket_handlers, mux, out);
                return;
        }
        spdy_session_init(&mux->spdy, &mux_spdy_handlers, mux, out, MUX_STREAMS_N);
        mux->missing[MUX_STDIN] = has_stdin;
        mux->missing[MUX_STDOUT] = has_stdout;
        mux->missing[MUX_STDERR] = has_stderr;
        mux->missing[MUX_ERROR] = true;
}

void mux_done(Mux *mux)
{
        spdy_session_done(&mux->spdy);
        byte_queue_done(&mux->status);
}

bool mux_is_ready(const Mux *mux)
{
        for (int i = 0; i < MUX_STREAMS_N; i++)
                if (mux->missing[i])
                        return false;
        return true;
}

bool mux_is_finished(const Mux *mux)
{
        return mux->finished && (mux->protocol->medium == MUX_MEDIUM_WEBSOCKET || mux->opened[MUX_ERROR]);
}

/* After the end: the status if it can be told now, and the end of whatever is open. */
static int mux_end_all(Mux *mux)
{
        int r = 0;

        if (mux->streams[MUX_ERROR] && byte_queue_length(&mux->status) > 0) {
                r = spdy_stream_send(&mux->spdy, mux->streams[MUX_ERROR], byte_queue_head(&mux->status),
                                     byte_queue_length(&mux->status), false);
                byte_queue_done(&mux->status);
        }
        for (int i = 0; i < MUX_STREAMS_N && r == 0; i++)
                r = mux_end(mux, (MuxStream)i);
        return r ? fold(r) : 0;
}

int mux_feed(Mux *mux, uint8_t *bytes, size_t n)
{
        bool websocket = mux->protocol->medium == MUX_MEDIUM_WEBSOCKET;
        int r = websocket ? websocket_session_feed(&mux->websocket, bytes, n) : spdy_session_feed(&mux->spdy, bytes, n);

        if (r < 0)
                return fold(r);
        if (r == 0) {
                r = mux->finished && !websocket ? mux_end_all(mux) : 0;
                return r ? fold(r) : 0;
        }
        return r == (websocket ? (int)WEBSOCKET_E_GOODBYE : (int)SPDY_E_GOODBYE) ? MUX_E_GOODBYE : MUX_E_VIOLATION;
}

int mux_send(Mux *mux, MuxStream stream, const uint8_t *bytes, size_t n)
{
        int r = 0;

        if (mux->protocol->medium == MUX_MEDIUM_WEBSOCKET)
                r = mux_send_message(mux, stream, bytes, n);
        else if (mux->streams[stream])
                r = spdy_stream_send(&mux->spdy, mux->streams[stream], bytes, n, false);
        return r ? fold(r) : 0;
}

int mux_end(Mux *mux, MuxStream stream)
{
        SpdyStream *ended = mux->streams[stream];

        /* A WebSocket has no end of one channel from our side: clients do not know it. */
        if (mux->protocol->medium == MUX_MEDIUM_WEBSOCKET || !ended)
                return 0;
        mux->streams[stream] = NULL;
        int r = spdy_stream_send(&mux->spdy, ended, NULL, 0, true);
        return r ? fold(r) : 0;
}

int mux_finish(Mux *mux, const char *status, size_t n)
{
        int r;

        mux->finished = true;
        if (mux->protocol->medium == MUX_MEDIUM_WEBSOCKET) {
                r = n > 0 ? mux_send(mux, MUX_ERROR, (const uint8_t *)status, n) : 0;
                if (r == 0)
                        r = websocket_session_close(&mux->websocket, WEBSOCKET_CLOSE_NORMAL);
        } else {
                r = byte_queue_append(&mux->status, status, n);
                if (r == 0)
                        r = mux_end_all(mux);
        }
        return r ? fold(r) : 0;
}
