/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The archive side of a pull: what an extracted OCI layout or docker archive holds, image by image. */

#include "lib/base.h"

typedef struct Pull Pull;

enum { PULL_IMPORT_E_END = 1 };
/* An image of the archive is in: notes it and goes on with the next. END: all are in and the client was answered. */
int pull_import_next(Pull *pull, const char *image_ref);
/* Drops what was extracted. */
void pull_import_done(Pull *pull);
/* Where an OCI layout keeps a blob; to holds 512 bytes. */
void pull_import_blob_path(char *to, const uint8_t digest[32]);
