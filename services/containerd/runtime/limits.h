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
/* Has limits.next put in force, or else limits.json again. As runtime_run(). */
int limits_apply(const ConfigCommon *common, const Runtime *runtime, const char *id, char words[RUNTIME_WORDS_MAX]);
