/* SPDX-License-Identifier: Apache-2.0 */

/* Streaming sessions over scripted neighbours: what a token opens, in which order things are done, and how each of the four ends
 * (client, streamd, command, container) is followed by the others. tests/scenario/streaming-ends drives the real ones. */

#include "services/containerd/container.h"
#include "services/containerd/test-peers.h"
#include "services/stream-share.h"

#define STARTED 'c'
#define STDIO (LAUNCH_FLAG_STDIN | LAUNCH_FLAG_STDOUT | LAUNCH_FLAG_STDERR)
#define TERMINAL (LAUNCH_FLAG_TTY | LAUNCH_FLAG_STDIN | LAUNCH_FLAG_STDOUT)

static char session_url[256];

static void begin(Peers *p)
{
        p->log[0] = p->text[0] = '\0';
        p->n_answers = 0;
        p->outcome = -1;
}

static void start(Peers *p)
{
        peers_init(p);
        (void)str_copy(p->common.stream_url, sizeof(p->common.stream_url), "http://127.0.0.1:1");
        peers_create(p, "c", "/bin/true", STARTED);
        peers_settle(p);
        peers_ask(p, ROW_GATEWAYD_CONTAINERD_START_CONTAINER, STARTED, 0);
        peers_settle(p);
        assert_eq_int(p->outcome, 0);
        begin(p);
}

static int on_url(void *userdata, const Answer *answer)
{
        session_url[0] = '\0';
        (void)peers_on_answer(userdata, answer);
        if (answer->outcome == 0)
                (void)str_copy(session_url, sizeof(session_url),
                               container_of(answer->frame->message, Runtime__V1__ExecResponse, base)->url);
        return 0;
}

static void ask_exec(Peers *p, char digit, const char *command, uint32_t flags)
{
        Runtime__V1__ExecRequest request = RUNTIME__V1__EXEC_REQUEST__INIT;
        Bulkhead__GatewaydContainerd__ExecCall call = BULKHEAD__GATEWAYD_CONTAINERD__EXEC_CALL__INIT;
        Permit permit = {.verb = PERMIT_VERB_EXEC};
        char id[ID_LENGTH + 1], container[ID_LENGTH + 1];
        _cleanup_free_ uint8_t *bytes = NULL;

        memset(id, digit, ID_LENGTH);
        memset(container, STARTED, ID_LENGTH);
        id[ID_LENGTH] = container[ID_LENGTH] = '\0';
        request.container_id = container;
        request.cmd = (char **)(uintptr_t)&command;
        request.n_cmd = 1;
        request.tty = flags & LAUNCH_FLAG_TTY;
        request.stdin = flags & LAUNCH_FLAG_STDIN;
        request.stdout = flags & LAUNCH_FLAG_STDOUT;
        request.stderr = flags & LAUNCH_FLAG_STDERR;
        assert_ok(decode_pack(&request.base, &bytes, &call.request.len));
        call.request.data = bytes;
        call.id = id;
        call.permit = (ProtobufCBinaryData){.data = (uint8_t *)&permit, .len = sizeof(permit)};
        assert_ok(channel_call(p->gatewayd, ROW_GATEWAYD_CONTAINERD_EXEC, &call.base, NULL, 0, USEC_INFINITY, on_url, p, NULL));
        peers_settle(p);
}

static void ask_attach(Peers *p, uint32_t flags)
{
        Runtime__V1__AttachRequest request = RUNTIME__V1__ATTACH_REQUEST__INIT;
        char container[ID_LENGTH + 1];

        memset(container, STARTED, ID_LENGTH);
        container[ID_LENGTH] = '\0';
        request.container_id = container;
        request.stdout = flags & LAUNCH_FLAG_STDOUT;
        request.stderr = flags & LAUNCH_FLAG_STDERR;
        assert_ok(channel_call(p->gatewayd, ROW_GATEWAYD_CONTAINERD_ATTACH, &request.base, NULL, 0, USEC_INFINITY, on_url, p, NULL));
        peers_settle(p);
}

static int on_opened(void *userdata, const Answer *answer)
{
        Peers *p = userdata;

        (void)peers_on_answer(p, answer);
        for (size_t i = 0; i < ARRAY_SIZE(p->session_fds); i++)
                p->session_fds[i] = fd_close(p->session_fds[i]);
        p->n_session_fds = 0;
        if (answer->outcome)
                return 0;
        (void)str_copy(p->session_id, sizeof(p->session_id),
                       container_of(answer->frame->message, Bulkhead__StreamdContainerd__SessionOpened, base)->session_id);
        while (p->n_session_fds < 3 && (p->session_fds[p->n_session_fds] = frame_take_fd(answer->frame, p->n_session_fds)) >= 0)
                p->n_session_fds++;
        return 0;
}

static const char *url_token(void)
{
        const char *slash = strrchr(session_url, '/');

        assert_true(slash);
        return slash + 1;
}

static uint32_t open_session(Peers *p, const char *token)
{
        Bulkhead__StreamdContainerd__SessionOpen request = BULKHEAD__STREAMD_CONTAINERD__SESSION_OPEN__INIT;
        uint32_t request_id = 0;

        request.token = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)token, .len = strlen(token)};
        assert_ok(channel_call(p->streamd, ROW_STREAMD_CONTAINERD_SESSION_OPEN, &request.base, NULL, 0, USEC_INFINITY, on_opened, p,
                               &request_id));
        peers_settle(p);
        return request_id;
}

static void close_session(Peers *p)
{
        Bulkhead__StreamdContainerd__SessionClose event = BULKHEAD__STREAMD_CONTAINERD__SESSION_CLOSE__INIT;

        event.session_id = p->session_id;
        assert_ok(channel_event(p->streamd, ROW_STREAMD_CONTAINERD_SESSION_CLOSE, &event.base));
        peers_settle(p);
}

static void resize_session(Peers *p, uint32_t columns, uint32_t rows)
{
        Bulkhead__StreamdContainerd__SessionResize event = BULKHEAD__STREAMD_CONTAINERD__SESSION_RESIZE__INIT;

        event.session_id = p->session_id;
        event.columns = columns;
        event.rows = rows;
        assert_ok(channel_event(p->streamd, ROW_STREAMD_CONTAINERD_SESSION_RESIZE, &event.base));
        peers_settle(p);
}

static void resume_session(Peers *p, bool tty, bool attach)
{
        Bulkhead__StreamdContainerd__SessionResume event = BULKHEAD__STREAMD_CONTAINERD__SESSION_RESUME__INIT;
        char container[ID_LENGTH + 1];

        memset(container, STARTED, ID_LENGTH);
        container[ID_LENGTH] = '\0';
        event.session_id = p->session_id;
        event.container_id = container;
        event.tty = tty;
        event.attach = attach;
        assert_ok(channel_event(p->streamd, ROW_STREAMD_CONTAINERD_SESSION_RESUME, &event.base));
        peers_settle(p);
}

static void tell_sessions(Peers *p)
{
        Bulkhead__StreamdContainerd__SessionsTold event = BULKHEAD__STREAMD_CONTAINERD__SESSIONS_TOLD__INIT;

        assert_ok(channel_event(p->streamd, ROW_STREAMD_CONTAINERD_SESSIONS_TOLD, &event.base));
        peers_settle(p);
}

static void exec_opened(Peers *p, uint32_t flags)
{
        start(p);
        ask_exec(p, 'e', "/bin/true", flags);
        assert_eq_int(p->outcome, 0);
        begin(p);
        (void)open_session(p, url_token());
        assert_eq_int(p->outcome, 0);
}

static void finish(Peers *p)
{
        assert_eq_int(p->containerd.n_sessions, 0);
        assert_eq_int(p->containerd.session_bytes, 0);
        assert_eq_int(p->containerd.tokens.n, 0);
        peers_done(p);
}

static void assert_carries(int from, int to, const char *text)
{
        char bytes[64] = "";

        assert_eq_int(write(from, text, strlen(text)), strlen(text));
        assert_eq_int(read(to, bytes, sizeof(bytes) - 1), strlen(text));
        assert_eq_str(bytes, text);
}

static void test_exec_and_its_end(void)
{
        Peers p;

        exec_opened(&p, STDIO);
        assert_eq_str(p.log, "launch_exec shim_release ");
        assert_eq_int(p.n_session_fds, 3);
        assert_carries(p.session_fds[0], p.exec_fds[0], "in");
        assert_carries(p.exec_fds[1], p.session_fds[1], "out");
        assert_carries(p.exec_fds[2], p.session_fds[2], "err");
        begin(&p);
        peers_exec_ends(&p, 42);
        peers_settle(&p);
        assert_eq_str(p.log, "session_ended shim_quit launch_delete ");
        assert_eq_int(p.session_code, 42);
        assert_eq_str(p.text, "");
        finish(&p);
}

static void test_exec_with_some_streams(void)
{
        Peers p;

        exec_opened(&p, LAUNCH_FLAG_STDIN | LAUNCH_FLAG_STDERR);
        assert_eq_int(p.n_session_fds, 2);
        assert_carries(p.session_fds[0], p.exec_fds[0], "in");
        assert_carries(p.exec_fds[2], p.session_fds[1], "err");
        peers_exec_ends(&p, 0);
        peers_settle(&p);
        finish(&p);
}

/* The shim keeps the terminal for its size, and lets go of it when the client goes. */
static void test_exec_with_a_terminal(void)
{
        Peers p;

        exec_opened(&p, TERMINAL);
        assert_eq_str(p.log, "launch_exec ");
        assert_eq_int(p.n_session_fds, 2);
        assert_carries(p.session_fds[0], p.exec_fds[1], "in");
        assert_carries(p.exec_fds[1], p.session_fds[1], "out");
        begin(&p);
        resize_session(&p, 80, 24);
        resize_session(&p, 0, 24);
        assert_eq_str(p.log, "shim_resize ");
        begin(&p);
        close_session(&p);
        assert_eq_str(p.log, "shim_release ");
        begin(&p);
        close_session(&p); /* once */
        resize_session(&p, 81, 25);
        assert_eq_str(p.log, "");
        peers_exec_ends(&p, 129);
        peers_settle(&p);
        assert_eq_str(p.log, "shim_quit launch_delete "); /* nobody is told */
        finish(&p);
}

static void test_token_is_good_once(void)
{
        Peers p;
        char token[TOKEN_LENGTH + 1];

        exec_opened(&p, STDIO);
        (void)str_copy(token, sizeof(token), url_token());
        begin(&p);
        (void)open_session(&p, token);
        assert_eq_int(p.code, GRPC_STATUS_NOT_FOUND);
        (void)open_session(&p, "");
        assert_eq_int(p.code, GRPC_STATUS_NOT_FOUND);
        assert_eq_str(p.log, "");
        /* One that waits is not reached by its id. */
        ask_exec(&p, 'f', "/bin/true", STDIO);
        memset(p.session_id, 'f', ID_LENGTH);
        close_session(&p);
        assert_eq_int(p.containerd.tokens.n, 1);
        peers_exec_ends(&p, 0);
        peers_settle(&p);
        assert_eq_int(p.containerd.n_sessions, 1);
        peers_done(&p);
}

static void test_exec_is_refused(void)
{
        Peers p;

        start(&p);
        ask_exec(&p, 'e', "/bin/true", 0);
        assert_eq_int(p.code, GRPC_STATUS_INVALID_ARGUMENT);
        ask_exec(&p, 'e', "/bin/true", LAUNCH_FLAG_TTY | STDIO);
        assert_eq_int(p.code, GRPC_STATUS_INVALID_ARGUMENT);
        ask_exec(&p, 'e', "", STDIO);
        assert_eq_int(p.code, GRPC_STATUS_INVALID_ARGUMENT);
        finish(&p);
}

static void test_launch_fails(void)
{
        Peers p;

        start(&p);
        ask_exec(&p, 'e', "/bin/true", STDIO);
        p.fail_at = "launch_exec";
        p.fail_code = GRPC_STATUS_PERMISSION_DENIED;
        begin(&p);
        (void)open_session(&p, url_token());
        assert_eq_int(p.outcome, CHANNEL_E_FAILED);
        assert_eq_int(p.code, GRPC_STATUS_PERMISSION_DENIED);
        assert_true(strstr(p.text, "launch_exec fails"));
        assert_eq_str(p.log, "launch_exec launch_delete ");
        finish(&p);
}

static void test_container_ended_meanwhile(void)
{
        Peers p;

        start(&p);
        ask_exec(&p, 'e', "/bin/true", STDIO);
        peers_shim_ends(&p, 0);
        peers_settle(&p);
        begin(&p);
        (void)open_session(&p, url_token());
        assert_eq_int(p.code, GRPC_STATUS_FAILED_PRECONDITION);
        assert_eq_str(p.log, "");
        finish(&p);
}

/* streamd gave up while the command was started: it is as if its client had gone right after. */
static void test_cancelled_while_it_is_launched(void)
{
        Peers p;

        start(&p);
        ask_exec(&p, 'e', "/bin/true", TERMINAL);
        p.silent_at = "launch_exec";
        begin(&p);
        uint32_t request_id = open_session(&p, url_token());
        channel_cancel(p.streamd, request_id);
        peers_settle(&p);
        const LaunchExec verb = {.flags = TERMINAL};
        assert_ok(peers_answer_exec(&p, &verb, p.silent));
        peers_settle(&p);
        assert_eq_str(p.log, "launch_exec shim_release ");
        begin(&p);
        peers_exec_ends(&p, 129);
        peers_settle(&p);
        assert_eq_str(p.log, "shim_quit launch_delete ");
        finish(&p);
}

static void test_streamd_ends(void)
{
        Peers p;

        exec_opened(&p, TERMINAL);
        ask_exec(&p, 'f', "/bin/true", STDIO);
        begin(&p);
        channel_disconnect(p.streamd);
        peers_settle(&p);
        assert_eq_str(p.log, ""); /* it may be only the edge that is gone */
        peers_rewire_streamd(&p);
        tell_sessions(&p);
        assert_eq_str(p.log, "shim_release ");
        assert_eq_int(p.containerd.tokens.n, 1); /* what nobody has presented yet, the next streamd may */
        peers_exec_ends(&p, 129);
        peers_settle(&p);
        assert_eq_int(p.containerd.n_sessions, 1);
        peers_done(&p);
}

/* Only the edge was lost: sessions go on, and what was asked for over the old one is not taken for the new one's. */
static void test_edge_is_rewired(void)
{
        Peers p;

        exec_opened(&p, TERMINAL);
        peers_rewire_streamd(&p);
        begin(&p);
        resume_session(&p, true, false);
        tell_sessions(&p);
        assert_eq_str(p.log, "");
        resize_session(&p, 80, 24);
        assert_eq_str(p.log, "shim_resize ");
        begin(&p);
        close_session(&p);
        assert_eq_str(p.log, "shim_release ");
        peers_exec_ends(&p, 129);
        peers_settle(&p);
        finish(&p);
}

/* A request of the new edge has the number that one of the old edge had, whose client is gone. */
static void test_cancel_means_the_newest(void)
{
        Peers p;

        start(&p);
        ask_exec(&p, 'e', "/bin/true", TERMINAL);
        p.silent_at = "launch_exec";
        uint32_t old = open_session(&p, url_token());
        ReplyTo to = p.silent;
        peers_rewire_streamd(&p);
        tell_sessions(&p);
        ask_exec(&p, 'f', "/bin/true", TERMINAL);
        uint32_t new = open_session(&p, url_token());
        list_first(&p.containerd.sessions, Session, link)->to.request_id = new;
        assert_true(old != new);
        channel_cancel(p.streamd, new);
        peers_settle(&p);
        const LaunchExec verb = {.flags = TERMINAL};
        assert_ok(peers_answer_exec(&p, &verb, p.silent));
        peers_settle(&p);
        assert_true(strstr(p.log, "shim_release")); /* the client of the second one left: its terminal hangs up */
        peers_exec_ends(&p, 129);
        peers_settle(&p);
        assert_ok(peers_answer_exec(&p, &verb, to));
        peers_settle(&p);
        peers_exec_ends(&p, 129);
        peers_settle(&p);
        finish(&p);
}

/* What streamd has of an earlier containerd is believed as far as logd has it. */
static void test_attachment_is_resumed(void)
{
        Peers p;

        start(&p);
        memset(p.session_id, 'a', ID_LENGTH);
        resume_session(&p, false, true);
        assert_eq_str(p.log, "log_attachment ");
        assert_eq_int(p.containerd.n_sessions, 0);
        p.knows_attachments = true;
        begin(&p);
        resume_session(&p, false, true);
        tell_sessions(&p);
        assert_eq_str(p.log, "log_attachment ");
        assert_eq_int(p.containerd.n_sessions, 1);
        begin(&p);
        peers_shim_ends(&p, 3);
        peers_settle(&p);
        assert_true(strstr(p.log, "session_ended"));
        assert_eq_str(p.text, "");
        finish(&p);
        /* logd was started anew after that: it had the only ends of its pipes. */
        start(&p);
        p.knows_attachments = true;
        memset(p.session_id, 'a', ID_LENGTH);
        resume_session(&p, false, true);
        p.knows_attachments = false;
        begin(&p);
        char id[ID_LENGTH + 1];
        memset(id, STARTED, ID_LENGTH);
        id[ID_LENGTH] = '\0';
        assert_ok(session_attach_resume(container_table_find(&p.containerd.containers, id)));
        peers_settle(&p);
        assert_eq_str(p.log, "log_attachment session_ended ");
        assert_true(strstr(p.text, "attach again"));
        finish(&p);
}

/* Nothing that is not an exec of before is taken for one: a container's shim would lose its streams. */
static void test_resume_of_what_is_no_session(void)
{
        Peers p;

        start(&p);
        memset(p.session_id, STARTED, ID_LENGTH);
        begin(&p);
        resume_session(&p, true, false);
        assert_eq_str(p.log, "session_ended ");
        memset(p.session_id, 'z', ID_LENGTH);
        begin(&p);
        resume_session(&p, true, false);
        assert_eq_str(p.log, "session_ended ");
        assert_true(strstr(p.text, "unknown"));
        finish(&p);
}

static void test_share_of_a_pod(void)
{
        Peers p;

        start(&p);
        char id[ID_LENGTH + 1];
        memset(id, STARTED, ID_LENGTH);
        id[ID_LENGTH] = '\0';
        const Container *container = container_table_find(&p.containerd.containers, id);
        for (int i = 1; i < STREAM_SESSIONS_POD_MAX; i++)
                assert_true(session_new(&p.containerd, SESSION_ATTACH, container));
        ask_attach(&p, LAUNCH_FLAG_STDOUT);
        assert_eq_int(p.outcome, 0);
        ask_attach(&p, LAUNCH_FLAG_STDOUT);
        assert_eq_int(p.code, GRPC_STATUS_RESOURCE_EXHAUSTED);
        assert_true(strstr(p.text, "share"));
        /* Others have theirs. */
        (void)str_copy(list_first(&p.containerd.sessions, Session, link)->pod_id, ID_LENGTH, "another");
        ask_attach(&p, LAUNCH_FLAG_STDOUT);
        assert_eq_int(p.outcome, 0);
        peers_done(&p);
}

static void test_shim_is_lost(void)
{
        Peers p;

        exec_opened(&p, STDIO);
        begin(&p);
        channel_disconnect(p.exec_shim);
        peers_settle(&p);
        assert_true(strstr(p.text, "shim"));
        assert_eq_int(p.session_code, 255);
        assert_true(strstr(p.log, "session_ended") && strstr(p.log, "launch_delete"));
        finish(&p);
}

static void test_attach_and_the_containers_end(void)
{
        Peers p;

        start(&p);
        ask_attach(&p, LAUNCH_FLAG_STDOUT | LAUNCH_FLAG_STDERR);
        begin(&p);
        (void)open_session(&p, url_token());
        assert_eq_int(p.outcome, 0);
        assert_eq_str(p.log, "log_attach ");
        assert_eq_int(p.n_session_fds, 2);
        begin(&p);
        peers_shim_ends(&p, 3);
        peers_settle(&p);
        const char *closed = strstr(p.log, "log_close"), *ended = strstr(p.log, "session_ended");
        assert_true(closed && ended && closed < ended); /* all of its output first */
        assert_eq_int(p.session_code, 0);
        /* logd has closed its copies; ours are closed as well. */
        char byte;
        assert_eq_int(read(p.session_fds[0], &byte, 1), 0);
        finish(&p);
}

static void test_attach_and_the_clients_end(void)
{
        Peers p;

        start(&p);
        ask_attach(&p, LAUNCH_FLAG_STDOUT);
        (void)open_session(&p, url_token());
        assert_eq_int(p.n_session_fds, 1);
        begin(&p);
        close_session(&p);
        assert_eq_str(p.log, "");
        finish(&p);
}

int main(void)
{
        TEST_RUN(test_exec_and_its_end);
        TEST_RUN(test_exec_with_some_streams);
        TEST_RUN(test_exec_with_a_terminal);
        TEST_RUN(test_token_is_good_once);
        TEST_RUN(test_exec_is_refused);
        TEST_RUN(test_launch_fails);
        TEST_RUN(test_container_ended_meanwhile);
        TEST_RUN(test_cancelled_while_it_is_launched);
        TEST_RUN(test_streamd_ends);
        TEST_RUN(test_edge_is_rewired);
        TEST_RUN(test_cancel_means_the_newest);
        TEST_RUN(test_attachment_is_resumed);
        TEST_RUN(test_resume_of_what_is_no_session);
        TEST_RUN(test_share_of_a_pod);
        TEST_RUN(test_shim_is_lost);
        TEST_RUN(test_attach_and_the_containers_end);
        TEST_RUN(test_attach_and_the_clients_end);
        return 0;
}
