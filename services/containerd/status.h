/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Containers as CRI shows them: from memory alone. */

#include "services/containerd/containerd.h"

/* Borrows from the container; a shallow message of its own. scratch holds what a container without a record needs. */
typedef struct StatusScratch {
        Runtime__V1__ContainerMetadata metadata;
        Runtime__V1__ImageSpec image;
} StatusScratch;
void status_fill(const Container *container, Runtime__V1__ContainerStatus *ret, StatusScratch *scratch);

/* The container passes the filter (NULL: every one does). Not for those that are still being made. */
bool status_matches(const Container *container, const Runtime__V1__ContainerFilter *filter);

int status_list_reply(Containerd *containerd, const Runtime__V1__ContainerFilter *filter, ReplyTo to); /* 0 or -errno */
int status_reply(const Container *container, bool verbose, ReplyTo to);
/* Of the containers of a pod, as far as they are listed. */
typedef struct StatusRows {
        Runtime__V1__ContainerStatus **items; /* owned, as is what follows */
        size_t n;
        Runtime__V1__ContainerStatus *statuses;
        StatusScratch *scratch;
} StatusRows;
int status_rows_init(StatusRows *rows, const Containerd *containerd, const char *pod_id, const Container *but); /* 0 or -errno */
void status_rows_done(StatusRows *rows);
/* Those, for sandboxd and for gatewayd. */
int status_pod_reply(Containerd *containerd, const char *pod_id, ReplyTo to);
int status_pod_statuses_reply(Containerd *containerd, const char *pod_id, ReplyTo to);
