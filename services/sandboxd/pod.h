/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A pod: its request, what was made for it, who holds it, who waits for it. Its row in the database is the operation: a retry
 * finds it by its key. */

#include "ipc/channel.h"
#include "ipc/cri/api.pb-c.h"
#include "ipc/edges/cni.pb-c.h"
#include "services/fingerprint.h"
#include "ipc/seal.h"
#include "lib/list.h"
#include "lib/strings.h"
#include "services/sandboxd/refusal.h"

struct event;

typedef struct Sandboxd Sandboxd;
typedef struct Pod Pod;
typedef struct PodStats PodStats;
typedef Runtime__V1__RunPodSandboxRequest PodRequest;

typedef enum PodState {
        POD_STATE_CREATING, /* an intent: namespaces and network are being made; not listed */
        POD_STATE_UNDOING,  /* making it failed: what was made is being undone; not listed */
        POD_STATE_READY,
        POD_STATE_ENDING,   /* no new lease; containers end, then the network, then the namespaces */
        POD_STATE_STOPPED,
        POD_STATE_REMOVING, /* like ENDING, and then the row goes */
        POD_STATE_UNKNOWN,  /* its row was lost or cannot be read; listed as not ready, may be in use; see remnant.h */
        POD_STATE_N
} PodState;

typedef struct Lease {
        List link; /* in Pod.leases */
        char container_id[ID_LENGTH + 1];
} Lease;

typedef struct ReplyList {
        ReplyTo *items; /* owned */
        size_t n;
} ReplyList;

struct Pod {
        List link; /* in Sandboxd.pods */
        Sandboxd *sandboxd;
        char id[ID_LENGTH + 1];
        char *key; /* owned; name, namespace, uid, attempt: unique */
        uint8_t *packed; /* owned; the RunPodSandboxRequest, as its permit seals it */
        size_t n_packed;
        uint8_t fingerprint[FINGERPRINT_BYTES]; /* of the request: clients shuffle maps */
        DecodeArena arena;
        PodRequest *request; /* in the arena */
        Permit permit;
        uint8_t *resources_packed; /* owned; the last UpdatePodSandboxResourcesRequest, NULL: none */
        size_t n_resources_packed;
        PodState state;
        int64_t created_nsec;
        char network_pin[128]; /* in /run/netns; "" with the host's network, or before it is made */
        int32_t init_pid; /* of a shared PID namespace, else 0 */
        int init_fd;      /* owned; pidfd of that init while it is watched, else -1 */
        struct event *init_event; /* owned */
        uint32_t init_call;       /* asks sandboxd-setup about that init; 0: none */
        bool has_network; /* an ADD was begun and no DEL has succeeded since */
        uint8_t *result_packed; /* owned; CniResult */
        size_t n_result_packed;
        DecodeArena result_arena;
        Bulkhead__Cni__CniResult *result; /* in result_arena; NULL: none */
        List leases;
        PodStats *stats; /* owned; what its usage is read from, while it is READY */
        /* The operation under way. */
        const char *stage; /* what it is doing, for people; "" if nothing */
        Channel *call_channel;
        uint32_t call; /* request id on call_channel, 0: none */
        unsigned tries;
        bool containers_removed; /* REMOVING: containerd has none of ours any more */
        Refusal failure; /* why CREATING became UNDOING, or ENDING did not end */
        ReplyList runs, stops, removes;
        struct PodSuccessor *successor; /* owned; a RunPodSandbox with the same key that waits for UNDOING to end */
        struct event *retry;            /* owned */
        bool is_unresolved;             /* UNKNOWN, and the hands were not asked yet what they know of it */
        struct event *lease_timer;      /* owned; while the end waits for leases */
        unsigned lease_looks;           /* at those that are held */
        char lease_asked[ID_LENGTH + 1]; /* sandboxd-setup is asked about this container's */
};

/* A different configuration under the same key: it is made once the older attempt is undone. */
typedef struct PodSuccessor {
        char id[ID_LENGTH + 1];
        uint8_t *packed; /* owned */
        size_t n_packed;
        Permit permit;
        ReplyTo to;
} PodSuccessor;

enum { POD_E_REQUEST = 1 };
/* Takes packed in any case. POD_E_REQUEST when it does not decode or has no metadata. Not yet in the list. */
int pod_new(Pod **ret, Sandboxd *sandboxd, const char *id, uint8_t *packed, size_t n_packed, const Permit *permit);
Pod *pod_free(Pod *pod);
DEFINE_CLEANUP(Pod, pod_free)

/* Takes packed in any case; what the pod is known by is this request from now on, or stays what it was: 0, POD_E_REQUEST or -errno. */
int pod_set_request(Pod *pod, uint8_t *packed, size_t n_packed, const Permit *permit);

const char *pod_state_name(PodState state);
/* Asserts that the change is legal, logs it, writes the row. 0, STORE_E_FULL or -errno; on FULL the state has changed in memory
 * and the row follows with the next change. */
int pod_set_state(Pod *pod, PodState state, const char *why);
/* Takes packed. POD_E_REQUEST when it is no CniResult. */
int pod_set_result(Pod *pod, uint8_t *packed, size_t n);
bool pod_is_listed(const Pod *pod);
bool pod_has_host_network(const Pod *pod);
/* "namespace/name" of the pod, for texts; borrowed until the next call with the same buffer. */
const char *pod_title(const Pod *pod, char to[256]);

Pod *pods_find_key(Sandboxd *sandboxd, const char *key);
/* Full id, or a unique beginning of one; only listed pods. */
Pod *pods_resolve(Sandboxd *sandboxd, const char *id);
Pod *pods_find(Sandboxd *sandboxd, const char *id);

Lease *pod_find_lease(Pod *pod, const char *container_id);
int lease_new(Lease **ret, Pod *pod, const char *container_id);
Lease *lease_free(Lease *lease);

int reply_list_add(ReplyList *list, ReplyTo to);
void reply_list_send(ReplyList *list, const ProtobufCMessage *message);
void reply_list_fail(ReplyList *list, const Refusal *refusal);
