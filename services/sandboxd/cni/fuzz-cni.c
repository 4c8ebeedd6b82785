/* SPDX-License-Identifier: Apache-2.0 */

/* What the confined child reads as JSON. The first byte says as what: a network's configuration, rendered for each of its plugins
 * with the rest of the input as capability arguments; a plugin's result; a plugin's error. */

#include "lib/fuzz.h"
#include "lib/strings.h"
#include "services/sandboxd/cni/network-config.h"
#include "services/sandboxd/cni/plugin-result.h"
#include <assert.h>

static void fuzz_config(const char *bytes, size_t n)
{
        NetworkConfig config;
        Refusal refusal = {0};
        if (network_config_parse(&config, "x", bytes, n, &refusal) != 0) {
                assert(refusal.code != 0 && refusal.text[0]);
                return;
        }
        json_t *runtime = json_loads("{\"portMappings\":[],\"dns\":{}}", 0, NULL);
        assert(config.n_plugins > 0 && config.n_plugins <= NETWORK_PLUGINS_MAX);
        for (size_t i = 0; i < config.n_plugins; i++) {
                assert(network_type_is_valid(config.types[i]));
                char *text = network_config_render(&config, i, runtime, runtime);
                json_t *again = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
                assert(!text || again); /* what a plugin reads is JSON, whatever the file was */
                assert(!again || (str_equal(json_string_value(json_object_get(again, "name")), config.name) &&
                                  !json_object_get(again, "capabilities")));
                json_decref(again);
                free(text);
        }
        json_decref(runtime);
        network_config_done(&config);
}

static void fuzz_result(const char *bytes, size_t n)
{
        Bulkhead__Cni__CniResult result;
        char why[256] = "";
        json_t *json = plugin_result_parse(bytes, n, why);
        if (!json) {
                assert(why[0]);
                return;
        }
        if (plugin_result_fill(json, "n", &result) == 0) {
                assert(result.n_ips <= PLUGIN_RESULT_IPS_MAX && result.n_interfaces <= PLUGIN_RESULT_INTERFACES_MAX);
                plugin_result_done(&result);
        }
        json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        char text[400];
        unsigned code;
        if (n < 1)
                return 0;
        const char *bytes = (const char *)data + 1;
        switch (data[0] % 3) {
        case 0:
                fuzz_config(bytes, n - 1);
                break;
        case 1:
                fuzz_result(bytes, n - 1);
                break;
        default:
                plugin_error_text(bytes, n - 1, "", text, &code);
                assert(code <= 9999 && strnlen(text, sizeof(text)) < sizeof(text));
                break;
        }
        return 0;
}
