/* SPDX-License-Identifier: Apache-2.0 */

/* What the kernel says about a process that has entered its row, for every row: user, capabilities, no_new_privs, filter,
 * namespaces, what it sees of the file system. */

#include "lib/fd.h"
#include "lib/strings.h"
#include "policy/test-world.h"
#include <fcntl.h>
#include <sys/prctl.h>

static void status_value(const char *status, const char *key, char to[256])
{
        const char *line = strstr(status, key);

        if (!line)
                test_fail("there is no %s in the status", key);
        line += strlen(key);
        line += strspn(line, ": \t");
        size_t n = MIN2(strcspn(line, "\n"), 255u);
        memcpy(to, line, n);
        to[n] = '\0';
}

static void status_assert_hex(const char *name, const char *status, const char *key, uint64_t expected)
{
        char text[256];

        status_value(status, key, text);
        if (strtoull(text, NULL, 16) != expected)
                test_fail("%s: %s is %s, not %016llx", name, key, text, (unsigned long long)expected);
}

static void status_assert(const char *name, const char *status, const char *key, const char *expected)
{
        char text[256];

        status_value(status, key, text);
        if (!str_equal(text, expected))
                test_fail("%s: %s is \"%s\", not \"%s\"", name, key, text, expected);
}

static void proc_path(char to[64], int pid, const char *what)
{
        (void)snprintf(to, 64, "/proc/%d/%s", pid, what);
}

static ino_t proc_inode(int pid, const char *what)
{
        char path[64];
        struct stat st;

        proc_path(path, pid, what);
        assert_ok(stat(path, &st));
        return st.st_ino;
}

static void check_status(PolicyId id, const ConfigCommon *config, const char *status, uint64_t bounding)
{
        const PolicyRow *row = &policy_rows[id];
        uint32_t user = row->user == POLICY_USER_OWN     ? policy_user(config, row->process)
                        : row->user == POLICY_USER_GIVEN ? (row->capabilities ? 0 : config->user_base + 1024)
                                                         : 0;
        char ids[64];

        (void)snprintf(ids, sizeof(ids), "%u\t%u\t%u\t%u", user, user, user, user);
        status_assert(row->name, status, "\nUid", ids);
        status_assert(row->name, status, "\nGid", ids);
        status_assert(row->name, status, "\nGroups", "");
        status_assert_hex(row->name, status, "\nCapEff", row->capabilities & bounding);
        status_assert_hex(row->name, status, "\nCapPrm", row->capabilities & bounding);
        status_assert_hex(row->name, status, "\nCapBnd", row->capabilities & bounding);
        status_assert_hex(row->name, status, "\nCapInh", 0);
        status_assert_hex(row->name, status, "\nCapAmb", 0);
        status_assert(row->name, status, "\nNoNewPrivs", "1");
        status_assert(row->name, status, "\nSeccomp", "2");
        status_assert(row->name, status, "\nSeccomp_filters", world_parent(id) ? "2" : "1");
}

static void check_namespaces(PolicyId id, int pid)
{
        static const struct {
                int flag;
                const char *name;
        } namespaces[] = {{CLONE_NEWNET, "ns/net"}, {CLONE_NEWIPC, "ns/ipc"}, {CLONE_NEWUTS, "ns/uts"}};
        const PolicyRow *row = world_parent(id) ? world_parent(id) : &policy_rows[id];

        for (size_t i = 0; i < ARRAY_SIZE(namespaces); i++) {
                bool own = proc_inode(pid, namespaces[i].name) != proc_inode(getpid(), namespaces[i].name);
                if (own != ((row->namespaces & namespaces[i].flag) != 0))
                        test_fail("%s: %s is %s", row->name, namespaces[i].name, own ? "its own" : "the host's");
        }
        bool own = proc_inode(pid, "ns/mnt") != proc_inode(getpid(), "ns/mnt");
        assert_eq_int(own, row->root == POLICY_ROOT_FRESH);
}

/* A fresh root has one mount for itself (read-only) and one for each directory, and not one of the host's. */
static void check_mounts(PolicyId id, const ConfigCommon *config, const char *mountinfo)
{
        const PolicyRow *row = &policy_rows[id];
        size_t n = 0, n_expected = 1;

        if (row->root != POLICY_ROOT_FRESH)
                return;
        for (const char *p = strchr(mountinfo, '\n'); p; p = strchr(p + 1, '\n'))
                n++;
        for (size_t i = 0; row->directories[i].place != POLICY_PLACE_NONE; i++) {
                char target[CONFIG_PATH_MAX * 2], field[CONFIG_PATH_MAX * 2 + 8];
                assert_ok(policy_directory_target(row, i, config, target));
                if (row->directories[i].place == POLICY_PLACE_EMPTY)
                        continue;
                n_expected++;
                (void)snprintf(field, sizeof(field), " %s rw,nosuid,nodev,noexec", target);
                if (!strstr(mountinfo, field))
                        test_fail("%s: there is no mount at %s:\n%s", row->name, target, mountinfo);
        }
        if (n != n_expected || !strstr(mountinfo, " / / ro,nosuid,nodev,noexec"))
                test_fail("%s: mounts:\n%s", row->name, mountinfo);
}

static uint64_t own_bounding(void)
{
        uint64_t mask = 0;

        for (int i = 0; i < 64; i++)
                if (prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1)
                        mask |= UINT64_C(1) << i;
        return mask;
}

static void check_row(PolicyId id, const ConfigCommon *config, uint64_t bounding)
{
        int ready[2], done[2], status;
        char path[64], byte = 0;
        size_t n;

        assert_ok(pipe2(ready, O_CLOEXEC));
        assert_ok(pipe2(done, O_CLOEXEC));
        pid_t pid = fork();
        if (pid == 0) {
                int r = world_enter(id, config);
                (void)!write(ready[1], "1", r == 0);
                (void)close(ready[1]);
                (void)close(done[1]);
                (void)!read(done[0], &byte, 1);
                _exit(r ? 1 : 0);
        }
        (void)close(ready[1]);
        (void)close(done[0]);
        if (read(ready[0], &byte, 1) != 1)
                test_fail("%s cannot be entered", policy_rows[id].name);
        {
                _cleanup_free_ char *text = NULL, *mounts = NULL;
                proc_path(path, pid, "status");
                assert_ok(fd_read_file(AT_FDCWD, path, 65536, &text, &n));
                check_status(id, config, text, bounding);
                check_namespaces(id, pid);
                proc_path(path, pid, "mountinfo");
                assert_ok(fd_read_file(AT_FDCWD, path, 1 << 20, &mounts, &n));
                check_mounts(id, config, mounts);
        }
        (void)close(ready[0]);
        (void)close(done[1]);
        assert_eq_int(waitpid(pid, &status, 0), pid);
        assert_eq_int(status, 0);
}

/* F1: what a spawner execs is as if nothing of ours had been there. */
static void check_spawner(PolicyId id, const ConfigCommon *config)
{
        int status;

        pid_t pid = fork();
        if (pid == 0) {
                int r = policy_enter(id, config);
                int nnp = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
                _exit(r == 0 && nnp == 0 && prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 0 ? 0 : 1);
        }
        assert_eq_int(waitpid(pid, &status, 0), pid);
        assert_eq_int(status, 0);
}

int main(void)
{
        ConfigCommon config;

        world_make(&config);
        uint64_t bounding = own_bounding();
        for (PolicyId id = 0; id < POLICY_N; id++) {
                TestLeaks before = test_leaks_begin();
                if (policy_rows[id].confined)
                        check_row(id, &config, bounding);
                else
                        check_spawner(id, &config);
                test_leaks_end(policy_rows[id].name, before);
                printf("ok %s\n", policy_rows[id].name);
        }
        return 0;
}
