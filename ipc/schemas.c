/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc/schemas.h"

/* Generated from ipc/edges; a missing one does not link. */
extern const EdgeSchema edge_schema_gatewayd_imaged, edge_schema_gatewayd_sandboxd, edge_schema_gatewayd_containerd,
        edge_schema_streamd_sandboxd, edge_schema_streamd_containerd, edge_schema_imaged_fetch, edge_schema_imaged_parse,
        edge_schema_imaged_tree, edge_schema_sandboxd_setup, edge_schema_sandboxd_cni, edge_schema_containerd_imaged,
        edge_schema_containerd_sandboxd, edge_schema_containerd_setup, edge_schema_containerd_launch,
        edge_schema_containerd_logd, edge_schema_containerd_shim;

const EdgeSchema *edge_schema_get(EdgeId id)
{
        switch (id) {
        case EDGE_GATEWAYD_IMAGED:
                return &edge_schema_gatewayd_imaged;
        case EDGE_GATEWAYD_SANDBOXD:
                return &edge_schema_gatewayd_sandboxd;
        case EDGE_GATEWAYD_CONTAINERD:
                return &edge_schema_gatewayd_containerd;
        case EDGE_STREAMD_SANDBOXD:
                return &edge_schema_streamd_sandboxd;
        case EDGE_STREAMD_CONTAINERD:
                return &edge_schema_streamd_containerd;
        case EDGE_IMAGED_FETCH:
                return &edge_schema_imaged_fetch;
        case EDGE_IMAGED_PARSE:
                return &edge_schema_imaged_parse;
        case EDGE_IMAGED_TREE:
                return &edge_schema_imaged_tree;
        case EDGE_SANDBOXD_SETUP:
                return &edge_schema_sandboxd_setup;
        case EDGE_SANDBOXD_CNI:
                return &edge_schema_sandboxd_cni;
        case EDGE_CONTAINERD_IMAGED:
                return &edge_schema_containerd_imaged;
        case EDGE_CONTAINERD_SANDBOXD:
                return &edge_schema_containerd_sandboxd;
        case EDGE_CONTAINERD_SETUP:
                return &edge_schema_containerd_setup;
        case EDGE_CONTAINERD_LAUNCH:
                return &edge_schema_containerd_launch;
        case EDGE_CONTAINERD_LOGD:
                return &edge_schema_containerd_logd;
        case EDGE_CONTAINERD_SHIM:
                return &edge_schema_containerd_shim;
        case EDGE_N:
                break;
        }
        return NULL;
}
