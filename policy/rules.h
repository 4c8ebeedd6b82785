/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The system calls of each policy row, by name, each with the reason why it is there. Read by the generator of the
 * filters, by the printer of the documentation and by the tests; no daemon links it. */

#include "policy/policy.h"

typedef enum RuleAction {
        RULE_ALLOW,
        RULE_ERRNO, /* what a libc or a library probes and can live without: it is told so instead of being killed */
} RuleAction;

/* A comparison of one argument: (argument & mask) == value. Only on rare calls: an unconditional allow is answered from
 * the kernel's bitmap without running the filter. */
typedef struct RuleArgument {
        bool used;
        uint8_t index;
        uint64_t mask;
        uint64_t value;
} RuleArgument;

typedef struct Rule {
        const char *call; /* unknown on an architecture: skipped there */
        RuleAction action;
        uint16_t error;
        RuleArgument arguments[2]; /* both must hold; several rules of one call are alternatives */
        const char *why;
} Rule;

typedef struct RuleSet {
        const char *name;
        const Rule *rules;
        size_t n_rules;
} RuleSet;

#define RULE_SETS_MAX 12

/* The sets of a row in order: an allow wins over an errno of the same call. */
extern const RuleSet *const rule_sets[POLICY_N][RULE_SETS_MAX];
