/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sandbox/stage.h"

#include "lib/fd.h"
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

void stage_init(Stage *stage, const char *root, const char *instance)
{
        *stage = (Stage){.config = {.user_base = 1879048192, .log_level = 6, .boot_id = "boot"}};
        snprintf(stage->config.instance, sizeof(stage->config.instance), "%s", instance);
        snprintf(stage->config.state_dir, sizeof(stage->config.state_dir), "%s/state", root);
        snprintf(stage->config.runtime_dir, sizeof(stage->config.runtime_dir), "%s/run", root);
        memset(stage->key, 0x42, sizeof(stage->key));
        char empty[CONFIG_PATH_MAX + 8];
        snprintf(empty, sizeof(empty), "%s/empty", stage->config.runtime_dir);
        assert_true(mkdir(stage->config.state_dir, 0755) == 0 || errno == EEXIST);
        assert_true(mkdir(stage->config.runtime_dir, 0755) == 0 || errno == EEXIST);
        assert_true(mkdir(empty, 0555) == 0 || errno == EEXIST);
}

static void stage_control(int fd, ControlType type, const void *body, const void *tail, size_t n_tail, int passed)
{
        assert_ok(control_send(fd, type, body, tail, n_tail, passed));
}

void stage_start(const Stage *stage, StageHand *hand, const char *program, ProcessId process, EdgeId edge,
                 const EdgeSchema *schema, const void *section, size_t n)
{
        int control[2], wire[2];
        assert_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control));
        assert_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, wire));
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGTERM);
                if (control[1] == CONTROL_FD)
                        fcntl(CONTROL_FD, F_SETFD, 0);
                else
                        dup2(control[1], CONTROL_FD);
                execl(program, program, (char *)NULL);
                _exit(127);
        }
        close(control[1]);
        *hand = (StageHand){.pid = pid, .control_fd = control[0], .edge_fd = wire[0], .schema = schema};

        static ControlFrame frame; /* 64 KiB */
        assert_ok(control_receive(hand->control_fd, true, &frame));
        assert_eq_int(frame.type, CONTROL_HELLO);
        assert_eq_int(frame.hello.process, process);
        ControlConfig config = {.common = stage->config, .section_size = (uint32_t)n};
        stage_control(hand->control_fd, CONTROL_CONFIG, &config, section, n, -1);
        ControlKey key = {.kind = CONTROL_KEY_PERMIT};
        memcpy(key.bytes, stage->key, sizeof(key.bytes));
        stage_control(hand->control_fd, CONTROL_KEY, &key, NULL, 0, -1);
        stage_control(hand->control_fd, CONTROL_GO, NULL, NULL, 0, -1);
        assert_ok(control_receive(hand->control_fd, true, &frame));
        assert_eq_int(frame.type, CONTROL_STATE);
        ControlEdge made = {.edge = edge, .side = EDGE_SIDE_B, .generation = 1};
        stage_control(hand->control_fd, CONTROL_EDGE, &made, NULL, 0, wire[1]);
        close(wire[1]);
}

static void stage_end(StageHand *hand, int signal_number, bool well)
{
        int status;
        assert_ok(kill(hand->pid, signal_number));
        assert_eq_int(waitpid(hand->pid, &status, 0), hand->pid);
        if (well)
                assert_eq_int(status, 0);
        close(hand->control_fd);
        close(hand->edge_fd);
}

void stage_stop(StageHand *hand)
{
        stage_end(hand, SIGTERM, true);
}

void stage_kill(StageHand *hand)
{
        stage_end(hand, SIGKILL, false);
}

uint32_t stage_send(StageHand *hand, const MessageRow *row, const void *flat, const int *fds, size_t n_fds)
{
        uint32_t id = ++hand->last_request;
        assert_ok(wire_send(hand->edge_fd, row->id, 0, id, flat, row->body.flat_size, fds, n_fds));
        return id;
}

void stage_receive(StageHand *hand, const MessageRow *row, uint32_t request_id, StageAnswer *answer)
{
        answer->frame = WIRE_FRAME_NULL;
        answer->code = 0;
        answer->text[0] = '\0';
        const WireHeader *header = &answer->frame.header;
        for (;;) {
                assert_ok(wire_receive(hand->edge_fd, true, &answer->frame));
                if (header->request_id != 0)
                        break;
                hand->n_events++;
                wire_frame_done(&answer->frame);
        }
        assert_eq_int(header->request_id, request_id);
        assert_true(header->flags & WIRE_FLAG_REPLY);
        if (header->flags & WIRE_FLAG_ERROR) {
                const WireError *error = (const void *)answer->frame.payload;
                answer->code = error->code;
                memcpy(answer->text, error->text, header->length - sizeof(*error));
                answer->text[header->length - sizeof(*error)] = '\0';
        } else {
                assert_ok(row_check_body(&row->reply, &answer->frame));
        }
}

void stage_call(StageHand *hand, const MessageRow *row, const void *flat, const int *fds, size_t n_fds,
                StageAnswer *answer)
{
        stage_receive(hand, row, stage_send(hand, row, flat, fds, n_fds), answer);
}

void stage_answer_done(StageAnswer *answer)
{
        wire_frame_done(&answer->frame);
}

void stage_permit(const Stage *stage, Permit *permit, const char *id, uint32_t flags, const void *request, size_t n)
{
        *permit = (Permit){.magic = "BHPERMIT", .version = 1, .verb = PERMIT_VERB_RUN_POD, .flags = flags};
        memcpy(permit->magic, "BHPERMIT", 8);
        memcpy(permit->id, id, ID_LENGTH + 1);
        memcpy(permit->pod_id, id, ID_LENGTH + 1);
        permit_seal(permit, request ? request : "", n, stage->key);
}

int stage_run(const char *format, ...)
{
        char command[4096];
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(command, sizeof(command), format, arguments);
        va_end(arguments);
        int status = system(command);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

void stage_read(char *to, size_t size, const char *format, ...)
{
        char command[4096];
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(command, sizeof(command), format, arguments);
        va_end(arguments);
        FILE *f = popen(command, "re");
        assert_true(f != NULL);
        to[0] = '\0';
        if (fgets(to, (int)size, f))
                to[strcspn(to, "\n")] = '\0';
        char rest[256];
        while (fgets(rest, sizeof(rest), f))
                ;
        pclose(f);
}

char *stage_snapshot(const Stage *stage)
{
        char command[2048];
        snprintf(command, sizeof(command),
                 "cut -d' ' -f5 /proc/self/mountinfo | sort; ls /run/netns 2>/dev/null; ip -o link | cut -d: -f2 | "
                 "sed 's/@.*//' | sort;"
                 "ls %s/ns %s/pods 2>/dev/null | grep -v ':'; find %s/cni -mindepth 1 2>/dev/null | sort;"
                 "find /var/lib/cni -type f ! -name last_reserved_ip* ! -name lock 2>/dev/null | sort;"
                 "iptables-save 2>/dev/null | grep -v '^#' | sed 's/\\[.*\\]//' | grep -e '-A' | sort;"
                 "ls /proc | grep '^[0-9]' | while read -r p; do tr '\\0' ' ' 2>/dev/null <\"/proc/$p/cmdline\"; echo; done 2>/dev/null | "
                 "grep -v -e 'ls /proc' -e ^sh -e ^grep -e ^sort -e '^ *$' | sort",
                 stage->config.runtime_dir, stage->config.runtime_dir, stage->config.state_dir);
        FILE *f = popen(command, "re");
        assert_true(f != NULL);
        char *text = NULL;
        size_t n = 0;
        FILE *memory = open_memstream(&text, &n);
        int c;
        while ((c = fgetc(f)) != EOF)
                fputc(c, memory);
        pclose(f);
        fclose(memory);
        return text;
}

void stage_assert_same(const char *before, const char *after)
{
        if (strcmp(before, after) != 0)
                test_fail("something is left behind\n--- before\n%s--- after\n%s", before, after);
}
