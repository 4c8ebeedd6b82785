/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A network's configuration (CNI specification, section 1) and what each of its plugins reads (section 3.1).
 * Runs only in the confined child. */

#include "services/sandboxd/refusal.h"
#include <jansson.h>

#define NETWORK_PLUGINS_MAX 32
#define NETWORK_NAME_MAX 128

typedef enum NetworkVersion {
        NETWORK_VERSION_0_3_0,
        NETWORK_VERSION_0_3_1,
        NETWORK_VERSION_0_4_0,
        NETWORK_VERSION_1_0_0,
        NETWORK_VERSION_1_1_0,
        NETWORK_VERSION_N,
} NetworkVersion;

typedef struct NetworkConfig {
        json_t *root; /* owned */
        const char *name;
        NetworkVersion version;
        bool disable_check;
        size_t n_plugins;
        const json_t *plugins[NETWORK_PLUGINS_MAX]; /* borrowed from root */
        const char *types[NETWORK_PLUGINS_MAX];
} NetworkConfig;

/* path is for messages. Both forms: a list, and the configuration of a single plugin. 0, or 1 and what is wrong. */
int network_config_parse(NetworkConfig *config, const char *path, const char *bytes, size_t n, Refusal *refusal);
void network_config_done(NetworkConfig *config);
const char *network_version_name(NetworkVersion version);

/* The input of plugin i: its own object, name and version of the network, runtimeConfig with the capability arguments that it
 * says it takes, prevResult (NULL: none). Owned; NULL when memory is out. */
char *network_config_render(const NetworkConfig *config, size_t i, const json_t *runtime, const json_t *previous);
/* The whole configuration as it was read. Owned. */
char *network_config_text(const NetworkConfig *config);
/* The plugin that hands out addresses for plugin i, NULL if it has none. */
const char *network_config_ipam(const NetworkConfig *config, size_t i);
/* The grammar of a plugin's type: [a-z0-9][a-z0-9._-]*, less than 64 bytes. */
bool network_type_is_valid(const char *type);
