/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/strings.h"
#include "services/streamd/spdy-session.h"
#include "services/streamd/test-client.h"

typedef struct Fixture {
        Client client;
        ByteQueue out;
        SpdySession session;
        char log[4096]; /* what the handlers were told */
} Fixture;

static void say(Fixture *fixture, const char *what, uint32_t id, const void *bytes, size_t n)
{
        size_t at = strlen(fixture->log);

        (void)snprintf(fixture->log + at, sizeof(fixture->log) - at, "%s %u %.*s;", what, id, (int)n, (const char *)bytes);
}

static int on_stream(void *userdata, SpdyStream *stream, const SpdyHeaders *headers)
{
        const char *type = spdy_headers_find(headers, "streamtype");

        say(userdata, "open", stream->id, type ? type : "-", strlen(type ? type : "-"));
        return str_equal(type, "no") ? SPDY_E_REFUSED : 0;
}

static int on_data(void *userdata, SpdyStream *stream, const uint8_t *bytes, size_t n)
{
        say(userdata, "data", stream->id, bytes, n);
        return 0;
}

static int on_end(void *userdata, SpdyStream *stream, bool reset)
{
        say(userdata, reset ? "reset" : "end", stream->id, "", 0);
        return 0;
}

static const SpdyHandlers handlers = {on_stream, on_data, on_end};

static void fixture_init(Fixture *fixture)
{
        memset(fixture, 0, sizeof(*fixture));
        spdy_session_init(&fixture->session, &handlers, fixture, &fixture->out, 4);
}

static void fixture_done(Fixture *fixture)
{
        spdy_session_done(&fixture->session);
        byte_queue_done(&fixture->out);
        client_done(&fixture->client);
}

static int fixture_feed(Fixture *fixture, size_t step)
{
        return client_feed(&fixture->client, step, spdy_session_feed(&fixture->session, bytes, n));
}

/* The next frame that we sent is a control frame of the type, with that first word of its body. */
static void assert_control(Fixture *fixture, uint16_t type, uint32_t word, uint32_t second)
{
        const uint8_t *bytes = byte_queue_head(&fixture->out);

        assert_true(byte_queue_length(&fixture->out) >= 12);
        assert_eq_int(be16(bytes), 0x8003);
        assert_eq_int(be16(bytes + 2), type);
        assert_eq_int(be32(bytes + 8), word);
        if (second)
                assert_eq_int(be32(bytes + 12), second);
        byte_queue_consume(&fixture->out, SPDY_HEAD_BYTES + be32(bytes + 4));
}

static void test_dictionary(void)
{
        size_t n;
        const uint8_t *dictionary = spdy_dictionary(&n);

        /* The id that every SPDY/3 stream announces. */
        assert_eq_int(n, 1423);
        assert_eq_int(adler32(adler32(0, NULL, 0), dictionary, (uInt)n), 0xe3c6a7c2);
}

static void test_exchange(void)
{
        static const size_t steps[] = {1, 2, 7, 8, 13, 4096};

        for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
                Fixture fixture;
                fixture_init(&fixture);
                client_open_type(&fixture.client, 1, "error");
                client_open_type(&fixture.client, 3, "stdin");
                client_data(&fixture.client, 3, "hello", false);
                client_words(&fixture.client, SPDY_PING, 5, 0);
                client_words(&fixture.client, SPDY_PING, 4, 0);
                client_data(&fixture.client, 3, "", true);
                client_data(&fixture.client, 3, "late", false);
                client_words(&fixture.client, SPDY_RST_STREAM, 1, SPDY_STATUS_CANCEL);
                assert_ok(fixture_feed(&fixture, steps[i]));

                /* Pieces of a data frame are handed on as they come. */
                if (steps[i] == 4096)
                        assert_eq_str(fixture.log, "open 1 error;open 3 stdin;data 3 hello;end 3 ;reset 1 ;");
                assert_eq_int(fixture.session.n_streams, 1);
                assert_control(&fixture, SPDY_SYN_REPLY, 1, 0);
                assert_control(&fixture, SPDY_SYN_REPLY, 3, 0);
                assert_control(&fixture, SPDY_PING, 5, 0);
                assert_eq_int(byte_queue_length(&fixture.out), 0);

                SpdyStream *stream = list_first(&fixture.session.streams, SpdyStream, link);
                assert_ok(spdy_stream_send(&fixture.session, stream, "out", 3, false));
                assert_ok(spdy_stream_send(&fixture.session, stream, NULL, 0, true));
                assert_eq_int(fixture.session.n_streams, 0);
                assert_eq_mem(byte_queue_head(&fixture.out), byte_queue_length(&fixture.out),
                              "\0\0\0\3\0\0\0\3out\0\0\0\3\1\0\0\0", 19);

                client_words(&fixture.client, SPDY_GOAWAY, 0, 0);
                assert_eq_int(fixture_feed(&fixture, steps[i]), SPDY_E_GOODBYE);
                fixture_done(&fixture);
        }
}

/* What we write as "no headers" is what a deflate stream of the peer's makes of it, again and again. */
static void test_replies(void)
{
        SpdyInflater inflater = {0};
        SpdyHeaders headers;

        for (uint32_t i = 0; i < 100; i++) {
                uint8_t frame[SPDY_WRITE_MAX];
                size_t n = spdy_write_reply(frame, 2 * i + 1, i == 0);
                assert_true(n <= sizeof(frame));
                assert_eq_int(be32(frame + 4), n - SPDY_HEAD_BYTES);
                assert_ok(spdy_headers_read(&inflater, frame + 12, n - 12, &headers));
                assert_eq_int(headers.n, 0);
        }
        spdy_inflater_done(&inflater);
}

static void test_refused(void)
{
        Fixture fixture;

        fixture_init(&fixture);
        client_open_type(&fixture.client, 1, "no");
        for (uint32_t id = 3; id <= 11; id += 2)
                client_open_type(&fixture.client, id, "a");
        assert_ok(fixture_feed(&fixture, 4096));
        assert_control(&fixture, SPDY_RST_STREAM, 1, SPDY_STATUS_REFUSED_STREAM);
        for (uint32_t id = 3; id <= 9; id += 2)
                assert_control(&fixture, SPDY_SYN_REPLY, id, 0);
        assert_control(&fixture, SPDY_RST_STREAM, 11, SPDY_STATUS_REFUSED_STREAM); /* four are the limit */
        assert_eq_int(fixture.session.n_streams, 4);

        const char *const fields[] = {"streamtype", "a", NULL};
        client_words(&fixture.client, SPDY_RST_STREAM, 3, SPDY_STATUS_CANCEL);
        client_open(&fixture.client, 13, SPDY_FLAG_UNIDIRECTIONAL, fields);
        assert_ok(fixture_feed(&fixture, 4096));
        assert_control(&fixture, SPDY_RST_STREAM, 13, SPDY_STATUS_REFUSED_STREAM);
        fixture_done(&fixture);
}

static void test_windows(void)
{
        char text[1025];
        Fixture fixture;

        fixture_init(&fixture);
        memset(text, 'x', 1024);
        text[1024] = '\0';
        client_open_type(&fixture.client, 1, "a");
        for (int i = 0; i < 32; i++)
                client_data(&fixture.client, 1, text, false);
        assert_ok(fixture_feed(&fixture, 65536));
        assert_control(&fixture, SPDY_SYN_REPLY, 1, 0);
        assert_control(&fixture, SPDY_WINDOW_UPDATE, 0, 32 * 1024);
        assert_control(&fixture, SPDY_WINDOW_UPDATE, 1, 32 * 1024);
        assert_eq_int(byte_queue_length(&fixture.out), 0);
        fixture_done(&fixture);
}

/* A session that is fed this after one open stream, 1, breaks it off. */
static void assert_violation(uint16_t type, const void *body, size_t n)
{
        Fixture fixture;

        fixture_init(&fixture);
        client_open_type(&fixture.client, 1, "a");
        assert_ok(fixture_feed(&fixture, 4096));
        client_control(&fixture.client, type, 0, body, n);
        assert_eq_int(fixture_feed(&fixture, 4096), SPDY_E_VIOLATION);
        client_words(&fixture.client, SPDY_PING, 1, 0);
        assert_eq_int(fixture_feed(&fixture, 1), SPDY_E_VIOLATION); /* and for good */
        fixture_done(&fixture);
}

static void assert_violation_block(const void *block, size_t n)
{
        Fixture fixture;

        fixture_init(&fixture);
        client_open_block(&fixture.client, 1, 0, block, n);
        assert_eq_int(fixture_feed(&fixture, 4096), SPDY_E_VIOLATION);
        assert_eq_str(fixture.log, "");
        fixture_done(&fixture);
}

static void test_violations(void)
{
        static uint8_t large[SPDY_CONTROL_BYTES_MAX + 1];
        uint8_t settings[4 + 8 * (SPDY_SETTINGS_MAX + 1)] = {0};

        be32_write(settings, 0xffffffff);
        assert_violation(SPDY_SETTINGS, settings, 12);
        be32_write(settings, 2);
        assert_violation(SPDY_SETTINGS, settings, 12);
        be32_write(settings, SPDY_SETTINGS_MAX + 1);
        assert_violation(SPDY_SETTINGS, settings, sizeof(settings));
        assert_violation(SPDY_SETTINGS, settings, 3);
        assert_violation(SPDY_PING, "\0\0\0\1\0", 5);
        assert_violation(SPDY_PING, "", 0);
        assert_violation(SPDY_RST_STREAM, "\0\0\0\0\0\0\0\1", 8);
        assert_violation(SPDY_RST_STREAM, "\0\0\0\1\0\0\0", 7);
        assert_violation(SPDY_GOAWAY, "\0\0\0\1", 4);
        assert_violation(SPDY_WINDOW_UPDATE, "\0\0\0\1\0\0\0\0", 8);
        assert_violation(SPDY_WINDOW_UPDATE, "\0\0\0\1\0\0\0\1\0", 9);
        assert_violation(SPDY_SYN_STREAM, "\0\0\0\3\0\0\0\0\0", 9);
        assert_violation(SPDY_SYN_STREAM, "\0\0\0\3\0\0\0\0\0\0not deflate", 21);
        assert_violation(SPDY_SYN_STREAM, "\0\0\0\3\0\0\0\0\0\0", 10); /* no headers at all, not even none */
        assert_violation(SPDY_HEADERS, "\0\0\0", 3);
        assert_violation(99, large, sizeof(large));

        static const uint8_t data_0[] = {0, 0, 0, 0, 0, 0, 0, 0}, data_unopened[] = {0, 0, 0, 5, 0, 0, 0, 1, 'x'},
                             version_2[] = {0x80, 2, 0, SPDY_PING, 0, 0, 0, 4, 0, 0, 0, 1};
        static const struct {
                const uint8_t *bytes;
                size_t n;
        } raw[] = {{data_0, sizeof(data_0)}, {data_unopened, sizeof(data_unopened)}, {version_2, sizeof(version_2)}};
        for (size_t i = 0; i < ARRAY_SIZE(raw); i++) {
                Fixture fixture;
                fixture_init(&fixture);
                client_bytes(&fixture.client, raw[i].bytes, raw[i].n);
                assert_eq_int(fixture_feed(&fixture, 4096), SPDY_E_VIOLATION);
                fixture_done(&fixture);
        }
}

static void test_stream_ids(void)
{
        static const uint32_t ids[][2] = {{1, 1}, {3, 1}, {1, 2}, {0, 0}};

        for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
                Fixture fixture;
                fixture_init(&fixture);
                client_open_type(&fixture.client, ids[i][0], "a");
                client_open_type(&fixture.client, ids[i][1], "a");
                assert_eq_int(fixture_feed(&fixture, 4096), SPDY_E_VIOLATION);
                fixture_done(&fixture);
        }
}

static void test_unknown(void)
{
        Fixture fixture;

        fixture_init(&fixture);
        client_control(&fixture.client, 10, 0xff, "whatever", 8);
        client_control(&fixture.client, 5, 0, "", 0);
        client_words(&fixture.client, SPDY_WINDOW_UPDATE, 99, 1);
        client_words(&fixture.client, SPDY_RST_STREAM, 99, 1);
        assert_ok(fixture_feed(&fixture, 1));
        assert_eq_int(byte_queue_length(&fixture.out), 0);
        fixture_done(&fixture);
}

/* Lengths and counts of CVE-2026-35469, and blocks that inflate without end. */
static void test_blocks(void)
{
        static uint8_t block[SPDY_BLOCK_BYTES_MAX * 200];
        static const char *const fields[] = {"streamtype", "a", NULL};
        size_t n = client_block(block, fields);

        be32_write(block, 0xffffffff);
        assert_violation_block(block, n);
        be32_write(block, 2);
        assert_violation_block(block, n);
        be32_write(block, 0);
        assert_violation_block(block, n);
        be32_write(block, 1);
        be32_write(block + 4, 0xfffffff0);
        assert_violation_block(block, n);
        (void)client_block(block, fields);
        assert_violation_block(block, n - 1);
        assert_violation_block(block, n + 1);
        assert_violation_block(block, 3);

        const char *const nameless[] = {"", "a", NULL};
        assert_violation_block(block, client_block(block, nameless));

        memset(block, 0, sizeof(block));
        assert_violation_block(block, SPDY_BLOCK_BYTES_MAX + 1);
        assert_violation_block(block, sizeof(block)); /* 3 MiB in 3 KiB */

        char many[2][SPDY_HEADERS_MAX + 1][8];
        const char *list[2 * (SPDY_HEADERS_MAX + 1) + 1] = {NULL};
        for (size_t i = 0; i <= SPDY_HEADERS_MAX; i++) {
                (void)snprintf(many[0][i], sizeof(many[0][i]), "n%zu", i);
                list[2 * i] = many[0][i];
                list[2 * i + 1] = "v";
        }
        assert_violation_block(block, client_block(block, list));

        static char longest[SPDY_FIELD_BYTES_MAX + 2];
        memset(longest, 'v', sizeof(longest) - 1);
        const char *const with_longest[] = {"a", longest, NULL};
        assert_violation_block(block, client_block(block, with_longest));

        /* The same within the limits. */
        SpdyInflater inflater = {0};
        Client client = {0};
        SpdyHeaders headers;
        uint8_t packed[4096];
        list[2 * SPDY_HEADERS_MAX] = NULL;
        n = client_deflate(&client, block, client_block(block, list), packed, sizeof(packed));
        assert_ok(spdy_headers_read(&inflater, packed, n, &headers));
        assert_eq_int(headers.n, SPDY_HEADERS_MAX);
        assert_eq_str(spdy_headers_find(&headers, "n63"), "v");
        assert_true(!spdy_headers_find(&headers, "n64"));
        longest[SPDY_FIELD_BYTES_MAX] = '\0';
        n = client_deflate(&client, block, client_block(block, with_longest), packed, sizeof(packed));
        assert_ok(spdy_headers_read(&inflater, packed, n, &headers));
        assert_eq_int(strlen(spdy_headers_find(&headers, "a")), SPDY_FIELD_BYTES_MAX);
        spdy_inflater_done(&inflater);
        client_done(&client);
}

int main(void)
{
        TEST_RUN(test_dictionary);
        TEST_RUN(test_exchange);
        TEST_RUN(test_replies);
        TEST_RUN(test_refused);
        TEST_RUN(test_windows);
        TEST_RUN(test_violations);
        TEST_RUN(test_stream_ids);
        TEST_RUN(test_unknown);
        TEST_RUN(test_blocks);
        return 0;
}
