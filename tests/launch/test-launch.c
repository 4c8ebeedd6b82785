/* SPDX-License-Identifier: Apache-2.0 */

/* containerd-launch and its shims for real, with the OCI runtimes of the machine: usage: test-launch LIBEXEC SCRATCH IMAGE RUNTIME…,
 * as root on a test host. IMAGE is a directory with a static busybox. */

#include "lib/grpc-status.h"
#include "tests/launch/box.h"
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>

static char program[512];
static Stage stage;
static StageHand hand;
static ConfigContainerd section;
static BoxHost host = {.stage = &stage, .hand = &hand};
static char output[BOX_OUTPUT_MAX];
static uint64_t capabilities; /* of this test: what a container can get at most */

static void launch_begin(void)
{
        stage_start(&stage, &hand, program, PROCESS_CONTAINERD_LAUNCH, EDGE_CONTAINERD_LAUNCH, &edge_schema_containerd_launch,
                    &section, sizeof(section));
}

static void life_run(Box *box, int exit_code)
{
        box_create(box);
        assert_eq_int(box->code, 0);
        assert_eq_int(box_start(box), 0);
        box_read(box->stdout_fd, output);
        box_wait(box);
        if (box->record.exit_code != exit_code) {
                printf("%s\n", output);
                box_read(box->stderr_fd, output);
                printf("%s\n", output);
        }
        assert_eq_int(box->record.exit_code, exit_code);
}

/* Created, confined, started, ended, recorded, removed; and carries nothing of ours. */
static void test_life(void)
{
        Box box;
        ShimStatus status;
        bool exists = false;
        char shim[4096];
        box_init(&box, &host, "cat /proc/self/status; echo err >&2; exit 7");
        box_create(&box);
        assert_eq_int(box.code, 0);
        box_status(&box, &status);
        assert_eq_int(status.confined, 1);
        assert_eq_int(status.record.state, EXIT_STATE_CREATED);
        assert_eq_int(status.record.pid, box.created.pid);
        assert_eq_int(box_ask(&box, ROW_CONTAINERD_SHIM_SHIM_QUIT, NULL, NULL), GRPC_STATUS_FAILED_PRECONDITION);

        /* The shim: a user of its own, no capability, a filter. */
        stage_read(shim, sizeof(shim), "cat /proc/$(awk '/^PPid/{print $2}' /proc/%d/status)/status | tr '\\n' '|'", box.created.pid);
        for (char *p = shim; *p; p++)
                *p = *p == '|' ? '\n' : *p;
        assert_true(strstr(shim, "Name:\tbulkhead-contai") != NULL);
        assert_true(box_status_field(shim, "Uid", 10) >= stage.config.user_base + 1024);
        assert_eq_int(box_status_field(shim, "CapPrm", 16), 0);
        assert_eq_int(box_status_field(shim, "CapEff", 16), 0);
        assert_eq_int(box_status_field(shim, "CapBnd", 16), 0);
        assert_eq_int(box_status_field(shim, "Seccomp", 10), 2);
        assert_eq_int(box_status_field(shim, "NoNewPrivs", 10), 1);

        assert_eq_int(box_start(&box), 0);
        box_read(box.stdout_fd, output);
        assert_eq_int(box_status_field(output, "NoNewPrivs", 10), 0);
        assert_eq_int(box_status_field(output, "Seccomp", 10), 0);
        assert_eq_int(box_status_field(output, "Seccomp_filters", 10), 0);
        assert_eq_int(box_status_field(output, "CapInh", 16), 0);
        assert_eq_int(box_status_field(output, "CapAmb", 16), 0);
        uint64_t expected = UINT64_C(0xa80425fb) & capabilities; /* the default fourteen */
        assert_eq_int(box_status_field(output, "CapBnd", 16), expected);
        assert_eq_int(box_status_field(output, "CapEff", 16), expected);
        assert_eq_int(box_status_field(output, "SigBlk", 16), 0);
        assert_eq_int(box_status_field(output, "SigIgn", 16), 0);
        box_read(box.stderr_fd, output);
        assert_eq_str(output, "err\n");
        box_wait(&box);
        assert_eq_int(box.record.exit_code, 7);
        ExitRecord record = box_exit_record(&box, &exists);
        assert_true(exists && memcmp(&record, &box.record, sizeof(record)) == 0);
        box_delete(&box);
}

/* What is asked for is there, exactly. */
static void test_asked(void)
{
        Box box;
        Runtime__V1__SecurityProfile profile = RUNTIME__V1__SECURITY_PROFILE__INIT;
        Runtime__V1__Int64Value user = RUNTIME__V1__INT64_VALUE__INIT;
        box_init(&box, &host,
                 "cat /proc/self/status; cat /proc/self/oom_score_adj; unshare -U true; echo unshare $?; "
                 "cat /proc/cpuinfo | wc -c; touch /new; echo touch $?; ulimit -n; env; pwd");
        user.value = 1000;
        box.context.run_as_user = &user;
        box.process.uid = 1000;
        box.context.no_new_privs = box.process.no_new_privileges = true;
        box.context.seccomp = &profile;
        box.seccomp.mode = SECCOMP_MODE(RUNTIME_DEFAULT);
        box.limits.oom_score_adj = box.process.oom_score_adj = 900;
        box.process.has_oom_score_adj = true;
        char *masked[] = {(char *)(uintptr_t)"/proc/cpuinfo"};
        box.context.masked_paths = box.spec.masked_paths = masked;
        box.context.n_masked_paths = box.spec.n_masked_paths = 1;
        box.context.readonly_rootfs = box.spec.root_readonly = true;
        Bulkhead__RuntimeSpec__Rlimit limit = BULKHEAD__RUNTIME_SPEC__RLIMIT__INIT, *limits[] = {&limit};
        limit.type = (char *)(uintptr_t)"RLIMIT_NOFILE";
        limit.soft = 77;
        limit.hard = 78;
        box.process.rlimits = limits;
        box.process.n_rlimits = 1;
        box.process.cwd = (char *)(uintptr_t)"/tmp";
        life_run(&box, 0);
        assert_eq_int(box_status_field(output, "Uid", 10), 1000);
        assert_eq_int(box_status_field(output, "NoNewPrivs", 10), 1);
        assert_eq_int(box_status_field(output, "Seccomp", 10), 2);
        assert_eq_int(box_status_field(output, "Seccomp_filters", 10), 1);
        assert_eq_int(box_status_field(output, "CapEff", 16), 0);
        assert_eq_int(box_status_field(output, "CapInh", 16), 0);
        assert_true(strstr(output, "\n900\nunshare 1\n0\ntouch 1\n77\n") != NULL);
        assert_true(strstr(output, "\nPATH=/bin\n") != NULL);
        assert_true(strstr(output, "\n/tmp\n") != NULL);
        box_delete(&box);
}

static void test_privileged(void)
{
        Box box;
        box_init(&box, &host, "cat /proc/self/status; ls /dev/ttyS0 /dev/vda /dev/kmsg 2>/dev/null; echo done");
        box.spec.privileged = true;
        static const char *const all[] = {"CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SYS_PTRACE"};
        box.process.capabilities = (char **)(uintptr_t)all;
        box.process.n_capabilities = ARRAY_SIZE(all);
        box_create(&box); /* a taken-over brain */
        assert_eq_int(box.code, GRPC_STATUS_PERMISSION_DENIED);
        assert_true(strstr(box.text, "privileged") != NULL);
        box.spec.privileged = false;
        box_create(&box);
        assert_eq_int(box.code, GRPC_STATUS_PERMISSION_DENIED);
        assert_true(strstr(box.text, "CAP_SYS_ADMIN") != NULL);

        /* The twin: the request says so. */
        box.spec.privileged = box.context.privileged = true;
        life_run(&box, 0);
        assert_true(box_status_field(output, "CapEff", 16) & (UINT64_C(1) << CAP_SYS_ADMIN));
        assert_true(strstr(output, "/dev/kmsg") != NULL);
        box_delete(&box);
}

static void test_mounts(void)
{
        Box box;
        Runtime__V1__Mount mount = RUNTIME__V1__MOUNT__INIT, *mounts[] = {&mount};
        char path[1024], missing[1024];
        snprintf(path, sizeof(path), "%s/volume", stage.config.state_dir);
        snprintf(missing, sizeof(missing), "%s/volume/not/there", stage.config.state_dir);
        assert_ok(stage_run("mkdir -p %s && echo inside > %s/file", path, path));
        box_init(&box, &host, "cat /volume/file; touch /volume/x; echo $?; ls -d /made");
        MountSpec *bind = box_mount(&box, MOUNT_KIND(BIND), "/volume");
        bind->host_path = path;
        bind->readonly = true;
        box_create(&box);
        assert_eq_int(box.code, GRPC_STATUS_PERMISSION_DENIED);
        assert_true(strstr(box.text, path) != NULL);

        mount.host_path = path;
        mount.container_path = (char *)(uintptr_t)"/volume";
        mount.readonly = true;
        Runtime__V1__Mount other = RUNTIME__V1__MOUNT__INIT, *both[] = {&mount, &other};
        other.host_path = missing;
        other.container_path = (char *)(uintptr_t)"/made";
        box_mount(&box, MOUNT_KIND(BIND), "/made")->host_path = missing;
        box.config.mounts = both;
        box.config.n_mounts = 2;
        bind->readonly = false;
        box_create(&box);
        assert_eq_int(box.code, GRPC_STATUS_PERMISSION_DENIED);
        bind->readonly = true;
        life_run(&box, 0);
        assert_eq_str(output, "inside\n1\n/made\n");
        box_delete(&box);
        (void)mounts;
}

static void test_signals(void)
{
        Box box;
        box_init(&box, &host, "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done");
        box_create(&box);
        assert_eq_int(box_start(&box), 0);
        char c;
        assert_eq_int(read(box.stdout_fd, &c, 1), 1);
        assert_ok(syscall(SYS_pidfd_send_signal, box.pidfd, SIGTERM, NULL, 0));
        box_wait(&box);
        assert_eq_int(box.record.exit_code, 9);
        box_delete(&box);

        box_init(&box, &host, "sleep 1000 & sleep 1000");
        box_create(&box);
        assert_eq_int(box_start(&box), 0);
        assert_eq_int(box_ask(&box, ROW_CONTAINERD_SHIM_SHIM_KILL, NULL, NULL), 0);
        box_wait(&box);
        assert_eq_int(box.record.exit_code, 137);
        assert_eq_int(box.record.wait_status, SIGKILL);
        box_delete(&box);

        /* Never started, and running: delete ends both. */
        box_init(&box, &host, "true");
        box_create(&box);
        box_delete(&box);
        box_init(&box, &host, "sleep 1000");
        box_create(&box);
        assert_eq_int(box_start(&box), 0);
        box_delete(&box);
}

/* A restart of launch, and of whoever held the shim's socket, is nothing to a container. */
static void test_launch_killed(void)
{
        Box box;
        ShimStatus status;
        LaunchList list = {0};
        StageAnswer answer;
        box_init(&box, &host, "read x; exit 42");
        box.flags |= LAUNCH_FLAG_STDIN;
        box_create(&box);
        assert_eq_int(box_start(&box), 0);
        stage_kill(&hand);
        launch_begin();
        stage_call(&hand, ROW_CONTAINERD_LAUNCH_LAUNCH_LIST, &list, NULL, 0, &answer);
        const LaunchListed *listed = (const void *)answer.frame.payload;
        assert_eq_int(listed->n, 1);
        assert_eq_str(listed->ids[0], box.id);
        stage_answer_done(&answer);

        WireFrame streams = WIRE_FRAME_NULL;
        box_done(&box);
        assert_true(box_reconnect(&box));
        box_status(&box, &status);
        assert_eq_int(status.record.state, EXIT_STATE_CREATED);
        assert_eq_int(box_ask(&box, ROW_CONTAINERD_SHIM_SHIM_STREAMS, NULL, &streams), 0);
        assert_eq_int(streams.n_fds, 4); /* commit record, stdout, stderr, stdin */
        assert_ok(fd_kind_check(streams.fds[0], FD_KIND_MEMFD_SHARED));
        assert_ok(fd_kind_check(streams.fds[1], FD_KIND_PIPE_READ));
        assert_ok(fd_kind_check(streams.fds[3], FD_KIND_PIPE_WRITE));
        ShimRelease release = {.streams = SHIM_STREAM_OUTPUT | SHIM_STREAM_STDIN};
        assert_eq_int(box_ask(&box, ROW_CONTAINERD_SHIM_SHIM_RELEASE, &release, NULL), 0);
        assert_ok(fd_write_full(streams.fds[3], "\n", 1));
        wire_frame_done(&streams);
        box_wait(&box);
        assert_eq_int(box.record.exit_code, 42);
        assert_true(box_reconnect(&box)); /* after the end, too */
        box_status(&box, &status);
        assert_eq_int(status.record.exit_code, 42);
        box_delete(&box);
}

/* The container goes on; its code is lost and nobody invents one. */
static void test_shim_killed(void)
{
        Box box;
        bool exists = false;
        char word[64];
        box_init(&box, &host, "echo up; sleep 1000");
        box_create(&box);
        assert_eq_int(box_start(&box), 0);
        assert_eq_int(read(box.stdout_fd, word, 3), 3);
        assert_ok(stage_run("kill -9 $(awk '/^PPid/{print $2}' /proc/%d/status)", box.created.pid));
        usleep(50000);
        assert_false(box_reconnect(&box));
        assert_ok(syscall(SYS_pidfd_send_signal, box.pidfd, 0, NULL, 0));
        ExitRecord record = box_exit_record(&box, &exists);
        assert_true(exists);
        assert_eq_int(record.state, EXIT_STATE_CREATED);
        box_delete(&box);
}

static void test_exec(void)
{
        Box box, exec = {0};
        static const char *const ok[] = {"/bin/sh", "-c", "cat; id -u; exit 3", NULL}, *const last[] = {"/bin/sh", "-c", "exit 255", NULL};
        static const char *const missing[] = {"/no/such/thing", NULL}, *const status[] = {"/bin/cat", "/proc/self/status", NULL};
        box_init(&box, &host, "sleep 1000");
        box_create(&box);
        assert_eq_int(box_start(&box), 0);

        box_exec(&box, &exec, ok, LAUNCH_FLAG_STDIN | LAUNCH_FLAG_STDOUT | LAUNCH_FLAG_STDERR);
        assert_eq_int(exec.code, 0);
        assert_eq_int(exec.created.started, 1);
        assert_ok(fd_write_full(exec.stdin_fd, "hello ", 6));
        exec.stdin_fd = fd_close(exec.stdin_fd);
        ShimRelease release = {.streams = SHIM_STREAM_STDIN};
        assert_eq_int(box_ask(&exec, ROW_CONTAINERD_SHIM_SHIM_RELEASE, &release, NULL), 0);
        box_read(exec.stdout_fd, output);
        assert_eq_str(output, "hello 0\n");
        box_wait(&exec);
        assert_eq_int(exec.record.exit_code, 3);
        box_delete(&exec);

        box_exec(&box, &exec, last, LAUNCH_FLAG_STDOUT);
        assert_eq_int(exec.created.started, 1);
        box_wait(&exec);
        assert_eq_int(exec.record.exit_code, 255);
        box_delete(&exec);

        box_exec(&box, &exec, missing, LAUNCH_FLAG_STDOUT);
        assert_eq_int(exec.code, 0);
        assert_eq_int(exec.created.started, 0);
        assert_true(strstr(exec.created.text, "/no/such/thing") != NULL);
        box_delete(&exec);

        box_exec(&box, &exec, status, LAUNCH_FLAG_STDOUT);
        box_read(exec.stdout_fd, output);
        assert_eq_int(box_status_field(output, "NoNewPrivs", 10), 0);
        assert_eq_int(box_status_field(output, "Seccomp", 10), 0);
        assert_eq_int(box_status_field(output, "CapInh", 16), 0);
        assert_eq_int(box_status_field(output, "CapBnd", 16), UINT64_C(0xa80425fb) & capabilities);
        box_wait(&exec);
        box_delete(&exec);

        /* A taken-over brain: more than the container has, another command, another key. */
        static const char *const more[] = {"CAP_SYS_ADMIN"};
        char **kept = box.process.capabilities;
        size_t n_kept = box.process.n_capabilities;
        box.process.capabilities = (char **)(uintptr_t)more;
        box.process.n_capabilities = 1;
        box_exec(&box, &exec, status, LAUNCH_FLAG_STDOUT);
        assert_eq_int(exec.code, GRPC_STATUS_PERMISSION_DENIED);
        box.process.capabilities = kept;
        box.process.n_capabilities = n_kept;
        exec.forge = true;
        box_exec(&box, &exec, status, LAUNCH_FLAG_STDOUT);
        assert_eq_int(exec.code, GRPC_STATUS_PERMISSION_DENIED);
        exec.forge = false;
        assert_eq_int(box_ask(&box, ROW_CONTAINERD_SHIM_SHIM_KILL, NULL, NULL), 0);
        box_wait(&box);
        box_delete(&box);
}

static void test_terminal(void)
{
        Box box, exec = {0};
        static const char *const size[] = {"/bin/stty", "size", NULL};
        box_init(&box, &host, "stty size; test -t 0 && echo terminal; read x; stty size; exit 5");
        box.flags = LAUNCH_FLAG_TTY;
        box.config.tty = box.process.terminal = true;
        box.process.columns = 77;
        box.process.rows = 33;
        box_create(&box);
        assert_eq_int(box.code, 0);
        assert_eq_int(box_start(&box), 0);
        ssize_t n = 0;
        while (!(n > 0 && memmem(output, (size_t)n, "terminal", 8))) {
                ssize_t got = read(box.tty_fd, output + n, 64);
                assert_true(got > 0);
                n += got;
        }
        output[n] = '\0';
        assert_true(strstr(output, "33 77") != NULL);
        ShimResize resize = {.columns = 100, .rows = 50};
        assert_eq_int(box_ask(&box, ROW_CONTAINERD_SHIM_SHIM_RESIZE, &resize, NULL), 0);

        box_exec(&box, &exec, size, LAUNCH_FLAG_TTY);
        assert_eq_int(exec.created.started, 1);
        n = read(exec.tty_fd, output, 64);
        assert_true(n > 0);
        box_wait(&exec);
        box_delete(&exec);

        assert_ok(fd_write_full(box.tty_fd, "\n", 1));
        box_wait(&box);
        assert_eq_int(box.record.exit_code, 5);
        n = 0; /* what was typed comes back, too, maybe by itself */
        for (ssize_t got; n < 1024 && (got = read(box.tty_fd, output + n, 1024 - (size_t)n)) > 0;)
                n += got;
        output[n] = '\0';
        assert_true(strstr(output, "50 100") != NULL);
        box_delete(&box);
}

static void test_errors(void)
{
        Box box;
        box_init(&box, &host, "true");
        box.args[0] = (char *)(uintptr_t)"/bin/nothing";
        box_create(&box);
        assert_eq_int(box.code, GRPC_STATUS_UNKNOWN);
        assert_true(strstr(box.text, "/bin/nothing") != NULL);
        box_delete(&box);

        box_init(&box, &host, "true");
        box.process.cwd = (char *)(uintptr_t)"/etc/passwd/dir";
        box_create(&box);
        assert_eq_int(box.code, GRPC_STATUS_UNKNOWN);
        box_delete(&box);
        box_init(&box, &host, "true");
        box.process.cwd = (char *)(uintptr_t)"/proc/self/fd/7";
        box_create(&box);
        assert_eq_int(box.code, GRPC_STATUS_INVALID_ARGUMENT);
        box_delete(&box);

        BoxHost other = host;
        other.runtime = section.n_runtimes - 1; /* one that is not there */
        box_init(&box, &other, "true");
        box_create(&box);
        assert_eq_int(box.code, GRPC_STATUS_FAILED_PRECONDITION);
        assert_true(strstr(box.text, "install it") != NULL);
        box_delete(&box);

        box_init(&box, &host, "true");
        box.forge = true;
        box_create(&box);
        assert_eq_int(box.code, GRPC_STATUS_PERMISSION_DENIED);
        box_delete(&box);

        /* A permit is good once: also while it lives, and with its document unchanged. */
        box_init(&box, &host, "true");
        box_create(&box);
        assert_eq_int(box.code, 0);
        Box again = box;
        assert_ok(stage_run("sha256sum %s/containers/%s/config.json >%s/sum", stage.config.runtime_dir, box.id, stage.config.state_dir));
        again.process.cwd = (char *)(uintptr_t)"/tmp";
        box_create(&again);
        assert_eq_int(again.code, GRPC_STATUS_ALREADY_EXISTS);
        assert_ok(stage_run("sha256sum -c --quiet %s/sum", stage.config.state_dir));
        box_delete(&box);

        box_init(&box, &host, "true");
        LaunchContainer verb = {.runtime = 0};
        StageAnswer answer;
        memcpy(verb.id, box.id, sizeof(box.id));
        stage_call(&hand, ROW_CONTAINERD_LAUNCH_LAUNCH_START, &verb, NULL, 0, &answer);
        assert_eq_int(answer.code, GRPC_STATUS_NOT_FOUND);
        stage_answer_done(&answer);
        memcpy(verb.id, "../../etc", 10);
        stage_call(&hand, ROW_CONTAINERD_LAUNCH_LAUNCH_DELETE, &verb, NULL, 0, &answer);
        assert_eq_int(answer.code, GRPC_STATUS_INVALID_ARGUMENT);
        stage_answer_done(&answer);
}

static void test_seccomp(void)
{
        Box box;
        Runtime__V1__SecurityProfile profile = RUNTIME__V1__SECURITY_PROFILE__INIT;
        char path[1024];
        snprintf(path, sizeof(path), "%s/mkdir.json", section.seccomp_dir);
        assert_ok(stage_run("d=%s; rm -rf $d; mkdir -p $d; echo '{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":"
                            "[\"mkdir\"],\"action\":\"SCMP_ACT_ERRNO\"}]}' >$d/mkdir.json; ln -s mkdir.json $d/link.json; "
                            "echo '{' >$d/bad.json; mkfifo $d/fifo; cp $d/mkdir.json $d/../outside.json; "
                            "ln -s ../outside.json $d/out.json", section.seccomp_dir));
        box_init(&box, &host, "mkdir /d; echo $?; grep Seccomp: /proc/self/status");
        profile.profile_type = RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__Localhost;
        box.context.seccomp = &profile;
        box.seccomp.mode = SECCOMP_MODE(LOCALHOST);
        profile.localhost_ref = box.seccomp.profile_path = path;
        life_run(&box, 0);
        assert_eq_str(output, "1\nSeccomp:\t2\n");
        box_delete(&box);

        /* Links are followed to where they lead, and that must lie beneath the directory too. */
        static const char *const bad[] = {"out.json", "bad.json", "missing.json", "../../../../../../etc/passwd", "", "fifo"};
        snprintf(path, sizeof(path), "%s/link.json", section.seccomp_dir);
        box_init(&box, &host, "mkdir /d; echo $?; grep Seccomp: /proc/self/status");
        box.context.seccomp = &profile;
        box.seccomp.mode = SECCOMP_MODE(LOCALHOST);
        profile.localhost_ref = box.seccomp.profile_path = path;
        life_run(&box, 0);
        assert_eq_str(output, "1\nSeccomp:\t2\n");
        box_delete(&box);
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                box_init(&box, &host, "true");
                box.context.seccomp = &profile;
                box.seccomp.mode = SECCOMP_MODE(LOCALHOST);
                snprintf(path, sizeof(path), "%s/%s", section.seccomp_dir, bad[i]);
                profile.localhost_ref = box.seccomp.profile_path = path;
                box_create(&box);
                assert_eq_int(box.code, GRPC_STATUS_INVALID_ARGUMENT);
                box_delete(&box);
        }
        snprintf(path, sizeof(path), "%s/mkdir.json", section.seccomp_dir);
        assert_ok(stage_run("chmod 666 %s", path));
        box_init(&box, &host, "true");
        box.context.seccomp = &profile;
        box.seccomp.mode = SECCOMP_MODE(LOCALHOST);
        profile.localhost_ref = box.seccomp.profile_path = path;
        box_create(&box);
        assert_eq_int(box.code, GRPC_STATUS_INVALID_ARGUMENT);
        box_delete(&box);
}

/* A pod with namespaces of its own, by their pins. */
static void test_pod(void)
{
        Box box;
        char pin[160], want[1024];
        box_init(&box, &host, "for n in net ipc uts; do readlink /proc/self/ns/$n; done; cat /proc/1/comm; cat /etc/hostname; "
                              "touch /dev/shm/here; hostname");
        const char *run = stage.config.runtime_dir;
        snprintf(pin, sizeof(pin), "%sbh-%s", stage.config.instance, box.pod_id);
        assert_ok(stage_run("mkdir -p %s/ns/%s %s/pods/%s/shm /run/netns; echo podname >%s/pods/%s/hostname; "
                            "touch /run/netns/%s %s/ns/%s/ipc %s/ns/%s/uts; "
                            "unshare --net=/run/netns/%s --ipc=%s/ns/%s/ipc --uts=%s/ns/%s/uts hostname podname",
                            run, box.pod_id, run, box.pod_id, run, box.pod_id, pin, run, box.pod_id, run, box.pod_id, pin, run,
                            box.pod_id, run, box.pod_id));
        box.namespaces.network = box.namespaces.ipc = RUNTIME__V1__NAMESPACE_MODE__POD;
        box_mount(&box, MOUNT_KIND(POD_HOSTNAME), "/etc/hostname");
        box_mount(&box, MOUNT_KIND(POD_SHM), "/dev/shm");
        box_mount(&box, MOUNT_KIND(MQUEUE), "/dev/mqueue");
        box_mount(&box, MOUNT_KIND(CGROUP), "/sys/fs/cgroup")->readonly = true;
        /* A taken-over brain: the host's network, another pod's. */
        box_create(&box);
        assert_eq_int(box.code, GRPC_STATUS_PERMISSION_DENIED);
        box.spec.namespaces = 0;
        box.spec.network_pin = (char *)(uintptr_t)"bh-other";
        box_create(&box);
        assert_eq_int(box.code, GRPC_STATUS_PERMISSION_DENIED);

        box.spec.network_pin = pin;
        life_run(&box, 0);
        size_t n = 0;
        const char *const names[] = {"net", "ipc", "uts"};
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                char inode[64];
                if (i == 0)
                        stage_read(inode, sizeof(inode), "stat -c %%i /run/netns/%s", pin);
                else
                        stage_read(inode, sizeof(inode), "stat -c %%i %s/ns/%s/%s", run, box.pod_id, names[i]);
                n += (size_t)snprintf(want + n, sizeof(want) - n, "%s:[%s]\n", names[i], inode);
        }
        snprintf(want + n, sizeof(want) - n, "sh\npodname\npodname\n");
        assert_eq_str(output, want);
        assert_ok(stage_run("test -e %s/pods/%s/shm/here", run, box.pod_id));
        assert_ok(stage_run("umount /run/netns/%s %s/ns/%s/ipc %s/ns/%s/uts && rm -rf /run/netns/%s %s/ns/%s %s/pods/%s", pin, run,
                            box.pod_id, run, box.pod_id, pin, run, box.pod_id, run, box.pod_id));
        box_delete(&box);
}

/* A mount that the host makes in a volume later, seen or not; one that the container makes; read-only down to submounts. */
static void test_propagation(void)
{
        Box box;
        Runtime__V1__Mount mount = RUNTIME__V1__MOUNT__INIT, *mounts[] = {&mount};
        char path[1024];
        static const char *const seen[] = {"no\n", "yes\n", "yes\n"};
        snprintf(path, sizeof(path), "%s/shared", stage.config.state_dir);
        assert_ok(stage_run("mkdir -p %s/sub %s/own", path, path));
        mount.host_path = path;
        mount.container_path = (char *)(uintptr_t)"/volume";
        for (uint32_t propagation = 0; propagation < 3; propagation++) {
                box_init(&box, &host, "echo; read x; test -e /volume/sub/flag && echo yes || echo no; "
                                      "mount -t tmpfs none /volume/own && touch /volume/own/flag; read x");
                box.flags |= LAUNCH_FLAG_STDIN;
                box.config.mounts = mounts;
                box.config.n_mounts = 1;
                MountSpec *bind = box_mount(&box, MOUNT_KIND(BIND), "/volume");
                bind->host_path = path;
                mount.propagation = (Runtime__V1__MountPropagation)propagation;
                bind->propagation = propagation;
                static const char *const admin[] = {"CAP_SYS_ADMIN"};
                char *added[] = {(char *)(uintptr_t)"SYS_ADMIN"};
                box.capability.add_capabilities = added;
                box.capability.n_add_capabilities = 1;
                box.process.capabilities = (char **)(uintptr_t)admin;
                box.process.n_capabilities = 1;
                box_create(&box);
                assert_eq_int(box_start(&box), 0);
                char word[16] = "";
                assert_eq_int(read(box.stdout_fd, word, 1), 1);
                assert_ok(stage_run("mount -t tmpfs none %s/sub && touch %s/sub/flag", path, path));
                assert_ok(fd_write_full(box.stdin_fd, "\n", 1));
                assert_true(read(box.stdout_fd, word, sizeof(word) - 1) > 0);
                assert_eq_str(word, seen[propagation]);
                for (int i = 0; i < 100 && stage_run("test -e %s/own/flag", path) != 0; i++)
                        usleep(propagation == 2 ? 10000 : 1000);
                assert_eq_int(stage_run("test -e %s/own/flag", path) == 0, propagation == 2);
                assert_ok(fd_write_full(box.stdin_fd, "\n", 1));
                box.stdin_fd = fd_close(box.stdin_fd);
                box_wait(&box);
                (void)stage_run("umount %s/own 2>/dev/null", path);
                assert_ok(stage_run("umount %s/sub", path));
                box_delete(&box);
        }

        assert_ok(stage_run("mount -t tmpfs none %s/sub", path));
        for (int recursive = 0; recursive < 2; recursive++) {
                box_init(&box, &host, "touch /volume/x 2>/dev/null; echo $?; touch /volume/sub/x 2>/dev/null; echo $?");
                box.config.mounts = mounts;
                box.config.n_mounts = 1;
                MountSpec *bind = box_mount(&box, MOUNT_KIND(BIND), "/volume");
                bind->host_path = path;
                mount.propagation = RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_PRIVATE;
                mount.readonly = bind->readonly = true;
                mount.recursive_read_only = bind->recursive_readonly = recursive;
                life_run(&box, 0);
                assert_eq_str(output, recursive ? "1\n1\n" : "1\n0\n");
                box_delete(&box);
        }
        assert_ok(stage_run("umount %s/sub", path));
}

/* A debug container looks into the processes of another one, and only of one that the request names. */
static void test_target(void)
{
        Box box, debug;
        box_init(&box, &host, "exec sleep 1234");
        box_create(&box);
        assert_eq_int(box_start(&box), 0);
        box_init(&debug, &host, "while ! tr '\\0' ' ' </proc/1/cmdline | grep -q sleep; do sleep 0.05; done; tr '\\0' ' ' </proc/1/cmdline");
        debug.spec.target_container = box.id;
        box_create(&debug);
        assert_eq_int(debug.code, GRPC_STATUS_PERMISSION_DENIED);
        debug.namespaces.pid = RUNTIME__V1__NAMESPACE_MODE__TARGET;
        debug.namespaces.target_id = box.id;
        life_run(&debug, 0);
        assert_eq_str(output, "sleep 1234 ");
        box_delete(&debug);
        assert_eq_int(box_ask(&box, ROW_CONTAINERD_SHIM_SHIM_KILL, NULL, NULL), 0);
        box_wait(&box);

        box_init(&debug, &host, "true"); /* it has ended: its number may be anybody's */
        debug.namespaces.pid = RUNTIME__V1__NAMESPACE_MODE__TARGET;
        debug.namespaces.target_id = debug.spec.target_container = box.id;
        box_create(&debug);
        assert_eq_int(debug.code, GRPC_STATUS_INVALID_ARGUMENT);
        box_delete(&debug);
        box_delete(&box);
}

/* CVE-2019-5736 (breach-interpreter.c). The positive control first: the same image against a program that is executed from its own
 * file. Then against the runtime, whose file must stay what it is, and work on. */
static void breach_control(const char *victim)
{
        int pair[2];
        assert_ok(stage_run("cp /bin/true %s", victim));
        assert_ok(pipe(pair));
        pid_t pid = fork();
        if (pid == 0) {
                char *const arguments[] = {(char *)(uintptr_t)"victim", NULL}, *const environment[] = {(char *)(uintptr_t)"PATH=/bin", NULL};
                int fd = open(victim, O_RDONLY | O_CLOEXEC);
                dup2(pair[1], 1);
                if (unshare(CLONE_NEWNS) == 0 && mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 && chroot(host.image) == 0 &&
                    chdir("/") == 0 && mount("proc", "/proc", "proc", 0, NULL) == 0)
                        syscall(SYS_execveat, fd, "", arguments, environment, AT_EMPTY_PATH);
                _exit(127);
        }
        close(pair[1]);
        box_read(pair[0], output);
        close(pair[0]);
        waitpid(pid, NULL, 0);
        assert_eq_str(output, "attacking\noverwritten\n");
        assert_true(stage_run("cmp -s /bin/true %s", victim) != 0);
        assert_ok(unlink(victim));
}

static void test_runtime_overwrite(void)
{
        Box box;
        char before[128], after[128], victim[1024];
        const char *path = section.runtimes[host.runtime].path;
        snprintf(victim, sizeof(victim), "%s/lib64/ld-linux-x86-64.so.2", host.image);
        if (access(victim, X_OK) < 0) {
                printf("# not tried: there is no attack for this architecture\n");
                return;
        }
        snprintf(victim, sizeof(victim), "%s/victim", stage.config.state_dir);
        breach_control(victim);

        stage_read(before, sizeof(before), "sha256sum %s", path);
        box_init(&box, &host, "");
        box.args[0] = (char *)(uintptr_t)"/proc/self/exe";
        box.config.n_command = box.process.n_args = 1;
        life_run(&box, 0);
        assert_eq_str(output, "attacking\nrefused\n");
        box_delete(&box);
        stage_read(after, sizeof(after), "sha256sum %s", path);
        assert_eq_str(after, before);

        box_init(&box, &host, "echo still here");
        life_run(&box, 0);
        assert_eq_str(output, "still here\n");
        box_delete(&box);
}

static void test_probe(void)
{
        LaunchProbe verb = {.runtime = host.runtime};
        StageAnswer answer;
        stage_call(&hand, ROW_CONTAINERD_LAUNCH_LAUNCH_PROBE, &verb, NULL, 0, &answer);
        const LaunchProbed *probed = (const void *)answer.frame.payload;
        printf("# %s\n", probed->version);
        assert_eq_int(probed->present, 1);
        stage_answer_done(&answer);
        verb.runtime = section.n_runtimes - 1;
        stage_call(&hand, ROW_CONTAINERD_LAUNCH_LAUNCH_PROBE, &verb, NULL, 0, &answer);
        probed = (const void *)answer.frame.payload;
        assert_eq_int(probed->present, 0);
        stage_answer_done(&answer);
}

int main(int argc, char **argv)
{
        assert_true(argc >= 5);
        setbuf(stdout, NULL);
        stage_init(&stage, argv[2], "");
        snprintf(program, sizeof(program), "%s/bulkhead-containerd-launch", argv[1]);
        snprintf(stage.config.libexec_dir, sizeof(stage.config.libexec_dir), "%s", argv[1]);
        host.image = argv[3];
        section = (ConfigContainerd){.allow_privileged = 1, .allow_host_paths = 1, .oom_score_adj_min = 0, .log_root = "/"};
        snprintf(section.seccomp_dir, sizeof(section.seccomp_dir), "%s/seccomp", argv[2]);
        snprintf(section.cgroup_root, sizeof(section.cgroup_root), "%s",
                 access("/sys/fs/cgroup/unified", F_OK) == 0 ? "/sys/fs/cgroup/unified" : "/sys/fs/cgroup");
        snprintf(section.shims_cgroup, sizeof(section.shims_cgroup), "/" CONFIG_CGROUP_SHIMS);
        for (int i = 4; i < argc; i++)
                snprintf(section.runtimes[section.n_runtimes++].path, CONFIG_PATH_MAX, "%s", argv[i]);
        snprintf(section.runtimes[section.n_runtimes++].path, CONFIG_PATH_MAX, "/usr/bin/no-such-runtime");
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct data[2] = {0};
        assert_ok(syscall(SYS_capget, &header, data));
        capabilities = (uint64_t)data[1].permitted << 32 | data[0].permitted;

        launch_begin();
        for (host.runtime = 0; host.runtime < section.n_runtimes - 1; host.runtime++) {
                printf("# with %s\n", section.runtimes[host.runtime].path);
                TEST_RUN(test_probe);
                TEST_RUN(test_life);
                TEST_RUN(test_asked);
                TEST_RUN(test_privileged);
                TEST_RUN(test_mounts);
                TEST_RUN(test_signals);
                TEST_RUN(test_exec);
                TEST_RUN(test_terminal);
                TEST_RUN(test_errors);
                TEST_RUN(test_seccomp);
                TEST_RUN(test_pod);
                TEST_RUN(test_propagation);
                TEST_RUN(test_target);
                TEST_RUN(test_launch_killed);
                TEST_RUN(test_shim_killed);
                TEST_RUN(test_runtime_overwrite);
        }
        stage_stop(&hand);
        return 0;
}
