/* SPDX-License-Identifier: Apache-2.0 */

/* A control channel's frames as a peer that was taken over sends them: what is taken has an end to every string and no more bytes
 * than came. The input's first byte says how many descriptors travel with it. */

#include "ipc/control.h"
#include "lib/fd.h"
#include "lib/fuzz.h"

#include <sys/socket.h>

static ControlFrame frame;

static void fuzz_look(void)
{
        const uint8_t *section = control_section(&frame);
        size_t n = section ? frame.length - sizeof(ControlConfig) : 0;
        volatile uint8_t last = n > 0 ? section[n - 1] : 0;
        (void)last;
        if (frame.type == 0 || frame.type >= CONTROL_TYPE_N || frame.length > sizeof(frame.bytes))
                abort();
        if (frame.type == CONTROL_HELLO && strnlen(frame.hello.version, sizeof(frame.hello.version)) == sizeof(frame.hello.version))
                abort();
        if (frame.type == CONTROL_NAMED_FD && strnlen(frame.named_fd.name, sizeof(frame.named_fd.name)) == sizeof(frame.named_fd.name))
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        int fds[2], sent[3] = {STDERR_FILENO, STDERR_FILENO, STDERR_FILENO};
        if (n < 2 || n > sizeof(frame.bytes) || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
                return 0;
        _cleanup_fd_ int ours = fds[0], theirs = fds[1];
        size_t n_fds = bytes[0] % 4;
        union {
                char buffer[CMSG_SPACE(sizeof(sent))];
                struct cmsghdr align;
        } control = {0};
        struct iovec iov = {(void *)(uintptr_t)(bytes + 1), n - 1};
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

        if (n_fds > 0) {
                msg.msg_control = control.buffer;
                msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
                struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
                c->cmsg_level = SOL_SOCKET;
                c->cmsg_type = SCM_RIGHTS;
                c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
                memcpy(CMSG_DATA(c), sent, n_fds * sizeof(int));
        }
        if (sendmsg(theirs, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
                return 0;
        if (control_receive(ours, false, &frame) == 0) {
                fuzz_look();
                frame.fd = fd_close(frame.fd);
        } else if (frame.fd >= 0) {
                abort();
        }
        return 0;
}
