/* SPDX-License-Identifier: Apache-2.0 */

/* sandboxd-setup for real: usage: test-setup PROGRAM SCRATCH, as root on a test host. */

#include "ipc/edges/sandboxd-setup.rows.h"
#include "lib/grpc-status.h"
#include "tests/sandbox/stage.h"
#include <poll.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>

static const char *program;
static Stage stage;
static StageHand hand;

static const char id_a[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
static const char id_b[] = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

static void start(void)
{
        static ConfigContainerd section;

        (void)str_copy(section.cgroup_root, sizeof(section.cgroup_root),
                       access("/sys/fs/cgroup/unified", F_OK) == 0 ? "/sys/fs/cgroup/unified" : "/sys/fs/cgroup");
        stage_start(&stage, &hand, program, PROCESS_SANDBOXD_SETUP, EDGE_SANDBOXD_SETUP, &edge_schema_sandboxd_setup, &section,
                    sizeof(section));
}

static SetupMake *make_new(const char *id, uint32_t flags)
{
        SetupMake *make = calloc(1, sizeof(*make));
        stage_permit(&stage, &make->permit, id, flags, NULL, 0);
        return make;
}

static void make_sysctl(SetupMake *make, const char *name, const char *value)
{
        SealSysctl *sysctl = &make->sysctls[make->n_sysctls++];
        snprintf(sysctl->name, sizeof(sysctl->name), "%s", name);
        snprintf(sysctl->value, sizeof(sysctl->value), "%s", value);
        permit_set_pod_sysctls(&make->permit, make->sysctls, make->n_sysctls);
        permit_seal(&make->permit, "", 0, stage.key);
}

/* Asks, frees the request; the answer's code, and what it says. */
static uint32_t make_send(SetupMake *make, SetupMade *ret, int *ret_pidfd, char text[512])
{
        StageAnswer answer;
        stage_call(&hand, ROW_SANDBOXD_SETUP_SETUP_MAKE, make, NULL, 0, &answer);
        uint32_t code = answer.code;
        if (code == 0 && ret)
                memcpy(ret, answer.frame.payload, sizeof(*ret));
        if (ret_pidfd)
                *ret_pidfd = wire_frame_take_fd(&answer.frame, 0);
        if (text)
                snprintf(text, 512, "%.511s", answer.text);
        if (code != 0)
                printf("# %s\n", answer.text);
        stage_answer_done(&answer);
        free(make);
        return code;
}

static uint32_t pod_remove(const char *id)
{
        SetupPod pod = {0};
        StageAnswer answer;
        memcpy(pod.pod_id, id, sizeof(pod.pod_id));
        stage_call(&hand, ROW_SANDBOXD_SETUP_SETUP_REMOVE, &pod, NULL, 0, &answer);
        if (answer.code)
                printf("# %s\n", answer.text);
        stage_answer_done(&answer);
        /* A permit is good once; the tests have few ids, and make pods of them again and again. */
        (void)stage_run("rm -f %s/spent/*", stage.config.runtime_dir);
        return answer.code;
}

static SetupMade pod_status(const char *id)
{
        SetupPod pod = {0};
        SetupMade made;
        StageAnswer answer;
        memcpy(pod.pod_id, id, sizeof(pod.pod_id));
        stage_call(&hand, ROW_SANDBOXD_SETUP_SETUP_STATUS, &pod, NULL, 0, &answer);
        assert_eq_int(answer.code, 0);
        memcpy(&made, answer.frame.payload, sizeof(made));
        stage_answer_done(&answer);
        return made;
}

/* The first line of what the command prints. */
static void _printf_(2, 3) assert_output(const char *expected, const char *format, ...)
{
        char command[2048], line[512];
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(command, sizeof(command), format, arguments);
        va_end(arguments);
        stage_read(line, sizeof(line), "%s", command);
        if (strcmp(line, expected) != 0)
                test_fail("%s\nprints \"%s\", not \"%s\"", command, line, expected);
}

static void assert_in_pod(const char *id, const char *expected, const char *command)
{
        assert_output(expected, "nsenter --net=/run/netns/%sbh-%s --ipc=%s/ns/%s/ipc --uts=%s/ns/%s/uts sh -c '%s'",
                 stage.config.instance, id, stage.config.runtime_dir, id, stage.config.runtime_dir, id, command);
}

static void assert_pod_file(const char *id, const char *expected, const char *name)
{
        assert_output(expected, "cat %s/pods/%s/%s", stage.config.runtime_dir, id, name);
}

static void test_plain_pod(void)
{
        SetupMade made;
        SetupMake *make = make_new(id_a, 0);
        snprintf(make->hostname, sizeof(make->hostname), "web-0");
        snprintf(make->resolv_conf, sizeof(make->resolv_conf), "nameserver 192.0.2.53\n");
        make_sysctl(make, "net.ipv4.ip_forward", "1");
        make_sysctl(make, "kernel.shm_rmid_forced", "1");
        make_sysctl(make, "fs.mqueue.msg_max", "77");
        make_sysctl(make, "net.ipv4.ping_group_range", "0 1000");
        assert_eq_int(make_send(make, &made, NULL, NULL), 0);
        assert_eq_int(made.exists, 1);
        assert_eq_int(made.flags, 0);
        assert_eq_int(made.init_pid, 0);
        char pin[160];
        snprintf(pin, sizeof(pin), "%sbh-%s", stage.config.instance, id_a);
        assert_eq_str(made.network_pin, pin);

        assert_in_pod(id_a, "web-0", "hostname");
        assert_in_pod(id_a, "1", "cat /proc/sys/net/ipv4/ip_forward");
        assert_in_pod(id_a, "1", "cat /proc/sys/kernel/shm_rmid_forced");
        assert_in_pod(id_a, "77", "cat /proc/sys/fs/mqueue/msg_max");
        assert_in_pod(id_a, "0 1000", "tr \"\\t\" \" \" </proc/sys/net/ipv4/ping_group_range");
        assert_in_pod(id_a, "1", "ip -o link show lo | grep -c LOWER_UP");
        assert_output("0", "cat /proc/sys/kernel/shm_rmid_forced");
        assert_output("10", "cat /proc/sys/fs/mqueue/msg_max");
        assert_pod_file(id_a, "nameserver 192.0.2.53", "resolv.conf");
        assert_pod_file(id_a, "web-0", "hostname");

        /* V103: what a container can write of these is bounded. */
        assert_output("bounded", "cd %s/pods/%s; head -c 1000000 /dev/zero >resolv.conf 2>/dev/null; [ $(stat -c %%s resolv.conf) -le 65536 ] "
                 "&& echo bounded",
                 stage.config.runtime_dir, id_a);
        assert_output("4", "findmnt -n -o OPTIONS %s/pods/%s/shm | tr , '\\n' | grep -c -x -e nosuid -e nodev "
                                           "-e noexec -e size=65536k",
                 stage.config.runtime_dir, id_a);

        /* Idempotent: the same namespaces. */
        char before[64], after[64];
        stage_read(before, sizeof(before), "stat -L -c %%i /run/netns/%s", pin);
        assert_eq_int(make_send(make_new(id_a, 0), &made, NULL, NULL), 0);
        stage_read(after, sizeof(after), "stat -L -c %%i /run/netns/%s", pin);
        assert_eq_str(before, after);
        assert_in_pod(id_a, "web-0", "hostname");

        /* A pin that was lost: all of it is made anew. */
        assert_ok(stage_run("umount /run/netns/%s", pin));
        assert_eq_int(pod_status(id_a).exists, 0);
        assert_eq_int(make_send(make_new(id_a, 0), &made, NULL, NULL), 0);
        assert_eq_int(pod_status(id_a).exists, 1);
        assert_eq_int(pod_remove(id_a), 0);
        assert_eq_int(pod_status(id_a).exists, 0);
        assert_eq_int(pod_remove(id_a), 0);
}

static void test_host_modes(void)
{
        SetupMade made;
        SetupMake *make = make_new(id_a, PERMIT_FLAG_HOST_NETWORK | PERMIT_FLAG_HOST_IPC | PERMIT_FLAG_HOST_PID);
        assert_eq_int(make_send(make, &made, NULL, NULL), 0);
        assert_eq_str(made.network_pin, "");
        assert_eq_int(made.flags, PERMIT_FLAG_HOST_NETWORK | PERMIT_FLAG_HOST_IPC | PERMIT_FLAG_HOST_PID);
        assert_output("0", "ls %s/ns/%s | wc -l; ls %s/pods/%s", stage.config.runtime_dir, id_a,
                 stage.config.runtime_dir, id_a);
        char host_name[65];
        gethostname(host_name, sizeof(host_name));
        assert_pod_file(id_a, host_name, "hostname");
        assert_output("same", "cmp /etc/resolv.conf %s/pods/%s/resolv.conf && echo same", stage.config.runtime_dir,
                 id_a);
        assert_output("1", "ls -d %s/pods/%s/shm 2>&1 | grep -c cannot", stage.config.runtime_dir, id_a);
        assert_eq_int(pod_remove(id_a), 0);
}

static void test_shared_pid(void)
{
        SetupMade made;
        int pidfd = -1;
        assert_eq_int(make_send(make_new(id_a, PERMIT_FLAG_POD_PID), &made, &pidfd, NULL), 0);
        assert_true(made.init_pid > 1);
        assert_eq_int(made.init_alive, 1);
        assert_true(pidfd >= 0);

        /* What is orphaned in there is reaped by it. */
        assert_output("0", "nsenter --pid=%s/ns/%s/pid sh -c 'sleep 0.2 & sleep 0.4 & (sleep 0.1 &) ; exit'; sleep 1; "
                 "grep -l -e '^PPid:.%d$' /proc/[0-9]*/status | wc -l",
                 stage.config.runtime_dir, id_a, made.init_pid);

        /* It leads nowhere and may nothing. */
        assert_output("0", "ls -A /proc/%d/root/ | wc -l", made.init_pid);
        assert_output("0", "ls /proc/%d/fd | wc -l", made.init_pid);
        assert_output("1", "wc -l </proc/%d/mountinfo", made.init_pid);
        char expected[128];
        unsigned uid = stage.config.user_base + PROCESS_SANDBOXD_SETUP;
        snprintf(expected, sizeof(expected), "%u %u 0000000000000000 0000000000000000 1 2 ", uid, uid);
        assert_output(expected, "awk '/^(Uid|Gid|CapPrm|CapEff|NoNewPrivs|Seccomp):/ {printf \"%%s \", $2}' /proc/%d/status",
                      made.init_pid);
        assert_output("bulkhead-init", "cat /proc/%d/comm", made.init_pid);
        assert_output("up", "nsenter --pid=%s/ns/%s/pid sh -c 'kill -TERM 1; kill -KILL 1; kill -USR1 1'; sleep 0.2; kill -0 %d && echo up",
                 stage.config.runtime_dir, id_a, made.init_pid);

        /* The hand's end is not the init's. */
        stage_kill(&hand);
        start();
        SetupMade again = pod_status(id_a);
        assert_eq_int(again.exists, 1);
        assert_eq_int(again.init_alive, 1);
        assert_eq_int(again.init_pid, made.init_pid);

        /* One that died is seen by who holds the pidfd, and is not mistaken for another process. */
        assert_ok(kill(made.init_pid, SIGKILL));
        struct pollfd gone = {.fd = pidfd, .events = POLLIN};
        assert_eq_int(poll(&gone, 1, 3000), 1);
        close(pidfd);
        again = pod_status(id_a);
        assert_eq_int(again.exists, 1);
        assert_eq_int(again.init_alive, 0);
        assert_eq_int(again.init_pid, 0);
        assert_eq_int(make_send(make_new(id_a, PERMIT_FLAG_POD_PID), &again, NULL, NULL), 0);
        assert_eq_int(again.init_alive, 1);
        assert_true(again.init_pid != made.init_pid);

        /* Removal ends it, and with it everything in its namespace. */
        char sleeper[32];
        stage_read(sleeper, sizeof(sleeper), "nsenter --pid=%s/ns/%s/pid sleep 1000 >/dev/null & sleep 0.3; echo $!", stage.config.runtime_dir,
                 id_a);
        assert_eq_int(pod_remove(id_a), 0);
        assert_output("ended", "sleep 0.2; kill -0 %d 2>/dev/null || echo ended", again.init_pid);
}

static void test_user_namespace(void)
{
        SetupMade made;
        SetupMake *make = make_new(id_a, PERMIT_FLAG_USERNS | PERMIT_FLAG_POD_PID);
        make->permit.userns_host_id = 1000000;
        make->permit.userns_length = 65536;
        permit_seal(&make->permit, "", 0, stage.key);
        snprintf(make->hostname, sizeof(make->hostname), "rootless");
        make_sysctl(make, "net.ipv4.ip_forward", "1");
        make_sysctl(make, "kernel.msgmax", "4242");
        assert_eq_int(make_send(make, &made, NULL, NULL), 0);
        assert_eq_int(made.init_alive, 1);
        char line[256];
        stage_read(line, sizeof(line),
                 "nsenter --user=%s/ns/%s/user --net=/run/netns/%s --ipc=%s/ns/%s/ipc --uts=%s/ns/%s/uts sh -c 'hostname; cat "
                 "/proc/self/uid_map /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax; echo 2 "
                 ">/proc/sys/kernel/msgmax; ip link set lo down && echo mine' | tr -s ' \\n' ' '",
                 stage.config.runtime_dir, id_a, made.network_pin, stage.config.runtime_dir, id_a, stage.config.runtime_dir,
                 id_a);
        assert_eq_str(line, "rootless 0 1000000 65536 1 4242 mine ");
        assert_output("1000000 1000000", "stat -c '%%u %%g' %s/pods/%s/resolv.conf %s/pods/%s/shm | uniq",
                 stage.config.runtime_dir, id_a, stage.config.runtime_dir, id_a);
        assert_output("1065534 0000000000000000 2 ", "awk '/^(Uid|CapEff|Seccomp):/ {printf \"%%s \", $2}' /proc/%d/status", made.init_pid);
        assert_eq_int(pod_remove(id_a), 0);
}

static void test_refusals(void)
{
        char text[512];
        SetupMake *make;

        /* Permits: the twin of each is test_plain_pod(). */
        make = make_new(id_a, 0);
        make->permit.flags |= PERMIT_FLAG_HOST_NETWORK;
        assert_eq_int(make_send(make, NULL, NULL, text), GRPC_STATUS_PERMISSION_DENIED);
        make = make_new(id_a, 0);
        memcpy(make->permit.id, id_b, sizeof(make->permit.id));
        assert_eq_int(make_send(make, NULL, NULL, text), GRPC_STATUS_PERMISSION_DENIED);
        make = make_new(id_a, 0);
        make->permit.verb = PERMIT_VERB_CREATE_CONTAINER;
        permit_seal(&make->permit, "", 0, stage.key);
        assert_eq_int(make_send(make, NULL, NULL, text), GRPC_STATUS_PERMISSION_DENIED);

        static const char *const names[] = {"-x", "a b", "../x", "a/b", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                                                                         "xxxxxxxxxxxxxxxxxxxx"};
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                make = make_new(id_a, 0);
                snprintf(make->hostname, sizeof(make->hostname), "%s", names[i]);
                assert_eq_int(make_send(make, NULL, NULL, text), GRPC_STATUS_INVALID_ARGUMENT);
        }
        make = make_new(id_a, PERMIT_FLAG_HOST_NETWORK);
        snprintf(make->hostname, sizeof(make->hostname), "not-the-hosts");
        assert_eq_int(make_send(make, NULL, NULL, text), GRPC_STATUS_INVALID_ARGUMENT);
        make = make_new(id_a, 0);
        memset(make->hostname, 'a', sizeof(make->hostname));
        assert_eq_int(make_send(make, NULL, NULL, text), GRPC_STATUS_INVALID_ARGUMENT);
        make = make_new(id_a, 0);
        memset(make->resolv_conf, 'a', sizeof(make->resolv_conf));
        assert_eq_int(make_send(make, NULL, NULL, text), GRPC_STATUS_INVALID_ARGUMENT);

        /* What the request did not say; what it did is set in test_plain_pod(). */
        make = make_new(id_a, 0);
        make_sysctl(make, "net.ipv4.ip_forward", "0");
        make->sysctls[0].value[0] = '1';
        assert_eq_int(make_send(make, NULL, NULL, text), GRPC_STATUS_PERMISSION_DENIED);
        make = make_new(id_a, 0);
        make_sysctl(make, "net.ipv4.ip_forward", "1");
        make->n_sysctls = 0;
        assert_eq_int(make_send(make, NULL, NULL, text), GRPC_STATUS_PERMISSION_DENIED);

        /* V032: shared namespaces, and the host's values stay. */
        make = make_new(id_a, PERMIT_FLAG_HOST_NETWORK);
        make_sysctl(make, "net.ipv4.ip_default_ttl", "13");
        assert_eq_int(make_send(make, NULL, NULL, text), GRPC_STATUS_INVALID_ARGUMENT);
        make = make_new(id_a, PERMIT_FLAG_HOST_IPC);
        make_sysctl(make, "kernel.shm_rmid_forced", "1");
        assert_eq_int(make_send(make, NULL, NULL, text), GRPC_STATUS_INVALID_ARGUMENT);
        /* V033 */
        make = make_new(id_a, 0);
        make_sysctl(make, "kernel.shm_rmid_forced", "1+kernel.core_pattern=|/evil");
        assert_eq_int(make_send(make, NULL, NULL, text), GRPC_STATUS_INVALID_ARGUMENT);
        make = make_new(id_a, 0);
        make_sysctl(make, "net/../kernel/core_pattern", "evil");
        assert_eq_int(make_send(make, NULL, NULL, text), GRPC_STATUS_INVALID_ARGUMENT);
        make = make_new(id_a, 0);
        make_sysctl(make, "kernel.core_pattern", "evil");
        assert_eq_int(make_send(make, NULL, NULL, text), GRPC_STATUS_INVALID_ARGUMENT);
        assert_output("64", "cat /proc/sys/net/ipv4/ip_default_ttl");
        assert_output("0", "cat /proc/sys/kernel/shm_rmid_forced");
        assert_output("0", "grep -c evil /proc/sys/kernel/core_pattern");

        /* The kernel's own refusals name the sysctl, and nothing is left. */
        make = make_new(id_a, PERMIT_FLAG_POD_PID);
        make_sysctl(make, "net.ipv4.no_such_thing", "1");
        assert_eq_int(make_send(make, NULL, NULL, text), GRPC_STATUS_INVALID_ARGUMENT);
        assert_true(strstr(text, "net.ipv4.no_such_thing"));
        make = make_new(id_a, PERMIT_FLAG_POD_PID);
        make_sysctl(make, "net.ipv4.ip_forward", "many");
        assert_eq_int(make_send(make, NULL, NULL, text), GRPC_STATUS_INVALID_ARGUMENT);

        /* User namespaces: nothing, the host's root, ours, not from 0, wrap-around. */
        static const struct {
                uint32_t host, container, length;
        } maps[] = {{100000, 0, 0},     {0, 0, 65536},          {1879048192 - 10, 0, 11}, {1879048192 + 5, 0, 1},
                    {100000, 1, 65536}, {4294967290u, 0, 65536}};
        for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
                make = make_new(id_a, PERMIT_FLAG_USERNS);
                make->permit.userns_host_id = maps[i].host;
                make->permit.userns_container_id = maps[i].container;
                make->permit.userns_length = maps[i].length;
                permit_seal(&make->permit, "", 0, stage.key);
                assert_eq_int(make_send(make, NULL, NULL, text), GRPC_STATUS_INVALID_ARGUMENT);
        }
        assert_eq_int(pod_status(id_a).exists, 0);

        SetupPod pod = {.pod_id = "../../etc"};
        StageAnswer answer;
        stage_call(&hand, ROW_SANDBOXD_SETUP_SETUP_REMOVE, &pod, NULL, 0, &answer);
        assert_eq_int(answer.code, GRPC_STATUS_INVALID_ARGUMENT);
        stage_answer_done(&answer);
}

static void test_list(void)
{
        char id[ID_LENGTH + 1];
        size_t n = 0;
        uint32_t more = 1;
        for (unsigned i = 0; i < 4; i++) {
                snprintf(id, sizeof(id), "%064x", i);
                assert_eq_int(make_send(make_new(id, i & 1 ? PERMIT_FLAG_HOST_NETWORK : 0), NULL, NULL, NULL), 0);
        }
        while (more) {
                SetupList list = {.offset = (uint32_t)n};
                StageAnswer answer;
                stage_call(&hand, ROW_SANDBOXD_SETUP_SETUP_LIST, &list, NULL, 0, &answer);
                assert_eq_int(answer.code, 0);
                const SetupListed *listed = (const void *)answer.frame.payload;
                for (uint32_t i = 0; i < listed->n; i++) {
                        snprintf(id, sizeof(id), "%064x", (unsigned)n++);
                        assert_eq_str(listed->pods[i], id);
                }
                more = listed->more;
                stage_answer_done(&answer);
        }
        assert_eq_int(n, 4);
        for (unsigned i = 0; i < 4; i++) {
                snprintf(id, sizeof(id), "%064x", i);
                assert_eq_int(pod_remove(id), 0);
        }
}

/* A hand that is killed at any moment of making pods leaves only what a removal finds. */
static void test_kill(void)
{
        for (unsigned i = 0; i < 40; i++) {
                SetupMake *make = make_new(id_a, i & 1 ? PERMIT_FLAG_POD_PID : 0);
                make_sysctl(make, "net.ipv4.ip_forward", "1");
                (void)stage_send(&hand, ROW_SANDBOXD_SETUP_SETUP_MAKE, make, NULL, 0);
                free(make);
                usleep(i * 100);
                stage_kill(&hand);
                start();
                if (i % 3 == 0)
                        assert_eq_int(make_send(make_new(id_a, i & 1 ? PERMIT_FLAG_POD_PID : 0), NULL, NULL, NULL), 0);
                assert_eq_int(pod_remove(id_a), 0);
        }
}

/* Asks with this permit; the answer's code. ret_fds by CgroupFile, -1 where there is none. */
static uint32_t usage_of(const Permit *permit, int ret_fds[CGROUP_FILE_NET_DEV + 1])
{
        SetupUsage usage = {.permit = *permit};
        StageAnswer answer;

        for (size_t i = 0; i <= CGROUP_FILE_NET_DEV; i++)
                ret_fds[i] = -1;
        stage_call(&hand, ROW_SANDBOXD_SETUP_SETUP_USAGE, &usage, NULL, 0, &answer);
        uint32_t code = answer.code;
        if (code == 0) {
                CgroupFiles files;
                memcpy(&files, answer.frame.payload, sizeof(files));
                for (uint32_t i = 0; i < files.n; i++)
                        ret_fds[files.files[i]] = wire_frame_take_fd(&answer.frame, i);
        } else {
                printf("# %s\n", answer.text);
        }
        stage_answer_done(&answer);
        return code;
}

static bool file_has(int fd, const char *text)
{
        char content[4096];
        ssize_t n = pread(fd, content, sizeof(content) - 1, 0);

        assert_true(n > 0);
        content[n] = '\0';
        return strstr(content, text) != NULL;
}

/* The counters are the pod's, for as long as they are open; the cgroup is the one that was sealed. */
static void test_usage(void)
{
        const char *root = access("/sys/fs/cgroup/unified", F_OK) == 0 ? "/sys/fs/cgroup/unified" : "/sys/fs/cgroup";
        int fds[CGROUP_FILE_NET_DEV + 1];
        Permit permit;
        SetupMade made;

        stage_permit(&stage, &permit, id_a, 0, NULL, 0);
        assert_eq_int(make_send(make_new(id_a, 0), &made, NULL, NULL), 0);
        assert_eq_int(usage_of(&permit, fds), 0);
        assert_true(fds[CGROUP_FILE_NET_DEV] >= 0);
        assert_true(fds[CGROUP_FILE_CPU_STAT] < 0); /* no parent was sealed, so there is no group that is the pod's */
        assert_true(file_has(fds[CGROUP_FILE_NET_DEV], "lo:"));
        assert_false(file_has(fds[CGROUP_FILE_NET_DEV], "seen0:"));
        assert_ok(stage_run("nsenter --net=/run/netns/%sbh-%s ip link add seen0 type veth peer name seen1", stage.config.instance, id_a));
        assert_true(file_has(fds[CGROUP_FILE_NET_DEV], "seen0:")); /* the same fd, in the pod's namespace */
        close(fds[CGROUP_FILE_NET_DEV]);

        /* A sealed parent: its group. Changed behind the seal: nothing. */
        assert_ok(stage_run("mkdir %s/bulkhead-test-usage", root));
        (void)snprintf(permit.cgroup_parent, sizeof(permit.cgroup_parent), "/bulkhead-test-usage");
        assert_eq_int(usage_of(&permit, fds), GRPC_STATUS_PERMISSION_DENIED);
        permit_seal(&permit, "", 0, stage.key);
        assert_eq_int(usage_of(&permit, fds), 0);
        assert_true(file_has(fds[CGROUP_FILE_CPU_STAT], "usage_usec"));
        for (size_t i = 0; i <= CGROUP_FILE_NET_DEV; i++)
                fds[i] = fd_close(fds[i]);
        assert_ok(stage_run("rmdir %s/bulkhead-test-usage", root));
        assert_eq_int(pod_remove(id_a), 0);

        /* With the host's network there are no counters of the pod's; nor when the pod is gone. */
        assert_eq_int(usage_of(&permit, fds), 0);
        assert_true(fds[CGROUP_FILE_NET_DEV] < 0);
        stage_permit(&stage, &permit, id_b, PERMIT_FLAG_HOST_NETWORK, NULL, 0);
        assert_eq_int(make_send(make_new(id_b, PERMIT_FLAG_HOST_NETWORK), &made, NULL, NULL), 0);
        assert_eq_int(usage_of(&permit, fds), 0);
        assert_true(fds[CGROUP_FILE_NET_DEV] < 0);
        assert_eq_int(pod_remove(id_b), 0);
}

static uint32_t lease_look(const char *pod_id, const char *container_id, bool *ret_populated)
{
        SetupLease verb = {0};
        StageAnswer answer;
        memcpy(verb.pod_id, pod_id, sizeof(verb.pod_id));
        memcpy(verb.container_id, container_id, sizeof(verb.container_id));
        stage_call(&hand, ROW_SANDBOXD_SETUP_SETUP_LEASE, &verb, NULL, 0, &answer);
        uint32_t code = answer.code;
        if (code == 0)
                *ret_populated = ((const SetupLeased *)(const void *)answer.frame.payload)->populated;
        stage_answer_done(&answer);
        return code;
}

static SetupMake *make_kept(const char *id, const char *sealed)
{
        SetupMake *make = make_new(id, 0);
        (void)snprintf(make->permit.cgroup_parent, sizeof(make->permit.cgroup_parent), "/bulkhead-test-lease");
        permit_seal(&make->permit, sealed, strlen(sealed), stage.key);
        return make;
}

static uint32_t make_with(SetupMake *make, const char *request)
{
        StageAnswer answer;
        _cleanup_fd_ int fd = -1;
        assert_ok(fd_memfd_sealed("request", request, strlen(request), &fd));
        stage_call(&hand, ROW_SANDBOXD_SETUP_SETUP_MAKE, make, &fd, 1, &answer);
        uint32_t code = answer.code;
        stage_answer_done(&answer);
        free(make);
        return code;
}

/* What a pod was made with is kept, if it is what was sealed; and leases are looked up under the parent that was sealed. */
static void test_kept(void)
{
        static const char id[] = "1111111111111111111111111111111111111111111111111111111111111111";
        static const char other[] = "2222222222222222222222222222222222222222222222222222222222222222";
        static const char held[] = "3333333333333333333333333333333333333333333333333333333333333333";
        const char *root = access("/sys/fs/cgroup/unified", F_OK) == 0 ? "/sys/fs/cgroup/unified" : "/sys/fs/cgroup";
        char text[16] = "";
        StageAnswer answer;
        SetupPod pod = {0};
        bool is_populated = true;

        assert_eq_int(make_with(make_kept(other, "asked"), "forged"), GRPC_STATUS_PERMISSION_DENIED);
        assert_eq_int(pod_status(other).exists, 0);
        assert_eq_int(make_with(make_kept(id, "asked"), "asked"), 0);
        memcpy(pod.pod_id, id, sizeof(pod.pod_id));
        stage_call(&hand, ROW_SANDBOXD_SETUP_SETUP_KEPT, &pod, NULL, 0, &answer);
        assert_eq_int(answer.code, 0);
        const SetupKept *kept = (const void *)answer.frame.payload;
        assert_eq_int(kept->exists, 1);
        assert_eq_str(kept->permit.id, id);
        _cleanup_fd_ int fd = wire_frame_take_fd(&answer.frame, 0);
        assert_eq_int(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
        assert_eq_int(pread(fd, text, sizeof(text) - 1, 0), 5);
        assert_eq_str(text, "asked");
        stage_answer_done(&answer);

        assert_eq_int(lease_look(id, held, &is_populated), 0);
        assert_false(is_populated); /* there is no such group */
        assert_ok(stage_run("mkdir -p %s/bulkhead-test-lease/%s", root, held));
        assert_eq_int(lease_look(id, held, &is_populated), 0);
        assert_false(is_populated);
        assert_ok(stage_run("sleep 60 & echo $! >%s/bulkhead-test-lease/%s/cgroup.procs", root, held));
        assert_eq_int(lease_look(id, held, &is_populated), 0);
        assert_true(is_populated);
        assert_eq_int(lease_look(id, id, &is_populated), 0);
        assert_false(is_populated); /* another's */
        assert_ok(stage_run("kill $(cat %s/bulkhead-test-lease/%s/cgroup.procs)", root, held));
        for (int i = 0; i < 500 && is_populated + lease_look(id, held, &is_populated) + is_populated > 0; i++)
                usleep(10000);
        assert_false(is_populated);
        assert_ok(stage_run("rmdir %s/bulkhead-test-lease/%s %s/bulkhead-test-lease", root, held, root));

        /* Of a pod whose request was not sent nobody knows anything; of one that is gone neither. */
        assert_eq_int(pod_remove(id), 0);
        assert_eq_int(lease_look(id, held, &is_populated), GRPC_STATUS_NOT_FOUND);
        stage_call(&hand, ROW_SANDBOXD_SETUP_SETUP_KEPT, &pod, NULL, 0, &answer);
        assert_eq_int(answer.code, 0);
        assert_eq_int(((const SetupKept *)(const void *)answer.frame.payload)->exists, 0);
        stage_answer_done(&answer);
}

int main(int argc, char **argv)
{
        if (argc != 3 || geteuid() != 0)
                test_skip("needs root, the hand's program and a directory");
        program = argv[1];
        stage_init(&stage, argv[2], "t-");
        start();
        char *before = stage_snapshot(&stage);
        static void (*const tests[])(void) = {test_plain_pod, test_host_modes, test_shared_pid, test_user_namespace,
                                              test_refusals,  test_list,       test_kill,       test_usage,
                                              test_kept};
        static const char *const names[] = {"plain-pod", "host-modes", "shared-pid", "user-namespace",
                                            "refusals",  "list",       "kill",       "usage",
                                            "kept"};
        for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
                tests[i]();
                usleep(100000);
                char *after = stage_snapshot(&stage);
                stage_assert_same(before, after);
                free(after);
                printf("ok setup/%s\n", names[i]);
                fflush(stdout);
        }
        free(before);
        stage_stop(&hand);
        return 0;
}
