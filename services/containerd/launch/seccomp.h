/* SPDX-License-Identifier: Apache-2.0 */
/* Runs only in the confined child. */
#pragma once

/* seccomp profiles as the JSON that OCI runtimes take: the default one, and an operator's files in either of the two dialects
 * that are in use (the OCI's LinuxSeccomp; Docker's and containers-common's, with archMap, includes and excludes). */

#include "services/containerd/launch/capability-set.h"
#include <jansson.h>

#define SECCOMP_PROFILE_BYTES_MAX (1024 * 1024)

/* What the conditions in a profile are about. */
typedef struct SeccompContext {
        CapabilitySet capabilities; /* of the container */
        uint32_t kernel_version;    /* major << 16 | minor */
} SeccompContext;

enum { SECCOMP_E_MALFORMED = 1 };

/* The caller owns ret; NULL when memory is out. */
json_t *seccomp_default(const SeccompContext *context);
/* 0, or SECCOMP_E_MALFORMED and why (which key, what is wrong), or -ENOMEM. Never a weaker profile than the text says: what it
 * does not understand it refuses. */
int seccomp_parse(const char *text, size_t n, const SeccompContext *context, json_t **ret, char *why, size_t why_size);

/* This machine's architecture as profiles name it, with those it can also run: NULL-terminated. */
extern const char *const seccomp_architectures[];
extern const char seccomp_architecture_go[]; /* as includes.arches names it */
