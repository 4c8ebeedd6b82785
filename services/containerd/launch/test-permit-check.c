/* SPDX-License-Identifier: Apache-2.0 */

/* Every comparison, from both sides: the spec asks for more and is refused by name, the request says it too and it passes. */

#include "services/containerd/launch/test-fixture.h"

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

static Fixture f;

static void fixture_refused(const char *text)
{
        f.check.text[0] = '\0';
        assert_eq_int(permit_check_create(&f.check), PERMIT_CHECK_E_REFUSED);
        if (!strstr(f.check.text, text))
                test_fail("\"%s\" does not say \"%s\"", f.check.text, text);
}

static void fixture_allowed(void)
{
        int r = permit_check_create(&f.check);
        if (r != 0)
                test_fail("refused: %s", f.check.text);
        fixture_init(&f);
}

static void test_agreement(void)
{
        fixture_init(&f);
        fixture_allowed();
}

static void test_identity(void)
{
        fixture_init(&f);
        f.spec.container_id = TEXT(FIXTURE_POD);
        fixture_refused("container_id");
        fixture_init(&f);
        f.spec.pod_id = TEXT(FIXTURE_ID);
        fixture_refused("pod_id");
        fixture_init(&f);
        f.request.pod_sandbox_id = TEXT("3333");
        fixture_refused("pod_sandbox_id");
        f.request.pod_sandbox_id = TEXT("");
        fixture_refused("pod_sandbox_id");
        f.request.pod_sandbox_id = TEXT("2222");
        fixture_allowed();
        f.spec.cgroup_parent = TEXT("/kubepods");
        fixture_refused("cgroup_parent");
        f.linux_pod.cgroup_parent = TEXT("/kubepods"); /* the permit still says otherwise */
        fixture_refused("cgroup_parent");
        (void)str_copy(f.permit.cgroup_parent, sizeof(f.permit.cgroup_parent), "/kubepods");
        fixture_allowed();
        f.request.config = NULL;
        fixture_refused("config");
        fixture_init(&f);
        f.spec.process = NULL;
        fixture_refused("process");
        fixture_init(&f);
}

static void test_privileged(void)
{
        f.spec.privileged = true;
        fixture_refused("privileged");
        f.context.privileged = true;
        f.check.allow_privileged = false;
        fixture_refused("policy");
        f.check.allow_privileged = true;
        fixture_allowed();

        /* It overrides lists, but the node's policy overrides it. */
        f.capabilities[0] = TEXT("CAP_SYS_ADMIN");
        f.spec_device.host_path = TEXT("/dev/sda");
        f.context.masked_paths = f.args;
        f.context.n_masked_paths = 1;
        f.context.privileged = true;
        assert_ok(permit_check_create(&f.check));
        f.check.allow_privileged = false;
        fixture_refused("CAP_SYS_ADMIN");
        fixture_init(&f);
}

static void test_command(void)
{
        f.args[2] = TEXT("two");
        f.process.n_args = 3;
        fixture_refused("args");
        f.config.n_args = 2;
        fixture_allowed();
        char *other[] = {TEXT("/bin/other"), TEXT("one")};
        f.process.args = other;
        fixture_refused("command");
        f.config.n_command = 0; /* the image's entrypoint */
        fixture_allowed();
        char *shorter[] = {TEXT("/bin/run")};
        f.process.args = shorter;
        f.process.n_args = 1;
        fixture_refused("args");
        f.config.n_args = 0;
        fixture_allowed();
        f.process.args = other;
        f.config.n_command = f.config.n_args = 0; /* all the image's */
        fixture_allowed();
        f.config.n_command = f.config.n_args = 0;
        f.process.n_args = 0;
        fixture_refused("args");
        fixture_init(&f);
        f.process.n_args = 0;
        fixture_refused("args");
        fixture_init(&f);
}

static void test_user(void)
{
        f.process.uid = 1; /* the image's */
        fixture_allowed();
        f.user.value = 1000;
        f.context.run_as_user = &f.user;
        fixture_refused("uid 0");
        f.process.uid = 1000;
        fixture_allowed();
        f.group.value = 7;
        f.context.run_as_group = &f.group;
        f.process.gid = 0;
        fixture_refused("gid 0");
        f.process.gid = 7;
        fixture_allowed();
        uint32_t groups[] = {50, 60};
        int64_t listed[] = {50, 60};
        f.process.additional_gids = groups;
        f.process.n_additional_gids = 2;
        fixture_allowed();
        f.process.additional_gids = groups;
        f.process.n_additional_gids = 2;
        f.context.supplemental_groups_policy = RUNTIME__V1__SUPPLEMENTAL_GROUPS_POLICY__Strict;
        f.context.supplemental_groups = listed;
        f.context.n_supplemental_groups = 1;
        fixture_refused("additional_gids 60");
        f.context.n_supplemental_groups = 2;
        fixture_allowed();
}

static void test_process(void)
{
        f.context.no_new_privs = true;
        fixture_refused("no_new_privileges");
        f.process.no_new_privileges = true;
        fixture_allowed();
        f.process.no_new_privileges = true; /* more than asked for is fine */
        fixture_allowed();
        f.process.terminal = true;
        fixture_refused("terminal");
        f.config.tty = true;
        fixture_allowed();
        f.config.tty = true;
        fixture_refused("terminal");
        fixture_init(&f);
        f.process.oom_score_adj = -500;
        f.process.has_oom_score_adj = true;
        fixture_refused("oom_score_adj");
        f.limits.oom_score_adj = -500;
        fixture_allowed();
        f.limits.oom_score_adj = 1000; /* none means 0, which is better than was asked */
        fixture_refused("oom_score_adj 0");
        fixture_init(&f);
        f.context.readonly_rootfs = true;
        fixture_refused("root_readonly");
        f.spec.root_readonly = true;
        fixture_allowed();
}

static void test_capabilities(void)
{
        char *names[] = {TEXT("NET_ADMIN")}, *all[] = {TEXT("ALL")}, *chown[] = {TEXT("CHOWN")}, *ambient[] = {TEXT("CAP_CHOWN")};
        f.capabilities[0] = TEXT("CAP_NET_ADMIN");
        fixture_refused("CAP_NET_ADMIN");
        f.capability.add_capabilities = names;
        f.capability.n_add_capabilities = 1;
        fixture_allowed();
        f.capabilities[0] = TEXT("CAP_SYS_MODULE");
        f.capability.add_capabilities = all;
        f.capability.n_add_capabilities = 1;
        fixture_allowed();
        f.capability.drop_capabilities = all;
        f.capability.n_drop_capabilities = 1;
        fixture_refused("CAP_CHOWN");
        f.capability.add_capabilities = chown;
        f.capability.n_add_capabilities = 1;
        fixture_allowed();
        f.capability.drop_capabilities = chown;
        f.capability.n_drop_capabilities = 1;
        fixture_refused("CAP_CHOWN");
        fixture_init(&f);
        f.capabilities[0] = TEXT("CAP_NO_SUCH");
        fixture_refused("CAP_NO_SUCH");
        fixture_init(&f);
        f.process.ambient_capabilities = ambient;
        f.process.n_ambient_capabilities = 1;
        fixture_refused("ambient_capabilities CAP_CHOWN");
        f.capability.add_ambient_capabilities = chown;
        f.capability.n_add_ambient_capabilities = 1;
        f.process.n_capabilities = 0; /* ambient without being permitted */
        fixture_refused("ambient_capabilities CAP_CHOWN");
        f.process.n_capabilities = 1;
        fixture_allowed();
        f.linux_config.security_context = NULL; /* no security context: the defaults */
        f.capabilities[0] = TEXT("CAP_SYS_ADMIN");
        fixture_refused("CAP_SYS_ADMIN");
        fixture_init(&f);
}

static void test_namespaces(void)
{
        f.spec.namespaces = PERMIT_FLAG_HOST_NETWORK;
        f.spec.network_pin = TEXT("");
        fixture_refused("host's network");
        f.namespaces.network = NAMESPACE_MODE(NODE);
        fixture_allowed();
        f.spec.namespaces = PERMIT_FLAG_HOST_NETWORK;
        f.spec.network_pin = TEXT("");
        f.pod_namespaces.network = NAMESPACE_MODE(NODE);
        fixture_allowed();
        f.spec.network_pin = TEXT("");
        fixture_refused("network_pin");
        f.spec.network_pin = TEXT("bh-" FIXTURE_ID);
        fixture_refused("network_pin");
        f.check.instance = "test-";
        f.spec.network_pin = TEXT("test-bh-" FIXTURE_POD);
        fixture_allowed();
        f.spec.namespaces = PERMIT_FLAG_HOST_IPC;
        fixture_refused("host's ipc");
        f.namespaces.ipc = NAMESPACE_MODE(NODE);
        fixture_allowed();
        f.spec.namespaces = PERMIT_FLAG_HOST_PID;
        fixture_refused("host's pid");
        f.pod_namespaces.pid = NAMESPACE_MODE(NODE); /* the container says for itself */
        fixture_refused("host's pid");
        f.namespaces.pid = NAMESPACE_MODE(NODE);
        fixture_allowed();
        f.spec.namespaces = PERMIT_FLAG_POD_PID;
        fixture_refused("pod's pid");
        f.namespaces.pid = NAMESPACE_MODE(POD);
        fixture_allowed();
        f.spec.namespaces = 1u << 20;
        fixture_refused("unknown");
        fixture_init(&f);
        f.spec.target_container = TEXT(FIXTURE_POD);
        fixture_refused("target_container");
        f.namespaces.pid = NAMESPACE_MODE(TARGET);
        f.namespaces.target_id = TEXT("3");
        fixture_refused("target_container");
        f.namespaces.target_id = TEXT("22");
        fixture_allowed();
        f.namespaces.pid = NAMESPACE_MODE(TARGET);
        f.namespaces.target_id = f.spec.target_container = TEXT("../etc");
        fixture_refused("target_container");
        fixture_init(&f);
}

static void test_user_namespace(void)
{
        Runtime__V1__UserNamespace user = RUNTIME__V1__USER_NAMESPACE__INIT;
        Runtime__V1__IDMapping mapping = RUNTIME__V1__IDMAPPING__INIT, *mappings[] = {&mapping};
        user.uids = user.gids = mappings;
        user.n_uids = user.n_gids = 1;
        mapping.host_id = 100000;
        mapping.length = 65536;
        f.spec.namespaces = PERMIT_FLAG_USERNS;
        fixture_refused("user namespace");
        f.namespaces.userns_options = &user;
        fixture_refused("userns_host_id");
        f.spec.userns_host_id = 100000;
        f.spec.userns_length = 65536;
        fixture_allowed();
        f.namespaces.userns_options = &user;
        fixture_refused("no user namespace");
        fixture_init(&f);
}

static void test_mounts(void)
{
        f.bind.host_path = TEXT("/etc");
        fixture_refused("/etc at /data");
        fixture_init(&f);
        f.bind.destination = TEXT("/elsewhere");
        fixture_refused("/srv/data at /elsewhere");
        fixture_init(&f);
        f.bind.host_path = TEXT("//srv/./data/"); /* another spelling of the same */
        fixture_allowed();
        f.bind.host_path = f.mount.host_path = TEXT("/srv/../etc");
        fixture_refused("give an absolute path");
        fixture_init(&f);
        f.bind.destination = f.mount.container_path = TEXT("/a/../b");
        fixture_refused("..");
        f.bind.destination = f.mount.container_path = TEXT("/");
        fixture_refused("destination");
        f.bind.destination = f.mount.container_path = TEXT("relative");
        fixture_refused("destination");
        fixture_init(&f);
        f.mount.readonly = true;
        fixture_refused("readonly 0");
        f.bind.readonly = true;
        fixture_allowed();
        f.bind.propagation = RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_BIDIRECTIONAL;
        f.mount.propagation = RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_HOST_TO_CONTAINER;
        fixture_refused("propagation 2");
        f.mount.propagation = RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_BIDIRECTIONAL;
        fixture_allowed();
        f.mount.recursive_read_only = f.mount.readonly = f.bind.readonly = true;
        fixture_refused("recursive_readonly 0");
        f.bind.recursive_readonly = true;
        fixture_allowed();
        f.bind.recursive_readonly = true;
        fixture_refused("needs readonly");
        f.bind.readonly = true;
        f.bind.propagation = f.mount.propagation = RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_HOST_TO_CONTAINER;
        fixture_refused("needs readonly");
        fixture_init(&f);
        Runtime__V1__ImageSpec image = RUNTIME__V1__IMAGE_SPEC__INIT;
        image.image = TEXT("data:1");
        f.mount.image = &image; /* an image volume's path is not the host's */
        fixture_refused("/data");
        for (size_t i = 0; i < 5; i++) {
                f.mount.image = &image;
                f.mount.host_path = TEXT("");
                f.bind.kind = MOUNT_KIND(IMAGE);
                f.bind.host_path = TEXT(i == 4 ? "/srv/data" : "");
                f.bind.readonly = i != 1;
                f.bind.volume = i == 2;
                f.bind.destination = TEXT(i == 3 ? "/elsewhere" : "/data");
                if (i == 0)
                        fixture_allowed();
                else
                        fixture_refused(i == 1 ? "read-only" : i == 4 ? "host_path" : "image volume");
                fixture_init(&f);
        }
        Runtime__V1__IDMapping mapping = RUNTIME__V1__IDMAPPING__INIT, *mappings[] = {&mapping};
        /* Owners are mapped as asked, when asked, and by the pod's own map. */
        Runtime__V1__UserNamespace user = RUNTIME__V1__USER_NAMESPACE__INIT;
        mapping.host_id = 100000;
        mapping.length = 65536;
        user.uids = user.gids = mappings;
        user.n_uids = user.n_gids = 1;
        for (size_t i = 0; i < 5; i++) {
                Runtime__V1__IDMapping other = mapping, *others[] = {&other, &other};
                f.pod_namespaces.userns_options = &user;
                f.spec.namespaces = PERMIT_FLAG_USERNS;
                f.spec.userns_host_id = 100000;
                f.spec.userns_length = 65536;
                f.mount.uidmappings = f.mount.gidmappings = others;
                f.mount.n_uidmappings = f.mount.n_gidmappings = i == 1 ? 0 : i == 2 ? 2 : 1;
                f.bind.mapped = i != 3;
                other.host_id = i == 4 ? 0 : 100000;
                if (i == 0)
                        fixture_allowed();
                else
                        fixture_refused("uidMappings");
                fixture_init(&f);
        }
        f.mount.uidmappings = f.mount.gidmappings = mappings;
        f.mount.n_uidmappings = f.mount.n_gidmappings = 1;
        f.bind.mapped = true;
        fixture_refused("uidMappings"); /* and the pod has no user namespace */
        fixture_init(&f);
        char *noexec[] = {TEXT("noexec"), TEXT("nosuid")}, *suid[] = {TEXT("noexec"), TEXT("suid")};
        f.mount.mount_options = noexec;
        f.mount.n_mount_options = 1;
        fixture_refused("mount_options");
        for (size_t i = 0; i < 2; i++) {
                fixture_init(&f);
                f.mount.mount_options = noexec;
                f.mount.n_mount_options = 1;
                f.bind.options = i ? suid : noexec;
                f.bind.n_options = 2;
                if (i)
                        fixture_refused("mount_options");
                else
                        fixture_allowed();
        }
        fixture_init(&f);
        f.check.allow_host_paths = false;
        fixture_refused("policy");
        f.bind.host_path = f.mount.host_path = TEXT("/var/lib/kubelet/pods-evil");
        fixture_refused("policy");
        f.bind.host_path = f.mount.host_path = TEXT("/var/lib/kubelet/pods/other/volumes/x");
        fixture_refused("/var/lib/kubelet/pods/uid");
        f.bind.host_path = f.mount.host_path = TEXT("/var/lib/kubelet/pods/uid/volumes/x");
        static const char *const uids[] = {"", ".", "..", "uid/volumes", "/"};
        for (size_t i = 0; i < ARRAY_SIZE(uids); i++) {
                f.pod_metadata.uid = TEXT(uids[i]);
                fixture_refused("policy");
        }
        f.pod.metadata = NULL;
        fixture_refused("policy");
        f.pod.metadata = &f.pod_metadata;
        f.pod_metadata.uid = TEXT("uid");
        fixture_allowed();
        f.spec.n_mounts = 1025;
        fixture_refused("1025");
        fixture_init(&f);

        /* What the runtime provides. */
        f.proc.host_path = TEXT("/proc");
        fixture_refused("host_path");
        f.proc.host_path = TEXT("");
        f.proc.destination = TEXT("/host");
        fixture_refused("belongs at /proc");
        f.proc.kind = MOUNT_KIND(SYSFS);
        f.proc.destination = TEXT("/sys");
        fixture_refused("writable");
        f.context.privileged = true;
        fixture_allowed();
        f.proc.kind = MOUNT_KIND(CGROUP);
        f.proc.destination = TEXT("/sys/fs/cgroup");
        fixture_refused("writable");
        f.proc.readonly = true;
        fixture_allowed();
        static const char *const covered[] = {"/proc", "/proc/self/attr", "//proc/.", "/sys", "/dev", "/dev/shm"};
        for (size_t i = 0; i < ARRAY_SIZE(covered); i++) {
                f.proc.kind = i % 2 ? MOUNT_KIND(VOLUME) : MOUNT_KIND(TMPFS);
                f.proc.destination = TEXT(covered[i]);
                fixture_refused("cannot lie in");
        }
        f.proc.destination = TEXT("/devices");
        fixture_allowed();
        f.proc.kind = (Bulkhead__RuntimeSpec__MountSpec__Kind)77;
        fixture_refused("kind 77");
        fixture_init(&f);
}

static void test_devices(void)
{
        f.spec_device.host_path = TEXT("/dev/sda");
        fixture_refused("/dev/sda");
        fixture_init(&f);
        f.spec_device.container_path = TEXT("/dev/other");
        fixture_refused("/dev/other");
        fixture_init(&f);
        f.spec_device.permissions = TEXT("rwm");
        fixture_refused("rwm");
        f.device.permissions = TEXT("mrw");
        fixture_allowed();
        f.device.container_path = f.spec_device.container_path = TEXT("");
        fixture_allowed();
}

static void test_seccomp(void)
{
        f.context.seccomp = &f.seccomp_profile; /* RuntimeDefault */
        fixture_refused("Unconfined: the request says RuntimeDefault");
        f.seccomp.mode = SECCOMP_MODE(RUNTIME_DEFAULT);
        fixture_allowed();
        f.context.seccomp = &f.seccomp_profile;
        f.spec.seccomp = NULL;
        fixture_refused("Unconfined");
        fixture_init(&f);
        f.seccomp.mode = SECCOMP_MODE(RUNTIME_DEFAULT); /* more than nothing */
        fixture_allowed();
        f.seccomp_profile.profile_type = RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__Localhost;
        f.seccomp_profile.localhost_ref = TEXT("/var/lib/kubelet/seccomp/a.json");
        f.context.seccomp = &f.seccomp_profile;
        f.seccomp.mode = SECCOMP_MODE(LOCALHOST);
        f.seccomp.profile_path = TEXT("/var/lib/kubelet/seccomp/b.json");
        fixture_refused("b.json");
        f.seccomp.profile_path = TEXT("/var/lib/kubelet/seccomp/a.json");
        fixture_allowed();
        f.seccomp_profile.profile_type = (Runtime__V1__SecurityProfile__ProfileType)9;
        f.context.seccomp = &f.seccomp_profile;
        fixture_refused("unknown");
        fixture_init(&f);
        f.seccomp.mode = (Bulkhead__RuntimeSpec__SeccompSpec__Mode)9;
        fixture_refused("unknown");
        fixture_init(&f);

        static const struct {
                const char *old;
                Bulkhead__RuntimeSpec__SeccompSpec__Mode mode;
                const char *path;
        } olds[] = {{"runtime/default", SECCOMP_MODE(RUNTIME_DEFAULT), ""},
                    {"docker/default", SECCOMP_MODE(RUNTIME_DEFAULT), ""},
                    {"localhost//p.json", SECCOMP_MODE(LOCALHOST), "/p.json"}};
        for (size_t i = 0; i < ARRAY_SIZE(olds); i++) {
                f.context.seccomp_profile_path = TEXT(olds[i].old);
                fixture_refused("Unconfined");
                f.seccomp.mode = olds[i].mode;
                f.seccomp.profile_path = TEXT(olds[i].path);
                fixture_allowed();
        }
        f.context.seccomp_profile_path = TEXT("unconfined");
        fixture_allowed();
        f.context.seccomp_profile_path = TEXT("what");
        fixture_refused("what");
        fixture_init(&f);
}

static void test_labels(void)
{
        static const struct {
                int type; /* -1: the new field is not given */
                const char *ref, *old;
                bool privileged, has;
                const char *wanted; /* NULL: any */
        } rows[] = {
                {-1, "", "", false, true, "bulkhead-default"}, {-1, "", "", false, false, ""}, {-1, "", "", true, true, NULL},
                {0, "", "", false, true, "bulkhead-default"}, {0, "", "", false, false, ""}, {0, "", "", true, true, NULL},
                {1, "", "localhost/strict", false, true, NULL}, {2, "strict", "", false, true, "strict"},
                {2, "localhost/strict", "unconfined", false, true, "strict"}, {2, "strict", "", true, true, "strict"},
                {2, "strict", "", false, false, "strict"}, {-1, "", "localhost/strict", false, true, "strict"},
                {-1, "", "runtime/default", false, true, "bulkhead-default"}, {-1, "", "docker/default", false, true, "bulkhead-default"},
                {-1, "", "unconfined", false, true, NULL},
        };
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
                for (size_t k = 0; k < 4; k++) {
                        char *asked[] = {TEXT(""), TEXT("bulkhead-default"), TEXT("strict"), TEXT("loose")};
                        f.context.apparmor = rows[i].type < 0 ? NULL : &f.apparmor_profile;
                        f.apparmor_profile.profile_type = (Runtime__V1__SecurityProfile__ProfileType)(rows[i].type < 0 ? 0 : rows[i].type);
                        f.apparmor_profile.localhost_ref = TEXT(rows[i].ref);
                        f.context.apparmor_profile = TEXT(rows[i].old);
                        f.context.privileged = f.pod_context.privileged = rows[i].privileged;
                        f.check.has_apparmor = rows[i].has;
                        f.process.apparmor_profile = asked[k];
                        if (rows[i].wanted && !str_equal(asked[k], rows[i].wanted))
                                fixture_refused("apparmor_profile");
                        else
                                fixture_allowed();
                        fixture_init(&f);
                }
        /* Only a request that leaves it open may end without. */
        f.check.has_apparmor = true;
        f.process.apparmor_if_loaded = true;
        f.process.apparmor_profile = TEXT("bulkhead-default");
        f.context.apparmor = &f.apparmor_profile;
        fixture_refused("apparmor_if_loaded");
        f.context.apparmor = NULL;
        fixture_allowed();
        f.context.apparmor = &f.apparmor_profile;
        f.apparmor_profile.profile_type = RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__Localhost;
        fixture_refused("names no profile");
        f.apparmor_profile.profile_type = (Runtime__V1__SecurityProfile__ProfileType)7;
        fixture_refused("unknown");
        f.context.apparmor = NULL;
        f.context.apparmor_profile = TEXT("strict");
        fixture_refused("unknown");
        f.context.apparmor_profile = TEXT("unconfined");
        fixture_allowed();
}

static void test_paths(void)
{
        char *masked[] = {TEXT("/proc/kcore"), TEXT("/proc/keys")};
        f.context.masked_paths = masked;
        f.context.n_masked_paths = 2;
        f.spec.masked_paths = masked;
        f.spec.n_masked_paths = 1;
        fixture_refused("masked_paths: without \"/proc/keys\"");
        f.spec.n_masked_paths = 2;
        fixture_allowed();
        f.spec.masked_paths = masked; /* more than asked for */
        f.spec.n_masked_paths = 2;
        fixture_allowed();
        f.context.readonly_paths = masked;
        f.context.n_readonly_paths = 1;
        fixture_refused("readonly_paths");
        f.spec.readonly_paths = masked;
        f.spec.n_readonly_paths = 1;
        fixture_allowed();
}

static void test_sysctls(void)
{
        Bulkhead__RuntimeSpec__SysctlSpec asked = BULKHEAD__RUNTIME_SPEC__SYSCTL_SPEC__INIT, *asked_list[] = {&asked};
        Runtime__V1__LinuxPodSandboxConfig__SysctlsEntry entry = RUNTIME__V1__LINUX_POD_SANDBOX_CONFIG__SYSCTLS_ENTRY__INIT;
        Runtime__V1__LinuxPodSandboxConfig__SysctlsEntry *entries[] = {&entry};
        asked.name = entry.key = TEXT("net.ipv4.ip_forward");
        asked.value = TEXT("1");
        entry.value = TEXT("0");
        f.spec.sysctls = asked_list;
        f.spec.n_sysctls = 1;
        fixture_refused("net.ipv4.ip_forward");
        f.linux_pod.sysctls = entries;
        f.linux_pod.n_sysctls = 1;
        fixture_refused("net.ipv4.ip_forward=1");
        entry.value = TEXT("1");
        assert_ok(permit_check_create(&f.check));
        f.spec.namespaces = PERMIT_FLAG_HOST_NETWORK;
        f.namespaces.network = NAMESPACE_MODE(NODE);
        fixture_refused("shares that namespace");
        f.spec.namespaces = 0;
        static const char *const outside[] = {"kernel.core_pattern", "net/../kernel/core_pattern", "net..kernel", "vm.swappiness"};
        for (size_t i = 0; i < ARRAY_SIZE(outside); i++) {
                asked.name = entry.key = TEXT(outside[i]);
                fixture_refused("no namespace");
        }
        asked.name = entry.key = TEXT("kernel.shm_rmid_forced");
        f.spec.namespaces = PERMIT_FLAG_HOST_IPC;
        f.namespaces.ipc = NAMESPACE_MODE(NODE);
        fixture_refused("shares that namespace");
        f.spec.namespaces = 0;
        fixture_allowed();
}

static void test_cdi(void)
{
        Runtime__V1__CDIDevice device = RUNTIME__V1__CDIDEVICE__INIT, *devices[] = {&device};
        char *asked[] = {TEXT("vendor.com/gpu=0"), TEXT("vendor.com/gpu=1")};
        device.name = asked[0];
        f.config.cdi_devices = devices;
        f.config.n_cdi_devices = 1;
        fixture_allowed();
        f.config.cdi_devices = devices;
        f.config.n_cdi_devices = 1;
        f.spec.cdi_devices = asked;
        f.spec.n_cdi_devices = 1;
        fixture_allowed();
        f.config.cdi_devices = devices;
        f.config.n_cdi_devices = 1;
        f.spec.cdi_devices = asked;
        f.spec.n_cdi_devices = 2;
        fixture_refused("vendor.com/gpu=1");
        fixture_init(&f);
}

static void test_resources(void)
{
        int64_t *const asked[] = {&f.resources.cpu_period, &f.resources.cpu_quota, &f.resources.cpu_shares,
                                  &f.resources.memory_limit_bytes, &f.resources.memory_swap_limit_bytes};
        int64_t *const requested[] = {&f.limits.cpu_period, &f.limits.cpu_quota, &f.limits.cpu_shares,
                                      &f.limits.memory_limit_in_bytes, &f.limits.memory_swap_limit_in_bytes};
        for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
                *asked[i] = 100;
                fixture_refused("100");
                *requested[i] = 100;
                fixture_allowed();
        }
        f.resources.cpuset_cpus = TEXT("0-3");
        fixture_refused("0-3");
        f.limits.cpuset_cpus = TEXT("0-3");
        fixture_allowed();
        f.limits.cpuset_mems = TEXT("0");
        fixture_refused("cpuset");
        fixture_init(&f);
        f.resources.pids_limit = 10; /* the node's own */
        fixture_allowed();

        Bulkhead__RuntimeSpec__UnifiedSpec unified = BULKHEAD__RUNTIME_SPEC__UNIFIED_SPEC__INIT, *unifieds[] = {&unified};
        Runtime__V1__LinuxContainerResources__UnifiedEntry entry = RUNTIME__V1__LINUX_CONTAINER_RESOURCES__UNIFIED_ENTRY__INIT;
        Runtime__V1__LinuxContainerResources__UnifiedEntry *entries[] = {&entry};
        unified.key = entry.key = TEXT("memory.high");
        unified.value = TEXT("1");
        entry.value = TEXT("2");
        f.resources.unified = unifieds;
        f.resources.n_unified = 1;
        fixture_refused("unified");
        f.limits.unified = entries;
        f.limits.n_unified = 1;
        fixture_refused("memory.high=1");
        f.resources.n_unified = 0;
        fixture_refused("sets 1 files, not 0");
        f.resources.n_unified = 1;
        entry.value = TEXT("1");
        assert_ok(permit_check_create(&f.check));
        static const char *const paths[] = {"../x", "memory.max/../../y", "cgroup.procs", "memory", ".hidden", "a..b"};
        for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
                unified.key = entry.key = TEXT(paths[i]);
                fixture_refused("unified");
        }
        fixture_init(&f);
        Bulkhead__RuntimeSpec__HugepageSpec page = BULKHEAD__RUNTIME_SPEC__HUGEPAGE_SPEC__INIT, *pages[] = {&page};
        Runtime__V1__HugepageLimit limit = RUNTIME__V1__HUGEPAGE_LIMIT__INIT, *limits[] = {&limit};
        page.page_size = limit.page_size = TEXT("2MB");
        page.limit_bytes = 5;
        f.resources.hugepages = pages;
        f.resources.n_hugepages = 1;
        fixture_refused("hugepages");
        f.limits.hugepage_limits = limits;
        f.limits.n_hugepage_limits = 1;
        fixture_refused("2MB");
        limit.limit = 5;
        fixture_allowed();
}

int main(void)
{
        fixture_init(&f);
        TEST_RUN(test_agreement);
        TEST_RUN(test_identity);
        TEST_RUN(test_privileged);
        TEST_RUN(test_command);
        TEST_RUN(test_user);
        TEST_RUN(test_process);
        TEST_RUN(test_capabilities);
        TEST_RUN(test_namespaces);
        TEST_RUN(test_user_namespace);
        TEST_RUN(test_mounts);
        TEST_RUN(test_devices);
        TEST_RUN(test_seccomp);
        TEST_RUN(test_labels);
        TEST_RUN(test_paths);
        TEST_RUN(test_sysctls);
        TEST_RUN(test_cdi);
        TEST_RUN(test_resources);
        return 0;
}
