/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a token server answers: distribution's token authentication, and its OAuth2 form. */

#include "ipc/edges/imaged-parse.pb-c.h"
#include "services/imaged/parse/parse.h"

#define TOKEN_EXPIRES_DEFAULT_SEC 60 /* distribution's spec/auth/token.md */

int token_parse(Parse *parse, const void *bytes, size_t n, Bulkhead__ImagedParse__ParseTokenResponse *ret);
