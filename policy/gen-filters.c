/* SPDX-License-Identifier: Apache-2.0 */

/* Compiles rules.c with libseccomp into BPF programs for this architecture and prints them as C, so that the smallest hands
 * need no library and no start-up time for them. usage: gen-filters OUTPUT.c */

#include "policy/rules-compile.h"
#include <fcntl.h>
#include <linux/filter.h>
#include <stdio.h>

static int filter_print(FILE *to, PolicyId id)
{
        _cleanup_free_ struct sock_filter *code = NULL;
        size_t n = 0;

        int r = rules_compile(id, &code, &n);
        if (r)
                return r;
        fprintf(to, "static const struct sock_filter filter_%d[] = {\n", id);
        for (size_t i = 0; i < n; i++)
                fprintf(to, "        {0x%x, %u, %u, 0x%x},\n", code[i].code, code[i].jt, code[i].jf, code[i].k);
        fprintf(to, "};\n");
        return 0;
}

int main(int argc, char **argv)
{
        FILE *to = argc == 2 ? fopen(argv[1], "we") : NULL;

        if (!to) {
                fprintf(stderr, "usage: gen-filters OUTPUT.c\n");
                return 2;
        }
        fprintf(to, "/* Generated from policy/rules.c. */\n#include \"policy/rows.h\"\n");
        for (int id = 0; id < POLICY_N; id++)
                if (rule_sets[id][0] && filter_print(to, (PolicyId)id) < 0)
                        return 1;
        fprintf(to, "const PolicyFilter policy_filters[POLICY_N] = {\n");
        for (int id = 0; id < POLICY_N; id++)
                if (rule_sets[id][0])
                        fprintf(to, "        [%d] = {filter_%d, sizeof(filter_%d) / sizeof(struct sock_filter)},\n", id, id, id);
        fprintf(to, "};\n");
        return fclose(to) == 0 ? 0 : 1;
}
