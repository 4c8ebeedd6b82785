/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/parse/config.h"
#include "lib/strings.h"
#include "services/imaged/parse/document.h"

typedef Bulkhead__ContainerdImaged__ImageConfig ImageConfig;
typedef Bulkhead__ContainerdImaged__Label Label;
typedef Bulkhead__ImagedParse__ParseConfigResponse ParseConfigResponse;

/* Bytes, as execve takes them: JSON can only write UTF-8, but no reader of a container's environment relies on that. */
static int config_parse_env(Parse *parse, const DocumentNode *section, ImageConfig *config)
{
        char **strings = NULL;
        size_t n = 0;

        int r = document_strings(parse, section, "Env", CONFIG_LIST_MAX, &strings, &n);
        if (r)
                return r;
        config->env = parse_alloc(parse, n, sizeof(*config->env));
        if (!config->env)
                return parse_refuse_memory(parse);
        for (size_t i = 0; i < n; i++)
                config->env[i] = (ProtobufCBinaryData){.data = (uint8_t *)strings[i], .len = strlen(strings[i])};
        config->n_env = n;
        return 0;
}

/* An object of at most CONFIG_LIST_MAX keys, each of at most DOCUMENT_STRING_MAX bytes. */
static int config_find_map(Parse *parse, const DocumentNode *section, const char *key, DocumentNode *ret)
{
        DocumentNode map;
        int r = document_member(parse, section, key, JSON_OBJECT, DOCUMENT_OPTIONAL, &map);
        if (r)
                return r;
        if (json_object_size(map.value) > CONFIG_LIST_MAX) /* check: config-map */
                return document_refuse(parse, &map, "has %zu keys, more than %d", json_object_size(map.value),
                                       CONFIG_LIST_MAX);
        for (void *i = json_object_iter(map.value); i; i = json_object_iter_next(map.value, i))
                if (strlen(json_object_iter_key(i)) > DOCUMENT_STRING_MAX) /* check: config-map-key */
                        return document_refuse(parse, &map, "has a key of more than %d bytes", DOCUMENT_STRING_MAX);
        *ret = map;
        return 0;
}

/* What stands behind the keys means nothing: {"/data": {}}. */
static int config_parse_volumes(Parse *parse, const DocumentNode *section, ImageConfig *config)
{
        DocumentNode map;
        int r = config_find_map(parse, section, "Volumes", &map);
        if (r)
                return r;
        config->volumes = parse_alloc(parse, json_object_size(map.value), sizeof(*config->volumes));
        if (!config->volumes)
                return parse_refuse_memory(parse);
        for (void *i = json_object_iter(map.value); i; i = json_object_iter_next(map.value, i))
                config->volumes[config->n_volumes++] = (char *)(uintptr_t)json_object_iter_key(i);
        return 0;
}

static int config_parse_labels(Parse *parse, const DocumentNode *section, ImageConfig *config)
{
        DocumentNode map;
        int r = config_find_map(parse, section, "Labels", &map);
        if (r)
                return r;
        size_t n = json_object_size(map.value);
        Label *labels = parse_alloc(parse, n, sizeof(*labels));
        config->labels = parse_alloc(parse, n, sizeof(*config->labels));
        if (!labels || !config->labels)
                return parse_refuse_memory(parse);
        for (void *i = json_object_iter(map.value); i; i = json_object_iter_next(map.value, i)) {
                Label *label = &labels[config->n_labels];
                const DocumentNode value = {
                        .parent = &map,
                        .index = config->n_labels,
                        .value = json_object_iter_value(i),
                };

                bulkhead__containerd_imaged__label__init(label);
                label->key = (char *)(uintptr_t)json_object_iter_key(i);
                r = document_expect(parse, &value, JSON_STRING);
                if (r == 0)
                        r = document_text(parse, &value, CONFIG_LABEL_MAX, &label->value);
                if (r)
                        return r;
                config->labels[config->n_labels++] = label;
        }
        return 0;
}

static int config_parse_section(Parse *parse, const DocumentNode *section, ImageConfig *config)
{
        int r = document_string(parse, section, "User", DOCUMENT_OPTIONAL, &config->user);
        if (r == 0)
                r = document_string(parse, section, "WorkingDir", DOCUMENT_OPTIONAL, &config->working_dir);
        if (r == 0)
                r = document_string(parse, section, "StopSignal", DOCUMENT_OPTIONAL, &config->stop_signal);
        if (r == 0)
                r = document_strings(parse, section, "Entrypoint", CONFIG_LIST_MAX, &config->entrypoint,
                                     &config->n_entrypoint);
        if (r == 0)
                r = document_strings(parse, section, "Cmd", CONFIG_LIST_MAX, &config->cmd, &config->n_cmd);
        if (r == 0)
                r = config_parse_env(parse, section, config);
        if (r == 0)
                r = config_parse_volumes(parse, section, config);
        if (r == 0)
                r = config_parse_labels(parse, section, config);
        return r;
}

static int config_parse_rootfs(Parse *parse, const DocumentNode *root, ParseConfigResponse *response)
{
        DocumentNode rootfs, array, element, type;

        int r = document_member(parse, root, "rootfs", JSON_OBJECT, DOCUMENT_REQUIRED, &rootfs);
        if (r == 0)
                r = document_member(parse, &rootfs, "type", JSON_STRING, DOCUMENT_OPTIONAL, &type);
        if (r)
                return r;
        if (type.value && !str_equal(json_string_value(type.value), "layers")) /* check: config-rootfs-type */
                return document_refuse(parse, &type, "is not \"layers\"");
        r = document_array(parse, &rootfs, "diff_ids", CONFIG_DIFF_IDS_MAX, DOCUMENT_OPTIONAL, &array);
        if (r)
                return r;
        size_t n = json_array_size(array.value);
        response->diff_ids = parse_alloc(parse, n, sizeof(*response->diff_ids));
        if (!response->diff_ids)
                return parse_refuse_memory(parse);
        for (size_t i = 0; i < n; i++) {
                r = document_element(parse, &array, i, JSON_STRING, &element);
                if (r == 0)
                        r = document_digest(parse, &element, &response->diff_ids[i]);
                if (r)
                        return r;
        }
        response->n_diff_ids = n;
        return 0;
}

int config_parse(Parse *parse, const void *bytes, size_t n, ParseConfigResponse *ret)
{
        ParseConfigResponse response = BULKHEAD__IMAGED_PARSE__PARSE_CONFIG_RESPONSE__INIT;
        ImageConfig *config = parse_alloc(parse, 1, sizeof(*config));
        DocumentNode root, section;

        if (!config)
                return parse_refuse_memory(parse);
        bulkhead__containerd_imaged__image_config__init(config);
        response.config = config;
        int r = document_load(parse, bytes, n, &root);
        if (r == 0)
                r = document_expect(parse, &root, JSON_OBJECT);
        if (r == 0)
                r = document_string(parse, &root, "architecture", DOCUMENT_OPTIONAL, &config->architecture);
        if (r == 0)
                r = document_string(parse, &root, "os", DOCUMENT_OPTIONAL, &config->os);
        if (r == 0)
                r = document_member(parse, &root, "config", JSON_OBJECT, DOCUMENT_OPTIONAL, &section);
        if (r == 0 && section.value)
                r = config_parse_section(parse, &section, config);
        if (r == 0)
                r = config_parse_rootfs(parse, &root, &response);
        if (r)
                return r;
        size_t packed = protobuf_c_message_get_packed_size(&config->base);
        if (packed > CONFIG_PACKED_MAX) /* check: config-packed */
                return parse_refuse(parse, GRPC_STATUS_INVALID_ARGUMENT,
                                    "what it says takes %zu bytes, more than %d; make its labels and environment "
                                    "smaller", packed, CONFIG_PACKED_MAX);
        *ret = response;
        return 0;
}
