/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* An allocator for nghttp2 that charges a budget: what a peer makes the library hold is bounded like everything else.
 */

#include "services/gatewayd/budget.h"
#include <nghttp2/nghttp2.h>

/* The budget is borrowed and must outlive the session that uses the allocator. */
nghttp2_mem h2_memory(Budget *budget);
