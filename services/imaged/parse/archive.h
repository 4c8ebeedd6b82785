/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* manifest.json of what `docker save` wrote before it wrote OCI layouts (image-spec v1.2, "Combined Image JSON"). */

#include "ipc/edges/imaged-parse.pb-c.h"
#include "services/imaged/parse/parse.h"

#define ARCHIVE_IMAGES_MAX 1000
#define ARCHIVE_TAGS_MAX 256
#define ARCHIVE_LAYERS_MAX 512
#define ARCHIVE_PATH_MAX 4095

int archive_parse(Parse *parse, const void *bytes, size_t n, Bulkhead__ImagedParse__ParseArchiveResponse *ret);
