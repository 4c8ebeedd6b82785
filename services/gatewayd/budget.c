/* SPDX-License-Identifier: Apache-2.0 */
#include "services/gatewayd/budget.h"

#include <assert.h>

bool budget_take(Budget *budget, size_t n_bytes)
{
        for (Budget *b = budget; b; b = b->parent)
                if (n_bytes > b->limit_bytes - b->used_bytes)
                        return false;
        for (Budget *b = budget; b; b = b->parent) {
                b->used_bytes += n_bytes;
                b->peak_bytes = MAX2(b->peak_bytes, b->used_bytes);
        }
        return true;
}

void budget_give(Budget *budget, size_t n_bytes)
{
        for (Budget *b = budget; b; b = b->parent) {
                assert(b->used_bytes >= n_bytes);
                b->used_bytes -= n_bytes;
        }
}

bool budget_charge(Budget *budget, BudgetCharge *charge, size_t n_bytes)
{
        assert(!charge->budget || charge->budget == budget);
        if (!budget_take(budget, n_bytes))
                return false;
        charge->budget = budget;
        charge->n_bytes += n_bytes;
        return true;
}

void budget_release(BudgetCharge *charge)
{
        if (charge->budget)
                budget_give(charge->budget, charge->n_bytes);
        *charge = (BudgetCharge){0};
}
