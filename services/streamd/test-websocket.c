/* SPDX-License-Identifier: Apache-2.0 */
#include "services/streamd/test-client.h"
#include "services/streamd/websocket-session.h"

typedef struct Fixture {
        Client client;
        ByteQueue out, got;
        WebsocketSession session;
        int n_first, n_last;
} Fixture;

static int on_part(void *userdata, bool first, bool last, uint8_t *bytes, size_t n)
{
        Fixture *fixture = userdata;

        fixture->n_first += first;
        fixture->n_last += last;
        assert_ok(byte_queue_append(&fixture->got, bytes, n));
        return 0;
}

static const WebsocketHandlers handlers = {on_part};

static void fixture_init(Fixture *fixture)
{
        memset(fixture, 0, sizeof(*fixture));
        websocket_session_init(&fixture->session, &handlers, fixture, &fixture->out);
}

static void fixture_done(Fixture *fixture)
{
        client_done(&fixture->client);
        byte_queue_done(&fixture->out);
        byte_queue_done(&fixture->got);
}

static int fixture_feed(Fixture *fixture, size_t step)
{
        return client_feed(&fixture->client, step, websocket_session_feed(&fixture->session, bytes, n));
}

static void test_messages(void)
{
        static const size_t steps[] = {1, 3, 6, 100, 100000};
        static uint8_t large[70000], medium[300];

        memset(large, 'L', sizeof(large));
        memset(medium, 'M', sizeof(medium));
        for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
                Fixture fixture;
                fixture_init(&fixture);
                client_websocket(&fixture.client, 0x82, "abc", 3);
                client_websocket(&fixture.client, 0x02, "de", 2);
                client_websocket(&fixture.client, 0x89, "ping", 4); /* between the pieces of a message */
                client_websocket(&fixture.client, 0x00, "", 0);
                client_websocket(&fixture.client, 0x80, "f", 1);
                client_websocket(&fixture.client, 0x81, "", 0);
                client_websocket(&fixture.client, 0x8a, "pong", 4);
                client_websocket(&fixture.client, 0x82, medium, sizeof(medium));
                client_websocket(&fixture.client, 0x82, large, sizeof(large));
                assert_ok(fixture_feed(&fixture, steps[i]));
                assert_eq_int(fixture.n_first, 5);
                assert_eq_int(fixture.n_last, 5);
                assert_eq_int(byte_queue_length(&fixture.got), 6 + sizeof(medium) + sizeof(large));
                assert_eq_mem(byte_queue_head(&fixture.got), 7, "abcdefM", 7);
                assert_eq_mem(byte_queue_head(&fixture.got) + 6 + sizeof(medium), sizeof(large), large, sizeof(large));
                assert_eq_mem(byte_queue_head(&fixture.out), byte_queue_length(&fixture.out), "\x8a\4ping", 6);
                byte_queue_done(&fixture.out);

                client_websocket(&fixture.client, 0x88, "\3\xe8", 2);
                assert_eq_int(fixture_feed(&fixture, steps[i]), WEBSOCKET_E_GOODBYE);
                assert_eq_mem(byte_queue_head(&fixture.out), byte_queue_length(&fixture.out), "\x88\2\3\xe8", 4);
                assert_ok(websocket_session_send(&fixture.session, WEBSOCKET_BINARY, "x", 1));
                assert_eq_int(byte_queue_length(&fixture.out), 4); /* nothing after it */
                fixture_done(&fixture);
        }
}

static void assert_violation(const void *bytes, size_t n)
{
        Fixture fixture;

        fixture_init(&fixture);
        client_bytes(&fixture.client, bytes, n);
        assert_eq_int(fixture_feed(&fixture, 1), WEBSOCKET_E_VIOLATION);
        assert_eq_mem(byte_queue_head(&fixture.out), byte_queue_length(&fixture.out), "\x88\2\3\xea", 4);
        fixture_done(&fixture);
}

static void test_violations(void)
{
        assert_violation("\x82\x03" "abc", 5);                                     /* no mask */
        assert_violation("\xc2\x80" "mmmm", 6);                                    /* reserved bit */
        assert_violation("\x83\x80" "mmmm", 6);                                    /* reserved opcode */
        assert_violation("\x8b\x80" "mmmm", 6);                                    /* reserved control opcode */
        assert_violation("\x09\x80" "mmmm", 6);                                    /* a ping in pieces */
        assert_violation("\x89\xfe\x01\x00" "mmmm", 8);                            /* a long ping */
        assert_violation("\x82\xfe\x00\x7d" "mmmm", 8);                            /* 125 in 16 bits */
        assert_violation("\x82\xff\0\0\0\0\0\0\xff\xff" "mmmm", 14);               /* 65535 in 64 bits */
        assert_violation("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff" "mmmm", 14);   /* above 63 bits */
        assert_violation("\x80\x80" "mmmm", 6);                                    /* continues nothing */
        assert_violation("\x02\x80" "mmmm" "\x82\x80" "mmmm", 12);                 /* a message in a message */
}

static void test_write_head(void)
{
        uint8_t head[WEBSOCKET_HEAD_BYTES_MAX];

        assert_eq_mem(head, websocket_write_head(head, WEBSOCKET_BINARY, 125), "\x82\x7d", 2);
        assert_eq_mem(head, websocket_write_head(head, WEBSOCKET_TEXT, 126), "\x81\x7e\0\x7e", 4);
        assert_eq_mem(head, websocket_write_head(head, WEBSOCKET_BINARY, 65535), "\x82\x7e\xff\xff", 4);
        assert_eq_mem(head, websocket_write_head(head, WEBSOCKET_BINARY, 65536), "\x82\x7f\0\0\0\0\0\1\0\0", 10);
}

int main(void)
{
        TEST_RUN(test_messages);
        TEST_RUN(test_violations);
        TEST_RUN(test_write_head);
        return 0;
}
