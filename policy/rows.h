/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The shape of a policy row, for those who enter one, print one or test one. The rows themselves are in table.c; the
 * system calls, each with its reason, in rules.c, which only the build and the tests read. */

#include "policy/policy.h"
#include <linux/filter.h>

typedef enum PolicyRoot {
        POLICY_ROOT_HOST,  /* the host's mount namespace and root: mounts must be seen by the host */
        POLICY_ROOT_FRESH, /* a new mount namespace whose root is an empty, read-only tmpfs with the row's directories */
        POLICY_ROOT_EMPTY, /* chroot to the empty directory <runtime_dir>/empty; for what has neither fds nor capabilities */
        POLICY_ROOT_KEEP,  /* what the parent built for it */
} PolicyRoot;

typedef enum PolicyPlace {
        POLICY_PLACE_NONE,    /* ends the list */
        POLICY_PLACE_STATE,   /* <state_dir>/<process>, seen at /state, writable */
        POLICY_PLACE_SHARED,  /* <state_dir>/<name>, seen at the same path, writable */
        POLICY_PLACE_RUNTIME, /* <runtime_dir>/<name>, seen at the same path, writable */
        POLICY_PLACE_EMPTY,   /* an empty directory /<name>: somewhere to mount on */
} PolicyPlace;

typedef struct PolicyDirectory {
        PolicyPlace place;
        const char *name;
} PolicyDirectory;

typedef enum PolicyLandlock {
        POLICY_LANDLOCK_NONE,    /* the row says why */
        POLICY_LANDLOCK_DENY,    /* no path, no TCP port, no signal or abstract socket outside */
        POLICY_LANDLOCK_STATE,   /* the same, but everything beneath the row's directories */
        POLICY_LANDLOCK_CONNECT, /* the same as DENY, but TCP connections may be made */
} PolicyLandlock;

typedef enum PolicyUser {
        POLICY_USER_ROOT,
        POLICY_USER_OWN,   /* user_base + the row's process */
        POLICY_USER_GIVEN, /* policy_enter_as() */
} PolicyUser;

#define POLICY_DIRECTORIES_MAX 5

typedef struct PolicyRow {
        const char *name;
        bool confined; /* false: a spawner. What it execs would inherit all of this for ever */
        ProcessId process; /* whose user it has */
        PolicyUser user;
        uint64_t capabilities; /* permitted, effective and bounding; nothing is inheritable or ambient */
        int namespaces;        /* CLONE_NEW*, made on entry (the mount namespace comes from root) */
        PolicyRoot root;
        PolicyDirectory directories[POLICY_DIRECTORIES_MAX + 1];
        PolicyLandlock landlock;
        bool seccomp;
        uint32_t n_files;      /* RLIMIT_NOFILE, clamped to what was inherited */
        uint32_t n_processes;  /* RLIMIT_NPROC of a user of its own, 0: not limited */
        uint32_t memory_mib;   /* RLIMIT_DATA */
        uint32_t cpu_sec;      /* RLIMIT_CPU of a short-lived child, 0: not limited */
        const char *why;       /* for docs/PRIVSEP.md: why these capabilities, this root */
} PolicyRow;

extern const PolicyRow policy_rows[POLICY_N];

/* A filter compiled at build time from rules.c. */
typedef struct PolicyFilter {
        const struct sock_filter *code;
        uint16_t n;
} PolicyFilter;

extern const PolicyFilter policy_filters[POLICY_N];

/* The path of a directory on the host, and where the process sees it. */
int policy_directory_source(const PolicyRow *row, size_t i, const ConfigCommon *config, char to[CONFIG_PATH_MAX * 2]);
int policy_directory_target(const PolicyRow *row, size_t i, const ConfigCommon *config, char to[CONFIG_PATH_MAX * 2]);
