/* SPDX-License-Identifier: Apache-2.0 */

#include "services/store-log.h"

#include <inttypes.h>

#include "lib/error.h"
#include "lib/log.h"

int store_log_refused(int outcome, const char *noun)
{
        log_error("the database of %s cannot be opened: %s", noun, outcome == STORE_E_FULL
                  ? "the disk of the state directory is full; free space"
                  : "it was written by a newer version; start that one");
        return error_origin(outcome == STORE_E_FULL ? -ENOSPC : -EPROTO);
}

void store_log_opened(const Store *store, const char *noun)
{
        if (store_was_replaced(store))
                log_error("the database of %s was broken: it lies beside the new one, as .corrupt-N; what it said is lost", noun);
        if (!store_is_reserved(store))
                log_warning("the database of %s may not grow: the disk of the state directory is full; free space", noun);
        if (store_n_unread(store) > 0)
                log_error("the database of %s has %" PRIu64 " rows that cannot be read: they stay where they are, and why is in its table "
                          "store_quarantine", noun, store_n_unread(store));
}
