/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Permits and statements: what gatewayd and imaged seal for the hands, so that a brain in between cannot invent it.
 * The fixed-size part is checked by hands that have no decoder; it binds the variable part by its hash.
 * Seal: libsodium crypto_auth (HMAC-SHA512-256) with a key that lives in linkd and the two sides that need it. */

#include "lib/base.h"
#include "lib/strings.h"

#define SEAL_KEY_BYTES 32
#define SEAL_MAC_BYTES 32
#define SEAL_HASH_BYTES 32 /* crypto_generichash (BLAKE2b) */
#define SEAL_NONCE_BYTES 24
#define SEAL_PATH_MAX 512
/* How long a permit opens anything: longer than any request takes to reach its hand, so that a brain that is taken over later
 * cannot use what it once carried. One for port forwarding holds as long as the session may, which is as long as its client stays. */
#define PERMIT_AGE_MAX_USEC (UINT64_C(15) * 60 * 1000 * 1000)
#define SEAL_LAYERS_MAX 128
#define SEAL_VOLUMES_MAX 16 /* image volumes of one container */
#define SEAL_SYSCTLS_MAX 30 /* of one pod */
#define SEAL_PORTS_MAX (SEAL_PATH_MAX / 2)

typedef enum PermitVerb {
        PERMIT_VERB_RUN_POD = 1,      /* request: RunPodSandboxRequest; id = pod_id */
        PERMIT_VERB_CREATE_CONTAINER, /* CreateContainerRequest; id = container, pod_id = its pod */
        PERMIT_VERB_EXEC,             /* ExecSyncRequest or ExecRequest; id = the exec, pod_id = the container */
        PERMIT_VERB_PORT_FORWARD,     /* PortForwardRequest; id = the session, pod_id = the pod */
        PERMIT_VERB_UPDATE,           /* UpdateContainerResourcesRequest; id = the update, pod_id = the container */
        PERMIT_VERB_CHECKPOINT,       /* CheckpointContainerRequest; id = the checkpoint, pod_id = the container */
} PermitVerb;

/* Facts of the request that hands without a decoder check. */
enum {
        PERMIT_FLAG_HOST_NETWORK = 1 << 0,
        PERMIT_FLAG_HOST_IPC = 1 << 1,
        PERMIT_FLAG_HOST_PID = 1 << 2,
        PERMIT_FLAG_POD_PID = 1 << 3, /* the pod shares one PID namespace */
        PERMIT_FLAG_USERNS = 1 << 4,  /* pod has a user namespace; the mapping follows */
        PERMIT_FLAG_PRIVILEGED = 1 << 5,
        PERMIT_FLAG_TTY = 1 << 6,
        PERMIT_FLAG_READONLY_ROOT = 1 << 7,
};

typedef struct Permit {
        char magic[8];    /* "BHPERMIT" */
        uint32_t version; /* 2 */
        uint32_t verb;
        uint64_t sealed_usec; /* clock_boottime_usec() */
        char id[ID_LENGTH + 1];
        char pod_id[ID_LENGTH + 1];
        uint8_t padding[2];
        uint32_t flags;
        uint32_t userns_host_id, userns_container_id, userns_length; /* uids and gids alike */
        char cgroup_parent[SEAL_PATH_MAX];
        char log_path[SEAL_PATH_MAX]; /* log_directory/log_path, "" if the request has none */
        union {
                char image[SEAL_PATH_MAX];      /* image.image of a CreateContainerRequest */
                uint16_t ports[SEAL_PORTS_MAX]; /* of a PortForwardRequest, up to the first 0; none: any */
        };
        uint8_t details_hash[SEAL_HASH_BYTES]; /* RUN_POD: of its sysctls; CREATE_CONTAINER: of its image volumes; zero: it has none */
        uint8_t nonce[SEAL_NONCE_BYTES];
        uint32_t request_length;
        uint8_t request_hash[SEAL_HASH_BYTES];
        uint8_t mac[SEAL_MAC_BYTES]; /* over everything above */
} Permit;

/* An image volume of a CreateContainerRequest: what gatewayd hashes, in the order of the request's mounts. */
typedef struct SealVolume {
        char image[SEAL_PATH_MAX];    /* image.image of the mount */
        char sub_path[SEAL_PATH_MAX]; /* "" for the whole image */
} SealVolume;

/* A sysctl of a RunPodSandboxRequest, in the order of the request. */
typedef struct SealSysctl {
        char name[128]; /* with dots or slashes, as in the request */
        char value[256];
} SealSysctl;

/* imaged's word that this image has these layers. */
typedef struct Statement {
        char magic[8]; /* "BHSTATEM" */
        uint32_t version;
        uint32_t n_layers;
        char image_id[ID_LENGTH + 1];  /* hex of the config digest */
        char image_ref[SEAL_PATH_MAX]; /* the reference that was resolved to it: the permit's image */
        uint8_t padding[3];
        uint8_t layers[SEAL_LAYERS_MAX][32]; /* compressed digests, lowest first */
        uint8_t mac[SEAL_MAC_BYTES];
} Statement;

enum { SEAL_E_FORGED = 1, SEAL_E_MISMATCH, SEAL_E_EXPIRED };

/* Fills time, hash, nonce and mac; the other members are the caller's. */
void permit_seal(Permit *permit, const void *request, size_t n, const uint8_t key[SEAL_KEY_BYTES]);
/* The fixed part alone: magic, version, terminated strings, valid ids, age, mac. 0, SEAL_E_FORGED or SEAL_E_EXPIRED. */
int permit_check(const Permit *permit, PermitVerb verb, const uint8_t key[SEAL_KEY_BYTES]);
/* The same, of any age: for verbs that only read, and are asked as long as the object lives. 0 or SEAL_E_FORGED. */
int permit_check_seal(const Permit *permit, PermitVerb verb, const uint8_t key[SEAL_KEY_BYTES]);
/* The request that travelled beside it is the one that was sealed. 0 or SEAL_E_MISMATCH. */
int permit_check_request(const Permit *permit, const void *request, size_t n);
/* The bytes beyond each NUL count: whoever fills volumes clears them first. */
void permit_set_volumes(Permit *permit, const SealVolume *volumes, size_t n);
/* These are the image volumes of the request that was sealed; texts have an end. 0 or SEAL_E_MISMATCH. */
int permit_check_volumes(const Permit *permit, const SealVolume *volumes, size_t n);
/* The same of a pod's sysctls. */
void permit_set_pod_sysctls(Permit *permit, const SealSysctl *sysctls, size_t n);
int permit_check_pod_sysctls(const Permit *permit, const SealSysctl *sysctls, size_t n);
void statement_seal(Statement *statement, const uint8_t key[SEAL_KEY_BYTES]);
int statement_check(const Statement *statement, const uint8_t key[SEAL_KEY_BYTES]);
/* Random id: 64 lower-case hexadecimal digits and a NUL. */
void seal_id_new(char id[ID_LENGTH + 1]);
