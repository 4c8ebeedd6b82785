/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Image configurations: OCI image-spec config.md, and Docker's, which are the same but for fields that are not read. */

#include "ipc/edges/imaged-parse.pb-c.h"
#include "services/imaged/parse/parse.h"

#define CONFIG_LIST_MAX 4096 /* Env, Entrypoint, Cmd, Volumes, Labels: elements of each */
#define CONFIG_DIFF_IDS_MAX 512
#define CONFIG_LABEL_MAX DECODE_STRING_MAX /* buildpacks keep whole documents in labels */
/* Packed. image_get, which hands it on with names and a statement, has 1 MiB for everything. */
#define CONFIG_PACKED_MAX (768 * 1024)

int config_parse(Parse *parse, const void *bytes, size_t n, Bulkhead__ImagedParse__ParseConfigResponse *ret);
