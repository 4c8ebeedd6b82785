/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc/control.h"
#include "lib/error.h"
#include <sys/socket.h>
#include <sys/uio.h>

typedef struct ControlRule {
        const char *name;
        uint32_t size;  /* of the fixed part */
        bool has_tail;
        bool has_fd;    /* exactly one, or none */
        bool may_lack_fd;
} ControlRule;

static const ControlRule control_rules[CONTROL_TYPE_N] = {
        [CONTROL_HELLO] = {"hello", sizeof(ControlHello)},
        [CONTROL_STATE] = {"state", sizeof(ControlState)},
        [CONTROL_EDGE_LOST] = {"edge-lost", sizeof(ControlEdgeLost)},
        [CONTROL_CONFIG] = {"config", sizeof(ControlConfig), .has_tail = true},
        [CONTROL_KEY] = {"key", sizeof(ControlKey)},
        [CONTROL_NAMED_FD] = {"named-fd", sizeof(ControlNamedFd), .has_fd = true},
        [CONTROL_GO] = {"go", 0},
        [CONTROL_EDGE] = {"edge", sizeof(ControlEdge), .has_fd = true},
        [CONTROL_LOG_LEVEL] = {"log-level", sizeof(ControlLogLevel)},
        [CONTROL_STOP] = {"stop", 0},
        [CONTROL_START_FILE] = {"start-file", sizeof(ControlFile), .has_fd = true},
        [CONTROL_START_FILES_END] = {"start-files-end", 0},
        [CONTROL_START_MEMORY] = {"start-memory", 0, .has_fd = true},
        [CONTROL_START_CHILD] = {"start-child", sizeof(ControlChild), .has_fd = true, .may_lack_fd = true},
        [CONTROL_START_KEPT] = {"start-kept", sizeof(ControlKept), .has_fd = true},
        [CONTROL_START_READY] = {"start-ready", 0},
        [CONTROL_KEEP] = {"keep", sizeof(ControlKept), .has_fd = true},
        [CONTROL_PLAN] = {"plan", sizeof(ControlPlan)},
        [CONTROL_SPAWN] = {"spawn", sizeof(ControlRow)},
        [CONTROL_KILL] = {"kill", sizeof(ControlRow)},
        [CONTROL_STATUS] = {"status", sizeof(ControlStatus)},
};

_Static_assert(sizeof(ControlConfig) + sizeof(ConfigImaged) <= CONTROL_PAYLOAD_MAX, "the largest section fits");

const char *control_type_name(ControlType type)
{
        return type > 0 && type < CONTROL_TYPE_N ? control_rules[type].name : "?";
}

/* Terminates every string, so that no reader of a frame can run past one. */
static void control_terminate(ControlFrame *f)
{
#define TERMINATE(s) ((s)[sizeof(s) - 1] = '\0')
        switch (f->type) {
        case CONTROL_HELLO:
                TERMINATE(f->hello.version);
                break;
        case CONTROL_CONFIG:
                TERMINATE(f->config.common.instance);
                TERMINATE(f->config.common.state_dir);
                TERMINATE(f->config.common.runtime_dir);
                TERMINATE(f->config.common.libexec_dir);
                TERMINATE(f->config.common.boot_id);
                TERMINATE(f->config.common.stream_url);
                break;
        case CONTROL_NAMED_FD:
                TERMINATE(f->named_fd.name);
                break;
        case CONTROL_START_FILE:
                TERMINATE(f->file.path);
                break;
        case CONTROL_START_KEPT:
        case CONTROL_KEEP:
                TERMINATE(f->kept.name);
                break;
        case CONTROL_PLAN:
                TERMINATE(f->plan.libexec_dir);
                TERMINATE(f->plan.cgroup_dir);
                TERMINATE(f->plan.shims_dir);
                TERMINATE(f->plan.socket_path);
                break;
        case CONTROL_STATE:
        case CONTROL_EDGE_LOST:
        case CONTROL_KEY:
        case CONTROL_GO:
        case CONTROL_EDGE:
        case CONTROL_LOG_LEVEL:
        case CONTROL_STOP:
        case CONTROL_START_FILES_END:
        case CONTROL_START_MEMORY:
        case CONTROL_START_CHILD:
        case CONTROL_START_READY:
        case CONTROL_SPAWN:
        case CONTROL_KILL:
        case CONTROL_STATUS:
        case CONTROL_TYPE_N:
                break;
        }
#undef TERMINATE
}

static int control_check(const ControlHeader *h, size_t n, bool truncated, int fd)
{
        if (truncated) /* check: control-truncated */
                return CONTROL_E_MALFORMED;
        if (h->magic != CONTROL_MAGIC) /* check: control-magic */
                return CONTROL_E_MALFORMED;
        if (h->padding != 0 || h->reserved != 0) /* check: control-reserved */
                return CONTROL_E_MALFORMED;
        /* Also of a header that is cut short: then the difference wraps to more than 32 bits hold. */
        if (h->length != n - sizeof(*h)) /* check: control-length */
                return CONTROL_E_MALFORMED;
        if (h->type == 0) /* check: control-type-none */
                return CONTROL_E_MALFORMED;
        if (h->type >= CONTROL_TYPE_N) /* check: control-type-unknown */
                return CONTROL_E_MALFORMED;

        const ControlRule *rule = &control_rules[h->type];
        if (h->length < rule->size) /* check: control-size-small */
                return CONTROL_E_MALFORMED;
        if (h->length > rule->size && !rule->has_tail) /* check: control-size-large */
                return CONTROL_E_MALFORMED;
        if (rule->has_fd && fd < 0 && !rule->may_lack_fd) /* check: control-fd-missing */
                return CONTROL_E_MALFORMED;
        if (!rule->has_fd && fd >= 0) /* check: control-fd-surplus */
                return CONTROL_E_MALFORMED;
        return 0;
}

int control_receive(int socket_fd, bool wait, ControlFrame *frame)
{
        ControlHeader header = {0};
        struct iovec iov[] = {{&header, sizeof(header)}, {frame->bytes, sizeof(frame->bytes)}};
        /* Room for two: a surplus fd is seen (and closed) rather than silently cut off. */
        union {
                char buffer[CMSG_SPACE(2 * sizeof(int))];
                struct cmsghdr align;
        } control = {0};
        struct msghdr msg = {
                .msg_iov = iov,
                .msg_iovlen = ARRAY_SIZE(iov),
                .msg_control = control.buffer,
                .msg_controllen = sizeof(control.buffer),
        };
        _cleanup_fd_ int fd = -1;
        bool surplus = false;
        ssize_t n;

        frame->fd = -1;
        do
                n = recvmsg(socket_fd, &msg, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
        while (n < 0 && errno == EINTR);
        if (n < 0) {
                if (errno == EAGAIN)
                        return CONTROL_E_AGAIN;
                if (errno == ECONNRESET)
                        return CONTROL_E_EOF;
                return error_origin(negative_errno());
        }

        for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
                if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
                        continue;
                size_t n_fds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                for (size_t i = 0; i < n_fds; i++) {
                        int received;
                        memcpy(&received, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
                        if (fd < 0) {
                                fd = received;
                        } else {
                                (void)close(received);
                                surplus = true;
                        }
                }
        }
        if (n == 0)
                return CONTROL_E_EOF;

        int r = control_check(&header, (size_t)n, surplus || msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC), fd);
        if (r)
                return r;
        frame->type = header.type;
        frame->length = header.length;
        frame->fd = TAKE_FD(fd);
        control_terminate(frame);
        return 0;
}

int control_send(int socket_fd, ControlType type, const void *body, const void *tail, size_t n_tail, int fd)
{
        const ControlRule *rule = &control_rules[type];
        if ((n_tail > 0 && !rule->has_tail) || rule->size + n_tail > CONTROL_PAYLOAD_MAX)
                return error_origin(-EMSGSIZE);

        ControlHeader header = {
                .magic = CONTROL_MAGIC, .type = (uint16_t)type, .length = (uint32_t)(rule->size + n_tail)};
        struct iovec iov[] = {
                {&header, sizeof(header)},
                {(void *)(uintptr_t)body, rule->size},
                {(void *)(uintptr_t)tail, n_tail},
        };
        union {
                char buffer[CMSG_SPACE(sizeof(int))];
                struct cmsghdr align;
        } control = {0};
        struct msghdr msg = {.msg_iov = iov, .msg_iovlen = ARRAY_SIZE(iov)};
        ssize_t n;

        if (fd >= 0) {
                msg.msg_control = control.buffer;
                msg.msg_controllen = sizeof(control.buffer);
                struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
                c->cmsg_level = SOL_SOCKET;
                c->cmsg_type = SCM_RIGHTS;
                c->cmsg_len = CMSG_LEN(sizeof(int));
                memcpy(CMSG_DATA(c), &fd, sizeof(int));
        }
        do
                n = sendmsg(socket_fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);
        if (n >= 0)
                return 0;
        if (errno == EAGAIN)
                return CONTROL_E_AGAIN;
        if (errno == EPIPE || errno == ECONNRESET)
                return CONTROL_E_EOF;
        return error_origin(negative_errno());
}

const void *control_section(const ControlFrame *frame)
{
        if (frame->type != CONTROL_CONFIG) /* check: control-section-type */
                return NULL;
        if (frame->config.section_size != frame->length - sizeof(ControlConfig)) /* check: control-section-size */
                return NULL;
        return frame->bytes + sizeof(ControlConfig);
}
