/* SPDX-License-Identifier: Apache-2.0 */

/* sandboxd-cni for real, with Debian's plugins and with bad ones: usage: test-cni CNI-PROGRAM SETUP-PROGRAM SCRATCH, as root on a
 * test host with a network of its own. */

#include "ipc/cri/api.pb-c.h"
#include "ipc/decode.h"
#include "ipc/edges/cni.pb-c.h"
#include "ipc/edges/sandboxd-cni.rows.h"
#include "ipc/edges/sandboxd-setup.rows.h"
#include "lib/fd.h"
#include "lib/grpc-status.h"
#include "lib/strings.h"
#include "tests/sandbox/stage.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#define PLUGINS_DIR "/usr/lib/cni"

static const char *cni_program;
static Stage stage;
static StageHand setup, cni;
static ConfigCni config;
static char scratch[128];

static const char id_a[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
static const char id_b[] = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

static void cni_start(void)
{
        stage_start(&stage, &cni, cni_program, PROCESS_SANDBOXD_CNI, EDGE_SANDBOXD_CNI, &edge_schema_sandboxd_cni, &config,
                    sizeof(config));
}

static void write_file(const char *name, mode_t mode, const char *text)
{
        char path[256];
        snprintf(path, sizeof(path), "%s/%s", scratch, name);
        unlink(path);
        assert_ok(fd_write_file(AT_FDCWD, path, text, strlen(text), mode));
        assert_ok(chmod(path, mode));
}

static void remove_file(const char *name)
{
        char path[256];
        snprintf(path, sizeof(path), "%s/%s", scratch, name);
        unlink(path);
}

/* The network of most tests: a bridge with addresses and port mappings, and what `more` adds to its list. */
static void write_network(const char *more)
{
        char text[2048];
        snprintf(text, sizeof(text),
                 "{\"cniVersion\":\"1.0.0\",\"name\":\"tpods\",\"plugins\":[{\"type\":\"bridge\",\"bridge\":\"tcni0\",\"isGateway\":true,"
                 "\"ipMasq\":false,\"ipam\":{\"type\":\"host-local\",\"ranges\":[[{\"subnet\":\"10.99.0.0/24\"}]],\"routes\":[{\"dst\":"
                 "\"0.0.0.0/0\"}]}},{\"type\":\"portmap\",\"capabilities\":{\"portMappings\":true}}%s]}",
                 more);
        write_file("net.d/10-test.conflist", 0644, text);
}

static void write_plugin(const char *name, const char *script)
{
        char path[64], text[1024];
        snprintf(path, sizeof(path), "bin/%s", name);
        snprintf(text, sizeof(text), "#!/bin/sh\n%s\n", script);
        write_file(path, 0755, text);
}

/* A permit is good once, and what ADD failed for is spent; the tests use their ids again. */
static void forget_spent(void)
{
        (void)stage_run("rm -f %s/spent/*", stage.config.runtime_dir);
}

static void setup_pod(const char *id, bool make)
{
        StageAnswer answer;
        if (make) {
                SetupMake *request = calloc(1, sizeof(*request));
                stage_permit(&stage, &request->permit, id, 0, NULL, 0);
                stage_call(&setup, ROW_SANDBOXD_SETUP_SETUP_MAKE, request, NULL, 0, &answer);
                free(request);
        } else {
                SetupPod request = {0};
                memcpy(request.pod_id, id, sizeof(request.pod_id));
                stage_call(&setup, ROW_SANDBOXD_SETUP_SETUP_REMOVE, &request, NULL, 0, &answer);
                forget_spent();
        }
        assert_eq_int(answer.code, 0);
        stage_answer_done(&answer);
}

/* The verb for a pod called web in shop, with port 8080 mapped to 80 where host_port is set. fd: its CniRequest. */
static CniRun run_new(const char *id, uint32_t verb, unsigned host_port, int *ret_fd)
{
        Runtime__V1__PodSandboxMetadata metadata = RUNTIME__V1__POD_SANDBOX_METADATA__INIT;
        Runtime__V1__PortMapping port = RUNTIME__V1__PORT_MAPPING__INIT, *ports[] = {&port};
        Runtime__V1__PodSandboxConfig pod = RUNTIME__V1__POD_SANDBOX_CONFIG__INIT;
        Runtime__V1__RunPodSandboxRequest request = RUNTIME__V1__RUN_POD_SANDBOX_REQUEST__INIT;
        Bulkhead__Cni__CniRequest asked = BULKHEAD__CNI__CNI_REQUEST__INIT;
        CniRun run = {.verb = verb};
        uint8_t *packed;
        size_t n;

        if (verb == CNI_VERB_ADD)
                forget_spent();
        metadata.name = (char *)"web";
        metadata.namespace_ = (char *)"shop";
        metadata.uid = (char *)"u-1";
        port.host_port = (int32_t)host_port;
        port.container_port = 80;
        pod.metadata = &metadata;
        pod.port_mappings = ports;
        pod.n_port_mappings = host_port ? 1 : 0;
        request.config = &pod;
        assert_ok(decode_pack(&request.base, &packed, &n));
        memcpy(run.pod_id, id, sizeof(run.pod_id));
        snprintf(run.network_pin, sizeof(run.network_pin), "t-bh-%s", id);
        stage_permit(&stage, &run.permit, id, 0, packed, n);
        asked.pod_id = run.pod_id;
        asked.pod_name = metadata.name;
        asked.pod_namespace = metadata.namespace_;
        asked.pod_uid = metadata.uid;
        asked.run_pod_request = (ProtobufCBinaryData){.data = packed, .len = n};
        uint8_t *bytes;
        size_t n_bytes;
        assert_ok(decode_pack(&asked.base, &bytes, &n_bytes));
        assert_ok(fd_memfd_sealed("request", bytes, n_bytes, ret_fd));
        free(bytes);
        free(packed);
        return run;
}

typedef struct Ran {
        uint32_t code;
        char text[1024];
        uint32_t n_execs;
        char ip[64];
        bool has_result;
} Ran;

static void run_take(StageAnswer *answer, Ran *ran)
{
        *ran = (Ran){.code = answer->code};
        snprintf(ran->text, sizeof(ran->text), "%.1023s", answer->text);
        if (answer->code) {
                printf("# %s\n", answer->text);
        } else {
                ran->n_execs = ((const CniRan *)(const void *)answer->frame.payload)->n_execs;
                int fd = wire_frame_take_fd(&answer->frame, 0);
                struct stat st;
                ran->has_result = fd >= 0;
                if (fd >= 0) {
                        uint8_t bytes[65536];
                        assert_ok(fstat(fd, &st));
                        assert_ok(fd_pread_full(fd, bytes, (size_t)st.st_size, 0));
                        Bulkhead__Cni__CniResult *result = bulkhead__cni__cni_result__unpack(NULL, (size_t)st.st_size, bytes);
                        assert_true(result != NULL);
                        if (result->n_ips > 0)
                                snprintf(ran->ip, sizeof(ran->ip), "%s", result->ips[0]);
                        bulkhead__cni__cni_result__free_unpacked(result, NULL);
                        close(fd);
                }
        }
        stage_answer_done(answer);
}

static uint32_t run_verb_on(const char *id, uint32_t verb, unsigned host_port, const char *pin, Ran *ran)
{
        StageAnswer answer;
        int fd;
        CniRun run = run_new(id, verb, host_port, &fd);
        if (pin)
                snprintf(run.network_pin, sizeof(run.network_pin), "%s", pin);
        stage_call(&cni, ROW_SANDBOXD_CNI_CNI_RUN, &run, &fd, 1, &answer);
        close(fd);
        run_take(&answer, ran);
        return ran->code;
}

static uint32_t run_verb(const char *id, uint32_t verb, unsigned host_port, Ran *ran)
{
        return run_verb_on(id, verb, host_port, NULL, ran);
}

static void assert_says(const Ran *ran, uint32_t code, const char *first, const char *second)
{
        assert_eq_int(ran->code, code);
        if (!strstr(ran->text, first) || !strstr(ran->text, second))
                test_fail("\"%s\" says nothing of \"%s\" or \"%s\"", ran->text, first, second);
}

static int addresses(void)
{
        char line[64];
        stage_read(line, sizeof(line), "ls /var/lib/cni/networks/tpods 2>/dev/null | grep -c '^10'");
        return (int)strtol(line, NULL, 10);
}

static Bulkhead__Cni__CniStatus *status_read(void)
{
        StageAnswer answer;
        struct stat st;
        uint8_t bytes[65536];
        stage_call(&cni, ROW_SANDBOXD_CNI_CNI_STATUS, NULL, NULL, 0, &answer);
        assert_eq_int(answer.code, 0);
        int fd = wire_frame_take_fd(&answer.frame, 0);
        assert_ok(fstat(fd, &st));
        assert_ok(fd_pread_full(fd, bytes, (size_t)st.st_size, 0));
        close(fd);
        stage_answer_done(&answer);
        Bulkhead__Cni__CniStatus *status = bulkhead__cni__cni_status__unpack(NULL, (size_t)st.st_size, bytes);
        assert_true(status != NULL);
        if (!status->ready)
                printf("# %s: %s\n", status->reason, status->message);
        return status;
}

static void assert_status(bool ready, const char *says)
{
        Bulkhead__Cni__CniStatus *status = status_read();
        assert_eq_int(status->ready, ready);
        if (!strstr(ready ? status->network_name : status->message, says))
                test_fail("\"%s\" says nothing of \"%s\"", ready ? status->network_name : status->message, says);
        bulkhead__cni__cni_status__free_unpacked(status, NULL);
}

static void test_status(void)
{
        remove_file("net.d/10-test.conflist");
        assert_status(false, config.conf_dir);
        write_network("");
        assert_status(true, "tpods");
        write_file("net.d/00-first.conf", 0644, "{ not json");
        assert_status(false, "00-first.conf");
        write_file("net.d/00-first.conf", 0666, "{\"cniVersion\":\"1.0.0\",\"name\":\"x\",\"type\":\"bridge\"}");
        assert_status(false, "only root");
        write_file("net.d/00-first.conf", 0644, "{\"cniVersion\":\"1.0.0\",\"name\":\"x\",\"type\":\"../../bin/sh\"}");
        assert_status(false, "../../bin/sh");
        write_file("net.d/00-first.conf", 0644, "{\"cniVersion\":\"1.0.0\",\"name\":\"x\",\"type\":\"no-such-plugin\"}");
        assert_status(false, "no plugin no-such-plugin");
        remove_file("net.d/00-first.conf");
        write_file("net.d/00-readme.txt", 0644, "not a configuration");
        assert_status(true, "tpods");
        write_plugin("writable", "exit 0");
        char path[256];
        snprintf(path, sizeof(path), "%s/bin/writable", scratch);
        assert_ok(chmod(path, 0777));
        write_network(",{\"type\":\"writable\"}");
        assert_status(false, "only root can write");
        /* CNI 1.1: plugins are asked. */
        write_plugin("speaks", "[ $CNI_COMMAND = STATUS ] && { echo '{\"cniVersion\":\"1.1.0\",\"code\":50,\"msg\":\"daemon down\"}'; exit 1; }");
        write_file("net.d/10-test.conflist", 0644, "{\"cniVersion\":\"1.1.0\",\"name\":\"x\",\"plugins\":[{\"type\":\"speaks\"}]}");
        assert_status(false, "daemon down");
        write_network("");
}

static void test_attach(void)
{
        Ran a, again, b, gone;
        setup_pod(id_a, true);
        setup_pod(id_b, true);
        assert_eq_int(run_verb(id_a, CNI_VERB_ADD, 8080, &a), 0);
        assert_eq_int(a.n_execs, 2);
        assert_true(strncmp(a.ip, "10.99.0.", 8) == 0);
        assert_eq_int(run_verb(id_b, CNI_VERB_ADD, 0, &b), 0);
        assert_true(strcmp(a.ip, b.ip) != 0);
        assert_eq_int(addresses(), 2);

        /* Once is once. */
        assert_eq_int(run_verb(id_a, CNI_VERB_ADD, 8080, &again), 0);
        assert_eq_int(again.n_execs, 0);
        assert_eq_str(again.ip, a.ip);
        assert_eq_int(addresses(), 2);
        assert_eq_int(run_verb(id_b, CNI_VERB_CHECK, 0, &again), 0); /* portmap 1.1.1 looks for IPv6 rules that it never made */
        assert_eq_int(again.n_execs, 2);

        /* Pod to pod, host to pod, and through the host's port. */
        char line[64];
        stage_read(line, sizeof(line), "nsenter --net=/run/netns/t-bh-%s timeout 20 busybox nc -l -p 80 -e echo hello & sleep 0.5; "
                                       "nsenter --net=/run/netns/t-bh-%s busybox nc -w 5 %s 80 </dev/null; wait",
                   id_a, id_b, a.ip);
        assert_eq_str(line, "hello");
        stage_read(line, sizeof(line), "nsenter --net=/run/netns/t-bh-%s timeout 20 busybox nc -l -p 80 -e echo hello & sleep 0.5; "
                                       "busybox nc -w 5 10.99.0.1 8080 </dev/null; wait",
                   id_a);
        assert_eq_str(line, "hello");

        /* What is kept is root's alone. */
        stage_read(line, sizeof(line), "stat -c '%%a %%U' %s/cni/%s %s/cni/%s/cache | tr '\\n' ' '", stage.config.state_dir, id_a,
                   stage.config.state_dir, id_a);
        assert_eq_str(line, "700 root 600 root ");

        CniList list = {0};
        StageAnswer answer;
        stage_call(&cni, ROW_SANDBOXD_CNI_CNI_LIST, &list, NULL, 0, &answer);
        const CniListed *listed = (const void *)answer.frame.payload;
        assert_eq_int(listed->n, 2);
        assert_eq_str(listed->pods[0], id_a);
        assert_eq_str(listed->pods[1], id_b);
        stage_answer_done(&answer);

        /* DEL asks neither the configuration ... */
        remove_file("net.d/10-test.conflist");
        assert_eq_int(run_verb(id_a, CNI_VERB_DEL, 0, &gone), 0);
        assert_eq_int(gone.n_execs, 2);
        assert_eq_int(addresses(), 1);
        stage_read(line, sizeof(line), "iptables-save -t nat | grep -c -- '--dport 8080'");
        assert_eq_str(line, "0");
        assert_eq_int(run_verb(id_a, CNI_VERB_DEL, 0, &gone), 0);
        assert_eq_int(gone.n_execs, 0);
        /* ... nor the namespace. */
        setup_pod(id_b, false);
        assert_eq_int(run_verb(id_b, CNI_VERB_DEL, 0, &gone), 0);
        assert_eq_int(gone.n_execs, 2);
        assert_eq_int(addresses(), 0);
        setup_pod(id_a, false);
        write_network("");
}

/* A pod's namespace was made anew under a cache that says attached: it is attached anew. */
static void test_new_namespace(void)
{
        Ran first, second, gone;
        setup_pod(id_a, true);
        assert_eq_int(run_verb(id_a, CNI_VERB_ADD, 0, &first), 0);
        setup_pod(id_a, false);
        setup_pod(id_b, true); /* so that the inode is not the same one again */
        setup_pod(id_a, true);
        assert_eq_int(run_verb(id_a, CNI_VERB_ADD, 0, &second), 0);
        assert_true(second.n_execs >= 4);
        assert_eq_int(addresses(), 1);
        assert_eq_int(run_verb(id_a, CNI_VERB_DEL, 0, &gone), 0);
        assert_eq_int(addresses(), 0);
        setup_pod(id_a, false);
        setup_pod(id_b, false);
}

/* Each bad plugin stands at the end of the list: what those before it did must be undone. */
static void test_bad_plugins(void)
{
        static const struct {
                const char *script;
                uint32_t code;
                const char *says;
        } rows[] = {
                {"[ $CNI_COMMAND = DEL ] && exit 0; echo '{\"cniVersion\":\"1.0.0\",\"code\":7,\"msg\":\"bad wolf\"}'; exit 1",
                 GRPC_STATUS_INTERNAL, "bad wolf"},
                {"[ $CNI_COMMAND = DEL ] && exit 0; echo '{\"code\":11,\"msg\":\"later\"}'; exit 1", GRPC_STATUS_UNAVAILABLE, "later"},
                {"[ $CNI_COMMAND = DEL ] && exit 0; echo oops >&2; exit 3", GRPC_STATUS_INTERNAL, "oops"},
                {"[ $CNI_COMMAND = DEL ] && exit 0; echo garbage", GRPC_STATUS_INTERNAL, "garbage"},
                {"[ $CNI_COMMAND = DEL ] && exit 0; echo '{\"ips\":[{\"address\":\"nowhere\"}]}'", GRPC_STATUS_INTERNAL, "nowhere"},
                {"[ $CNI_COMMAND = DEL ] && exit 0; echo '{\"cniVersion\":\"1.0.0\"}'", GRPC_STATUS_INTERNAL, "no address"},
                {"[ $CNI_COMMAND = DEL ] && exit 0; exit 0", GRPC_STATUS_INTERNAL, "no CNI result"},
                {"[ $CNI_COMMAND = DEL ] && exit 0; kill -SEGV $$", GRPC_STATUS_INTERNAL, "signal 11"},
                {"[ $CNI_COMMAND = DEL ] && exit 0; yes", GRPC_STATUS_INTERNAL, "1 MiB"},
                /* It hangs, and so does what it left in sessions of their own. */
                {"[ $CNI_COMMAND = DEL ] && exit 0; setsid sleep 998 & (setsid sh -c 'sleep 999; :' &); sleep 997",
                 GRPC_STATUS_DEADLINE_EXCEEDED, "killed"},
        };
        setup_pod(id_a, true);
        write_network(",{\"type\":\"bad\"}");
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                Ran ran;
                char line[32];
                write_plugin("bad", rows[i].script);
                run_verb(id_a, CNI_VERB_ADD, 8080, &ran);
                assert_says(&ran, rows[i].code, rows[i].says, i == 5 ? "tpods" : "plugin bad: ADD");
                assert_eq_int(addresses(), 0);
                stage_read(line, sizeof(line), "pgrep -c -x -f 'sleep 99.' ; pgrep -c -x yes");
                assert_eq_str(line, "0");
                stage_read(line, sizeof(line), "ls %s/cni | wc -l", stage.config.state_dir);
                assert_eq_str(line, "0");
        }
        Ran ran;
        write_network(",{\"type\":\"missing\"}");
        run_verb(id_a, CNI_VERB_ADD, 0, &ran);
        assert_says(&ran, GRPC_STATUS_FAILED_PRECONDITION, "missing", "install");
        remove_file("net.d/10-test.conflist");
        run_verb(id_a, CNI_VERB_ADD, 0, &ran);
        assert_says(&ran, GRPC_STATUS_FAILED_PRECONDITION, config.conf_dir, "network configuration");
        write_network("");
        assert_eq_int(run_verb(id_a, CNI_VERB_DEL, 0, &ran), 0);
        assert_eq_int(addresses(), 0);
        setup_pod(id_a, false);
}

/* A plugin whose DEL fails is asked again until it succeeds; the others have done theirs. */
static void test_failing_del(void)
{
        Ran ran;
        setup_pod(id_a, true);
        write_plugin("bad", "[ $CNI_COMMAND = DEL ] && { [ -e " PLUGINS_DIR "/../bulkhead-no ] || [ -e $(dirname $0)/x ] || exit 1; }; cat | "
                            "python3 -c 'import json,sys; print(json.dumps(json.load(sys.stdin).get(\"prevResult\", {})))'");
        write_network(",{\"type\":\"bad\"}");
        assert_eq_int(run_verb(id_a, CNI_VERB_ADD, 0, &ran), 0);
        run_verb(id_a, CNI_VERB_DEL, 0, &ran);
        assert_says(&ran, GRPC_STATUS_INTERNAL, "plugin bad: DEL", "tpods");
        assert_eq_int(addresses(), 0);
        write_plugin("bad", "exit 0");
        assert_eq_int(run_verb(id_a, CNI_VERB_DEL, 0, &ran), 0);
        assert_eq_int(ran.n_execs, 3);

        /* A cache that a power cut left empty: today's network is asked. */
        write_network("");
        assert_eq_int(run_verb(id_a, CNI_VERB_ADD, 0, &ran), 0);
        assert_ok(stage_run("truncate -s 0 %s/cni/%s/cache", stage.config.state_dir, id_a));
        assert_eq_int(run_verb(id_a, CNI_VERB_DEL, 0, &ran), 0);
        assert_eq_int(addresses(), 0);
        setup_pod(id_a, false);
}

/* While one pod's plugin hangs, another pod is attached. */
static void test_side_by_side(void)
{
        Ran ran;
        StageAnswer answer;
        int fd_a, fd_b;
        setup_pod(id_a, true);
        setup_pod(id_b, true);
        write_plugin("bad", "case $CNI_CONTAINERID in a*) [ $CNI_COMMAND = ADD ] && sleep 997; exit 0;; esac; cat | python3 -c 'import "
                            "json,sys; print(json.dumps(json.load(sys.stdin).get(\"prevResult\", {})))'");
        write_network(",{\"type\":\"bad\"}");
        CniRun a = run_new(id_a, CNI_VERB_ADD, 0, &fd_a);
        CniRun b = run_new(id_b, CNI_VERB_ADD, 0, &fd_b);
        uint32_t request_a = stage_send(&cni, ROW_SANDBOXD_CNI_CNI_RUN, &a, &fd_a, 1);
        uint32_t request_b = stage_send(&cni, ROW_SANDBOXD_CNI_CNI_RUN, &b, &fd_b, 1);
        stage_receive(&cni, ROW_SANDBOXD_CNI_CNI_RUN, request_b, &answer);
        run_take(&answer, &ran);
        assert_eq_int(ran.code, 0);
        stage_receive(&cni, ROW_SANDBOXD_CNI_CNI_RUN, request_a, &answer);
        run_take(&answer, &ran);
        assert_eq_int(ran.code, GRPC_STATUS_DEADLINE_EXCEEDED);
        close(fd_a);
        close(fd_b);
        assert_eq_int(run_verb(id_b, CNI_VERB_DEL, 0, &ran), 0);
        setup_pod(id_a, false);
        setup_pod(id_b, false);
        write_network("");
}

/* The hand, its request's process and the plugin die at any moment of an ADD: a DEL by the next hand leaves nothing. */
static void test_kill(void)
{
        setup_pod(id_a, true);
        for (unsigned i = 0; i < 12; i++) {
                Ran ran;
                int fd;
                CniRun run = run_new(id_a, CNI_VERB_ADD, 8080, &fd);
                (void)stage_send(&cni, ROW_SANDBOXD_CNI_CNI_RUN, &run, &fd, 1);
                close(fd);
                usleep(i * 15000);
                if (i & 1)
                        (void)stage_run("pkill -KILL -P %d", (int)cni.pid); /* the processes of its requests */
                stage_kill(&cni);
                cni_start();
                assert_eq_int(run_verb(id_a, CNI_VERB_DEL, 0, &ran), 0);
                assert_eq_int(addresses(), 0);
        }
        setup_pod(id_a, false);
}

static void test_refusals(void)
{
        Ran ran;
        StageAnswer answer;
        int fd;
        setup_pod(id_a, true);
        setup_pod(id_b, true);
        char pin[128];
        snprintf(pin, sizeof(pin), "t-bh-%s", id_b);
        assert_eq_int(run_verb_on(id_a, CNI_VERB_ADD, 0, pin, &ran), GRPC_STATUS_PERMISSION_DENIED);
        assert_eq_int(run_verb_on(id_a, CNI_VERB_DEL, 0, pin, &ran), GRPC_STATUS_PERMISSION_DENIED);
        assert_eq_int(run_verb_on(id_a, CNI_VERB_ADD, 0, "../../proc/1/ns/net", &ran), GRPC_STATUS_PERMISSION_DENIED);
        assert_eq_int(run_verb_on(id_a, CNI_VERB_ADD, 0, "", &ran), GRPC_STATUS_PERMISSION_DENIED);

        CniRun run = run_new(id_a, CNI_VERB_ADD, 0, &fd);
        run.permit.flags ^= PERMIT_FLAG_PRIVILEGED; /* not what was sealed */
        stage_call(&cni, ROW_SANDBOXD_CNI_CNI_RUN, &run, &fd, 1, &answer);
        run_take(&answer, &ran);
        assert_eq_int(ran.code, GRPC_STATUS_PERMISSION_DENIED);
        close(fd);
        /* The permit of one request beside another request: a port more. */
        int other_fd;
        CniRun with_port = run_new(id_a, CNI_VERB_ADD, 22, &other_fd);
        (void)with_port;
        run = run_new(id_a, CNI_VERB_ADD, 0, &fd);
        stage_call(&cni, ROW_SANDBOXD_CNI_CNI_RUN, &run, &other_fd, 1, &answer);
        run_take(&answer, &ran);
        assert_says(&ran, GRPC_STATUS_PERMISSION_DENIED, "sealed", id_a);
        close(fd);
        close(other_fd);
        assert_eq_int(addresses(), 0);
        assert_eq_int(run_verb(id_a, CNI_VERB_DEL, 0, &ran), 0);
        assert_eq_int(run_verb(id_a, CNI_VERB_CHECK, 0, &ran), GRPC_STATUS_NOT_FOUND);
        assert_eq_int(run_verb(id_a, 9, 0, &ran), GRPC_STATUS_PERMISSION_DENIED);
        setup_pod(id_a, false);
        setup_pod(id_b, false);
}

int main(int argc, char **argv)
{
        if (argc != 4 || geteuid() != 0)
                test_skip("needs root, the programs of both hands and a directory");
        if (access(PLUGINS_DIR "/bridge", X_OK) < 0 || stage_run("command -v iptables busybox >/dev/null") != 0)
                test_skip("needs the CNI plugins in " PLUGINS_DIR ", iptables and busybox");
        setvbuf(stdout, NULL, _IOLBF, 0);
        cni_program = argv[1];
        snprintf(scratch, sizeof(scratch), "%s", argv[3]);
        stage_init(&stage, scratch, "t-");
        config = (ConfigCni){.n_bin_dirs = 2, .timeout_sec = 3};
        snprintf(config.conf_dir, sizeof(config.conf_dir), "%s/net.d", scratch);
        snprintf(config.bin_dirs[0], CONFIG_PATH_MAX, "%s/bin", scratch);
        snprintf(config.bin_dirs[1], CONFIG_PATH_MAX, PLUGINS_DIR);
        assert_ok(stage_run("mkdir -p %s/net.d %s/bin %s/state/cni && chmod 755 %s %s/net.d %s/bin", scratch, scratch, scratch, scratch,
                            scratch, scratch));
        assert_ok(stage_run("sysctl -q -w net.ipv4.ip_forward=1"));
        static const ConfigContainerd no_cgroups;
        stage_start(&stage, &setup, argv[2], PROCESS_SANDBOXD_SETUP, EDGE_SANDBOXD_SETUP, &edge_schema_sandboxd_setup, &no_cgroups,
                    sizeof(no_cgroups));
        cni_start();

        /* The bridge itself, and portmap's own empty chains, stay by their plugins' design. */
        write_network("");
        Ran ran;
        setup_pod(id_a, true);
        assert_eq_int(run_verb(id_a, CNI_VERB_ADD, 8080, &ran), 0);
        assert_eq_int(run_verb(id_a, CNI_VERB_DEL, 8080, &ran), 0);
        setup_pod(id_a, false);

        static const struct {
                const char *name;
                void (*run)(void);
        } tests[] = {
                {"status", test_status},
                {"attach", test_attach},
                {"new-namespace", test_new_namespace},
                {"bad-plugins", test_bad_plugins},
                {"failing-del", test_failing_del},
                {"side-by-side", test_side_by_side},
                {"kill", test_kill},
                {"refusals", test_refusals},
        };
        char *before = stage_snapshot(&stage);
        for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
                tests[i].run();
                usleep(200000); /* the kernel takes veths of a dead namespace away in its own time */
                char *after = stage_snapshot(&stage);
                stage_assert_same(before, after);
                free(after);
                printf("ok cni/%s\n", tests[i].name);
                fflush(stdout);
        }
        free(before);
        stage_stop(&cni);
        stage_stop(&setup);
        return 0;
}
