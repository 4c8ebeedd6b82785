/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A sample as CRI messages: shallow, borrowing from one struct that lives as long as they do. What is unknown is absent. */

#include "ipc/cri/api.pb-c.h"
#include "services/usage.h"

typedef struct UsagePressureMessage {
        Runtime__V1__PsiStats stats;
        Runtime__V1__PsiData full, some;
} UsagePressureMessage;

typedef struct UsageMessage {
        Runtime__V1__CpuUsage cpu;
        Runtime__V1__MemoryUsage memory;
        Runtime__V1__SwapUsage swap;
        Runtime__V1__IoUsage io;
        Runtime__V1__UInt64Value values[10];
        size_t n_values;
        UsagePressureMessage cpu_pressure, memory_pressure, io_pressure;
} UsageMessage;

/* Limits in bytes, 0: none. The swap limit is of swap alone. */
typedef struct UsageLimits {
        uint64_t memory_bytes, swap_bytes;
} UsageLimits;

void usage_message_fill(UsageMessage *to, const Usage *usage, uint64_t nano_cores, const UsageLimits *limits);
/* Of an interface; values has room for four. */
void usage_message_interface(Runtime__V1__NetworkInterfaceUsage *to, Runtime__V1__UInt64Value values[4], const UsageInterface *from);
/* Sets value and returns it; NULL for USAGE_UNKNOWN. */
Runtime__V1__UInt64Value *usage_message_value(Runtime__V1__UInt64Value *value, uint64_t number);
