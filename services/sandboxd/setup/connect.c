/* SPDX-License-Identifier: Apache-2.0 */

/* One end of a forwarded port. Each connection is made by a child: only the child enters the pod's network namespace, and only
 * the child waits for whoever listens there (or does not: a full backlog answers nothing). */

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "ipc/edges/sandboxd-setup.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "lib/strings.h"
#include "services/sandboxd/setup/setup.h"

/* The first address does not get all of the time, lest the second one gets none. */
#define CONNECT_FIRST_MSEC (SETUP_CONNECT_MSEC / 2)

typedef union ConnectAddress {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
} ConnectAddress;

/* 0 or a negative errno that says why, for the asker. */
static int connect_to(const ConnectAddress *address, socklen_t size, uint64_t until_usec, int *ret_fd)
{
        int error = 0;
        socklen_t n_error = sizeof(error);
        _cleanup_fd_ int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        if (fd < 0)
                return negative_errno();
        if (connect(fd, &address->any, size) < 0 && errno != EINPROGRESS)
                return negative_errno();
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        for (int r = 0; r <= 0;) {
                uint64_t now = clock_monotonic_usec();
                if (now >= until_usec)
                        return -ETIMEDOUT;
                r = poll(&p, 1, (int)((until_usec - now) / 1000) + 1);
                if (r < 0 && errno != EINTR)
                        return negative_errno();
        }
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n_error) < 0)
                return negative_errno();
        if (error != 0)
                return -error;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* In the child. pin "": the host's network, where we are. */
static int connect_run(const char *pod_id, const char *pin, uint16_t port, int *ret_fd, Refusal *refusal)
{
        const ConnectAddress v4 = {.v4 = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}};
        const ConnectAddress v6 = {.v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT}};
        uint64_t now = clock_monotonic_usec();

        if (pin[0]) {
                _cleanup_fd_ int fd = open(pin, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
                if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
                        return refusal_set(refusal, GRPC_STATUS_FAILED_PRECONDITION,
                                           "pod %s: port %u: its network namespace cannot be entered: %s", pod_id, port, strerror(errno));
        }
        int first = connect_to(&v4, sizeof(v4.v4), now + CONNECT_FIRST_MSEC * UINT64_C(1000), ret_fd);
        if (first == 0)
                return 0;
        int second = connect_to(&v6, sizeof(v6.v6), now + SETUP_CONNECT_MSEC * UINT64_C(1000), ret_fd);
        if (second == 0)
                return 0;
        return refusal_set(refusal, GRPC_STATUS_UNAVAILABLE,
                           "pod %s: port %u: nothing takes the connection: 127.0.0.1: %s; ::1: %s; check that the pod listens there",
                           pod_id, port, strerror(-first), strerror(-second));
}

static bool connect_is_permitted(const Permit *permit, uint32_t port)
{
        if (permit->ports[0] == 0)
                return true;
        for (size_t i = 0; i < SEAL_PORTS_MAX && permit->ports[i] != 0; i++)
                if (permit->ports[i] == port)
                        return true;
        return false;
}

static int connect_check(const Setup *setup, const SetupConnect *verb, char pin[SETUP_PATH_MAX], Refusal *refusal)
{
        const uint8_t *key = hand_permit_key(setup->hand);
        const Permit *permit = &verb->permit;
        SetupMade made = {0};
        _cleanup_fd_ int pidfd = -1;

        if (!key || permit_check(permit, PERMIT_VERB_PORT_FORWARD, key) != 0)
                return refusal_set(refusal, GRPC_STATUS_PERMISSION_DENIED,
                                   "setup_connect: the permit is not one that gatewayd sealed for a port-forward");
        if (verb->port == 0 || verb->port > UINT16_MAX)
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT, "pod %s: %u is not a port", permit->pod_id, verb->port);
        if (!connect_is_permitted(permit, verb->port))
                return refusal_set(refusal, GRPC_STATUS_PERMISSION_DENIED,
                                   "pod %s: port %u: the port-forward that was asked for names other ports", permit->pod_id, verb->port);
        int r = pod_status(setup, permit->pod_id, &made, &pidfd);
        if (r < 0)
                return fold(r);
        if (!made.exists)
                return refusal_set(refusal, GRPC_STATUS_NOT_FOUND, "pod %s: port %u: the pod has no network any more", permit->pod_id,
                                   verb->port);
        pin[0] = '\0';
        r = made.flags & PERMIT_FLAG_HOST_NETWORK ? 0 : pod_path(setup, permit->pod_id, POD_PATH_NETWORK, pin);
        return r < 0 ? fold(r) : 0;
}

/* NULL: there are too many, of this pod or of all. */
static struct SetupChild *connect_find_place(Setup *setup, const char *pod_id)
{
        struct SetupChild *place = NULL;
        size_t n = 0;

        for (size_t i = 0; i < ARRAY_SIZE(setup->children); i++) {
                struct SetupChild *child = &setup->children[i];
                if (child->pid == 0)
                        place = child;
                else
                        n += str_equal(child->pod_id, pod_id);
        }
        return n < STREAM_CHILDREN_POD_MAX ? place : NULL;
}

static int connect_answer(int edge_fd, const HandRequest *request, int r, const Refusal *refusal, int fd)
{
        if (r > 0)
                return hand_fail(edge_fd, request, refusal->code, "%s", refusal->text);
        if (r < 0)
                return hand_fail(edge_fd, request, GRPC_STATUS_INTERNAL, "setup_connect: %s (%s)", strerror(-r), error_trace());
        return hand_reply(edge_fd, request, NULL, &fd, 1);
}

/* Asked: one TCP connection to the loopback address of a pod. Re-checked: that gatewayd sealed a port-forward for this pod, and for
 * this port if the request named any; that the pod is there; the namespace follows from the pod's record alone. At worst a brain
 * that was taken over connects to a port that somebody may forward: of that pod, or of the host where the pod uses the
 * host's network; and again later, for a permit is not used up. It gets a stream socket, which cannot be made into another. */
int on_setup_connect(void *context, int edge_fd, HandRequest *request)
{
        Setup *setup = context;
        const SetupConnect *verb = (const void *)request->frame.payload;
        char pin[SETUP_PATH_MAX] = "";
        Refusal refusal = {0};

        int r = connect_check(setup, verb, pin, &refusal);
        struct SetupChild *child = r == 0 ? connect_find_place(setup, verb->permit.pod_id) : NULL;
        if (r == 0 && !child)
                r = refusal_set(&refusal, GRPC_STATUS_RESOURCE_EXHAUSTED, "pod %s: port %u: %d connections into this pod, or %d into all "
                                "of them, wait for an answer already: try again when some have one", verb->permit.pod_id, verb->port,
                                STREAM_CHILDREN_POD_MAX, STREAM_CHILDREN_MAX);
        pid_t pid = r == 0 ? fork() : -1;
        if (r == 0 && pid < 0)
                r = refusal_set(&refusal, GRPC_STATUS_RESOURCE_EXHAUSTED, "pod %s: port %u: no process can be started for it (%s); try again",
                                verb->permit.pod_id, verb->port, strerror(errno));
        if (r != 0)
                return connect_answer(edge_fd, request, r, &refusal, -1);
        if (pid > 0) {
                child->pid = pid;
                (void)str_copy(child->pod_id, sizeof(child->pod_id), verb->permit.pod_id);
                return 0;
        }
        _cleanup_fd_ int fd = -1;
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        r = connect_run(verb->permit.pod_id, pin, (uint16_t)verb->port, &fd, &refusal);
        _exit(connect_answer(edge_fd, request, r, &refusal, fd) < 0 ? 1 : 0);
}

/* One that was killed before it answered: the brain's own deadline is the answer. */
void connect_ended(void *context, int pid, int status)
{
        Setup *setup = context;

        (void)status;
        for (size_t i = 0; i < ARRAY_SIZE(setup->children); i++)
                if (setup->children[i].pid == pid)
                        setup->children[i].pid = 0;
}
