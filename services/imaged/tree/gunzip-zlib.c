/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/tree/gunzip.h"

#define ZLIB_CONST
#include <zlib.h>

struct Gunzip {
        z_stream stream;
};

Gunzip *gunzip_new(void)
{
        _cleanup_free_ Gunzip *gunzip = calloc(1, sizeof(*gunzip));

        /* 16 asks for gzip and nothing else (zlib.h, inflateInit2). */
        if (!gunzip || inflateInit2(&gunzip->stream, 16 + MAX_WBITS) != Z_OK)
                return NULL;
        return TAKE_PTR(gunzip);
}

Gunzip *gunzip_free(Gunzip *gunzip)
{
        if (gunzip)
                (void)inflateEnd(&gunzip->stream);
        free(gunzip);
        return NULL;
}

void gunzip_reset(Gunzip *gunzip)
{
        (void)inflateReset(&gunzip->stream);
}

int gunzip_run(Gunzip *gunzip, const uint8_t **in, size_t *n_in, uint8_t *out, size_t room, size_t *ret_n)
{
        z_stream *stream = &gunzip->stream;

        stream->next_in = *in;
        stream->avail_in = (uInt)MIN2(*n_in, UINT32_MAX);
        stream->next_out = out;
        stream->avail_out = (uInt)MIN2(room, UINT32_MAX);
        int r = inflate(stream, Z_NO_FLUSH);
        *n_in -= (size_t)(stream->next_in - *in);
        *in = stream->next_in;
        *ret_n = (size_t)(stream->next_out - out);
        if (r == Z_STREAM_END)
                return GUNZIP_E_END;
        return r == Z_OK || r == Z_BUF_ERROR ? 0 : GUNZIP_E_CORRUPT;
}
