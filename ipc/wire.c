/* SPDX-License-Identifier: Apache-2.0 */

/* The frame on the wire. Two system calls receive one: a peek at the header says how long the datagram is, then it is
 * read into a buffer of exactly that size. A line that ends in a comment `check: <name>` is what stands between a
 * hostile peer and the handlers: tests/mutate-ipc removes them one at a time and expects a test to fail. */

#include "ipc/wire.h"
#include "lib/error.h"

#include <assert.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

#define WIRE_FLAGS_KNOWN (WIRE_FLAG_REPLY | WIRE_FLAG_ERROR | WIRE_FLAG_MEMFD | WIRE_FLAG_CANCEL)

_Static_assert(sizeof(WireHeader) == 16, "the header has no padding");

/* What the kernel may hand over with one datagram: the payload's memfd and the row's fds. */
typedef union WireControl {
        char buffer[CMSG_SPACE((WIRE_FDS_MAX + 1) * sizeof(int))];
        struct cmsghdr align;
} WireControl;

const char *wire_outcome_name(int outcome)
{
        switch (outcome) {
        case 0:
                return "ok";
        case WIRE_E_AGAIN:
                return "nothing to receive";
        case WIRE_E_EOF:
                return "closed by the peer";
        case WIRE_E_MALFORMED:
                return "malformed frame";
        case WIRE_E_FDS:
                return "wrong file descriptors";
        case WIRE_E_LENGTH:
                return "wrong length";
        case WIRE_E_MEMFD:
                return "payload's memfd is not sealed or has another size";
        case WIRE_E_UNKNOWN:
                return "no such message from this side";
        case WIRE_E_BODY:
                return "the body is not valid";
        }
        return outcome < 0 ? strerror(-outcome) : "unknown outcome";
}

const MessageRow *edge_schema_find(const EdgeSchema *schema, uint16_t id)
{
        size_t low = 0, high = schema->n_rows;

        /* Ids usually have no gap: the first guess fits. */
        if (id >= 1 && id <= schema->n_rows && schema->rows[id - 1].id == id)
                return &schema->rows[id - 1];
        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (schema->rows[middle].id == id)
                        return &schema->rows[middle];
                if (schema->rows[middle].id < id)
                        low = middle + 1;
                else
                        high = middle;
        }
        return NULL;
}

/* Of what a peek cannot tell: an empty datagram and the end both read as 0 bytes; only the end hangs up. */
static int wire_tell_end(int fd)
{
        struct pollfd p = {.fd = fd, .events = POLLIN | POLLRDHUP};

        if (poll(&p, 1, 0) < 0)
                return error_origin(negative_errno());
        return p.revents & (POLLHUP | POLLRDHUP) ? WIRE_E_EOF : WIRE_E_MALFORMED;
}

static int wire_receive_errno(void)
{
        if (errno == EAGAIN || errno == EINTR)
                return WIRE_E_AGAIN;
        if (errno == ECONNRESET)
                return WIRE_E_EOF;
        return error_origin(negative_errno());
}

/* Header and whole length of the next datagram, which stays in the socket (with its fds). */
static int wire_peek(int fd, WireHeader *header, size_t *ret_length)
{
        ssize_t n = recv(fd, header, sizeof(*header), MSG_PEEK | MSG_TRUNC);

        if (n < 0)
                return wire_receive_errno();
        if (n == 0)
                return wire_tell_end(fd);
        *ret_length = (size_t)n;
        return 0;
}

static int wire_check_header(const WireHeader *h, size_t datagram_length)
{
        /* Of a datagram that is shorter than a header the rest is zero here; its length fits nothing below. */
        if (h->magic != WIRE_MAGIC) /* check: header-magic */
                return WIRE_E_MALFORMED;
        if (h->flags & ~WIRE_FLAGS_KNOWN) /* check: header-flags-unknown */
                return WIRE_E_MALFORMED;
        if ((h->flags & WIRE_FLAG_ERROR) &&
            h->flags != (WIRE_FLAG_ERROR | WIRE_FLAG_REPLY)) /* check: header-flags-error */
                return WIRE_E_MALFORMED;
        if ((h->flags & WIRE_FLAG_CANCEL) && h->flags != WIRE_FLAG_CANCEL) /* check: header-flags-cancel */
                return WIRE_E_MALFORMED;
        if ((h->flags & (WIRE_FLAG_REPLY | WIRE_FLAG_CANCEL)) && h->request_id == 0) /* check: header-request-id */
                return WIRE_E_MALFORMED;
        if ((h->flags & WIRE_FLAG_CANCEL) && h->length != 0) /* check: cancel-length */
                return WIRE_E_LENGTH;
        if (h->flags & WIRE_FLAG_MEMFD) {
                if (datagram_length != sizeof(*h)) /* check: memfd-and-inline */
                        return WIRE_E_MALFORMED;
                if (h->length <= WIRE_PAYLOAD_MAX) /* check: memfd-needless */
                        return WIRE_E_LENGTH;
                if (h->length > WIRE_MEMFD_MAX) /* check: memfd-too-large */
                        return WIRE_E_LENGTH;
                return 0;
        }
        if (h->length > WIRE_PAYLOAD_MAX) /* check: inline-too-large */
                return WIRE_E_LENGTH;
        if (datagram_length != sizeof(*h) + h->length) /* check: inline-length */
                return WIRE_E_MALFORMED;
        return 0;
}

/* Takes over every fd that the kernel installed, also when the frame will be refused. The kernel installs as many as
 * fit into the control buffer, whose length wire_read() gives without the alignment at its end, so frame->fds has room.
 */
static int wire_adopt_fds(WireFrame *frame, struct msghdr *msg)
{
        for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
                size_t n;

                if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
                        continue;
                n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                assert(n <= ARRAY_SIZE(frame->fds) - frame->n_fds);
                memcpy(&frame->fds[frame->n_fds], CMSG_DATA(c), n * sizeof(int));
                frame->n_fds += n;
        }
        if (msg->msg_flags & MSG_CTRUNC) /* check: fds-truncated */
                return WIRE_E_FDS;
        return 0;
}

static void wire_shift_fd(WireFrame *frame)
{
        memmove(&frame->fds[0], &frame->fds[1], (frame->n_fds - 1) * sizeof(int));
        frame->fds[--frame->n_fds] = -1;
}

/* The payload in the first fd: verified to be what can never change, then copied (never mapped). */
static int wire_read_memfd(WireFrame *frame)
{
        _cleanup_fd_ int memfd = -1;
        struct stat st;
        int r;

        if (frame->n_fds < 1) /* check: memfd-absent */
                return WIRE_E_FDS;
        memfd = frame->fds[0];
        wire_shift_fd(frame);
        r = fd_kind_check(memfd, FD_KIND_MEMFD_SEALED);
        if (r < 0)
                return fold(r);
        if (r > 0) /* check: memfd-sealed */
                return WIRE_E_MEMFD;
        if (fstat(memfd, &st) < 0)
                return error_origin(negative_errno());
        if ((uint64_t)st.st_size != frame->header.length) /* check: memfd-size */
                return WIRE_E_MEMFD;
        r = fd_pread_full(memfd, frame->payload, frame->header.length, 0);
        if (r < 0)
                return fold(r);
        return 0;
}

static int wire_read(int fd, bool with_fds, WireFrame *frame)
{
        bool in_memfd = frame->header.flags & WIRE_FLAG_MEMFD;
        WireControl control;
        WireHeader header;
        struct iovec parts[] = {
                        {.iov_base = &header, .iov_len = sizeof(header)},
                        {.iov_base = frame->payload, .iov_len = in_memfd ? 0 : frame->header.length},
        };
        struct msghdr msg = {.msg_iov = parts, .msg_iovlen = ARRAY_SIZE(parts)};
        ssize_t n;
        int r;

        if (with_fds) {
                msg.msg_control = &control;
                msg.msg_controllen = CMSG_LEN(ARRAY_SIZE(frame->fds) * sizeof(int));
        }
        n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        if (n < 0)
                return wire_receive_errno();
        r = wire_adopt_fds(frame, &msg);
        if (r != 0)
                return r;
        if (frame->n_fds > WIRE_FDS_MAX + (in_memfd ? 1u : 0u)) /* check: fds-too-many */
                return WIRE_E_FDS;
        if (in_memfd) {
                r = wire_read_memfd(frame);
                if (r != 0)
                        return r < 0 ? fold(r) : r;
        }
        return 0;
}

int wire_receive(int fd, bool with_fds, WireFrame *frame)
{
        _cleanup_(wire_frame_done) WireFrame f = WIRE_FRAME_NULL;
        size_t datagram_length = 0;
        int r;

        r = wire_peek(fd, &f.header, &datagram_length);
        if (r != 0)
                return r < 0 ? fold(r) : r;
        r = wire_check_header(&f.header, datagram_length);
        if (r != 0)
                return r;
        f.payload = malloc((size_t)f.header.length + 1);
        if (!f.payload)
                return error_origin(-ENOMEM);
        f.payload[f.header.length] = 0;
        r = wire_read(fd, with_fds, &f);
        if (r != 0)
                return r < 0 ? fold(r) : r;
        *frame = f;
        f = WIRE_FRAME_NULL;
        return 0;
}

void wire_frame_done(WireFrame *frame)
{
        for (size_t i = 0; i < ARRAY_SIZE(frame->fds); i++)
                frame->fds[i] = fd_close(frame->fds[i]);
        frame->n_fds = 0;
        free(TAKE_PTR(frame->payload));
}

int wire_frame_take_fd(WireFrame *frame, size_t i)
{
        return i < frame->n_fds ? TAKE_FD(frame->fds[i]) : -1;
}

int wire_send_frame(int fd, const WireHeader *header, const void *payload, const int *fds, size_t n_fds)
{
        bool in_memfd = header->flags & WIRE_FLAG_MEMFD;
        WireControl control = {0};
        struct iovec parts[] = {
                        {.iov_base = (void *)(uintptr_t)header, .iov_len = sizeof(*header)},
                        {.iov_base = (void *)(uintptr_t)payload, .iov_len = in_memfd ? 0 : header->length},
        };
        struct msghdr msg = {.msg_iov = parts, .msg_iovlen = ARRAY_SIZE(parts)};

        if (n_fds > WIRE_FDS_MAX + 1)
                return error_origin(-EINVAL);
        if (n_fds > 0) {
                struct cmsghdr *c;

                msg.msg_control = &control;
                msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
                c = CMSG_FIRSTHDR(&msg);
                c->cmsg_level = SOL_SOCKET;
                c->cmsg_type = SCM_RIGHTS;
                c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
                memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
        }
        while (sendmsg(fd, &msg, MSG_NOSIGNAL) < 0) {
                if (errno == EINTR)
                        continue;
                if (errno == EAGAIN)
                        return WIRE_E_AGAIN;
                if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN)
                        return WIRE_E_EOF;
                return error_origin(negative_errno());
        }
        return 0;
}

int wire_send(int fd, uint16_t id, uint16_t flags, uint32_t request_id, const void *payload, size_t n, const int *fds,
              size_t n_fds)
{
        WireHeader header = {
                        .magic = WIRE_MAGIC,
                        .id = id,
                        .flags = flags,
                        .length = (uint32_t)n,
                        .request_id = request_id,
        };
        int all_fds[WIRE_FDS_MAX + 1];
        _cleanup_fd_ int memfd = -1;
        int r;

        if (n > WIRE_MEMFD_MAX || n_fds > WIRE_FDS_MAX)
                return error_origin(-EMSGSIZE);
        if (n <= WIRE_PAYLOAD_MAX) {
                r = wire_send_frame(fd, &header, payload, fds, n_fds);
                return r < 0 ? fold(r) : r;
        }
        r = fd_memfd_sealed("bulkhead-frame", payload, n, &memfd);
        if (r < 0)
                return fold(r);
        header.flags |= WIRE_FLAG_MEMFD;
        all_fds[0] = memfd;
        if (n_fds > 0)
                memcpy(&all_fds[1], fds, n_fds * sizeof(int));
        r = wire_send_frame(fd, &header, NULL, all_fds, n_fds + 1);
        return r < 0 ? fold(r) : r;
}

int wire_send_error(int fd, uint16_t id, uint32_t request_id, uint32_t code, const char *text)
{
        uint8_t payload[sizeof(WireError) + WIRE_ERROR_TEXT_MAX];
        size_t n = strnlen(text, WIRE_ERROR_TEXT_MAX);
        int r;

        memcpy(payload, &code, sizeof(code));
        memcpy(payload + sizeof(WireError), text, n);
        r = wire_send(fd, id, WIRE_FLAG_REPLY | WIRE_FLAG_ERROR, request_id, payload, sizeof(WireError) + n, NULL, 0);
        return r < 0 ? fold(r) : r;
}
