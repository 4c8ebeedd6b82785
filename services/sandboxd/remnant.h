/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A pod that has no row that could be read, but may be in use: it is listed as not ready, with what is known of it, owns its name,
 * keeps its network and its namespaces, and is stopped and removed like any other. sandboxd-setup knows it by what it kept. */

#include "services/sandboxd/sandboxd.h"

/* A pod in the state UNKNOWN, in the list. key: of its row, NULL or anything if that is not known; until sandboxd-setup has said
 * more, the pod is known by what is in it, else by its id alone. 0 or -errno. */
int remnant_new(Pod **ret, Sandboxd *sandboxd, const char *id, const char *key);
/* What sandboxd-setup answered to setup_kept: the request, if it fits the pod. 0 or -errno. */
int remnant_take_kept(Pod *pod, Frame *frame);
/* To setup_status: where its namespaces are. */
void remnant_take_status(Pod *pod, const Frame *frame);
