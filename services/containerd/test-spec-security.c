/* SPDX-License-Identifier: Apache-2.0 */

/* The same for capabilities, profiles, mounts, volumes, devices and limits. */

#include "ipc/config.h"
#include "services/containerd/test-spec-world.h"

static bool has_capability(char *const *names, size_t n, const char *name)
{
        for (size_t i = 0; i < n; i++)
                if (str_equal(names[i], name))
                        return true;
        return false;
}

static void test_capabilities(void)
{
        static const struct {
                const char *add, *drop, *ambient;
                bool privileged;
                size_t n_wanted;
                const char *has, *lacks;
                size_t n_ambient;
        } rows[] = {
                {"", "", "", false, 14, "CAP_CHOWN", "CAP_SYS_ADMIN", 0},
                {"NET_ADMIN|sys_time", "", "", false, 16, "CAP_SYS_TIME", "CAP_SYS_ADMIN", 0},
                {"", "ALL", "", false, 0, NULL, "CAP_CHOWN", 0},
                {"NET_BIND_SERVICE", "ALL", "", false, 1, "CAP_NET_BIND_SERVICE", "CAP_CHOWN", 0},
                {"ALL", "", "", false, 41, "CAP_SYS_ADMIN", NULL, 0},
                {"ALL", "SYS_ADMIN", "", false, 40, "CAP_BPF", "CAP_SYS_ADMIN", 0},
                {"", "CAP_KILL", "", false, 13, "CAP_CHOWN", "CAP_KILL", 0},
                {"", "", "NET_RAW|SYS_NICE", false, 15, "CAP_SYS_NICE", "CAP_SYS_ADMIN", 2},
                {"", "ALL", "", true, 41, "CAP_SYS_ADMIN", NULL, 0},
        };

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                Runtime__V1__Capability asked = RUNTIME__V1__CAPABILITY__INIT;
                char text[3][64], *parts[3][4];
                World w;
                world_init(&w);
                (void)str_copy(text[0], 64, rows[i].add);
                (void)str_copy(text[1], 64, rows[i].drop);
                (void)str_copy(text[2], 64, rows[i].ambient);
                asked.add_capabilities = parts[0], asked.n_add_capabilities = split(parts[0], text[0]);
                asked.drop_capabilities = parts[1], asked.n_drop_capabilities = split(parts[1], text[1]);
                asked.add_ambient_capabilities = parts[2], asked.n_add_ambient_capabilities = split(parts[2], text[2]);
                w.context.capabilities = &asked;
                w.context.privileged = w.pod_context.privileged = rows[i].privileged;
                world_compose(&w);
                const ProcessSpec *process = w.spec->process;
                if (process->n_capabilities != rows[i].n_wanted || process->n_ambient_capabilities != rows[i].n_ambient)
                        test_fail("row %zu: %zu and %zu", i, process->n_capabilities, process->n_ambient_capabilities);
                assert_true(!rows[i].has || has_capability(process->capabilities, process->n_capabilities, rows[i].has));
                assert_false(rows[i].lacks && has_capability(process->capabilities, process->n_capabilities, rows[i].lacks));
                world_done(&w);
        }
        Runtime__V1__Capability unknown = RUNTIME__V1__CAPABILITY__INIT;
        char *name = (char *)"NOSUCH";
        World w;
        world_init(&w);
        unknown.drop_capabilities = &name;
        unknown.n_drop_capabilities = 1;
        w.context.capabilities = &unknown;
        world_refuse(&w, GRPC_STATUS_INVALID_ARGUMENT, "NOSUCH");
        world_done(&w);
        world_init(&w);
        w.context.privileged = true;
        world_refuse(&w, GRPC_STATUS_INVALID_ARGUMENT, "privileged");
        world_done(&w);
}

static void test_seccomp(void)
{
        static const struct {
                int type; /* of the new field; -1: absent */
                const char *ref, *old;
                int wanted; /* -1: refused */
                const char *path;
        } rows[] = {
                {-1, "", "", 0, ""}, {-1, "", "unconfined", 0, ""}, {-1, "", "runtime/default", 1, ""},
                {-1, "", "docker/default", 1, ""}, {-1, "", "localhost//etc/p.json", 2, "/etc/p.json"}, {-1, "", "localhost/p.json", -1, ""},
                {-1, "", "nonsense", -1, ""}, {0, "", "unconfined", 1, ""}, {1, "", "runtime/default", 0, ""},
                {2, "/etc/p.json", "", 2, "/etc/p.json"}, {2, "", "", -1, ""}, {2, "p.json", "", -1, ""}, {2, "/etc/../p", "", -1, ""},
                {3, "", "", -1, ""},
        };

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                Runtime__V1__SecurityProfile profile = RUNTIME__V1__SECURITY_PROFILE__INIT;
                World w;
                world_init(&w);
                profile.profile_type = (Runtime__V1__SecurityProfile__ProfileType)rows[i].type;
                profile.localhost_ref = (char *)rows[i].ref;
                w.context.seccomp = rows[i].type < 0 ? NULL : &profile;
                w.context.seccomp_profile_path = (char *)rows[i].old;
                if (rows[i].wanted < 0) {
                        world_refuse(&w, GRPC_STATUS_INVALID_ARGUMENT, "seccomp");
                } else {
                        world_compose(&w);
                        assert_eq_int(w.spec->seccomp->mode, rows[i].wanted);
                        assert_eq_str(w.spec->seccomp->profile_path, rows[i].path);
                }
                world_done(&w);
                if (rows[i].wanted <= 0)
                        continue;
                /* A privileged container has none, whatever it asks for. */
                world_init(&w);
                w.context.seccomp = rows[i].type < 0 ? NULL : &profile;
                w.context.seccomp_profile_path = (char *)rows[i].old;
                w.context.privileged = w.pod_context.privileged = true;
                world_compose(&w);
                assert_eq_int(w.spec->seccomp->mode, 0);
                world_done(&w);
        }
}

static void test_apparmor_and_selinux(void)
{
        Runtime__V1__SecurityProfile profile = RUNTIME__V1__SECURITY_PROFILE__INIT;
        Runtime__V1__SELinuxOption label = RUNTIME__V1__SELINUX_OPTION__INIT;
        World w;

        static const struct {
                int type; /* -1: the new field is not given */
                const char *ref, *old;
                bool privileged, has;
                const char *wanted; /* NULL: refused, for the reason */
                const char *reason;
        } rows[] = {
                {-1, "", "", false, true, "bulkhead-default", NULL}, {-1, "", "", false, false, "", NULL}, {-1, "", "", true, true, "", NULL},
                {0, "", "", false, true, "bulkhead-default", NULL}, {0, "", "", false, false, "", NULL}, {0, "", "", true, true, "", NULL},
                {1, "", "localhost/old", false, true, "", NULL}, {2, "mine", "", false, true, "mine", NULL},
                {2, "localhost/mine", "runtime/default", false, true, "mine", NULL}, {2, "mine", "", true, true, "mine", NULL},
                {2, "mine", "", false, false, NULL, "no AppArmor"}, {2, "mine", "", true, false, NULL, "no AppArmor"},
                {2, "", "", false, true, NULL, "needs the name"}, {3, "", "", false, true, NULL, "unknown"},
                {-1, "", "localhost/old", false, true, "old", NULL}, {-1, "", "localhost/old", false, false, NULL, "no AppArmor"},
                {-1, "", "runtime/default", false, true, "bulkhead-default", NULL}, {-1, "", "unconfined", false, true, "", NULL},
                {-1, "", "old", false, true, NULL, "unknown"},
        };

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                world_init(&w);
                profile.profile_type = (Runtime__V1__SecurityProfile__ProfileType)rows[i].type;
                profile.localhost_ref = (char *)rows[i].ref;
                w.context.apparmor = rows[i].type < 0 ? NULL : &profile;
                w.context.apparmor_profile = (char *)rows[i].old;
                w.context.privileged = w.pod_context.privileged = rows[i].privileged;
                w.input.has_apparmor = rows[i].has;
                if (rows[i].wanted) {
                        world_compose(&w);
                        assert_eq_str(w.spec->process->apparmor_profile, rows[i].wanted);
                        assert_eq_int(w.spec->process->apparmor_if_loaded, i == 0);
                } else {
                        world_refuse(&w, str_equal(rows[i].reason, "no AppArmor") ? GRPC_STATUS_FAILED_PRECONDITION : GRPC_STATUS_INVALID_ARGUMENT,
                                     rows[i].reason);
                }
                world_done(&w);
        }
        label.type = (char *)"spc_t";
        for (int row = 0; row < 6; row++) {
                static Runtime__V1__SELinuxOption empty = RUNTIME__V1__SELINUX_OPTION__INIT;
                bool has = row % 2, is_asked = row < 4;
                world_init(&w);
                w.context.selinux_options = row < 2 ? &label : &empty; /* its own, its pod's, nobody's */
                w.pod_context.selinux_options = row / 2 == 1 ? &label : NULL;
                w.input.has_selinux = has;
                if (has && is_asked)
                        world_refuse(&w, GRPC_STATUS_UNIMPLEMENTED, "SELinux");
                else
                        world_compose(&w);
                world_done(&w);
        }
}

static const MountSpec *mount_at(const World *w, const char *destination)
{
        const MountSpec *found = NULL;

        for (size_t i = 0; i < w->spec->n_mounts; i++)
                if (str_equal(w->spec->mounts[i]->destination, destination))
                        found = w->spec->mounts[i];
        return found;
}

static size_t depth_of(const char *path)
{
        size_t n = 0;

        for (; *path; path++)
                n += *path == '/';
        return n;
}

static void test_mounts(void)
{
        static const struct {
                const char *destination;
                int kind;
                bool readonly, readonly_privileged;
        } defaults[] = {
                {"/proc", KIND(PROC), false, false},        {"/dev", KIND(DEV), false, false},
                {"/dev/pts", KIND(DEVPTS), false, false},   {"/dev/shm", KIND(POD_SHM), false, false},
                {"/dev/mqueue", KIND(MQUEUE), false, false}, {"/sys", KIND(SYSFS), true, false},
                {"/sys/fs/cgroup", KIND(CGROUP), true, false}, {"/etc/resolv.conf", KIND(POD_RESOLV), true, true},
                {"/etc/hostname", KIND(POD_HOSTNAME), true, true},
        };
        Runtime__V1__Mount a = RUNTIME__V1__MOUNT__INIT, b = RUNTIME__V1__MOUNT__INIT, *mounts[] = {&a, &b};
        World w;

        for (int privileged = 0; privileged < 2; privileged++) {
                world_init(&w);
                w.context.privileged = w.pod_context.privileged = privileged;
                world_compose(&w);
                assert_eq_int(w.spec->n_mounts, ARRAY_SIZE(defaults));
                for (size_t i = 0; i < ARRAY_SIZE(defaults); i++) {
                        const MountSpec *mount = mount_at(&w, defaults[i].destination);
                        assert_true(mount != NULL);
                        assert_eq_int(mount->kind, defaults[i].kind);
                        assert_eq_int(mount->readonly, privileged ? defaults[i].readonly_privileged : defaults[i].readonly);
                }
                world_done(&w);
        }

        /* The request's own take the place of the runtime's; parents come first. */
        world_init(&w);
        a.container_path = (char *)"/deep/er/still";
        a.host_path = (char *)"/h/a";
        a.readonly = a.recursive_read_only = true;
        b.container_path = (char *)"//etc/./resolv.conf/";
        b.host_path = (char *)"/h/b";
        b.propagation = RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_BIDIRECTIONAL;
        w.config.mounts = mounts;
        w.config.n_mounts = 2;
        world_compose(&w);
        assert_eq_int(w.spec->n_mounts, ARRAY_SIZE(defaults) + 1);
        assert_eq_int(mount_at(&w, "/etc/resolv.conf")->kind, KIND(BIND));
        assert_eq_str(mount_at(&w, "/etc/resolv.conf")->host_path, "/h/b");
        assert_eq_int(mount_at(&w, "/etc/resolv.conf")->propagation, 2);
        assert_true(mount_at(&w, "/deep/er/still")->recursive_readonly);
        for (size_t i = 1; i < w.spec->n_mounts; i++)
                assert_true(depth_of(w.spec->mounts[i - 1]->destination) <= depth_of(w.spec->mounts[i]->destination));
        world_done(&w);
}

static void test_mounts_that_are_refused(void)
{
        static const struct {
                const char *container_path, *host_path;
                bool readonly, rro;
                int propagation;
                bool has_rro, image, mapped, options;
                uint32_t code;
                const char *word;
        } rows[] = {
                {"x", "/h", 0, 0, 0, 1, 0, 0, 0, GRPC_STATUS_INVALID_ARGUMENT, "container_path"},
                {"", "/h", 0, 0, 0, 1, 0, 0, 0, GRPC_STATUS_INVALID_ARGUMENT, "container_path"},
                {"/", "/h", 0, 0, 0, 1, 0, 0, 0, GRPC_STATUS_INVALID_ARGUMENT, "container_path"},
                {"/a/../b", "/h", 0, 0, 0, 1, 0, 0, 0, GRPC_STATUS_INVALID_ARGUMENT, "container_path"},
                {"/a", "", 0, 0, 0, 1, 0, 0, 0, GRPC_STATUS_INVALID_ARGUMENT, "host_path"},
                {"/a", "h", 0, 0, 0, 1, 0, 0, 0, GRPC_STATUS_INVALID_ARGUMENT, "host_path"},
                {"/a", "/h/..", 0, 0, 0, 1, 0, 0, 0, GRPC_STATUS_INVALID_ARGUMENT, "host_path"},
                {"/a", "/h", 0, 0, 3, 1, 0, 0, 0, GRPC_STATUS_INVALID_ARGUMENT, "propagation"},
                {"/a", "/h", 0, 1, 0, 1, 0, 0, 0, GRPC_STATUS_INVALID_ARGUMENT, "needs readonly"},
                {"/a", "/h", 1, 1, 1, 1, 0, 0, 0, GRPC_STATUS_INVALID_ARGUMENT, "PRIVATE"},
                {"/a", "/h", 1, 1, 2, 1, 0, 0, 0, GRPC_STATUS_INVALID_ARGUMENT, "PRIVATE"},
                {"/a", "/h", 1, 1, 0, 0, 0, 0, 0, GRPC_STATUS_FAILED_PRECONDITION, "RROUnsupported: "},
                {"/a", "/h", 1, 0, 0, 1, 1, 0, 0, GRPC_STATUS_INVALID_ARGUMENT, "host_path"},
                {"/a", "", 1, 0, 1, 1, 1, 0, 0, GRPC_STATUS_INVALID_ARGUMENT, "PRIVATE"},
                {"/a", "", 1, 0, 0, 1, 1, 1, 0, GRPC_STATUS_INVALID_ARGUMENT, "uidMappings"},
                {"/a", "", 0, 0, 0, 1, 1, 0, 0, GRPC_STATUS_INVALID_ARGUMENT, "readonly"},
                {"/a", "/h", 0, 0, 0, 1, 0, 1, 0, GRPC_STATUS_INVALID_ARGUMENT, "uidMappings"},
                {"/a", "/h", 0, 0, 0, 1, 0, 0, 1, GRPC_STATUS_INVALID_ARGUMENT, "exec"},
        };

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                Runtime__V1__Mount mount = RUNTIME__V1__MOUNT__INIT, *mounts[] = {&mount};
                Runtime__V1__IDMapping mapping = RUNTIME__V1__IDMAPPING__INIT, *mappings[] = {&mapping};
                Runtime__V1__ImageSpec image = RUNTIME__V1__IMAGE_SPEC__INIT;
                char *option = (char *)"exec";
                World w;
                world_init(&w);
                image.image = (char *)"data:1";
                mount.container_path = (char *)rows[i].container_path;
                mount.host_path = (char *)rows[i].host_path;
                mount.readonly = rows[i].readonly;
                mount.recursive_read_only = rows[i].rro;
                mount.propagation = (Runtime__V1__MountPropagation)rows[i].propagation;
                mount.image = rows[i].image ? &image : NULL;
                mount.uidmappings = mappings;
                mount.n_uidmappings = rows[i].mapped;
                mount.mount_options = &option;
                mount.n_mount_options = rows[i].options;
                w.input.has_recursive_readonly = rows[i].has_rro;
                w.config.mounts = mounts;
                w.config.n_mounts = 1;
                world_refuse(&w, rows[i].code, rows[i].word);
                world_done(&w);
        }
}

/* Other images: numbered in their order, whatever else is mounted. */
static void test_image_volumes(void)
{
        static const struct {
                const char *path;
                bool is_valid;
        } paths[] = {{"", true}, {"a/b", true}, {"a..b/..c", true}, {"./a", true}, {"/a", false}, {"..", false}, {"a/../b", false}, {"a/..", false}};

        for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
                Runtime__V1__Mount all[3], *mounts[3];
                Runtime__V1__ImageSpec image = RUNTIME__V1__IMAGE_SPEC__INIT;
                World w;
                world_init(&w);
                image.image = (char *)"data:1";
                for (size_t k = 0; k < 3; k++) {
                        static const char *const at[] = {"/one", "/host", "/two"};
                        runtime__v1__mount__init(&all[k]);
                        mounts[k] = &all[k];
                        all[k].container_path = (char *)at[k];
                        all[k].image = k == 1 ? NULL : &image;
                        all[k].host_path = (char *)(k == 1 ? "/h" : "");
                        all[k].readonly = true;
                        all[k].image_sub_path = (char *)(k == 2 ? paths[i].path : "");
                }
                w.config.mounts = mounts;
                w.config.n_mounts = 3;
                if (!paths[i].is_valid) {
                        world_refuse(&w, GRPC_STATUS_INVALID_ARGUMENT, "image_sub_path");
                        world_done(&w);
                        continue;
                }
                world_compose(&w);
                uint32_t n = 0;
                for (size_t k = 0; k < w.spec->n_mounts; k++)
                        if (w.spec->mounts[k]->kind == KIND(IMAGE)) {
                                assert_eq_int(w.spec->mounts[k]->volume, n);
                                assert_eq_str(w.spec->mounts[k]->destination, n++ == 0 ? "/one" : "/two");
                                assert_true(w.spec->mounts[k]->readonly);
                        }
                assert_eq_int(n, 2);
                world_done(&w);
        }
}

static void test_volumes(void)
{
        char *volumes[] = {(char *)"/data", (char *)"data/../data", (char *)"/../../../../canary", (char *)"/covered/", (char *)"/a/./b//c"};
        static const char *const bad[] = {"/proc", "/proc/self/attr", "//proc/.", "/sys", "/dev", "/dev/x", "/x/../proc", "/", "", "/.."};
        Runtime__V1__Mount mount = RUNTIME__V1__MOUNT__INIT, *mounts[] = {&mount};
        char **chosen, joined[256];
        size_t n;
        World w;

        world_init(&w);
        mount.container_path = (char *)"/covered";
        mount.host_path = (char *)"/h";
        w.config.mounts = mounts;
        w.config.n_mounts = 1;
        w.image.volumes = volumes;
        w.image.n_volumes = ARRAY_SIZE(volumes);
        assert_ok(spec_volumes_choose(&w.input, &w.arena, &chosen, &n, &w.failure));
        assert_eq_str(join(chosen, n, joined, sizeof(joined)), "/data|/canary|/a/b/c");
        world_compose(&w);
        assert_eq_int(mount_at(&w, "/canary")->kind, KIND(VOLUME));
        assert_eq_int(mount_at(&w, "/canary")->volume, 1);
        assert_eq_str(mount_at(&w, "/canary")->host_path, "");
        assert_eq_int(mount_at(&w, "/covered")->kind, KIND(BIND));
        world_done(&w);
        /* As many as there are places for; what the request mounts itself needs none. */
        for (size_t extra = 0; extra <= 2; extra++) {
                char paths[CONFIG_VOLUMES_MAX + 2][8], *many[CONFIG_VOLUMES_MAX + 2], longest[CONFIG_VOLUME_PATH_MAX + 1];
                world_init(&w);
                for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
                        (void)snprintf(paths[i], sizeof(paths[i]), "/v%zu", i);
                        many[i] = paths[i];
                }
                w.image.volumes = many;
                w.image.n_volumes = CONFIG_VOLUMES_MAX + extra;
                mount.container_path = paths[3];
                w.config.mounts = mounts;
                w.config.n_mounts = 1;
                if (extra == 2)
                        world_refuse(&w, GRPC_STATUS_INVALID_ARGUMENT, "more than 16 VOLUMEs");
                else
                        world_compose(&w);
                w.failure = (Failure){0};
                memset(longest, 'x', sizeof(longest));
                longest[0] = '/';
                longest[CONFIG_VOLUME_PATH_MAX - 1 + (extra > 0)] = '\0';
                many[0] = longest;
                w.image.n_volumes = 1;
                if (extra)
                        world_refuse(&w, GRPC_STATUS_INVALID_ARGUMENT, "longer than 255 bytes");
                else
                        world_compose(&w);
                world_done(&w);
        }
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                char *one = (char *)bad[i];
                world_init(&w);
                w.image.volumes = &one;
                w.image.n_volumes = 1;
                world_refuse(&w, GRPC_STATUS_INVALID_ARGUMENT, "VOLUME");
                world_done(&w);
        }
}

static void test_resources(void)
{
        Runtime__V1__LinuxContainerResources__UnifiedEntry entry = RUNTIME__V1__LINUX_CONTAINER_RESOURCES__UNIFIED_ENTRY__INIT,
                                                           *unified[] = {&entry};
        static const char *const good_keys[] = {"memory.high", "cpu.weight", "io.bfq.weight", "hugetlb.2mb.max"};
        static const char *const bad_keys[] = {"../x", "memory.max/../../y", "", ".", "..", "memory..max", "cgroup.procs", "cgroup.kill",
                                               "nodot", ".x", "MEMORY.MAX", "memory.max\n"};
        static const char *const good_sets[] = {"", "0", "0-3", "0-3,7,9-8191"};
        static const char *const bad_sets[] = {"0-4294967295", "8192", "3-1", "-", "1-", ",", "0,", "a", "0 1", "00000000000000000000001-"};
        World w;

        for (size_t i = 0; i < ARRAY_SIZE(good_keys) + ARRAY_SIZE(bad_keys); i++) {
                bool is_good = i < ARRAY_SIZE(good_keys);
                world_init(&w);
                entry.key = (char *)(is_good ? good_keys[i] : bad_keys[i - ARRAY_SIZE(good_keys)]);
                entry.value = (char *)"1";
                w.resources.unified = unified;
                w.resources.n_unified = 1;
                if (is_good)
                        world_compose(&w);
                else
                        world_refuse(&w, GRPC_STATUS_INVALID_ARGUMENT, "unified");
                world_done(&w);
        }
        for (size_t i = 0; i < ARRAY_SIZE(good_sets) + ARRAY_SIZE(bad_sets); i++) {
                bool is_good = i < ARRAY_SIZE(good_sets);
                world_init(&w);
                w.resources.cpuset_cpus = (char *)(is_good ? good_sets[i] : bad_sets[i - ARRAY_SIZE(good_sets)]);
                if (is_good)
                        world_compose(&w);
                else
                        world_refuse(&w, GRPC_STATUS_INVALID_ARGUMENT, "cpuset");
                world_done(&w);
        }
        _cleanup_free_ char *endless = calloc(1, 4 * 1000 * 1000 + 1);
        for (size_t i = 0; i < 1000 * 1000; i++)
                memcpy(endless + 4 * i, "0-1,", 4);
        world_init(&w);
        w.resources.cpuset_mems = endless;
        world_refuse(&w, GRPC_STATUS_INVALID_ARGUMENT, "cpuset");
        world_done(&w);

        static const struct {
                int64_t asked;
                int32_t wanted;
        } oom[] = {{0, 0}, {1000, 1000}, {-998, -500}, {-100, -100}};
        for (size_t i = 0; i < ARRAY_SIZE(oom); i++) {
                world_init(&w);
                w.resources.oom_score_adj = oom[i].asked;
                world_compose(&w);
                assert_true(w.spec->process->has_oom_score_adj);
                assert_eq_int(w.spec->process->oom_score_adj, oom[i].wanted);
                world_done(&w);
        }
        world_init(&w);
        w.resources.memory_limit_in_bytes = 100;
        w.resources.memory_swap_limit_in_bytes = 50;
        world_refuse(&w, GRPC_STATUS_INVALID_ARGUMENT, "swap");
        world_done(&w);
}

static void test_paths_and_devices(void)
{
        char *masked[] = {(char *)"/proc/kcore"};
        Runtime__V1__Device device = RUNTIME__V1__DEVICE__INIT, *devices[] = {&device};
        World w;

        for (int privileged = 0; privileged < 2; privileged++) {
                world_init(&w);
                w.context.masked_paths = masked;
                w.context.n_masked_paths = 1;
                w.context.readonly_rootfs = true;
                w.context.no_new_privs = true;
                w.context.privileged = w.pod_context.privileged = privileged;
                device.host_path = (char *)"/dev/null";
                device.permissions = (char *)"rw";
                w.config.devices = devices;
                w.config.n_devices = 1;
                world_compose(&w);
                assert_eq_int(w.spec->n_masked_paths, privileged ? 0 : 1);
                assert_eq_int(w.spec->n_readonly_paths, 0);
                assert_true(w.spec->root_readonly && w.spec->process->no_new_privileges);
                assert_eq_str(w.spec->devices[0]->container_path, "/dev/null");
                assert_eq_int(w.spec->process->n_rlimits, 0);
                assert_eq_int(w.spec->n_sysctls, 0);
                world_done(&w);
        }
        world_init(&w);
        device.permissions = (char *)"xyz";
        w.config.devices = devices;
        w.config.n_devices = 1;
        world_refuse(&w, GRPC_STATUS_INVALID_ARGUMENT, "permissions");
        world_done(&w);
}

int main(void)
{
        TEST_RUN(test_capabilities);
        TEST_RUN(test_seccomp);
        TEST_RUN(test_apparmor_and_selinux);
        TEST_RUN(test_mounts);
        TEST_RUN(test_mounts_that_are_refused);
        TEST_RUN(test_image_volumes);
        TEST_RUN(test_volumes);
        TEST_RUN(test_resources);
        TEST_RUN(test_paths_and_devices);
        return 0;
}
