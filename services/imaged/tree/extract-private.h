/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What extract.c and extract-file.c share. */

#include "services/imaged/tree/extract.h"
#include "services/imaged/tree/parent.h"

/* What a directory gets at the end: its time, which entries made in it would change, and its setgid bit, which they would
 * inherit. */
typedef struct ExtractDirectory {
        size_t path; /* offset in Extract.paths */
        int64_t mtime_sec;
        uint32_t mtime_nsec;
        uint32_t mode;
        bool has_mode;
} ExtractDirectory;

typedef struct Extract {
        const ExtractSpec *spec;
        Report *report;
        TarReader *reader; /* borrowed */
        int root_fd;       /* borrowed */
        Parent parent;
        Parent link_parent;
        uint64_t n_entries, n_bytes;
        char path[PATH_BYTES]; /* of the current entry, normalised */
        char link[PATH_BYTES];
        ExtractDirectory *directories; /* owned */
        size_t n_directories, room_directories;
        char *paths; /* owned */
        size_t n_paths, room_paths;
} Extract;

int extract_refuse(Extract *extract, const char *problem);
/* For errno. */
int extract_errno(Extract *extract, const char *what);
/* Makes room for a new entry: what an earlier entry of the same archive put there goes. */
int extract_replace(Extract *extract, int dir_fd, const char *name);

/* extract-file.c: regular files, and what they share with directories. */
int extract_file(Extract *extract, int dir_fd, const char *name, const TarEntry *entry);
int extract_xattrs(Extract *extract, int fd, const TarEntry *entry);
