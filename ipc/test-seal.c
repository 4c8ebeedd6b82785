/* SPDX-License-Identifier: Apache-2.0 */

#include "ipc/seal.h"
#include "lib/clock.h"
#include "lib/test.h"

#include <sodium.h>

static const uint8_t key[SEAL_KEY_BYTES] = {1, 2, 3};
static const uint8_t other_key[SEAL_KEY_BYTES] = {1, 2, 4};

static Permit permit_sample(void)
{
        Permit p = {.verb = PERMIT_VERB_CREATE_CONTAINER, .flags = PERMIT_FLAG_TTY, .padding = {7, 7}};

        seal_id_new(p.id);
        seal_id_new(p.pod_id);
        assert_true(str_copy(p.cgroup_parent, sizeof(p.cgroup_parent), "/kubepods/burstable"));
        assert_true(str_copy(p.log_path, sizeof(p.log_path), "/var/log/pods/a/0.log"));
        assert_true(str_copy(p.image, sizeof(p.image), "busybox"));
        return p;
}

/* Seals what permit_seal() would never make, as a gatewayd with a bug would. */
static void permit_reseal(Permit *p)
{
        (void)crypto_auth(p->mac, (const uint8_t *)p, offsetof(Permit, mac), key);
}

static void permit_round_trip(void)
{
        Permit p = permit_sample(), q;

        permit_seal(&p, "request", 7, key);
        assert_ok(permit_check(&p, PERMIT_VERB_CREATE_CONTAINER, key));
        assert_ok(permit_check_request(&p, "request", 7));
        assert_eq_int(p.padding[0], 0);
        q = p;
        permit_seal(&q, "request", 7, key);
        assert_true(memcmp(p.nonce, q.nonce, sizeof(p.nonce)) != 0); /* each is used once */
        permit_seal(&p, "", 0, key);
        assert_ok(permit_check_request(&p, "", 0));
}

/* Every single bit of it is under the seal. */
static void permit_bits_are_sealed(void)
{
        Permit p = permit_sample();
        uint8_t *bytes = (uint8_t *)&p;

        permit_seal(&p, "request", 7, key);
        for (size_t i = 0; i < sizeof(p); i++) {
                bytes[i] ^= 0x10;
                assert_eq_int(permit_check(&p, PERMIT_VERB_CREATE_CONTAINER, key), SEAL_E_FORGED);
                bytes[i] ^= 0x10;
        }
        assert_eq_int(permit_check(&p, PERMIT_VERB_CREATE_CONTAINER, other_key), SEAL_E_FORGED);
        assert_eq_int(permit_check(&p, PERMIT_VERB_EXEC, key), SEAL_E_FORGED);
        assert_ok(permit_check(&p, PERMIT_VERB_CREATE_CONTAINER, key));
}

static void permit_request_is_bound(void)
{
        Permit p = permit_sample();

        permit_seal(&p, "request", 7, key);
        assert_eq_int(permit_check_request(&p, "requesT", 7), SEAL_E_MISMATCH);
        assert_eq_int(permit_check_request(&p, "request", 6), SEAL_E_MISMATCH);
        p.request_length = 6; /* a hash of 7 bytes with another length */
        permit_reseal(&p);
        assert_eq_int(permit_check_request(&p, "request", 7), SEAL_E_MISMATCH);
}

static void permit_sysctls_are_bound(void)
{
        Permit p = permit_sample();
        SealSysctl sysctls[2] = {{.name = "net.a", .value = "1"}, {.name = "net.b", .value = "2"}};

        permit_set_pod_sysctls(&p, sysctls, 2);
        assert_ok(permit_check_pod_sysctls(&p, sysctls, 2));
        assert_eq_int(permit_check_pod_sysctls(&p, sysctls, 1), SEAL_E_MISMATCH);
        assert_eq_int(permit_check_pod_sysctls(&p, sysctls, 0), SEAL_E_MISMATCH);
        sysctls[1].value[0] = '3';
        assert_eq_int(permit_check_pod_sysctls(&p, sysctls, 2), SEAL_E_MISMATCH);
        memset(sysctls[1].name, 'b', sizeof(sysctls[1].name)); /* without an end */
        permit_set_pod_sysctls(&p, sysctls, 2);
        assert_eq_int(permit_check_pod_sysctls(&p, sysctls, 2), SEAL_E_MISMATCH);
        memset(&sysctls[1], 0, sizeof(sysctls[1]));
        memset(sysctls[1].value, 'b', sizeof(sysctls[1].value));
        permit_set_pod_sysctls(&p, sysctls, 2);
        assert_eq_int(permit_check_pod_sysctls(&p, sysctls, 2), SEAL_E_MISMATCH);
        permit_set_pod_sysctls(&p, sysctls, 0);
        assert_ok(permit_check_pod_sysctls(&p, sysctls, 0));
        assert_eq_int(permit_check_pod_sysctls(&p, sysctls, 1), SEAL_E_MISMATCH);
}

static void permit_volumes_are_bound(void)
{
        Permit p = permit_sample();
        SealVolume volumes[2] = {{.image = "a", .sub_path = "x"}, {.image = "b"}};

        permit_set_volumes(&p, volumes, 2);
        assert_ok(permit_check_volumes(&p, volumes, 2));
        assert_eq_int(permit_check_volumes(&p, volumes, 1), SEAL_E_MISMATCH);
        assert_eq_int(permit_check_volumes(&p, volumes, 0), SEAL_E_MISMATCH);
        volumes[0].sub_path[0] = 0;
        assert_eq_int(permit_check_volumes(&p, volumes, 2), SEAL_E_MISMATCH);
        memset(volumes[1].image, 'b', sizeof(volumes[1].image)); /* without an end */
        permit_set_volumes(&p, volumes, 2);
        assert_eq_int(permit_check_volumes(&p, volumes, 2), SEAL_E_MISMATCH);
        memset(&volumes[1], 0, sizeof(volumes[1]));
        memset(volumes[1].sub_path, 'b', sizeof(volumes[1].sub_path));
        permit_set_volumes(&p, volumes, 2);
        assert_eq_int(permit_check_volumes(&p, volumes, 2), SEAL_E_MISMATCH);
        permit_set_volumes(&p, volumes, 0);
        assert_ok(permit_check_volumes(&p, volumes, 0));
        assert_eq_int(permit_check_volumes(&p, volumes, 1), SEAL_E_MISMATCH);
}

/* Well sealed and still refused. */
static void permit_content_is_checked(void)
{
        Permit good = permit_sample(), p;

        permit_seal(&good, "request", 7, key);
#define REFUSED(change)                                                                                                \
        do {                                                                                                           \
                p = good;                                                                                              \
                change;                                                                                                \
                permit_reseal(&p);                                                                                     \
                if (permit_check(&p, PERMIT_VERB_CREATE_CONTAINER, key) != SEAL_E_FORGED)                              \
                        test_fail("passes: %s", #change);                                                              \
        } while (0)
        REFUSED(p.magic[0] = 'X');
        REFUSED(p.version = 1);
        REFUSED(p.verb = PERMIT_VERB_EXEC);
        REFUSED(p.id[0] = 0);
        REFUSED(p.id[3] = '/');
        REFUSED(p.id[ID_LENGTH] = '0');
        REFUSED(p.pod_id[0] = 0);
        REFUSED(p.pod_id[3] = '/');
        REFUSED(memset(p.cgroup_parent, 'x', sizeof(p.cgroup_parent)));
        REFUSED(memset(p.log_path, 'x', sizeof(p.log_path)));
        REFUSED(memset(p.image, 'x', sizeof(p.image)));
#undef REFUSED
        p = good;
        p.verb = PERMIT_VERB_UPDATE;
        p.pod_id[0] = 0;
        permit_reseal(&p);
        assert_ok(permit_check(&p, PERMIT_VERB_UPDATE, key));
}

/* Also one from the future: nobody has sealed it. */
static void permit_age_is_checked(void)
{
        static const struct {
                PermitVerb verb;
                uint64_t age_usec;
                int wanted;
        } cases[] = {
                {PERMIT_VERB_CREATE_CONTAINER, PERMIT_AGE_MAX_USEC - 60 * USEC_PER_SEC, 0},
                {PERMIT_VERB_CREATE_CONTAINER, PERMIT_AGE_MAX_USEC + 1, SEAL_E_EXPIRED},
                {PERMIT_VERB_RUN_POD, PERMIT_AGE_MAX_USEC + 1, SEAL_E_EXPIRED},
                {PERMIT_VERB_EXEC, PERMIT_AGE_MAX_USEC + 1, SEAL_E_EXPIRED},
                {PERMIT_VERB_UPDATE, PERMIT_AGE_MAX_USEC + 1, SEAL_E_EXPIRED},
                {PERMIT_VERB_PORT_FORWARD, PERMIT_AGE_MAX_USEC + 1, 0},
                {PERMIT_VERB_CREATE_CONTAINER, -60 * USEC_PER_SEC, SEAL_E_EXPIRED},
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                Permit p = permit_sample();
                p.verb = cases[i].verb;
                permit_seal(&p, "request", 7, key);
                p.sealed_usec -= cases[i].age_usec;
                permit_reseal(&p);
                if (permit_check(&p, cases[i].verb, key) != cases[i].wanted || permit_check_seal(&p, cases[i].verb, key) != 0)
                        test_fail("case %zu", i);
        }
}

static void statement_reseal(Statement *s)
{
        (void)crypto_auth(s->mac, (const uint8_t *)s, offsetof(Statement, mac), key);
}

static void statement_is_sealed_and_checked(void)
{
        Statement good = {.n_layers = 2}, s;
        uint8_t *bytes = (uint8_t *)&s;

        seal_id_new(good.image_id);
        assert_true(str_copy(good.image_ref, sizeof(good.image_ref), "busybox"));
        randombytes_buf(good.layers, sizeof(good.layers));
        statement_seal(&good, key);
        assert_ok(statement_check(&good, key));
        assert_eq_int(statement_check(&good, other_key), SEAL_E_FORGED);
        s = good;
        for (size_t i = 0; i < sizeof(s); i++) {
                bytes[i] ^= 1;
                assert_eq_int(statement_check(&s, key), SEAL_E_FORGED);
                bytes[i] ^= 1;
        }
#define REFUSED(change)                                                                                                \
        do {                                                                                                           \
                s = good;                                                                                              \
                change;                                                                                                \
                statement_reseal(&s);                                                                                  \
                if (statement_check(&s, key) != SEAL_E_FORGED)                                                         \
                        test_fail("passes: %s", #change);                                                              \
        } while (0)
        REFUSED(s.magic[7] = 'X');
        REFUSED(s.version = 0);
        REFUSED(s.n_layers = SEAL_LAYERS_MAX + 1);
        REFUSED(s.image_id[0] = 'g');
        REFUSED(memset(s.image_ref, 'x', sizeof(s.image_ref)));
#undef REFUSED
}

static void seal_ids_are_new(void)
{
        char a[ID_LENGTH + 1], b[ID_LENGTH + 1];

        seal_id_new(a);
        seal_id_new(b);
        assert_true(id_is_valid(a));
        assert_true(strcmp(a, b) != 0);
}

int main(void)
{
        assert_true(sodium_init() >= 0);
        TEST_RUN(permit_round_trip);
        TEST_RUN(permit_bits_are_sealed);
        TEST_RUN(permit_request_is_bound);
        TEST_RUN(permit_sysctls_are_bound);
        TEST_RUN(permit_volumes_are_bound);
        TEST_RUN(permit_content_is_checked);
        TEST_RUN(permit_age_is_checked);
        TEST_RUN(statement_is_sealed_and_checked);
        TEST_RUN(seal_ids_are_new);
        return 0;
}
