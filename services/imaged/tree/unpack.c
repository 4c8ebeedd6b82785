/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/tree/unpack.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "policy/policy.h"
#include "services/imaged/tree/decompress.h"
#include "services/imaged/tree/measure.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define UNPACK_PIPE_BYTES (1024 * 1024) /* the kernel's limit for users without privilege (fs.pipe-max-size) */
#define UNPACK_PIECE_BYTES (256 * 1024)
/* Neither reading a blob from disk nor writing files stands still for that long on a disk that works. */
#define UNPACK_STALL_MSEC 120000
#define UNPACK_END_TIMEOUT (600 * USEC_PER_SEC) /* of the jail, for what is left when the last byte has passed */

/* What the jail gets; it has its own copy of it. */
typedef struct UnpackJail {
        int input_fd;
        ExtractSpec extract;
} UnpackJail;

static ssize_t unpack_source(void *userdata, void *buffer, size_t n)
{
        const UnpackJail *jail = userdata;
        ssize_t got;

        do
                got = read(jail->input_fd, buffer, n);
        while (got < 0 && errno == EINTR);
        return got < 0 ? negative_errno() : got;
}

static int unpack_in_jail(void *argument, Report *report)
{
        UnpackJail *jail = argument;
        _cleanup_fd_ int root_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        _cleanup_(tar_reader_freep) TarReader *reader = tar_reader_new(unpack_source, jail);
        Measure measure;
        int r;

        if (root_fd < 0)
                return report_errno(report, errno, "opening", "/");
        if (!reader)
                return report_errno(report, ENOMEM, "reading", "the archive");
        r = extract_archive(root_fd, reader, &jail->extract, report);
        if (r)
                return r;
        r = measure_tree(root_fd, &measure);
        if (r)
                return report_fail(report, GRPC_STATUS_INTERNAL, "measuring the tree failed");
        report->bytes = measure.bytes;
        report->inodes = measure.inodes;
        return 0;
}

typedef struct Unpack {
        const UnpackSpec *spec;
        EVP_MD_CTX *hash; /* owned */
        uint8_t *piece;   /* owned */
        uint64_t n_bytes;
        pid_t decompressor;
        int from_fd; /* owned; read end, of the decompressor */
        int to_fd;   /* owned; write end, to the jail */
        Jail jail;
} Unpack;

static void unpack_end_decompressor(Unpack *unpack, bool kill_it, int *ret_status)
{
        unpack->from_fd = fd_close(unpack->from_fd);
        if (unpack->decompressor <= 0)
                return;
        if (kill_it)
                (void)kill(unpack->decompressor, SIGKILL);
        while (waitpid(unpack->decompressor, ret_status, 0) < 0 && errno == EINTR)
                ;
        unpack->decompressor = 0;
}

static void unpack_done(Unpack *unpack)
{
        int status;

        unpack->to_fd = fd_close(unpack->to_fd);
        unpack_end_decompressor(unpack, true, &status);
        jail_done(&unpack->jail);
        EVP_MD_CTX_free(unpack->hash);
        free(unpack->piece);
}

/* In the child. It keeps the blob and a pipe, and nothing it decodes can be more than bytes in that pipe. */
static int unpack_decompress(const UnpackSpec *spec, int out_fd)
{
        int r = jail_close_others(spec->blob_fd, out_fd);

        if (r == 0)
                r = policy_enter(POLICY_DECOMPRESS_CHILD, spec->config);
        if (r || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
                return DECOMPRESS_END_CONFINEMENT;
        return decompress_run(spec->blob_fd, out_fd);
}

static int unpack_make_pipe(int *ret_read, int *ret_write)
{
        int fds[2];

        if (pipe2(fds, O_CLOEXEC) < 0)
                return error_origin(negative_errno());
        /* Fewer turns; a node at its quota of pipe pages does without. */
        (void)fcntl(fds[1], F_SETPIPE_SZ, UNPACK_PIPE_BYTES);
        *ret_read = fds[0];
        *ret_write = fds[1];
        return 0;
}

static int unpack_start_decompressor(Unpack *unpack)
{
        _cleanup_fd_ int write_fd = -1;
        int r;

        r = unpack_make_pipe(&unpack->from_fd, &write_fd);
        if (r)
                return fold(r);
        unpack->decompressor = fork();
        if (unpack->decompressor < 0)
                return error_origin(negative_errno());
        if (unpack->decompressor == 0)
                _exit(unpack_decompress(unpack->spec, write_fd));
        return 0;
}

static int unpack_start_jail(Unpack *unpack)
{
        _cleanup_fd_ int read_fd = -1;
        int r;

        r = unpack_make_pipe(&read_fd, &unpack->to_fd);
        if (r == 0)
                r = fd_set_nonblock(unpack->to_fd, true);
        if (r)
                return fold(r);
        UnpackJail argument = {.input_fd = read_fd, .extract = unpack->spec->extract};
        const JailSpec spec = {
                .config = unpack->spec->config,
                .tree_fd = unpack->spec->tree_fd,
                .keep_fd = read_fd,
                .run = unpack_in_jail,
                .argument = &argument,
        };
        r = jail_start(&spec, &unpack->jail);
        return r ? fold(r) : 0;
}

enum { UNPACK_E_STALLED = 1, UNPACK_E_TOO_LARGE, UNPACK_E_JAIL_ENDED };

static int unpack_wait(int fd, short events)
{
        struct pollfd p = {.fd = fd, .events = events};
        int r;

        do
                r = poll(&p, 1, UNPACK_STALL_MSEC);
        while (r < 0 && errno == EINTR);
        if (r < 0)
                return error_origin(negative_errno());
        return r == 0 ? UNPACK_E_STALLED : 0;
}

/* Gives n bytes to the jail. A jail that reads no more has refused the archive, or is dead. */
static int unpack_give(Unpack *unpack, const uint8_t *bytes, size_t n)
{
        while (n > 0) {
                ssize_t put = write(unpack->to_fd, bytes, n);
                int r;

                if (put < 0 && errno == EPIPE)
                        return UNPACK_E_JAIL_ENDED;
                if (put < 0 && errno != EAGAIN && errno != EINTR)
                        return error_origin(negative_errno());
                if (put < 0) {
                        r = unpack_wait(unpack->to_fd, POLLOUT);
                        if (r)
                                return r < 0 ? fold(r) : r;
                        continue;
                }
                bytes += put;
                n -= (size_t)put;
        }
        return 0;
}

static int unpack_pump(Unpack *unpack)
{
        for (;;) {
                ssize_t n;
                int r;

                r = unpack_wait(unpack->from_fd, POLLIN);
                if (r)
                        return r < 0 ? fold(r) : r;
                n = read(unpack->from_fd, unpack->piece, UNPACK_PIECE_BYTES);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_origin(negative_errno());
                if (n == 0)
                        return 0;
                unpack->n_bytes += (uint64_t)n;
                if (unpack->n_bytes > unpack->spec->max_bytes)
                        return UNPACK_E_TOO_LARGE;
                if (EVP_DigestUpdate(unpack->hash, unpack->piece, (size_t)n) != 1)
                        return error_origin(-ENOMEM);
                r = unpack_give(unpack, unpack->piece, (size_t)n);
                if (r)
                        return r < 0 ? fold(r) : r;
        }
}

static void unpack_judge_decompressor(int status, Report *report)
{
        if (WIFSIGNALED(status)) {
                (void)report_fail(report, GRPC_STATUS_INTERNAL, "the decompressor died of signal %d", WTERMSIG(status));
                return;
        }
        switch ((DecompressEnd)WEXITSTATUS(status)) {
        case DECOMPRESS_END_DONE:
        case DECOMPRESS_END_WRITE: /* the consequence of an end that is told elsewhere */
                return;
        case DECOMPRESS_END_MEMORY:
                (void)report_fail(report, GRPC_STATUS_RESOURCE_EXHAUSTED, "%s", decompress_end_name(WEXITSTATUS(status)));
                return;
        case DECOMPRESS_END_READ:
        case DECOMPRESS_END_CONFINEMENT:
                (void)report_fail(report, GRPC_STATUS_INTERNAL, "%s", decompress_end_name(WEXITSTATUS(status)));
                return;
        case DECOMPRESS_END_TRUNCATED:
        case DECOMPRESS_END_CORRUPT:
        case DECOMPRESS_END_TRAILING:
                (void)report_fail(report, GRPC_STATUS_INVALID_ARGUMENT, "%s", decompress_end_name(WEXITSTATUS(status)));
                return;
        }
        (void)report_fail(report, GRPC_STATUS_INTERNAL, "%s", decompress_end_name(WEXITSTATUS(status)));
}

/* The order of telling: what we found, then the decompressor, whose early end the jail sees as a truncated archive, then the jail. */
static int unpack_conclude(Unpack *unpack, int pumped, UnpackResult *ret)
{
        Report *report = &ret->report;
        Report from_jail = {0};
        int status = 0, r;

        if (pumped == UNPACK_E_TOO_LARGE)
                (void)report_fail(report, GRPC_STATUS_INVALID_ARGUMENT, "it has more than %llu bytes when uncompressed, the limit",
                                  (unsigned long long)unpack->spec->max_bytes);
        else if (pumped == UNPACK_E_STALLED)
                (void)report_fail(report, GRPC_STATUS_DEADLINE_EXCEEDED, "nothing moved for %d seconds", UNPACK_STALL_MSEC / 1000);
        unpack->to_fd = fd_close(unpack->to_fd);
        unpack_end_decompressor(unpack, pumped != 0, &status);
        if (pumped == 0)
                unpack_judge_decompressor(status, report);
        if (report->code == 0) {
                r = jail_finish(&unpack->jail, clock_monotonic_usec() + UNPACK_END_TIMEOUT, &from_jail);
                if (r)
                        return fold(r);
                *report = from_jail;
                if (pumped == UNPACK_E_JAIL_ENDED && report->code == 0)
                        (void)report_fail(report, GRPC_STATUS_INTERNAL, "the jail ended before the archive did");
        }
        if (EVP_DigestFinal_ex(unpack->hash, ret->diff_id, NULL) != 1)
                return error_origin(-ENOMEM);
        return 0;
}

int unpack_run(const UnpackSpec *spec, UnpackResult *ret)
{
        _cleanup_(unpack_done) Unpack unpack = {.spec = spec, .from_fd = -1, .to_fd = -1, .jail = JAIL_NULL};
        int r, pumped;

        *ret = (UnpackResult){0};
        unpack.piece = malloc(UNPACK_PIECE_BYTES);
        unpack.hash = EVP_MD_CTX_new();
        if (!unpack.piece || !unpack.hash || EVP_DigestInit_ex2(unpack.hash, spec->sha256, NULL) != 1)
                return error_origin(-ENOMEM);
        r = unpack_start_decompressor(&unpack);
        if (r == 0)
                r = unpack_start_jail(&unpack);
        if (r)
                return fold(r);
        pumped = unpack_pump(&unpack);
        if (pumped < 0)
                return fold(pumped);
        r = unpack_conclude(&unpack, pumped, ret);
        return r ? fold(r) : 0;
}
