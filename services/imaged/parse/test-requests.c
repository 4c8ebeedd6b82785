/* SPDX-License-Identifier: Apache-2.0 */

/* The handlers over a real edge: frames in, frames out, also those that travel in memory files. */

#include "services/imaged/parse/requests.h"
#include "services/imaged/parse/document.h"
#include "services/imaged/parse/test-parse.h"

#include "ipc/edges/imaged-parse.pb-c.h"

#include <sys/socket.h>

#define CONFIG_TYPE "application/vnd.oci.image.config.v1+json"

static const HandHandler handlers[] = {EDGE_IMAGED_PARSE_HANDLERS_B};

typedef struct Reply {
        WireFrame frame;
        DecodeArena arena;
        ProtobufCMessage *message; /* NULL: an error */
        uint32_t code;
        char *text; /* owned */
} Reply;

static void reply_done(Reply *reply)
{
        decode_arena_done(&reply->arena);
        wire_frame_done(&reply->frame);
        free(TAKE_PTR(reply->text));
}

/* What imaged does with it: the row's limits, then the decoder and its budget. */
static void reply_read(int fd, const MessageRow *row, Reply *reply)
{
        assert_ok(wire_receive(fd, true, &reply->frame));
        assert_eq_int(reply->frame.header.id, row->id);
        assert_eq_int(reply->frame.header.request_id, 9);
        size_t n = reply->frame.header.length;
        decode_arena_init(&reply->arena, decode_budget(n));
        if (reply->frame.header.flags & WIRE_FLAG_ERROR) {
                memcpy(&reply->code, reply->frame.payload, sizeof(reply->code));
                reply->text = strndup((const char *)reply->frame.payload + sizeof(WireError), n - sizeof(WireError));
                return;
        }
        assert_ok(row_check_body(&row->reply, &reply->frame));
        assert_ok(decode_message(&reply->arena, row->reply.type, reply->frame.payload, n, &reply->message));
}

static void call_bytes(const MessageRow *row, const void *bytes, size_t n, Reply *reply)
{
        HandRequest request = HAND_REQUEST_NULL;
        volatile uint32_t answered = 0;
        int s[2];

        *reply = (Reply){.frame = WIRE_FRAME_NULL};
        assert_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s));
        assert_ok(wire_send(s[0], row->id, 0, 9, bytes, n, NULL, 0));
        assert_ok(hand_receive(s[1], &edge_schema_imaged_parse, EDGE_SIDE_A, &request));
        request.answered = &answered;
        assert_ok(handlers[row - edge_schema_imaged_parse.rows](NULL, s[1], &request));
        assert_eq_int(answered, 1);
        hand_request_done(&request);
        reply_read(s[0], row, reply);
        (void)close(s[0]);
        (void)close(s[1]);
}

static void call(const MessageRow *row, const ProtobufCMessage *message, Reply *reply)
{
        _cleanup_free_ uint8_t *bytes = NULL;
        size_t n = 0;

        assert_ok(decode_pack(message, &bytes, &n));
        call_bytes(row, bytes, n, reply);
}

/* All requests but one are a document. */
static void call_document(const MessageRow *row, const char *document, Reply *reply)
{
        Bulkhead__ImagedParse__ParseConfigRequest asked = BULKHEAD__IMAGED_PARSE__PARSE_CONFIG_REQUEST__INIT;
        _cleanup_free_ uint8_t *bytes = test_document(document, strlen(document));

        asked.document = (ProtobufCBinaryData){.data = bytes, .len = strlen(document)};
        call(row, &asked.base, reply);
}

static void requests_are_answered(void)
{
        _cleanup_(reply_done) Reply manifest, config, token, challenge, archive;
        Bulkhead__ImagedParse__ParseChallengeRequest asked = BULKHEAD__IMAGED_PARSE__PARSE_CHALLENGE_REQUEST__INIT;
        char line[] = "Bearer realm=\"https://a/t\"", *lines[] = {line};

        call_document(ROW_IMAGED_PARSE_PARSE_MANIFEST,
                      "{'schemaVersion':2,'config':{'mediaType':'" CONFIG_TYPE "','digest':'" DIGEST_A
                      "','size':3},'layers':[]}", &manifest);
        assert_true(manifest.message);
        assert_eq_int(container_of(manifest.message, Bulkhead__ImagedParse__ParseManifestResponse, base)->config->size,
                      3);
        call_document(ROW_IMAGED_PARSE_PARSE_CONFIG, "{'os':'linux','rootfs':{'diff_ids':['" DIGEST_A "']}}", &config);
        assert_true(config.message);
        assert_eq_str(container_of(config.message, Bulkhead__ImagedParse__ParseConfigResponse, base)->config->os,
                      "linux");
        call_document(ROW_IMAGED_PARSE_PARSE_TOKEN, "{'token':'t'}", &token);
        assert_true(token.message);
        assert_eq_str(container_of(token.message, Bulkhead__ImagedParse__ParseTokenResponse, base)->token, "t");
        asked.challenges = lines;
        asked.n_challenges = 1;
        call(ROW_IMAGED_PARSE_PARSE_CHALLENGE, &asked.base, &challenge);
        assert_true(challenge.message);
        assert_eq_str(container_of(challenge.message, Bulkhead__ImagedParse__ParseChallengeResponse, base)->realm,
                      "https://a/t");
        call_document(ROW_IMAGED_PARSE_PARSE_ARCHIVE, "[{'Config':'c'}]", &archive);
        assert_true(archive.message);
        assert_eq_int(container_of(archive.message, Bulkhead__ImagedParse__ParseArchiveResponse, base)->n_images, 1);
}

static void requests_are_refused_with_the_text(void)
{
        static const char *const what[] = {"manifest: ", "config: ", "token reply: ", "WWW-Authenticate: ",
                                           "manifest.json: "};

        for (size_t i = 0; i < edge_schema_imaged_parse.n_rows; i++) {
                _cleanup_(reply_done) Reply refused, malformed, empty;
                const MessageRow *row = &edge_schema_imaged_parse.rows[i];

                call_document(row, "%s%n{", &refused);
                assert_eq_int(refused.code, GRPC_STATUS_INVALID_ARGUMENT);
                assert_true(str_has_prefix(refused.text, what[i]));
                call_bytes(row, "\xff", 1, &malformed);
                assert_eq_int(malformed.code, GRPC_STATUS_INVALID_ARGUMENT);
                assert_true(strstr(malformed.text, "the request is not one: malformed message"));
                call_bytes(row, "", 0, &empty);
                assert_eq_int(empty.code, GRPC_STATUS_INVALID_ARGUMENT);
                assert_true(str_has_prefix(empty.text, what[i]));
        }
}

static void media_type_reaches_the_parser(void)
{
        Bulkhead__ImagedParse__ParseManifestRequest asked = BULKHEAD__IMAGED_PARSE__PARSE_MANIFEST_REQUEST__INIT;
        char document[] = "{\"schemaVersion\":2,\"manifests\":[]}", type[] = "text/html";
        _cleanup_(reply_done) Reply reply;

        asked.document = (ProtobufCBinaryData){.data = (uint8_t *)document, .len = strlen(document)};
        asked.media_type = type;
        call(ROW_IMAGED_PARSE_PARSE_MANIFEST, &asked.base, &reply);
        assert_eq_str(reply.text, "manifest: its media type \"text/html\" is not one of images");
}

/* As large as a document and an answer may be, each in a memory file. */
static void large_ones_travel(void)
{
        _cleanup_free_ char *value = test_fill('v', DOCUMENT_STRING_MAX - 100);
        _cleanup_free_ char *piece = str_printf("'%s'", value);
        _cleanup_free_ char *comment = test_fill('c', 8000000);
        _cleanup_free_ char *after = str_printf("]},'comment':'%s'}", comment);
        _cleanup_free_ char *document = test_repeat("{'rootfs':{},'config':{'Cmd':[", piece, 12, after);
        _cleanup_(reply_done) Reply reply;

        call_document(ROW_IMAGED_PARSE_PARSE_CONFIG, document, &reply);
        assert_true(reply.message);
        assert_true(reply.frame.header.flags & WIRE_FLAG_MEMFD);
        assert_eq_int(container_of(reply.message, Bulkhead__ImagedParse__ParseConfigResponse, base)->config->n_cmd, 12);
}

static void answers_are_limited(void)
{
        _cleanup_free_ char *os = test_fill('o', DOCUMENT_STRING_MAX);
        _cleanup_free_ char *piece = str_printf("{'mediaType':'application/vnd.oci.image.manifest.v1+json','digest':'"
                                                DIGEST_A "','size':1,'platform':{'os':'%s'}}", os);
        _cleanup_free_ char *index = test_repeat("{'schemaVersion':2,'manifests':[", piece, 16, "]}");
        _cleanup_(reply_done) Reply reply;

        call_document(ROW_IMAGED_PARSE_PARSE_MANIFEST, index, &reply);
        assert_eq_int(reply.code, GRPC_STATUS_INVALID_ARGUMENT);
        assert_true(str_has_prefix(reply.text, "manifest: what it says takes "));
        assert_true(str_has_suffix(reply.text, " bytes, more than 1048576"));

        /* Small enough, but of more and smaller elements than imaged's decoder takes: it would close the edge. */
        _cleanup_free_ char *layers = test_repeat("{'Config':'c','Layers':[", "'l'", 512, "]}");
        _cleanup_free_ char *archive = test_repeat("[", layers, 150, "]");
        _cleanup_(reply_done) Reply many;
        call_document(ROW_IMAGED_PARSE_PARSE_ARCHIVE, archive, &many);
        assert_eq_int(many.code, GRPC_STATUS_INVALID_ARGUMENT);
        assert_eq_str(many.text, "manifest.json: it says too much: message takes too much memory");
}

static void packed_replies_are_checked(void)
{
        static uint8_t bytes[1024 * 1024 + 1];
        HandRequest request = {.row = ROW_IMAGED_PARSE_PARSE_MANIFEST, .frame = WIRE_FRAME_NULL};
        int s[2];

        assert_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s));
        assert_eq_int(hand_reply(s[0], &request, bytes, NULL, 0), -EINVAL); /* the reply is a message */
        assert_eq_int(hand_reply_packed(s[0], &request, bytes, sizeof(bytes), NULL, 0), -EMSGSIZE);
        assert_eq_int(hand_reply_packed(s[0], &request, bytes, 1, s, 1), -EINVAL);
        assert_ok(hand_reply_packed(s[0], &request, bytes, sizeof(bytes) - 1, NULL, 0));
        (void)close(s[0]);
        (void)close(s[1]);
}

int main(void)
{
        TEST_RUN(requests_are_answered);
        TEST_RUN(requests_are_refused_with_the_text);
        TEST_RUN(media_type_reaches_the_parser);
        TEST_RUN(large_ones_travel);
        TEST_RUN(answers_are_limited);
        TEST_RUN(packed_replies_are_checked);
        return EXIT_SUCCESS;
}
