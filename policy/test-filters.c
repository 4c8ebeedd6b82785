/* SPDX-License-Identifier: Apache-2.0 */

/* The compiled filters, run by an interpreter of BPF over every system call number: what a rule allows is allowed, with other
 * arguments it is not, and everything without a rule kills, as do the calls of other architectures. */

#include "lib/strings.h"
#include "lib/test.h"
#include "policy/rows.h"
#include "policy/rules-compile.h"
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>

#define NUMBERS_MAX 1024
#define X32_BIT 0x40000000

/* What a filter of seccomp(2) may contain: loads of seccomp_data, AND, jumps, returns. */
static uint32_t filter_run(const PolicyFilter *filter, const struct seccomp_data *data)
{
        uint32_t a = 0, loaded;

        for (size_t pc = 0; pc < filter->n; pc++) {
                const struct sock_filter *i = &filter->code[pc];
                switch (i->code) {
                case BPF_LD | BPF_W | BPF_ABS:
                        assert_true(i->k + sizeof(loaded) <= sizeof(*data));
                        memcpy(&loaded, (const char *)data + i->k, sizeof(loaded));
                        a = loaded;
                        break;
                case BPF_ALU | BPF_AND | BPF_K:
                        a &= i->k;
                        break;
                case BPF_JMP | BPF_JA:
                        pc += i->k;
                        break;
                case BPF_JMP | BPF_JEQ | BPF_K:
                        pc += a == i->k ? i->jt : i->jf;
                        break;
                case BPF_JMP | BPF_JGT | BPF_K:
                        pc += a > i->k ? i->jt : i->jf;
                        break;
                case BPF_JMP | BPF_JGE | BPF_K:
                        pc += a >= i->k ? i->jt : i->jf;
                        break;
                case BPF_RET | BPF_K:
                        return i->k;
                default:
                        test_fail("instruction %#x", i->code);
                }
        }
        test_fail("the filter does not return");
}

static uint32_t filter_ask(PolicyId id, int number, const uint64_t arguments[6])
{
        struct seccomp_data data = {.nr = number, .arch = seccomp_arch_native()};

        if (arguments)
                memcpy(data.args, arguments, sizeof(data.args));
        return filter_run(&policy_filters[id], &data);
}

static uint32_t rule_expected(const Rule *rule)
{
        return rule->action == RULE_ALLOW ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | rule->error;
}

static bool rule_matches(const Rule *rule, const uint64_t arguments[6])
{
        for (size_t i = 0; i < ARRAY_SIZE(rule->arguments); i++) {
                const RuleArgument *a = &rule->arguments[i];
                if (a->used && (arguments[a->index] & a->mask) != a->value)
                        return false;
        }
        return true;
}

/* What the rules say, straight from the table and independent of the compiler. */
static uint32_t rules_ask(const Rule **rules, size_t n, int number, const uint64_t arguments[6])
{
        uint32_t action = SECCOMP_RET_KILL_PROCESS;

        for (size_t i = 0; i < n; i++)
                if (seccomp_syscall_resolve_name(rules[i]->call) == number && rule_matches(rules[i], arguments) &&
                    action != SECCOMP_RET_ALLOW)
                        action = rule_expected(rules[i]);
        return action;
}

static void arguments_fill(const Rule *rule, uint64_t arguments[6], uint64_t others)
{
        for (size_t i = 0; i < 6; i++)
                arguments[i] = others;
        for (size_t i = 0; i < ARRAY_SIZE(rule->arguments); i++) {
                const RuleArgument *a = &rule->arguments[i];
                if (a->used)
                        arguments[a->index] = a->value | (others & ~a->mask);
        }
}

/* Each rule with arguments that fit, whatever the rest is, and with each bit of its mask turned over. */
static void test_rules(void)
{
        size_t n_checked = 0;

        for (PolicyId id = 0; id < POLICY_N; id++) {
                const Rule *rules[RULES_MAX];
                size_t n = rule_sets[id][0] ? rules_resolve(id, rules) : 0;

                for (size_t i = 0; i < n; i++) {
                        int number = seccomp_syscall_resolve_name(rules[i]->call);
                        uint64_t arguments[6];

                        if (number < 0)
                                continue;
                        for (unsigned int others = 0; others < 2; others++) {
                                arguments_fill(rules[i], arguments, others ? UINT64_MAX : 0);
                                if (filter_ask(id, number, arguments) != rules_ask(rules, n, number, arguments))
                                        test_fail("%s: %s (%s)", policy_rows[id].name, rules[i]->call, rules[i]->why);
                                assert_true(filter_ask(id, number, arguments) != SECCOMP_RET_KILL_PROCESS);
                                n_checked++;
                                for (unsigned int bit = 0; rules[i]->arguments[0].used && bit < 64; bit++) {
                                        uint8_t index = rules[i]->arguments[0].index;
                                        uint64_t before = arguments[index];

                                        arguments[index] ^= UINT64_C(1) << bit;
                                        if (filter_ask(id, number, arguments) != rules_ask(rules, n, number, arguments))
                                                test_fail("%s: %s, argument %u = %#llx", policy_rows[id].name,
                                                          rules[i]->call, index, (unsigned long long)arguments[index]);
                                        arguments[index] = before;
                                        n_checked++;
                                }
                        }
                }
        }
        printf("%zu comparisons\n", n_checked);
}

static bool number_has_rule(const Rule **rules, size_t n, int number)
{
        for (size_t i = 0; i < n; i++)
                if (seccomp_syscall_resolve_name(rules[i]->call) == number)
                        return true;
        return false;
}

static void test_everything_else_kills(void)
{
        for (PolicyId id = 0; id < POLICY_N; id++) {
                const Rule *rules[RULES_MAX];
                size_t n = rule_sets[id][0] ? rules_resolve(id, rules) : 0;

                for (int number = 0; n > 0 && number < NUMBERS_MAX; number++)
                        if (!number_has_rule(rules, n, number) && filter_ask(id, number, NULL) != SECCOMP_RET_KILL_PROCESS)
                                test_fail("%s does not kill for call %d", policy_rows[id].name, number);
        }
}

/* The same numbers mean other calls there. */
static void test_other_architectures_kill(void)
{
        static const uint32_t others[] = {AUDIT_ARCH_I386, AUDIT_ARCH_X86_64, AUDIT_ARCH_AARCH64, AUDIT_ARCH_ARM, 0};

        for (PolicyId id = 0; id < POLICY_N; id++)
                for (int number = 0; policy_filters[id].n > 0 && number < NUMBERS_MAX; number++) {
                        for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
                                const struct seccomp_data data = {.nr = number, .arch = others[i]};
                                if (others[i] != seccomp_arch_native())
                                        assert_eq_int(filter_run(&policy_filters[id], &data), SECCOMP_RET_KILL_PROCESS);
                        }
                        assert_eq_int(filter_ask(id, number | X32_BIT, NULL), SECCOMP_RET_KILL_PROCESS);
                }
}

int main(void)
{
        if (POLICY_LOG)
                test_skip("this build logs what it should kill for");
        TEST_RUN(test_rules);
        TEST_RUN(test_everything_else_kills);
        TEST_RUN(test_other_architectures_kill);
        return 0;
}
