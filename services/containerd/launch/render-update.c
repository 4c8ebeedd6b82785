/* SPDX-License-Identifier: Apache-2.0 */
/* Runs only in the confined child. */

/* Limits of a container that exists. limits.json holds all that it has, so an update that says one of them keeps the others, and
 * the one before can be put back whole. */

#include "services/containerd/launch/render.h"

#include "lib/strings.h"

static const char *const render_update_kinds[] = {"cpu", "memory", "hugepageLimits", "pids", "unified"};

int render_update_first(Render *render, const char *container_json, size_t n, json_t **ret)
{
        json_error_t error;
        json_t *config = json_loadb(container_json, n, 0, &error), *limits = json_object();
        const json_t *resources = json_object_get(json_object_get(config, "linux"), "resources");
        int r = limits ? 0 : -ENOMEM;
        for (size_t i = 0; i < ARRAY_SIZE(render_update_kinds) && r == 0; i++) {
                json_t *limit = json_object_get(resources, render_update_kinds[i]);
                if (limit && json_object_set(limits, render_update_kinds[i], limit) < 0)
                        r = -ENOMEM;
        }
        if (r == 0 && !json_is_object(resources))
                r = render_refuse(render, "the container's own configuration cannot be read; remove the container");
        json_decref(config);
        if (r) {
                json_decref(limits);
                return r;
        }
        *ret = limits;
        return 0;
}

/* The part of the document, made if it is not there. NULL: no memory. */
static json_t *render_update_part(json_t *limits, const char *key, bool is_array)
{
        json_t *part = json_object_get(limits, key);
        if (is_array ? json_is_array(part) : json_is_object(part))
                return part;
        part = is_array ? json_array() : json_object();
        return json_object_set_new(limits, key, part) < 0 ? NULL : part;
}

static int render_update_integer(json_t *part, const char *key, int64_t value)
{
        return value == 0 ? 0 : json_object_set_new(part, key, json_integer(value));
}

static int render_update_string(json_t *part, const char *key, const char *value)
{
        return str_is_empty(value) ? 0 : json_object_set_new(part, key, json_string(value));
}

/* The limit on memory and swap together follows the one on memory: where they were the same (no swap) they stay so, and it is never
 * the smaller one, which a kernel refuses. */
static int render_update_memory(const Render *render, const Runtime__V1__LinuxContainerResources *asked, json_t *memory)
{
        int64_t limit = json_integer_value(json_object_get(memory, "limit")), swap = json_integer_value(json_object_get(memory, "swap"));
        int64_t next = asked->memory_limit_in_bytes, next_swap = asked->memory_swap_limit_in_bytes;
        if (next != 0 && next_swap == 0 && swap > 0 && (swap == limit || swap < next))
                next_swap = next;
        int r = render_update_integer(memory, "limit", next);
        return render->facts->has_memory_swap ? r | render_update_integer(memory, "swap", next_swap) : r;
}

/* As when a container is made: a kubelet repeats its limits on huge pages with every update, also where there is no controller. */
static int render_update_hugepages(const Render *render, const Runtime__V1__LinuxContainerResources *asked, json_t *hugepages)
{
        for (size_t i = 0; render->facts->has_hugepages && i < asked->n_hugepage_limits; i++) {
                const Runtime__V1__HugepageLimit *limit = asked->hugepage_limits[i];
                json_t *row = json_pack("{s:s,s:I}", "pageSize", limit->page_size, "limit",
                                        (json_int_t)MIN2(limit->limit, (uint64_t)INT64_MAX));
                size_t at = 0;
                while (at < json_array_size(hugepages) &&
                       !str_equal(json_string_value(json_object_get(json_array_get(hugepages, at), "pageSize")), limit->page_size))
                        at++;
                if (at < json_array_size(hugepages) ? json_array_set_new(hugepages, at, row) : json_array_append_new(hugepages, row))
                        return -ENOMEM;
        }
        return 0;
}

static int render_update_unified(Render *render, const Runtime__V1__LinuxContainerResources *asked, json_t *limits)
{
        if (asked->n_unified == 0)
                return 0;
        if (!render->facts->has_unified)
                return render_refuse(render, "unified %.80s: this node has no cgroup v2 hierarchy that has the limits; use the fields for "
                                             "cpu and memory", asked->unified[0]->key);
        json_t *unified = render_update_part(limits, "unified", false);
        int r = unified ? 0 : -ENOMEM;
        for (size_t i = 0; i < asked->n_unified && r == 0; i++)
                r = json_object_set_new(unified, asked->unified[i]->key, json_string(asked->unified[i]->value));
        return r ? -ENOMEM : 0;
}

int render_update(Render *render, const Runtime__V1__LinuxContainerResources *asked, const char *limits_json, size_t n, json_t **ret)
{
        json_error_t error;
        json_t *limits = json_loadb(limits_json, n, 0, &error);
        if (!json_is_object(limits)) {
                json_decref(limits);
                return render_refuse(render, "the container's limits cannot be read; remove the container");
        }
        json_t *cpu = render_update_part(limits, "cpu", false), *memory = render_update_part(limits, "memory", false);
        json_t *hugepages = render_update_part(limits, "hugepageLimits", true);
        int r = cpu && memory && hugepages ? 0 : -ENOMEM;
        if (r == 0 && asked) {
                r = render_update_integer(cpu, "shares", asked->cpu_shares) |
                    render_update_integer(cpu, "quota", render_quota(render, asked->cpu_quota)) |
                    render_update_integer(cpu, "period", asked->cpu_period) | render_update_string(cpu, "cpus", asked->cpuset_cpus) |
                    render_update_string(cpu, "mems", asked->cpuset_mems) | render_update_memory(render, asked, memory) |
                    render_update_hugepages(render, asked, hugepages);
                r = r ? -ENOMEM : render_update_unified(render, asked, limits);
        }
        if (r) {
                json_decref(limits);
                return r;
        }
        *ret = limits;
        return 0;
}
