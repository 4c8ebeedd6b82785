/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* WWW-Authenticate, the values of all its lines: RFC 9110 11.6.1 for the grammar, RFC 7617 and distribution's
 * spec/auth/token.md for Basic and Bearer. */

#include "ipc/edges/imaged-parse.pb-c.h"
#include "services/imaged/parse/parse.h"

#define CHALLENGE_LINES_MAX 16
#define CHALLENGE_LINE_MAX (16 * 1024)
#define CHALLENGE_N_MAX 32      /* challenges of all lines */
#define CHALLENGE_PARAMS_MAX 32 /* of one challenge */
#define CHALLENGE_REALM_MAX 2048
#define CHALLENGE_VALUE_MAX 4096

/* The first Bearer challenge with a realm, and whether Basic is among them; neither is a refusal. */
int challenge_parse(Parse *parse, char *const *lines, size_t n_lines,
                    Bulkhead__ImagedParse__ParseChallengeResponse *ret);
