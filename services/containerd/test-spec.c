/* SPDX-License-Identifier: Apache-2.0 */

/* Tables of what a request, a pod and an image make of a spec: the process, its user, its namespaces. */

#include "services/containerd/test-spec-world.h"

/* Kubernetes' table of command, args, entrypoint and cmd. */
static void test_args(void)
{
        static const struct {
                const char *command, *args, *entrypoint, *cmd, *wanted;
        } rows[] = {
                {"", "", "entry", "cmd", "entry|cmd"},     {"", "a|b", "entry", "cmd", "entry|a|b"},
                {"c", "", "entry", "cmd", "c"},            {"c", "a", "entry", "cmd", "c|a"},
                {"", "", "", "cmd|x", "cmd|x"},            {"", "a", "", "cmd", "a"},
                {"", "", "entry|-x", "", "entry|-x"},
        };

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                char text[4][64], *parts[4][8], joined[256];
                World w;
                world_init(&w);
                (void)str_copy(text[0], 64, rows[i].command);
                (void)str_copy(text[1], 64, rows[i].args);
                (void)str_copy(text[2], 64, rows[i].entrypoint);
                (void)str_copy(text[3], 64, rows[i].cmd);
                w.config.command = parts[0], w.config.n_command = split(parts[0], text[0]);
                w.config.args = parts[1], w.config.n_args = split(parts[1], text[1]);
                w.image.entrypoint = parts[2], w.image.n_entrypoint = split(parts[2], text[2]);
                w.image.cmd = parts[3], w.image.n_cmd = split(parts[3], text[3]);
                world_compose(&w);
                assert_eq_str(join(w.spec->process->args, w.spec->process->n_args, joined, sizeof(joined)), rows[i].wanted);
                world_done(&w);
        }
        World w;
        world_init(&w);
        w.config.n_command = 0;
        world_refuse(&w, GRPC_STATUS_INVALID_ARGUMENT, "give a command");
        world_done(&w);
}

static const char *env_of(const World *w, const char *key, char *to, size_t size)
{
        const ProcessSpec *process = w->spec->process;
        size_t n = strlen(key), found = 0;

        to[0] = '\0';
        for (size_t i = 0; i < process->n_env; i++)
                if (process->env[i].len > n && memcmp(process->env[i].data, key, n) == 0 && process->env[i].data[n] == '=') {
                        (void)snprintf(to, size, "%.*s", (int)(process->env[i].len - n - 1), process->env[i].data + n + 1);
                        found++;
                }
        if (found > 1)
                test_fail("%s is there %zu times", key, found);
        return found ? to : NULL;
}

static void test_env(void)
{
        static const char *const image[] = {"A=1", "B=image", "PATH=/image", "SECRET", "", "=x", "*", "C=", "A=2"};
        ProtobufCBinaryData entries[ARRAY_SIZE(image)];
        Runtime__V1__KeyValue b = RUNTIME__V1__KEY_VALUE__INIT, odd = RUNTIME__V1__KEY_VALUE__INIT, *envs[] = {&b, &odd};
        char text[64];
        World w;

        world_init(&w);
        for (size_t i = 0; i < ARRAY_SIZE(image); i++)
                entries[i] = (ProtobufCBinaryData){.data = (uint8_t *)image[i], .len = strlen(image[i])};
        w.image.env = entries;
        w.image.n_env = ARRAY_SIZE(image);
        b.key = (char *)"B";
        b.value = (ProtobufCBinaryData){.data = (uint8_t *)"request", .len = 7};
        odd.key = (char *)"ODD";
        odd.value = (ProtobufCBinaryData){.data = (uint8_t *)"\xff=\n", .len = 3};
        w.config.envs = envs;
        w.config.n_envs = 2;
        w.config.tty = true;
        w.user.home = (char *)"/home/x";
        world_compose(&w);
        assert_eq_str(env_of(&w, "A", text, sizeof(text)), "2");
        assert_eq_str(env_of(&w, "B", text, sizeof(text)), "request");
        assert_eq_str(env_of(&w, "C", text, sizeof(text)), "");
        assert_eq_str(env_of(&w, "PATH", text, sizeof(text)), "/image");
        assert_eq_str(env_of(&w, "HOME", text, sizeof(text)), "/home/x");
        assert_eq_str(env_of(&w, "TERM", text, sizeof(text)), "xterm");
        assert_eq_str(env_of(&w, "HOSTNAME", text, sizeof(text)), "pod-host");
        assert_eq_str(env_of(&w, "ODD", text, sizeof(text)), "\xff=\n");
        /* What is no KEY=value is gone, and brought nothing with it. */
        assert_eq_int(w.spec->process->n_env, 8);
        world_done(&w);

        static const struct {
                const char *key;
                size_t n_value;
                const char *word;
        } wrong[] = {{"", 1, "env name"}, {"A=B", 1, "env name"}, {"NUL", 2, "NUL"}};
        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
                world_init(&w);
                b.key = (char *)wrong[i].key;
                b.value = (ProtobufCBinaryData){.data = (uint8_t *)"x\0", .len = wrong[i].n_value};
                w.config.envs = envs;
                w.config.n_envs = 1;
                world_refuse(&w, GRPC_STATUS_INVALID_ARGUMENT, wrong[i].word);
                world_done(&w);
        }
}

/* The time is linear in the image's variables, whatever their names: V003's cousin. */
static void test_env_of_many(void)
{
        enum { N = 60000 };
        _cleanup_free_ ProtobufCBinaryData *entries = calloc(N, sizeof(*entries));
        World w;

        world_init(&w);
        for (size_t i = 0; i < N; i++) {
                char *text = arena_print(&w.arena, "K%zu=%zu", i / 2, i);
                entries[i] = (ProtobufCBinaryData){.data = (uint8_t *)text, .len = strlen(text)};
        }
        w.image.env = entries;
        w.image.n_env = N;
        world_compose(&w);
        assert_eq_int(w.spec->process->n_env, N / 2 + 3);
        world_done(&w);
}

static void test_cwd(void)
{
        static const struct {
                const char *request, *image, *wanted; /* NULL: refused */
        } rows[] = {
                {"", "", "/"}, {"", "/srv", "/srv"}, {"/x//y/./", "/srv", "/x/y"}, {"", "srv", NULL}, {"x", "", NULL},
                {"/a/../b", "", NULL}, {"/proc/self/fd/7", "", NULL}, {"", "/proc/self/fd/7", NULL}, {"/./proc", "", NULL},
                {"/procession", "", "/procession"},
        };

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                World w;
                world_init(&w);
                w.config.working_dir = (char *)rows[i].request;
                w.image.working_dir = (char *)rows[i].image;
                if (rows[i].wanted) {
                        world_compose(&w);
                        assert_eq_str(w.spec->process->cwd, rows[i].wanted);
                } else {
                        world_refuse(&w, GRPC_STATUS_INVALID_ARGUMENT, "working directory");
                }
                world_done(&w);
        }
}

static void test_user_choice(void)
{
        static const struct {
                int64_t uid, gid; /* -2: not set */
                const char *username, *image, *wanted; /* NULL: refused */
        } rows[] = {
                {-2, -2, "", "", ""},
                {-2, -2, "", "1000", "1000"},
                {-2, -2, "", "1000:50", "1000:50"},
                {-2, -2, "", "www-data", "www-data"},
                {-2, -2, "", "www-data:staff", "www-data:staff"},
                {-2, -2, "", "1000:", "1000"},
                {-2, -2, "", ":50", "0:50"},
                {-2, -2, "", ":", ""},
                {33, -2, "", "root", "33"},
                {33, 5, "", "root", "33:5"},
                {33, -2, "nobody", "root", "33"},
                {-2, -2, "nobody", "root", "nobody"},
                {-2, 5, "nobody", "root", "nobody:5"},
                {-2, 5, "", "root", NULL},
                {-1, -2, "", "", NULL},
                {4294967296, -2, "", "", NULL},
                {2147483648, -2, "", "", NULL},
                {2147483647, -2, "", "", "2147483647"},
                {0, 4294967295, "", "", NULL},
                /* USER of an image: a number or an error, never a name that looks like one. */
                {-2, -2, "", "4294967296", NULL},
                {-2, -2, "", "2147483648:0", NULL},
                {-2, -2, "", "99999999999999999999", NULL},
                {-2, -2, "", "0x0", NULL},
                {-2, -2, "", "+0", NULL},
                {-2, -2, "", "00", NULL},
                {-2, -2, "", "-1", NULL},
                {-2, -2, "", "4294967295", NULL},
                {-2, -2, "", "1000:4294967296", NULL},
                {-2, -2, "", "a b", NULL},
                {-2, -2, "", "a:b:c", NULL},
                {-2, -2, "", "a\nb", NULL},
                {-2, -2, "", "../x", NULL},
                {-2, -2, "4294967296", "", NULL},
        };

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                Runtime__V1__Int64Value uid = RUNTIME__V1__INT64_VALUE__INIT, gid = RUNTIME__V1__INT64_VALUE__INIT;
                char chosen[SPEC_USER_MAX];
                World w;
                world_init(&w);
                uid.value = rows[i].uid;
                gid.value = rows[i].gid;
                w.context.run_as_user = rows[i].uid == -2 ? NULL : &uid;
                w.context.run_as_group = rows[i].gid == -2 ? NULL : &gid;
                w.context.run_as_username = (char *)rows[i].username;
                w.image.user = (char *)rows[i].image;
                int r = spec_user_choose(&w.input, chosen, &w.failure);
                if (rows[i].wanted) {
                        if (r != 0)
                                test_fail("row %zu: %s", i, w.failure.text);
                        assert_eq_str(chosen, rows[i].wanted);
                } else {
                        if (r == 0)
                                test_fail("row %zu: \"%s\" was taken as \"%s\"", i, rows[i].image, chosen);
                        assert_eq_int(w.failure.code, GRPC_STATUS_INVALID_ARGUMENT);
                }
                world_done(&w);
        }
}

static const char *gids_of(const ProcessSpec *process, char *to, size_t size)
{
        to[0] = '\0';
        for (size_t i = 0; i < process->n_additional_gids; i++)
                (void)snprintf(to + strlen(to), size - strlen(to), "%s%u", i ? "," : "", process->additional_gids[i]);
        return to;
}

static void test_groups(void)
{
        uint32_t image[] = {50, 60, 7};
        int64_t asked[] = {7, 8, 8}, wrong[] = {-1};
        char text[128];
        World w;

        for (int strict = 0; strict < 2; strict++) {
                world_init(&w);
                w.user.uid = 1000;
                w.user.gid = 50;
                w.user.additional_gids = image;
                w.user.n_additional_gids = ARRAY_SIZE(image);
                w.context.supplemental_groups = asked;
                w.context.n_supplemental_groups = ARRAY_SIZE(asked);
                w.context.supplemental_groups_policy = strict ? RUNTIME__V1__SUPPLEMENTAL_GROUPS_POLICY__Strict
                                                              : RUNTIME__V1__SUPPLEMENTAL_GROUPS_POLICY__Merge;
                world_compose(&w);
                /* The primary group is always in the list. */
                assert_eq_str(gids_of(w.spec->process, text, sizeof(text)), strict ? "50,7,8" : "50,7,8,60");
                assert_eq_int(w.spec->process->uid, 1000);
                world_done(&w);
        }
        world_init(&w);
        w.context.supplemental_groups = wrong;
        w.context.n_supplemental_groups = 1;
        world_refuse(&w, GRPC_STATUS_INVALID_ARGUMENT, "supplemental_groups");
        world_done(&w);
}

static void test_reserved_users(void)
{
        static const struct {
                int64_t uid;
                uint32_t base;
                bool refused;
        } rows[] = {{1879048191, 0, false}, {1879048192, 0, true}, {1879048192 + 65535, 0, true}, {1879048192 + 65536, 0, false},
                    {5, 1879048192, true}, {5, 100000, false}};

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                Runtime__V1__Int64Value uid = RUNTIME__V1__INT64_VALUE__INIT;
                World w;
                world_init(&w);
                uid.value = rows[i].uid;
                w.context.run_as_user = &uid;
                if (rows[i].base)
                        world_set_userns(&w, rows[i].base, 65536);
                if (rows[i].refused)
                        world_refuse(&w, GRPC_STATUS_INVALID_ARGUMENT, "reserved");
                else
                        world_compose(&w);
                world_done(&w);
        }
}

/* Who names a map names the pod's; volumes have it, or none. */
static void test_user_namespaces(void)
{
        static const struct {
                const char *word; /* NULL: it is made */
                bool pod, pod_lies, container, other, node, host_pid, volume, other_volume, shared;
        } rows[] = {
                {NULL, .pod = true},
                {NULL, .pod = true, .container = true},
                {NULL, .pod = true, .container = true, .volume = true},
                {"sandbox_config", .pod = true, .pod_lies = true},
                {"mapping is not the pod's", .pod = true, .container = true, .other = true},
                {"says NODE", .pod = true, .container = true, .node = true},
                {"says POD", .container = true},
                {NULL, .container = true, .node = true},
                {"pid namespace NODE", .pod = true, .host_pid = true},
                {"uidMappings", .pod = true, .volume = true, .other_volume = true},
                {"uidMappings", .volume = true},
                {"BIDIRECTIONAL", .pod = true, .volume = true, .shared = true},
        };

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                Runtime__V1__UserNamespace user = RUNTIME__V1__USER_NAMESPACE__INIT;
                Runtime__V1__IDMapping map = RUNTIME__V1__IDMAPPING__INIT, *maps[] = {&map}, volume_map, *volume_maps[] = {&volume_map};
                Runtime__V1__Mount mount = RUNTIME__V1__MOUNT__INIT, *mounts[] = {&mount};
                World w;
                world_init(&w);
                if (rows[i].pod)
                        world_set_userns(&w, 100000, 65536);
                if (rows[i].pod_lies)
                        w.input.userns_host_id = 300000;
                map.host_id = rows[i].other ? 200000 : 100000;
                map.length = 65536;
                volume_map = map;
                volume_map.length -= rows[i].other_volume;
                user.mode = rows[i].node ? RUNTIME__V1__NAMESPACE_MODE__NODE : RUNTIME__V1__NAMESPACE_MODE__POD;
                user.uids = user.gids = maps;
                user.n_uids = user.n_gids = 1;
                w.options.userns_options = rows[i].container ? &user : NULL;
                if (rows[i].host_pid)
                        w.options.pid = RUNTIME__V1__NAMESPACE_MODE__NODE;
                mount.container_path = mount.host_path = (char *)"/v";
                mount.propagation = rows[i].shared ? RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_BIDIRECTIONAL
                                                   : RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_PRIVATE;
                mount.uidmappings = mount.gidmappings = volume_maps;
                mount.n_uidmappings = mount.n_gidmappings = 1;
                w.config.mounts = mounts;
                w.config.n_mounts = rows[i].volume;
                if (rows[i].word)
                        world_refuse(&w, GRPC_STATUS_INVALID_ARGUMENT, rows[i].word);
                else
                        world_compose(&w);
                for (size_t k = 0; !rows[i].word && k < w.spec->n_mounts; k++)
                        assert_eq_int(w.spec->mounts[k]->mapped, str_equal(w.spec->mounts[k]->destination, "/v"));
                world_done(&w);
        }
}

static void test_namespaces(void)
{
        static const struct {
                int pid;
                uint32_t pod, wanted;
                const char *pin;
        } rows[] = {
                {1, 0, 0, "bh-pin"},
                {0, PERMIT_FLAG_POD_PID, PERMIT_FLAG_POD_PID, "bh-pin"},
                {0, 0, 0, "bh-pin"}, /* the pod has none: its own is less */
                {2, PERMIT_FLAG_HOST_PID, PERMIT_FLAG_HOST_PID, "bh-pin"},
                {1, PERMIT_FLAG_HOST_NETWORK | PERMIT_FLAG_HOST_IPC, PERMIT_FLAG_HOST_NETWORK | PERMIT_FLAG_HOST_IPC, ""},
                {1, PERMIT_FLAG_PRIVILEGED | PERMIT_FLAG_TTY, 0, "bh-pin"},
        };

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                World w;
                world_init(&w);
                w.options.pid = (Runtime__V1__NamespaceMode)rows[i].pid;
                w.input.pod_namespaces = rows[i].pod;
                world_compose(&w);
                assert_eq_int(w.spec->namespaces, rows[i].wanted);
                assert_eq_str(w.spec->network_pin, rows[i].pin);
                assert_eq_str(w.spec->hostname, rows[i].pod & PERMIT_FLAG_HOST_NETWORK ? "" : "pod-host");
                world_done(&w);
        }
}

static void test_requests_that_are_refused(void)
{
        static const struct {
                const char *name, *image, *log_path, *cgroup_parent, *word;
        } rows[] = {
                {"", "i", "", "/p", "metadata.name"},     {" ", "i", "", "/p", "metadata.name"},
                {"a\nb", "i", "", "/p", "metadata.name"}, {"a", "", "", "/p", "config.image.image"},
                {"a", "i", "/abs.log", "/p", "log_path"}, {"a", "i", "../x", "/p", "log_path"},
                {"a", "i", "a/../../b", "/p", "log_path"}, {"a", "i", "a/..", "/p", "log_path"},
                {"a", "i", "", "p", "cgroup_parent"},     {"a", "i", "", "/p/../..", "cgroup_parent"},
        };

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                World w;
                world_init(&w);
                w.metadata.name = (char *)rows[i].name;
                w.image_spec.image = (char *)rows[i].image;
                w.config.log_path = (char *)rows[i].log_path;
                w.input.cgroup_parent = rows[i].cgroup_parent;
                world_refuse(&w, GRPC_STATUS_INVALID_ARGUMENT, rows[i].word);
                world_done(&w);
        }
        Runtime__V1__CDIDevice cdi = RUNTIME__V1__CDIDEVICE__INIT, *cdis[] = {&cdi};
        World w;
        world_init(&w);
        cdi.name = (char *)"vendor/class=x";
        w.config.cdi_devices = cdis;
        w.config.n_cdi_devices = 1;
        world_compose(&w);
        assert_eq_int(w.spec->n_cdi_devices, 1);
        assert_eq_str(w.spec->cdi_devices[0], "vendor/class=x");
        world_done(&w);
        world_init(&w);
        w.request.config = NULL;
        assert_eq_int(spec_check_request(&w.input, &w.failure), FAILURE_E_SET);
        world_done(&w);
}

int main(void)
{
        TEST_RUN(test_args);
        TEST_RUN(test_env);
        TEST_RUN(test_env_of_many);
        TEST_RUN(test_cwd);
        TEST_RUN(test_user_choice);
        TEST_RUN(test_groups);
        TEST_RUN(test_reserved_users);
        TEST_RUN(test_user_namespaces);
        TEST_RUN(test_namespaces);
        TEST_RUN(test_requests_that_are_refused);
        return 0;
}
