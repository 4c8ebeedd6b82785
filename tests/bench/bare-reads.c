/* SPDX-License-Identifier: Apache-2.0 */

/* What the kernel alone takes: reads the files that it is named, each from its beginning, as often as it is told, and prints the
 * microseconds of CPU of every round, one a line. Beside the figures of a runtime that reads the same files this says how much of
 * them is the runtime's own.
 *
 * usage: bare-reads ROUNDS FILE… */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "lib/base.h"

static double cpu_usec(void)
{
        struct timespec t;

        (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
        return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

int main(int argc, char **argv)
{
        static char text[16384];
        int n_files = argc - 2;
        long rounds = argc > 2 ? strtol(argv[1], NULL, 10) : 0;

        if (rounds <= 0) {
                fprintf(stderr, "usage: bare-reads ROUNDS FILE...\n");
                return 2;
        }
        _cleanup_free_ int *fds = calloc((size_t)n_files, sizeof(*fds));
        if (!fds)
                return 1;
        for (int i = 0; i < n_files; i++) {
                fds[i] = open(argv[i + 2], O_RDONLY | O_CLOEXEC);
                if (fds[i] < 0) {
                        perror(argv[i + 2]);
                        return 1;
                }
        }
        for (long round = 0; round < rounds; round++) {
                double began = cpu_usec();
                for (int i = 0; i < n_files; i++)
                        if (pread(fds[i], text, sizeof(text), 0) < 0) {
                                perror(argv[i + 2]);
                                return 1;
                        }
                printf("%.1f\n", cpu_usec() - began);
                (void)usleep(1000); /* as between two requests: other work comes in between */
        }
        return 0;
}
