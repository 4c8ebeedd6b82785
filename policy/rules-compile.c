/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/rules-compile.h"
#include "lib/fd.h"
#include "lib/strings.h"
#include <linux/filter.h>
#include <seccomp.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* In development a build can be made that logs what it would kill (meson -Dpolicy_log=true). There is no switch at run
 * time. */
#ifndef POLICY_LOG
#define POLICY_LOG 0
#endif

/* Newer than the oldest libseccomp that we build with. */
static bool rule_may_be_unknown(const Rule *rule)
{
        return str_equal(rule->call, "fchmodat2");
}

static bool rule_is_conditional(const Rule *rule)
{
        return rule->arguments[0].used;
}

static bool rule_is_beaten(const Rule *rule, const Rule *by)
{
        if (rule == by || !str_equal(rule->call, by->call))
                return false;
        if (!rule_is_conditional(by))
                return by->action == RULE_ALLOW || (rule->action == RULE_ERRNO && rule_is_conditional(rule));
        return by->action == RULE_ALLOW && rule->action == RULE_ERRNO &&
               memcmp(rule->arguments, by->arguments, sizeof(rule->arguments)) == 0;
}

static bool rule_is_same(const Rule *a, const Rule *b)
{
        return str_equal(a->call, b->call) && a->action == b->action &&
               memcmp(a->arguments, b->arguments, sizeof(a->arguments)) == 0;
}

size_t rules_resolve(PolicyId id, const Rule *ret[RULES_MAX])
{
        const Rule *all[RULES_MAX];
        size_t n_all = 0, n = 0;

        for (size_t s = 0; s < RULE_SETS_MAX && rule_sets[id][s]; s++)
                for (size_t i = 0; i < rule_sets[id][s]->n_rules && n_all < RULES_MAX; i++)
                        all[n_all++] = &rule_sets[id][s]->rules[i];
        for (size_t i = 0; i < n_all; i++) {
                bool keep = true;

                for (size_t j = 0; j < n_all && keep; j++)
                        keep = rule_is_same(all[i], all[j]) ? j >= i : !rule_is_beaten(all[i], all[j]);
                if (keep)
                        ret[n++] = all[i];
        }
        return n;
}

static int rule_add(scmp_filter_ctx filter, const Rule *rule)
{
        struct scmp_arg_cmp comparisons[ARRAY_SIZE(rule->arguments)];
        unsigned int n = 0;

        int number = seccomp_syscall_resolve_name(rule->call);
        if (number == __NR_SCMP_ERROR) {
                if (rule_may_be_unknown(rule))
                        return 0;
                fprintf(stderr, "rules: there is no system call %s\n", rule->call);
                return -EINVAL;
        }
        if (number < 0)
                return 0; /* exists on other architectures */
        for (size_t i = 0; i < ARRAY_SIZE(rule->arguments); i++) {
                const RuleArgument *a = &rule->arguments[i];
                if (a->used)
                        comparisons[n++] = SCMP_CMP64(a->index, SCMP_CMP_MASKED_EQ, a->mask, a->value);
        }
        int r = seccomp_rule_add_exact_array(filter, rule->action == RULE_ALLOW ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(rule->error),
                                             number, n, comparisons);
        if (r < 0)
                fprintf(stderr, "rules: %s (%s): %s\n", rule->call, rule->why, strerror(-r));
        return r;
}

/* libseccomp lets a rule without arguments replace those with arguments, so "these arguments are allowed, all others get an
 * errno" cannot be said: name the arguments that get the errno too. */
static int rules_check(PolicyId id, const Rule *const *rules, size_t n)
{
        for (size_t i = 0; i < n; i++)
                for (size_t j = 0; j < n; j++)
                        if (str_equal(rules[i]->call, rules[j]->call) && rule_is_conditional(rules[i]) &&
                            !rule_is_conditional(rules[j])) {
                                fprintf(stderr, "rules: %s has rules with and without arguments in row %d\n",
                                        rules[i]->call, id);
                                return -EINVAL;
                        }
        return 0;
}

int rules_compile(PolicyId id, struct sock_filter **ret, size_t *ret_n)
{
        const Rule *rules[RULES_MAX];
        size_t n = rules_resolve(id, rules);
        scmp_filter_ctx filter = seccomp_init(POLICY_LOG ? SCMP_ACT_LOG : SCMP_ACT_KILL_PROCESS);
        _cleanup_free_ struct sock_filter *code = NULL;
        _cleanup_fd_ int fd = -1;
        struct stat st;
        int r;

        if (!filter)
                return -ENOMEM;
        r = rules_check(id, rules, n);
        if (r == 0)
                r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
        if (r == 0)
                r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
        for (size_t i = 0; r == 0 && i < n; i++)
                r = rule_add(filter, rules[i]);
        if (r == 0) {
                fd = memfd_create("filter", MFD_CLOEXEC);
                r = fd < 0 ? -errno : seccomp_export_bpf(filter, fd);
        }
        seccomp_release(filter);
        if (r)
                return r;

        if (fstat(fd, &st) < 0)
                return -errno;
        code = malloc((size_t)st.st_size);
        if (!code)
                return -ENOMEM;
        r = fd_pread_full(fd, code, (size_t)st.st_size, 0);
        if (r)
                return r;
        *ret = TAKE_PTR(code);
        *ret_n = (size_t)st.st_size / sizeof(struct sock_filter);
        return 0;
}
