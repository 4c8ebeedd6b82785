/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Memory that a peer can make us hold. A charge is taken from a budget and all its parents, and lives in the object
 * that holds the memory: freeing the object releases it, so no path can forget. */

#include "lib/base.h"

typedef struct Budget {
        struct Budget *parent; /* borrowed; outlives us; NULL at the top */
        size_t limit_bytes;
        size_t used_bytes;
        size_t peak_bytes;
} Budget;

typedef struct BudgetCharge {
        Budget *budget; /* borrowed; NULL: nothing is charged */
        size_t n_bytes;
} BudgetCharge;

/* Adds n bytes to the charge; false, and nothing charged, if one of the budgets would be exceeded. A charge belongs to
 * one budget for as long as it is not released. */
bool budget_charge(Budget *budget, BudgetCharge *charge, size_t n_bytes);
void budget_release(BudgetCharge *charge);

/* The same without a charge object, for memory that remembers its own size. */
bool budget_take(Budget *budget, size_t n_bytes);
void budget_give(Budget *budget, size_t n_bytes);
