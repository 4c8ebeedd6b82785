/* SPDX-License-Identifier: Apache-2.0 */

/* Fuzz target: the input is what a client of exec sends, or one of a port-forward in channels. The first byte chooses the sub-protocol
 * and whether there is a terminal, the second cuts the rest into pieces. Stdin and ports are echoed, resizes are read. */

#include "services/streamd/fuzz.h"
#include "services/streamd/mux.h"
#include "services/streamd/port-channels.h"
#include "services/streamd/resize.h"
#include "services/streamd/session-status.h"

#include <assert.h>

typedef struct Fuzz {
        Mux mux;
        ResizeReader resize;
} Fuzz;

static int fuzz_on_bytes(void *userdata, MuxStream stream, const uint8_t *bytes, size_t n)
{
        Fuzz *fuzz = userdata;
        ResizeEvent event;

        assert(n > 0);
        if (stream == MUX_RESIZE) {
                (void)resize_feed(&fuzz->resize, bytes, n, &event);
                return 0;
        }
        assert(stream == MUX_STDIN);
        return mux_send(&fuzz->mux, MUX_STDOUT, bytes, n);
}

static int fuzz_on_stdin_end(void *userdata)
{
        Fuzz *fuzz = userdata;

        return mux_end(&fuzz->mux, MUX_STDOUT);
}

static const MuxHandlers fuzz_handlers = {fuzz_on_bytes, fuzz_on_stdin_end};

static void fuzz_take(ByteQueue *out)
{
        byte_queue_consume(out, byte_queue_length(out));
}

static int fuzz_on_port(void *userdata, size_t port_index, const uint8_t *bytes, size_t n)
{
        assert(n > 0 && port_index < 3);
        return port_channels_send(userdata, port_index, bytes[0] & 1, bytes, n);
}

static void fuzz_ports(const uint8_t *input, size_t n_input)
{
        static const uint32_t ports[] = {1, 80, 65535};
        ByteQueue out = BYTE_QUEUE_NULL;
        PortChannels channels;

        if (port_channels_init(&channels, ports, 3, input[0] & 1, fuzz_on_port, &channels, &out) < 0)
                abort();
        fuzz_feed(input + 2, n_input - 2, input[1] ? input[1] : 4096, (fuzz_take(&out), port_channels_feed(&channels, bytes, n)));
        byte_queue_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n_input)
{
        static const MuxProtocol protocols[] = {
                {"", MUX_MEDIUM_SPDY, 4, false},      {"", MUX_MEDIUM_SPDY, 1, false},
                {"", MUX_MEDIUM_WEBSOCKET, 5, false}, {"", MUX_MEDIUM_WEBSOCKET, 4, true},
        };
        ByteQueue out = BYTE_QUEUE_NULL;
        char status[SESSION_STATUS_MAX];
        Fuzz fuzz = {0};

        if (n_input < 2)
                return 0;
        if (input[0] & 16) {
                fuzz_ports(input, n_input);
                return 0;
        }
        bool tty = input[0] & 4;
        size_t step = input[1] ? input[1] : 4096;
        mux_init(&fuzz.mux, &protocols[input[0] & 3], &fuzz_handlers, &fuzz, &out, true, true, !tty);
        fuzz_feed(input + 2, n_input - 2, step, (fuzz_take(&out), mux_feed(&fuzz.mux, bytes, n)));
        size_t n_status = session_status_write(status, &(SessionStatus){.exit_code = input[0]}, input[0] & 8);
        if (mux_finish(&fuzz.mux, status, n_status) < 0)
                abort();
        fuzz_feed(input + 2, n_input - 2, step, (fuzz_take(&out), mux_feed(&fuzz.mux, bytes, n)));
        mux_done(&fuzz.mux);
        byte_queue_done(&out);
        return 0;
}
