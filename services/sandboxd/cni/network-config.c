/* SPDX-License-Identifier: Apache-2.0 */

/* Runs only in the confined child. */

#include "services/sandboxd/cni/network-config.h"
#include "lib/strings.h"

#define NETWORK_TYPE_MAX 64

static const char *const network_versions[NETWORK_VERSION_N] = {"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"};

const char *network_version_name(NetworkVersion version)
{
        return network_versions[version];
}

static bool network_version_parse(const char *text, NetworkVersion *ret)
{
        for (size_t i = 0; i < NETWORK_VERSION_N; i++)
                if (str_equal(text, network_versions[i])) {
                        *ret = (NetworkVersion)i;
                        return true;
                }
        return false;
}

bool network_type_is_valid(const char *type)
{
        size_t n = strnlen(type, NETWORK_TYPE_MAX);
        return n > 0 && n < NETWORK_TYPE_MAX && !strchr("._-", type[0]) &&
               strspn(type, "abcdefghijklmnopqrstuvwxyz0123456789._-") == n;
}

static bool network_name_is_valid(const char *name)
{
        size_t n = strnlen(name, NETWORK_NAME_MAX);
        return n > 0 && n < NETWORK_NAME_MAX && !strchr("._-", name[0]) &&
               strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

/* "cniVersions" is since 1.1: the highest that both know; else "cniVersion". */
static int network_config_read_version(NetworkConfig *config, const char *path, Refusal *refusal)
{
        const json_t *versions = json_object_get(config->root, "cniVersions");
        const json_t *version = json_object_get(config->root, "cniVersion");
        bool found = false;
        for (size_t i = 0; i < json_array_size(versions); i++) {
                NetworkVersion v;
                const char *text = json_string_value(json_array_get(versions, i));
                if (text && network_version_parse(text, &v) && (!found || v > config->version)) {
                        config->version = v;
                        found = true;
                }
        }
        if (found || (json_is_string(version) && network_version_parse(json_string_value(version), &config->version)))
                return 0;
        char shown[40] = "none";
        if (json_is_string(version))
                str_printable(shown, sizeof(shown), json_string_value(version), json_string_length(version));
        return refusal_set(refusal, GRPC_STATUS_FAILED_PRECONDITION,
                           "%s: its cniVersion (%s) is not one of 0.3.0, 0.3.1, 0.4.0, 1.0.0 and 1.1.0; set one that its plugins "
                           "support",
                           path, shown);
}

static int network_config_add_plugin(NetworkConfig *config, const json_t *plugin, const char *path, Refusal *refusal)
{
        const json_t *type = json_object_get(plugin, "type");
        if (!json_is_string(type) || !network_type_is_valid(json_string_value(type))) {
                char shown[80] = "missing";
                if (json_is_string(type))
                        str_printable(shown, sizeof(shown), json_string_value(type), json_string_length(type));
                return refusal_set(refusal, GRPC_STATUS_FAILED_PRECONDITION,
                                   "%s: the type of plugin %zu (%s) is not a plugin's name: a-z and 0-9, then also '.', '_', '-'",
                                   path, config->n_plugins, shown);
        }
        const json_t *ipam = json_object_get(plugin, "ipam");
        const json_t *ipam_type = json_object_get(ipam, "type");
        if ((ipam && !json_is_object(ipam)) ||
            (ipam_type && (!json_is_string(ipam_type) ||
                           (json_string_length(ipam_type) > 0 && !network_type_is_valid(json_string_value(ipam_type))))))
                return refusal_set(refusal, GRPC_STATUS_FAILED_PRECONDITION,
                                   "%s: ipam of plugin %s is not an object whose type is a plugin's name", path,
                                   json_string_value(type));
        config->types[config->n_plugins] = json_string_value(type);
        config->plugins[config->n_plugins++] = plugin;
        return 0;
}

static int network_config_read(NetworkConfig *config, const char *path, Refusal *refusal)
{
        const json_t *name = json_object_get(config->root, "name");
        const json_t *plugins = json_object_get(config->root, "plugins");

        if (!json_is_string(name) || !network_name_is_valid(json_string_value(name)))
                return refusal_set(refusal, GRPC_STATUS_FAILED_PRECONDITION,
                                   "%s: \"name\" is missing or not a network's name (letters, digits, '.', '_', '-')", path);
        config->name = json_string_value(name);
        config->disable_check = json_is_true(json_object_get(config->root, "disableCheck"));
        int r = network_config_read_version(config, path, refusal);
        if (r != 0)
                return r;
        if (!plugins) /* the configuration of one plugin, as it was before lists */
                return network_config_add_plugin(config, config->root, path, refusal);
        if (!json_is_array(plugins) || json_array_size(plugins) == 0 || json_array_size(plugins) > NETWORK_PLUGINS_MAX)
                return refusal_set(refusal, GRPC_STATUS_FAILED_PRECONDITION,
                                   "%s: \"plugins\" must be a list of 1 to %d plugins", path, NETWORK_PLUGINS_MAX);
        for (size_t i = 0; i < json_array_size(plugins); i++) {
                r = network_config_add_plugin(config, json_array_get(plugins, i), path, refusal);
                if (r != 0)
                        return r;
        }
        return 0;
}

int network_config_parse(NetworkConfig *config, const char *path, const char *bytes, size_t n, Refusal *refusal)
{
        json_error_t error = {0};
        char shown[160];

        *config = (NetworkConfig){.root = json_loadb(bytes, n, JSON_REJECT_DUPLICATES, &error)};
        if (!config->root) {
                str_printable(shown, sizeof(shown), error.text, strlen(error.text));
                return refusal_set(refusal, GRPC_STATUS_FAILED_PRECONDITION, "%s: line %d: not JSON: %s", path, error.line,
                                   shown);
        }
        int r = 0;
        if (!json_is_object(config->root))
                r = refusal_set(refusal, GRPC_STATUS_FAILED_PRECONDITION, "%s: not a JSON object", path);
        if (r == 0)
                r = network_config_read(config, path, refusal);
        if (r != 0)
                network_config_done(config);
        return r;
}

void network_config_done(NetworkConfig *config)
{
        json_decref(config->root);
        *config = (NetworkConfig){0};
}

char *network_config_text(const NetworkConfig *config)
{
        return json_dumps(config->root, JSON_COMPACT);
}

const char *network_config_ipam(const NetworkConfig *config, size_t i)
{
        const char *type = json_string_value(json_object_get(json_object_get(config->plugins[i], "ipam"), "type"));
        return str_is_empty(type) ? NULL : type;
}

/* What of the capability arguments the plugin asks for with "capabilities": {"portMappings": true}. */
static int network_config_runtime(json_t *input, const json_t *capabilities, const json_t *runtime)
{
        const char *key;
        const json_t *wanted;
        json_t *taken = json_object();
        int r = taken ? 0 : -1;
        json_object_foreach((json_t *)(uintptr_t)capabilities, key, wanted) {
                json_t *value = json_object_get(runtime, key);
                if (r == 0 && json_is_true(wanted) && value)
                        r = json_object_set(taken, key, value);
        }
        if (r == 0 && json_object_size(taken) > 0)
                r = json_object_set(input, "runtimeConfig", taken);
        json_decref(taken);
        return r;
}

char *network_config_render(const NetworkConfig *config, size_t i, const json_t *runtime, const json_t *previous)
{
        json_t *input = json_copy((json_t *)(uintptr_t)config->plugins[i]); /* shallow: only its own keys are changed */
        char *text = NULL;
        if (!input)
                return NULL;
        int r = json_object_set_new(input, "name", json_string(config->name));
        if (r == 0)
                r = json_object_set_new(input, "cniVersion", json_string(network_version_name(config->version)));
        if (r == 0)
                r = network_config_runtime(input, json_object_get(input, "capabilities"), runtime);
        (void)json_object_del(input, "capabilities");
        (void)json_object_del(input, "cniVersions");
        if (r == 0 && previous)
                r = json_object_set(input, "prevResult", (json_t *)(uintptr_t)previous);
        if (r == 0)
                text = json_dumps(input, JSON_COMPACT);
        json_decref(input);
        return text;
}
