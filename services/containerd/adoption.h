/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A container that runs, or has ended, and has no row that can be read: the database was lost, or its row is spoilt. Its hands know
 * it: its permit and request were kept, its shim or exit record says how it is. It is listed as UNKNOWN until it ends, then with its
 * exit code; it is stopped and removed like any other. Nothing of it is written: the next start adopts it again. */

#include "services/containerd/containerd.h"

/* container: in the table, in the state UNKNOWN. 0 or -errno. */
int adoption_begin(Container *container);
Adoption *adoption_free(Adoption *adoption);

/* Containers may be there that are not in the table yet: no list says the truth, and no pod may be told that it is empty. */
bool adoption_is_pending(const Containerd *containerd);
/* The database was lost, and what there is is still being looked for. */
bool adoption_is_blind(const Containerd *containerd);
