/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a fuzz target is, for libFuzzer and without it: built with -DFUZZ_REPLAY it runs the files of a directory, as a unit test does
 * with the inputs that found something. */

#include "lib/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

#ifdef FUZZ_REPLAY
#include "lib/fd.h"

#include <dirent.h>
#include <stdio.h>

int main(int argc, char **argv)
{
        DIR *dir = argc > 1 ? opendir(argv[1]) : NULL;
        size_t n_inputs = 0;

        if (!dir) {
                perror("DIRECTORY of inputs");
                return EXIT_FAILURE;
        }
        for (const struct dirent *e = readdir(dir); e; e = readdir(dir)) {
                _cleanup_free_ char *bytes = NULL;
                size_t n = 0;
                if (e->d_name[0] == '.')
                        continue;
                if (fd_read_file(dirfd(dir), e->d_name, 1 << 20, &bytes, &n) < 0)
                        abort();
                (void)LLVMFuzzerTestOneInput((const uint8_t *)bytes, n);
                n_inputs++;
        }
        (void)closedir(dir);
        printf("%zu inputs\n", n_inputs);
        return n_inputs > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
#endif
