/* SPDX-License-Identifier: Apache-2.0 */
#include "services/sandboxd/sysctl.h"

#include "ipc/seal.h"
#include "lib/test.h"

static int check(const char *name, const char *value, uint32_t flags)
{
        char path[SYSCTL_NAME_MAX];
        Refusal refusal = {0};
        int r = sysctl_check(name, value, flags, path, &refusal);
        assert_eq_int(refusal.code, r == 0 ? GRPC_STATUS_OK : GRPC_STATUS_INVALID_ARGUMENT);
        assert_true(r == 0 || strstr(refusal.text, "sysctl"));
        return r;
}

static void assert_path(const char *name, const char *expected)
{
        char path[SYSCTL_NAME_MAX];
        Refusal refusal = {0};
        assert_ok(sysctl_check(name, "1", 0, path, &refusal));
        assert_eq_str(path, expected);
}

static void test_allowed(void)
{
        assert_path("net.ipv4.ip_forward", "net/ipv4/ip_forward");
        assert_path("net/ipv4/ip_forward", "net/ipv4/ip_forward");
        assert_path("net/ipv4/conf/eth0.5/forwarding", "net/ipv4/conf/eth0.5/forwarding");
        assert_path("kernel.shm_rmid_forced", "kernel/shm_rmid_forced");
        assert_path("fs.mqueue.msg_max", "fs/mqueue/msg_max");
        assert_path("kernel.sem", "kernel/sem");
        assert_ok(check("net.ipv4.ip_local_port_range", "1024 65535", 0));
        assert_ok(check("net.ipv4.ip_local_port_range", "1024\t65535", 0));
        assert_ok(check("net.ipv4.ip_local_reserved_ports", "8080,9148-9150", 0));
        assert_ok(check("net.ipv4.tcp_fastopen_key", "00000000-1-2-3", 0));
}

/* V032: the namespace is the host's. The twin above shows that the same names pass where it is the pod's. */
static void test_host_namespaces(void)
{
        assert_eq_int(check("net.ipv4.ip_forward", "1", PERMIT_FLAG_HOST_NETWORK), 1);
        assert_ok(check("net.ipv4.ip_forward", "1", PERMIT_FLAG_HOST_IPC));
        static const char *const ipc[] = {"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem",
                                          "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced",
                                          "fs.mqueue.queues_max"};
        for (size_t i = 0; i < ARRAY_SIZE(ipc); i++) {
                assert_eq_int(check(ipc[i], "1", PERMIT_FLAG_HOST_IPC), 1);
                assert_ok(check(ipc[i], "1", PERMIT_FLAG_HOST_NETWORK));
        }
}

static void test_not_namespaced(void)
{
        static const char *const names[] = {"kernel.core_pattern", "kernel.sysrq",   "kernel.hostname",  "kernel.semx",
                                            "kernel.shmmaxx",      "vm.swappiness",  "kernel.pid_max",   "fs.file-max",
                                            "fs.mqueue",           "fs.mqueuex.a",   "netx.ipv4.foo",    "net",
                                            "kernel",              "user.max_user_namespaces"};
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                assert_eq_int(check(names[i], "1", 0), 1);
}

/* V033 and the ways out of the tree. */
static void test_names(void)
{
        static const char *const names[] = {
                "",         ".",           "/",           "net.",          ".net.ipv4",      "net..ipv4",
                "net/../kernel/core_pattern", "kernel/../kernel/core_pattern", "net/./x",    "net//x",
                "net.ipv4/../../kernel/core_pattern", "net/...",  "net.ipv4 .x", "net.ipv4\n.x", "net.a=b",
                "net.a+b",  "net.\x80",    "/net/ipv4/x", "net/ipv4/x/",
        };
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                assert_eq_int(check(names[i], "1", 0), 1);
        char name[SYSCTL_NAME_MAX + 1] = "net.";
        memset(name + 4, 'a', SYSCTL_NAME_MAX - 4);
        assert_eq_int(check(name, "1", 0), 1);
        name[SYSCTL_NAME_MAX - 1] = '\0';
        assert_ok(check(name, "1", 0));
}

static void test_values(void)
{
        static const char *const values[] = {"",  "a+kernel.core_pattern=|/bin/sh", "1\n2", "a=b", "1;2", "$(x)", "|x",
                                             "/", "\x7f",                           "\xff"};
        for (size_t i = 0; i < ARRAY_SIZE(values); i++)
                assert_eq_int(check("net.core.somaxconn", values[i], 0), 1);
        char value[SYSCTL_VALUE_MAX + 1] = {0};
        memset(value, '1', SYSCTL_VALUE_MAX);
        assert_eq_int(check("net.core.somaxconn", value, 0), 1);
        value[SYSCTL_VALUE_MAX - 1] = '\0';
        assert_ok(check("net.core.somaxconn", value, 0));
}

int main(void)
{
        TEST_RUN(test_allowed);
        TEST_RUN(test_host_namespaces);
        TEST_RUN(test_not_namespaced);
        TEST_RUN(test_names);
        TEST_RUN(test_values);
        return 0;
}
