/* SPDX-License-Identifier: Apache-2.0 */

/* `exec -i -t` and `attach`: what the URL of a CRI answer serves, over a WebSocket (RFC 6455) with the channels of
 * v5.channel.k8s.io: the first byte of a message says which stream it is of. The URL is the runtime's own. */

#include "cli/cli.h" /* before stdio.h: fields of CRI messages are named stdout and stderr */

#include <arpa/inet.h>
#include <jansson.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <termios.h>

#include "cli/stream-tls.h"
#include "lib/fd.h"
#include "lib/strings.h"

#define STREAM_PROTOCOL "v5.channel.k8s.io"
#define STREAM_PIECE 32768
#define STREAM_FRAME_MAX ((size_t)16 * 1024 * 1024)
#define STREAM_HEAD_MAX 8192
#define STREAM_LOST 255 /* the exit code when there is none */

enum { CHANNEL_STDIN = 0, CHANNEL_STDOUT, CHANNEL_STDERR, CHANNEL_ERROR, CHANNEL_RESIZE, CHANNEL_CLOSE = 255 };
enum { OPCODE_BINARY = 2, OPCODE_CLOSE = 8, OPCODE_PING = 9, OPCODE_PONG = 10 };

typedef struct StreamBuffer {
        uint8_t *bytes; /* owned */
        size_t n, n_allocated;
} StreamBuffer;

typedef struct Stream {
        int fd;        /* owned; the connection */
        StreamTls *tls; /* owned; NULL: it is spoken as it is */
        int signal_fd; /* owned; SIGWINCH, with a terminal */
        bool has_stdin, tty;
        StreamBuffer in, out, status;
        bool is_closed; /* by the server */
} Stream;

static bool stream_reserve(StreamBuffer *buffer, size_t n)
{
        if (buffer->n_allocated - buffer->n >= n)
                return true;
        size_t size = MAX2(buffer->n_allocated * 2, buffer->n + n);
        uint8_t *bytes = realloc(buffer->bytes, size);
        if (!bytes)
                return false;
        buffer->bytes = bytes;
        buffer->n_allocated = size;
        return true;
}

static void stream_drop(StreamBuffer *buffer, size_t n)
{
        memmove(buffer->bytes, buffer->bytes + n, buffer->n - n);
        buffer->n -= n;
}

static void stream_done(Stream *stream)
{
        stream->tls = stream_tls_free(stream->tls);
        stream->fd = fd_close(stream->fd);
        stream->signal_fd = fd_close(stream->signal_fd);
        free(stream->in.bytes);
        free(stream->out.bytes);
        free(stream->status.bytes);
}

static ssize_t stream_receive(Stream *stream, void *bytes, size_t n)
{
        return stream->tls ? stream_tls_receive(stream->tls, bytes, n) : recv(stream->fd, bytes, n, 0);
}

static ssize_t stream_transmit(Stream *stream, const void *bytes, size_t n)
{
        return stream->tls ? stream_tls_send(stream->tls, bytes, n) : send(stream->fd, bytes, n, MSG_NOSIGNAL);
}

/* One masked frame into the queue. channel < 0: a control frame, which has none. */
static bool stream_send(Stream *stream, uint8_t opcode, int channel, const void *bytes, size_t n)
{
        size_t n_body = n + (channel >= 0), at;
        uint8_t head[8] = {0x80 | opcode}, mask[4];
        size_t n_head = n_body < 126 ? 2 : 4;

        if (n_body > UINT16_MAX || !stream_reserve(&stream->out, n_head + sizeof(mask) + n_body))
                return false;
        head[1] = 0x80 | (uint8_t)(n_head == 2 ? n_body : 126);
        if (n_head == 4) {
                head[2] = (uint8_t)(n_body >> 8);
                head[3] = (uint8_t)n_body;
        }
        randombytes_buf(mask, sizeof(mask));
        uint8_t *to = stream->out.bytes + stream->out.n;
        memcpy(to, head, n_head);
        memcpy(to + n_head, mask, sizeof(mask));
        at = n_head + sizeof(mask);
        if (channel >= 0)
                to[at++] = (uint8_t)channel;
        if (n > 0)
                memcpy(to + at, bytes, n);
        for (size_t i = 0; i < n_body; i++)
                to[n_head + sizeof(mask) + i] ^= mask[i % 4];
        stream->out.n += n_head + sizeof(mask) + n_body;
        return true;
}

static bool stream_send_size(Stream *stream)
{
        struct winsize size = {0};
        char text[64];

        if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0 || size.ws_row == 0)
                return true;
        int n = snprintf(text, sizeof(text), "{\"Width\":%u,\"Height\":%u}", size.ws_col, size.ws_row);
        return stream_send(stream, OPCODE_BINARY, CHANNEL_RESIZE, text, (size_t)n);
}

/* False: it cannot go on. */
static bool stream_take_message(Stream *stream, const uint8_t *bytes, size_t n)
{
        if (n == 0)
                return true;
        switch (bytes[0]) {
        case CHANNEL_STDOUT:
        case CHANNEL_STDERR:
                return fd_write_full(bytes[0] == CHANNEL_STDOUT ? STDOUT_FILENO : STDERR_FILENO, bytes + 1, n - 1) == 0;
        case CHANNEL_ERROR:
                if (stream->status.n + n > STREAM_FRAME_MAX || !stream_reserve(&stream->status, n))
                        return false;
                memcpy(stream->status.bytes + stream->status.n, bytes + 1, n - 1);
                stream->status.n += n - 1;
                return true;
        default:
                return true;
        }
}

/* The length of the first whole frame in the buffer, with the place of its body; 0: there is none yet. SIZE_MAX: nonsense. */
static size_t stream_frame(const StreamBuffer *in, size_t *ret_at)
{
        if (in->n < 2)
                return 0;
        uint64_t n = in->bytes[1] & 0x7f;
        size_t at = n < 126 ? 2 : n == 126 ? 4 : 10;
        if (in->bytes[1] & 0x80)
                return SIZE_MAX; /* servers do not mask */
        if (in->n < at)
                return 0;
        if (at > 2)
                n = 0;
        for (size_t i = 2; i < at; i++)
                n = n << 8 | in->bytes[i];
        if (n > STREAM_FRAME_MAX)
                return SIZE_MAX;
        *ret_at = at;
        return in->n < at + n ? 0 : at + (size_t)n;
}

static bool stream_take_frames(Stream *stream)
{
        size_t n, at = 0;

        while ((n = stream_frame(&stream->in, &at)) > 0) {
                if (n == SIZE_MAX)
                        return false;
                const uint8_t *body = stream->in.bytes + at;
                uint8_t opcode = stream->in.bytes[0] & 0x0f;
                bool goes_on = true;
                if (opcode == OPCODE_BINARY)
                        goes_on = stream_take_message(stream, body, n - at);
                else if (opcode == OPCODE_PING)
                        goes_on = n - at < 126 && stream_send(stream, OPCODE_PONG, -1, body, n - at);
                else if (opcode == OPCODE_CLOSE)
                        stream->is_closed = true;
                if (!goes_on || stream->is_closed)
                        return goes_on;
                stream_drop(&stream->in, n);
        }
        return true;
}

static bool stream_read_once(Stream *stream, bool *ret_more)
{
        if (!stream_reserve(&stream->in, 2 * STREAM_PIECE))
                return false;
        ssize_t n = stream_receive(stream, stream->in.bytes + stream->in.n, stream->in.n_allocated - stream->in.n);
        *ret_more = n > 0;
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return true;
        if (n <= 0) {
                stream->is_closed = true;
                return true;
        }
        stream->in.n += (size_t)n;
        return stream_take_frames(stream);
}

/* Of a record of TLS all is taken, for the socket tells of it once. */
static bool stream_read(Stream *stream)
{
        bool goes_on, more;

        do
                goes_on = stream_read_once(stream, &more);
        while (goes_on && more && stream->tls && !stream->is_closed);
        return goes_on;
}

static bool stream_write(Stream *stream)
{
        ssize_t n = stream_transmit(stream, stream->out.bytes, stream->out.n);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return true;
        if (n < 0) {
                stream->out.n = 0; /* what the server has sent before is still read */
                return true;
        }
        stream_drop(&stream->out, (size_t)n);
        return true;
}

static bool stream_read_stdin(Stream *stream)
{
        uint8_t bytes[STREAM_PIECE];
        static const uint8_t stdin_channel = CHANNEL_STDIN;
        ssize_t n = read(STDIN_FILENO, bytes, sizeof(bytes));

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return true;
        if (n > 0)
                return stream_send(stream, OPCODE_BINARY, CHANNEL_STDIN, bytes, (size_t)n);
        stream->has_stdin = false;
        return stream_send(stream, OPCODE_BINARY, CHANNEL_CLOSE, &stdin_channel, 1);
}

/* Until the server closes. False after an error of ours. */
static bool stream_loop(Stream *stream)
{
        bool goes_on = !stream->tty || stream_send_size(stream);

        if (goes_on)
                goes_on = stream_take_frames(stream); /* what came with the head */
        if (goes_on && stream->tls && !stream->is_closed)
                goes_on = stream_read(stream);
        while (goes_on && !stream->is_closed) {
                bool reads_stdin = stream->has_stdin && stream->out.n < 2 * STREAM_PIECE;
                struct pollfd fds[] = {
                        {.fd = stream->fd, .events = (short)(POLLIN | (stream->out.n > 0 ? POLLOUT : 0))},
                        {.fd = reads_stdin ? STDIN_FILENO : -1, .events = POLLIN},
                        {.fd = stream->signal_fd, .events = POLLIN},
                };
                struct signalfd_siginfo info;
                if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
                        return false;
                if (fds[2].revents && read(stream->signal_fd, &info, sizeof(info)) > 0)
                        goes_on = stream_send_size(stream);
                if (goes_on && fds[1].revents)
                        goes_on = stream_read_stdin(stream);
                if (goes_on && fds[0].revents & POLLOUT)
                        goes_on = stream_write(stream);
                if (goes_on && fds[0].revents & ~POLLOUT)
                        goes_on = stream_read(stream);
        }
        return goes_on;
}

/* "http://HOST:PORT/PATH" or https, with brackets around an IPv6 address. ret_path points into the URL. */
static bool stream_connect(Stream *stream, const char *url, const StreamOptions *options, const char **ret_path)
{
        union {
                struct sockaddr any;
                struct sockaddr_in v4;
                struct sockaddr_in6 v6;
        } address = {.v4.sin_family = AF_INET};
        socklen_t size = sizeof(address.v4);
        uint64_t number = 0;
        char host[256];

        bool is_tls = str_has_prefix(url, "https://");
        if (!is_tls && !str_has_prefix(url, "http://"))
                return cli_fail("%s: only streams over http and https are spoken here; use crictl", url), false;
        const char *authority = strstr(url, "://") + 3, *path = strchr(authority, '/');
        if (!path || (size_t)(path - authority) >= sizeof(host))
                return cli_fail("%s: not a stream's URL", url), false;
        memcpy(host, authority, (size_t)(path - authority));
        host[path - authority] = '\0';
        char *port = strrchr(host, ':'), *name = host;
        if (!port || !u64_parse(port + 1, UINT16_MAX, &number))
                return cli_fail("%s: the URL has no port", url), false;
        *port = '\0';
        if (*name == '[' && str_has_suffix(name, "]")) {
                name[strlen(name) - 1] = '\0';
                address.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6};
                size = sizeof(address.v6);
                name++;
        }
        bool is_v6 = size == sizeof(address.v6);
        if (inet_pton(is_v6 ? AF_INET6 : AF_INET, name, is_v6 ? (void *)&address.v6.sin6_addr : (void *)&address.v4.sin_addr) != 1)
                return cli_fail("%s: not an address: %s", url, name), false;
        if (is_v6)
                address.v6.sin6_port = htons((uint16_t)number);
        else
                address.v4.sin_port = htons((uint16_t)number);
        stream->fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (stream->fd < 0 || connect(stream->fd, &address.any, size) < 0)
                return cli_fail("%s: cannot be connected: %s; is the runtime on another machine or network?", url, strerror(errno)), false;
        *ret_path = path;
        stream->tls = is_tls ? stream_tls_new(stream->fd, name, options) : NULL;
        return !is_tls || stream->tls;
}

static bool stream_transmit_all(Stream *stream, const char *bytes, size_t n)
{
        while (n > 0) {
                ssize_t sent = stream_transmit(stream, bytes, n);
                if (sent <= 0 && !(sent < 0 && errno == EINTR))
                        return false;
                bytes += sent > 0 ? sent : 0;
                n -= sent > 0 ? (size_t)sent : 0;
        }
        return true;
}

/* The upgrade; what comes after the answer's head stays in stream->in. */
static bool stream_upgrade(Stream *stream, const char *url, const char *path)
{
        uint8_t key[16];
        char key_text[32], head[1024];
        const uint8_t *end = NULL;

        randombytes_buf(key, sizeof(key));
        (void)sodium_bin2base64(key_text, sizeof(key_text), key, sizeof(key), sodium_base64_VARIANT_ORIGINAL);
        int n = snprintf(head, sizeof(head),
                         "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                         "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Protocol: " STREAM_PROTOCOL "\r\n\r\n",
                         path, key_text);
        if (n < 0 || (size_t)n >= sizeof(head) || !stream_transmit_all(stream, head, (size_t)n))
                return cli_fail("%s: the request cannot be sent", url), false;
        while (!end) {
                if (stream->in.n >= STREAM_HEAD_MAX || !stream_reserve(&stream->in, STREAM_HEAD_MAX))
                        return cli_fail("%s: its answer is no answer", url), false;
                ssize_t got = stream_receive(stream, stream->in.bytes + stream->in.n, STREAM_HEAD_MAX - stream->in.n);
                if (got <= 0 && !(got < 0 && errno == EINTR))
                        return cli_fail("%s: the connection ended without an answer", url), false;
                stream->in.n += got > 0 ? (size_t)got : 0;
                end = memmem(stream->in.bytes, stream->in.n, "\r\n\r\n", 4);
        }
        size_t n_head = (size_t)(end - stream->in.bytes) + 4;
        if (memcmp(stream->in.bytes, "HTTP/1.1 101 ", 13) != 0) {
                char text[256];
                str_printable(text, sizeof(text), stream->in.bytes, MIN2(stream->in.n, strcspn((char *)stream->in.bytes, "\r")));
                return cli_fail("%s: %s", url, text), false;
        }
        stream_drop(&stream->in, n_head);
        return fd_set_nonblock(stream->fd, true) == 0;
}

/* A metav1.Status: the exit code, or a failure that is told. */
static int stream_exit_code(const Stream *stream)
{
        json_t *status = json_loadb((const char *)stream->status.bytes, stream->status.n, 0, NULL);
        const char *outcome = json_string_value(json_object_get(status, "status"));
        const char *message = json_string_value(json_object_get(status, "message"));
        json_t *cause = json_array_get(json_object_get(json_object_get(status, "details"), "causes"), 0);
        const char *code_text = json_string_value(json_object_get(cause, "message"));
        uint64_t code = STREAM_LOST;

        if (str_equal(outcome, "Success"))
                code = 0;
        else if (str_equal(json_string_value(json_object_get(status, "reason")), "NonZeroExitCode") && code_text &&
                 u64_parse(code_text, INT32_MAX, &code))
                code &= 0xff;
        else
                code = (uint64_t)cli_fail("%s", message ? message : "the connection ended before the command did; its exit code is unknown");
        json_decref(status);
        return (int)code;
}

/* The terminal as it was, and SIGWINCH as something to poll. */
static bool stream_enter_terminal(Stream *stream, struct termios *ret_before)
{
        struct termios raw;
        sigset_t set;

        (void)sigemptyset(&set);
        (void)sigaddset(&set, SIGWINCH);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0 || (stream->signal_fd = signalfd(-1, &set, SFD_CLOEXEC)) < 0 ||
            tcgetattr(STDIN_FILENO, ret_before) < 0)
                return false;
        raw = *ret_before;
        cfmakeraw(&raw);
        return tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
}

int stream_run(const char *url, const StreamOptions *options)
{
        Stream stream = {.fd = -1, .signal_fd = -1, .has_stdin = options->has_stdin, .tty = options->tty && isatty(STDIN_FILENO)};
        struct termios before;
        const char *path = NULL;
        int code = 1;

        if (sodium_init() >= 0 && stream_connect(&stream, url, options, &path) && stream_upgrade(&stream, url, path)) {
                bool is_raw = stream.tty && stream_enter_terminal(&stream, &before);
                bool is_whole = stream_loop(&stream);
                if (is_raw)
                        (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
                code = is_whole ? stream_exit_code(&stream) : cli_fail("the stream was broken off: the server sent nonsense, or standard "
                                                                       "output takes nothing");
        }
        stream_done(&stream);
        return code;
}
