/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What is left of a pod that is gone or need not wait for it: an attachment to a network whose DEL fails, namespaces without a
 * row. It is tried until it succeeds, with pauses from a second to ten minutes, and found again after a restart: attachments
 * in the cache of sandboxd-cni, namespaces in the list of sandboxd-setup. The namespaces stay until the network is deleted:
 * plugins find more to tidy up in one that is there. */

#include "services/sandboxd/sandboxd.h"

typedef enum LeftoverKind { LEFTOVER_NETWORK, LEFTOVER_NAMESPACES } LeftoverKind;

/* Begins to remove it, at once or, if it has just failed, after a pause. A second call for the same pod does
 * nothing. 0 or -errno. */
int leftover_remove(Sandboxd *sandboxd, LeftoverKind kind, const char *pod_id, bool has_just_failed);
/* Stops trying; the next start finds them again. */
/* True while the pod's network is left over, and with it its namespaces. */
bool leftover_has_network(const Sandboxd *sandboxd, const char *pod_id);
void leftovers_free(Sandboxd *sandboxd);
