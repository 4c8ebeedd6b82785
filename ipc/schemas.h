/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The schemas of all edges by their ids, for tests. A process names its own one by one: this table brings every message there is. */

#include "ipc/wire.h"

const EdgeSchema *edge_schema_get(EdgeId id);
