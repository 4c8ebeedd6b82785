/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A container's limits as documents for `update --resources`, beside its config.json: limits.json has all that it has, so that what
 * the runtime could not do to its end is undone; limits.next has what it shall have. libc only. */

#include "services/containerd/runtime/place.h"
#include "services/containerd/runtime/runtime.h"

/* It was updated before: there is a limits.json. */
bool limits_are_known(const ConfigCommon *common, const char *id);
/* What a document is rendered from, and to_path, where to: for is_first limits.json from config.json, else limits.next from
 * limits.json. -1 when the container is not here. The caller owns it. */
int limits_open(const ConfigCommon *common, const char *id, bool is_first, char to_path[PLACE_PATH_MAX]);
/* limits.sealed has the time at which the update that was done last was sealed: one may be done again, which changes nothing, but none
 * after a later one. Records this one's. 0, LIMITS_E_OLD or -errno. */
enum { LIMITS_E_OLD = 1 };
int limits_take_turn(const ConfigCommon *common, const char *id, uint64_t sealed_usec);
/* Has limits.next put in force, or else limits.json again. As runtime_run(). */
int limits_apply(const ConfigCommon *common, const Runtime *runtime, const char *id, char words[RUNTIME_WORDS_MAX]);
