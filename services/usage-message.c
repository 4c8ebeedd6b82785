/* SPDX-License-Identifier: Apache-2.0 */
#include "services/usage-message.h"

Runtime__V1__UInt64Value *usage_message_value(Runtime__V1__UInt64Value *value, uint64_t number)
{
        if (number == USAGE_UNKNOWN)
                return NULL;
        runtime__v1__uint64_value__init(value);
        value->value = number;
        return value;
}

static Runtime__V1__UInt64Value *usage_message_next(UsageMessage *to, uint64_t number)
{
        return usage_message_value(&to->values[to->n_values++], number);
}

static Runtime__V1__PsiData *usage_message_pressure_line(Runtime__V1__PsiData *to, const UsagePressure *from)
{
        if (!from->is_known)
                return NULL;
        runtime__v1__psi_data__init(to);
        to->total = from->total_usec * 1000;
        to->avg10 = from->avg10;
        to->avg60 = from->avg60;
        to->avg300 = from->avg300;
        return to;
}

static Runtime__V1__PsiStats *usage_message_pressure(UsagePressureMessage *to, const UsagePressures *from)
{
        if (!from->some.is_known && !from->full.is_known)
                return NULL;
        runtime__v1__psi_stats__init(&to->stats);
        to->stats.full = usage_message_pressure_line(&to->full, &from->full);
        to->stats.some = usage_message_pressure_line(&to->some, &from->some);
        return &to->stats;
}

static uint64_t usage_message_left(uint64_t limit, uint64_t used)
{
        if (limit == 0 || used == USAGE_UNKNOWN)
                return USAGE_UNKNOWN;
        return limit > used ? limit - used : 0;
}

void usage_message_fill(UsageMessage *to, const Usage *usage, uint64_t nano_cores, const UsageLimits *limits)
{
        uint64_t working_set = usage_working_set(usage);
        to->n_values = 0;
        runtime__v1__cpu_usage__init(&to->cpu);
        to->cpu.timestamp = usage->time_nsec;
        to->cpu.usage_core_nano_seconds = usage_message_next(to, usage->cpu_nsec);
        to->cpu.usage_nano_cores = usage_message_next(to, nano_cores);
        to->cpu.psi = usage_message_pressure(&to->cpu_pressure, &usage->cpu);
        runtime__v1__memory_usage__init(&to->memory);
        to->memory.timestamp = usage->time_nsec;
        to->memory.working_set_bytes = usage_message_next(to, working_set);
        to->memory.available_bytes = usage_message_next(to, usage_message_left(limits->memory_bytes, working_set));
        to->memory.usage_bytes = usage_message_next(to, usage->memory_bytes);
        to->memory.rss_bytes = usage_message_next(to, usage->memory_anon_bytes);
        to->memory.page_faults = usage_message_next(to, usage->page_faults);
        to->memory.major_page_faults = usage_message_next(to, usage->major_page_faults);
        to->memory.psi = usage_message_pressure(&to->memory_pressure, &usage->memory);
        runtime__v1__swap_usage__init(&to->swap);
        to->swap.timestamp = usage->time_nsec;
        to->swap.swap_usage_bytes = usage_message_next(to, usage->swap_bytes);
        to->swap.swap_available_bytes = usage_message_next(to, usage_message_left(limits->swap_bytes, usage->swap_bytes));
        runtime__v1__io_usage__init(&to->io);
        to->io.timestamp = usage->time_nsec;
        to->io.psi = usage_message_pressure(&to->io_pressure, &usage->io);
}

void usage_message_interface(Runtime__V1__NetworkInterfaceUsage *to, Runtime__V1__UInt64Value values[4], const UsageInterface *from)
{
        runtime__v1__network_interface_usage__init(to);
        to->name = (char *)from->name;
        to->rx_bytes = usage_message_value(&values[0], from->rx_bytes);
        to->rx_errors = usage_message_value(&values[1], from->rx_errors);
        to->tx_bytes = usage_message_value(&values[2], from->tx_bytes);
        to->tx_errors = usage_message_value(&values[3], from->tx_errors);
}
