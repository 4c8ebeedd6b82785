/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/capability.h"
#include "lib/error.h"
#include <cap-ng.h>

#define CAPABILITY_BITS 64

/* libcap-ng keeps the sets of the process as its own state; this fills it with what mask says and no more. */
static int capability_fill(capng_type_t types, uint64_t mask)
{
        for (unsigned int i = 0; i < CAPABILITY_BITS; i++)
                if (mask & UINT64_C(1) << i && capng_update(CAPNG_ADD, types, i) < 0)
                        return error_origin(-EINVAL);
        return 0;
}

int capability_bound(uint64_t mask)
{
        if (capng_get_caps_process() < 0)
                return error_origin(-EIO);
        capng_clear(CAPNG_SELECT_BOUNDS);
        int r = capability_fill(CAPNG_BOUNDING_SET, mask);
        if (r)
                return fold(r);
        return capng_apply(CAPNG_SELECT_BOUNDS) < 0 ? error_origin(-EPERM) : 0;
}

int capability_set(uint64_t mask)
{
        capng_clear(CAPNG_SELECT_CAPS | CAPNG_SELECT_AMBIENT);
        int r = capability_fill(CAPNG_EFFECTIVE | CAPNG_PERMITTED, mask);
        if (r)
                return fold(r);
        return capng_apply(CAPNG_SELECT_CAPS | CAPNG_SELECT_AMBIENT) < 0 ? error_origin(-EPERM) : 0;
}
