/* SPDX-License-Identifier: Apache-2.0 */

#include "ipc/cgroup-path.h"
#include "lib/test.h"

static void parents(void)
{
        static const struct {
                const char *parent;
                bool valid, is_slice;
        } rows[] = {
                {"", true, true}, {"/", true, false}, {"/kubepods/pod1", true, false}, {"/test.slice", true, true},
                {"test.slice", true, true}, {"/kubepods.slice/kubepods-pod1.slice", true, true}, {"-.slice", true, true},
                {"relative", false, false}, {"a/test.slice", false, true}, {"/a/../b", false, false}, {"/a//b", false, false},
                {"/a/", false, false}, {"/.", false, false}, {"/a\nb", false, false}, {".slice", false, false},
                {"-a.slice", false, false}, {"a-.slice", false, false}, {"a--b.slice", false, false},
                {"a:b.slice", false, false}, {"a b.slice", false, false}, {"..slice", true, true},
        };
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                if (cgroup_path_parent_is_valid(rows[i].parent) != rows[i].valid ||
                    (cgroup_path_slice(rows[i].parent) != NULL) != rows[i].is_slice)
                        test_fail("parent \"%s\"", rows[i].parent);
        }
}

static void composed(void)
{
        static const struct {
                bool systemd;
                const char *parent, *path; /* NULL: refused */
        } rows[] = {
                {false, "", "/bulkhead/id"}, {false, "/", "/id"}, {false, "/a/b", "/a/b/id"}, {false, "a.slice", NULL},
                {true, "", "/system.slice/bulkhead-id.scope"}, {true, "/a/b", NULL}, {true, "-.slice", "/bulkhead-id.scope"},
                {true, "/x/kubepods-burstable-pod1_2.slice",
                 "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/bulkhead-id.scope"},
        };
        char to[CGROUP_PATH_MAX];

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                assert_eq_int(cgroup_path_compose(to, rows[i].systemd, rows[i].parent, "id"), rows[i].path != NULL);
                if (rows[i].path)
                        assert_eq_str(to, rows[i].path);
        }
}

/* A name of many dashes becomes a long path: refused, not cut off. */
static void bounds(void)
{
        char slice[256] = "", to[CGROUP_PATH_MAX];

        for (size_t i = 0; i < 90; i++)
                strcat(slice, "a-");
        strcat(slice, "a.slice");
        assert_true(cgroup_path_slice(slice));
        assert_false(cgroup_path_compose(to, true, slice, "id"));
}

int main(void)
{
        parents();
        composed();
        bounds();
        return 0;
}
