/* SPDX-License-Identifier: Apache-2.0 */

/* Every request alike: decode the body, parse what it holds, pack what came of it. The frame was only received by the
 * parent; the first look into it is here. */

#include "services/imaged/parse/requests.h"
#include "lib/error.h"
#include "services/imaged/parse/archive.h"
#include "services/imaged/parse/challenge.h"
#include "services/imaged/parse/config.h"
#include "services/imaged/parse/manifest.h"
#include "services/imaged/parse/token.h"

typedef Bulkhead__ImagedParse__ParseManifestRequest ParseManifestRequest;
typedef Bulkhead__ImagedParse__ParseManifestResponse ParseManifestResponse;
typedef Bulkhead__ImagedParse__ParseConfigRequest ParseConfigRequest;
typedef Bulkhead__ImagedParse__ParseConfigResponse ParseConfigResponse;
typedef Bulkhead__ImagedParse__ParseTokenRequest ParseTokenRequest;
typedef Bulkhead__ImagedParse__ParseTokenResponse ParseTokenResponse;
typedef Bulkhead__ImagedParse__ParseChallengeRequest ParseChallengeRequest;
typedef Bulkhead__ImagedParse__ParseChallengeResponse ParseChallengeResponse;
typedef Bulkhead__ImagedParse__ParseArchiveRequest ParseArchiveRequest;
typedef Bulkhead__ImagedParse__ParseArchiveResponse ParseArchiveResponse;

/* Fills response, which is initialised and of the row's reply type, from message, which is of its body type. */
typedef int (*RequestParse)(Parse *parse, const ProtobufCMessage *message, ProtobufCMessage *response);

static int request_parse_manifest(Parse *parse, const ProtobufCMessage *message, ProtobufCMessage *response)
{
        const ParseManifestRequest *asked = container_of(message, const ParseManifestRequest, base);

        return manifest_parse(parse, asked->document.data, asked->document.len, asked->media_type,
                              container_of(response, ParseManifestResponse, base));
}

static int request_parse_config(Parse *parse, const ProtobufCMessage *message, ProtobufCMessage *response)
{
        const ParseConfigRequest *asked = container_of(message, const ParseConfigRequest, base);

        return config_parse(parse, asked->document.data, asked->document.len,
                            container_of(response, ParseConfigResponse, base));
}

static int request_parse_token(Parse *parse, const ProtobufCMessage *message, ProtobufCMessage *response)
{
        const ParseTokenRequest *asked = container_of(message, const ParseTokenRequest, base);

        return token_parse(parse, asked->document.data, asked->document.len,
                           container_of(response, ParseTokenResponse, base));
}

static int request_parse_challenge(Parse *parse, const ProtobufCMessage *message, ProtobufCMessage *response)
{
        const ParseChallengeRequest *asked = container_of(message, const ParseChallengeRequest, base);

        return challenge_parse(parse, asked->challenges, asked->n_challenges,
                               container_of(response, ParseChallengeResponse, base));
}

static int request_parse_archive(Parse *parse, const ProtobufCMessage *message, ProtobufCMessage *response)
{
        const ParseArchiveRequest *asked = container_of(message, const ParseArchiveRequest, base);

        return archive_parse(parse, asked->document.data, asked->document.len,
                             container_of(response, ParseArchiveResponse, base));
}

/* imaged would take a message that it cannot decode for a broken hand, and close the edge: one hostile document would
 * end the pulls of all others. So this end decodes it first. */
static int request_check_answer(Parse *parse, const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t n)
{
        _cleanup_(decode_arena_done) DecodeArena arena;
        ProtobufCMessage *message = NULL;

        decode_arena_init(&arena, decode_budget(n));
        int r = decode_message(&arena, type, bytes, n, &message);
        if (r) /* check: answer-decodes */
                return parse_refuse(parse, GRPC_STATUS_INVALID_ARGUMENT, "it says too much: %s",
                                    decode_outcome_name(r));
        return 0;
}

static int request_answer(int edge_fd, HandRequest *request, Parse *parse, const ProtobufCMessage *response)
{
        const RowBody *reply = &request->row->reply;
        _cleanup_free_ uint8_t *bytes = NULL;
        size_t n = protobuf_c_message_get_packed_size(response);
        int r;

        if (n > reply->max_length) { /* check: answer-length */
                r = hand_fail(edge_fd, request, GRPC_STATUS_INVALID_ARGUMENT,
                              "%s: what it says takes %zu bytes, more than %u", parse->what, n, reply->max_length);
                return r ? fold(r) : 0;
        }
        r = decode_pack(response, &bytes, &n);
        if (r)
                return fold(r);
        if (request_check_answer(parse, reply->type, bytes, n))
                r = hand_fail(edge_fd, request, parse->code, "%s", parse->text);
        else
                r = hand_reply_packed(edge_fd, request, bytes, n, NULL, 0);
        return r ? fold(r) : 0;
}

static int request_run(int edge_fd, HandRequest *request, const char *what, RequestParse run,
                       ProtobufCMessage *response)
{
        _cleanup_(decode_arena_done) DecodeArena arena;
        _cleanup_(parse_done) Parse parse;
        ProtobufCMessage *message = NULL;
        size_t n = request->frame.header.length;

        parse_init(&parse, what);
        decode_arena_init(&arena, decode_budget(n));
        int r = decode_message(&arena, request->row->body.type, request->frame.payload, n, &message);
        if (r) {
                r = hand_fail(edge_fd, request, GRPC_STATUS_INVALID_ARGUMENT, "%s: the request is not one: %s", what,
                              decode_outcome_name(r));
                return r ? fold(r) : 0;
        }
        if (run(&parse, message, response)) {
                r = hand_fail(edge_fd, request, parse.code, "%s", parse.text);
                return r ? fold(r) : 0;
        }
        r = request_answer(edge_fd, request, &parse, response);
        return r ? fold(r) : 0;
}

int on_parse_manifest(void *context, int edge_fd, HandRequest *request)
{
        ParseManifestResponse response = BULKHEAD__IMAGED_PARSE__PARSE_MANIFEST_RESPONSE__INIT;
        int r = request_run(edge_fd, request, "manifest", request_parse_manifest, &response.base);

        return r ? fold(r) : 0;
}

int on_parse_config(void *context, int edge_fd, HandRequest *request)
{
        ParseConfigResponse response = BULKHEAD__IMAGED_PARSE__PARSE_CONFIG_RESPONSE__INIT;
        int r = request_run(edge_fd, request, "config", request_parse_config, &response.base);

        return r ? fold(r) : 0;
}

int on_parse_token(void *context, int edge_fd, HandRequest *request)
{
        ParseTokenResponse response = BULKHEAD__IMAGED_PARSE__PARSE_TOKEN_RESPONSE__INIT;
        int r = request_run(edge_fd, request, "token reply", request_parse_token, &response.base);

        return r ? fold(r) : 0;
}

int on_parse_challenge(void *context, int edge_fd, HandRequest *request)
{
        ParseChallengeResponse response = BULKHEAD__IMAGED_PARSE__PARSE_CHALLENGE_RESPONSE__INIT;
        int r = request_run(edge_fd, request, "WWW-Authenticate", request_parse_challenge, &response.base);

        return r ? fold(r) : 0;
}

int on_parse_archive(void *context, int edge_fd, HandRequest *request)
{
        ParseArchiveResponse response = BULKHEAD__IMAGED_PARSE__PARSE_ARCHIVE_RESPONSE__INIT;
        int r = request_run(edge_fd, request, "manifest.json", request_parse_archive, &response.base);

        return r ? fold(r) : 0;
}
