/* SPDX-License-Identifier: Apache-2.0 */
/* Runs only in the confined child. */
#pragma once

/* A file of the Container Device Interface, JSON or YAML, as JSON. */

#include "lib/base.h"
#include <jansson.h>

#define CDI_FILE_BYTES_MAX (4 * 1024 * 1024)

enum { CDI_FILE_E_MALFORMED = 1 };

/* What a file whose name ends like path's says: an object. 0, or CDI_FILE_E_MALFORMED and why, or -ENOMEM. The caller owns ret. */
int cdi_file_parse(const char *path, const char *text, size_t n, json_t **ret, char *why, size_t why_size);
