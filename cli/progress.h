/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A process of its own that prints, while a pull waits for its answer, a line per layer that has moved: bytes, rate, done. */

#include "cli/cli.h"

typedef struct Progress {
        pid_t pid; /* 0: none */
        int end_fd; /* owned; what is written here is how the pull ended */
} Progress;

#define PROGRESS_NULL {.end_fd = -1}

/* Begins to watch the pull of image on a connection of its own. A failure is no pull's failure: then nothing is shown. */
void progress_start(Progress *progress, const Cli *cli, const char *image);
/* Prints what is left to say (nothing is, unless pulled), and waits for the process. */
void progress_end(Progress *progress, bool pulled);
