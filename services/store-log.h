/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a brain tells the log of its store: store.c, being a library, tells only its caller. noun: what is in the store, "containers". */

#include "services/store.h"

/* store_open() gave an outcome above 0: says why, and what to do. Returns the negative errno to end with. */
int store_log_refused(int outcome, const char *noun);
/* After all rows were read: that the file was broken and is a new one, that it may not grow, that rows could not be read. */
void store_log_opened(const Store *store, const char *noun);
