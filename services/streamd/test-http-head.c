/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/strings.h"
#include "lib/test.h"
#include "services/streamd/http-head.h"

/* An exact-size heap copy, so that a read past the end is seen. */
static int parse(const char *text, HttpHead *head, char **ret)
{
        size_t n = strlen(text);

        *ret = malloc(n);
        memcpy(*ret, text, n);
        return http_head_parse(*ret, n, head);
}

static void assert_outcome(const char *text, int outcome)
{
        _cleanup_free_ char *bytes = NULL;
        HttpHead head;

        int r = parse(text, &head, &bytes);
        if (r != outcome)
                fprintf(stderr, "request: %s\n", text);
        assert_eq_int(r, outcome);
}

#define HOST "Host: a\r\n"

static void test_good(void)
{
        _cleanup_free_ char *bytes = NULL;
        HttpHead head;

        assert_eq_int(parse("POST /exec/abc?x=1 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: keep-alive, UPGRADE\r\nUpgrade:SPDY/3.1 "
                        "\r\nContent-Length: 0\r\n\r\nrest",
                        &head, &bytes),
                  0);
        assert_eq_str(head.method, "POST");
        assert_eq_str(head.path, "/exec/abc");
        assert_eq_str(http_head_find(&head, "upgrade"), "SPDY/3.1");
        assert_true(http_head_has_token(&head, "connection", "upgrade"));
        assert_true(!http_head_has_token(&head, "connection", "up"));
        assert_true(!http_head_find(&head, "origin"));
        assert_eq_int(head.n_bytes, strlen("POST /exec/abc?x=1 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: keep-alive, "
                                       "UPGRADE\r\nUpgrade:SPDY/3.1 \r\nContent-Length: 0\r\n\r\n"));
}

static void test_incomplete(void)
{
        static const char whole[] = "GET / HTTP/1.1\r\n" HOST "\r\n";

        for (size_t n = 0; n + 1 < sizeof(whole); n++) {
                char *bytes = malloc(n ? n : 1);
                HttpHead head;

                memcpy(bytes, whole, n);
                assert_eq_int(http_head_parse(bytes, n, &head), HTTP_E_INCOMPLETE);
                free(bytes);
        }
        assert_outcome(whole, 0);
}

static void test_refused(void)
{
        assert_outcome("GET / HTTP/1.0\r\n" HOST "\r\n", HTTP_E_VERSION);
        assert_outcome("GET / HTTP/2.0\r\n" HOST "\r\n", HTTP_E_VERSION);
        assert_outcome("GET / HTTP/1.12\r\n" HOST "\r\n", HTTP_E_MALFORMED);
        assert_outcome("GET / ICY/1.1\r\n" HOST "\r\n", HTTP_E_MALFORMED);
        assert_outcome("GET /\r\n" HOST "\r\n", HTTP_E_MALFORMED);
        assert_outcome(" / HTTP/1.1\r\n" HOST "\r\n", HTTP_E_MALFORMED);
        assert_outcome("G(T / HTTP/1.1\r\n" HOST "\r\n", HTTP_E_MALFORMED);
        assert_outcome("GET http://a/ HTTP/1.1\r\n" HOST "\r\n", HTTP_E_MALFORMED);
        assert_outcome("GET /a b HTTP/1.1\r\n" HOST "\r\n", HTTP_E_MALFORMED);
        assert_outcome("GET /a#b HTTP/1.1\r\n" HOST "\r\n", HTTP_E_MALFORMED);
        assert_outcome("GET /\xc3\xa4 HTTP/1.1\r\n" HOST "\r\n", HTTP_E_MALFORMED);
        assert_outcome("GET / HTTP/1.1\r\n\r\n", HTTP_E_MALFORMED);
        assert_outcome("GET / HTTP/1.1\r\n" HOST HOST "\r\n", HTTP_E_MALFORMED);
        assert_outcome("GET / HTTP/1.1\n" HOST "\r\n", HTTP_E_MALFORMED);
        assert_outcome("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", HTTP_E_MALFORMED);
        assert_outcome("GET / HTTP/1.1\r\n" HOST "A b: c\r\n\r\n", HTTP_E_MALFORMED);
        assert_outcome("GET / HTTP/1.1\r\n" HOST "A : c\r\n\r\n", HTTP_E_MALFORMED);
        assert_outcome("GET / HTTP/1.1\r\n" HOST ": c\r\n\r\n", HTTP_E_MALFORMED);
        assert_outcome("GET / HTTP/1.1\r\n" HOST "A\r\n\r\n", HTTP_E_MALFORMED);
        assert_outcome("GET / HTTP/1.1\r\n" HOST "A: b\r\n folded\r\n\r\n", HTTP_E_MALFORMED);
        assert_outcome("GET / HTTP/1.1\r\n" HOST "A: \x01\r\n\r\n", HTTP_E_MALFORMED);
        assert_outcome("GET / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n", HTTP_E_MALFORMED);
        assert_outcome("GET / HTTP/1.1\r\n" HOST "Content-Length: 0\r\nContent-Length: 0\r\n\r\n", HTTP_E_MALFORMED);
        assert_outcome("GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", HTTP_E_MALFORMED);
}

static void test_nul(void)
{
        char bytes[] = "GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n";
        HttpHead head;

        assert_eq_int(http_head_parse(bytes, sizeof(bytes) - 1, &head), HTTP_E_MALFORMED);
}

static void test_limits(void)
{
        _cleanup_free_ char *text = malloc(HTTP_HEAD_BYTES_MAX * 2);
        size_t at;

        memset(text, 'a', HTTP_HEAD_BYTES_MAX);
        text[HTTP_HEAD_BYTES_MAX] = '\0';
        assert_outcome(text, HTTP_E_TOO_LONG);

        at = (size_t)sprintf(text, "GET / HTTP/1.1\r\n" HOST);
        for (size_t i = 0; i < HTTP_HEADERS_MAX; i++)
                at += (size_t)sprintf(text + at, "A: b\r\n");
        (void)sprintf(text + at, "\r\n");
        assert_outcome(text, HTTP_E_TOO_LONG);

        at = (size_t)sprintf(text, "GET /");
        memset(text + at, 'a', HTTP_TARGET_MAX);
        (void)sprintf(text + at + HTTP_TARGET_MAX, " HTTP/1.1\r\n" HOST "\r\n");
        assert_outcome(text, HTTP_E_TOO_LONG);
}

int main(void)
{
        TEST_RUN(test_good);
        TEST_RUN(test_incomplete);
        TEST_RUN(test_refused);
        TEST_RUN(test_nul);
        TEST_RUN(test_limits);
        return 0;
}
