/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the plugins are told about a pod, taken from the request that its permit seals. Runs only in the confined child. */

#include "ipc/edges/cni.pb-c.h"
#include "ipc/seal.h"
#include "services/sandboxd/refusal.h"
#include <jansson.h>

#define POD_ARGUMENTS_MAX 640

typedef struct PodNetwork {
        char arguments[POD_ARGUMENTS_MAX]; /* CNI_ARGS */
        json_t *runtime;                   /* owned; an object: capability arguments by capability */
} PodNetwork;

/* asked: what the brain wants for the pod, decoded. Refuses whatever the sealed request does not say: another request, other
 * names, other ports. 0, or 1 and why. */
int pod_network_make(PodNetwork *network, const Permit *permit, const Bulkhead__Cni__CniRequest *asked, Refusal *refusal);
void pod_network_done(PodNetwork *network);
