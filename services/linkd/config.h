/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The whole configuration of a suite: read from YAML documents with a schema, validated as a whole, then only typed structs.
 * Nothing here opens a file; documents are bytes with a name for messages. */

#include "ipc/config.h"

#define LINKD_USER_BASE_MIN UINT32_C(0x70000000) /* systemd's table leaves 1879048192 to 2147483647 unused */
#define LINKD_USER_BASE_MAX UINT32_C(0x7fff0000)
#define LINKD_SOCKET_PATH_MAX 108

typedef struct LinkdConfig {
        ConfigCommon common;
        ConfigGatewayd gatewayd;
        ConfigStreamd streamd;
        ConfigImaged imaged;
        ConfigImagedFetch fetch;
        ConfigCni cni;
        ConfigContainerd containerd;
        char socket_path[LINKD_SOCKET_PATH_MAX];
        char stream_cert_file[CONFIG_PATH_MAX], stream_key_file[CONFIG_PATH_MAX]; /* both or none */
        char socket_group[CONFIG_NAME_MAX]; /* name or number; "" for the default */
} LinkdConfig;

/* What is wrong, for a person: "file:line: key: what, and what is allowed". */
typedef struct ConfigError {
        char text[1024];
} ConfigError;

enum { CONFIG_E_INVALID = 1 };

/* One document: name is the file's path, or "--set" and its argument. */
typedef struct ConfigDocument {
        const char *name;
        const char *bytes;
        size_t n;
} ConfigDocument;

/* Defaults, then the documents in order: later scalars replace, later lists are appended (runtimes and bin_dirs replace
 * the default list first). 0, CONFIG_E_INVALID with the error filled, or -errno. What depends on the machine (boot id,
 * cgroup root, name servers, group) is left empty for probe.c unless it was configured. */
int config_read(const ConfigDocument *documents, size_t n_documents, LinkdConfig *ret, ConfigError *error);

/* "a.b=value" as a YAML document of its own (owned). NULL if it has no "=" or no key. */
char *config_set_document(const char *argument);

/* Which line of the document holds the value of a key path such as "images.mirrors[2].endpoint"; 0 if none. */
size_t config_locate(const char *bytes, size_t n, const char *key);

/* Takes over from `next` what can change while the suite runs, and calls on_change for every difference. written is the
 * configuration as it was read; in_force has besides what the machine told (bound port, name servers, cgroup root). */
typedef void (*ConfigChange)(void *userdata, const char *key, const char *before, const char *after, bool applied);
void config_apply(LinkdConfig *written, LinkdConfig *in_force, const LinkdConfig *next, ConfigChange on_change,
                  void *userdata);
