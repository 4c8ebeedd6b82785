/* SPDX-License-Identifier: Apache-2.0 */
/* Runs only in the confined child. */

/* The process section, for a container and for an exec in one. */

#include "services/containerd/launch/render.h"

#include "services/containerd/launch/path-clean.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>

#define RENDER_OOM_SCORE_ADJ_MAX 1000

static const char *const render_rlimit_names[RENDER_RLIMITS] = {
        [RLIMIT_CPU] = "RLIMIT_CPU",         [RLIMIT_FSIZE] = "RLIMIT_FSIZE",       [RLIMIT_DATA] = "RLIMIT_DATA",
        [RLIMIT_STACK] = "RLIMIT_STACK",     [RLIMIT_CORE] = "RLIMIT_CORE",         [RLIMIT_RSS] = "RLIMIT_RSS",
        [RLIMIT_NPROC] = "RLIMIT_NPROC",     [RLIMIT_NOFILE] = "RLIMIT_NOFILE",     [RLIMIT_MEMLOCK] = "RLIMIT_MEMLOCK",
        [RLIMIT_AS] = "RLIMIT_AS",           [RLIMIT_LOCKS] = "RLIMIT_LOCKS",       [RLIMIT_SIGPENDING] = "RLIMIT_SIGPENDING",
        [RLIMIT_MSGQUEUE] = "RLIMIT_MSGQUEUE", [RLIMIT_NICE] = "RLIMIT_NICE",       [RLIMIT_RTPRIO] = "RLIMIT_RTPRIO",
        [RLIMIT_RTTIME] = "RLIMIT_RTTIME",
};

int render_refuse(Render *render, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        (void)vsnprintf(render->text, sizeof(render->text), format, args);
        va_end(args);
        return RENDER_E_REFUSED;
}

int render_forbid(Render *render, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        (void)vsnprintf(render->text, sizeof(render->text), format, args);
        va_end(args);
        return RENDER_E_FORBIDDEN;
}

/* JSON carries UTF-8 only. What is none becomes U+FFFD, as it does in the peers. */
static json_t *render_text(const uint8_t *bytes, size_t n)
{
        static const char replacement[] = "\xef\xbf\xbd";
        _cleanup_free_ char *text = malloc(3 * n + 1);
        size_t used = 0;
        if (!text)
                return NULL;
        for (size_t i = 0; i < n;) {
                size_t length = utf8_length(bytes + i, n - i);
                memcpy(text + used, length ? (const char *)bytes + i : replacement, length ? length : 3);
                used += length ? length : 3;
                i += length ? length : 1;
        }
        return json_stringn(text, used);
}

/* An entry without a name before its '=' would let the runtime look it up in its own environment; one with a NUL would be two.
 * Both can only come from an image, and are left out. */
int render_env(const ProcessSpec *process, json_t *env)
{
        for (size_t i = 0; i < process->n_env; i++) {
                const ProtobufCBinaryData *entry = &process->env[i];
                const uint8_t *equals = entry->len > 0 ? memchr(entry->data, '=', entry->len) : NULL;
                if (!equals || equals == entry->data || memchr(entry->data, '\0', entry->len))
                        continue;
                if (json_array_append_new(env, render_text(entry->data, entry->len)) < 0)
                        return -ENOMEM;
        }
        return 0;
}

/* /proc/self/fd and its like would be the runtime's own (CVE-2024-21626). */
int render_cwd(Render *render, const char *cwd, const char **ret)
{
        char clean[PATH_CLEAN_MAX];
        if (str_is_empty(cwd))
                cwd = "/";
        if (!path_clean(clean, cwd) || path_clean_is_beneath(clean, "/proc"))
                return render_refuse(render, "working directory \"%.200s\": give an absolute path without \"..\", not in /proc", cwd);
        *ret = cwd;
        return 0;
}

static json_t *render_capability_names(CapabilitySet set)
{
        json_t *names = json_array();
        for (unsigned i = 0; names && i < CAPABILITY_SET_N; i++)
                if (set & (UINT64_C(1) << i))
                        if (json_array_append_new(names, json_string(capability_set_name(i))) < 0) {
                                json_decref(names);
                                return NULL;
                        }
        return names;
}

/* Never inheritable, with the one exception that the kernel insists on: what is to be ambient. What launch itself has not (a
 * nested node) nobody can give. */
static json_t *render_capabilities(const Render *render, const ProcessSpec *process)
{
        CapabilitySet set = 0, ambient = 0;
        for (size_t i = 0; i < process->n_capabilities; i++)
                (void)capability_set_add(&set, process->capabilities[i]);
        for (size_t i = 0; i < process->n_ambient_capabilities; i++)
                (void)capability_set_add(&ambient, process->ambient_capabilities[i]);
        set &= render->facts->capabilities;
        ambient &= set;
        return json_pack("{s:o,s:o,s:o,s:o,s:o}", "bounding", render_capability_names(set), "effective",
                         render_capability_names(set), "permitted", render_capability_names(set), "inheritable",
                         render_capability_names(ambient), "ambient", render_capability_names(ambient));
}

static int render_rlimits(Render *render, const ProcessSpec *process, json_t *rlimits)
{
        for (size_t i = 0; i < process->n_rlimits; i++) {
                const Bulkhead__RuntimeSpec__Rlimit *limit = process->rlimits[i];
                size_t k = 0;
                while (k < RENDER_RLIMITS && !str_equal(limit->type, render_rlimit_names[k]))
                        k++;
                if (k == RENDER_RLIMITS)
                        return render_refuse(render, "rlimits \"%.60s\": there is no such limit", limit->type);
                for (size_t j = 0; j < i; j++)
                        if (str_equal(process->rlimits[j]->type, limit->type))
                                return render_refuse(render, "rlimits %s: given twice", limit->type);
                /* JSON integers of the library are signed; 2^63-1 is as good as unlimited. */
                uint64_t hard = MIN2(MIN2(limit->hard, render->facts->rlimits[k]), (uint64_t)INT64_MAX);
                uint64_t soft = MIN2(limit->soft, hard);
                if (json_array_append_new(rlimits, json_pack("{s:s,s:I,s:I}", "type", limit->type, "hard", (json_int_t)hard,
                                                             "soft", (json_int_t)soft)) < 0)
                        return -ENOMEM;
        }
        return 0;
}

static json_t *render_strings(char *const *strings, size_t n)
{
        json_t *array = json_array();
        for (size_t i = 0; array && i < n; i++)
                if (json_array_append_new(array, json_string(strings[i])) < 0) {
                        json_decref(array);
                        return NULL;
                }
        return array;
}

static json_t *render_user(const ProcessSpec *process)
{
        json_t *groups = json_array();
        for (size_t i = 0; groups && i < process->n_additional_gids; i++)
                (void)json_array_append_new(groups, json_integer(process->additional_gids[i]));
        return json_pack("{s:I,s:I,s:o}", "uid", (json_int_t)process->uid, "gid", (json_int_t)process->gid, "additionalGids",
                         groups);
}

/* Written always, and clamped to what this node may set: a container must not inherit launch's own protection. */
static int render_oom_score_adj(const Render *render, const ProcessSpec *process)
{
        int32_t value = process->has_oom_score_adj ? process->oom_score_adj : 0;
        return MIN2(MAX2(value, render->config->oom_score_adj_min), RENDER_OOM_SCORE_ADJ_MAX);
}

static int render_tty(const ProcessSpec *process, json_t *object)
{
        if (!process->terminal || process->columns == 0 || process->rows == 0)
                return 0;
        return json_object_set_new(object, "consoleSize", json_pack("{s:I,s:I}", "height", (json_int_t)process->rows, "width",
                                                                    (json_int_t)process->columns));
}

int render_process(Render *render, const ProcessSpec *process, json_t **ret)
{
        const char *cwd = NULL, *profile = NULL;
        int r = render_cwd(render, process->cwd, &cwd);
        if (r == 0)
                r = render_apparmor(render, process, &profile);
        if (r)
                return r;
        json_t *env = json_array(), *rlimits = json_array();
        json_t *object = json_pack("{s:b,s:o,s:o,s:o,s:s,s:o,s:o,s:b,s:i}", "terminal", process->terminal, "user",
                                   render_user(process), "args", render_strings(process->args, process->n_args), "env", env,
                                   "cwd", cwd, "capabilities", render_capabilities(render, process), "rlimits", rlimits,
                                   "noNewPrivileges", process->no_new_privileges, "oomScoreAdj",
                                   render_oom_score_adj(render, process));
        r = object ? render_env(process, env) : -ENOMEM;
        if (r == 0)
                r = render_rlimits(render, process, rlimits);
        if (r == 0)
                r = render_tty(process, object);
        if (r == 0 && !str_is_empty(profile))
                r = json_object_set_new(object, "apparmorProfile", json_string(profile));
        if (r) {
                json_decref(object);
                return r < 0 ? -ENOMEM : r;
        }
        *ret = object;
        return 0;
}

static CapabilitySet render_capabilities_of(const json_t *process)
{
        CapabilitySet set = 0;
        size_t i;
        json_t *name;
        json_array_foreach(json_object_get(json_object_get(process, "capabilities"), "bounding"), i, name)
                if (json_is_string(name))
                        (void)capability_set_add(&set, json_string_value(name));
        return set;
}

static int render_exec_compare(Render *render, const ProcessSpec *asked, const json_t *container)
{
        const json_t *user = json_object_get(container, "user");
        CapabilitySet held = render_capabilities_of(container);
        if (json_integer_value(json_object_get(user, "uid")) != (json_int_t)asked->uid ||
            json_integer_value(json_object_get(user, "gid")) != (json_int_t)asked->gid)
                return render_forbid(render, "uid %u, gid %u: the container runs as %lld:%lld", asked->uid, asked->gid,
                                     (long long)json_integer_value(json_object_get(user, "uid")),
                                     (long long)json_integer_value(json_object_get(user, "gid")));
        for (size_t i = 0; i < asked->n_capabilities; i++) {
                CapabilitySet one = 0;
                if (!capability_set_add(&one, asked->capabilities[i]) || (one & render->facts->capabilities & ~held))
                        return render_forbid(render, "capabilities %.60s: the container does not have it", asked->capabilities[i]);
        }
        if (json_is_true(json_object_get(container, "noNewPrivileges")) && !asked->no_new_privileges)
                return render_forbid(render, "no_new_privileges false: the container has it");
        return 0;
}

/* A container without a terminal was given none; its exec with one needs a name for it, and gets the one that containers get. */
static int render_exec_term(const ProcessSpec *process, json_t *object)
{
        json_t *env = json_object_get(object, "env"), *variable;
        size_t i;
        if (!process->terminal)
                return 0;
        json_array_foreach(env, i, variable)
                if (json_is_string(variable) && str_has_prefix(json_string_value(variable), "TERM="))
                        return 0;
        return json_array_append_new(env, json_string("TERM=xterm"));
}

int render_exec(Render *render, const ProcessSpec *process, const char *container_json, size_t n, json_t **ret)
{
        json_error_t error;
        const char *cwd = NULL;
        if (process->n_args == 0)
                return render_refuse(render, "cmd: the request names no command");
        json_t *config = json_loadb(container_json, n, 0, &error);
        json_t *object = json_deep_copy(json_object_get(config, "process"));
        json_decref(config);
        if (!object)
                return render_refuse(render, "the container's own configuration cannot be read; remove the container");
        int r = render_exec_compare(render, process, object);
        if (r == 0 && !str_is_empty(process->cwd)) {
                r = render_cwd(render, process->cwd, &cwd);
                if (r == 0)
                        r = json_object_set_new(object, "cwd", json_string(cwd));
        }
        if (r == 0)
                r = json_object_set_new(object, "args", render_strings(process->args, process->n_args));
        if (r == 0)
                r = json_object_set_new(object, "terminal", json_boolean(process->terminal));
        if (r == 0) {
                (void)json_object_del(object, "consoleSize");
                r = render_tty(process, object);
        }
        if (r == 0 && process->n_env > 0) {
                json_t *env = json_array();
                r = json_object_set_new(object, "env", env) < 0 ? -ENOMEM : render_env(process, env);
        }
        if (r == 0)
                r = render_exec_term(process, object);
        if (r) {
                json_decref(object);
                return r < 0 ? -ENOMEM : r;
        }
        *ret = object;
        return 0;
}
