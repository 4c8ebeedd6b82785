/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The end of a container. Its first process has ended: what is left in its cgroup is killed, its log is written to the end, then
 * the end is visible; the shim goes, and the lease on the pod when nothing is left. */

#include "services/containerd/containerd.h"
#include "services/containerd/operation.h"
#include "ipc/edges/containerd-shim.h"

/* Takes the socket of its shim, new or again. 0 or -errno. */
int exit_link_shim(Container *container, int fd);

/* The first process has ended as the record says; only the first word counts. 0 or -errno. */
int exit_see(Container *container, const ExitRecord *record);
/* The same, when nobody knows how: exit code, reason (a literal), text. */
int exit_see_unknown(Container *container, int32_t exit_code, const char *reason, const char *message);
/* It never ran: StartError. */
int exit_see_start_error(Container *container, const char *message);
/* Goes on where an end waits for something that is done now. 0 or -errno. */
int exit_resume(Container *container);
/* For one that has ended: gives the lease back, if that is not under way. */
int exit_give_back(Container *container);
Exit *exit_free(Exit *exit);

/* From within a step: gives the lease back. */
const Step *exit_lease_ask(Operation *operation, const Container *container);
