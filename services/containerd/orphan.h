/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* An exec that outlived the containerd that started it. It keeps its shim until it ends, by itself or with its container, and then is
 * cleared away. Nobody waits for it any more, unless streamd says that it still has its session: then it is that session. */

#include "services/containerd/containerd.h"

typedef struct Orphan Orphan;

int orphan_adopt(Containerd *containerd, const char *id); /* 0 or -errno */
/* streamd has its session. False: there is none of that id. */
bool orphan_resume(Containerd *containerd, const char *id, bool tty);
/* As of the session; nothing happens if there is none, or if streamd does not have it. 0 or -errno. */
int orphan_resize(Containerd *containerd, const char *id, uint32_t columns, uint32_t rows);
int orphan_close(Containerd *containerd, const char *id);
/* streamd's edge was lost; the next one has said what it has. */
void orphan_on_streamd_lost(Containerd *containerd);
int orphan_on_told(Containerd *containerd);
Orphan *orphan_free(Orphan *orphan);
void orphan_free_all(Containerd *containerd);
