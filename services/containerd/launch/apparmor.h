/* SPDX-License-Identifier: Apache-2.0 */
/* Runs only in the confined child of launch; containerd, which is confined too, uses it as well. */
#pragma once

/* Which AppArmor profile a request asks for, and whether the kernel has it. */

#include "ipc/cri/api.pb-c.h"
#include "lib/base.h"

/* What containers get whose request asks for the runtime's own profile, or for none: deploy/apparmor. */
#define APPARMOR_DEFAULT "bulkhead-default"
#define APPARMOR_NAME_MAX 256
#define APPARMOR_LIST_BYTES_MAX (1024 * 1024)

typedef enum ApparmorChoice {
        APPARMOR_UNSET, /* the default, where it is loaded (Pod Security Standards: "applied by default on supported hosts") */
        APPARMOR_RUNTIME_DEFAULT,
        APPARMOR_UNCONFINED,
        APPARMOR_LOCALHOST,
        APPARMOR_UNKNOWN, /* a profile type or a deprecated text that means nothing */
} ApparmorChoice;

/* The field apparmor, or where that is not given the deprecated apparmor_profile. name: of LOCALHOST, borrowed from the request; else
 * "". A privileged container has no default: UNCONFINED unless it asks for LOCALHOST. */
ApparmorChoice apparmor_choose(const Runtime__V1__LinuxContainerSecurityContext *context, const char **ret_name);
/* Is a profile of that name in that text, the kernel's list? One line each: name (mode). */
bool apparmor_list_has(const char *list, const char *name);
