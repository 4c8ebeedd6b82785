/* SPDX-License-Identifier: Apache-2.0 */
/* Runs only in the confined child. */
#pragma once

/* Compares what containerd asks for a container with what the sealed request said. Whatever is more than the request allows
 * is refused; what is less passes, for it harms nobody but the container. Pure: reads two decoded messages, writes a text. */

#include "ipc/cri/api.pb-c.h"
#include "ipc/edges/runtime-spec.pb-c.h"
#include "ipc/seal.h"

#define PERMIT_CHECK_TEXT_MAX 1024
#define PERMIT_CHECK_BASE_MAX 512

typedef Bulkhead__RuntimeSpec__RuntimeSpec RuntimeSpec;
typedef Bulkhead__RuntimeSpec__ProcessSpec ProcessSpec;
typedef Bulkhead__RuntimeSpec__MountSpec MountSpec;
typedef Bulkhead__RuntimeSpec__DeviceSpec DeviceSpec;

typedef struct PermitCheck {
        const Permit *permit;                               /* borrowed; its seal was verified */
        const Runtime__V1__CreateContainerRequest *request; /* borrowed; what the permit sealed */
        const RuntimeSpec *spec;                            /* borrowed; what containerd asks */
        const char *instance;                               /* borrowed; ConfigCommon.instance */
        bool allow_privileged; /* the node's policy */
        bool allow_host_paths;
        bool has_apparmor; /* the kernel */
        char text[PERMIT_CHECK_TEXT_MAX]; /* why it was refused: field, value, what the request allows */
} PermitCheck;

enum { PERMIT_CHECK_E_REFUSED = 1 };

/* 0 or PERMIT_CHECK_E_REFUSED with a text. */
int permit_check_create(PermitCheck *check);

/* The parts, for their tests and for whoever reads on. */
int permit_check_mounts(PermitCheck *check); /* permit-check-mounts.c */
int permit_check_refuse(PermitCheck *check, const char *format, ...) _printf_(2, 3);
const Runtime__V1__LinuxContainerSecurityContext *permit_check_context(const PermitCheck *check); /* never NULL */
bool permit_check_is_privileged(const PermitCheck *check); /* the request says so, and the node allows it */

/* The directory beneath which the request's host paths must lie on a node with this policy, "" for anywhere: its pod's volumes are
 * what a node that allows no host paths still mounts. False: the request's pod has no uid to name them by. */
bool permit_check_host_base(const PermitCheck *check, char to[PERMIT_CHECK_BASE_MAX]);

/* The seccomp profile that the request asks for, from the new or the deprecated field: mode and path (borrowed, "" unless
 * LOCALHOST). False if the deprecated field holds something unknown. */
bool permit_check_seccomp_of(const Runtime__V1__LinuxContainerSecurityContext *context,
                             Bulkhead__RuntimeSpec__SeccompSpec__Mode *ret_mode, const char **ret_path);
