/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the confined child of containerd-launch may ask of the host, and what it is answered. libc only. */

#include "ipc/config.h"
#include "ipc/seal.h"
#include "services/containerd/launch/render-ask.h"

/* One question of the child that renders for this permit. 1: it was the last one, and says how it ended. 0 or -errno. */
int question_answer(const ConfigCommon *common, const ConfigContainerd *config, const Permit *permit, int ask_fd, WireFrame *frame,
                    RenderAsk *ret_done);
