/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Which sysctls a pod may set: those that a namespace of its own holds, and nothing else. Asked by the brain, which can
 * explain, and again by the hand, which writes. */

#include "services/sandboxd/refusal.h"

#define SYSCTL_NAME_MAX 128
#define SYSCTL_VALUE_MAX 256

/* Checks name and value for a pod whose permit has these PERMIT_FLAG_* flags. 0 and the path beneath /proc/sys
 * ("net/ipv4/ip_forward"), or 1 and a refusal that names the sysctl.
 * A name is written with dots; one whose first separator is a slash has slashes, and dots are part of its components
 * (net/ipv4/conf/eth0.5/forwarding), as sysctl(8) reads it. */
int sysctl_check(const char *name, const char *value, uint32_t permit_flags, char ret_path[SYSCTL_NAME_MAX],
                 Refusal *refusal);
