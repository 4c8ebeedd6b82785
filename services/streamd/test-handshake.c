/* SPDX-License-Identifier: Apache-2.0 */
#include "services/streamd/handshake.h"
#include "lib/strings.h"
#include "lib/test.h"

/* request: lines without their ends, NULL last. */
static int handshake(Handshake *ret, const char *line, const char *headers)
{
        _cleanup_free_ char *text = str_printf("%s HTTP/1.1\r\nHost: a\r\n%s\r\n", line, headers);
        HttpHead head;

        assert_ok(http_head_parse(text, strlen(text), &head));
        return handshake_read(&head, ret);
}

#define UPGRADE_SPDY "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
#define UPGRADE_WEBSOCKET                                                                                              \
        "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"                      \
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSIONS(header) header ": v5.channel.k8s.io\r\n" header ": v4.channel.k8s.io, v3.channel.k8s.io\r\n"

static void test_spdy(void)
{
        char text[HANDSHAKE_ANSWER_MAX];
        Handshake h;

        assert_ok(handshake(&h, "POST /exec/aA0-_?x=1", UPGRADE_SPDY VERSIONS("X-Stream-Protocol-Version")));
        assert_eq_int(h.verb, HANDSHAKE_EXEC);
        assert_eq_str(h.token, "aA0-_");
        assert_eq_int(h.protocol->version, 4);
        assert_eq_mem(text, handshake_write(&h, text),
                      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
                      "X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n",
                      122);
        assert_ok(handshake(&h, "GET /attach/t", UPGRADE_SPDY));
        assert_eq_int(h.verb, HANDSHAKE_ATTACH);
        assert_eq_int(h.protocol->version, 1);
        assert_true(!h.name);
        assert_ok(handshake(&h, "POST /portforward/t", UPGRADE_SPDY "X-Stream-Protocol-Version: portforward.k8s.io\r\n"));
        assert_eq_int(h.verb, HANDSHAKE_PORT_FORWARD);
        assert_eq_str(h.name, "portforward.k8s.io");
        assert_ok(handshake(&h, "POST /portforward/t", UPGRADE_SPDY));
        assert_true(!h.name);
}

static void test_websocket(void)
{
        char text[HANDSHAKE_ANSWER_MAX];
        Handshake h;

        /* The example of RFC 6455, 1.3. */
        assert_ok(handshake(&h, "GET /exec/t", UPGRADE_WEBSOCKET VERSIONS("Sec-WebSocket-Protocol")));
        assert_eq_str(h.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq_int(h.protocol->version, 5);
        size_t n = handshake_write(&h, text);
        assert_true(n < sizeof(text));
        assert_true(strstr(text, "\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
                                 "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n"));
        assert_ok(handshake(&h, "GET /exec/t", UPGRADE_WEBSOCKET));
        assert_eq_int(h.protocol->version, 1);
        assert_false(h.protocol->base64);
        assert_ok(handshake(&h, "GET /exec/t", UPGRADE_WEBSOCKET "Sec-WebSocket-Protocol: base64.channel.k8s.io\r\n"));
        assert_true(h.protocol->base64);
        assert_ok(handshake(&h, "GET /portforward/t", UPGRADE_WEBSOCKET "Sec-WebSocket-Protocol: SPDY/3.1+portforward.k8s.io\r\n"));
        assert_eq_int(h.medium, MUX_MEDIUM_WEBSOCKET);
}

static void assert_refused(int outcome, const char *line, const char *headers)
{
        Handshake h;

        assert_eq_int(handshake(&h, line, headers), outcome);
}

static void test_refused(void)
{
        char line[300] = "GET /exec/";

        assert_refused(HANDSHAKE_E_NOT_FOUND, "GET /", UPGRADE_SPDY);
        assert_refused(HANDSHAKE_E_NOT_FOUND, "GET /exec/", UPGRADE_SPDY);
        assert_refused(HANDSHAKE_E_NOT_FOUND, "GET /exec/a/b", UPGRADE_SPDY);
        assert_refused(HANDSHAKE_E_NOT_FOUND, "GET /exec/a%41", UPGRADE_SPDY);
        memset(line + strlen(line), 'a', HANDSHAKE_TOKEN_MAX + 1);
        assert_refused(HANDSHAKE_E_NOT_FOUND, line, UPGRADE_SPDY);
        assert_refused(HANDSHAKE_E_METHOD, "PUT /exec/a", UPGRADE_SPDY);
        assert_refused(HANDSHAKE_E_METHOD, "POST /exec/a", UPGRADE_WEBSOCKET);
        assert_refused(HANDSHAKE_E_UPGRADE, "GET /exec/a", "");
        assert_refused(HANDSHAKE_E_UPGRADE, "GET /exec/a", "Connection: Upgrade\r\n");
        assert_refused(HANDSHAKE_E_UPGRADE, "GET /exec/a", "Connection: close\r\nUpgrade: SPDY/3.1\r\n");
        assert_refused(HANDSHAKE_E_UPGRADE, "GET /exec/a", "Connection: Upgrade\r\nUpgrade: h2c\r\n");
        assert_refused(HANDSHAKE_E_PROTOCOL, "GET /exec/a", UPGRADE_SPDY "X-Stream-Protocol-Version: v9\r\n");
        assert_refused(HANDSHAKE_E_PROTOCOL, "GET /portforward/a", UPGRADE_SPDY VERSIONS("X-Stream-Protocol-Version"));
        assert_refused(HANDSHAKE_E_PROTOCOL, "GET /portforward/a", UPGRADE_WEBSOCKET "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n");
        static const char *const websocket[] = {
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
                "Sec-WebSocket-Version: 13\r\n",
                "Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=\r\n",
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQZZ\r\n",
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ*==\r\n",
        };
        for (size_t i = 0; i < ARRAY_SIZE(websocket); i++) {
                _cleanup_free_ char *headers = str_printf("Connection: Upgrade\r\nUpgrade: websocket\r\n%s", websocket[i]);
                assert_refused(HANDSHAKE_E_WEBSOCKET, "GET /exec/a", headers);
        }
}

int main(void)
{
        TEST_RUN(test_spdy);
        TEST_RUN(test_websocket);
        TEST_RUN(test_refused);
        return 0;
}
