/* SPDX-License-Identifier: Apache-2.0 */
#include "services/streamd/mux.h"
#include "lib/strings.h"
#include "services/streamd/test-client.h"

typedef struct Fixture {
        Client client;
        ByteQueue out, got[MUX_STREAMS_N];
        int n_ends;
        Mux mux;
} Fixture;

static int on_bytes(void *userdata, MuxStream stream, const uint8_t *bytes, size_t n)
{
        Fixture *fixture = userdata;

        assert_true(stream == MUX_STDIN || stream == MUX_RESIZE);
        assert_true(n > 0);
        assert_ok(byte_queue_append(&fixture->got[stream], bytes, n));
        return 0;
}

static int on_stdin_end(void *userdata)
{
        ((Fixture *)userdata)->n_ends++;
        return 0;
}

static const MuxHandlers handlers = {on_bytes, on_stdin_end};
static const MuxProtocol spdy_v4 = {"v4.channel.k8s.io", MUX_MEDIUM_SPDY, 4, false};
static const MuxProtocol websocket_v5 = {"v5.channel.k8s.io", MUX_MEDIUM_WEBSOCKET, 5, false};
static const MuxProtocol websocket_v4 = {"v4.channel.k8s.io", MUX_MEDIUM_WEBSOCKET, 4, false};
static const MuxProtocol websocket_base64 = {"v4.base64.channel.k8s.io", MUX_MEDIUM_WEBSOCKET, 4, true};

static void fixture_init(Fixture *fixture, const MuxProtocol *protocol, bool tty)
{
        memset(fixture, 0, sizeof(*fixture));
        mux_init(&fixture->mux, protocol, &handlers, fixture, &fixture->out, true, true, !tty);
}

static void fixture_done(Fixture *fixture)
{
        mux_done(&fixture->mux);
        client_done(&fixture->client);
        byte_queue_done(&fixture->out);
        for (size_t i = 0; i < MUX_STREAMS_N; i++)
                byte_queue_done(&fixture->got[i]);
}

static int fixture_feed(Fixture *fixture, size_t step)
{
        return client_feed(&fixture->client, step, mux_feed(&fixture->mux, bytes, n));
}

static void assert_got(Fixture *fixture, MuxStream stream, const char *text)
{
        assert_eq_mem(byte_queue_head(&fixture->got[stream]), byte_queue_length(&fixture->got[stream]), text, strlen(text));
}

static void assert_sent(Fixture *fixture, const char *bytes, size_t n)
{
        assert_eq_mem(byte_queue_head(&fixture->out), byte_queue_length(&fixture->out), bytes, n);
        byte_queue_done(&fixture->out);
}

static void test_spdy(void)
{
        Fixture fixture;

        fixture_init(&fixture, &spdy_v4, false);
        client_open_type(&fixture.client, 1, "error");
        client_open_type(&fixture.client, 3, "stdin");
        client_open_type(&fixture.client, 5, "stdout");
        client_data(&fixture.client, 1, "", true); /* kubectl writes no errors, and says so */
        assert_ok(fixture_feed(&fixture, 5));
        assert_false(mux_is_ready(&fixture.mux));
        client_open_type(&fixture.client, 7, "resize"); /* it has no terminal: what comes means nothing */
        client_open_type(&fixture.client, 9, "stdout"); /* there is one already */
        client_open_type(&fixture.client, 11, "strange");
        assert_ok(fixture_feed(&fixture, 5));
        assert_false(mux_is_ready(&fixture.mux));
        client_open_type(&fixture.client, 13, "stderr");
        client_data(&fixture.client, 3, "in", false);
        client_data(&fixture.client, 5, "nonsense", false);
        client_data(&fixture.client, 3, "put", true);
        assert_ok(fixture_feed(&fixture, 5));
        assert_true(mux_is_ready(&fixture.mux));
        assert_got(&fixture, MUX_STDIN, "input");
        assert_eq_int(fixture.n_ends, 1);
        byte_queue_done(&fixture.out);

        assert_ok(mux_send(&fixture.mux, MUX_STDOUT, (const uint8_t *)"o", 1));
        assert_ok(mux_end(&fixture.mux, MUX_STDOUT));
        assert_ok(mux_send(&fixture.mux, MUX_STDOUT, (const uint8_t *)"o", 1)); /* too late */
        assert_sent(&fixture, "\0\0\0\5\0\0\0\1o\0\0\0\5\1\0\0\0", 17);
        client_words(&fixture.client, SPDY_RST_STREAM, 13, SPDY_STATUS_CANCEL);
        assert_ok(fixture_feed(&fixture, 5));
        assert_ok(mux_send(&fixture.mux, MUX_STDERR, (const uint8_t *)"e", 1));
        assert_ok(mux_finish(&fixture.mux, "bye", 3));
        assert_sent(&fixture, "\0\0\0\1\0\0\0\3bye\0\0\0\3\1\0\0\0\0\0\0\1\1\0\0\0\0\0\0\7\1\0\0\0", 35);
        fixture_done(&fixture);
}

static void test_spdy_tty(void)
{
        Fixture fixture;

        fixture_init(&fixture, &spdy_v4, true);
        client_open_type(&fixture.client, 1, "error");
        client_open_type(&fixture.client, 5, "stdin");
        assert_ok(fixture_feed(&fixture, 100));
        assert_false(mux_is_ready(&fixture.mux));
        client_open_type(&fixture.client, 7, "stdout");
        client_open_type(&fixture.client, 9, "resize");
        client_data(&fixture.client, 9, "{}", false);
        client_words(&fixture.client, SPDY_RST_STREAM, 5, SPDY_STATUS_CANCEL);
        assert_ok(fixture_feed(&fixture, 100));
        assert_true(mux_is_ready(&fixture.mux));
        assert_got(&fixture, MUX_RESIZE, "{}");
        assert_eq_int(fixture.n_ends, 1);
        client_words(&fixture.client, SPDY_GOAWAY, 0, 0);
        assert_eq_int(fixture_feed(&fixture, 100), MUX_E_GOODBYE);
        fixture_done(&fixture);
}

static void test_websocket(void)
{
        static const size_t steps[] = {1, 3, 1000};

        for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
                Fixture fixture;
                fixture_init(&fixture, &websocket_v5, true);
                assert_true(mux_is_ready(&fixture.mux));
                client_websocket(&fixture.client, 0x82, "\0in", 3);
                client_websocket(&fixture.client, 0x02, "", 0);
                client_websocket(&fixture.client, 0x80, "\0put", 4);
                client_websocket(&fixture.client, 0x82, "\4{}", 3);
                client_websocket(&fixture.client, 0x82, "\1out", 4);
                client_websocket(&fixture.client, 0x82, "\x40what", 5);
                client_websocket(&fixture.client, 0x82, "\xff\1", 2);
                client_websocket(&fixture.client, 0x82, "\xff", 1);
                assert_ok(fixture_feed(&fixture, steps[i]));
                assert_got(&fixture, MUX_STDIN, "input");
                assert_got(&fixture, MUX_RESIZE, "{}");
                assert_eq_int(fixture.n_ends, 0);
                client_websocket(&fixture.client, 0x82, "\xff\0", 2);
                assert_ok(fixture_feed(&fixture, steps[i]));
                assert_eq_int(fixture.n_ends, 1);

                assert_ok(mux_send(&fixture.mux, MUX_STDOUT, (const uint8_t *)"o", 1));
                assert_ok(mux_send(&fixture.mux, MUX_STDOUT, NULL, 0));
                assert_ok(mux_end(&fixture.mux, MUX_STDOUT));
                assert_ok(mux_finish(&fixture.mux, "bye", 3));
                assert_sent(&fixture, "\x82\2\1o\x82\1\1\x82\4\3bye\x88\2\3\xe8", 17);
                client_websocket(&fixture.client, 0x88, "\3\xe8", 2);
                assert_eq_int(fixture_feed(&fixture, steps[i]), MUX_E_GOODBYE);
                fixture_done(&fixture);
        }
}

/* A session that could not begin: its client opens one stream after the other, and waits for each. */
static void test_spdy_finished(void)
{
        Fixture fixture;
        uint8_t reply[SPDY_WRITE_MAX];

        fixture_init(&fixture, &spdy_v4, false);
        assert_ok(mux_finish(&fixture.mux, "no", 2));
        assert_false(mux_is_finished(&fixture.mux));
        assert_eq_int(byte_queue_length(&fixture.out), 0);
        client_open_type(&fixture.client, 1, "error");
        assert_ok(fixture_feed(&fixture, 100));
        assert_true(mux_is_finished(&fixture.mux));
        byte_queue_consume(&fixture.out, spdy_write_reply(reply, 1, true));
        assert_sent(&fixture, "\0\0\0\1\0\0\0\2no\0\0\0\1\1\0\0\0", 18);
        client_open_type(&fixture.client, 3, "stdin");
        client_data(&fixture.client, 3, "drop", true);
        assert_ok(fixture_feed(&fixture, 100));
        byte_queue_consume(&fixture.out, spdy_write_reply(reply, 3, false));
        assert_sent(&fixture, "\0\0\0\3\1\0\0\0", 8);
        fixture_done(&fixture);
}

/* 255 means nothing before version 5. */
static void test_websocket_v4(void)
{
        Fixture fixture;

        fixture_init(&fixture, &websocket_v4, false);
        client_websocket(&fixture.client, 0x82, "\xff\0", 2);
        client_websocket(&fixture.client, 0x81, "\0text", 5);
        assert_ok(fixture_feed(&fixture, 7));
        assert_eq_int(fixture.n_ends, 0);
        assert_got(&fixture, MUX_STDIN, "text");
        client_websocket(&fixture.client, 0xf2, "", 0);
        assert_eq_int(fixture_feed(&fixture, 7), MUX_E_VIOLATION);
        fixture_done(&fixture);
}

static void test_websocket_base64(void)
{
        static uint8_t large[MUX_STREAMS_N * 20000];
        static const size_t steps[] = {1, 5, 1000};

        for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
                Fixture fixture;
                fixture_init(&fixture, &websocket_base64, true);
                client_websocket(&fixture.client, 0x81, "0aGVsbG8=", 9);
                client_websocket(&fixture.client, 0x81, "0LCB3b3JsZA==", 13);
                client_websocket(&fixture.client, 0x81, "4e30=", 5);
                client_websocket(&fixture.client, 0x81, "1e30=", 5);
                assert_ok(fixture_feed(&fixture, steps[i]));
                assert_got(&fixture, MUX_STDIN, "hello, world");
                assert_got(&fixture, MUX_RESIZE, "{}");
                assert_ok(mux_send(&fixture.mux, MUX_STDOUT, (const uint8_t *)"hello", 5));
                assert_sent(&fixture, "\x81\x09" "1aGVsbG8=", 11);
                client_websocket(&fixture.client, 0x81, "0a*==", 5);
                assert_eq_int(fixture_feed(&fixture, steps[i]), MUX_E_VIOLATION);
                fixture_done(&fixture);
        }

        /* What is large goes in several messages, each complete in itself. */
        Fixture fixture;
        fixture_init(&fixture, &websocket_base64, true);
        assert_ok(mux_send(&fixture.mux, MUX_STDOUT, large, sizeof(large)));
        size_t n = 0;
        while (byte_queue_length(&fixture.out) > 0) {
                const uint8_t *bytes = byte_queue_head(&fixture.out);
                size_t head = bytes[1] < 126 ? 2 : 4, length = bytes[1] < 126 ? bytes[1] : be16(bytes + 2);
                Base64Decoder decoder = {0};
                _cleanup_free_ uint8_t *decoded = malloc(length + 4);
                size_t n_decoded, n_end;
                assert_eq_int(bytes[head], '1');
                assert_ok(base64_decode(&decoder, bytes + head + 1, length - 1, decoded, &n_decoded));
                assert_ok(base64_decode_end(&decoder, decoded, &n_end));
                n += n_decoded + n_end;
                byte_queue_consume(&fixture.out, head + length);
        }
        assert_eq_int(n, sizeof(large));
        fixture_done(&fixture);
}

int main(void)
{
        TEST_RUN(test_spdy);
        TEST_RUN(test_spdy_tty);
        TEST_RUN(test_spdy_finished);
        TEST_RUN(test_websocket);
        TEST_RUN(test_websocket_v4);
        TEST_RUN(test_websocket_base64);
        return 0;
}
