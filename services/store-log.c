/* SPDX-License-Identifier: Apache-2.0 */

#include "services/store-log.h"

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
        char trouble[STORE_TROUBLE_MAX];

        if (store_was_replaced(store))
                log_error("the database of %s was broken: what there is of them is looked for on the node", noun);
        if (store_trouble(store, trouble))
                log_error("the database of %s: %s", noun, trouble);
}
