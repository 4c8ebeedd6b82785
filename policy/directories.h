/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The directories that exist before the first daemon starts, once: linkd makes them, the tmpfiles of deploy/ list them. Those
 * of processes with a state of their own (policy_has_state) come on top: <state_dir>/<process>, 0700, the process's user. */

#include "lib/base.h"
#include <sys/types.h>

typedef struct PolicyMade {
        bool runtime;     /* below runtime_dir, else below state_dir */
        const char *name; /* "": that directory itself */
        mode_t mode;      /* at most; the owner is root */
        const char *why;
} PolicyMade;

/* Ends with a NULL name; parents come before children. */
extern const PolicyMade policy_directories[];
