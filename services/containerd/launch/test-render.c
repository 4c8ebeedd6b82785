/* SPDX-License-Identifier: Apache-2.0 */

/* config.json against golden files (GOLDEN=<dir>; GOLDEN_WRITE=1 writes them anew, to be read before they are committed), and
 * what must hold in all of them. */

#include "ipc/edges/containerd-launch.h"
#include "services/containerd/launch/path-clean.h"
#include "services/containerd/launch/test-fixture.h"
#include "services/containerd/runtime/source.h"

#include <fcntl.h>
#include <sys/resource.h>

static Fixture f;

static int host_profile(void *userdata, const char *path, char **ret_text, size_t *ret_n)
{
        if (!str_equal(path, "good.json") && !str_equal(path, "bad.json"))
                return -ENOENT;
        *ret_text = strdup(path[0] == 'g' ? "{\"defaultAction\":\"SCMP_ACT_ALLOW\"}" : "{}");
        *ret_n = strlen(*ret_text);
        return 0;
}

static const char *host_profiles = "bulkhead-default (enforce)\n";

static int host_apparmor(void *userdata, char **ret_list, size_t *ret_n)
{
        if (!host_profiles)
                return -ENOENT;
        *ret_list = strdup(host_profiles);
        *ret_n = strlen(*ret_list);
        return 0;
}

static int host_target(void *userdata, const char *id, int *ret_pid)
{
        *ret_pid = 4711;
        return str_equal(id, FIXTURE_POD) ? 0 : -ESRCH;
}

static bool host_has_devices = true;

static int host_devices(void *userdata, const char *path, RenderDeviceCallback callback, void *callback_userdata)
{
        RenderAnswer device = {.type = 'c', .major = 10, .minor = 232, .mode = 020660, .uid = 0, .gid = 104};
        if (!host_has_devices)
                return -EACCES;
        if (!str_equal(path, "/dev/kvm") && !str_equal(path, "/dev"))
                return str_equal(path, "/dev/empty") ? 0 : -ENOENT;
        (void)snprintf(device.path, sizeof(device.path), "/dev/kvm");
        int r = callback(callback_userdata, &device);
        device.type = 'b';
        device.major = 8;
        device.minor = 0;
        (void)snprintf(device.path, sizeof(device.path), "/dev/sda");
        return r == 0 && str_equal(path, "/dev") ? callback(callback_userdata, &device) : r;
}

static RenderSource asked_source; /* the last one */

static int host_source(void *userdata, const RenderSource *source, char real[RENDER_PATH_MAX], uint32_t *ret_restrictions)
{
        const char *path = source->path;
        asked_source = *source;
        (void)snprintf(real, RENDER_PATH_MAX, "%s", str_equal(path, "/link") ? "/srv/behind" : path);
        if (str_equal(path, "/proc") && source->flags & SOURCE_MAP)
                return -EINVAL;
        *ret_restrictions = str_equal(path, "/locked") ? SOURCE_NODEV | SOURCE_NOSUID : 0;
        if (*source->within && !str_has_prefix(real, source->within))
                return -EXDEV;
        return str_equal(path, "/unmakeable") ? -EROFS : 0;
}

static const RenderHost host = {
        .profile = host_profile,
        .apparmor = host_apparmor,
        .target = host_target,
        .devices = host_devices,
        .source = host_source,
};
static const ConfigCommon common = {.state_dir = "/var/lib/bulkhead", .runtime_dir = "/run/bulkhead"};
static ConfigContainerd config = {.allow_host_paths = true, .seccomp_dir = "/var/lib/kubelet/seccomp", .oom_score_adj_min = -500};
static RenderFacts facts;
static Render render;

static void render_init(void)
{
        fixture_init(&f);
        facts = (RenderFacts){.capabilities = CAPABILITY_SET_ALL, .kernel_version = 6 << 16 | 1, .has_unified = true,
                              .has_memory_swap = true, .has_hugepages = true, .has_pod_uts = true};
        for (size_t i = 0; i < RENDER_RLIMITS; i++)
                facts.rlimits[i] = UINT64_MAX;
        config.systemd_cgroups = 0;
        render = (Render){.common = &common, .config = &config, .spec = &f.spec, .facts = &facts, .host = &host};
}

static json_t *rendered(void)
{
        json_t *json = NULL;
        int r = render_config(&render, &json);
        if (r != 0)
                test_fail("refused: %s", render.text);
        return json;
}

static void render_refused(const char *text)
{
        json_t *json = NULL;
        assert_eq_int(render_config(&render, &json), RENDER_E_REFUSED);
        if (!strstr(render.text, text))
                test_fail("\"%s\" does not say \"%s\"", render.text, text);
        render_init();
}

/* What no container of ours may have, whatever was asked. */
static void assert_invariants(const json_t *json)
{
        const json_t *section = json_object_get(json, "linux"), *process = json_object_get(json, "process");
        const json_t *first = json_array_get(json_object_get(json_object_get(section, "resources"), "devices"), 0);
        const json_t *capabilities = json_object_get(process, "capabilities");
        assert_true(json_is_false(json_object_get(first, "allow")));
        assert_eq_str(json_string_value(json_object_get(first, "access")), "rwm");
        assert_eq_int(json_object_size(first), 2);
        assert_false(json_object_get(json, "hooks") || json_object_get(json, "annotations"));
        assert_true(json_equal(json_object_get(capabilities, "inheritable"), json_object_get(capabilities, "ambient")));
        assert_true(json_is_boolean(json_object_get(process, "noNewPrivileges")));
        assert_true(json_is_integer(json_object_get(process, "oomScoreAdj")));
        assert_true(json_object_get(section, "cgroupsPath") && json_object_get(section, "rootfsPropagation"));
}

static void assert_golden(const char *name)
{
        json_t *json = rendered();
        char path[1024];
        assert_invariants(json);
        (void)snprintf(path, sizeof(path), "%s/%s.json", getenv("GOLDEN"), name);
        if (getenv("GOLDEN_WRITE"))
                assert_ok(json_dump_file(json, path, JSON_INDENT(2)));
        json_error_t error;
        json_t *golden = json_load_file(path, 0, &error);
        if (!golden)
                test_fail("%s: %s", path, error.text);
        if (!json_equal(golden, json)) {
                char *dump = json_dumps(json, JSON_INDENT(2));
                test_fail("%s differs from what is rendered:\n%s", path, dump);
        }
        json_decref(golden);
        json_decref(json);
}

static const char *string_at(const json_t *json, const char *a, const char *b)
{
        return json_string_value(json_object_get(json_object_get(json, a), b));
}

static json_t *namespace_of(const json_t *json, const char *type)
{
        size_t i;
        json_t *entry;
        json_array_foreach(json_object_get(json_object_get(json, "linux"), "namespaces"), i, entry)
                if (str_equal(json_string_value(json_object_get(entry, "type")), type))
                        return entry;
        return NULL;
}

static void test_golden(void)
{
        render_init();
        char *masked[] = {TEXT("/proc/kcore")}, *readonly[] = {TEXT("/proc/sys")}, *ambient[] = {TEXT("CAP_CHOWN")};
        ProtobufCBinaryData env[] = {{.data = (uint8_t *)TEXT("PATH=/bin"), .len = 9}};
        Bulkhead__RuntimeSpec__Rlimit limit = BULKHEAD__RUNTIME_SPEC__RLIMIT__INIT, *limits[] = {&limit};
        Bulkhead__RuntimeSpec__SysctlSpec sysctl = BULKHEAD__RUNTIME_SPEC__SYSCTL_SPEC__INIT, *sysctls[] = {&sysctl};
        Bulkhead__RuntimeSpec__UnifiedSpec unified = BULKHEAD__RUNTIME_SPEC__UNIFIED_SPEC__INIT, *unifieds[] = {&unified};
        MountSpec all[12], *list[12];
        static const char *const places[] = {"/data", "/proc", "/sys", "/sys/fs/cgroup", "/dev", "/dev/pts", "/dev/mqueue", "/dev/shm",
                                             "/etc/resolv.conf", "/etc/hostname", "/tmp", "/volume"};
        uint32_t groups[] = {5, 6};
        for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
                bulkhead__runtime_spec__mount_spec__init(&all[i]);
                all[i].kind = (Bulkhead__RuntimeSpec__MountSpec__Kind)i;
                all[i].destination = TEXT(places[i]);
                list[i] = &all[i];
        }
        all[0].host_path = TEXT("/srv/data");
        all[0].propagation = RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_BIDIRECTIONAL;
        all[2].readonly = all[3].readonly = true;
        all[10].size_bytes = 4096;
        all[11].volume = 3;
        f.spec.mounts = list;
        f.spec.n_mounts = ARRAY_SIZE(list);
        f.spec.masked_paths = masked;
        f.spec.readonly_paths = readonly;
        f.spec.n_masked_paths = f.spec.n_readonly_paths = 1;
        f.spec.root_readonly = true;
        f.process.env = env;
        f.process.n_env = 1;
        f.process.ambient_capabilities = ambient;
        f.process.n_ambient_capabilities = 1;
        f.process.additional_gids = groups;
        f.process.n_additional_gids = 2;
        f.process.uid = 1000;
        f.process.gid = 1001;
        f.process.no_new_privileges = f.process.has_oom_score_adj = true;
        f.process.oom_score_adj = -999; /* clamped to -500 */
        limit.type = TEXT("RLIMIT_NOFILE");
        limit.soft = 1024;
        limit.hard = UINT64_MAX;
        f.process.rlimits = limits;
        f.process.n_rlimits = 1;
        sysctl.name = TEXT("net.ipv4.ip_forward");
        sysctl.value = TEXT("1");
        f.spec.sysctls = sysctls;
        f.spec.n_sysctls = 1;
        unified.key = TEXT("memory.high");
        unified.value = TEXT("1000");
        f.resources.unified = unifieds;
        f.resources.n_unified = 1;
        f.resources.memory_limit_bytes = f.resources.memory_swap_limit_bytes = 1 << 20;
        f.resources.cpu_quota = 50000;
        f.resources.cpu_period = 100000;
        f.resources.cpu_shares = 2;
        f.resources.cpuset_cpus = TEXT("0");
        f.resources.pids_limit = 100;
        f.spec.namespaces = PERMIT_FLAG_POD_PID;
        assert_golden("full");

        render_init();
        assert_golden("plain");
        f.spec.privileged = true;
        f.spec.namespaces = PERMIT_FLAG_HOST_NETWORK | PERMIT_FLAG_HOST_IPC | PERMIT_FLAG_HOST_PID;
        facts.has_pod_uts = false;
        f.seccomp.mode = SECCOMP_MODE(RUNTIME_DEFAULT); /* which privileged overrides */
        f.process.terminal = true;
        f.process.columns = 80;
        f.process.rows = 25;
        assert_golden("privileged");
}

static void test_namespaces(void)
{
        render_init();
        f.spec.target_container = TEXT(FIXTURE_POD);
        json_t *json = rendered();
        assert_eq_str(json_string_value(json_object_get(namespace_of(json, "pid"), "path")), "/proc/4711/ns/pid");
        assert_true(namespace_of(json, "cgroup") && namespace_of(json, "mount"));
        json_decref(json);
        f.spec.target_container = TEXT(FIXTURE_ID);
        render_refused("does not run");

        f.spec.namespaces = PERMIT_FLAG_HOST_NETWORK;
        json = rendered(); /* with a pinned UTS namespace */
        assert_true(!namespace_of(json, "network") && namespace_of(json, "uts"));
        json_decref(json);
        facts.has_pod_uts = false;
        json = rendered();
        assert_false(namespace_of(json, "uts"));
        json_decref(json);
        f.spec.namespaces = PERMIT_FLAG_USERNS;
        f.spec.userns_host_id = 200000;
        f.spec.userns_length = 65536;
        json = rendered();
        assert_eq_str(json_string_value(json_object_get(namespace_of(json, "user"), "path")), "/run/bulkhead/ns/" FIXTURE_POD "/user");
        char *map = json_dumps(json_object_get(json_object_get(json, "linux"), "gidMappings"), JSON_COMPACT);
        assert_eq_str(map, "[{\"containerID\":0,\"hostID\":200000,\"size\":65536}]");
        free(map);
        json_decref(json);
        f.spec.namespaces = 0; /* never the host's by an accident */
        json = rendered();
        assert_true(namespace_of(json, "uts"));
        json_decref(json);
        render_init();
}

static const char *source_of(const json_t *json, const char *destination)
{
        size_t i;
        json_t *mount;
        json_array_foreach(json_object_get(json, "mounts"), i, mount)
                if (str_equal(json_string_value(json_object_get(mount, "destination")), destination))
                        return json_string_value(json_object_get(mount, "source"));
        return "";
}

/* The runtime is told where a path leads, and in a user namespace it mounts from copies. */
static void test_sources(void)
{
        f.bind.host_path = TEXT("/link");
        json_t *json = rendered();
        assert_eq_str(source_of(json, "/data"), "/srv/behind");
        json_decref(json);
        assert_eq_int(asked_source.flags, SOURCE_MAKE);
        render.host_base = "/var/lib/kubelet/pods/u";
        json = NULL;
        assert_eq_int(render_config(&render, &json), RENDER_E_FORBIDDEN);
        assert_true(strstr(render.text, "/srv/behind") && strstr(render.text, "policy"));
        /* Where there is a policy, what it was asked about is copied at once. */
        f.bind.host_path = TEXT("/var/lib/kubelet/pods/u/volumes/v");
        json = rendered();
        assert_eq_str(source_of(json, "/data"), "/run/bulkhead/containers/" FIXTURE_ID "/mounts/0");
        json_decref(json);
        assert_eq_int(asked_source.flags, SOURCE_MAKE | SOURCE_CLONE);
        f.bind.propagation = 2;
        render.n_copies = 0;
        json = rendered();
        assert_eq_int(asked_source.flags, SOURCE_MAKE | SOURCE_CLONE | SOURCE_SHARE);
        json_decref(json);
        f.bind.propagation = 0;

        render_init();
        f.bind.host_path = TEXT("/locked"); /* what is taken away there stays so, whatever the runtime makes of "ro" */
        f.bind.readonly = true;
        json = rendered();
        char *mounts = json_dumps(json_object_get(json, "mounts"), JSON_COMPACT);
        assert_true(strstr(mounts, "[\"rbind\",\"rprivate\",\"ro\",\"nosuid\",\"nodev\"]"));
        free(mounts);
        json_decref(json);

        render_init();
        f.spec.namespaces = PERMIT_FLAG_USERNS;
        f.spec.userns_host_id = 200000;
        f.spec.userns_length = 65536;
        f.proc.kind = MOUNT_KIND(VOLUME);
        f.proc.destination = TEXT("/volume");
        json = rendered();
        assert_eq_str(source_of(json, "/volume"), "/run/bulkhead/containers/" FIXTURE_ID "/mounts/0");
        assert_eq_str(source_of(json, "/data"), "/run/bulkhead/containers/" FIXTURE_ID "/mounts/1");
        json_decref(json);
        render_init();
        f.spec.namespaces = PERMIT_FLAG_USERNS;
        f.bind.host_path = TEXT("/proc");
        f.bind.mapped = true;
        render_refused("id-mapped");
}

static void test_clamps(void)
{
        facts.capabilities = 1; /* CAP_CHOWN alone */
        f.capabilities[1] = TEXT("CAP_KILL");
        f.process.n_capabilities = 2;
        json_t *json = rendered();
        assert_eq_int(json_array_size(json_object_get(json_object_get(json_object_get(json, "process"), "capabilities"), "bounding")), 1);
        assert_eq_int(json_integer_value(json_object_get(json_object_get(json, "process"), "oomScoreAdj")), 0);
        json_decref(json);
        render_init();
        facts.has_unified = facts.has_memory_swap = facts.has_hugepages = false;
        facts.rlimits[RLIMIT_NOFILE] = 20000;
        Bulkhead__RuntimeSpec__Rlimit limit = BULKHEAD__RUNTIME_SPEC__RLIMIT__INIT, *limits[] = {&limit, &limit};
        limit.type = TEXT("RLIMIT_NOFILE");
        limit.soft = limit.hard = 1048576;
        f.process.rlimits = limits;
        f.process.n_rlimits = 1;
        f.resources.memory_swap_limit_bytes = 5;
        Bulkhead__RuntimeSpec__HugepageSpec page = BULKHEAD__RUNTIME_SPEC__HUGEPAGE_SPEC__INIT, *pages[] = {&page};
        Runtime__V1__HugepageLimit page_limit = RUNTIME__V1__HUGEPAGE_LIMIT__INIT, *page_limits[] = {&page_limit};
        page.page_size = page_limit.page_size = TEXT("2MB");
        f.resources.hugepages = pages;
        f.limits.hugepage_limits = page_limits;
        f.resources.n_hugepages = f.limits.n_hugepage_limits = 1;
        json = rendered();
        json_t *first = json_array_get(json_object_get(json_object_get(json, "process"), "rlimits"), 0);
        assert_eq_int(json_integer_value(json_object_get(first, "soft")), 20000);
        assert_eq_int(json_integer_value(json_object_get(first, "hard")), 20000);
        const json_t *resources = json_object_get(json_object_get(json, "linux"), "resources");
        assert_eq_int(json_object_size(json_object_get(resources, "memory")), 0);
        assert_eq_int(json_array_size(json_object_get(resources, "hugepageLimits")), 0);
        json_decref(json);
        facts.has_hugepages = true;
        json = rendered();
        resources = json_object_get(json_object_get(json, "linux"), "resources");
        assert_eq_int(json_array_size(json_object_get(resources, "hugepageLimits")), 1);
        json_decref(json);
        Bulkhead__RuntimeSpec__UnifiedSpec unified = BULKHEAD__RUNTIME_SPEC__UNIFIED_SPEC__INIT, *unifieds[] = {&unified};
        unified.key = TEXT("memory.high");
        f.resources.unified = unifieds;
        f.resources.n_unified = 1;
        render_refused("memory.high");
        f.process.rlimits = limits;
        f.process.n_rlimits = 2;
        render_refused("twice");
        Bulkhead__RuntimeSpec__Rlimit other = BULKHEAD__RUNTIME_SPEC__RLIMIT__INIT, *others[] = {&other};
        other.type = TEXT("RLIMIT_WHAT");
        f.process.rlimits = others;
        f.process.n_rlimits = 1;
        render_refused("RLIMIT_WHAT");
}

/* CVE-2026-57231: an entry without a name must not be looked up anywhere; JSON carries UTF-8. */
static void test_env(void)
{
        static const char *const entries[] = {"A=1", "PATH", "=x", "*", "", "B=\xff\xc3\xa4\xed\xa0\x80", "C=", "D=a=b"};
        ProtobufCBinaryData env[ARRAY_SIZE(entries) + 1];
        for (size_t i = 0; i < ARRAY_SIZE(entries); i++)
                env[i] = (ProtobufCBinaryData){.data = (uint8_t *)TEXT(entries[i]), .len = strlen(entries[i])};
        env[ARRAY_SIZE(entries)] = (ProtobufCBinaryData){.data = (uint8_t *)TEXT("N=a\0M=b"), .len = 7};
        f.process.env = env;
        f.process.n_env = ARRAY_SIZE(env);
        json_t *json = rendered();
        char *dump = json_dumps(json_object_get(json_object_get(json, "process"), "env"), JSON_COMPACT);
        assert_eq_str(dump, "[\"A=1\",\"B=\xef\xbf\xbd\xc3\xa4\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\",\"C=\",\"D=a=b\"]");
        free(dump);
        json_decref(json);
        render_init();
}

static void test_refusals(void)
{
        static const char *const bad_cwd[] = {"relative", "/a/../b", "/proc/self/fd/7", "//proc/./self", "/proc"};
        for (size_t i = 0; i < ARRAY_SIZE(bad_cwd); i++) {
                f.process.cwd = TEXT(bad_cwd[i]);
                render_refused("working directory");
        }
        f.process.cwd = TEXT("");
        json_t *json = rendered();
        assert_eq_str(string_at(json, "process", "cwd"), "/");
        json_decref(json);
        render_init();
        f.spec_device.host_path = TEXT("/dev/none");
        render_refused("/dev/none: No such file");
        f.spec_device.host_path = TEXT("/dev/empty");
        render_refused("no device node");
        f.spec_device.permissions = TEXT("rx");
        render_refused("permissions");
        f.bind.host_path = TEXT("/unmakeable");
        render_refused("Read-only file system");
        f.spec.cgroup_parent = TEXT("relative");
        render_refused("give an absolute path without");
        config.systemd_cgroups = 1;
        render_refused("name of a slice");
        config.systemd_cgroups = 1;
        f.spec.cgroup_parent = TEXT("/kubepods.slice/kubepods-besteffort.slice");
        json = rendered();
        assert_eq_str(string_at(json, "linux", "cgroupsPath"), "kubepods-besteffort.slice:bulkhead:" FIXTURE_ID);
        json_decref(json);
        render_init();
        f.proc.kind = MOUNT_KIND(VOLUME);
        f.proc.volume = CONFIG_VOLUMES_MAX;
        render_refused("at most 16");
        f.proc.kind = (Bulkhead__RuntimeSpec__MountSpec__Kind)77;
        render_refused("unknown kind 77");
        static const struct {
                const char *path, *text;
        } profiles[] = {{"", "needs the absolute path"}, {"missing.json", "No such file"}, {"bad.json", "bad.json: defaultAction"}};
        for (size_t i = 0; i < ARRAY_SIZE(profiles); i++) {
                f.seccomp.mode = SECCOMP_MODE(LOCALHOST);
                f.seccomp.profile_path = TEXT(profiles[i].path);
                render_refused(profiles[i].text);
        }
        f.spec.privileged = true;
        host_has_devices = false;
        render_refused("devices of the host: Permission denied");
        host_has_devices = true;
        f.seccomp.mode = (Bulkhead__RuntimeSpec__SeccompSpec__Mode)7;
        render_refused("seccomp");
        f.seccomp.mode = SECCOMP_MODE(LOCALHOST);
        f.seccomp.profile_path = TEXT("good.json");
        json = rendered();
        assert_eq_str(string_at(json_object_get(json, "linux"), "seccomp", "defaultAction"), "SCMP_ACT_ALLOW");
        json_decref(json);
        render_init();
}

static void test_apparmor(void)
{
        static const struct {
                const char *asked, *list; /* NULL: it cannot be read */
                bool if_loaded, has;
                const char *profile, *refusal; /* one of them */
        } rows[] = {
                {"", NULL, false, false, "", NULL},
                {"strict", "other (enforce)\nstrict (complain)\n", false, true, "strict", NULL},
                {"strict", "other (enforce)\n", false, true, NULL, "\"strict\" is not loaded"},
                {"strict", "strict (enforce)\n", false, false, NULL, "no AppArmor"},
                {"strict", NULL, false, true, NULL, "mount securityfs"},
                {"strict", "", false, true, NULL, "is not loaded"},
                {"strict", "strict2 (enforce)\nstric (enforce)\nvery strict (enforce)\nstrict too (enforce)\nstrict\nstrict (", false, true, NULL,
                 "is not loaded"},
                {"bulkhead-default", "bulkhead-default (enforce)", false, true, "bulkhead-default", NULL},
                {"bulkhead-default", "strict (enforce)\n", false, true, NULL, "apparmor_parser -r /etc/apparmor.d/bulkhead-default"},
                {"bulkhead-default", "strict (enforce)\n", true, true, "", NULL},
                {"bulkhead-default", "bulkhead-default (enforce)\n", true, true, "bulkhead-default", NULL},
                {"bulkhead-default", NULL, true, true, "", NULL},
                {"a (b)", "a (b) (kill)\n", false, true, "a (b)", NULL},
        };
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                const char *before = host_profiles;
                f.process.apparmor_profile = TEXT(rows[i].asked);
                f.process.apparmor_if_loaded = rows[i].if_loaded;
                facts.has_apparmor = rows[i].has;
                host_profiles = rows[i].list;
                if (rows[i].refusal) {
                        render_refused(rows[i].refusal);
                } else {
                        json_t *json = rendered();
                        const char *profile = string_at(json, "process", "apparmorProfile");
                        assert_eq_str(profile ? profile : "", rows[i].profile);
                        json_decref(json);
                }
                host_profiles = before;
                render_init();
        }
}

static void test_exec(void)
{
        f.capabilities[1] = TEXT("CAP_KILL");
        f.process.n_capabilities = 2;
        f.process.no_new_privileges = true;
        json_t *container = rendered(), *json = NULL;
        char *text = json_dumps(container, 0);
        size_t n = strlen(text);
        char *args[] = {TEXT("/bin/id")};
        f.process.args = args;
        f.process.n_args = 1;
        f.process.cwd = TEXT("/tmp");
        assert_ok(render_exec(&render, &f.process, text, n, &json));
        json_t *expected = json_deep_copy(json_object_get(container, "process"));
        (void)json_object_set_new(expected, "args", json_pack("[s]", "/bin/id"));
        (void)json_object_set_new(expected, "cwd", json_string("/tmp"));
        assert_true(json_equal(json, expected));
        json_decref(expected);
        json_decref(json);

        f.process.uid = 1;
        assert_eq_int(render_exec(&render, &f.process, text, n, &json), RENDER_E_FORBIDDEN);
        f.process.uid = 0;
        f.process.gid = 1;
        assert_eq_int(render_exec(&render, &f.process, text, n, &json), RENDER_E_FORBIDDEN);
        f.process.gid = 0;
        f.process.no_new_privileges = false;
        assert_eq_int(render_exec(&render, &f.process, text, n, &json), RENDER_E_FORBIDDEN);
        f.process.no_new_privileges = true;
        f.capabilities[0] = TEXT("CAP_SYS_ADMIN");
        assert_eq_int(render_exec(&render, &f.process, text, n, &json), RENDER_E_FORBIDDEN);
        f.capabilities[0] = TEXT("CAP_CHOWN");
        f.process.cwd = TEXT("/proc/self/fd/3");
        assert_eq_int(render_exec(&render, &f.process, text, n, &json), RENDER_E_REFUSED);
        f.process.cwd = TEXT("");
        assert_eq_int(render_exec(&render, &f.process, "{", 1, &json), RENDER_E_REFUSED);
        f.process.n_args = 0;
        assert_eq_int(render_exec(&render, &f.process, text, n, &json), RENDER_E_REFUSED);
        free(text);
        json_decref(container);
        render_init();
}

static void test_path_clean(void)
{
        char clean[PATH_CLEAN_MAX], longest[PATH_CLEAN_MAX + 1];
        assert_true(path_clean(clean, "//a/./b//c/"));
        assert_eq_str(clean, "/a/b/c");
        assert_true(path_clean(clean, "/"));
        assert_eq_str(clean, "/");
        assert_true(path_clean(clean, "/..a/b.."));
        assert_false(path_clean(clean, "a") || path_clean(clean, "") || path_clean(clean, "/a/..") || path_clean(clean, "/../a"));
        memset(longest, 'x', sizeof(longest));
        longest[0] = '/';
        longest[PATH_CLEAN_MAX - 1] = '\0';
        assert_true(path_clean(clean, longest));
        longest[PATH_CLEAN_MAX - 1] = 'x';
        longest[PATH_CLEAN_MAX] = '\0';
        assert_false(path_clean(clean, longest));
        assert_true(path_clean_is_beneath("/proc", "/proc") && path_clean_is_beneath("/proc/x", "/proc"));
        assert_false(path_clean_is_beneath("/process", "/proc") || path_clean_is_beneath("/", "/proc"));
        assert_true(path_clean_is_beneath("/x", "/"));
}

static void assert_limits(json_t *json, const char *wanted)
{
        json_error_t error;
        json_t *golden = json_loads(wanted, 0, &error);
        if (!golden)
                test_fail("%s", error.text);
        if (!json_equal(golden, json))
                test_fail("%s is rendered, not %s", json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS), wanted);
        json_decref(golden);
        json_decref(json);
}

static void assert_update(const Runtime__V1__LinuxContainerResources *asked, const char *before, const char *wanted)
{
        json_t *json = NULL;
        if (render_update(&render, asked, before, strlen(before), &json) != 0)
                test_fail("refused: %s", render.text);
        assert_limits(json, wanted);
}

#define LIMITS_NONE "{\"cpu\":{},\"memory\":{},\"hugepageLimits\":[]}"

/* Everything that is not a limit is left out; the rules of devices above all, which an update would write again. */
static void test_update_first(void)
{
        static const char config_json[] =
                "{\"linux\":{\"resources\":{\"devices\":[{\"allow\":false}],\"cpu\":{\"shares\":2},\"memory\":{},\"pids\":{\"limit\":5}}}}";
        json_t *json = NULL;
        render_init();
        assert_ok(render_update_first(&render, config_json, strlen(config_json), &json));
        assert_limits(json, "{\"cpu\":{\"shares\":2},\"memory\":{},\"pids\":{\"limit\":5}}");
        assert_eq_int(render_update_first(&render, "{", 1, &json), RENDER_E_REFUSED);
        assert_eq_int(render_update(&render, NULL, "[]", 2, &json), RENDER_E_REFUSED);
}

static void test_update(void)
{
        Runtime__V1__LinuxContainerResources asked = RUNTIME__V1__LINUX_CONTAINER_RESOURCES__INIT;
        Runtime__V1__HugepageLimit small = RUNTIME__V1__HUGEPAGE_LIMIT__INIT, large = RUNTIME__V1__HUGEPAGE_LIMIT__INIT;
        Runtime__V1__HugepageLimit *hugepages[] = {&small, &large};
        Runtime__V1__LinuxContainerResources__UnifiedEntry high = RUNTIME__V1__LINUX_CONTAINER_RESOURCES__UNIFIED_ENTRY__INIT;
        Runtime__V1__LinuxContainerResources__UnifiedEntry *unified[] = {&high};
        json_t *json = NULL;

        render_init();
        assert_update(NULL, "{}", LIMITS_NONE);
        assert_update(&asked, "{\"cpu\":{\"shares\":2},\"pids\":{\"limit\":5}}",
                      "{\"cpu\":{\"shares\":2},\"memory\":{},\"hugepageLimits\":[],\"pids\":{\"limit\":5}}");
        asked.cpu_quota = -1;
        asked.cpu_period = 1000;
        asked.cpuset_cpus = TEXT("0-1");
        asked.cpuset_mems = TEXT("0");
        assert_update(&asked, "{\"cpu\":{\"shares\":2,\"quota\":5}}",
                      "{\"cpu\":{\"shares\":2,\"quota\":-1,\"period\":1000,\"cpus\":\"0-1\",\"mems\":\"0\"},\"memory\":{},\"hugepageLimits\":[]}");

        /* Hugepages by their size, unified files by their name. */
        runtime__v1__linux_container_resources__init(&asked);
        small.page_size = TEXT("2MB");
        small.limit = 7;
        large.page_size = TEXT("1GB");
        asked.hugepage_limits = hugepages;
        asked.n_hugepage_limits = 2;
        high.key = TEXT("memory.high");
        high.value = TEXT("8");
        asked.unified = unified;
        asked.n_unified = 1;
        assert_update(&asked, "{\"hugepageLimits\":[{\"pageSize\":\"2MB\",\"limit\":1}],\"unified\":{\"memory.high\":\"1\",\"pids.max\":\"2\"}}",
                      "{\"cpu\":{},\"memory\":{},\"hugepageLimits\":[{\"pageSize\":\"2MB\",\"limit\":7},{\"pageSize\":\"1GB\",\"limit\":0}],"
                      "\"unified\":{\"memory.high\":\"8\",\"pids.max\":\"2\"}}");
        facts.has_unified = false;
        assert_eq_int(render_update(&render, &asked, "{}", 2, &json), RENDER_E_REFUSED);
        assert_true(strstr(render.text, "memory.high") != NULL);

        /* What a kubelet repeats on a node without the controller. */
        facts.has_hugepages = false;
        asked.n_unified = 0;
        assert_update(&asked, "{}", LIMITS_NONE);
}

/* The limit on both follows the one on memory. */
static void test_update_swap(void)
{
        static const struct {
                int64_t limit, swap, asked, asked_swap, then_swap; /* 0: none */
        } rows[] = {
                {10, 10, 20, 0, 20}, /* no swap stays no swap */
                {20, 20, 10, 0, 10},
                {10, 15, 12, 0, 15}, /* there is room */
                {10, 15, 20, 0, 20}, /* it would be the smaller one */
                {10, 0, 20, 0, 0},
                {10, 15, 20, 40, 40},
                {10, 15, 5, -1, -1},
                {10, -1, 20, 0, -1},
        };

        render_init();
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                Runtime__V1__LinuxContainerResources asked = RUNTIME__V1__LINUX_CONTAINER_RESOURCES__INIT;
                json_t *before = json_pack("{s:{s:I}}", "memory", "limit", (json_int_t)rows[i].limit), *json = NULL;
                if (rows[i].swap)
                        assert_ok(json_object_set_new(json_object_get(before, "memory"), "swap", json_integer(rows[i].swap)));
                char *text = json_dumps(before, 0);
                asked.memory_limit_in_bytes = rows[i].asked;
                asked.memory_swap_limit_in_bytes = rows[i].asked_swap;
                assert_ok(render_update(&render, &asked, text, strlen(text), &json));
                const json_t *memory = json_object_get(json, "memory");
                assert_eq_int(json_integer_value(json_object_get(memory, "limit")), rows[i].asked);
                assert_eq_int(json_integer_value(json_object_get(memory, "swap")), rows[i].then_swap);
                free(text);
                json_decref(before);
                json_decref(json);
        }
}

static void test_features(void)
{
        static const struct {
                const char *text;
                uint32_t features;
        } rows[] = {
                {"{}", 0},
                {"{\"mountOptions\":[\"ro\",\"rro\"]}", LAUNCH_FEATURE_RECURSIVE_READONLY},
                {"{\"mountOptions\":[\"ro\",7,\"rroo\"],\"linux\":{\"mountExtensions\":{\"idmap\":{\"enabled\":false}}}}", 0},
                {"{\"linux\":{\"mountExtensions\":{\"idmap\":{\"enabled\":true}}}}", LAUNCH_FEATURE_IDMAP},
                {"{\"annotations\":{\"org.opencontainers.runc.checkpoint.enabled\":\"true\"}}", LAUNCH_FEATURE_CHECKPOINT},
                {"{\"annotations\":{\"run.oci.crun.checkpoint.enabled\":\"true\"}}", LAUNCH_FEATURE_CHECKPOINT},
                {"{\"annotations\":{\"run.oci.crun.checkpoint.enabled\":\"false\"},\"mountOptions\":\"rro\"}", 0},
        };
        uint32_t features = 0;
        render_init();
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                assert_ok(render_features(&render, rows[i].text, strlen(rows[i].text), &features));
                assert_eq_int(features, rows[i].features);
        }
        assert_eq_int(render_features(&render, "[]", 2, &features), RENDER_E_REFUSED);
        assert_eq_int(render_features(&render, "unknown command", 15, &features), RENDER_E_REFUSED);
}

int main(void)
{
        render_init();
        TEST_RUN(test_golden);
        render_init();
        TEST_RUN(test_namespaces);
        TEST_RUN(test_sources);
        TEST_RUN(test_clamps);
        TEST_RUN(test_env);
        TEST_RUN(test_refusals);
        TEST_RUN(test_apparmor);
        TEST_RUN(test_exec);
        TEST_RUN(test_update_first);
        TEST_RUN(test_update);
        TEST_RUN(test_update_swap);
        TEST_RUN(test_features);
        TEST_RUN(test_path_clean);
        return 0;
}
