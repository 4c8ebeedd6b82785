/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/rules-compile.h"
#include "lib/fd.h"
#include "lib/strings.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
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

/* "These arguments are allowed, all others get an errno" of one call: libseccomp cannot say that (a rule without
 * arguments replaces those with arguments), so such calls are decided by code of our own in front of libseccomp's. */
static bool rule_is_mixed(const Rule *const *rules, size_t n, const Rule *rule)
{
        bool conditional = false, unconditional = false;

        for (size_t i = 0; i < n; i++) {
                if (!str_equal(rules[i]->call, rule->call))
                        continue;
                conditional = conditional || (rules[i]->action == RULE_ALLOW && rule_is_conditional(rules[i]));
                unconditional = unconditional || (rules[i]->action == RULE_ERRNO && !rule_is_conditional(rules[i]));
        }
        return conditional && unconditional;
}

#define PREFIX_MAX 1024

typedef struct Prefix {
        struct sock_filter code[PREFIX_MAX];
        size_t n;
} Prefix;

static void prefix_add(Prefix *prefix, uint16_t code, uint32_t k, size_t jump_true, size_t jump_false)
{
        if (prefix->n < PREFIX_MAX)
                prefix->code[prefix->n++] =
                        (struct sock_filter){.code = code, .jt = (uint8_t)jump_true, .jf = (uint8_t)jump_false, .k = k};
}

#define PREFIX_COMPARISON 6 /* instructions of one half of an argument's comparison times two */

/* Both halves of (argument & mask) == value, else over the rest of the alternative: n_left instructions follow. */
static void prefix_add_comparison(Prefix *prefix, const RuleArgument *a, size_t n_left)
{
        uint32_t low = offsetof(struct seccomp_data, args) + a->index * sizeof(uint64_t);

        prefix_add(prefix, BPF_LD | BPF_W | BPF_ABS, low, 0, 0); /* little endian, as all that we build for */
        prefix_add(prefix, BPF_ALU | BPF_AND | BPF_K, (uint32_t)a->mask, 0, 0);
        prefix_add(prefix, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)a->value, 0, n_left + 3);
        prefix_add(prefix, BPF_LD | BPF_W | BPF_ABS, low + sizeof(uint32_t), 0, 0);
        prefix_add(prefix, BPF_ALU | BPF_AND | BPF_K, (uint32_t)(a->mask >> 32), 0, 0);
        prefix_add(prefix, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(a->value >> 32), 0, n_left);
}

static void prefix_add_call(Prefix *prefix, const Rule *const *rules, size_t n, const Rule *fallback)
{
        size_t n_code = 1; /* the errno at the end */

        for (size_t i = 0; i < n; i++)
                if (str_equal(rules[i]->call, fallback->call) && rules[i]->action == RULE_ALLOW)
                        n_code += PREFIX_COMPARISON * (size_t)(1 + rules[i]->arguments[1].used) + 1;
        prefix_add(prefix, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr), 0, 0);
        prefix_add(prefix, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)seccomp_syscall_resolve_name(fallback->call), 1, 0);
        prefix_add(prefix, BPF_JMP | BPF_JA, (uint32_t)n_code, 0, 0);
        for (size_t i = 0; i < n; i++) {
                const Rule *rule = rules[i];
                if (!str_equal(rule->call, fallback->call) || rule->action != RULE_ALLOW)
                        continue;
                prefix_add_comparison(prefix, &rule->arguments[0], rule->arguments[1].used ? PREFIX_COMPARISON + 1 : 1);
                if (rule->arguments[1].used)
                        prefix_add_comparison(prefix, &rule->arguments[1], 1);
                prefix_add(prefix, BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
        }
        prefix_add(prefix, BPF_RET | BPF_K, SECCOMP_RET_ERRNO | fallback->error, 0, 0);
}

/* For another architecture's calls it is jumped over; libseccomp's part kills those. */
static int prefix_make(Prefix *prefix, const Rule *const *rules, size_t n)
{
        prefix_add(prefix, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch), 0, 0);
        prefix_add(prefix, BPF_JMP | BPF_JEQ | BPF_K, seccomp_arch_native(), 1, 0);
        prefix_add(prefix, BPF_JMP | BPF_JA, 0, 0, 0);
        for (size_t i = 0; i < n; i++)
                if (rules[i]->action == RULE_ERRNO && !rule_is_conditional(rules[i]) && rule_is_mixed(rules, n, rules[i]) &&
                    seccomp_syscall_resolve_name(rules[i]->call) >= 0)
                        prefix_add_call(prefix, rules, n, rules[i]);
        if (prefix->n >= PREFIX_MAX)
                return -E2BIG;
        prefix->code[2].k = (uint32_t)(prefix->n - 3);
        return 0;
}

int rules_compile(PolicyId id, struct sock_filter **ret, size_t *ret_n)
{
        const Rule *rules[RULES_MAX];
        Prefix prefix = {.n = 0};
        size_t n = rules_resolve(id, rules);
        scmp_filter_ctx filter = seccomp_init(POLICY_LOG ? SCMP_ACT_LOG : SCMP_ACT_KILL_PROCESS);
        _cleanup_free_ struct sock_filter *code = NULL;
        _cleanup_fd_ int fd = -1;
        struct stat st;
        int r;

        if (!filter)
                return -ENOMEM;
        r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
        if (r == 0)
                r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
        for (size_t i = 0; r == 0 && i < n; i++)
                if (!rule_is_mixed(rules, n, rules[i]))
                        r = rule_add(filter, rules[i]);
        if (r == 0)
                r = prefix_make(&prefix, rules, n);
        if (r == 0) {
                fd = memfd_create("filter", MFD_CLOEXEC);
                r = fd < 0 ? -errno : seccomp_export_bpf(filter, fd);
        }
        seccomp_release(filter);
        if (r)
                return r;

        if (fstat(fd, &st) < 0)
                return -errno;
        size_t prefix_bytes = prefix.n * sizeof(struct sock_filter);
        code = malloc(prefix_bytes + (size_t)st.st_size);
        if (!code)
                return -ENOMEM;
        memcpy(code, prefix.code, prefix_bytes);
        r = fd_pread_full(fd, code + prefix.n, (size_t)st.st_size, 0);
        if (r)
                return r;
        *ret = TAKE_PTR(code);
        *ret_n = prefix.n + (size_t)st.st_size / sizeof(struct sock_filter);
        return 0;
}
