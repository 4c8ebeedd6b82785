/* SPDX-License-Identifier: Apache-2.0 */
#include "services/spent.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "ipc/seal.h"
#include "lib/test.h"

#define SLOT PERMIT_AGE_MAX_USEC
#define ID_A "a111111111111111111111111111111111111111111111111111111111111111"
#define ID_B "a222222222222222222222222222222222222222222222222222222222222222"
#define ID_C "c333333333333333333333333333333333333333333333333333333333333333"

static char directory[64];

static void world_init(void)
{
        (void)snprintf(directory, sizeof(directory), "/tmp/bulkhead-test-spent.XXXXXX");
        if (!mkdtemp(directory))
                test_fail("mkdtemp");
}

/* What is there, and nothing of it afterwards. */
static size_t world_count(bool remove)
{
        char path[128];
        size_t n = 0;
        (void)snprintf(path, sizeof(path), "%s/spent", directory);
        DIR *dir = opendir(path);
        for (struct dirent *entry; dir && (entry = readdir(dir));) {
                n += entry->d_name[0] != '.';
                if (remove && entry->d_name[0] != '.')
                        assert_ok(unlinkat(dirfd(dir), entry->d_name, 0));
        }
        if (dir)
                closedir(dir);
        if (remove) {
                (void)rmdir(path);
                assert_ok(rmdir(directory));
        }
        return n;
}

static void test_used_once(void)
{
        const uint64_t now = 7 * SLOT + 5;
        world_init();
        assert_eq_int(spent_check(directory, ID_A, now), 0); /* before anything was */
        assert_ok(spent_add(directory, ID_A, now));
        assert_eq_int(spent_check(directory, ID_A, now), SPENT_E_USED);
        assert_eq_int(spent_check(directory, ID_B, now), 0); /* of the same file */
        assert_eq_int(spent_check(directory, ID_C, now), 0);
        assert_ok(spent_add(directory, ID_B, now));
        assert_ok(spent_add(directory, ID_C, now));
        assert_eq_int(spent_check(directory, ID_A, now), SPENT_E_USED);
        assert_eq_int(spent_check(directory, ID_B, now), SPENT_E_USED);
        assert_eq_int(spent_check(directory, ID_C, now), SPENT_E_USED);
        assert_true(spent_check(directory, "../../x", now) < 0);
        assert_true(spent_add(directory, "short", now) < 0);
        assert_eq_int(world_count(true), 2);
}

/* As long as a permit that was sealed just before is good; and not for ever. */
static void test_kept_and_pruned(void)
{
        const uint64_t now = 9 * SLOT - 1;
        world_init();
        assert_ok(spent_add(directory, ID_A, now));
        assert_eq_int(spent_check(directory, ID_A, now + SLOT), SPENT_E_USED);
        assert_ok(spent_add(directory, ID_B, now + 1)); /* the next slot: the first stays */
        assert_eq_int(world_count(false), 2);
        assert_ok(spent_add(directory, ID_A, now)); /* by a hand that looked at the clock before: the next slot stays */
        assert_eq_int(spent_check(directory, ID_B, now + 1), SPENT_E_USED);
        assert_ok(spent_add(directory, ID_C, now + 5 * SLOT));
        assert_eq_int(world_count(false), 1);
        assert_eq_int(spent_check(directory, ID_A, now + 5 * SLOT), 0);
        assert_ok(spent_add(directory, ID_C, 3)); /* of a boot before, on a runtime_dir that is no tmpfs */
        assert_eq_int(world_count(true), 1);
}

/* More than is read at once; the last one counts as much as the first. */
static void test_many(void)
{
        char id[ID_LENGTH + 1] = ID_A;
        world_init();
        for (unsigned i = 0; i < 1000; i++) {
                (void)snprintf(id + 1, sizeof(id) - 1, "%063u", i);
                assert_ok(spent_add(directory, id, 1));
        }
        for (unsigned i = 0; i < 1000; i += 333) {
                (void)snprintf(id + 1, sizeof(id) - 1, "%063u", i);
                assert_eq_int(spent_check(directory, id, 1), SPENT_E_USED);
        }
        assert_eq_int(spent_check(directory, ID_A, 1), 0);
        assert_eq_int(world_count(true), 1);
}

/* Nobody else's directory, and no link, is written to. */
static void test_links(void)
{
        char path[128];
        world_init();
        (void)snprintf(path, sizeof(path), "%s/spent", directory);
        assert_ok(symlink("/tmp", path));
        assert_true(spent_add(directory, ID_A, 1) < 0);
        assert_true(spent_check(directory, ID_A, 1) < 0);
        assert_ok(unlink(path));
        assert_eq_int(world_count(true), 0);
}

int main(void)
{
        TEST_RUN(test_used_once);
        TEST_RUN(test_kept_and_pruned);
        TEST_RUN(test_many);
        TEST_RUN(test_links);
        return 0;
}
