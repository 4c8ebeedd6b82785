/* SPDX-License-Identifier: Apache-2.0 */

/* What must hold for the table as a whole, so that a careless row does not get in. */

#include "lib/strings.h"
#include "lib/test.h"
#include "policy/rows.h"
#include "policy/rules-compile.h"
#include <linux/capability.h>
#include <sched.h>

static ProcessKind row_kind(PolicyId id)
{
        return topology_processes[policy_rows[id].process].kind;
}

static bool row_has_call(PolicyId id, const char *call)
{
        const Rule *rules[RULES_MAX];
        size_t n = rules_resolve(id, rules);

        for (size_t i = 0; i < n; i++)
                if (str_equal(rules[i]->call, call) && rules[i]->action == RULE_ALLOW)
                        return true;
        return false;
}

static void test_rows_are_complete(void)
{
        for (PolicyId id = 0; id < POLICY_N; id++) {
                const PolicyRow *row = &policy_rows[id];

                assert_true(row->name && row->why && strlen(row->why) > 20);
                assert_eq_int(row->confined, row->seccomp);
                assert_eq_int(row->seccomp, rule_sets[id][0] != NULL);
                if (id < (PolicyId)PROCESS_N) {
                        assert_eq_int(row->process, id);
                        assert_eq_str(row->name, topology_processes[id].name);
                }
                if (row->confined)
                        assert_true(row->n_files > 0 && row->memory_mib > 0);
        }
}

/* Spawners, and nothing else, are unconfined; and they carry nothing at all that a container would inherit. */
static void test_spawners(void)
{
        for (PolicyId id = 0; id < (PolicyId)PROCESS_N; id++)
                assert_eq_int(policy_rows[id].confined, topology_processes[id].kind != PROCESS_KIND_SPAWNER);
        for (PolicyId id = 0; id < POLICY_N; id++) {
                const PolicyRow *row = &policy_rows[id];
                if (row->confined)
                        continue;
                assert_eq_int(row->namespaces, 0);
                assert_eq_int(row->root, POLICY_ROOT_HOST);
                assert_eq_int(row->landlock, POLICY_LANDLOCK_NONE);
                assert_eq_int(row->n_files + row->n_processes + row->memory_mib + row->cpu_sec, 0);
        }
}

static void test_brains(void)
{
        for (PolicyId id = 0; id < (PolicyId)PROCESS_N; id++) {
                const PolicyRow *row = &policy_rows[id];
                if (row_kind(id) != PROCESS_KIND_BRAIN)
                        continue;
                assert_eq_int(row->capabilities, 0);
                assert_eq_int(row->user, POLICY_USER_OWN);
                assert_eq_int(row->root, POLICY_ROOT_FRESH);
                assert_eq_int(row->namespaces, CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS);
                assert_true(row->landlock == POLICY_LANDLOCK_DENY || row->landlock == POLICY_LANDLOCK_STATE);
                assert_false(row_has_call(id, "socket"));
                assert_false(row_has_call(id, "connect"));
                assert_false(row_has_call(id, "bind"));
                assert_false(row_has_call(id, "clone"));
                assert_false(row_has_call(id, "fork"));
                if (id != POLICY_LINKD)
                        assert_false(row_has_call(id, "socketpair"));
        }
}

/* A row with a capability is a hand or a child of one, and whoever keeps SYS_ADMIN parses nothing. */
static void test_capabilities(void)
{
        for (PolicyId id = 0; id < POLICY_N; id++) {
                const PolicyRow *row = &policy_rows[id];
                if (!row->capabilities)
                        continue;
                assert_eq_int(row_kind(id), PROCESS_KIND_HAND);
                if (row->user == POLICY_USER_OWN)
                        test_fail("%s keeps capabilities without being root, which nothing here does", row->name);
                assert_false(row->capabilities & (UINT64_C(1) << CAP_SYS_MODULE | UINT64_C(1) << CAP_SYS_RAWIO |
                                                  UINT64_C(1) << CAP_SYS_BOOT | UINT64_C(1) << CAP_SYS_TIME));
        }
}

static void test_forbidden_calls(void)
{
        static const char *const never[] = {
                "execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "bpf",
                "perf_event_open", "io_uring_setup", "io_uring_enter", "io_uring_register", "userfaultfd", "keyctl",
                "add_key", "request_key", "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module",
                "open_by_handle_at", "name_to_handle_at", "fanotify_init", "reboot", "swapon", "swapoff", "settimeofday",
                "clock_settime", "adjtimex", "acct", "quotactl", "syslog", "vfork", "clone3", "listen", "personality",
                "modify_ldt", "iopl", "ioperm", "process_madvise", "memfd_secret", "setdomainname",
        };
        static const char *const admin[] = {"mount", "umount2", "move_mount", "open_tree", "fsopen", "fsmount", "fsconfig",
                                            "mount_setattr", "pivot_root", "unshare", "setns", "sethostname"};

        for (PolicyId id = 0; id < POLICY_N; id++) {
                for (size_t i = 0; i < ARRAY_SIZE(never); i++)
                        if (row_has_call(id, never[i]))
                                test_fail("%s may call %s", policy_rows[id].name, never[i]);
                for (size_t i = 0; i < ARRAY_SIZE(admin); i++)
                        if (row_has_call(id, admin[i]) && !(policy_rows[id].capabilities & UINT64_C(1) << CAP_SYS_ADMIN))
                                test_fail("%s may call %s", policy_rows[id].name, admin[i]);
        }
}

static void test_rules_have_reasons(void)
{
        for (PolicyId id = 0; id < POLICY_N; id++)
                for (size_t s = 0; s < RULE_SETS_MAX && rule_sets[id][s]; s++) {
                        assert_true(s > 0 || str_equal(rule_sets[id][s]->name, "base"));
                        for (size_t i = 0; i < rule_sets[id][s]->n_rules; i++) {
                                const Rule *rule = &rule_sets[id][s]->rules[i];
                                assert_true(rule->call && rule->why && strlen(rule->why) > 2);
                                assert_true(rule->action == RULE_ALLOW || rule->error > 0);
                        }
                }
}

static void test_filters_fit(void)
{
        for (PolicyId id = 0; id < POLICY_N; id++)
                if (policy_rows[id].seccomp && (policy_filters[id].n < 10 || policy_filters[id].n > BPF_MAXINSNS))
                        test_fail("%s has a filter of %u instructions", policy_rows[id].name, policy_filters[id].n);
}

int main(void)
{
        TEST_RUN(test_rows_are_complete);
        TEST_RUN(test_spawners);
        TEST_RUN(test_brains);
        TEST_RUN(test_capabilities);
        TEST_RUN(test_forbidden_calls);
        TEST_RUN(test_rules_have_reasons);
        TEST_RUN(test_filters_fit);
        return 0;
}
