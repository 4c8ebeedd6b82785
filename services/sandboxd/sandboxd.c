/* SPDX-License-Identifier: Apache-2.0 */
#include "services/sandboxd/sandboxd.h"

Channel *sandboxd_setup(Sandboxd *sandboxd)
{
        return service_channel(sandboxd->service, EDGE_SANDBOXD_SETUP);
}

Channel *sandboxd_cni(Sandboxd *sandboxd)
{
        return service_channel(sandboxd->service, EDGE_SANDBOXD_CNI);
}

Channel *sandboxd_containerd(Sandboxd *sandboxd)
{
        return service_channel(sandboxd->service, EDGE_CONTAINERD_SANDBOXD);
}
