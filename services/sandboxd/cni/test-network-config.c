/* SPDX-License-Identifier: Apache-2.0 */
#include "services/sandboxd/cni/network-config.h"

#include "lib/test.h"

static int parse(NetworkConfig *config, const char *text)
{
        Refusal refusal = {0};
        char *exact = malloc(strlen(text) + 1); /* exactly as large as it is: a reader beyond it is seen */
        memcpy(exact, text, strlen(text));
        int r = network_config_parse(config, "/etc/cni/net.d/x", exact, strlen(text), &refusal);
        free(exact);
        if (r != 0) {
                assert_eq_int(refusal.code, GRPC_STATUS_FAILED_PRECONDITION);
                assert_true(strstr(refusal.text, "/etc/cni/net.d/x"));
                assert_true(config->root == NULL);
        }
        return r;
}

static void assert_input(const NetworkConfig *config, size_t i, const char *runtime, const char *previous, const char *expected)
{
        json_t *r = runtime ? json_loads(runtime, 0, NULL) : NULL;
        json_t *p = previous ? json_loads(previous, 0, NULL) : NULL;
        char *text = network_config_render(config, i, r, p);
        assert_eq_str(text, expected);
        free(text);
        json_decref(r);
        json_decref(p);
}

static void test_list(void)
{
        NetworkConfig config;
        assert_ok(parse(&config, "{\"cniVersion\":\"1.0.0\",\"name\":\"pods\",\"plugins\":["
                                 "{\"type\":\"bridge\",\"mtu\":1450,\"ipam\":{\"type\":\"host-local\"}},"
                                 "{\"type\":\"portmap\",\"capabilities\":{\"portMappings\":true,\"dns\":false}}]}"));
        assert_eq_str(config.name, "pods");
        assert_eq_int(config.version, NETWORK_VERSION_1_0_0);
        assert_eq_int(config.n_plugins, 2);
        assert_eq_str(config.types[0], "bridge");
        assert_eq_str(config.types[1], "portmap");
        assert_eq_str(network_config_ipam(&config, 0), "host-local");
        assert_true(network_config_ipam(&config, 1) == NULL);
        static const char runtime[] = "{\"portMappings\":[{\"hostPort\":80}],\"dns\":{}}";
        assert_input(&config, 0, runtime, NULL,
                     "{\"type\":\"bridge\",\"mtu\":1450,\"ipam\":{\"type\":\"host-local\"},\"name\":\"pods\",\"cniVersion\":\"1.0.0\"}");
        assert_input(&config, 1, runtime, "{\"ips\":[]}",
                     "{\"type\":\"portmap\",\"name\":\"pods\",\"cniVersion\":\"1.0.0\",\"runtimeConfig\":{\"portMappings\":[{"
                     "\"hostPort\":80}]},\"prevResult\":{\"ips\":[]}}");
        assert_input(&config, 1, "{}", NULL, "{\"type\":\"portmap\",\"name\":\"pods\",\"cniVersion\":\"1.0.0\"}");
        /* Rendering changes nothing. */
        char *text = network_config_text(&config);
        assert_true(strstr(text, "\"capabilities\""));
        assert_false(strstr(text, "prevResult"));
        free(text);
        network_config_done(&config);
}

static void test_single_plugin(void)
{
        NetworkConfig config;
        assert_ok(parse(&config, "{\"cniVersion\":\"0.3.1\",\"name\":\"n\",\"type\":\"ptp\",\"capabilities\":{\"dns\":true}}"));
        assert_eq_int(config.n_plugins, 1);
        assert_input(&config, 0, "{\"dns\":{\"servers\":[\"a\"]}}", NULL,
                     "{\"cniVersion\":\"0.3.1\",\"name\":\"n\",\"type\":\"ptp\",\"runtimeConfig\":{\"dns\":{\"servers\":[\"a\"]}}}");
        network_config_done(&config);
}

static void test_versions(void)
{
        NetworkConfig config;
        static const struct {
                const char *text;
                int version; /* -1: refused */
        } rows[] = {
                {"\"cniVersion\":\"0.3.0\"", NETWORK_VERSION_0_3_0},
                {"\"cniVersion\":\"1.1.0\"", NETWORK_VERSION_1_1_0},
                {"\"cniVersion\":\"0.2.0\"", -1},
                {"\"cniVersion\":\"2.0.0\"", -1},
                {"\"cniVersion\":1", -1},
                {"\"x\":1", -1},
                {"\"cniVersion\":\"0.4.0\",\"cniVersions\":[\"0.4.0\",\"1.0.0\",\"9.0.0\"]", NETWORK_VERSION_1_0_0},
                {"\"cniVersion\":\"0.4.0\",\"cniVersions\":[\"9.0.0\",7]", NETWORK_VERSION_0_4_0},
                {"\"cniVersions\":[\"9.0.0\"]", -1},
        };
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                char text[256];
                snprintf(text, sizeof(text), "{%s,\"name\":\"n\",\"type\":\"t\"}", rows[i].text);
                int r = parse(&config, text);
                assert_eq_int(r, rows[i].version < 0 ? 1 : 0);
                if (r == 0)
                        assert_eq_int(config.version, rows[i].version);
                network_config_done(&config);
        }
}

static void test_wrong(void)
{
        NetworkConfig config;
        static const char *const texts[] = {
                "", "{", "[]", "7", "{}", "null", "\xff\xfe",
                "{\"cniVersion\":\"1.0.0\",\"type\":\"t\"}",
                "{\"cniVersion\":\"1.0.0\",\"name\":\"\",\"type\":\"t\"}",
                "{\"cniVersion\":\"1.0.0\",\"name\":\"a/b\",\"type\":\"t\"}",
                "{\"cniVersion\":\"1.0.0\",\"name\":\"n\"}",
                "{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"type\":7}",
                "{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"name\":\"m\",\"type\":\"t\"}",
                "{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":[]}",
                "{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":{}}",
                "{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":[7]}",
                "{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":[{\"type\":\"t\"},{}]}",
                "{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"type\":\"t\",\"ipam\":7}",
                "{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"type\":\"t\",\"ipam\":{\"type\":\"../x\"}}",
                "{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"type\":\"t\\u0000x\"}",
        };
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
                if (parse(&config, texts[i]) != 1)
                        test_fail("%s passes", texts[i]);
}

/* V081: a type that is a way to somewhere. */
static void test_types(void)
{
        static const char *const wrong[] = {"", "../../../bin/sh", "a/b", ".", "..", "-x", "_x", "A", "a b", "a\nb", "bridge\x80",
                                            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
        static const char *const good[] = {"bridge", "host-local", "x.y_z", "0",
                                           "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
                if (network_type_is_valid(wrong[i]))
                        test_fail("\"%s\" passes", wrong[i]);
        for (size_t i = 0; i < ARRAY_SIZE(good); i++)
                if (!network_type_is_valid(good[i]))
                        test_fail("\"%s\" is refused", good[i]);
        NetworkConfig config;
        assert_eq_int(parse(&config, "{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"type\":\"../../bin/sh\"}"), 1);
}

int main(void)
{
        TEST_RUN(test_list);
        TEST_RUN(test_single_plugin);
        TEST_RUN(test_versions);
        TEST_RUN(test_wrong);
        TEST_RUN(test_types);
        return 0;
}
