/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* sandboxd: the pods of this node, their leases, and the operations that make, end and remove them. */

#include "services/sandboxd/pod.h"
#include "services/service.h"
#include "services/store.h"

struct event;

typedef struct Sandboxd {
        Service *service;
        Store *store; /* owned */
        struct PodStatements *statements; /* owned; see pod-store.c */
        List pods;    /* Pod.link */
        struct NetworkView *network; /* owned; see network.c */
        List leftovers; /* Leftover.link; see leftover.c */
        struct ForwardTable *forwards; /* owned; see forward.c */
        struct Recovery *recovery;   /* owned; NULL once READY */
        bool notices_wanted;         /* somebody listens to events */
        uint64_t n_notices;
        uint64_t n_lost_ids;         /* rows that did not even say whose they are */
} Sandboxd;

Channel *sandboxd_setup(Sandboxd *sandboxd);
Channel *sandboxd_cni(Sandboxd *sandboxd);
Channel *sandboxd_containerd(Sandboxd *sandboxd);

/* pod-store.c: 0, STORE_E_FULL, STORE_E_CONFLICT or -errno. */
int pod_store_open(Sandboxd *sandboxd, const char *path, const char *boot_id);
void pod_store_close(Sandboxd *sandboxd);
int pod_store_load(Sandboxd *sandboxd);
int pod_store_put(Sandboxd *sandboxd, const Pod *pod);
/* The whole row, over one that cannot be read. */
int pod_store_rewrite(Sandboxd *sandboxd, const Pod *pod);
int pod_store_delete(Sandboxd *sandboxd, const Pod *pod);
int pod_store_put_lease(Sandboxd *sandboxd, const Pod *pod, const Lease *lease);
int pod_store_delete_lease(Sandboxd *sandboxd, const char *container_id);

/* run.c: makes the pod's namespaces and network, step by step, and undoes them in reverse. */
int run_start(Pod *pod);
/* Undoes what an earlier process had begun to make. */
int run_resume_undo(Pod *pod);
/* What a RUN_POD request asks is possible: 0, or 1 and a refusal. */
int run_check(const PodRequest *request, const Permit *permit, Refusal *refusal);

/* end.c: stop and remove. Answers come when the pod is there. */
int end_stop(Pod *pod, ReplyTo to);
int end_remove(Pod *pod, ReplyTo to);
/* Goes on where a restart interrupted it. */
int end_resume(Pod *pod);

/* stats.c: what the pod's usage is read from is opened. */
int stats_begin(Pod *pod);
PodStats *stats_free(PodStats *stats);

/* network.c: is the pod network ready; asked of sandboxd-cni, remembered for a moment. */
int network_view_init(Sandboxd *sandboxd);
void network_view_done(Sandboxd *sandboxd);
int network_view_answer(Sandboxd *sandboxd, ReplyTo to);

/* status.c: a pod as CRI shows it. Borrows from the pod and from scratch. */
typedef struct StatusScratch {
        Runtime__V1__PodSandboxNetworkStatus network;
        Runtime__V1__PodIP additional[8], *additional_pointers[8];
        Runtime__V1__NamespaceOption options;
        Runtime__V1__Namespace namespaces;
        Runtime__V1__LinuxPodSandboxStatus linux_status;
} StatusScratch;
void status_fill(const Pod *pod, Runtime__V1__PodSandboxStatus *ret, StatusScratch *scratch);

/* notice.c: what is told to gatewayd while somebody listens to GetContainerEvents. 0 or -errno. */
int notice_send(Pod *pod, Runtime__V1__ContainerEventType type);

/* recover.c: compares rows with what is there, finishes or undoes, then sets READY. */
int recovery_start(Sandboxd *sandboxd);
void recovery_free(Sandboxd *sandboxd);
/* The database was lost, or a row of it, and pods that are not in the list may be there: no list says the truth yet. */
bool recovery_is_blind(const Sandboxd *sandboxd);
