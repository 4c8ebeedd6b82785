/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Counts what a tree takes on disk. Runs in jails; the tree may be a running container's, as deep as it likes, and change meanwhile. */

#include "lib/base.h"

typedef struct Measure {
        uint64_t bytes;  /* on disk; of a file with several names, each counts its share */
        uint64_t inodes;
} Measure;

enum {
        MEASURE_E_CHANGED = 1, /* directories were moved about while they were walked: try again */
        MEASURE_E_DEEP,        /* more than MEASURE_DEPTH_MAX directories inside one another */
};
#define MEASURE_DEPTH_MAX 65536

/* The directory itself counts. 0, an outcome, or -errno. dir_fd is not O_PATH. */
int measure_tree(int dir_fd, Measure *ret);
