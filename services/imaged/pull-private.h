/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What pull.c and pull-import.c share: the operation itself. */

#include "services/imaged/pull.h"

#define PULL_MANIFEST_MAX (4 * 1024 * 1024)
#define PULL_CONFIG_MAX (8 * 1024 * 1024)

struct Pull {
        List link; /* in Imaged.pulls */
        Imaged *imaged;
        const char *stage; /* what it is doing, for people */
        uint64_t started_usec;
        char name[REFERENCE_MAX];
        Registry registry;
        ReplyTo *waiters; /* owned array */
        size_t n_waiters;
        RegistryRequest *request;
        Channel *call_channel;
        uint32_t call; /* request id on call_channel, 0: none */
        char manifest_name[REFERENCE_MAX]; /* tag or digest being read */
        bool has_manifest_digest, has_config_digest;
        uint8_t manifest_digest[32], config_digest[32];
        unsigned depth; /* of indexes */
        uint8_t *config_packed; /* owned */
        size_t n_config_packed;
        uint64_t config_bytes;
        LayerWant *layers; /* owned array */
        size_t n_layers, n_layers_done;
        Layer **stack; /* owned array; what imaged-tree says is to be mounted; counts the pull as a user of each */
        size_t n_stack;
        bool starting;
        uint32_t failed_code;
        char failed_text[900];
        struct ImportQueue *import; /* owned; what is left of an archive */
};

int pull_new(Pull **ret, Imaged *imaged, const char *name, ReplyTo to);
void pull_drop_stack(Pull *pull);
int pull_fail(Pull *pull, uint32_t code, const char *text);
int pull_get_manifest(Pull *pull, const char *name);
int pull_get_config(Pull *pull, const char *name);
