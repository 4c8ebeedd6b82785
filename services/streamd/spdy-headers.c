/* SPDX-License-Identifier: Apache-2.0 */
#include "services/streamd/spdy-headers.h"
#include "lib/error.h"
#include "lib/strings.h"
#include "services/streamd/be.h"

/* The dictionary of SPDY/3 (2.6.10.1): names and values by length, then what is common without one. zlib compares its
 * checksum with the one that the peer's stream announces. Word by word: a length and the word. */
#define W(length, word) "\0\0\0" length word
static const char spdy_dictionary_text[] =
        W("\7", "options") W("\4", "head") W("\4", "post") W("\3", "put") W("\6", "delete") W("\5", "trace")
        W("\6", "accept") W("\16", "accept-charset") W("\17", "accept-encoding") W("\17", "accept-language")
        W("\15", "accept-ranges") W("\3", "age") W("\5", "allow") W("\15", "authorization") W("\15", "cache-control")
        W("\12", "connection") W("\14", "content-base") W("\20", "content-encoding") W("\20", "content-language")
        W("\16", "content-length") W("\20", "content-location") W("\13", "content-md5") W("\15", "content-range")
        W("\14", "content-type") W("\4", "date") W("\4", "etag") W("\6", "expect") W("\7", "expires") W("\4", "from")
        W("\4", "host") W("\10", "if-match") W("\21", "if-modified-since") W("\15", "if-none-match") W("\10", "if-range")
        W("\23", "if-unmodified-since") W("\15", "last-modified") W("\10", "location") W("\14", "max-forwards")
        W("\6", "pragma") W("\22", "proxy-authenticate") W("\23", "proxy-authorization") W("\5", "range")
        W("\7", "referer") W("\13", "retry-after") W("\6", "server") W("\2", "te") W("\7", "trailer")
        W("\21", "transfer-encoding") W("\7", "upgrade") W("\12", "user-agent") W("\4", "vary") W("\3", "via")
        W("\7", "warning") W("\20", "www-authenticate") W("\6", "method") W("\3", "get") W("\6", "status")
        W("\6", "200 OK") W("\7", "version") W("\10", "HTTP/1.1") W("\3", "url") W("\6", "public") W("\12", "set-cookie")
        W("\12", "keep-alive") W("\6", "origin")
        "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative "
        "Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 Internal "
        "Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, "
        "Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml"
        ",text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";
#undef W

const uint8_t *spdy_dictionary(size_t *ret_n)
{
        *ret_n = sizeof(spdy_dictionary_text) - 1;
        return (const uint8_t *)spdy_dictionary_text;
}

void spdy_inflater_done(SpdyInflater *inflater)
{
        if (inflater->ready)
                (void)inflateEnd(&inflater->z);
        *inflater = (SpdyInflater){0};
}

/* Each block ends at a flush, so that all of it comes out. More than the limit, or the end of the stream, is invalid. */
static int spdy_inflate(SpdyInflater *inflater, const uint8_t *block, size_t n, uint8_t *to, size_t *ret)
{
        z_stream *z = &inflater->z;
        size_t n_dictionary;
        const uint8_t *dictionary = spdy_dictionary(&n_dictionary);

        z->next_in = (uint8_t *)(uintptr_t)block;
        z->avail_in = (uInt)n;
        z->next_out = to;
        z->avail_out = SPDY_BLOCK_BYTES_MAX + 1;
        for (;;) {
                int r = inflate(z, Z_SYNC_FLUSH);
                if (r == Z_NEED_DICT)
                        r = inflateSetDictionary(z, dictionary, (uInt)n_dictionary);
                if (r == Z_MEM_ERROR)
                        return error_origin(-ENOMEM);
                if (z->avail_out == 0 || (r != Z_OK && r != Z_BUF_ERROR))
                        return SPDY_HEADERS_E_INVALID;
                if (z->avail_in == 0)
                        break;
                if (r == Z_BUF_ERROR)
                        return SPDY_HEADERS_E_INVALID;
        }
        *ret = SPDY_BLOCK_BYTES_MAX + 1 - z->avail_out;
        return 0;
}

/* The string at *at, moved to where its length stood: that makes room for a terminator. */
static const char *spdy_take_field(uint8_t *bytes, size_t n, size_t *at)
{
        if (n - *at < 4)
                return NULL;
        uint32_t length = be32(bytes + *at);
        if (length > SPDY_FIELD_BYTES_MAX || length > n - *at - 4)
                return NULL;
        char *field = (char *)bytes + *at;
        memmove(field, field + 4, length);
        field[length] = '\0';
        *at += 4 + length;
        return field;
}

static int spdy_split(SpdyHeaders *headers, size_t n)
{
        size_t at = 4;

        if (n < 4 || be32(headers->bytes) > SPDY_HEADERS_MAX)
                return SPDY_HEADERS_E_INVALID;
        headers->n = be32(headers->bytes);
        for (size_t i = 0; i < headers->n; i++) {
                headers->headers[i].name = spdy_take_field(headers->bytes, n, &at);
                headers->headers[i].value = headers->headers[i].name ? spdy_take_field(headers->bytes, n, &at) : NULL;
                if (!headers->headers[i].value || !headers->headers[i].name[0])
                        return SPDY_HEADERS_E_INVALID;
        }
        return at == n ? 0 : SPDY_HEADERS_E_INVALID;
}

int spdy_headers_read(SpdyInflater *inflater, const uint8_t *block, size_t n, SpdyHeaders *ret)
{
        size_t length;

        if (!inflater->ready) {
                if (inflateInit(&inflater->z) != Z_OK)
                        return error_origin(-ENOMEM);
                inflater->ready = true;
        }
        ret->n = 0;
        int r = spdy_inflate(inflater, block, n, ret->bytes, &length);
        if (r < 0)
                return fold(r);
        return r ? r : spdy_split(ret, length);
}

const char *spdy_headers_find(const SpdyHeaders *headers, const char *name)
{
        for (size_t i = 0; i < headers->n; i++)
                if (str_equal(headers->headers[i].name, name))
                        return headers->headers[i].value;
        return NULL;
}
