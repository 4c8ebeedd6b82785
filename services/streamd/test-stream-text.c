/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/strings.h"
#include "lib/test.h"
#include "services/streamd/base64.h"
#include "services/streamd/byte-queue.h"
#include "services/streamd/resize.h"
#include "services/streamd/session-status.h"
#include "services/streamd/sha1.h"

static void test_byte_queue(void)
{
        ByteQueue queue = BYTE_QUEUE_NULL;
        uint32_t written = 0, read = 0;

        for (int i = 0; i < 20000; i++) {
                if (i % 3 != 2 || byte_queue_length(&queue) < 8) {
                        assert_ok(byte_queue_append(&queue, &written, sizeof(written)));
                        written++;
                } else {
                        uint32_t got;
                        memcpy(&got, byte_queue_head(&queue), sizeof(got));
                        assert_eq_int(got, read);
                        read++;
                        byte_queue_consume(&queue, sizeof(got));
                }
                assert_eq_int(byte_queue_length(&queue), (written - read) * sizeof(written));
        }
        byte_queue_consume(&queue, byte_queue_length(&queue));
        assert_true(!queue.bytes); /* nothing waits, nothing is held */
}

static bool feed(ResizeReader *reader, const char *text, ResizeEvent *event)
{
        bool found = false;

        for (; *text; text++)
                found = resize_feed(reader, (const uint8_t *)text, 1, event) || found;
        return found;
}

static void test_resize(void)
{
        ResizeReader reader = {0};
        ResizeEvent event = {0};

        assert_true(feed(&reader, "{\"Width\":80,\"Height\":24}\n", &event));
        assert_eq_int(event.columns, 80);
        assert_eq_int(event.rows, 24);
        assert_false(feed(&reader, " {\"Hei", &event));
        assert_true(feed(&reader, "ght\" : 1 , \"Width\" : 65535 }{\"Wid", &event));
        assert_eq_int(event.columns, 65535);
        assert_eq_int(event.rows, 1);
        static const char two[] = "th\":1,\"Height\":2}{\"Width\":3,\"Height\":4}";
        assert_true(resize_feed(&reader, (const uint8_t *)two, strlen(two), &event));
        assert_eq_int(event.columns, 3);

        static const char *const broken[] = {
                "[", "{}", "{\"Width\":80}", "{\"Width\":65536,\"Height\":1}", "{\"Width\":-1,\"Height\":1}",
                "{\"Width\":1,\"Height\":1,}", "{\"Width\":,\"Height\":1}", "{\"Width\"1,\"Height\":1}", "{\"width\":1,\"Height\":1}",
                "{\"Width\":1 \"Height\":1}", "{\"Width\":999999999999999999999,\"Height\":1}",
        };
        for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
                ResizeReader other = {0};
                assert_false(feed(&other, broken[i], &event));
                assert_false(feed(&other, "{\"Width\":80,\"Height\":24}", &event));
                assert_true(other.broken);
        }
        ResizeReader other = {0};
        for (int i = 0; i < 1000; i++)
                assert_false(feed(&other, "{", &event));
        assert_true(other.broken);
}

static void assert_status(int exit_code, const char *error, bool json, const char *text)
{
        char to[SESSION_STATUS_MAX];
        size_t n = session_status_write(to, &(SessionStatus){exit_code, error}, json);

        assert_eq_mem(to, n, text, strlen(text));
}

static void test_status(void)
{
        char large[5000], to[SESSION_STATUS_MAX];

        assert_status(0, "", true, "{\"metadata\":{},\"status\":\"Success\"}");
        assert_status(0, NULL, false, "");
        assert_status(3, NULL, true,
                      "{\"metadata\":{},\"status\":\"Failure\",\"message\":\"command terminated with non-zero exit code: "
                      "3\",\"reason\":\"NonZeroExitCode\",\"details\":{\"causes\":[{\"reason\":\"ExitCode\",\"message\":\"3\"}]}}");
        assert_status(3, NULL, false, "command terminated with non-zero exit code: 3");
        assert_status(1, "exec \"a\\b\"\n\xc3: no", true,
                      "{\"metadata\":{},\"status\":\"Failure\",\"message\":\"Internal error occurred: exec "
                      "\\\"a\\\\b\\\"??: no\",\"reason\":\"InternalError\",\"code\":500}");
        assert_status(1, "exec \"a\"", false, "Internal error occurred: exec \"a\"");
        memset(large, '"', sizeof(large) - 1);
        large[sizeof(large) - 1] = '\0';
        size_t n = session_status_write(to, &(SessionStatus){1, large}, true);
        assert_true(n < sizeof(to));
        assert_eq_int(to[n - 1], '}');
}

static void test_base64(void)
{
        uint8_t bytes[256], text[BASE64_ENCODED_MAX(256)], back[BASE64_DECODED_MAX(sizeof(text)) + 2];

        for (size_t i = 0; i < sizeof(bytes); i++)
                bytes[i] = (uint8_t)(i * 89);
        for (size_t n = 0; n <= sizeof(bytes); n++) {
                Base64Decoder decoder = {0};
                size_t n_text = base64_encode(text, bytes, n), n_back = 0, n_more;
                assert_eq_int(n_text, BASE64_ENCODED_MAX(n));
                for (size_t i = 0; i < n_text; i++) {
                        assert_ok(base64_decode(&decoder, text + i, 1, back + n_back, &n_more));
                        n_back += n_more;
                }
                assert_ok(base64_decode_end(&decoder, back + n_back, &n_more));
                assert_eq_mem(back, n_back + n_more, bytes, n);
        }
        assert_eq_mem(text, base64_encode(text, (const uint8_t *)"foobar", 6), "Zm9vYmFy", 8);
        static const char *const wrong[] = {"a", "=", "a=", "ab=c", "ab c", "ab-_"};
        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
                Base64Decoder decoder = {0};
                size_t n;
                int r = base64_decode(&decoder, (const uint8_t *)wrong[i], strlen(wrong[i]), back, &n);
                assert_eq_int(r ? r : base64_decode_end(&decoder, back, &n), BASE64_E_INVALID);
        }
}

/* RFC 3174, 7.3, and both ways of padding. */
static void test_sha1(void)
{
        static const struct {
                const char *text, *hash;
        } cases[] = {
                {"", "da39a3ee5e6b4b0d3255bfef95601890afd80709"},
                {"abc", "a9993e364706816aba3e25717850c26c9cd0d89d"},
                {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "84983e441c3bd26ebaae4aa1f95129e5e54670f1"},
                {"1234567890123456789012345678901234567890123456789012345", "827a683fdfdbef225a2421078b7789b134c7eafa"},
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                uint8_t hash[SHA1_BYTES];
                char text[2 * SHA1_BYTES + 1];
                sha1_short(cases[i].text, strlen(cases[i].text), hash);
                hex_encode(text, hash, sizeof(hash));
                assert_eq_str(text, cases[i].hash);
        }
}

int main(void)
{
        TEST_RUN(test_byte_queue);
        TEST_RUN(test_resize);
        TEST_RUN(test_status);
        TEST_RUN(test_base64);
        TEST_RUN(test_sha1);
        return 0;
}
