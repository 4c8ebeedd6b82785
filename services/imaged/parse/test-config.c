/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/parse/config.h"
#include "services/imaged/parse/document.h"
#include "services/imaged/parse/test-parse.h"

#define ROOTFS "'rootfs':{'type':'layers','diff_ids':[]}"
#define WITH(section) "{" ROOTFS ",'config':{" section "}}"

typedef Bulkhead__ImagedParse__ParseConfigResponse Response;
typedef Bulkhead__ContainerdImaged__ImageConfig ImageConfig;

static int run(Parse *parse, const char *document, Response *ret)
{
        size_t n = strlen(document);
        _cleanup_free_ uint8_t *bytes = test_document(document, n);

        parse_init(parse, "config");
        return config_parse(parse, bytes, n, ret);
}

static void refuse(const char *document, const char *why)
{
        _cleanup_(parse_done) Parse parse;
        Response response;
        int r = run(&parse, document, &response);

        test_refused(&parse, r, GRPC_STATUS_INVALID_ARGUMENT, why);
}

static void config_says_what_it_says(void)
{
        static const char document[] =
                "{'architecture':'amd64','os':'linux','created':'2026-01-01T00:00:00Z','history':[{'created_by':'x'}],"
                "'config':{'User':'1000:1000','Env':['PATH=/bin','no equals','\\u00e4=\xc3\xa4'],"
                "'Entrypoint':['/init','--'],'Cmd':['a',''],'WorkingDir':'/w','StopSignal':'SIGQUIT',"
                "'Volumes':{'/z':{},'/a':{}},'Labels':{'k':'v','':'\\n'},'ExposedPorts':{'80/tcp':{}},"
                "'Healthcheck':{'Test':['NONE']}},"
                "'rootfs':{'type':'layers','diff_ids':['" DIGEST_B "','" DIGEST_A "']}}";
        _cleanup_(parse_done) Parse parse;
        uint8_t a[32], b[32];
        Response response;

        memset(a, 0xaa, sizeof(a));
        memset(b, 0xbb, sizeof(b));
        int r = run(&parse, document, &response);
        test_taken(&parse, r);
        const ImageConfig *config = response.config;
        assert_eq_str(config->architecture, "amd64");
        assert_eq_str(config->os, "linux");
        assert_eq_str(config->user, "1000:1000");
        assert_eq_str(config->working_dir, "/w");
        assert_eq_str(config->stop_signal, "SIGQUIT");
        assert_eq_int(config->n_env, 3);
        assert_eq_mem(config->env[0].data, config->env[0].len, "PATH=/bin", 9);
        assert_eq_mem(config->env[1].data, config->env[1].len, "no equals", 9);
        assert_eq_mem(config->env[2].data, config->env[2].len, "\xc3\xa4=\xc3\xa4", 5);
        assert_eq_int(config->n_entrypoint, 2);
        assert_eq_str(config->entrypoint[0], "/init");
        assert_eq_str(config->entrypoint[1], "--");
        assert_eq_int(config->n_cmd, 2);
        assert_eq_str(config->cmd[1], "");
        assert_eq_int(config->n_volumes, 2);
        assert_eq_str(config->volumes[0], "/z");
        assert_eq_str(config->volumes[1], "/a");
        assert_eq_int(config->n_labels, 2);
        assert_eq_str(config->labels[0]->key, "k");
        assert_eq_str(config->labels[0]->value, "v");
        assert_eq_str(config->labels[1]->value, "\n");
        assert_eq_int(response.n_diff_ids, 2);
        assert_eq_mem(response.diff_ids[0].data, response.diff_ids[0].len, b, sizeof(b));
        assert_eq_mem(response.diff_ids[1].data, response.diff_ids[1].len, a, sizeof(a));
}

static void config_may_say_nothing(void)
{
        static const char *const documents[] = {
                "{" ROOTFS "}",
                "{'rootfs':{}}",
                "{'config':null,'os':null,'rootfs':{'type':null,'diff_ids':null}}",
                WITH("'Env':null,'Entrypoint':null,'Cmd':null,'Volumes':null,'Labels':null,'User':null"),
                WITH("'Env':[],'Volumes':{},'Labels':{}"),
        };

        for (size_t i = 0; i < ARRAY_SIZE(documents); i++) {
                _cleanup_(parse_done) Parse parse;
                Response response;
                int r = run(&parse, documents[i], &response);

                test_taken(&parse, r);
                assert_eq_int(protobuf_c_message_get_packed_size(&response.config->base), 0);
                assert_eq_int(response.n_diff_ids, 0);
        }
}

static void config_names_the_place(void)
{
        static const TestRefusal table[] = {
                {"[]", "config: the document is not an object"},
                {"{}", "config: rootfs is missing"},
                {"{'rootfs':[]}", "config: rootfs is not an object"},
                {"{'rootfs':{'type':'base'}}", "config: rootfs.type is not \"layers\""},
                {"{'rootfs':{'type':1}}", "config: rootfs.type is not a string"},
                {"{'rootfs':{'diff_ids':{}}}", "config: rootfs.diff_ids is not an array"},
                {"{'rootfs':{'diff_ids':['" DIGEST_A "',1]}}", "config: rootfs.diff_ids[1] is not a string"},
                {"{'rootfs':{'diff_ids':['x']}}", "config: rootfs.diff_ids[0] is not sha256:"},
                {"{'os':1," ROOTFS "}", "config: os is not a string"},
                {"{'architecture':{}," ROOTFS "}", "config: architecture is not a string"},
                {"{'config':[]," ROOTFS "}", "config: config is not an object"},
                {WITH("'User':0"), "config: config.User is not a string"},
                {WITH("'WorkingDir':[]"), "config: config.WorkingDir is not a string"},
                {WITH("'StopSignal':9"), "config: config.StopSignal is not a string"},
                {WITH("'Entrypoint':'/bin/sh'"), "config: config.Entrypoint is not an array"},
                {WITH("'Cmd':['a',['b']]"), "config: config.Cmd[1] is not a string"},
                {WITH("'Env':{'a':'b'}"), "config: config.Env is not an array"},
                {WITH("'Env':['a=b',null]"), "config: config.Env[1] is not a string"},
                {WITH("'Volumes':['/a']"), "config: config.Volumes is not an object"},
                {WITH("'Labels':['/a']"), "config: config.Labels is not an object"},
                {WITH("'Labels':{'a':'b','c':1}"), "config: config.Labels[1] is not a string"},
        };

        for (size_t i = 0; i < ARRAY_SIZE(table); i++)
                refuse(table[i].document, table[i].text);
}

typedef struct ListCase {
        const char *before, *piece, *after, *why;
        size_t max;
} ListCase;

static void config_numbers_are_limited(void)
{
        static const ListCase table[] = {
                {"{" ROOTFS ",'config':{'Env':[", "''", "]}}", "config.Env has 4097 elements", CONFIG_LIST_MAX},
                {"{" ROOTFS ",'config':{'Entrypoint':[", "''", "]}}", "config.Entrypoint has 4097", CONFIG_LIST_MAX},
                {"{" ROOTFS ",'config':{'Cmd':[", "''", "]}}", "config.Cmd has 4097 elements", CONFIG_LIST_MAX},
                {"{" ROOTFS ",'config':{'Volumes':{", "'#':{}", "}}}", "config.Volumes has 4097 keys", CONFIG_LIST_MAX},
                {"{" ROOTFS ",'config':{'Labels':{", "'#':''", "}}}", "config.Labels has 4097 keys", CONFIG_LIST_MAX},
                {"{'rootfs':{'diff_ids':[", "'" DIGEST_A "'", "]}}", "rootfs.diff_ids has 513", CONFIG_DIFF_IDS_MAX},
        };

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                const ListCase *c = &table[i];
                _cleanup_free_ char *most = test_repeat(c->before, c->piece, c->max, c->after);
                _cleanup_free_ char *more = test_repeat(c->before, c->piece, c->max + 1, c->after);
                _cleanup_(parse_done) Parse parse;
                Response response;

                int r = run(&parse, most, &response);
                test_taken(&parse, r);
                refuse(more, c->why);
        }
}

static void config_strings_are_limited(void)
{
        for (size_t more = 0; more <= 1; more++) {
                _cleanup_free_ char *key = test_fill('k', DOCUMENT_STRING_MAX + more);
                _cleanup_free_ char *value = test_fill('v', CONFIG_LABEL_MAX + more);
                _cleanup_free_ char *with_key = str_printf("{" ROOTFS ",'config':{'Labels':{'%s':''}}}", key);
                _cleanup_free_ char *with_value = str_printf("{" ROOTFS ",'config':{'Labels':{'k':'%s'}}}", value);
                _cleanup_free_ char *with_volume = str_printf("{" ROOTFS ",'config':{'Volumes':{'%s':{}}}}", key);

                if (more) {
                        refuse(with_key, "config: config.Labels has a key of more than 65536 bytes");
                        refuse(with_value, "config: config.Labels[0] has 262145 bytes, more than 262144");
                        refuse(with_volume, "config: config.Volumes has a key of more than 65536 bytes");
                        continue;
                }
                _cleanup_(parse_done) Parse a, b, c;
                Response response;
                assert_ok(run(&a, with_key, &response));
                assert_eq_int(strlen(response.config->labels[0]->key), DOCUMENT_STRING_MAX);
                assert_ok(run(&b, with_value, &response));
                assert_eq_int(strlen(response.config->labels[0]->value), CONFIG_LABEL_MAX);
                assert_ok(run(&c, with_volume, &response));
        }
}

static void config_as_a_whole_is_limited(void)
{
        /* Each entry is its text and 4 bytes of framing. */
        const size_t entry = 64 * 1024, n = CONFIG_PACKED_MAX / entry;
        for (size_t more = 0; more <= 1; more++) {
                _cleanup_free_ char *value = test_fill('e', entry - 4);
                _cleanup_free_ char *piece = str_printf("'%s'", value);
                _cleanup_free_ char *document = test_repeat("{" ROOTFS ",'config':{'Env':[", piece, n,
                                                            more ? "],'User':'u'}}" : "]}}");
                _cleanup_(parse_done) Parse parse;
                Response response;

                int r = run(&parse, document, &response);
                if (more) {
                        test_refused(&parse, r, GRPC_STATUS_INVALID_ARGUMENT,
                                     "config: what it says takes 786435 bytes");
                        continue;
                }
                test_taken(&parse, r);
                assert_eq_int(protobuf_c_message_get_packed_size(&response.config->base), CONFIG_PACKED_MAX);
        }
}

int main(void)
{
        TEST_RUN(config_says_what_it_says);
        TEST_RUN(config_may_say_nothing);
        TEST_RUN(config_names_the_place);
        TEST_RUN(config_numbers_are_limited);
        TEST_RUN(config_strings_are_limited);
        TEST_RUN(config_as_a_whole_is_limited);
        return EXIT_SUCCESS;
}
