/* SPDX-License-Identifier: Apache-2.0 */
#include "services/linkd/config-yaml.h"
#include "lib/error.h"
#include "lib/log.h"
#include "lib/strings.h"
#include <cyaml/cyaml.h>
#include <stdarg.h>
#include <stdio.h>

#define OPTIONAL (CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL)
#define STRING(key, type, member) CYAML_FIELD_STRING_PTR(key, OPTIONAL, type, member, 0, CONFIG_PATH_MAX - 1)
#define NEEDED(key, type, member) CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER, type, member, 1, CONFIG_PATH_MAX - 1)
#define NUMBER(key, type, member) CYAML_FIELD_UINT_PTR(key, OPTIONAL, type, member)
/* libcyaml's own booleans take any word for true. */
#define BOOLEAN(key, type, member)                                                                                     \
        CYAML_FIELD_ENUM_PTR(key, OPTIONAL | CYAML_FLAG_STRICT, type, member, yaml_booleans, ARRAY_SIZE(yaml_booleans))
#define LIST(key, type, member, entry, max)                                                                            \
        CYAML_FIELD_SEQUENCE_COUNT(key, OPTIONAL, type, member, n_##member, entry, 0, max)

static const cyaml_strval_t yaml_booleans[] = {
        {"false", YAML_BOOL_FALSE}, {"true", YAML_BOOL_TRUE}, {"no", YAML_BOOL_FALSE}, {"yes", YAML_BOOL_TRUE}};
static const cyaml_strval_t yaml_log_levels[] = {{"error", LOG_LEVEL_ERROR},
                                                 {"warning", LOG_LEVEL_WARNING},
                                                 {"info", LOG_LEVEL_INFO},
                                                 {"debug", LOG_LEVEL_DEBUG}};
static const cyaml_strval_t yaml_cgroup_drivers[] = {{"cgroupfs", YAML_CGROUP_CGROUPFS},
                                                     {"systemd", YAML_CGROUP_SYSTEMD}};

static const cyaml_schema_value_t yaml_string = {
        CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 1, CONFIG_PATH_MAX - 1),
};

static const cyaml_schema_field_t yaml_stream_fields[] = {
        STRING("address", YamlStream, address),
        NUMBER("port", YamlStream, port),
        NUMBER("idle_timeout", YamlStream, idle_timeout),
        STRING("tls_cert_file", YamlStream, tls_cert_file),
        STRING("tls_key_file", YamlStream, tls_key_file),
        CYAML_FIELD_END,
};

static const cyaml_schema_field_t yaml_server_fields[] = {
        NUMBER("max_connections", YamlServer, max_connections),
        NUMBER("max_streams", YamlServer, max_streams),
        CYAML_FIELD_END,
};

static const cyaml_schema_field_t yaml_mirror_fields[] = {
        NEEDED("registry", YamlMirror, registry),
        NEEDED("endpoint", YamlMirror, endpoint),
        BOOLEAN("skip_verify", YamlMirror, skip_verify),
        CYAML_FIELD_END,
};
static const cyaml_schema_value_t yaml_mirror = {CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, YamlMirror, yaml_mirror_fields)};

static const cyaml_schema_field_t yaml_registry_fields[] = {
        NEEDED("registry", YamlRegistry, registry),
        BOOLEAN("plain_http", YamlRegistry, plain_http),
        BOOLEAN("skip_verify", YamlRegistry, skip_verify),
        CYAML_FIELD_END,
};
static const cyaml_schema_value_t yaml_registry = {
        CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, YamlRegistry, yaml_registry_fields)};

static const cyaml_schema_field_t yaml_images_fields[] = {
        LIST("mirrors", YamlImages, mirrors, &yaml_mirror, CONFIG_MIRRORS_MAX),
        LIST("registries", YamlImages, registries, &yaml_registry, CONFIG_MIRRORS_MAX),
        LIST("pinned", YamlImages, pinned, &yaml_string, CONFIG_PINNED_MAX),
        NUMBER("max_concurrent_downloads", YamlImages, max_concurrent_downloads),
        NUMBER("progress_timeout", YamlImages, progress_timeout),
        NUMBER("max_layer_bytes", YamlImages, max_layer_bytes),
        NUMBER("max_image_bytes", YamlImages, max_image_bytes),
        BOOLEAN("allow_loopback", YamlImages, allow_loopback),
        STRING("ca_file", YamlImages, ca_file),
        LIST("nameservers", YamlImages, nameservers, &yaml_string, CONFIG_NAMESERVERS_MAX),
        CYAML_FIELD_END,
};

static const cyaml_schema_field_t yaml_cni_fields[] = {
        STRING("conf_dir", YamlCni, conf_dir),
        LIST("bin_dirs", YamlCni, bin_dirs, &yaml_string, CONFIG_BIN_DIRS_MAX),
        NUMBER("timeout", YamlCni, timeout),
        CYAML_FIELD_END,
};

static const cyaml_schema_field_t yaml_runtime_fields[] = {
        NEEDED("handler", YamlRuntime, handler),
        NEEDED("path", YamlRuntime, path),
        CYAML_FIELD_END,
};
static const cyaml_schema_value_t yaml_runtime = {
        CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, YamlRuntime, yaml_runtime_fields)};

static const cyaml_schema_field_t yaml_policy_fields[] = {
        BOOLEAN("allow_privileged", YamlPolicy, allow_privileged),
        BOOLEAN("allow_host_paths", YamlPolicy, allow_host_paths),
        CYAML_FIELD_END,
};

static const cyaml_schema_field_t yaml_cgroup_fields[] = {
        CYAML_FIELD_ENUM_PTR("driver", OPTIONAL | CYAML_FLAG_STRICT, YamlCgroup, driver, yaml_cgroup_drivers,
                             ARRAY_SIZE(yaml_cgroup_drivers)),
        STRING("root", YamlCgroup, root),
        CYAML_FIELD_END,
};

static const cyaml_schema_field_t yaml_config_fields[] = {
        STRING("instance", YamlConfig, instance),
        STRING("state_dir", YamlConfig, state_dir),
        STRING("runtime_dir", YamlConfig, runtime_dir),
        STRING("libexec_dir", YamlConfig, libexec_dir),
        STRING("socket", YamlConfig, socket),
        STRING("socket_group", YamlConfig, socket_group),
        STRING("seccomp_dir", YamlConfig, seccomp_dir),
        STRING("log_root", YamlConfig, log_root),
        CYAML_FIELD_ENUM_PTR("log_level", OPTIONAL | CYAML_FLAG_STRICT, YamlConfig, log_level, yaml_log_levels,
                             ARRAY_SIZE(yaml_log_levels)),
        NUMBER("user_base", YamlConfig, user_base),
        CYAML_FIELD_MAPPING_PTR("stream", OPTIONAL, YamlConfig, stream, yaml_stream_fields),
        CYAML_FIELD_MAPPING_PTR("server", OPTIONAL, YamlConfig, server, yaml_server_fields),
        CYAML_FIELD_MAPPING_PTR("images", OPTIONAL, YamlConfig, images, yaml_images_fields),
        CYAML_FIELD_MAPPING_PTR("cni", OPTIONAL, YamlConfig, cni, yaml_cni_fields),
        LIST("runtimes", YamlConfig, runtimes, &yaml_runtime, CONFIG_RUNTIMES_MAX),
        CYAML_FIELD_MAPPING_PTR("policy", OPTIONAL, YamlConfig, policy, yaml_policy_fields),
        CYAML_FIELD_MAPPING_PTR("cgroup", OPTIONAL, YamlConfig, cgroup, yaml_cgroup_fields),
        CYAML_FIELD_END,
};
static const cyaml_schema_value_t yaml_config = {CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, YamlConfig, yaml_config_fields)};

/* What libcyaml says while it loads: a sentence, then a backtrace from the innermost key outwards. */
typedef struct YamlMessages {
        char sentence[512];
        char key[256];
        size_t line;
        bool more_documents;
} YamlMessages;

static void yaml_key_prepend(YamlMessages *messages, const char *part)
{
        char key[sizeof(messages->key)];
        const char *dot = messages->key[0] && messages->key[0] != '[' ? "." : "";

        if (snprintf(key, sizeof(key), "%s%s%s", part, dot, messages->key) < (int)sizeof(key))
                memcpy(messages->key, key, sizeof(key));
}

static void yaml_on_message(cyaml_log_t level, void *context, const char *format, va_list arguments)
{
        YamlMessages *messages = context;
        char text[512], part[128];
        size_t line;
        unsigned int entry;

        (void)vsnprintf(text, sizeof(text), format, arguments);
        text[strcspn(text, "\n")] = '\0';
        if (sscanf(text, " in mapping field '%127[^']' (line: %zu", part, &line) == 2) {
                yaml_key_prepend(messages, part);
        } else if (sscanf(text, " in sequence entry '%u' (line: %zu", &entry, &line) == 2) {
                (void)snprintf(part, sizeof(part), "[%u]", entry - 1);
                yaml_key_prepend(messages, part);
        } else if (sscanf(text, " in mapping (line: %zu", &line) != 1) {
                if (str_has_prefix(text, "Ignoring documents"))
                        messages->more_documents = true;
                else if (!messages->sentence[0] && str_has_prefix(text, "Load: "))
                        (void)str_copy(messages->sentence, sizeof(messages->sentence), text + strlen("Load: "));
                return;
        }
        if (messages->line == 0)
                messages->line = line;
}

static void yaml_error(const ConfigDocument *document, const YamlMessages *messages, const char *otherwise,
                       ConfigError *error)
{
        const char *key = messages->key;
        const char *sentence = messages->sentence[0] ? messages->sentence : otherwise;
        char line[32] = "";

        if (messages->line > 0)
                (void)snprintf(line, sizeof(line), ":%zu", messages->line);
        (void)snprintf(error->text, sizeof(error->text), "%s%s: %s%s%s", document->name, line, key, *key ? ": " : "",
                       sentence);
}

static const cyaml_config_t yaml_settings = {
        .log_fn = yaml_on_message,
        .mem_fn = cyaml_mem,
        .log_level = CYAML_LOG_NOTICE,
};

int yaml_config_load(const ConfigDocument *document, YamlConfig **ret, ConfigError *error)
{
        YamlMessages messages = {0};
        cyaml_config_t settings = yaml_settings;
        YamlConfig *config = NULL;
        cyaml_err_t r;

        settings.log_ctx = &messages;
        /* Nothing in a configuration needs aliases, and they are how YAML grows without bound. */
        settings.flags = CYAML_CFG_NO_ALIAS;
        r = cyaml_load_data((const uint8_t *)document->bytes, document->n, &settings, &yaml_config, (cyaml_data_t **)&config,
                            NULL);
        if (r == CYAML_ERR_OOM)
                return error_origin(-ENOMEM);
        if (r != CYAML_OK) {
                yaml_error(document, &messages, cyaml_strerror(r), error);
                return CONFIG_E_INVALID;
        }
        if (messages.more_documents) {
                (void)yaml_config_free(config);
                yaml_error(document, &(YamlMessages){0}, "there is a second document (\"---\") in the file", error);
                return CONFIG_E_INVALID;
        }
        *ret = config;
        return 0;
}

YamlConfig *yaml_config_free(YamlConfig *config)
{
        if (config)
                (void)cyaml_free(&yaml_settings, &yaml_config, config, 0);
        return NULL;
}
