/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/test.h"
#include "services/imaged/tree/path.h"
#include "services/imaged/tree/users.h"

static const char users_passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
                                   "bad line\n"
                                   "six:x:5:5::/\n"
                                   "eight:x:5:5::/:/bin/sh:more\n"
                                   ":x:9:9::/:/bin/sh\n"
                                   "app:x:1000:1001:a,b:/home/app:/bin/sh\n"
                                   "app:x:0:0::/:/bin/sh\n"
                                   "big:x:4294967295:0::/:/bin/sh\n"
                                   "plus:x:+5:0::/:/bin/sh\n"
                                   "second:x:1000:5::/:/bin/sh\n"
                                   "return:x:6:6::/:/bin/sh\r\n"
                                   "last:x:7:8::relative:/bin/sh";
static const char users_group[] = "root:x:0:\napp:x:1001:app\nextra:x:50:other,app\nagain:x:50:app\nwrong:x:52:app:x\nnot:x:53:apps,ap\n";

static int users_ask(const TreeUser *request, Report *report)
{
        /* Exact copies, so that reading beyond them is seen. */
        _cleanup_free_ char *passwd = malloc(sizeof(users_passwd) - 1), *group = malloc(sizeof(users_group) - 1);

        memcpy(passwd, users_passwd, sizeof(users_passwd) - 1);
        memcpy(group, users_group, sizeof(users_group) - 1);
        *report = (Report){0};
        return users_find(passwd, sizeof(users_passwd) - 1, group, sizeof(users_group) - 1, request, report);
}

static void users_are_found(void)
{
        Report report;

        assert_ok(users_ask(&(TreeUser){.user = "app", .uid = UINT32_MAX, .gid = UINT32_MAX}, &report));
        assert_eq_int(report.user.uid, 1000);
        assert_eq_int(report.user.gid, 1001);
        assert_eq_int(report.user.n_groups, 1);
        assert_eq_int(report.user.groups[0], 50);
        assert_eq_str(report.user.home, "/home/app");
        assert_ok(users_ask(&(TreeUser){.uid = 1000, .gid = 5}, &report));
        assert_eq_str(report.user.username, "app");
        assert_eq_int(report.user.gid, 5);
        assert_eq_int(report.user.n_groups, 2);
        assert_ok(users_ask(&(TreeUser){.uid = 7, .gid = UINT32_MAX, .group = "extra"}, &report));
        assert_eq_int(report.user.gid, 50);
        assert_eq_str(report.user.home, "");
        assert_ok(users_ask(&(TreeUser){.uid = 424242, .gid = UINT32_MAX}, &report));
        assert_eq_int(report.user.uid_known, 0);
        assert_eq_int(report.user.gid, 0);
}

static void users_are_refused(void)
{
        static const char *const absent[] = {"six", "eight", "big", "plus", "return", "ap", "apps", "bad line"};
        static const char *const invalid[] = {"0", "1000", "-1", "+0", "4294967296", "a:b", "a\n"};
        Report report;

        for (size_t i = 0; i < ARRAY_SIZE(absent); i++) {
                TreeUser request = {.uid = UINT32_MAX, .gid = UINT32_MAX};
                (void)snprintf(request.user, sizeof(request.user), "%s", absent[i]);
                assert_eq_int(users_ask(&request, &report), REPORT_E_FAILED);
                assert_eq_int(report.code, GRPC_STATUS_INVALID_ARGUMENT);
                assert_true(strstr(report.text, "has no user") != NULL);
        }
        for (size_t i = 0; i < ARRAY_SIZE(invalid); i++) {
                TreeUser request = {.uid = UINT32_MAX, .gid = UINT32_MAX};
                (void)snprintf(request.user, sizeof(request.user), "%s", invalid[i]);
                assert_eq_int(users_ask(&request, &report), REPORT_E_FAILED);
                assert_eq_int(report.code, GRPC_STATUS_INVALID_ARGUMENT);
                request = (TreeUser){.uid = 0, .gid = UINT32_MAX};
                (void)snprintf(request.group, sizeof(request.group), "%s", invalid[i]);
                assert_eq_int(users_ask(&request, &report), REPORT_E_FAILED);
        }
        assert_eq_int(users_ask(&(TreeUser){.uid = UINT32_MAX, .gid = 0}, &report), REPORT_E_FAILED);
        assert_eq_int(users_ask(&(TreeUser){.uid = 0, .gid = UINT32_MAX, .group = "none"}, &report), REPORT_E_FAILED);
        assert_eq_int(report.code, GRPC_STATUS_INVALID_ARGUMENT);
        assert_true(strstr(report.text, "has no group") != NULL);
}

static void paths_are_normalised(void)
{
        static const struct {
                const char *name, *path;
        } good[] = {
                {"a", "a"}, {"/a/b/", "a/b"}, {"./a//./b", "a/b"}, {".", ""}, {"", ""}, {"///", ""}, {"...", "..."}, {"a/..b", "a/..b"},
        };
        static const char *const bad[] = {"..", "a/..", "../a", "a/../b", "/.."};
        char path[PATH_BYTES], name[PATH_BYTES * 2];
        size_t n_parent;

        for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
                assert_true(path_normalise(good[i].name, path) == NULL);
                assert_eq_str(path, good[i].path);
        }
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_true(path_normalise(bad[i], path) != NULL);
        memset(name, 'n', sizeof(name));
        name[PATH_COMPONENT_MAX] = 0;
        assert_true(path_normalise(name, path) == NULL);
        name[PATH_COMPONENT_MAX] = 'n';
        name[PATH_COMPONENT_MAX + 1] = 0;
        assert_true(path_normalise(name, path) != NULL);
        for (size_t depth = PATH_DEPTH_MAX; depth <= PATH_DEPTH_MAX + 1; depth++) {
                for (size_t i = 0; i < depth; i++)
                        memcpy(name + 2 * i, "d/", 3);
                assert_eq_int(path_normalise(name, path) != NULL, depth > PATH_DEPTH_MAX);
        }
        for (size_t i = 0; i < 17; i++) {
                memset(name + 250 * i, 'n', 249);
                name[250 * i + 249] = '/';
                name[250 * i + 250] = 0;
        }
        assert_true(path_normalise(name, path) != NULL); /* 4249 bytes */
        assert_eq_str(path_split("a/b/c", &n_parent), "c");
        assert_eq_int(n_parent, 3);
        assert_eq_str(path_split("a", &n_parent), "a");
        assert_eq_int(n_parent, 0);
}

int main(void)
{
        TEST_RUN(users_are_found);
        TEST_RUN(users_are_refused);
        TEST_RUN(paths_are_normalised);
        return 0;
}
