/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/fetch/fetch.h"

#include <ctype.h>
#include <stdio.h>

bool fetch_url_parse(const char *url, FetchUrl *ret)
{
        FetchUrl parsed = {0};
        const char *p = url;
        if (str_has_prefix(url, "https://"))
                parsed.is_tls = true;
        else if (!str_has_prefix(url, "http://"))
                return false;
        p += parsed.is_tls ? 8 : 7;
        parsed.port = parsed.is_tls ? 443 : 80;
        size_t n_authority = strcspn(p, "/?#"), n_host;
        if (memchr(p, '@', n_authority) || strpbrk(url, " \t\r\n\\"))
                return false;
        const char *host = p, *port = NULL;
        if (*p == '[') {
                const char *end = memchr(p, ']', n_authority);
                if (!end)
                        return false;
                host = p + 1;
                n_host = (size_t)(end - host);
                port = end + 1 < p + n_authority ? end + 1 : NULL;
        } else {
                const char *colon = memchr(p, ':', n_authority);
                n_host = colon ? (size_t)(colon - p) : n_authority;
                port = colon;
        }
        if (n_host == 0 || n_host >= sizeof(parsed.host))
                return false;
        for (size_t i = 0; i < n_host; i++)
                parsed.host[i] = (char)tolower((unsigned char)host[i]);
        if (port) {
                char digits[8];
                uint64_t number;
                size_t n = n_authority - (size_t)(port - p) - 1;
                if (*port != ':' || n == 0 || n >= sizeof(digits))
                        return false;
                memcpy(digits, port + 1, n);
                digits[n] = '\0';
                if (!u64_parse(digits, 65535, &number) || number == 0)
                        return false;
                parsed.port = (uint16_t)number;
        }
        *ret = parsed;
        return true;
}

bool fetch_url_same_origin(const FetchUrl *a, const FetchUrl *b)
{
        return a->is_tls == b->is_tls && a->port == b->port && str_equal(a->host, b->host);
}

char *fetch_url_join(const char *base, const char *location)
{
        FetchUrl ignored;
        if (fetch_url_parse(location, &ignored))
                return strdup(location);
        const char *authority = strstr(base, "://");
        if (!authority || strstr(location, "://") || strpbrk(location, " \t\r\n\\"))
                return NULL;
        size_t n_scheme = (size_t)(authority - base), n_origin = n_scheme + 3 + strcspn(authority + 3, "/?#");
        if (str_has_prefix(location, "//"))
                return str_printf("%.*s:%s", (int)n_scheme, base, location);
        if (*location == '/')
                return str_printf("%.*s%s", (int)n_origin, base, location);
        /* Relative to the directory of the path. */
        size_t n_path = n_origin + strcspn(base + n_origin, "?#");
        while (n_path > n_origin && base[n_path - 1] != '/')
                n_path--;
        return str_printf("%.*s%s%s", (int)n_path, base, n_path == n_origin ? "/" : "", location);
}
