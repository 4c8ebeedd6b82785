/* SPDX-License-Identifier: Apache-2.0 */
/* Runs only in the confined child. */

/* An operator's profile: read strictly, written anew as OCI JSON, so that the runtime never sees a byte of the file. An unknown
 * key is an error, because it may have been meant to forbid something. */

#include "services/containerd/launch/seccomp.h"

#include "lib/strings.h"

#include <stdarg.h>
#include <stdio.h>

#define SECCOMP_ERRNO_MAX 4095
#define SECCOMP_ARGUMENTS_MAX 6

typedef struct SeccompParse {
        const SeccompContext *context;
        char *why;
        size_t why_size;
} SeccompParse;

static int seccomp_malformed(SeccompParse *parse, const char *format, ...) _printf_(2, 3);
static int seccomp_malformed(SeccompParse *parse, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        (void)vsnprintf(parse->why, parse->why_size, format, args);
        va_end(args);
        return SECCOMP_E_MALFORMED;
}

static bool seccomp_is_one_of(const char *s, const char *const *list)
{
        for (; *list; list++)
                if (str_equal(s, *list))
                        return true;
        return false;
}

static int seccomp_check_keys(SeccompParse *parse, const json_t *object, const char *what, const char *const *known)
{
        const char *key;
        json_t *value;
        if (!json_is_object(object))
                return seccomp_malformed(parse, "%s is not an object", what);
        json_object_foreach((json_t *)(uintptr_t)object, key, value)
                if (!seccomp_is_one_of(key, known))
                        return seccomp_malformed(parse, "%s has the unknown key \"%.60s\"", what, key);
        return 0;
}

/* Copies an array of strings, each of which must pass (known may be NULL). An absent one is empty. */
static int seccomp_copy_strings(SeccompParse *parse, const json_t *array, const char *what, const char *const *known, json_t *to)
{
        size_t i;
        json_t *value;
        if (!array || json_is_null(array))
                return 0;
        if (!json_is_array(array))
                return seccomp_malformed(parse, "%s is not an array", what);
        json_array_foreach(array, i, value) {
                if (!json_is_string(value) || str_is_empty(json_string_value(value)))
                        return seccomp_malformed(parse, "%s[%zu] is not a string", what, i);
                if (known && !seccomp_is_one_of(json_string_value(value), known))
                        return seccomp_malformed(parse, "%s[%zu]: \"%.60s\" is unknown", what, i, json_string_value(value));
                if (json_array_append(to, value) < 0)
                        return -ENOMEM;
        }
        return 0;
}

/* NOTIFY is left out: it needs a listener on the host. */
static int seccomp_action(SeccompParse *parse, const json_t *value, const char *what, json_t *to, const char *key)
{
        static const char *const known[] = {"SCMP_ACT_KILL",  "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP",
                                            "SCMP_ACT_ERRNO", "SCMP_ACT_TRACE",        "SCMP_ACT_ALLOW",       "SCMP_ACT_LOG",
                                            NULL};
        const char *action = json_string_value(value);
        if (!action || !seccomp_is_one_of(action, known))
                return seccomp_malformed(parse, "%s: the action \"%.60s\" is missing, unknown or not supported", what,
                                         action ? action : "");
        return json_object_set_new(to, key, json_string(action)) < 0 ? -ENOMEM : 0;
}

/* A number, and (containers-common) the same as a name; the number wins. */
static int seccomp_errno(SeccompParse *parse, const json_t *number, const json_t *name, const char *what, json_t *to,
                         const char *key)
{
        static const struct {
                const char *name;
                int number;
        } names[] = {{"EPERM", EPERM}, {"ENOSYS", ENOSYS}, {"EACCES", EACCES}, {"EINVAL", EINVAL}, {"ENOTSUP", ENOTSUP},
                     {"ENOENT", ENOENT}, {"EAFNOSUPPORT", EAFNOSUPPORT}};
        json_int_t value = -1;
        if (number && !json_is_null(number)) {
                if (!json_is_integer(number))
                        return seccomp_malformed(parse, "%s: its error number is not an integer", what);
                value = json_integer_value(number);
        } else if (name && !json_is_null(name)) {
                for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                        if (str_equal(json_string_value(name), names[i].name))
                                value = names[i].number;
        } else {
                return 0;
        }
        if (value < 0 || value > SECCOMP_ERRNO_MAX)
                return seccomp_malformed(parse, "%s: its error number is unknown or out of range", what);
        return json_object_set_new(to, key, json_integer(value)) < 0 ? -ENOMEM : 0;
}

static int seccomp_argument(SeccompParse *parse, const json_t *argument, const char *what, json_t *to)
{
        static const char *const keys[] = {"index", "value", "valueTwo", "op", NULL};
        static const char *const ops[] = {"SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE",        "SCMP_CMP_EQ",
                                          "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ", NULL};
        int r = seccomp_check_keys(parse, argument, what, keys);
        if (r)
                return r;
        const json_t *index = json_object_get(argument, "index"), *value = json_object_get(argument, "value");
        const json_t *two = json_object_get(argument, "valueTwo");
        const char *op = json_string_value(json_object_get(argument, "op"));
        if (!json_is_integer(index) || json_integer_value(index) < 0 || json_integer_value(index) >= SECCOMP_ARGUMENTS_MAX)
                return seccomp_malformed(parse, "%s: its index is not 0 to 5", what);
        if (!json_is_integer(value) || (two && !json_is_null(two) && !json_is_integer(two)))
                return seccomp_malformed(parse, "%s: a value is not an integer below 2^63", what);
        if (!op || !seccomp_is_one_of(op, ops))
                return seccomp_malformed(parse, "%s: its op is missing or unknown", what);
        return json_array_append_new(to, json_pack("{s:I,s:I,s:I,s:s}", "index", json_integer_value(index), "value",
                                                   json_integer_value(value), "valueTwo", json_integer_value(two), "op",
                                                   op)) < 0 ? -ENOMEM : 0;
}

static int seccomp_kernel_version(SeccompParse *parse, const json_t *value, const char *what, uint32_t *ret)
{
        uint64_t major = 0, minor = 0;
        char head[8];
        const char *text = json_string_value(value), *dot = text ? strchr(text, '.') : NULL;
        size_t n = dot ? (size_t)(dot - text) : 0;
        if (n == 0 || n >= sizeof(head))
                return seccomp_malformed(parse, "%s: its minKernel is not \"major.minor\"", what);
        memcpy(head, text, n);
        head[n] = '\0';
        if (!u64_parse(head, UINT16_MAX, &major) || !u64_parse(dot + 1, UINT16_MAX, &minor))
                return seccomp_malformed(parse, "%s: its minKernel is not \"major.minor\"", what);
        *ret = (uint32_t)(major << 16 | minor);
        return 0;
}

/* Does an includes or excludes object hold here? Of capabilities: every one (includes), any one (excludes). */
static int seccomp_condition(SeccompParse *parse, const json_t *condition, const char *what, bool is_exclude, bool *ret)
{
        static const char *const keys[] = {"caps", "arches", "minKernel", NULL};
        const json_t *caps = json_object_get(condition, "caps"), *arches = json_object_get(condition, "arches");
        const json_t *min_kernel = json_object_get(condition, "minKernel");
        size_t i;
        json_t *value;
        int r = seccomp_check_keys(parse, condition, what, keys);
        if (r)
                return r;
        if ((caps && !json_is_null(caps) && !json_is_array(caps)) || (arches && !json_is_null(arches) && !json_is_array(arches)))
                return seccomp_malformed(parse, "%s: caps and arches are arrays", what);

        size_t n_held = 0, n_arches = 0;
        json_array_foreach(caps, i, value) {
                CapabilitySet one = 0;
                if (!json_is_string(value) || !capability_set_add(&one, json_string_value(value)))
                        return seccomp_malformed(parse, "%s: caps[%zu] is not a capability", what, i);
                n_held += (one & parse->context->capabilities) != 0;
        }
        json_array_foreach(arches, i, value) {
                if (!json_is_string(value))
                        return seccomp_malformed(parse, "%s: arches[%zu] is not a string", what, i);
                n_arches += str_equal(json_string_value(value), seccomp_architecture_go);
        }
        bool kernel_is_new = false;
        if (min_kernel && !json_is_null(min_kernel)) {
                uint32_t version = 0;
                r = seccomp_kernel_version(parse, min_kernel, what, &version);
                if (r)
                        return r;
                kernel_is_new = parse->context->kernel_version >= version;
        }
        if (is_exclude)
                *ret = n_held > 0 || n_arches > 0 || kernel_is_new;
        else
                *ret = n_held == json_array_size(caps) && (json_array_size(arches) == 0 || n_arches > 0) &&
                       (!min_kernel || json_is_null(min_kernel) || kernel_is_new);
        return 0;
}

static int seccomp_applies(SeccompParse *parse, const json_t *rule, const char *what, bool *ret)
{
        const json_t *includes = json_object_get(rule, "includes"), *excludes = json_object_get(rule, "excludes");
        bool included = true, excluded = false;
        int r = 0;
        if (includes && !json_is_null(includes))
                r = seccomp_condition(parse, includes, what, false, &included);
        if (r == 0 && excludes && !json_is_null(excludes))
                r = seccomp_condition(parse, excludes, what, true, &excluded);
        *ret = included && !excluded;
        return r;
}

static int seccomp_rule(SeccompParse *parse, const json_t *rule, size_t number, json_t *to)
{
        static const char *const keys[] = {"names",    "name",     "action",  "args", "errnoRet", "errno",
                                           "includes", "excludes", "comment", NULL};
        char what[48];
        (void)snprintf(what, sizeof(what), "syscalls[%zu]", number);
        bool applies = false;
        int r = seccomp_check_keys(parse, rule, what, keys);
        if (r == 0)
                r = seccomp_applies(parse, rule, what, &applies);
        if (r)
                return r;

        json_t *names = json_array(), *args = json_array();
        json_t *out = json_pack("{s:o,s:o}", "names", names, "args", args);
        if (!out)
                return -ENOMEM;
        const json_t *name = json_object_get(rule, "name"), *given = json_object_get(rule, "args");
        r = seccomp_copy_strings(parse, json_object_get(rule, "names"), what, NULL, names);
        if (r == 0 && name && !json_is_null(name)) {
                if (!json_is_string(name) || json_array_size(names) > 0)
                        r = seccomp_malformed(parse, "%s: it has both name and names, or a name that is not a string", what);
                else
                        r = json_array_append(names, (json_t *)(uintptr_t)name) < 0 ? -ENOMEM : 0;
        }
        if (r == 0 && json_array_size(names) == 0)
                r = seccomp_malformed(parse, "%s: it names no system call", what);
        if (r == 0)
                r = seccomp_action(parse, json_object_get(rule, "action"), what, out, "action");
        if (r == 0)
                r = seccomp_errno(parse, json_object_get(rule, "errnoRet"), json_object_get(rule, "errno"), what, out, "errnoRet");
        if (r == 0 && given && !json_is_null(given) && !json_is_array(given))
                r = seccomp_malformed(parse, "%s: args is not an array", what);
        for (size_t i = 0; r == 0 && i < json_array_size(given); i++)
                r = seccomp_argument(parse, json_array_get(given, i), what, args);
        if (r == 0 && applies)
                r = json_array_append(to, out) < 0 ? -ENOMEM : 0;
        json_decref(out);
        return r;
}

/* archMap: the entry of this machine; without one, this machine's own architecture. */
static int seccomp_arch_map(SeccompParse *parse, const json_t *map, json_t *to)
{
        static const char *const keys[] = {"architecture", "subArchitectures", NULL};
        size_t i;
        json_t *entry;
        if (!json_is_array(map))
                return seccomp_malformed(parse, "archMap is not an array");
        json_array_foreach(map, i, entry) {
                int r = seccomp_check_keys(parse, entry, "archMap", keys);
                if (r)
                        return r;
                const json_t *name = json_object_get(entry, "architecture");
                if (!json_is_string(name))
                        return seccomp_malformed(parse, "archMap[%zu] names no architecture", i);
                if (!str_equal(json_string_value(name), seccomp_architectures[0]))
                        continue;
                if (json_array_append(to, (json_t *)(uintptr_t)name) < 0)
                        return -ENOMEM;
                return seccomp_copy_strings(parse, json_object_get(entry, "subArchitectures"), "subArchitectures", NULL, to);
        }
        return json_array_append_new(to, json_string(seccomp_architectures[0])) < 0 ? -ENOMEM : 0;
}

static int seccomp_profile(SeccompParse *parse, const json_t *root, json_t *to)
{
        static const char *const keys[] = {"defaultAction", "defaultErrnoRet", "defaultErrno", "architectures", "archMap",
                                           "flags",         "syscalls",        "comment",      NULL};
        static const char *const flags[] = {"SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG",
                                            "SECCOMP_FILTER_FLAG_SPEC_ALLOW", NULL};
        int r = seccomp_check_keys(parse, root, "the profile", keys);
        if (r)
                return r;
        const json_t *rules = json_object_get(root, "syscalls"), *map = json_object_get(root, "archMap");
        const json_t *architectures = json_object_get(root, "architectures"), *given_flags = json_object_get(root, "flags");
        json_t *out_rules = json_array(), *out_architectures = json_array(), *out_flags = json_array();
        if (json_object_set_new(to, "architectures", out_architectures) < 0 || json_object_set_new(to, "syscalls", out_rules) < 0 ||
            json_object_set_new(to, "flags", out_flags) < 0)
                return -ENOMEM;

        r = seccomp_action(parse, json_object_get(root, "defaultAction"), "defaultAction", to, "defaultAction");
        if (r == 0)
                r = seccomp_errno(parse, json_object_get(root, "defaultErrnoRet"), json_object_get(root, "defaultErrno"),
                                  "defaultErrnoRet", to, "defaultErrnoRet");
        if (r == 0 && map && !json_is_null(map) && json_array_size(architectures) > 0)
                r = seccomp_malformed(parse, "it has both architectures and archMap");
        if (r == 0)
                r = map && !json_is_null(map) ? seccomp_arch_map(parse, map, out_architectures)
                                              : seccomp_copy_strings(parse, architectures, "architectures", NULL, out_architectures);
        if (r == 0)
                r = seccomp_copy_strings(parse, given_flags, "flags", flags, out_flags);
        if (r == 0 && rules && !json_is_null(rules) && !json_is_array(rules))
                r = seccomp_malformed(parse, "syscalls is not an array");
        for (size_t i = 0; r == 0 && i < json_array_size(rules); i++)
                r = seccomp_rule(parse, json_array_get(rules, i), i, out_rules);
        /* Runtimes of Debian 12 do not take an empty list. */
        if (r == 0 && json_array_size(out_flags) == 0)
                (void)json_object_del(to, "flags");
        if (r == 0 && json_array_size(out_architectures) == 0)
                (void)json_object_del(to, "architectures");
        return r;
}

int seccomp_parse(const char *text, size_t n, const SeccompContext *context, json_t **ret, char *why, size_t why_size)
{
        SeccompParse parse = {.context = context, .why = why, .why_size = why_size};
        json_error_t error;
        if (n > SECCOMP_PROFILE_BYTES_MAX)
                return seccomp_malformed(&parse, "it is larger than %d bytes", SECCOMP_PROFILE_BYTES_MAX);
        json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
        if (!root)
                return seccomp_malformed(&parse, "line %d: %.100s", error.line, error.text);
        json_t *profile = json_object();
        int r = profile ? seccomp_profile(&parse, root, profile) : -ENOMEM;
        json_decref(root);
        if (r) {
                json_decref(profile);
                return r;
        }
        *ret = profile;
        return 0;
}
