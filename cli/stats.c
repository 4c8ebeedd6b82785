/* SPDX-License-Identifier: Apache-2.0 */

/* bulkhead stats: what containers use. CPU is a rate, so two lists are asked for, a moment apart. */

#include <stdio.h>
#include <time.h>

#include "cli/cli.h"
#include "lib/strings.h"

#define STATS_MOMENT_NSEC 1000000000

static const Runtime__V1__ListContainerStatsResponse *stats_ask(Cli *cli)
{
        Runtime__V1__ListContainerStatsRequest request = RUNTIME__V1__LIST_CONTAINER_STATS_REQUEST__INIT;
        ProtobufCMessage *message;

        if (!cli_call(cli, CLI_RUNTIME("ListContainerStats"), &request.base, &runtime__v1__list_container_stats_response__descriptor,
                      CLI_TIMEOUT, &message))
                return NULL;
        return container_of(message, Runtime__V1__ListContainerStatsResponse, base);
}

static const char *stats_id(const Runtime__V1__ContainerStats *stats)
{
        return stats->attributes ? stats->attributes->id : "";
}

static const Runtime__V1__CpuUsage *stats_cpu_of(const Runtime__V1__ListContainerStatsResponse *list, const char *id)
{
        for (size_t i = 0; i < list->n_stats; i++)
                if (str_equal(stats_id(list->stats[i]), id))
                        return list->stats[i]->cpu;
        return NULL;
}

/* Percent of one CPU; into a buffer of 32 bytes. "-": it does not run, or has just begun to. */
static const char *stats_percent(char to[32], const Runtime__V1__CpuUsage *before, const Runtime__V1__CpuUsage *now)
{
        if (!before || !now || !before->usage_core_nano_seconds || !now->usage_core_nano_seconds || now->timestamp <= before->timestamp ||
            now->usage_core_nano_seconds->value < before->usage_core_nano_seconds->value)
                return "-";
        uint64_t used = now->usage_core_nano_seconds->value - before->usage_core_nano_seconds->value;
        (void)snprintf(to, 32, "%.1f%%", 100.0 * (double)used / (double)(now->timestamp - before->timestamp));
        return to;
}

static const char *stats_bytes(char to[32], const Runtime__V1__UInt64Value *value)
{
        return value ? table_bytes(to, value->value) : "-";
}

int stats_list(Cli *cli, int argc, char **argv)
{
        const struct timespec moment = {.tv_sec = STATS_MOMENT_NSEC / 1000000000, .tv_nsec = STATS_MOMENT_NSEC % 1000000000};
        if (argc != 1)
                return 2;
        const Runtime__V1__ListContainerStatsResponse *before = stats_ask(cli);
        if (!before)
                return 1;
        if (cli->json)
                return json_message_print(&before->base);
        (void)nanosleep(&moment, NULL);
        const Runtime__V1__ListContainerStatsResponse *now = stats_ask(cli);
        if (!now)
                return 1;
        static const char *const heads[] = {"CONTAINER", "NAME", "CPU", "MEMORY", "RSS", "DISK", "INODES"};
        _cleanup_(table_freep) Table *table = table_new(heads, ARRAY_SIZE(heads));
        for (size_t i = 0; i < now->n_stats; i++) {
                const Runtime__V1__ContainerStats *stats = now->stats[i];
                const Runtime__V1__FilesystemUsage *layer = stats->writable_layer;
                char id[14], cpu[32], memory[32], rss[32], disk[32], inodes[32] = "-";
                (void)snprintf(id, sizeof(id), "%.13s", stats_id(stats));
                if (layer && layer->inodes_used)
                        (void)snprintf(inodes, sizeof(inodes), "%llu", (unsigned long long)layer->inodes_used->value);
                const char *const cells[] = {
                        id,
                        stats->attributes && stats->attributes->metadata ? stats->attributes->metadata->name : "",
                        stats_percent(cpu, stats_cpu_of(before, stats_id(stats)), stats->cpu),
                        stats_bytes(memory, stats->memory ? stats->memory->working_set_bytes : NULL),
                        stats_bytes(rss, stats->memory ? stats->memory->rss_bytes : NULL),
                        stats_bytes(disk, layer ? layer->used_bytes : NULL),
                        inodes,
                };
                table_add(table, cells);
        }
        table_print(table);
        return 0;
}
