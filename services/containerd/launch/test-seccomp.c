/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/launch/seccomp.h"
#include "lib/strings.h"
#include "lib/test.h"

#include <linux/capability.h>

static json_t *rule_of(const json_t *profile, const char *name, const char *action)
{
        size_t i, k;
        json_t *rule, *value;
        json_array_foreach(json_object_get(profile, "syscalls"), i, rule)
                if (str_equal(json_string_value(json_object_get(rule, "action")), action) &&
                    json_array_size(json_object_get(rule, "args")) == 0)
                        json_array_foreach(json_object_get(rule, "names"), k, value)
                                if (str_equal(json_string_value(value), name))
                                        return rule;
        return NULL;
}

/* Is this argument of that call allowed by the rules with arguments? As the kernel's filter would see it: 64 bits. */
static bool argument_allowed(const json_t *profile, const char *name, uint64_t value)
{
        size_t i;
        json_t *rule;
        json_array_foreach(json_object_get(profile, "syscalls"), i, rule) {
                json_t *arg = json_array_get(json_object_get(rule, "args"), 0);
                if (!arg || !str_equal(json_string_value(json_array_get(json_object_get(rule, "names"), 0)), name))
                        continue;
                uint64_t first = (uint64_t)json_integer_value(json_object_get(arg, "value"));
                uint64_t two = (uint64_t)json_integer_value(json_object_get(arg, "valueTwo"));
                if (str_equal(json_string_value(json_object_get(arg, "op")), "SCMP_CMP_MASKED_EQ") ? (value & first) == two
                                                                                                    : value == first)
                        return true;
        }
        return false;
}

static void test_default(void)
{
        SeccompContext context = {.capabilities = capability_set_default()};
        json_t *profile = seccomp_default(&context);
        static const char *const allowed[] = {"read", "execve", "futex", "openat2", "ptrace", "socketpair", "waitid", "chroot"};
        static const char *const denied[] = {"mount", "unshare", "setns", "bpf", "keyctl", "io_uring_setup", "userfaultfd", "reboot",
                                             "open_by_handle_at", "kexec_load", "perf_event_open", "socket", "socketcall", "clone",
                                             "init_module", "pivot_root", "fsopen", "process_vm_writev", "syslog", "settimeofday"};
        assert_eq_str(json_string_value(json_object_get(profile, "defaultAction")), "SCMP_ACT_ERRNO");
        assert_eq_int(json_integer_value(json_object_get(profile, "defaultErrnoRet")), EPERM);
        json_t *first = json_array_get(json_object_get(profile, "syscalls"), 0);
        assert_true(json_array_size(json_object_get(first, "names")) > 300);
        for (size_t i = 0; i < ARRAY_SIZE(allowed); i++)
                assert_true(rule_of(profile, allowed[i], "SCMP_ACT_ALLOW") != NULL);
        for (size_t i = 0; i < ARRAY_SIZE(denied); i++)
                if (rule_of(profile, denied[i], "SCMP_ACT_ALLOW"))
                        test_fail("%s is allowed", denied[i]);

        for (uint64_t family = 0; family < 48; family++) {
                assert_eq_int(argument_allowed(profile, "socket", family), family != 38 && family != 40);
                assert_eq_int(argument_allowed(profile, "socket", family | UINT64_C(0xdead00000000)), family != 38 && family != 40);
        }
        assert_false(argument_allowed(profile, "socket", 48));
        assert_true(argument_allowed(profile, "clone", 0x3d0f00));
        assert_false(argument_allowed(profile, "clone", 0x10000000));
        assert_true(argument_allowed(profile, "personality", 8) && !argument_allowed(profile, "personality", 0x40000));
        json_t *clone3 = rule_of(profile, "clone3", "SCMP_ACT_ERRNO");
        assert_eq_int(json_integer_value(json_object_get(clone3, "errnoRet")), ENOSYS);
        json_decref(profile);

        context.capabilities = UINT64_C(1) << CAP_SYS_ADMIN;
        profile = seccomp_default(&context);
        assert_true(rule_of(profile, "mount", "SCMP_ACT_ALLOW") && rule_of(profile, "clone3", "SCMP_ACT_ALLOW"));
        assert_false(rule_of(profile, "chroot", "SCMP_ACT_ALLOW"));
        assert_false(rule_of(profile, "clone3", "SCMP_ACT_ERRNO"));
        json_decref(profile);
}

static const SeccompContext parse_context = {.capabilities = UINT64_C(1) << CAP_SYS_ADMIN, .kernel_version = 6 << 16 | 1};

static char *parse(const char *text)
{
        json_t *profile = NULL;
        char why[256] = "";
        size_t n = strlen(text);
        char *exact = malloc(n); /* reads beyond it are caught by the sanitizer */
        memcpy(exact, text, n);
        int r = seccomp_parse(exact, n, &parse_context, &profile, why, sizeof(why));
        free(exact);
        if (r != 0) {
                assert_eq_int(r, SECCOMP_E_MALFORMED);
                assert_true(why[0] != '\0');
                return NULL;
        }
        char *dump = json_dumps(profile, JSON_COMPACT | JSON_SORT_KEYS);
        json_decref(profile);
        return dump;
}

static void assert_parsed(const char *text, const char *expected)
{
        char *dump = parse(text);
        assert_eq_str(dump, expected);
        free(dump);
}

static void test_dialects(void)
{
        assert_parsed("{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":38,\"architectures\":[\"SCMP_ARCH_X86_64\"],\"flags\":"
                      "[\"SECCOMP_FILTER_FLAG_LOG\"],\"syscalls\":[{\"names\":[\"read\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":"
                      "[{\"index\":0,\"value\":1,\"op\":\"SCMP_CMP_EQ\"}]},{\"names\":[\"kill\"],\"action\":\"SCMP_ACT_ERRNO\","
                      "\"errnoRet\":5}]}",
                      "{\"architectures\":[\"SCMP_ARCH_X86_64\"],\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":38,\"flags\":"
                      "[\"SECCOMP_FILTER_FLAG_LOG\"],\"syscalls\":[{\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"op\":"
                      "\"SCMP_CMP_EQ\",\"value\":1,\"valueTwo\":0}],\"names\":[\"read\"]},{\"action\":\"SCMP_ACT_ERRNO\",\"args\":[],"
                      "\"errnoRet\":5,\"names\":[\"kill\"]}]}");
        assert_parsed("{\"defaultAction\":\"SCMP_ACT_ALLOW\"}", "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[]}");

        /* Docker's and containers-common's: this machine's entry of archMap; conditions. */
        char text[1024], expected[512];
        (void)snprintf(text, sizeof(text),
                       "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrno\":\"ENOSYS\",\"archMap\":[{\"architecture\":\"SCMP_ARCH_S390X\"},"
                       "{\"architecture\":\"%s\",\"subArchitectures\":[\"SCMP_ARCH_X32\"]}],\"syscalls\":["
                       "{\"name\":\"a\",\"action\":\"SCMP_ACT_ALLOW\",\"args\":null,\"comment\":\"\",\"includes\":{},\"excludes\":{}},"
                       "{\"names\":[\"b\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"caps\":[\"CAP_SYS_ADMIN\",\"CAP_BPF\"]}},"
                       "{\"names\":[\"c\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"caps\":[\"CAP_SYS_ADMIN\"],\"minKernel\":\"4.8\"}},"
                       "{\"names\":[\"d\"],\"action\":\"SCMP_ACT_ALLOW\",\"excludes\":{\"caps\":[\"CAP_SYS_ADMIN\"]}},"
                       "{\"names\":[\"e\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"arches\":[\"s390x\"]}},"
                       "{\"names\":[\"f\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"arches\":[\"%s\"]}},"
                       "{\"names\":[\"g\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"minKernel\":\"7.0\"}}]}",
                       seccomp_architectures[0], seccomp_architecture_go);
        (void)snprintf(expected, sizeof(expected),
                       "{\"architectures\":[\"%s\",\"SCMP_ARCH_X32\"],\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":38,"
                       "\"syscalls\":[{\"action\":\"SCMP_ACT_ALLOW\",\"args\":[],\"names\":[\"a\"]},{\"action\":\"SCMP_ACT_ALLOW\","
                       "\"args\":[],\"names\":[\"c\"]},{\"action\":\"SCMP_ACT_ALLOW\",\"args\":[],\"names\":[\"f\"]}]}",
                       seccomp_architectures[0]);
        assert_parsed(text, expected);
}

/* Never unconfined, never weaker: each of these is an error. */
static void test_malformed(void)
{
#define IN_RULE(s) "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{" s "}]}"
#define IN_ARG(s) IN_RULE("\"names\":[\"a\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{" s "}]")
        static const char *const bad[] = {
                "", "{", "[]", "null", "{}", "{\"defaultAction\":1}", "{\"defaultAction\":\"SCMP_ACT_NOTIFY\"}",
                "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"defaultAction\":\"SCMP_ACT_ERRNO\"}",
                "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"listenerPath\":\"/run/x\"}",
                "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":{}}",
                "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"flags\":[\"NEW_LISTENER\"]}",
                "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":\"x\"}",
                "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":[1]}",
                "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":[\"A\"],\"archMap\":[]}",
                "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"archMap\":{}}",
                "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"archMap\":[{}]}",
                "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"defaultErrnoRet\":4096}",
                "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"defaultErrnoRet\":-1}",
                "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"defaultErrno\":\"EWHAT\"}",
                "{\"defaultAction\":\"SCMP_ACT_ALLOW\"} trailing",
                IN_RULE(""), IN_RULE("\"names\":[],\"action\":\"SCMP_ACT_ALLOW\""), IN_RULE("\"names\":[\"a\"]"),
                IN_RULE("\"names\":[\"a\"],\"action\":\"ALLOW\""), IN_RULE("\"names\":[\"\"],\"action\":\"SCMP_ACT_ALLOW\""),
                IN_RULE("\"names\":[\"a\"],\"name\":\"b\",\"action\":\"SCMP_ACT_ALLOW\""),
                IN_RULE("\"names\":[\"a\"],\"action\":\"SCMP_ACT_ALLOW\",\"arguments\":[]"),
                IN_RULE("\"names\":[\"a\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":{}"),
                IN_RULE("\"names\":[\"a\"],\"action\":\"SCMP_ACT_ALLOW\",\"errnoRet\":\"1\""),
                IN_RULE("\"names\":[\"a\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"caps\":[\"CAP_WHAT\"]}"),
                IN_RULE("\"names\":[\"a\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"minKernel\":\"6\"}"),
                IN_RULE("\"names\":[\"a\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"minKernel\":\"6.x\"}"),
                IN_RULE("\"names\":[\"a\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"what\":[]}"),
                IN_RULE("\"names\":[\"a\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":[]"),
                IN_RULE("\"names\":[\"a\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"caps\":\"CAP_CHOWN\"}"),
                IN_RULE("\"names\":[\"a\"],\"action\":\"SCMP_ACT_ALLOW\",\"excludes\":{\"arches\":[1]}"),
                IN_RULE("\"names\":[\"a\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"minKernel\":\"123456789.1\"}"),
                IN_ARG(""), IN_ARG("\"index\":6,\"value\":0,\"op\":\"SCMP_CMP_EQ\""),
                IN_ARG("\"index\":-1,\"value\":0,\"op\":\"SCMP_CMP_EQ\""), IN_ARG("\"index\":0,\"value\":0.5,\"op\":\"SCMP_CMP_EQ\""),
                IN_ARG("\"index\":0,\"value\":0,\"op\":\"EQ\""), IN_ARG("\"index\":0,\"value\":0,\"valueTwo\":\"1\",\"op\":\"SCMP_CMP_EQ\""),
                IN_ARG("\"index\":0,\"value\":99999999999999999999,\"op\":\"SCMP_CMP_EQ\""),
                IN_ARG("\"index\":0,\"value\":0,\"op\":\"SCMP_CMP_EQ\",\"x\":1"),
        };
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                char *dump = parse(bad[i]);
                if (dump)
                        test_fail("%s is accepted as %s", bad[i], dump);
        }
}

static void test_size(void)
{
        char *large = malloc(SECCOMP_PROFILE_BYTES_MAX + 2);
        memset(large, ' ', SECCOMP_PROFILE_BYTES_MAX + 1);
        memcpy(large, "{\"defaultAction\":\"SCMP_ACT_ALLOW\"}", 34);
        large[SECCOMP_PROFILE_BYTES_MAX + 1] = '\0';
        assert_true(parse(large) == NULL);
        large[SECCOMP_PROFILE_BYTES_MAX] = '\0';
        char *dump = parse(large);
        assert_true(dump != NULL);
        free(dump);
        free(large);
}

static void test_capabilities(void)
{
        CapabilitySet set = 0;
        assert_true(capability_set_add(&set, "CAP_SYS_ADMIN") && capability_set_add(&set, "net_raw") && capability_set_add(&set, "Cap_Bpf"));
        assert_eq_int(set, UINT64_C(1) << CAP_SYS_ADMIN | UINT64_C(1) << CAP_NET_RAW | UINT64_C(1) << CAP_BPF);
        assert_false(capability_set_add(&set, "CAP_"));
        assert_false(capability_set_add(&set, "ALL"));
        assert_eq_int(capability_set_default(), 0xa80425fb);
        assert_eq_str(capability_set_name(CAP_CHECKPOINT_RESTORE), "CAP_CHECKPOINT_RESTORE");
        assert_eq_str(capability_set_name(CAP_SYSLOG), "CAP_SYSLOG");
        assert_eq_str(capability_set_name(CAP_MKNOD), "CAP_MKNOD");
        assert_eq_int(CAP_LAST_CAP + 1 >= CAPABILITY_SET_N, 1);
}

int main(void)
{
        TEST_RUN(test_default);
        TEST_RUN(test_dialects);
        TEST_RUN(test_malformed);
        TEST_RUN(test_size);
        TEST_RUN(test_capabilities);
        return 0;
}
