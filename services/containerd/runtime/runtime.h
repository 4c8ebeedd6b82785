/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Invocations of an OCI runtime, by containerd-launch (start, delete, --version) and by a shim before it is confined (create, exec).
 * Each executes a fresh sealed copy: a container whose entrypoint is /proc/self/exe finds a file that nobody can change
 * (CVE-2019-5736), and whatever it does to that file's mappings hurts no other invocation. libc only. */

#include "ipc/config.h"

#define RUNTIME_WORDS_MAX 512

typedef struct Runtime {
        const char *path;        /* borrowed; the binary, absolute */
        const char *runtime_dir; /* borrowed; its state is in <runtime_dir>/oci */
        bool systemd_cgroups;
} Runtime;

enum {
        RUNTIME_E_UNUSABLE = 1, /* not there, or not root's alone; words say so */
        RUNTIME_E_FAILED,       /* it said no, or did not end in time; words are its own */
};

/* The base of the path: argv[0]. */
const char *runtime_name(const Runtime *runtime);
/* A sealed copy, executable, close-on-exec. 0, RUNTIME_E_UNUSABLE, -errno. */
int runtime_open(const Runtime *runtime, int *ret_fd, char words[RUNTIME_WORDS_MAX]);
/* In a child: replaces it. The standard streams stay, every other fd is closed; the environment is one variable; the working
 * directory is /. */
_Noreturn void runtime_exec(int runtime_fd, char *const *arguments);
/* Runs it to its end, at most a minute, with --root and these arguments (NULL-terminated, without argv[0]). words: what it wrote
 * first, in one printable line. 0, an outcome or -errno. */
int runtime_run(const Runtime *runtime, const char *const *arguments, char words[RUNTIME_WORDS_MAX]);
/* The same with another limit of time. */
int runtime_run_for(const Runtime *runtime, const char *const *arguments, uint64_t limit_usec, char words[RUNTIME_WORDS_MAX]);
/* What it says of itself, as JSON in a memory file of the caller's. 0, an outcome (older ones do not know the verb) or -errno. */
int runtime_features(const Runtime *runtime, int *ret_fd);
/* The words that it wrote to a log file, which is removed. */
void runtime_read_log(const char *path, char words[RUNTIME_WORDS_MAX]);
