/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where an image comes from: the endpoints that may serve a registry's name, the credentials for it, and the dance of
 * challenges. Or an extracted archive. One Registry per pull. */

#include "services/imaged/transfer.h"
#include "ipc/cri/api.pb-c.h"

#define REGISTRY_ENDPOINTS_MAX (CONFIG_MIRRORS_MAX + 1)

typedef struct RegistryEndpoint {
        char base[CONFIG_PATH_MAX + 16]; /* scheme://host[:port] */
        bool skip_verify, allow_loopback, plain;
        bool own; /* the registry itself, not a mirror: credentials are for it */
} RegistryEndpoint;

typedef struct Registry {
        Imaged *imaged;
        Reference reference;
        RegistryEndpoint endpoints[REGISTRY_ENDPOINTS_MAX];
        size_t n_endpoints;
        size_t endpoint; /* in use */
        char *credentials;   /* owned; "Basic …" or "Bearer …", "" for none: for the registry's own endpoint and its realm */
        char *authorization; /* owned; what requests carry now */
        char import_id[ID_LENGTH + 1]; /* "" unless an archive is the source */
} Registry;

/* 0, or REGISTRY_E_CREDENTIALS (the request's AuthConfig cannot be used; ret_why). auth may be NULL. */
enum { REGISTRY_E_CREDENTIALS = 1 };
int registry_init(Registry *registry, Imaged *imaged, const Reference *reference, const Runtime__V1__AuthConfig *auth,
                  const char **ret_why);
void registry_done(Registry *registry);

/* A document or blob below /v2/<repository>/, with authentication as needed; kind is "manifests" or "blobs", name a digest or
 * tag. For imports name is the path within the archive. */
typedef struct RegistryRequest RegistryRequest;
typedef struct RegistryWant {
        const char *kind;
        const char *name;
        const char *const *accept;
        size_t n_accept;
        bool to_file;
        uint64_t max_bytes;
        uint64_t *progress;
        TransferDone done;
        void *userdata;
} RegistryWant;
int registry_get(RegistryRequest **ret, Registry *registry, const RegistryWant *want);
RegistryRequest *registry_request_free(RegistryRequest *request);
