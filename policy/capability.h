/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The capability sets of this process. Two implementations: libcap-ng where it is linked, plain system calls for the
 * statically linked hands; one test for both. */

#include "lib/base.h"

/* Removes from the bounding set what is not in the mask. Needs CAP_SETPCAP (nothing to do if all of it is gone). */
int capability_bound(uint64_t mask);
/* Permitted and effective become mask, inheritable and ambient empty. */
int capability_set(uint64_t mask);
