/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/strings.h"
#include "lib/test.h"
#include "services/imaged/reference.h"

#define DIGEST "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_server(void)
{
        static const struct {
                const char *image, *server;
                bool is_it;
        } rows[] = {
                {"busybox", "", true},
                {"busybox", "docker.io", true},
                {"busybox", "https://index.docker.io/v1/", true},
                {"busybox", "https://quay.io", false},
                {"quay.io/a/b", "quay.io", true},
                {"quay.io/a/b", "https://QUAY.io/v2/", true},
                {"quay.io/a/b", "docker.io", false},
                {"quay.io/a/b", "quay.io.evil.example", false},
                {"quay.io/a/b", "evil.example/quay.io", false},
                {"quay.io/a/b", "quay.io:443", false},
                {"localhost:5000/a", "http://localhost:5000", true},
                {"localhost:5000/a", "localhost", false},
        };
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                Reference reference;
                const char *why = NULL;
                assert_ok(reference_parse(&reference, rows[i].image, &why));
                if (reference_is_of_server(&reference, rows[i].server) != rows[i].is_it)
                        test_fail("%s and %s", rows[i].image, rows[i].server);
        }
}

int main(void)
{
        static const struct {
                const char *text, *registry, *repository, *tag, *digest;
        } good[] = {
                {"busybox", "docker.io", "library/busybox", "latest", ""},
                {"busybox:1.36", "docker.io", "library/busybox", "1.36", ""},
                {"team/app", "docker.io", "team/app", "latest", ""},
                {"index.docker.io/team/app:v1", "docker.io", "team/app", "v1", ""},
                {"localhost/app", "localhost", "app", "latest", ""},
                {"localhost:5000/a/b:t", "localhost:5000", "a/b", "t", ""},
                {"registry.k8s.io/pause:3.9", "registry.k8s.io", "pause", "3.9", ""},
                {"registry.k8s.io/pause@" DIGEST, "registry.k8s.io", "pause", "", DIGEST},
                {"registry.k8s.io/pause:3.9@" DIGEST, "registry.k8s.io", "pause", "3.9", DIGEST},
                {"127.0.0.1:5000/x__y/z-.w", NULL, NULL, NULL, NULL},
                {"127.0.0.1:5000/x__y/z--w", "127.0.0.1:5000", "x__y/z--w", "latest", ""},
                {"[::1]:5000/x", "[::1]:5000", "x", "latest", ""},
        };
        const char *why = NULL;
        for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
                Reference r;
                int outcome = reference_parse(&r, good[i].text, &why);
                if (!good[i].registry) {
                        assert_eq_int(outcome, REFERENCE_E_INVALID);
                        continue;
                }
                assert_eq_int(outcome, 0);
                assert_eq_str(r.registry, good[i].registry);
                assert_eq_str(r.repository, good[i].repository);
                assert_eq_str(r.tag, good[i].tag);
                assert_eq_str(r.digest, good[i].digest);
        }
        static const char *const bad[] = {
                "", ":", "/", "a/", "A/b", "docker.io/", "busybox:", "busybox:-x", "busybox@", "busybox@sha256:12", "b@sha512:00",
                "busybox@sha256:../../x", "a//b", "a/../b", "../etc", "a b", "-host.io/x", "host.io:0/x", "host.io:65536/x",
                "host.io:x/y", "a___b", "x@" DIGEST "0", "http://host.io/x", "a\nb", "ex ample.io/x",
        };
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                Reference r;
                why = NULL;
                assert_eq_int(reference_parse(&r, bad[i], &why), REFERENCE_E_INVALID);
                assert_true(why != NULL);
        }
        char id[65];
        assert_true(reference_is_id("sha256:0a", id));
        assert_eq_str(id, "0a");
        assert_true(reference_is_id(DIGEST, id));
        assert_false(reference_is_id("sha256:", id));
        assert_false(reference_is_id("busybox", id));
        assert_false(reference_is_id(DIGEST "0", id));
        TEST_RUN(test_server);
        return 0;
}
