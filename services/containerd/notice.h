/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What is told to gatewayd while somebody listens to GetContainerEvents. */

#include "services/containerd/containerd.h"

/* Somebody listens, or nobody does. */
void notice_want(Containerd *containerd, bool wanted);
/* This happened to the container, which is told with its pod's containers; one that is DELETED is not among them. 0 or -errno. */
int notice_send(const Container *container, Runtime__V1__ContainerEventType type);
