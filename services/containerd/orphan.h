/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* An exec that outlived the containerd that started it. Nobody waits for it any more; it keeps its shim until it ends, by itself
 * or with its container, and then is cleared away. */

#include "services/containerd/containerd.h"

typedef struct Orphan Orphan;

int orphan_adopt(Containerd *containerd, const char *id); /* 0 or -errno */
Orphan *orphan_free(Orphan *orphan);
void orphan_free_all(Containerd *containerd);
