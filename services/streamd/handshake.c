/* SPDX-License-Identifier: Apache-2.0 */
#include "services/streamd/handshake.h"
#include "lib/strings.h"
#include "services/streamd/sha1.h"
#include <stdio.h>

#define HANDSHAKE_NAME_HEADER_SPDY "x-stream-protocol-version"
#define HANDSHAKE_NAME_HEADER_WEBSOCKET "sec-websocket-protocol"

static const struct {
        const char *prefix;
        const char *name;
} handshake_verbs[] = {
        [HANDSHAKE_EXEC] = {"/exec/", "exec"},
        [HANDSHAKE_ATTACH] = {"/attach/", "attach"},
        [HANDSHAKE_PORT_FORWARD] = {"/portforward/", "port-forward"},
};

/* Best first; the last of a medium is also what a client means that names none. */
static const MuxProtocol handshake_protocols[] = {
        {"v4.channel.k8s.io", MUX_MEDIUM_SPDY, 4, false},
        {"v3.channel.k8s.io", MUX_MEDIUM_SPDY, 3, false},
        {"v2.channel.k8s.io", MUX_MEDIUM_SPDY, 2, false},
        {"channel.k8s.io", MUX_MEDIUM_SPDY, 1, false},
        {"v5.channel.k8s.io", MUX_MEDIUM_WEBSOCKET, 5, false},
        {"v4.channel.k8s.io", MUX_MEDIUM_WEBSOCKET, 4, false},
        {"v4.base64.channel.k8s.io", MUX_MEDIUM_WEBSOCKET, 4, true},
        {"base64.channel.k8s.io", MUX_MEDIUM_WEBSOCKET, 1, true},
        {"channel.k8s.io", MUX_MEDIUM_WEBSOCKET, 1, false},
};
static const char *const handshake_forward_names[] = {
        [MUX_MEDIUM_SPDY] = "portforward.k8s.io",
        [MUX_MEDIUM_WEBSOCKET] = "SPDY/3.1+portforward.k8s.io",
};

const char *handshake_verb_name(HandshakeVerb verb)
{
        return handshake_verbs[verb].name;
}

static int handshake_read_path(const char *path, Handshake *handshake)
{
        static const char alphabet[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

        for (size_t i = 0; i < ARRAY_SIZE(handshake_verbs); i++) {
                if (!str_has_prefix(path, handshake_verbs[i].prefix))
                        continue;
                const char *token = path + strlen(handshake_verbs[i].prefix);
                if (!*token || token[strspn(token, alphabet)] ||
                    !str_copy(handshake->token, sizeof(handshake->token), token))
                        return HANDSHAKE_E_NOT_FOUND;
                handshake->verb = (HandshakeVerb)i;
                return 0;
        }
        return HANDSHAKE_E_NOT_FOUND;
}

/* RFC 6455, 4.2.1 and 4.2.2. */
static int handshake_read_websocket(const HttpHead *head, Handshake *handshake)
{
        static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
        const char *key = http_head_find(head, "sec-websocket-key");
        const char *version = http_head_find(head, "sec-websocket-version");
        uint8_t bytes[BASE64_DECODED_MAX(24) + 2], hash[SHA1_BYTES];
        char text[24 + sizeof(guid)];
        Base64Decoder decoder = {0};
        size_t n = 0, n_end = 0;

        if (!str_equal(version, "13") || !key || strlen(key) != 24 ||
            base64_decode(&decoder, (const uint8_t *)key, 24, bytes, &n) || base64_decode_end(&decoder, bytes + n, &n_end) ||
            n + n_end != 16)
                return HANDSHAKE_E_WEBSOCKET;
        (void)snprintf(text, sizeof(text), "%s%s", key, guid);
        sha1_short(text, strlen(text), hash);
        handshake->accept[base64_encode((uint8_t *)handshake->accept, hash, sizeof(hash))] = '\0';
        return 0;
}

static bool handshake_names_any(const HttpHead *head, const char *header)
{
        for (size_t i = 0; i < head->n_headers; i++)
                if (str_equal(head->headers[i].name, header))
                        return true;
        return false;
}

/* SPDY where the client has it, for a channel has no end of its own. Who names nothing is taken as kubelet's server takes old clients. */
static int handshake_choose_forward(const HttpHead *head, const char *header, bool names_any, Handshake *handshake)
{
        static const MuxProtocol channels[] = {
                {"v4.channel.k8s.io", MUX_MEDIUM_WEBSOCKET, 4, false},
                {"v4.base64.channel.k8s.io", MUX_MEDIUM_WEBSOCKET, 4, true},
        };
        bool websocket = handshake->medium == MUX_MEDIUM_WEBSOCKET;

        if (!names_any) {
                handshake->protocol = websocket ? &channels[0] : NULL;
                return 0;
        }
        if (http_head_has_token(head, header, handshake_forward_names[handshake->medium])) {
                handshake->name = handshake_forward_names[handshake->medium];
                return 0;
        }
        for (size_t i = 0; websocket && i < ARRAY_SIZE(channels); i++) {
                if (!http_head_has_token(head, header, channels[i].name))
                        continue;
                handshake->protocol = &channels[i];
                handshake->name = channels[i].name;
                return 0;
        }
        return HANDSHAKE_E_PROTOCOL;
}

static int handshake_choose_protocol(const HttpHead *head, const char *header, Handshake *handshake)
{
        bool names_any = handshake_names_any(head, header);

        if (handshake->verb == HANDSHAKE_PORT_FORWARD)
                return handshake_choose_forward(head, header, names_any, handshake);
        for (size_t i = 0; i < ARRAY_SIZE(handshake_protocols); i++) {
                const MuxProtocol *protocol = &handshake_protocols[i];
                if (protocol->medium != handshake->medium)
                        continue;
                handshake->protocol = protocol;
                if (names_any && http_head_has_token(head, header, protocol->name)) {
                        handshake->name = protocol->name;
                        return 0;
                }
        }
        return names_any ? HANDSHAKE_E_PROTOCOL : 0;
}

int handshake_read(const HttpHead *head, Handshake *ret)
{
        Handshake handshake = {0};
        int r = handshake_read_path(head->path, &handshake);

        if (r)
                return r;
        if (!str_equal(head->method, "GET") && !str_equal(head->method, "POST"))
                return HANDSHAKE_E_METHOD;
        if (!http_head_has_token(head, "connection", "upgrade"))
                return HANDSHAKE_E_UPGRADE;
        if (http_head_has_token(head, "upgrade", "websocket")) {
                if (!str_equal(head->method, "GET"))
                        return HANDSHAKE_E_METHOD;
                handshake.medium = MUX_MEDIUM_WEBSOCKET;
                r = handshake_read_websocket(head, &handshake);
        } else if (http_head_has_token(head, "upgrade", "spdy/3.1")) {
                handshake.medium = MUX_MEDIUM_SPDY;
        } else {
                return HANDSHAKE_E_UPGRADE;
        }
        if (r == 0)
                r = handshake_choose_protocol(head,
                                              handshake.medium == MUX_MEDIUM_SPDY ? HANDSHAKE_NAME_HEADER_SPDY
                                                                                : HANDSHAKE_NAME_HEADER_WEBSOCKET,
                                              &handshake);
        if (r == 0)
                *ret = handshake;
        return r;
}

size_t handshake_write(const Handshake *handshake, char to[static HANDSHAKE_ANSWER_MAX])
{
        bool websocket = handshake->medium == MUX_MEDIUM_WEBSOCKET;
        char protocol[128] = "", accept[64] = "";

        if (handshake->name)
                (void)snprintf(protocol, sizeof(protocol), "%s: %s\r\n",
                               websocket ? "Sec-WebSocket-Protocol" : "X-Stream-Protocol-Version", handshake->name);
        if (websocket)
                (void)snprintf(accept, sizeof(accept), "Sec-WebSocket-Accept: %s\r\n", handshake->accept);
        return (size_t)snprintf(to, HANDSHAKE_ANSWER_MAX,
                                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n%s%s\r\n",
                                websocket ? "websocket" : "SPDY/3.1", accept, protocol);
}
