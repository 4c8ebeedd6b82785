/* SPDX-License-Identifier: Apache-2.0 */
#include "services/sandboxd/cni/plugin-result.h"

#include "lib/test.h"

static json_t *parse(const char *text)
{
        char why[256] = "", *exact = malloc(strlen(text) + 1);
        memcpy(exact, text, strlen(text));
        json_t *json = plugin_result_parse(exact, strlen(text), why);
        free(exact);
        assert_true(json || why[0]);
        return json;
}

/* As Debian's bridge, host-local and portmap print it. */
static void test_good(void)
{
        Bulkhead__Cni__CniResult result;
        json_t *json = parse("{\"cniVersion\":\"1.0.0\",\"interfaces\":[{\"name\":\"cni0\",\"mac\":\"aa:bb:cc:dd:ee:ff\"},"
                             "{\"name\":\"veth1\",\"mac\":\"\"},{\"name\":\"eth0\",\"sandbox\":\"/run/netns/x\"}],"
                             "\"ips\":[{\"interface\":0,\"address\":\"10.9.0.1/16\"},{\"interface\":2,\"address\":\"10.9.0.2/16\","
                             "\"gateway\":\"10.9.0.1\"},{\"address\":\"2001:db8::2/64\"}],\"routes\":[{\"dst\":\"0.0.0.0/0\"}],"
                             "\"dns\":{\"nameservers\":[\"10.9.0.1\"]}}");
        assert_true(json != NULL);
        assert_ok(plugin_result_fill(json, "pods", &result));
        assert_eq_int(result.n_ips, 2); /* the bridge's own address is not the pod's */
        assert_eq_str(result.ips[0], "10.9.0.2");
        assert_eq_str(result.ips[1], "2001:db8::2");
        assert_eq_int(result.n_interfaces, 3);
        assert_eq_str(result.interfaces[0]->name, "cni0");
        assert_eq_str(result.interfaces[0]->sandbox, "");
        assert_eq_str(result.interfaces[2]->sandbox, "/run/netns/x");
        assert_eq_str(result.network_name, "pods");
        assert_eq_int(result.n_dns_servers, 1);
        assert_true(strstr(result.result_json, "\"routes\""));
        plugin_result_done(&result);
        json_decref(json);

        json = parse("{}"); /* a plugin that adds nothing */
        assert_true(json != NULL);
        assert_ok(plugin_result_fill(json, "pods", &result));
        assert_eq_int(result.n_ips, 0);
        plugin_result_done(&result);
        json_decref(json);
}

static void test_wrong(void)
{
        static const char *const texts[] = {
                "", "garbage", "[]", "\"x\"", "{\"a\":1,\"a\":2}", "{}{}", "{\"ips\":7}", "{\"ips\":[7]}",
                "{\"ips\":[{\"address\":\"10.0.0.1\"}]}",
                "{\"ips\":[{\"address\":\"10.0.0.1/33\"}]}",
                "{\"ips\":[{\"address\":\"10.0.0.1/-1\"}]}",
                "{\"ips\":[{\"address\":\"10.0.0/8\"}]}",
                "{\"ips\":[{\"address\":\"::1/129\"}]}",
                "{\"ips\":[{\"address\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/8\"}]}",
                "{\"ips\":[{\"address\":7}]}",
                "{\"ips\":[{\"interface\":0,\"address\":\"10.0.0.1/8\"}]}",
                "{\"interfaces\":[{\"name\":\"a\"}],\"ips\":[{\"interface\":1,\"address\":\"10.0.0.1/8\"}]}",
                "{\"interfaces\":[{\"name\":\"a\"}],\"ips\":[{\"interface\":-1,\"address\":\"10.0.0.1/8\"}]}",
                "{\"interfaces\":[{\"name\":\"a\"}],\"ips\":[{\"interface\":\"0\",\"address\":\"10.0.0.1/8\"}]}",
                "{\"interfaces\":{}}", "{\"interfaces\":[{}]}", "{\"interfaces\":[{\"name\":\"a\",\"sandbox\":7}]}",
                "{\"dns\":{\"nameservers\":7}}", "{\"dns\":{\"nameservers\":[7]}}", "{\"x\":\"\\u0000\"}",
        };
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
                if (parse(texts[i]))
                        test_fail("%s passes", texts[i]);
}

static void test_error_texts(void)
{
        char text[400];
        unsigned code;
        static const char error[] = "{\"cniVersion\":\"1.0.0\",\"code\":11,\"msg\":\"no more addresses\",\"details\":\"in 10.9.0.0/16\"}";
        plugin_error_text(error, strlen(error), "noise", text, &code);
        assert_eq_str(text, "no more addresses (in 10.9.0.0/16)");
        assert_eq_int(code, 11);
        static const char hostile[] = "{\"code\":99999999,\"msg\":\"a\\u001b[31m\\n\"}";
        plugin_error_text(hostile, strlen(hostile), "", text, &code);
        assert_eq_str(text, "a\\x1b[31m\\x0a");
        assert_eq_int(code, 0);
        plugin_error_text("panic", 5, "stack\ntrace", text, &code);
        assert_eq_str(text, "it printed no CNI error but: stack\\x0atrace");
        plugin_error_text("only this", 9, "", text, &code);
        assert_eq_str(text, "it printed no CNI error but: only this");
        plugin_error_text("", 0, "", text, &code);
        assert_eq_str(text, "it printed no CNI error");
}

int main(void)
{
        TEST_RUN(test_good);
        TEST_RUN(test_wrong);
        TEST_RUN(test_error_texts);
        return 0;
}
