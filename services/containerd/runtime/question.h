/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the confined child of containerd-launch may ask of the host, and what it is answered. libc only. */

#include "ipc/config.h"
#include "ipc/seal.h"
#include "services/containerd/launch/render-ask.h"

#define QUESTION(ask) (UINT32_C(1) << (ask))

/* One question of the child that renders for this permit, which may ask those of the mask `allowed`; another one is logged, -EPROTO. 1: it
 * was the last one, and says how it ended. 0 or -errno. */
int question_answer(const ConfigCommon *common, const ConfigContainerd *config, const Permit *permit, uint32_t allowed, int ask_fd,
                    WireFrame *frame, RenderAsk *ret_done);
