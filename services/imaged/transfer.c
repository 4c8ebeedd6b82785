/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/transfer.h"

#include <event2/event.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>

#include "ipc/edges/imaged-fetch.rows.h"
#include "ipc/edges/imaged-tree.h"
#include "ipc/edges/imaged-tree.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/grpc-status.h"

#define TRANSFER_READ_BYTES (256 * 1024)
/* Reads per wake-up: bounded, so that one fast registry does not hold up the rest of the daemon. */
#define TRANSFER_READS_PER_WAKE 4

struct Transfer {
        Imaged *imaged;
        TransferDone done;
        void *userdata;
        uint64_t *progress;
        uint64_t max_bytes;
        int pipe_fd;
        struct event *event;
        int file_fd;
        uint8_t *buffer; /* memory sink: the document; file sink: one read */
        size_t n_buffer;
        EVP_MD_CTX *hash;
        Channel *channel;
        uint32_t request; /* 0 once answered */
        bool ended;       /* the pipe is at its end */
        bool to_file;
        char text[512];
        TransferResult result;
        DecodeArena arena; /* holds our copy of the answer: the frame's ends with the callback */
};

Transfer *transfer_free(Transfer *transfer)
{
        if (!transfer)
                return NULL;
        if (transfer->request)
                channel_cancel(transfer->channel, transfer->request);
        if (transfer->event)
                event_free(transfer->event);
        (void)fd_close(transfer->pipe_fd);
        (void)fd_close(transfer->file_fd);
        EVP_MD_CTX_free(transfer->hash);
        decode_arena_done(&transfer->arena);
        free(transfer->buffer);
        free(transfer);
        return NULL;
}

static int transfer_fail(Transfer *transfer, int outcome, bool retry, const char *text)
{
        if (transfer->result.outcome == 0) {
                transfer->result.outcome = outcome;
                transfer->result.retry = retry;
                (void)snprintf(transfer->text, sizeof(transfer->text), "%s", text);
        }
        return 0;
}

/* Both the end of the pipe and the hand's word have come (in either order), or it failed: tells the owner, once. */
static int transfer_finish(Transfer *transfer)
{
        TransferResult *result = &transfer->result;
        unsigned n = 0;
        if (result->outcome == 0 && (!transfer->ended || transfer->request))
                return 0;
        if (result->outcome == 0 && EVP_DigestFinal_ex(transfer->hash, result->digest, &n) != 1)
                return error_origin(-ENOMEM);
        result->text = transfer->text;
        if (!transfer->to_file) {
                transfer->buffer[result->bytes] = '\0';
                result->document = transfer->buffer;
        }
        result->file_fd = transfer->file_fd;
        int r = transfer->done(transfer->userdata, result);
        transfer->file_fd = result->file_fd;
        (void)transfer_free(transfer);
        return r;
}

/* Copies the answer, since the pipe's end may come after the callback that brings it. */
static int transfer_keep_response(Transfer *transfer, const ProtobufCMessage *message)
{
        _cleanup_free_ uint8_t *packed = NULL;
        size_t n = 0;
        int r = decode_pack(message, &packed, &n);
        if (r < 0)
                return fold(r);
        ProtobufCMessage *copy = NULL;
        if (decode_message(&transfer->arena, message->descriptor, packed, n, &copy) != 0)
                return error_origin(-ENOMEM);
        transfer->result.response = container_of(copy, FetchResponse, base);
        return 0;
}

static int transfer_drain(Transfer *transfer, bool to_end);

static int transfer_on_fetched(void *userdata, const Answer *answer)
{
        Transfer *transfer = userdata;
        transfer->request = 0;
        if (answer->outcome == CHANNEL_E_LOST) {
                (void)transfer_fail(transfer, TRANSFER_E_LOST, true, "the fetching process ended");
                return transfer_finish(transfer);
        }
        if (answer->outcome != 0) {
                (void)transfer_fail(transfer, TRANSFER_E_FAILED, false, answer->text);
                return transfer_finish(transfer);
        }
        int r = transfer_keep_response(transfer, answer->frame->message);
        if (r < 0)
                return fold(r);
        const FetchResponse *response = transfer->result.response;
        transfer->result.http_status = response->http_status;
        if (response->outcome != BULKHEAD__IMAGED_FETCH__FETCH_RESPONSE__OUTCOME__OK) {
                bool large = response->outcome == BULKHEAD__IMAGED_FETCH__FETCH_RESPONSE__OUTCOME__TOO_LARGE;
                bool retry = response->outcome == BULKHEAD__IMAGED_FETCH__FETCH_RESPONSE__OUTCOME__TRUNCATED ||
                             response->outcome == BULKHEAD__IMAGED_FETCH__FETCH_RESPONSE__OUTCOME__PROTOCOL;
                (void)transfer_fail(transfer, large ? TRANSFER_E_TOO_LARGE : TRANSFER_E_FAILED, retry, response->text);
        }
        r = transfer->result.outcome ? 0 : transfer_drain(transfer, true);
        if (r < 0)
                return fold(r);
        return transfer_finish(transfer);
}

/* Takes the n bytes that were read. */
static int transfer_take(Transfer *transfer, const uint8_t *bytes, size_t n)
{
        TransferResult *result = &transfer->result;
        if (n > transfer->max_bytes - result->bytes)
                return transfer_fail(transfer, TRANSFER_E_TOO_LARGE, false, "it is larger than allowed");
        if (EVP_DigestUpdate(transfer->hash, bytes, n) != 1)
                return error_origin(-ENOMEM);
        for (size_t i = 0; i < n && result->bytes + i < sizeof(result->magic); i++)
                result->magic[result->bytes + i] = bytes[i];
        if (transfer->to_file && fd_write_full(transfer->file_fd, bytes, n) < 0)
                return transfer_fail(transfer, TRANSFER_E_DISK, false,
                                     errno == ENOSPC ? "no space left for image blobs; free space or let the kubelet collect images"
                                                     : strerror(errno));
        result->bytes += n;
        if (transfer->progress)
                *transfer->progress = result->bytes;
        return 0;
}

/* Memory sinks grow by doubling up to their limit, so that a small document costs little. */
static int transfer_grow(Transfer *transfer)
{
        if (transfer->to_file || transfer->n_buffer - transfer->result.bytes > 4096)
                return 0;
        size_t n = MIN2(transfer->n_buffer * 2, (size_t)transfer->max_bytes + 4097);
        if (n == transfer->n_buffer)
                return 0;
        uint8_t *buffer = realloc(transfer->buffer, n);
        if (!buffer)
                return error_origin(-ENOMEM);
        transfer->buffer = buffer;
        transfer->n_buffer = n;
        return 0;
}

static int transfer_drain(Transfer *transfer, bool to_end)
{
        for (unsigned i = 0; !transfer->ended && transfer->result.outcome == 0 && (to_end || i < TRANSFER_READS_PER_WAKE); i++) {
                int r = transfer_grow(transfer);
                if (r < 0)
                        return fold(r);
                uint8_t *to = transfer->buffer + (transfer->to_file ? 0 : transfer->result.bytes);
                size_t room = transfer->n_buffer - (size_t)(to - transfer->buffer) - 1;
                ssize_t n = read(transfer->pipe_fd, to, room);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN)
                        return 0; /* the event loop tells when there is more, or the end */
                if (n < 0)
                        return error_origin(negative_errno());
                if (n == 0) {
                        transfer->ended = true;
                        event_free(TAKE_PTR(transfer->event));
                        transfer->pipe_fd = fd_close(transfer->pipe_fd);
                        break;
                }
                r = transfer_take(transfer, to, (size_t)n);
                if (r < 0)
                        return fold(r);
        }
        return 0;
}

static void transfer_on_readable(evutil_socket_t fd, short what, void *userdata)
{
        Transfer *transfer = userdata;
        Service *service = transfer->imaged->service;
        int r = transfer_drain(transfer, false);
        if (r == 0)
                r = transfer_finish(transfer);
        if (r < 0)
                service_fail(service, fold(r));
}

static int transfer_watch(Transfer *transfer, int pipe_fd)
{
        transfer->pipe_fd = pipe_fd;
        int r = fd_set_nonblock(pipe_fd, true);
        if (r < 0)
                return fold(r);
        transfer->event = event_new(service_loop(transfer->imaged->service), pipe_fd, EV_READ | EV_PERSIST, transfer_on_readable,
                                    transfer);
        return !transfer->event || event_add(transfer->event, NULL) < 0 ? error_origin(-ENOMEM) : 0;
}

static int transfer_on_import_opened(void *userdata, const Answer *answer)
{
        Transfer *transfer = userdata;
        transfer->request = 0;
        if (answer->outcome != 0) {
                (void)transfer_fail(transfer, TRANSFER_E_FAILED, false, answer->text);
                transfer->result.http_status = answer->code == GRPC_STATUS_NOT_FOUND ? 404 : 500;
                return transfer_finish(transfer);
        }
        transfer->result.http_status = 200;
        return fold(transfer_watch(transfer, frame_take_fd(answer->frame, 0)));
}

static int transfer_start_import(Transfer *transfer, const TransferSpec *spec)
{
        TreeRead verb = {.max_bytes_mib = (uint32_t)((spec->max_bytes >> 20) + 1)};
        transfer->channel = imaged_tree(transfer->imaged);
        if (!str_copy(verb.id, sizeof(verb.id), spec->import_id) || !str_copy(verb.path, sizeof(verb.path), spec->import_path))
                return error_origin(-EINVAL);
        return fold(channel_call_flat(transfer->channel, ROW_IMAGED_TREE_TREE_READ, &verb, NULL, 0,
                                      clock_monotonic_usec() + 60 * USEC_PER_SEC, transfer_on_import_opened, transfer,
                                      &transfer->request));
}

static int transfer_start_fetch(Transfer *transfer, const TransferSpec *spec)
{
        int pipe_fds[2];
        if (pipe2(pipe_fds, O_CLOEXEC) < 0)
                return error_origin(negative_errno());
        _cleanup_fd_ int write_fd = pipe_fds[1];
        /* A larger pipe means fewer wake-ups; a node at its pipe quota does without. */
        (void)fcntl(write_fd, F_SETPIPE_SZ, 1024 * 1024);
        int r = transfer_watch(transfer, pipe_fds[0]);
        if (r < 0)
                return fold(r);
        Bulkhead__ImagedFetch__FetchRequest request = BULKHEAD__IMAGED_FETCH__FETCH_REQUEST__INIT;
        request.url = (char *)spec->url;
        request.n_accept = spec->n_accept;
        request.accept = (char **)spec->accept;
        request.authorization = (char *)(spec->authorization ? spec->authorization : "");
        request.form = (char *)(spec->form ? spec->form : "");
        request.max_bytes = spec->max_bytes;
        request.progress_timeout_sec = transfer->imaged->config->progress_timeout_sec;
        request.skip_verify = spec->skip_verify;
        request.allow_loopback = spec->allow_loopback;
        request.allow_plain = spec->allow_plain;
        transfer->channel = imaged_fetch(transfer->imaged);
        return fold(channel_call(transfer->channel, ROW_IMAGED_FETCH_FETCH, &request.base, &write_fd, 1, USEC_INFINITY,
                                 transfer_on_fetched, transfer, &transfer->request));
}

/* A blob file has a name only until it is open: a killed imaged leaves at most an empty directory entry to sweep. */
static int transfer_open_file(Transfer *transfer)
{
        char name[32];
        (void)snprintf(name, sizeof(name), "tmp-%llu", (unsigned long long)++transfer->imaged->n_blobs);
        transfer->file_fd = openat(transfer->imaged->blobs_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (transfer->file_fd < 0 || unlinkat(transfer->imaged->blobs_fd, name, 0) < 0)
                return error_origin(negative_errno());
        return 0;
}

int transfer_start(Transfer **ret, Imaged *imaged, const TransferSpec *spec)
{
        Transfer *transfer = calloc(1, sizeof(*transfer));
        if (!transfer)
                return error_origin(-ENOMEM);
        *transfer = (Transfer){
                .imaged = imaged,
                .done = spec->done,
                .userdata = spec->userdata,
                .progress = spec->progress,
                .max_bytes = spec->max_bytes,
                .pipe_fd = -1,
                .file_fd = -1,
                .to_file = spec->to_file,
                .n_buffer = spec->to_file ? TRANSFER_READ_BYTES : 16384,
                .result = {.file_fd = -1},
        };
        decode_arena_init(&transfer->arena, 256 * 1024);
        int r = 0;
        transfer->buffer = malloc(transfer->n_buffer);
        transfer->hash = EVP_MD_CTX_new();
        if (!transfer->buffer || !transfer->hash || EVP_DigestInit_ex(transfer->hash, EVP_sha256(), NULL) != 1)
                r = error_origin(-ENOMEM);
        if (r == 0 && spec->to_file)
                r = transfer_open_file(transfer);
        if (r == 0)
                r = spec->import_id ? transfer_start_import(transfer, spec) : transfer_start_fetch(transfer, spec);
        if (r < 0) {
                (void)transfer_free(transfer);
                return fold(r);
        }
        *ret = transfer;
        return 0;
}
