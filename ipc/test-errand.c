/* SPDX-License-Identifier: Apache-2.0 */

/* A child sent for one frame: that it comes, that none comes, and what is known of the child's end. */

#include "ipc/errand.h"
#include "lib/test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

static int errand_bring_null(void *userdata, int socket_fd)
{
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

        return wire_send(socket_fd, 3, 0, 0, userdata, 4, &fd, 1) == 0 ? 7 : 1;
}

static int errand_bring_nothing(void *userdata, int socket_fd)
{
        return *(const int *)userdata;
}

static int errand_die(void *userdata, int socket_fd)
{
        (void)raise(SIGKILL);
        return 0;
}

static int errand_send_grandchild(void *userdata, int socket_fd)
{
        pid_t pid = fork();
        if (pid == 0)
                _exit(errand_bring_null(userdata, socket_fd));
        return errand_wait(pid);
}

static void test_frame(void)
{
        const ErrandRun runs[] = {errand_bring_null, errand_send_grandchild};
        char text[] = "abc";

        for (size_t i = 0; i < ARRAY_SIZE(runs); i++) {
                _cleanup_(wire_frame_done) WireFrame frame = WIRE_FRAME_NULL;
                struct stat st;
                int status = -1;

                assert_ok(errand_run(runs[i], text, &frame, &status));
                assert_eq_int(status, 7);
                assert_eq_int(frame.header.id, 3);
                assert_eq_mem(frame.payload, frame.header.length, text, sizeof(text));
                _cleanup_fd_ int fd = wire_frame_take_fd(&frame, 0);
                assert_ok(fstat(fd, &st));
                assert_true(S_ISCHR(st.st_mode));
        }
}

static void test_no_frame(void)
{
        _cleanup_(wire_frame_done) WireFrame frame = WIRE_FRAME_NULL;
        int wanted = 5, status = -1;

        assert_eq_int(errand_run(errand_bring_nothing, &wanted, &frame, &status), WIRE_E_EOF);
        assert_eq_int(status, 5);
        assert_eq_int(errand_run(errand_die, NULL, &frame, &status), WIRE_E_EOF);
        assert_eq_int(status, 128 + SIGKILL);
        assert_eq_int(frame.n_fds, 0);
}

static void test_wait(void)
{
        assert_eq_int(errand_wait(getpid()), -1); /* no child of ours */
}

int main(void)
{
        TEST_RUN(test_frame);
        TEST_RUN(test_no_frame);
        TEST_RUN(test_wait);
        return 0;
}
