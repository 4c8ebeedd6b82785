/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A pod's network through sandboxd-cni, and the node's network readiness. */

#include "services/sandboxd/sandboxd.h"

/* The answer's flat body is CniRan; take the result with network_take_result(). */
int network_add(Pod *pod, AnswerCallback callback);
/* Success also when there is nothing to delete. */
int network_delete(Pod *pod, AnswerCallback callback);
/* 0, or POD_E_REQUEST when the frame carries no readable CniResult. */
int network_take_result(Pod *pod, Frame *frame);
