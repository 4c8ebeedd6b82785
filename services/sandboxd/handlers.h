/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The messages sandboxd answers, by edge. */

#include "services/sandboxd/sandboxd.h"

/* gatewayd (handlers.c, status.c, forward.c) */
int on_run_pod_sandbox(void *userdata, Frame *frame);
int on_stop_pod_sandbox(void *userdata, Frame *frame);
int on_remove_pod_sandbox(void *userdata, Frame *frame);
int on_pod_sandbox_status(void *userdata, Frame *frame);
int on_list_pod_sandbox(void *userdata, Frame *frame);
int on_port_forward(void *userdata, Frame *frame);
int on_network_status(void *userdata, Frame *frame);
int on_update_runtime_config(void *userdata, Frame *frame);
int on_pod_events_wanted(void *userdata, Frame *frame);
int on_update_pod_sandbox_resources(void *userdata, Frame *frame);

/* gatewayd (stats.c) */
int on_pod_sandbox_stats(void *userdata, Frame *frame);
int on_list_pod_sandbox_stats(void *userdata, Frame *frame);
int on_list_metric_descriptors(void *userdata, Frame *frame);
int on_pod_metrics(void *userdata, Frame *frame);

/* status.c: is the pod one that a list with this filter shows? */
bool status_fits(const Pod *pod, const Runtime__V1__PodSandboxFilter *filter);

/* containerd (lease.c) */
int on_lease_take(void *userdata, Frame *frame);
int on_lease_release(void *userdata, Frame *frame);
int on_lease_list(void *userdata, Frame *frame);

/* streamd (forward.c) */
int on_forward_open(void *userdata, Frame *frame);
int on_forward_connect(void *userdata, Frame *frame);
int on_forward_close(void *userdata, Frame *frame);
int on_forward_resume(void *userdata, Frame *frame);
int on_forwards_told(void *userdata, Frame *frame);
