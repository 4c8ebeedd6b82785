/* SPDX-License-Identifier: Apache-2.0 */

/* What is run: command, environment, working directory. */

#include "services/containerd/spec-parts.h"

#include "lib/strings.h"
#include "services/containerd/launch/path-clean.h"

#define SPEC_PATH_DEFAULT "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* The request's command stands for the image's entrypoint, its args for the image's cmd; a command without args does not
 * get the image's cmd (the meaning that Kubernetes documents for command and args). */
static int spec_build_args(SpecBuild *build)
{
        const Runtime__V1__ContainerConfig *config = build->input->request->config;
        const ImageConfig *image = build->input->image;
        ProcessSpec *process = build->spec->process;
        char **head = config->command, **tail = config->args;
        size_t n_head = config->n_command, n_tail = config->n_args;

        if (n_head == 0) {
                bool is_unset = image->n_entrypoint == 1 && str_is_empty(image->entrypoint[0]);
                head = image->entrypoint;
                n_head = is_unset ? 0 : image->n_entrypoint;
                if (n_tail == 0) {
                        tail = image->cmd;
                        n_tail = image->n_cmd;
                }
        }
        if (n_head + n_tail == 0)
                return spec_refuse(build->input, build->failure,
                                   "neither the request nor image %.200s says what to run; give a command",
                                   build->input->request->config->image->image);
        process->args = arena_array(build->arena, n_head + n_tail, sizeof(char *));
        if (!process->args)
                return spec_refuse_memory(build);
        for (size_t i = 0; i < n_head; i++)
                process->args[process->n_args++] = head[i];
        for (size_t i = 0; i < n_tail; i++)
                process->args[process->n_args++] = tail[i];
        if (str_is_empty(process->args[0]))
                return spec_refuse(build->input, build->failure, "the command is an empty string");
        return 0;
}

/* One variable; those of the same name are one group. */
typedef struct SpecVariable {
        const uint8_t *bytes; /* KEY=value */
        size_t n;
        size_t n_key;
        size_t order;
} SpecVariable;

static int spec_variable_compare_key(const void *a, const void *b)
{
        const SpecVariable *x = a, *y = b;
        int r = memcmp(x->bytes, y->bytes, MIN2(x->n_key, y->n_key));

        if (r == 0 && x->n_key != y->n_key)
                r = x->n_key < y->n_key ? -1 : 1;
        return r ? r : x->order < y->order ? -1 : x->order > y->order;
}

static int spec_variable_compare_order(const void *a, const void *b)
{
        const SpecVariable *x = a, *y = b;

        return x->order < y->order ? -1 : x->order > y->order;
}

/* False for an entry that is no KEY=value: the image's are dropped, for a runtime that took a bare name out of its own
 * environment has leaked it (CVE-2026-57231). */
static bool spec_variable_add(SpecVariable *variables, size_t *n, const void *bytes, size_t n_bytes)
{
        const uint8_t *equals = n_bytes > 0 ? memchr(bytes, '=', n_bytes) : NULL;

        if (!equals || equals == bytes || memchr(bytes, '\0', n_bytes))
                return false;
        variables[*n] = (SpecVariable){
                .bytes = bytes, .n = n_bytes, .n_key = (size_t)(equals - (const uint8_t *)bytes), .order = *n};
        (*n)++;
        return true;
}

/* Of each name the last value, at the place where the name stood first. */
static size_t spec_variables_merge(SpecVariable *variables, size_t n)
{
        size_t n_merged = 0;

        if (n == 0)
                return 0;
        qsort(variables, n, sizeof(*variables), spec_variable_compare_key);
        for (size_t i = 0; i < n;) {
                size_t last = i;
                while (last + 1 < n && variables[last + 1].n_key == variables[i].n_key &&
                       memcmp(variables[last + 1].bytes, variables[i].bytes, variables[i].n_key) == 0)
                        last++;
                SpecVariable merged = variables[last];
                merged.order = variables[i].order;
                variables[n_merged++] = merged;
                i = last + 1;
        }
        qsort(variables, n_merged, sizeof(*variables), spec_variable_compare_order);
        return n_merged;
}

static const char *spec_hostname(const SpecInput *input)
{
        return str_is_empty(input->pod->hostname) ? input->node_hostname : input->pod->hostname;
}

/* In rising precedence: what every process can rely on, the image's, the hostname, the request's. */
static int spec_collect_env(SpecBuild *build, SpecVariable *variables, size_t *n)
{
        const Runtime__V1__ContainerConfig *config = build->input->request->config;
        const ImageConfig *image = build->input->image;
        const char *home = build->input->user->home;
        char *text;

        (void)spec_variable_add(variables, n, SPEC_PATH_DEFAULT, strlen(SPEC_PATH_DEFAULT));
        text = arena_print(build->arena, "HOME=%s", str_is_empty(home) ? "/" : home);
        if (!text)
                return spec_refuse_memory(build);
        (void)spec_variable_add(variables, n, text, strlen(text));
        if (config->tty)
                (void)spec_variable_add(variables, n, "TERM=xterm", strlen("TERM=xterm"));
        for (size_t i = 0; i < image->n_env; i++)
                (void)spec_variable_add(variables, n, image->env[i].data, image->env[i].len);
        text = arena_print(build->arena, "HOSTNAME=%s", spec_hostname(build->input));
        if (!text)
                return spec_refuse_memory(build);
        (void)spec_variable_add(variables, n, text, strlen(text));

        for (size_t i = 0; i < config->n_envs; i++) {
                const Runtime__V1__KeyValue *env = config->envs[i];
                size_t n_key = strlen(env->key);
                if (n_key == 0 || strchr(env->key, '='))
                        return spec_refuse(build->input, build->failure, "env name \"%.80s\" is empty or holds a '='",
                                           env->key);
                uint8_t *bytes = arena_array(build->arena, n_key + 1 + env->value.len, 1);
                if (!bytes)
                        return spec_refuse_memory(build);
                memcpy(bytes, env->key, n_key);
                bytes[n_key] = '=';
                if (env->value.len > 0)
                        memcpy(bytes + n_key + 1, env->value.data, env->value.len);
                if (!spec_variable_add(variables, n, bytes, n_key + 1 + env->value.len))
                        return spec_refuse(build->input, build->failure, "env %.80s: its value holds a NUL", env->key);
        }
        return 0;
}

static int spec_build_env(SpecBuild *build)
{
        ProcessSpec *process = build->spec->process;
        size_t n_max = build->input->image->n_env + build->input->request->config->n_envs + 4, n = 0;
        SpecVariable *variables = arena_array(build->arena, n_max, sizeof(*variables));

        if (!variables)
                return spec_refuse_memory(build);
        int r = spec_collect_env(build, variables, &n);
        if (r)
                return r;
        n = spec_variables_merge(variables, n);
        process->env = arena_array(build->arena, n, sizeof(*process->env));
        if (!process->env)
                return spec_refuse_memory(build);
        for (size_t i = 0; i < n; i++)
                process->env[i] = (ProtobufCBinaryData){.data = (uint8_t *)variables[i].bytes, .len = variables[i].n};
        process->n_env = n;
        return 0;
}

/* A directory in /proc can be one of the host's, through a file descriptor that a runtime forgot (CVE-2024-21626). */
static int spec_build_cwd(SpecBuild *build)
{
        const char *asked = build->input->request->config->working_dir, *whose = "the request";
        char path[PATH_CLEAN_MAX];

        if (str_is_empty(asked)) {
                asked = build->input->image->working_dir;
                whose = "the image";
        }
        if (str_is_empty(asked))
                asked = "/";
        if (!path_clean(path, asked))
                return spec_refuse(build->input, build->failure,
                                   "working directory \"%.200s\" of %s is not an absolute path without \"..\"", asked, whose);
        if (path_clean_is_beneath(path, "/proc"))
                return spec_refuse(build->input, build->failure, "working directory \"%.200s\" of %s lies in /proc", asked,
                                   whose);
        build->spec->process->cwd = arena_text(build->arena, path);
        return build->spec->process->cwd ? 0 : spec_refuse_memory(build);
}

int spec_build_process(SpecBuild *build)
{
        const Runtime__V1__LinuxContainerResources *resources = spec_resources(build->input);
        ProcessSpec *process = build->spec->process;

        int r = spec_build_args(build);
        if (r == 0)
                r = spec_build_env(build);
        if (r == 0)
                r = spec_build_cwd(build);
        if (r)
                return r;
        process->terminal = build->input->request->config->tty;
        process->no_new_privileges = spec_context(build->input)->no_new_privs;
        process->has_oom_score_adj = true;
        process->oom_score_adj = (int32_t)MAX2(resources->oom_score_adj, (int64_t)build->input->oom_score_adj_min);
        return 0;
}
