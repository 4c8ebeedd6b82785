/* SPDX-License-Identifier: Apache-2.0 */
/* Runs only in the confined child. */

/* Devices of the Container Device Interface. The request names one ("vendor.com/class=name"); files that root wrote say what it
 * needs: device nodes, mounts, environment, groups, hooks. The permit was asked for the name; what the files say is the node's own,
 * as its OCI runtime is. They are not the request's: no policy of the node about requests applies to them. */

#include "services/containerd/launch/render.h"

#include "services/containerd/launch/cdi-file.h"
#include "services/containerd/launch/path-clean.h"

#include <stdio.h>

#define CDI_FILES_MAX 256
#define CDI_NAME_MAX 256

typedef struct CdiFile {
        json_t *json;      /* owned */
        uint32_t priority; /* of its directory: a later one overrides an earlier one */
        char path[RENDER_PATH_MAX];
        bool is_applied;   /* its edits for all of its devices */
} CdiFile;

typedef struct Cdi {
        Render *render;
        CdiFile *files; /* owned */
        size_t n_files;
        char broken[512]; /* why the first unreadable file is one */
        json_t *process, *mounts, *devices, *rules, *hooks; /* borrowed; hooks: owned until there are some */
} Cdi;

static void cdi_done(Cdi *cdi)
{
        for (size_t i = 0; i < cdi->n_files; i++)
                json_decref(cdi->files[i].json);
        free(cdi->files);
        json_decref(cdi->hooks);
}

static int cdi_on_file(void *userdata, const char *path, uint32_t priority, const char *text, size_t n)
{
        Cdi *cdi = userdata;
        CdiFile *file = &cdi->files[cdi->n_files];
        char why[256] = "only root may write it, and it must be a regular file of at most 4 MiB";
        if (cdi->n_files == CDI_FILES_MAX)
                return -E2BIG;
        *file = (CdiFile){.priority = priority};
        (void)str_copy(file->path, sizeof(file->path), path);
        if (text && cdi_file_parse(path, text, n, &file->json, why, sizeof(why)) == 0)
                cdi->n_files++;
        else if (!cdi->broken[0])
                (void)snprintf(cdi->broken, sizeof(cdi->broken), "; %.200s cannot be used: %s", path, why);
        return 0;
}

static const char *cdi_text(const json_t *object, const char *key)
{
        const char *text = json_string_value(json_object_get(object, key));
        return text ? text : "";
}

/* "vendor.com/class=name" */
static bool cdi_split(const char *name, char kind[CDI_NAME_MAX], char device[CDI_NAME_MAX])
{
        static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:";
        const char *equals = strchr(name, '='), *slash = strchr(name, '/');
        if (!equals || !slash || slash > equals || slash == name || slash + 1 == equals || !equals[1] || strlen(name) >= CDI_NAME_MAX)
                return false;
        size_t n = (size_t)(equals - name);
        memcpy(kind, name, n);
        kind[n] = '\0';
        (void)str_copy(device, CDI_NAME_MAX, equals + 1);
        return strspn(device, allowed) == strlen(device) && strspn(name, allowed) == (size_t)(slash - name) &&
               strspn(slash + 1, allowed) == (size_t)(equals - slash - 1);
}

/* The one file of the highest priority that has the device. */
static int cdi_find(Cdi *cdi, const char *name, CdiFile **ret_file, const json_t **ret_device)
{
        char kind[CDI_NAME_MAX], wanted[CDI_NAME_MAX];
        CdiFile *best = NULL, *second = NULL;
        if (!cdi_split(name, kind, wanted))
                return render_refuse(cdi->render, "CDI device \"%.200s\": its name is not like vendor.com/class=name", name);
        for (size_t i = 0; i < cdi->n_files; i++) {
                CdiFile *file = &cdi->files[i];
                size_t k;
                json_t *device;
                if (!str_equal(cdi_text(file->json, "kind"), kind))
                        continue;
                json_array_foreach(json_object_get(file->json, "devices"), k, device) {
                        if (!str_equal(cdi_text(device, "name"), wanted) || (best && file->priority < best->priority))
                                continue;
                        second = best && file->priority == best->priority ? best : NULL;
                        best = file;
                        *ret_device = device;
                }
        }
        if (!best)
                return render_refuse(cdi->render, "CDI device %.200s: no file in /etc/cdi or /var/run/cdi describes it%s; install its "
                                                  "vendor's, or remove the device", name, cdi->broken);
        if (second)
                return render_refuse(cdi->render, "CDI device %.200s: %.200s and %.200s both describe it; remove one", name, best->path,
                                     second->path);
        *ret_file = best;
        return 0;
}

static int cdi_add_env(Cdi *cdi, const json_t *edits)
{
        json_t *env = json_object_get(cdi->process, "env"), *entry;
        size_t i, k;
        json_array_foreach(json_object_get(edits, "env"), i, entry) {
                const char *text = json_string_value(entry), *equals = text ? strchr(text, '=') : NULL;
                json_t *old;
                if (!equals || equals == text)
                        return render_refuse(cdi->render, "env has an entry that is not like NAME=value");
                json_array_foreach(env, k, old)
                        if (strncmp(json_string_value(old), text, (size_t)(equals - text) + 1) == 0) {
                                (void)json_array_remove(env, k);
                                break;
                        }
                if (json_array_append(env, entry) < 0)
                        return -ENOMEM;
        }
        return 0;
}

static int cdi_on_device(void *userdata, const RenderAnswer *device)
{
        *(RenderAnswer *)userdata = *device;
        return 0;
}

static int cdi_add_node(Cdi *cdi, const json_t *node)
{
        const char *path = cdi_text(node, "path"), *host = cdi_text(node, "hostPath"), *permissions = cdi_text(node, "permissions");
        RenderAnswer found = {0};
        char clean[PATH_CLEAN_MAX], type[2] = "";
        host = *host ? host : path;
        if (!path_clean(clean, path) || !path_clean(clean, host) || strspn(permissions, "rwm") != strlen(permissions))
                return render_refuse(cdi->render, "device node \"%.200s\": its paths are absolute, its permissions of r, w and m", path);
        int r = cdi->render->host->devices(cdi->render->host->userdata, host, cdi_on_device, &found);
        if (r < 0 || found.type == 0)
                return render_refuse(cdi->render, "device node %.200s: %s", host, r < 0 ? strerror(-r) : "there is none");
        type[0] = (char)found.type;
        const json_t *mode = json_object_get(node, "fileMode"), *uid = json_object_get(node, "uid"), *gid = json_object_get(node, "gid");
        json_t *made = json_pack("{s:s,s:s,s:I,s:I,s:I,s:I,s:I}", "path", path, "type", type, "major", (json_int_t)found.major, "minor",
                                 (json_int_t)found.minor, "fileMode",
                                 (mode ? json_integer_value(mode) : (json_int_t)found.mode) & 0777, "uid",
                                 uid ? json_integer_value(uid) : (json_int_t)found.uid, "gid",
                                 gid ? json_integer_value(gid) : (json_int_t)found.gid);
        json_t *rule = json_pack("{s:b,s:s,s:I,s:I,s:s}", "allow", 1, "type", type, "major", (json_int_t)found.major, "minor",
                                 (json_int_t)found.minor, "access", *permissions ? permissions : "rwm");
        return json_array_append_new(cdi->devices, made) < 0 || json_array_append_new(cdi->rules, rule) < 0 ? -ENOMEM : 0;
}

static bool cdi_mount_option_is_known(const char *option)
{
        static const char *const known[] = {"ro", "rw", "bind", "rbind", "nosuid", "nodev", "noexec", "private", "rprivate", "slave",
                                            "rslave", "relatime", "norelatime", "noatime", "nodiratime", "strictatime", "nosymfollow", "rro"};
        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
                if (str_equal(option, known[i]))
                        return true;
        return false;
}

static int cdi_add_mount(Cdi *cdi, const json_t *mount)
{
        const char *from = cdi_text(mount, "hostPath"), *to = cdi_text(mount, "containerPath"), *type = cdi_text(mount, "type");
        char clean[PATH_CLEAN_MAX];
        MountSpec spec = BULKHEAD__RUNTIME_SPEC__MOUNT_SPEC__INIT;
        json_t *option;
        size_t i;
        bool is_bind = false;
        if (!path_clean(clean, from) || !path_clean(clean, to) || str_equal(clean, "/"))
                return render_refuse(cdi->render, "mount of \"%.200s\" at \"%.200s\": give absolute paths without \"..\"", from, to);
        if (*type && !str_equal(type, "bind") && !str_equal(type, "none"))
                return render_refuse(cdi->render, "mount at %.200s: type \"%.40s\" is not bind", to, type);
        spec.destination = clean;
        int r = render_source(cdi->render, cdi->mounts, &spec, from, 0);
        json_t *options = json_array_size(cdi->mounts) > 0
                                  ? json_object_get(json_array_get(cdi->mounts, json_array_size(cdi->mounts) - 1), "options") : NULL;
        if (r)
                return r;
        /* Of its own only what the file system there does not allow: the file says the rest. */
        for (int k = 0; k < RENDER_BIND_OPTIONS; k++)
                (void)json_array_remove(options, 0);
        json_array_foreach(json_object_get(mount, "options"), i, option) {
                const char *text = json_string_value(option);
                if (!text || !cdi_mount_option_is_known(text))
                        return render_refuse(cdi->render, "mount at %.200s: option \"%.40s\" is not supported", to, text ? text : "");
                is_bind = is_bind || str_equal(text, "bind") || str_equal(text, "rbind");
                if (json_array_append(options, option) < 0)
                        return -ENOMEM;
        }
        return !is_bind && json_array_append_new(options, json_string("rbind")) < 0 ? -ENOMEM : 0;
}

static int cdi_add_hook(Cdi *cdi, const json_t *hook)
{
        static const char *const names[] = {"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"};
        const char *name = cdi_text(hook, "hookName"), *path = cdi_text(hook, "path");
        static const char *const keys[] = {"args", "env", "timeout"};
        char clean[PATH_CLEAN_MAX];
        size_t i = 0;
        while (i < ARRAY_SIZE(names) && !str_equal(names[i], name))
                i++;
        if (i == ARRAY_SIZE(names) || !path_clean(clean, path))
                return render_refuse(cdi->render, "hook \"%.80s\" at \"%.200s\": there is no such hook, or its path is not absolute", name, path);
        json_t *list = json_object_get(cdi->hooks, name), *made = json_pack("{s:s}", "path", path);
        if (!list) {
                list = json_array();
                if (json_object_set_new(cdi->hooks, name, list) < 0)
                        return -ENOMEM;
        }
        for (size_t k = 0; k < ARRAY_SIZE(keys); k++)
                if (json_object_get(hook, keys[k]) && json_object_set(made, keys[k], json_object_get(hook, keys[k])) < 0)
                        return -ENOMEM;
        return json_array_append_new(list, made) < 0 ? -ENOMEM : 0;
}

static int cdi_add_group(Cdi *cdi, const json_t *group)
{
        json_t *groups = json_object_get(json_object_get(cdi->process, "user"), "additionalGids");
        if (!json_is_integer(group) || json_integer_value(group) <= 0 || json_integer_value(group) > INT32_MAX)
                return render_refuse(cdi->render, "additionalGids has an entry that is no group");
        return json_array_append_new(groups, json_integer(json_integer_value(group))) < 0 ? -ENOMEM : 0;
}

static int cdi_apply(Cdi *cdi, const json_t *edits)
{
        static const char *const unsupported[] = {"intelRdt", "netDevices"};
        const struct {
                const char *key;
                int (*add)(Cdi *cdi, const json_t *item);
        } lists[] = {{"deviceNodes", cdi_add_node}, {"mounts", cdi_add_mount}, {"hooks", cdi_add_hook}, {"additionalGids", cdi_add_group}};
        for (size_t i = 0; i < ARRAY_SIZE(unsupported); i++)
                if (json_object_get(edits, unsupported[i]))
                        return render_refuse(cdi->render, "it needs %s, which is not supported", unsupported[i]);
        int r = cdi_add_env(cdi, edits);
        for (size_t i = 0; i < ARRAY_SIZE(lists) && r == 0; i++) {
                size_t k;
                json_t *item;
                json_array_foreach(json_object_get(edits, lists[i].key), k, item)
                        if (r == 0)
                                r = lists[i].add(cdi, item);
        }
        return r;
}

static int cdi_apply_device(Cdi *cdi, const char *name)
{
        char why[PERMIT_CHECK_TEXT_MAX];
        const json_t *device = NULL;
        CdiFile *file = NULL;
        int r = cdi_find(cdi, name, &file, &device);
        if (!file)
                return r; /* refused */
        r = file->is_applied ? 0 : cdi_apply(cdi, json_object_get(file->json, "containerEdits"));
        file->is_applied = true;
        if (r == 0)
                r = cdi_apply(cdi, json_object_get(device, "containerEdits"));
        if (r <= 0)
                return r;
        memcpy(why, cdi->render->text, sizeof(why));
        return render_refuse(cdi->render, "CDI device %.200s (%.200s): %.500s", name, file->path, why);
}

int render_cdi(Render *render, json_t *config)
{
        const RuntimeSpec *spec = render->spec;
        json_t *section = json_object_get(config, "linux");
        _cleanup_(cdi_done) Cdi cdi = {
                .render = render,
                .process = json_object_get(config, "process"),
                .mounts = json_object_get(config, "mounts"),
                .devices = json_object_get(section, "devices"),
                .rules = json_object_get(json_object_get(section, "resources"), "devices"),
        };
        if (spec->n_cdi_devices == 0)
                return 0;
        cdi.files = calloc(CDI_FILES_MAX + 1, sizeof(*cdi.files));
        cdi.hooks = json_object();
        if (!cdi.files || !cdi.hooks)
                return -ENOMEM;
        int r = render->host->cdi_files(render->host->userdata, cdi_on_file, &cdi);
        if (r < 0)
                return render_refuse(render, "CDI devices: the files in /etc/cdi and /var/run/cdi cannot be read: %s", strerror(-r));
        for (size_t i = 0; i < spec->n_cdi_devices && r == 0; i++) {
                bool is_known = false;
                for (size_t k = 0; k < i; k++)
                        is_known = is_known || str_equal(spec->cdi_devices[k], spec->cdi_devices[i]);
                r = is_known ? 0 : cdi_apply_device(&cdi, spec->cdi_devices[i]);
        }
        if (r == 0 && json_object_size(cdi.hooks) > 0)
                r = json_object_set(config, "hooks", cdi.hooks) < 0 ? -ENOMEM : 0;
        return r;
}
