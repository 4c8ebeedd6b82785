/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The one list of processes and of the edges between them. linkd wires from it; the policy table, the units, the
 * documentation's picture, the fuzz targets and the breach tests are generated from it or compared with it. */

#include "lib/base.h"

/*        id                 name                 kind      parent (whose hand; itself for brains)                    */
#define TOPOLOGY_PROCESSES(P)                                                                                          \
        P(LINKD, "linkd", BRAIN, LINKD)                                                                                \
        P(LINKD_START, "linkd-start", SPAWNER, LINKD)                                                                  \
        P(GATEWAYD, "gatewayd", BRAIN, GATEWAYD)                                                                       \
        P(STREAMD, "streamd", BRAIN, STREAMD)                                                                          \
        P(IMAGED, "imaged", BRAIN, IMAGED)                                                                             \
        P(IMAGED_FETCH, "imaged-fetch", HAND, IMAGED)                                                                  \
        P(IMAGED_PARSE, "imaged-parse", HAND, IMAGED)                                                                  \
        P(IMAGED_TREE, "imaged-tree", HAND, IMAGED)                                                                    \
        P(SANDBOXD, "sandboxd", BRAIN, SANDBOXD)                                                                       \
        P(SANDBOXD_SETUP, "sandboxd-setup", HAND, SANDBOXD)                                                            \
        P(SANDBOXD_CNI, "sandboxd-cni", SPAWNER, SANDBOXD)                                                             \
        P(CONTAINERD, "containerd", BRAIN, CONTAINERD)                                                                 \
        P(CONTAINERD_SETUP, "containerd-setup", HAND, CONTAINERD)                                                      \
        P(CONTAINERD_LAUNCH, "containerd-launch", SPAWNER, CONTAINERD)                                                 \
        P(CONTAINERD_SHIM, "containerd-shim", HAND, CONTAINERD)                                                        \
        P(LOGD, "logd", BRAIN, LOGD)

/* Sides: A is the first process named, B the second. WIRED edges are made by linkd; a SPAWNED one is made by the
 * process that starts the other end (one per container or exec).
 *        id                    name                      A                  B                  how                   */
#define TOPOLOGY_EDGES(E)                                                                                              \
        E(GATEWAYD_IMAGED, "gatewayd-imaged", GATEWAYD, IMAGED, WIRED)                                                 \
        E(GATEWAYD_SANDBOXD, "gatewayd-sandboxd", GATEWAYD, SANDBOXD, WIRED)                                           \
        E(GATEWAYD_CONTAINERD, "gatewayd-containerd", GATEWAYD, CONTAINERD, WIRED)                                     \
        E(STREAMD_SANDBOXD, "streamd-sandboxd", STREAMD, SANDBOXD, WIRED)                                              \
        E(STREAMD_CONTAINERD, "streamd-containerd", STREAMD, CONTAINERD, WIRED)                                        \
        E(IMAGED_FETCH, "imaged-fetch", IMAGED, IMAGED_FETCH, WIRED)                                                   \
        E(IMAGED_PARSE, "imaged-parse", IMAGED, IMAGED_PARSE, WIRED)                                                   \
        E(IMAGED_TREE, "imaged-tree", IMAGED, IMAGED_TREE, WIRED)                                                      \
        E(SANDBOXD_SETUP, "sandboxd-setup", SANDBOXD, SANDBOXD_SETUP, WIRED)                                           \
        E(SANDBOXD_CNI, "sandboxd-cni", SANDBOXD, SANDBOXD_CNI, WIRED)                                                 \
        E(CONTAINERD_IMAGED, "containerd-imaged", CONTAINERD, IMAGED, WIRED)                                           \
        E(CONTAINERD_SANDBOXD, "containerd-sandboxd", CONTAINERD, SANDBOXD, WIRED)                                     \
        E(CONTAINERD_SETUP, "containerd-setup", CONTAINERD, CONTAINERD_SETUP, WIRED)                                   \
        E(CONTAINERD_LAUNCH, "containerd-launch", CONTAINERD, CONTAINERD_LAUNCH, WIRED)                                \
        E(CONTAINERD_LOGD, "containerd-logd", CONTAINERD, LOGD, WIRED)                                                 \
        E(CONTAINERD_SHIM, "containerd-shim", CONTAINERD, CONTAINERD_SHIM, SPAWNED)

typedef enum ProcessKind { PROCESS_KIND_BRAIN, PROCESS_KIND_HAND, PROCESS_KIND_SPAWNER } ProcessKind;
typedef enum EdgeHow { EDGE_HOW_WIRED, EDGE_HOW_SPAWNED } EdgeHow;

typedef enum ProcessId {
#define P(id, name, kind, parent) PROCESS_##id,
        TOPOLOGY_PROCESSES(P)
#undef P
        PROCESS_N
} ProcessId;

typedef enum EdgeId {
#define E(id, name, a, b, how) EDGE_##id,
        TOPOLOGY_EDGES(E)
#undef E
        EDGE_N
} EdgeId;

typedef enum EdgeSide { EDGE_SIDE_A, EDGE_SIDE_B } EdgeSide;

typedef struct TopologyProcess {
        const char *name; /* the executable is bulkhead-<name> */
        ProcessKind kind;
        ProcessId parent;
} TopologyProcess;

typedef struct TopologyEdge {
        const char *name;
        ProcessId ends[2]; /* by EdgeSide */
        EdgeHow how;
} TopologyEdge;

extern const TopologyProcess topology_processes[PROCESS_N];
extern const TopologyEdge topology_edges[EDGE_N];
