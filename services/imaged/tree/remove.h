/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Empties a directory whose content is hostile: as deep and as large as a container could make it, in bounded memory and fds.
 * Runs in jails. Directories below a fixed depth are moved up into the top one and emptied from there. */

#include "lib/base.h"

typedef struct RemoveFailure {
        int error;      /* of the first thing that could not be removed; the rest was gone on with */
        char name[64]; /* its name, printable */
} RemoveFailure;

enum { REMOVE_E_LEFT = 1 };
/* 0, REMOVE_E_LEFT with the failure filled, or -errno. The directory itself stays. dir_fd is not O_PATH. */
int remove_content(int dir_fd, RemoveFailure *failure);
/* Removes whatever name is in dir_fd, a directory with all it holds. 0, REMOVE_E_LEFT or -errno. */
int remove_entry(int dir_fd, const char *name, RemoveFailure *failure);
