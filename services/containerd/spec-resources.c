/* SPDX-License-Identifier: Apache-2.0 */

/* Limits. Texts that end up as a cgroup file or in one are checked strictly: nothing in them is a path or expands. */

#include "services/containerd/spec-parts.h"

#include "lib/strings.h"

#define SPEC_CPUSET_BITS 8192
#define SPEC_CPUSET_TEXT_MAX 8192
#define SPEC_UNIFIED_MAX 128
#define SPEC_UNIFIED_VALUE_MAX 4096

static bool spec_cpuset_number(const char **at, uint64_t *ret)
{
        uint64_t n = 0;

        if (**at < '0' || **at > '9')
                return false;
        for (; **at >= '0' && **at <= '9'; (*at)++) {
                n = n * 10 + (uint64_t)(**at - '0');
                if (n >= SPEC_CPUSET_BITS)
                        return false;
        }
        *ret = n;
        return true;
}

/* "0-3,7": ascending ranges within what a kernel can count, never expanded (CVE-2018-20699). */
static bool spec_cpuset_is_valid(const char *text)
{
        uint64_t first, last;

        if (str_is_empty(text))
                return true;
        if (strlen(text) > SPEC_CPUSET_TEXT_MAX)
                return false;
        for (;;) {
                if (!spec_cpuset_number(&text, &first))
                        return false;
                last = first;
                if (*text == '-') {
                        text++;
                        if (!spec_cpuset_number(&text, &last) || last < first)
                                return false;
                }
                if (!*text)
                        return true;
                if (*text++ != ',')
                        return false;
        }
}

/* A controller's file, by name alone (GHSA-5g49-rx9x-qfc6); "cgroup." files are not limits. */
static bool spec_unified_key_is_valid(const char *key)
{
        return *key && strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789_.") == strlen(key) && key[0] != '.' &&
               strchr(key, '.') && !strstr(key, "..") && !str_has_prefix(key, "cgroup.");
}

int spec_check_resources(const SpecInput *input, Failure *failure)
{
        const Runtime__V1__LinuxContainerResources *asked = spec_resources(input);

        if (asked->cpu_period < 0 || asked->cpu_shares < 0 || asked->cpu_quota < -1)
                return spec_refuse(input, failure, "resources: cpu_period %lld, cpu_quota %lld or cpu_shares %lld is negative",
                                   (long long)asked->cpu_period, (long long)asked->cpu_quota, (long long)asked->cpu_shares);
        if (asked->memory_limit_in_bytes < 0 || asked->memory_swap_limit_in_bytes < -1)
                return spec_refuse(input, failure, "resources: memory_limit_in_bytes %lld or memory_swap_limit_in_bytes %lld is "
                                                   "negative", (long long)asked->memory_limit_in_bytes,
                                   (long long)asked->memory_swap_limit_in_bytes);
        if (asked->memory_swap_limit_in_bytes > 0 && asked->memory_swap_limit_in_bytes < asked->memory_limit_in_bytes)
                return spec_refuse(input, failure, "resources: memory_swap_limit_in_bytes %lld counts memory and swap and is less "
                                                   "than memory_limit_in_bytes %lld",
                                   (long long)asked->memory_swap_limit_in_bytes, (long long)asked->memory_limit_in_bytes);
        if (asked->oom_score_adj < -1000 || asked->oom_score_adj > 1000)
                return spec_refuse(input, failure, "resources: oom_score_adj %lld is not between -1000 and 1000",
                                   (long long)asked->oom_score_adj);
        if (!spec_cpuset_is_valid(asked->cpuset_cpus) || !spec_cpuset_is_valid(asked->cpuset_mems))
                return spec_refuse(input, failure, "resources: cpuset_cpus \"%.80s\" or cpuset_mems \"%.80s\" is not a list of "
                                                   "ranges below %d", asked->cpuset_cpus, asked->cpuset_mems, SPEC_CPUSET_BITS);
        for (size_t i = 0; i < asked->n_hugepage_limits; i++) {
                const char *size = asked->hugepage_limits[i]->page_size;
                size_t n = strspn(size, "0123456789");
                if (n == 0 || n > 8 || (!str_equal(size + n, "KB") && !str_equal(size + n, "MB") && !str_equal(size + n, "GB")))
                        return spec_refuse(input, failure, "resources: hugepage size \"%.40s\" is not like 2MB", size);
        }
        if (asked->n_unified > SPEC_UNIFIED_MAX)
                return spec_refuse(input, failure, "resources: %zu unified files; at most %d are possible", asked->n_unified,
                                   SPEC_UNIFIED_MAX);
        for (size_t i = 0; i < asked->n_unified; i++)
                if (!spec_unified_key_is_valid(asked->unified[i]->key) ||
                    strlen(asked->unified[i]->value) > SPEC_UNIFIED_VALUE_MAX)
                        return spec_refuse(input, failure, "resources: unified \"%.80s\" is not a controller's file such as "
                                                           "memory.high", asked->unified[i]->key);
        return 0;
}

static int spec_build_hugepages(SpecBuild *build, Bulkhead__RuntimeSpec__ResourcesSpec *resources)
{
        const Runtime__V1__LinuxContainerResources *asked = spec_resources(build->input);
        Bulkhead__RuntimeSpec__HugepageSpec *rows = arena_array(build->arena, asked->n_hugepage_limits, sizeof(*rows));

        resources->hugepages = arena_array(build->arena, asked->n_hugepage_limits, sizeof(rows));
        if (!rows || !resources->hugepages)
                return spec_refuse_memory(build);
        for (size_t i = 0; i < asked->n_hugepage_limits; i++) {
                bulkhead__runtime_spec__hugepage_spec__init(&rows[i]);
                rows[i].page_size = asked->hugepage_limits[i]->page_size;
                rows[i].limit_bytes = asked->hugepage_limits[i]->limit;
                resources->hugepages[resources->n_hugepages++] = &rows[i];
        }
        return 0;
}

static int spec_build_unified(SpecBuild *build, Bulkhead__RuntimeSpec__ResourcesSpec *resources)
{
        const Runtime__V1__LinuxContainerResources *asked = spec_resources(build->input);
        Bulkhead__RuntimeSpec__UnifiedSpec *rows = arena_array(build->arena, asked->n_unified, sizeof(*rows));

        resources->unified = arena_array(build->arena, asked->n_unified, sizeof(rows));
        if (!rows || !resources->unified)
                return spec_refuse_memory(build);
        for (size_t i = 0; i < asked->n_unified; i++) {
                bulkhead__runtime_spec__unified_spec__init(&rows[i]);
                rows[i].key = asked->unified[i]->key;
                rows[i].value = asked->unified[i]->value;
                resources->unified[resources->n_unified++] = &rows[i];
        }
        return 0;
}

int spec_build_resources(SpecBuild *build)
{
        const Runtime__V1__LinuxContainerResources *asked = spec_resources(build->input);
        Bulkhead__RuntimeSpec__ResourcesSpec *resources = arena_array(build->arena, 1, sizeof(*resources));

        if (!resources)
                return spec_refuse_memory(build);
        bulkhead__runtime_spec__resources_spec__init(resources);
        build->spec->resources = resources;
        resources->cpu_period = asked->cpu_period;
        resources->cpu_quota = asked->cpu_quota;
        resources->cpu_shares = asked->cpu_shares;
        resources->cpuset_cpus = asked->cpuset_cpus;
        resources->cpuset_mems = asked->cpuset_mems;
        resources->memory_limit_bytes = asked->memory_limit_in_bytes;
        resources->memory_swap_limit_bytes = asked->memory_swap_limit_in_bytes;
        int r = spec_build_hugepages(build, resources);
        return r ? r : spec_build_unified(build, resources);
}
