/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The schemas of all edges by their ids, for whoever is told an edge by linkd. */

#include "ipc/wire.h"

const EdgeSchema *edge_schema_get(EdgeId id);
