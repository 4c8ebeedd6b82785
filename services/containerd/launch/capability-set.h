/* SPDX-License-Identifier: Apache-2.0 */
/* Runs only in the confined child of launch; containerd, which is confined too, uses it as well. */
#pragma once

/* Capabilities of containers as a set of bits, by their kernel numbers (linux/capability.h). */

#include "ipc/cri/api.pb-c.h"
#include "lib/base.h"

typedef uint64_t CapabilitySet;

#define CAPABILITY_SET_N 41 /* CAP_CHOWN to CAP_CHECKPOINT_RESTORE: all that kernels from 5.9 on have */
#define CAPABILITY_SET_ALL ((UINT64_C(1) << CAPABILITY_SET_N) - 1)
#define CAPABILITY_SET_NAME_MAX 32

/* "CAP_CHOWN"...; bit is below CAPABILITY_SET_N. */
const char *capability_set_name(unsigned bit);
/* With or without "CAP_", in any case, as requests write them; false if there is no such capability. */
bool capability_set_add(CapabilitySet *set, const char *name);

/* What a container gets that asks for nothing: the fourteen that containerd and Docker give. */
CapabilitySet capability_set_default(void);
/* What the request's capabilities (may be NULL) allow at most: the default or with "ALL" everything, nothing when "ALL" is
 * dropped, then what is added by name, less what is dropped by name. Names that do not exist allow nothing. */
CapabilitySet capability_set_allowed(const Runtime__V1__Capability *request);
CapabilitySet capability_set_allowed_ambient(const Runtime__V1__Capability *request);
