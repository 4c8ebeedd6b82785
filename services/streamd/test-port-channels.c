/* SPDX-License-Identifier: Apache-2.0 */
#include "services/streamd/port-channels.h"
#include "services/streamd/test-client.h"

typedef struct Fixture {
        Client client;
        ByteQueue out, got[2];
        PortChannels channels;
} Fixture;

static int on_bytes(void *userdata, size_t port_index, const uint8_t *bytes, size_t n)
{
        Fixture *fixture = userdata;

        assert_true(port_index < 2 && n > 0);
        assert_ok(byte_queue_append(&fixture->got[port_index], bytes, n));
        return 0;
}

static void fixture_init(Fixture *fixture, bool base64)
{
        static const uint32_t ports[] = {8080, 0x0102};

        memset(fixture, 0, sizeof(*fixture));
        assert_ok(port_channels_init(&fixture->channels, ports, 2, base64, on_bytes, fixture, &fixture->out));
}

static void fixture_done(Fixture *fixture)
{
        client_done(&fixture->client);
        byte_queue_done(&fixture->out);
        byte_queue_done(&fixture->got[0]);
        byte_queue_done(&fixture->got[1]);
}

static void assert_out(Fixture *fixture, const void *bytes, size_t n)
{
        assert_eq_int(byte_queue_length(&fixture->out), n);
        assert_true(memcmp(byte_queue_head(&fixture->out), bytes, n) == 0);
        byte_queue_consume(&fixture->out, n);
}

static void assert_got(Fixture *fixture, size_t port_index, const char *text)
{
        size_t n = strlen(text);

        assert_eq_int(byte_queue_length(&fixture->got[port_index]), n);
        assert_true(n == 0 || memcmp(byte_queue_head(&fixture->got[port_index]), text, n) == 0);
        byte_queue_consume(&fixture->got[port_index], n);
}

static void test_ports_come_first(void)
{
        Fixture fixture;

        fixture_init(&fixture, false);
        assert_out(&fixture, "\x82\x03\x00\x90\x1f\x82\x03\x01\x90\x1f\x82\x03\x02\x02\x01\x82\x03\x03\x02\x01", 20);
        fixture_done(&fixture);
        fixture_init(&fixture, true);
        assert_out(&fixture, "\x81\x05" "0kB8=\x81\x05" "1kB8=\x81\x05" "2AgE=\x81\x05" "3AgE=", 28);
        fixture_done(&fixture);
}

static void test_channels(void)
{
        static const size_t steps[] = {1, 3, 100000};

        for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
                Fixture fixture;
                fixture_init(&fixture, false);
                byte_queue_consume(&fixture.out, byte_queue_length(&fixture.out));
                client_websocket(&fixture.client, 0x82, "\0zero", 5);
                client_websocket(&fixture.client, 0x82, "\1no", 3);
                client_websocket(&fixture.client, 0x82, "\2one", 4);
                client_websocket(&fixture.client, 0x82, "\4no", 3);
                client_websocket(&fixture.client, 0x82, "\377no", 3);
                client_websocket(&fixture.client, 0x82, "", 0);
                client_websocket(&fixture.client, 0x82, "\0", 1);
                client_websocket(&fixture.client, 0x02, "\2t", 2);
                client_websocket(&fixture.client, 0x80, "wo", 2);
                assert_ok(client_feed(&fixture.client, steps[i], port_channels_feed(&fixture.channels, bytes, n)));
                assert_got(&fixture, 0, "zero");
                assert_got(&fixture, 1, "onetwo");
                assert_ok(port_channels_send(&fixture.channels, 1, false, "x", 1));
                assert_ok(port_channels_send(&fixture.channels, 1, true, "why", 3));
                assert_out(&fixture, "\x82\x02\x02x\x82\x04\x03why", 10);
                fixture_done(&fixture);
        }
}

static void test_base64(void)
{
        Fixture fixture;

        fixture_init(&fixture, true);
        byte_queue_consume(&fixture.out, byte_queue_length(&fixture.out));
        client_websocket(&fixture.client, 0x81, "0emVybw==", 9);
        client_websocket(&fixture.client, 0x81, "2b25l", 5);
        client_websocket(&fixture.client, 0x81, "/b25l", 5); /* a digit below 0 */
        assert_ok(client_feed(&fixture.client, 2, port_channels_feed(&fixture.channels, bytes, n)));
        assert_got(&fixture, 0, "zero");
        assert_got(&fixture, 1, "one");
        client_websocket(&fixture.client, 0x81, "0*", 2);
        assert_eq_int(client_feed(&fixture.client, 100, port_channels_feed(&fixture.channels, bytes, n)), WEBSOCKET_E_VIOLATION);
        fixture_done(&fixture);
}

/* In pieces that a client takes: a large one is several messages. */
static void test_large(void)
{
        static uint8_t large[100000];

        for (int base64 = 0; base64 < 2; base64++) {
                Fixture fixture;
                size_t n_before;
                fixture_init(&fixture, base64);
                n_before = byte_queue_length(&fixture.out);
                assert_ok(port_channels_send(&fixture.channels, 0, false, large, sizeof(large)));
                assert_true(byte_queue_length(&fixture.out) - n_before >= sizeof(large) + 4 * (1 + 4));
                fixture_done(&fixture);
        }
}

int main(void)
{
        TEST_RUN(test_ports_come_first);
        TEST_RUN(test_channels);
        TEST_RUN(test_base64);
        TEST_RUN(test_large);
        return 0;
}
