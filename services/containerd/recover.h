/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* After a restart: the rows against what is there. What was being made is undone, what was being removed is removed, what runs
 * is connected to again, what ended meanwhile ends here; what was launched and has no row is adopted. Reads are answered all the
 * while, but for lists after the loss of the database. */

#include "services/containerd/containerd.h"

/* Loads the rows and begins. 0 or -errno. */
int recover_begin(Containerd *containerd);
/* One more container is known again. 0 or -errno. */
int recover_on_attached(Containerd *containerd);
Recovery *recover_free(Recovery *recovery);
