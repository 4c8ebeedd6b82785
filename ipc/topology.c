/* SPDX-License-Identifier: Apache-2.0 */

#include "ipc/topology.h"

const TopologyProcess topology_processes[PROCESS_N] = {
#define P(id, process_name, process_kind, process_parent)                                                              \
        [PROCESS_##id] = {                                                                                             \
                        .name = process_name,                                                                          \
                        .kind = PROCESS_KIND_##process_kind,                                                           \
                        .parent = PROCESS_##process_parent,                                                            \
        },
                TOPOLOGY_PROCESSES(P)
#undef P
};

const TopologyEdge topology_edges[EDGE_N] = {
#define E(id, edge_name, a, b, edge_how)                                                                               \
        [EDGE_##id] = {                                                                                                \
                        .name = edge_name,                                                                             \
                        .ends = {PROCESS_##a, PROCESS_##b},                                                            \
                        .how = EDGE_HOW_##edge_how,                                                                    \
        },
                TOPOLOGY_EDGES(E)
#undef E
};
