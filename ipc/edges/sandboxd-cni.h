/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* sandboxd -> sandboxd-cni: fixed frames; what has a variable size travels in sealed memfds (messages of cni.proto) that
 * only the confined child decodes. Results are cached root-owned under <state_dir>/cni/<pod id>.
 *
 * row 1 request cni_run: CniRun -> CniRan from A fds memfd-sealed reply-fds memfd-sealed?
 * row 2 request cni_status: - -> CniRan from A reply-fds memfd-sealed? states ANY
 * row 4 request cni_list: CniList -> CniListed from A states ANY
 */

#include "ipc/seal.h"

enum { CNI_VERB_ADD = 1, CNI_VERB_DEL, CNI_VERB_CHECK };

/* fd: packed bulkhead.cni.CniRequest. ADD needs the pod's RUN_POD permit; DEL works from the cache alone. */
typedef struct CniRun {
        uint32_t verb;
        char pod_id[ID_LENGTH + 1];
        char padding[3];
        char network_pin[128]; /* name in /run/netns; "" for DEL of a lost one: an empty namespace is passed */
        Permit permit;
} CniRun;

/* fd on success: packed bulkhead.cni.CniResult (ADD; of a pod that is attached already: what is in the cache) or CniStatus. */
typedef struct CniRan {
        uint32_t has_result;
        uint32_t n_execs; /* plugin programs run */
} CniRan;

/* Pods that have something in the cache: an attachment, or one that was begun or not undone. */
#define CNI_LIST_MAX 512
typedef struct CniList {
        uint32_t offset;
} CniList;
typedef struct CniListed {
        uint32_t n;
        uint32_t more;
        char pods[CNI_LIST_MAX][ID_LENGTH + 1];
} CniListed;
