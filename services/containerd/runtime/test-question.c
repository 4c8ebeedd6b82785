/* SPDX-License-Identifier: Apache-2.0 */

/* A renderer that was taken over asks what is none of its own. */

#include "services/containerd/runtime/question.h"
#include "lib/test.h"

#include <sys/socket.h>

static int ask(uint16_t id, uint32_t allowed, RenderAsk *ret_done)
{
        static const ConfigCommon common = {.state_dir = "/nonexistent", .runtime_dir = "/nonexistent"};
        static const ConfigContainerd config;
        static const Permit permit = {.id = "a", .pod_id = "a"};
        _cleanup_(wire_frame_done) WireFrame frame = WIRE_FRAME_NULL;
        RenderAsk question = {.outcome = 7};
        int pair[2];

        assert_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
        assert_ok(wire_send(pair[1], id, 0, 0, &question, sizeof(question), NULL, 0));
        assert_ok(wire_receive(pair[0], false, &frame));
        int r = question_answer(&common, &config, &permit, allowed, pair[0], &frame, ret_done);
        (void)close(pair[0]);
        char byte;
        bool is_answered = recv(pair[1], &byte, 1, MSG_DONTWAIT) == 1;
        assert_eq_int(is_answered, r == 0);
        (void)close(pair[1]);
        return r;
}

static void only_what_is_allowed_is_answered(void)
{
        RenderAsk done = {0};

        for (uint16_t id = RENDER_ASK_PROFILE; id < RENDER_ASK_DONE; id++) {
                assert_eq_int(ask(id, QUESTION(RENDER_ASK_DONE), &done), -EPROTO);
                assert_eq_int(ask(id, ~QUESTION(id), &done), -EPROTO);
        }
        assert_ok(ask(RENDER_ASK_FILES, QUESTION(RENDER_ASK_FILES), &done));
        assert_ok(ask(RENDER_ASK_RECORD, QUESTION(RENDER_ASK_RECORD), &done));
        assert_eq_int(done.outcome, 0);
        assert_eq_int(ask(RENDER_ASK_DONE, QUESTION(RENDER_ASK_FILES), &done), -EPROTO);
        assert_eq_int(ask(RENDER_ASK_DONE, QUESTION(RENDER_ASK_DONE), &done), 1);
        assert_eq_int(done.outcome, 7);
}

static void there_are_no_other_questions(void)
{
        RenderAsk done = {0};

        assert_eq_int(ask(0, UINT32_MAX, &done), -EPROTO);
        for (unsigned id = RENDER_ASK_DONE + 1; id <= UINT16_MAX; id += 31)
                assert_eq_int(ask((uint16_t)id, UINT32_MAX, &done), -EPROTO);
}

int main(void)
{
        TEST_RUN(only_what_is_allowed_is_answered);
        TEST_RUN(there_are_no_other_questions);
        return 0;
}
