/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The permits that are used up: what they were sealed for was made, and is gone. While the object is there it stands for its permit
 * itself; its end is noted here by the hand that takes it away, and a permit is of no use for longer than it is kept here
 * (PERMIT_AGE_MAX_USEC). Nobody but the hands, who are root, writes here, and only for objects that a checked permit made: so it grows
 * with what kubelets ask for and with nothing else. On the tmpfs of runtime_dir: it outlives the hands, and permits are of one boot.
 *
 * <runtime_dir>/spent/<quarter of an hour since the boot>.<first digit of the id>: ids, 32 bytes each, as they come. libc only. */

#include "lib/base.h"

enum { SPENT_E_USED = 1 };

/* now_usec: clock_boottime_usec(). Before the object is taken away, so that there is no moment at which neither is there. 0 or -errno. */
int spent_add(const char *runtime_dir, const char *id, uint64_t now_usec);
/* After the object was looked for and not found. 0, SPENT_E_USED or -errno. */
int spent_check(const char *runtime_dir, const char *id, uint64_t now_usec);
