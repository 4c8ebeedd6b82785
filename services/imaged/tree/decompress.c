/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/tree/decompress.h"
#include "services/imaged/tree/gunzip.h"

#include <zstd.h>

#define DECOMPRESS_IN_BYTES (256 * 1024)
#define DECOMPRESS_OUT_BYTES (256 * 1024)
/* The largest window that `zstd --ultra -22` makes, 128 MiB, is also libzstd's own default limit. */
#define DECOMPRESS_ZSTD_WINDOW_LOG 27

typedef struct Decompress {
        int blob_fd, out_fd; /* borrowed */
        off_t offset;
        const uint8_t *at; /* in input */
        size_t n;
        bool ended; /* nothing is left to be read from the blob */
        uint8_t *input;  /* owned */
        uint8_t *output; /* owned */
} Decompress;

static void decompress_done(Decompress *d)
{
        free(d->input);
        free(d->output);
}

/* Replaces the input, which is used up, by the next piece of the blob. */
static DecompressEnd decompress_read(Decompress *d)
{
        ssize_t n;

        do
                n = pread(d->blob_fd, d->input, DECOMPRESS_IN_BYTES, d->offset);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return DECOMPRESS_END_READ;
        d->ended = n == 0;
        d->offset += n;
        d->at = d->input;
        d->n = (size_t)n;
        return DECOMPRESS_END_DONE;
}

static DecompressEnd decompress_write(Decompress *d, const uint8_t *bytes, size_t n)
{
        while (n > 0) {
                ssize_t put = write(d->out_fd, bytes, n);

                if (put < 0 && errno == EINTR)
                        continue;
                if (put <= 0)
                        return DECOMPRESS_END_WRITE;
                bytes += put;
                n -= (size_t)put;
        }
        return DECOMPRESS_END_DONE;
}

static DecompressEnd decompress_plain(Decompress *d)
{
        DecompressEnd end = DECOMPRESS_END_DONE;

        while (end == DECOMPRESS_END_DONE && !d->ended) {
                end = decompress_write(d, d->at, d->n);
                if (end == DECOMPRESS_END_DONE)
                        end = decompress_read(d);
        }
        return end;
}

/* One member; the output buffer goes on from one to the next, because small members (eStargz has one per file) are many. */
static DecompressEnd decompress_member(Decompress *d, Gunzip *gunzip, size_t *used)
{
        for (;;) {
                DecompressEnd end;
                size_t n;
                int r;

                if (d->n == 0 && !d->ended) {
                        end = decompress_read(d);
                        if (end != DECOMPRESS_END_DONE)
                                return end;
                }
                r = gunzip_run(gunzip, &d->at, &d->n, d->output + *used, DECOMPRESS_OUT_BYTES - *used, &n);
                if (r == GUNZIP_E_CORRUPT)
                        return DECOMPRESS_END_CORRUPT;
                *used += n;
                if (*used == DECOMPRESS_OUT_BYTES) {
                        end = decompress_write(d, d->output, *used);
                        if (end != DECOMPRESS_END_DONE)
                                return end;
                        *used = 0;
                } else if (r == 0 && n == 0 && d->ended) {
                        return DECOMPRESS_END_TRUNCATED;
                }
                if (r == GUNZIP_E_END)
                        return DECOMPRESS_END_DONE;
        }
}

static DecompressEnd decompress_gzip(Decompress *d)
{
        _cleanup_(gunzip_freep) Gunzip *gunzip = gunzip_new();
        DecompressEnd end;
        size_t used = 0;

        if (!gunzip)
                return DECOMPRESS_END_MEMORY;
        for (;;) {
                end = decompress_member(d, gunzip, &used);
                if (end == DECOMPRESS_END_DONE && d->n == 0)
                        end = decompress_read(d);
                if (end != DECOMPRESS_END_DONE)
                        return end;
                if (d->n == 0)
                        break;
                if (d->at[0] != 0x1f)
                        return DECOMPRESS_END_TRAILING;
                gunzip_reset(gunzip);
        }
        return decompress_write(d, d->output, used);
}

static DecompressEnd decompress_zstd(Decompress *d)
{
        ZSTD_DCtx *context = ZSTD_createDCtx();
        DecompressEnd end = DECOMPRESS_END_DONE;
        size_t hint = 1;
        bool is_flushed = true;

        if (!context || ZSTD_isError(ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, DECOMPRESS_ZSTD_WINDOW_LOG)))
                end = DECOMPRESS_END_MEMORY;
        while (end == DECOMPRESS_END_DONE) {
                ZSTD_inBuffer in = {.src = d->at, .size = d->n};
                ZSTD_outBuffer out = {.dst = d->output, .size = DECOMPRESS_OUT_BYTES};

                if (d->n == 0 && is_flushed) {
                        end = decompress_read(d);
                        if (end != DECOMPRESS_END_DONE || d->ended)
                                break;
                        in = (ZSTD_inBuffer){.src = d->at, .size = d->n};
                }
                hint = ZSTD_decompressStream(context, &out, &in);
                if (ZSTD_isError(hint)) {
                        end = DECOMPRESS_END_CORRUPT;
                        break;
                }
                d->at += in.pos;
                d->n -= in.pos;
                /* A full buffer may leave bytes inside the decoder. */
                is_flushed = out.pos < out.size;
                end = decompress_write(d, d->output, out.pos);
        }
        if (end == DECOMPRESS_END_DONE && hint != 0)
                end = DECOMPRESS_END_TRUNCATED;
        (void)ZSTD_freeDCtx(context);
        return end;
}

DecompressEnd decompress_run(int blob_fd, int out_fd)
{
        static const uint8_t gzip_magic[] = {0x1f, 0x8b}, zstd_magic[] = {0x28, 0xb5, 0x2f, 0xfd};
        _cleanup_(decompress_done) Decompress d = {.blob_fd = blob_fd, .out_fd = out_fd};
        DecompressEnd end;

        d.input = malloc(DECOMPRESS_IN_BYTES);
        d.output = malloc(DECOMPRESS_OUT_BYTES);
        if (!d.input || !d.output)
                return DECOMPRESS_END_MEMORY;
        end = decompress_read(&d);
        if (end != DECOMPRESS_END_DONE)
                return end;
        if (d.n >= sizeof(gzip_magic) && memcmp(d.at, gzip_magic, sizeof(gzip_magic)) == 0)
                return decompress_gzip(&d);
        /* Skippable frames (RFC 8878, 3.1.2) may stand first: 0x184D2A50 to 5F, little-endian. */
        if (d.n >= sizeof(zstd_magic) && (memcmp(d.at, zstd_magic, sizeof(zstd_magic)) == 0 ||
                                          ((d.at[0] & 0xf0) == 0x50 && memcmp(d.at + 1, "\x2a\x4d\x18", 3) == 0)))
                return decompress_zstd(&d);
        return decompress_plain(&d);
}

const char *decompress_end_name(int code)
{
        switch ((DecompressEnd)code) {
        case DECOMPRESS_END_DONE:
                return "it was decompressed";
        case DECOMPRESS_END_READ:
                return "the blob cannot be read";
        case DECOMPRESS_END_WRITE:
                return "the jail stopped reading";
        case DECOMPRESS_END_MEMORY:
                return "memory for decompressing it is out";
        case DECOMPRESS_END_TRUNCATED:
                return "its compressed stream ends too early";
        case DECOMPRESS_END_CORRUPT:
                return "its compressed stream is damaged";
        case DECOMPRESS_END_TRAILING:
                return "something that is no compressed stream follows its compressed stream";
        case DECOMPRESS_END_CONFINEMENT:
                return "the decompressor could not be confined";
        }
        return "the decompressor failed";
}
