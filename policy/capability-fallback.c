/* SPDX-License-Identifier: Apache-2.0 */

/* The same with plain system calls (capabilities(7), capset(2), version 3 of the interface). */

#include "policy/capability.h"
#include "lib/error.h"
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

int capability_bound(uint64_t mask)
{
        /* The kernel knows how many there are: reading the first one that it does not know is EINVAL. */
        for (unsigned long i = 0; i < 64; i++) {
                int has = prctl(PR_CAPBSET_READ, i, 0, 0, 0);
                if (has < 0)
                        break;
                if (has && !(mask & UINT64_C(1) << i) && prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0)
                        return error_origin(negative_errno());
        }
        return 0;
}

int capability_set(uint64_t mask)
{
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct data[2] = {
                {.effective = (uint32_t)mask, .permitted = (uint32_t)mask},
                {.effective = (uint32_t)(mask >> 32), .permitted = (uint32_t)(mask >> 32)},
        };

        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
                return error_origin(negative_errno());
        return syscall(SYS_capset, &header, data) < 0 ? error_origin(negative_errno()) : 0;
}
