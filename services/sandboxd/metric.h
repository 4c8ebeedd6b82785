/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Metrics as cAdvisor names them: the table of descriptors, and the metrics of one pod or container rendered from numbers. */

#include "ipc/cri/api.pb-c.h"
#include "ipc/decode.h"
#include "ipc/edges/containerd-sandboxd.pb-c.h"
#include "services/usage.h"

/* The values of the labels that every metric has, in the order of the descriptors' keys; borrowed. */
typedef struct MetricLabels {
        const char *container, *id, *image, *name, *namespace_, *pod;
} MetricLabels;

/* A list that grows, in an arena. */
typedef struct MetricList {
        DecodeArena *arena;
        Runtime__V1__Metric **items;
        size_t n, n_allocated;
        bool is_full; /* the arena is: the list is incomplete */
} MetricList;

/* Everything in the arena. False: it is full. */
bool metric_descriptors(DecodeArena *arena, Runtime__V1__MetricDescriptor ***ret, size_t *ret_n);
void metric_add_interfaces(MetricList *list, const MetricLabels *labels, const UsageInterfaces *interfaces);
/* device: what names the file system of the writable layer. */
void metric_add_container(MetricList *list, const MetricLabels *labels, const char *device,
                          const Bulkhead__ContainerdSandboxd__ContainerUsage *usage);
