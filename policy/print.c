/* SPDX-License-Identifier: Apache-2.0 */

/* The table in other shapes: what the documentation, deploy/ and the manifest test are made of or compared with.
 * usage: policy-print json | markdown | sysusers | tmpfiles | target | control | unit PROCESS */

#include "lib/strings.h"
#include "policy/directories.h"
#include "policy/print.h"
#include "policy/rules-compile.h"
#include <cap-ng.h>
#include <sched.h>
#include <stdio.h>

#define PRINT_USER_BASE UINT32_C(1879048192)

static const char *print_kind(PolicyId id)
{
        static const char *const names[] = {"brain", "hand", "spawner"};
        return id < (PolicyId)PROCESS_N ? names[topology_processes[id].kind] : "child";
}

void print_capabilities(const PolicyRow *row, const char *prefix, const char *separator)
{
        const char *before = "";

        for (unsigned int i = 0; i < 64; i++) {
                char name[32];
                const char *known = capng_capability_to_name(i);

                if (!(row->capabilities & UINT64_C(1) << i) || !known)
                        continue;
                (void)str_copy(name, sizeof(name), known);
                for (char *p = name; *p; p++)
                        *p = (char)(*p >= 'a' && *p <= 'z' ? *p - 'a' + 'A' : *p);
                printf("%s%s%s", before, prefix, name);
                before = separator;
        }
}

static void print_json_list(const char *key, bool (*has)(const PolicyRow *row, size_t i, char to[CONFIG_PATH_MAX * 2]),
                            const PolicyRow *row, size_t n)
{
        const char *comma = "";
        char text[CONFIG_PATH_MAX * 2];

        printf(", \"%s\": [", key);
        for (size_t i = 0; i < n; i++)
                if (has(row, i, text)) {
                        printf("%s\"%s\"", comma, text);
                        comma = ", ";
                }
        printf("]");
}

static bool row_namespace(const PolicyRow *row, size_t i, char to[CONFIG_PATH_MAX * 2])
{
        static const struct {
                const char *name;
                int flag;
        } all[] = {{"net", CLONE_NEWNET}, {"ipc", CLONE_NEWIPC}, {"uts", CLONE_NEWUTS}, {"mnt", CLONE_NEWNS}};
        int made = row->namespaces | (row->root == POLICY_ROOT_FRESH ? CLONE_NEWNS : 0);

        return i < ARRAY_SIZE(all) && made & all[i].flag && str_copy(to, CONFIG_PATH_MAX, all[i].name);
}

/* Where the process sees a mount, with STATE and RUNTIME in the place of the configured directories. */
static bool row_mount(const PolicyRow *row, size_t i, char to[CONFIG_PATH_MAX * 2])
{
        static const ConfigCommon config = {.state_dir = "STATE", .runtime_dir = "RUNTIME"};

        return row->directories[i].place != POLICY_PLACE_EMPTY && policy_directory_target(row, i, &config, to) == 0;
}

static size_t row_n_mounts(const PolicyRow *row)
{
        size_t n = 0;
        while (row->directories[n].place != POLICY_PLACE_NONE)
                n++;
        return n;
}

static void print_json(void)
{
        printf("[\n");
        for (PolicyId id = 0; id < POLICY_N; id++) {
                const PolicyRow *row = &policy_rows[id];
                size_t n_edges = 0;

                for (EdgeId e = 0; e < EDGE_N && id < (PolicyId)PROCESS_N; e++)
                        n_edges += topology_edges[e].how == EDGE_HOW_WIRED && ((PolicyId)topology_edges[e].ends[0] == id ||
                                                                               (PolicyId)topology_edges[e].ends[1] == id);
                printf("{\"name\": \"%s\", \"kind\": \"%s\", \"confined\": %s, \"process\": %d, \"user\": \"%s\", "
                       "\"capabilities\": %llu, \"files\": %u, \"edges\": %zu, \"state\": %s, \"fresh_root\": %s",
                       row->name, print_kind(id), row->confined ? "true" : "false", row->process,
                       row->user == POLICY_USER_ROOT  ? "root"
                       : row->user == POLICY_USER_OWN ? "own"
                                                      : "given",
                       (unsigned long long)row->capabilities, row->n_files, n_edges, policy_has_state(id) ? "true" : "false",
                       row->root == POLICY_ROOT_FRESH ? "true" : "false");
                print_json_list("namespaces", row_namespace, row, 4);
                print_json_list("mounts", row_mount, row, row_n_mounts(row));
                printf("}%s\n", id + 1 < POLICY_N ? "," : "");
        }
        printf("]\n");
}

static void print_view(const PolicyRow *row)
{
        const char *comma = "";
        char path[CONFIG_PATH_MAX * 2];

        switch (row->root) {
        case POLICY_ROOT_HOST:
                printf("the host");
                return;
        case POLICY_ROOT_KEEP:
                printf("%s", row->landlock == POLICY_LANDLOCK_NONE ? "one tree, as its parent built it" : "as its parent, less Landlock");
                return;
        case POLICY_ROOT_EMPTY:
                printf("an empty directory");
                return;
        case POLICY_ROOT_FRESH:
                break;
        }
        for (size_t i = 0; i < row_n_mounts(row); i++)
                if (row_mount(row, i, path)) {
                        printf("%s`%s`", comma, path);
                        comma = ", ";
                }
        if (!*comma)
                printf("nothing");
}

static void print_table(void)
{
        static const char *const landlock[] = {"no", "all denied", "its directories", "TCP connects only"};

        printf("| process | kind | user | capabilities | own namespaces | sees of the file system | Landlock | system calls | why |\n"
               "|---|---|---|---|---|---|---|---|---|\n");
        for (PolicyId id = 0; id < POLICY_N; id++) {
                const PolicyRow *row = &policy_rows[id];
                const Rule *rules[RULES_MAX];
                const char *comma = "";
                char name[CONFIG_PATH_MAX * 2];

                printf("| %s | %s | ", row->name, print_kind(id));
                if (!row->confined) {
                        printf("root | all | none | the host | no | all | %s |\n", row->why);
                        continue;
                }
                if (row->user == POLICY_USER_OWN)
                        printf("base + %d", row->process);
                else
                        printf("%s", row->user == POLICY_USER_ROOT || row->capabilities ? "root" : "one of its own");
                printf(" | ");
                if (row->capabilities)
                        print_capabilities(row, "", " ");
                else
                        printf("none");
                printf(" | ");
                for (size_t i = 0; i < 4; i++)
                        if (row_namespace(row, i, name)) {
                                printf("%s%s", comma, name);
                                comma = " ";
                        }
                printf("%s | ", *comma ? "" : "none");
                print_view(row);
                printf(" | %s | %zu: ", landlock[row->landlock], rules_resolve(id, rules));
                for (size_t s = 0; s < RULE_SETS_MAX && rule_sets[id][s]; s++)
                        printf("%s%s", s ? ", " : "", rule_sets[id][s]->name);
                printf(" | %s |\n", row->why);
        }
}

static void print_rule(const Rule *rule)
{
        printf("| `%s` | ", rule->call);
        for (size_t i = 0; i < ARRAY_SIZE(rule->arguments); i++) {
                const RuleArgument *a = &rule->arguments[i];
                if (a->used && (a->mask == UINT32_MAX || a->mask == UINT64_MAX))
                        printf("%sargument %u is %#llx", i ? ", " : "", a->index, (unsigned long long)a->value);
                else if (a->used)
                        printf("%sargument %u & %#llx is %#llx", i ? ", " : "", a->index, (unsigned long long)a->mask,
                               (unsigned long long)a->value);
        }
        if (rule->action == RULE_ERRNO)
                printf(" | refused (errno %u): %s |\n", rule->error, rule->why);
        else
                printf(" | %s |\n", rule->why);
}

static void print_sets(void)
{
        const RuleSet *seen[64];
        size_t n_seen = 0;

        for (PolicyId id = 0; id < POLICY_N; id++)
                for (size_t s = 0; s < RULE_SETS_MAX && rule_sets[id][s]; s++) {
                        bool known = false;
                        for (size_t i = 0; i < n_seen; i++)
                                known = known || seen[i] == rule_sets[id][s];
                        if (known || n_seen == ARRAY_SIZE(seen))
                                continue;
                        seen[n_seen++] = rule_sets[id][s];
                        printf("\n### %s\n\n| system call | only if | why |\n|---|---|---|\n", rule_sets[id][s]->name);
                        for (size_t i = 0; i < rule_sets[id][s]->n_rules; i++)
                                print_rule(&rule_sets[id][s]->rules[i]);
                }
}

static void print_sysusers(void)
{
        printf("# Made by policy-print sysusers: the users of the processes, in a range that nobody else uses.\n"
               "g bulkhead - -\n");
        for (ProcessId p = 0; p < PROCESS_N; p++) {
                bool used = false; /* by the process itself or by a child of it */

                for (PolicyId id = 0; id < POLICY_N; id++)
                        used = used || (policy_rows[id].confined && policy_rows[id].user == POLICY_USER_OWN &&
                                        policy_rows[id].process == p);
                if (used)
                        printf("u bulkhead-%s %u \"Bulkhead %s\" - -\n", topology_processes[p].name, PRINT_USER_BASE + p,
                               topology_processes[p].name);
        }
}

static void print_tmpfiles(void)
{
        printf("# Made by policy-print tmpfiles. linkd makes the same in standalone mode, and refuses wider modes.\n");
        for (const PolicyMade *d = policy_directories; d->name; d++)
                printf("d /%s/bulkhead%s%s %04o root root -\n", d->runtime ? "run" : "var/lib", *d->name ? "/" : "", d->name,
                       d->mode);
        for (ProcessId p = 0; p < PROCESS_N; p++)
                if (policy_has_state((PolicyId)p))
                        printf("d /var/lib/bulkhead/%s 0700 %u %u -\n", topology_processes[p].name, PRINT_USER_BASE + p,
                               PRINT_USER_BASE + p);
}

int main(int argc, char **argv)
{
        const char *what = argc > 1 ? argv[1] : "";

        if (str_equal(what, "json")) {
                print_json();
        } else if (str_equal(what, "markdown")) {
                print_table();
                print_sets();
        } else if (str_equal(what, "sysusers")) {
                print_sysusers();
        } else if (str_equal(what, "tmpfiles")) {
                print_tmpfiles();
        } else if (str_equal(what, "target")) {
                print_target();
        } else if (str_equal(what, "control")) {
                print_control_socket();
        } else if (str_equal(what, "unit") && argc == 3) {
                return print_unit(argv[2]);
        } else {
                fprintf(stderr, "usage: policy-print json | markdown | sysusers | tmpfiles | target | control | unit PROCESS\n");
                return 2;
        }
        return 0;
}
