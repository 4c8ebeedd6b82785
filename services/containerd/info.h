/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The verbose part of ContainerStatus: JSON with the keys that people and tools look for in the peers' (info.pid,
 * info.runtimeSpec, info.config). */

#include "services/containerd/container.h"
#include "services/json-text.h"

void info_write(const Container *container, JsonText *json);
