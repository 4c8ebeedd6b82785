/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One YAML document as the schema reads it: absent keys are NULL. */

#include "services/linkd/config.h"

typedef enum YamlBool { YAML_BOOL_FALSE, YAML_BOOL_TRUE } YamlBool;

typedef struct YamlStream {
        char *address;
        uint16_t *port;
        uint32_t *idle_timeout;
        char *tls_cert_file, *tls_key_file;
} YamlStream;

typedef struct YamlServer {
        uint32_t *max_connections;
        uint32_t *max_streams;
} YamlServer;

typedef struct YamlMirror {
        char *registry;
        char *endpoint;
        YamlBool *skip_verify;
} YamlMirror;

typedef struct YamlRegistry {
        char *registry;
        YamlBool *plain_http;
        YamlBool *skip_verify;
} YamlRegistry;

typedef struct YamlImages {
        YamlMirror *mirrors;
        uint32_t n_mirrors;
        YamlRegistry *registries;
        uint32_t n_registries;
        char **pinned;
        uint32_t n_pinned;
        uint32_t *max_concurrent_downloads;
        uint32_t *progress_timeout;
        uint64_t *max_layer_bytes;
        uint64_t *max_image_bytes;
        YamlBool *allow_loopback;
        char *ca_file;
        char **nameservers;
        uint32_t n_nameservers;
} YamlImages;

typedef struct YamlCni {
        char *conf_dir;
        char **bin_dirs;
        uint32_t n_bin_dirs;
        uint32_t *timeout;
} YamlCni;

typedef struct YamlRuntime {
        char *handler;
        char *path;
} YamlRuntime;

typedef struct YamlPolicy {
        YamlBool *allow_privileged;
        YamlBool *allow_host_paths;
} YamlPolicy;

typedef enum YamlCgroupDriver { YAML_CGROUP_CGROUPFS, YAML_CGROUP_SYSTEMD } YamlCgroupDriver;

typedef struct YamlCgroup {
        YamlCgroupDriver *driver;
        char *root;
} YamlCgroup;

typedef struct YamlConfig {
        char *instance;
        char *state_dir;
        char *runtime_dir;
        char *libexec_dir;
        char *socket;
        char *socket_group;
        char *seccomp_dir;
        char *log_root;
        uint32_t *log_level;
        uint32_t *user_base;
        YamlStream *stream;
        YamlServer *server;
        YamlImages *images;
        YamlCni *cni;
        YamlRuntime *runtimes;
        uint32_t n_runtimes;
        YamlPolicy *policy;
        YamlCgroup *cgroup;
} YamlConfig;

/* 0 (ret is NULL for an empty document), CONFIG_E_INVALID, -errno. */
int yaml_config_load(const ConfigDocument *document, YamlConfig **ret, ConfigError *error);
YamlConfig *yaml_config_free(YamlConfig *config);
DEFINE_CLEANUP(YamlConfig, yaml_config_free)
