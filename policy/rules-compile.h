/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* From named rules to a BPF program, by libseccomp; used by the build and by the tests. */

#include "policy/rules.h"

struct sock_filter;

/* The rules that count for a row: of one call with the same comparison an allow beats an errno, and an unconditional allow
 * beats everything else. ret has room for RULES_MAX. Returns how many. */
#define RULES_MAX 512
size_t rules_resolve(PolicyId id, const Rule *ret[RULES_MAX]);

/* ret is owned. Says on standard error what is wrong with the rules. */
int rules_compile(PolicyId id, struct sock_filter **ret, size_t *ret_n);
