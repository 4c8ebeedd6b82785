/* SPDX-License-Identifier: Apache-2.0 */

#include "ipc/seal.h"

#include "lib/clock.h"
#include <assert.h>
#include <sodium.h>

#define PERMIT_VERSION 3
#define STATEMENT_VERSION 1

static const char permit_magic[8] = {'B', 'H', 'P', 'E', 'R', 'M', 'I', 'T'};
static const char statement_magic[8] = {'B', 'H', 'S', 'T', 'A', 'T', 'E', 'M'};

/* Both travel as bytes and are compared as bytes: no hidden padding, the seal last. */
_Static_assert(sizeof(Permit) == 1832 && offsetof(Permit, mac) == sizeof(Permit) - SEAL_MAC_BYTES, "layout of Permit");
_Static_assert(sizeof(Statement) == 4724 && offsetof(Statement, mac) == sizeof(Statement) - SEAL_MAC_BYTES,
               "layout of Statement");
_Static_assert(SEAL_KEY_BYTES == crypto_auth_KEYBYTES && SEAL_MAC_BYTES == crypto_auth_BYTES, "sizes of libsodium");

static bool seal_is_terminated(const char *s, size_t size)
{
        return memchr(s, 0, size) != NULL;
}

static void seal_hash(uint8_t hash[SEAL_HASH_BYTES], const void *bytes, size_t n)
{
        (void)crypto_generichash(hash, SEAL_HASH_BYTES, bytes, n, NULL, 0);
}

void permit_seal(Permit *permit, const void *request, size_t n, const uint8_t key[SEAL_KEY_BYTES])
{
        assert(n <= UINT32_MAX);
        memcpy(permit->magic, permit_magic, sizeof(permit_magic));
        permit->version = PERMIT_VERSION;
        memset(permit->padding, 0, sizeof(permit->padding));
        permit->sealed_usec = clock_boottime_usec();
        randombytes_buf(permit->nonce, sizeof(permit->nonce));
        permit->request_length = (uint32_t)n;
        seal_hash(permit->request_hash, request, n);
        (void)crypto_auth(permit->mac, (const uint8_t *)permit, offsetof(Permit, mac), key);
}

int permit_check_seal(const Permit *permit, PermitVerb verb, const uint8_t key[SEAL_KEY_BYTES])
{
        if (crypto_auth_verify(permit->mac, (const uint8_t *)permit, offsetof(Permit, mac), key) !=
            0) /* check: permit-mac */
                return SEAL_E_FORGED;
        /* What follows holds for everything that gatewayd seals; it keeps a mistake there from being obeyed here. */
        if (memcmp(permit->magic, permit_magic, sizeof(permit_magic)) != 0) /* check: permit-magic */
                return SEAL_E_FORGED;
        if (permit->version != PERMIT_VERSION) /* check: permit-version */
                return SEAL_E_FORGED;
        if (permit->verb != (uint32_t)verb) /* check: permit-verb */
                return SEAL_E_FORGED;
        if (!id_is_valid(permit->id)) /* check: permit-id */
                return SEAL_E_FORGED;
        if (permit->pod_id[0] != 0 && !id_is_valid(permit->pod_id)) /* check: permit-pod-id */
                return SEAL_E_FORGED;
        if (verb != PERMIT_VERB_UPDATE && permit->pod_id[0] == 0) /* check: permit-pod-id-absent */
                return SEAL_E_FORGED;
        if (!seal_is_terminated(permit->cgroup_parent, sizeof(permit->cgroup_parent))) /* check: permit-cgroup-parent */
                return SEAL_E_FORGED;
        if (!seal_is_terminated(permit->log_path, sizeof(permit->log_path))) /* check: permit-log-path */
                return SEAL_E_FORGED;
        if (!seal_is_terminated(permit->image, sizeof(permit->image))) /* check: permit-image */
                return SEAL_E_FORGED;
        return 0;
}

int permit_check(const Permit *permit, PermitVerb verb, const uint8_t key[SEAL_KEY_BYTES])
{
        int r = permit_check_seal(permit, verb, key);

        if (r)
                return r;
        if (verb != PERMIT_VERB_PORT_FORWARD && clock_boottime_usec() - permit->sealed_usec > PERMIT_AGE_MAX_USEC) /* check: permit-age */
                return SEAL_E_EXPIRED;
        return 0;
}

int permit_check_request(const Permit *permit, const void *request, size_t n)
{
        uint8_t hash[SEAL_HASH_BYTES];

        if (permit->request_length != n) /* check: permit-request-length */
                return SEAL_E_MISMATCH;
        seal_hash(hash, request, n);
        if (sodium_memcmp(hash, permit->request_hash, sizeof(hash)) != 0) /* check: permit-request-hash */
                return SEAL_E_MISMATCH;
        return 0;
}

static void permit_set_details(Permit *permit, const void *details, size_t n)
{
        if (n > 0)
                seal_hash(permit->details_hash, details, n);
        else
                memset(permit->details_hash, 0, sizeof(permit->details_hash));
}

static int permit_check_details(const Permit *permit, const void *details, size_t n)
{
        Permit wanted;

        permit_set_details(&wanted, details, n);
        return sodium_memcmp(wanted.details_hash, permit->details_hash, sizeof(wanted.details_hash)) != 0 ? SEAL_E_MISMATCH : 0;
}

void permit_set_volumes(Permit *permit, const SealVolume *volumes, size_t n)
{
        permit_set_details(permit, volumes, n * sizeof(*volumes));
}

int permit_check_volumes(const Permit *permit, const SealVolume *volumes, size_t n)
{
        if (permit_check_details(permit, volumes, n * sizeof(*volumes)) != 0) /* check: permit-volumes-hash */
                return SEAL_E_MISMATCH;
        for (size_t i = 0; i < n; i++) {
                if (!seal_is_terminated(volumes[i].image, sizeof(volumes[i].image))) /* check: permit-volumes-image */
                        return SEAL_E_MISMATCH;
                if (!seal_is_terminated(volumes[i].sub_path, sizeof(volumes[i].sub_path))) /* check: permit-volumes-path */
                        return SEAL_E_MISMATCH;
        }
        return 0;
}

void permit_set_pod_sysctls(Permit *permit, const SealSysctl *sysctls, size_t n)
{
        permit_set_details(permit, sysctls, n * sizeof(*sysctls));
}

int permit_check_pod_sysctls(const Permit *permit, const SealSysctl *sysctls, size_t n)
{
        if (permit_check_details(permit, sysctls, n * sizeof(*sysctls)) != 0) /* check: permit-sysctls-hash */
                return SEAL_E_MISMATCH;
        for (size_t i = 0; i < n; i++) {
                if (!seal_is_terminated(sysctls[i].name, sizeof(sysctls[i].name))) /* check: permit-sysctls-name */
                        return SEAL_E_MISMATCH;
                if (!seal_is_terminated(sysctls[i].value, sizeof(sysctls[i].value))) /* check: permit-sysctls-value */
                        return SEAL_E_MISMATCH;
        }
        return 0;
}

void statement_seal(Statement *statement, const uint8_t key[SEAL_KEY_BYTES])
{
        memcpy(statement->magic, statement_magic, sizeof(statement_magic));
        statement->version = STATEMENT_VERSION;
        memset(statement->padding, 0, sizeof(statement->padding));
        (void)crypto_auth(statement->mac, (const uint8_t *)statement, offsetof(Statement, mac), key);
}

int statement_check(const Statement *statement, const uint8_t key[SEAL_KEY_BYTES])
{
        if (crypto_auth_verify(statement->mac, (const uint8_t *)statement, offsetof(Statement, mac), key) !=
            0) /* check: statement-mac */
                return SEAL_E_FORGED;
        if (memcmp(statement->magic, statement_magic, sizeof(statement_magic)) != 0) /* check: statement-magic */
                return SEAL_E_FORGED;
        if (statement->version != STATEMENT_VERSION) /* check: statement-version */
                return SEAL_E_FORGED;
        if (statement->n_layers > SEAL_LAYERS_MAX) /* check: statement-layers */
                return SEAL_E_FORGED;
        if (!id_is_valid(statement->image_id)) /* check: statement-image-id */
                return SEAL_E_FORGED;
        if (!seal_is_terminated(statement->image_ref, sizeof(statement->image_ref))) /* check: statement-image-ref */
                return SEAL_E_FORGED;
        return 0;
}

void seal_id_new(char id[ID_LENGTH + 1])
{
        uint8_t bytes[ID_LENGTH / 2];

        randombytes_buf(bytes, sizeof(bytes));
        hex_encode(id, bytes, sizeof(bytes));
}
