/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Manifests and indexes: OCI image-spec 1.1 and Docker's schema 2. */

#include "ipc/edges/imaged-parse.pb-c.h"
#include "services/imaged/parse/parse.h"

#define MANIFEST_MANIFESTS_MAX 1000
#define MANIFEST_LAYERS_MAX 512

/* media_type: what the server or the descriptor says the bytes are, with parameters or without; "" if nobody said. The
 * result lives in the Parse. */
int manifest_parse(Parse *parse, const void *bytes, size_t n, const char *media_type,
                   Bulkhead__ImagedParse__ParseManifestResponse *ret);
