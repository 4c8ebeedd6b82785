/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the fuzz targets of streamd share. Built without libFuzzer (-DFUZZ_REPLAY) a target runs the files of a directory. */

#include "lib/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* Feeds the bytes in pieces, each an exact-size copy that may be changed: feed(bytes, n) is 0 to go on. */
#define fuzz_feed(input, n_input, step, feed)                                                                          \
        do {                                                                                                           \
                for (size_t fuzz_i_ = 0; fuzz_i_ < (n_input); fuzz_i_ += (step)) {                                     \
                        size_t n = MIN2((size_t)(step), (n_input) - fuzz_i_);                                          \
                        _cleanup_free_ uint8_t *bytes = malloc(n);                                                     \
                        memcpy(bytes, (input) + fuzz_i_, n);                                                           \
                        if (feed)                                                                                      \
                                break;                                                                                 \
                }                                                                                                      \
        } while (0)

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
