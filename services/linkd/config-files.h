/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Which files the configuration is in, opened in the order of merging. libc only: linkd-start opens them for a linkd that is
 * confined already. */

#include "lib/base.h"

/* The fd is borrowed. A negative return ends the walk. */
typedef int (*ConfigFileCallback)(void *userdata, const char *path, int fd);

/* The file (NULL: /etc/bulkhead/config.yaml, which need not exist) and conf.d/[*].yaml beside it. 0, -ECANCELED if one cannot be
 * opened (already logged), or what the callback returned. */
int config_files_open(const char *config, ConfigFileCallback callback, void *userdata);
